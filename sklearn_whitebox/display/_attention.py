"""Show which tokens the heads of a white-box transformer read."""

import numpy as np

from sklearn_whitebox._optional import require
from sklearn_whitebox.display._axes import check_axes
from sklearn_whitebox.display._classes import as_array, check_has, class_colours

_KINDS = {"attention": "attention_maps", "subspace": "subspace_maps"}
# Pixels between the pictures of a mosaic.
_GAP = 1
_ALTERNATIVES = (
    "CRATEClassifier and CRATERegressor do. Maps from elsewhere go to "
    "AttentionMapDisplay.from_predictions(maps)."
)


class AttentionMapDisplay:
    """What the heads of a layer look at: pictures for images, bars for tables.

    For images, a row of pictures for each sample: the image, and for each head the
    weights of its patches as heat over it. For tables, a bar for each token: its
    weight, averaged over the samples, in parts that belong to the heads.

    Parameters
    ----------
    maps : ndarray of shape (n_samples, n_heads, n_tokens) or \
            (n_samples, n_heads, n_rows, n_columns)
        Non-negative weights.
    images : ndarray of shape (n_samples, height, width) or \
            (n_samples, height, width, n_channels), default=None
        The images that the maps belong to; without them the heat alone is shown.
        Three channels are red, green and blue; other numbers are averaged.
    token_names : sequence of str, default=None
        Names of the tokens of a table; None numbers them from 0.
    title : str, default=None
        What the maps are.
    head_names : sequence of str, default=None
        Names of the heads; None numbers them from 0.

    Attributes
    ----------
    ax_ : Axes
        Axes of the last plot.
    figure_ : Figure
        Figure of the last plot.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_whitebox.display import AttentionMapDisplay
    >>> maps = np.array([[[0.2, 0.8], [0.5, 0.5]]])
    >>> display = AttentionMapDisplay(maps, token_names=["age", "height"]).plot()
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['height', 'age']
    """

    def __init__(
        self, maps, *, images=None, token_names=None, title=None, head_names=None
    ):
        self.maps = maps
        self.images = images
        self.token_names = token_names
        self.title = title
        self.head_names = head_names

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        layer=-1,
        kind="attention",
        token_names=None,
        ax=None,
        **plot_settings,
    ):
        """Draw the maps of a fitted estimator.

        Parameters
        ----------
        estimator : CRATEClassifier or CRATERegressor
            Fitted, with methods ``attention_maps`` and ``subspace_maps``.
        X : array-like of shape (n_samples, n_features)
            Rows; for images a few.
        layer : int or "rollout", default=-1
            Number of the layer; negative numbers count from the last. ``"rollout"``
            multiplies the attention of all layers, as one head; see the method
            ``attention_maps`` of the estimator. Only for ``kind="attention"``.
        kind : {"attention", "subspace"}, default="attention"
            Whether to show what is read from each token, by the class token or, where
            the network averages over the tokens instead, by a token on average; or the
            share of each token that lies in the subspace of each head. For
            ``attention="tssa"`` what is read is the membership of each token in the
            subspace of the head.
        token_names : sequence of str, default=None
            Names of the tokens of a table; None takes the names of the features where
            each has a token, and numbers otherwise.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : AttentionMapDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator has no attention.
        ValueError
            If `kind` is unknown, or there is no such layer.
        """
        if kind not in _KINDS:
            known = ", ".join(map(repr, _KINDS))
            raise ValueError(f"kind={kind!r} should be one of {known}.")
        if layer == "rollout" and kind != "attention":
            raise ValueError(
                f"layer='rollout' is for kind='attention', not {kind!r}; give the "
                "number of a layer."
            )
        check_has(estimator, [_KINDS[kind]], "AttentionMapDisplay", _ALTERNATIVES)
        maps = getattr(estimator, _KINDS[kind])(X, layer=layer)
        images = None
        shape = getattr(estimator, "image_shape", None)
        if shape is not None:
            images = as_array(X).astype(np.float64).reshape(len(maps), *shape)
        elif token_names is None:
            names = getattr(estimator, "feature_names_in_", None)
            is_named = names is not None and len(names) == maps.shape[-1]
            token_names = names if is_named and estimator.tokens == "feature" else None
        places = {-1: "last layer", "rollout": "all layers rolled out"}
        return cls.from_predictions(
            maps,
            images=images,
            token_names=token_names,
            title=f"{kind}, {places.get(layer, f'layer {layer}')}",
            head_names=["all heads"] if layer == "rollout" else None,
            ax=ax,
            **plot_settings,
        )

    @classmethod
    def from_predictions(
        cls,
        maps,
        *,
        images=None,
        token_names=None,
        title=None,
        head_names=None,
        ax=None,
        **plot_settings,
    ):
        """Draw maps that were read before.

        Parameters
        ----------
        maps : array-like of shape (n_samples, n_heads, n_tokens) or \
                (n_samples, n_heads, n_rows, n_columns)
            Non-negative weights.
        images : array-like of shape (n_samples, height, width) or \
                (n_samples, height, width, n_channels), default=None
            The images that the maps belong to.
        token_names : sequence of str, default=None
            Names of the tokens of a table; None numbers them from 0.
        title : str, default=None
            What the maps are.
        head_names : sequence of str, default=None
            Names of the heads; None numbers them from 0.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : AttentionMapDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the maps are of another shape, or names and images do not fit them.
        """
        display = cls(
            as_array(maps),
            images=None if images is None else as_array(images),
            token_names=token_names,
            title=title,
            head_names=head_names,
        )
        return display.plot(ax, **plot_settings)

    def plot(
        self, ax=None, *, cmap="magma", strength=0.7, max_tokens=20, max_samples=10
    ):
        """Draw the maps.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure.
        cmap : str or Colormap, default="magma"
            Colours of the heat over images, from none to the most of each map.
        strength : float, default=0.7
            Opacity of the heat over images, between 0 and 1.
        max_tokens : int, default=20
            Most bars of a table; the heaviest tokens are shown.
        max_samples : int, default=10
            Most images shown, the first ones.

        Returns
        -------
        display : AttentionMapDisplay
            Itself, with ``ax_`` and ``figure_``.

        Raises
        ------
        ValueError
            If the maps are of another shape, or names and images do not fit them.
        """
        maps = np.asarray(self.maps, dtype=np.float64)
        if maps.ndim not in (3, 4) or 0 in maps.shape:
            raise ValueError(
                f"maps of shape {maps.shape} should be (n_samples, n_heads, n_tokens) "
                "or (n_samples, n_heads, n_rows, n_columns), none of them zero."
            )
        if maps.ndim == 4:
            self._draw_images(ax, cmap, strength, max_samples)
        else:
            self._draw_bars(ax, maps, max_tokens)
        self.ax_.set_title(self.title or "")
        return self

    def _draw_images(self, ax, cmap, strength, max_samples):
        images = None if self.images is None else np.asarray(self.images)
        first = type(self)(
            np.asarray(self.maps)[:max_samples],
            images=None if images is None else images[:max_samples],
        )
        if images is not None and len(images) != len(self.maps):
            first = self
        n_samples, n_heads = np.shape(first.maps)[:2]
        pictures = first.mosaic(cmap=cmap, strength=strength)
        self.ax_, self.figure_ = check_axes(
            ax,
            "AttentionMapDisplay",
            figsize=(1.2 * (n_heads + 1) + 0.5, 1.2 * n_samples + 0.5),
        )
        self.ax_.imshow(pictures, interpolation="nearest")
        columns = self._names_of_heads(n_heads)
        if self.images is not None:
            columns = ["image", *columns]
        step = (pictures.shape[1] + _GAP) / len(columns)
        centres = step * (np.arange(len(columns)) + 0.5) - _GAP / 2 - 0.5
        self.ax_.set_xticks(centres, columns, fontsize=8)
        self.ax_.tick_params(length=0)
        self.ax_.set_yticks([])
        for side in self.ax_.spines.values():
            side.set_visible(False)

    def _names_of_heads(self, n_heads):
        if self.head_names is None:
            return [f"head {k}" for k in range(n_heads)]
        if len(self.head_names) != n_heads:
            raise ValueError(
                f"head_names has {len(self.head_names)} names for {n_heads} heads; "
                "give one for each."
            )
        return [str(name) for name in self.head_names]

    def mosaic(self, *, cmap="magma", strength=0.7):
        """Join the pictures of all samples and heads into one.

        Parameters
        ----------
        cmap : str or Colormap, default="magma"
            Colours of the heat.
        strength : float, default=0.7
            Opacity of the heat, between 0 and 1.

        Returns
        -------
        mosaic : ndarray of shape (height, width, 3)
            Colours in [0, 1]; a row of pictures for each sample.

        Raises
        ------
        ValueError
            If the images do not fit the maps.
        """
        matplotlib = require("matplotlib", extra="plot", purpose="AttentionMapDisplay")
        maps = np.asarray(self.maps, dtype=np.float64)
        grey = self._grey_images(maps)
        tall = grey.shape[1] // maps.shape[2]
        wide = grey.shape[2] // maps.shape[3]
        colours = matplotlib.colormaps.get_cmap(cmap)
        rows = []
        for picture, heads in zip(grey, maps, strict=True):
            cells = [] if self.images is None else [picture]
            for head in heads:
                heat = colours(head / max(head.max(), np.finfo(float).tiny))[..., :3]
                heat = heat.repeat(tall, axis=0).repeat(wide, axis=1)
                share = 1.0 if self.images is None else strength
                cells.append(share * heat + (1 - share) * picture)
            rows.append(_join(cells, axis=1))
        return _join(rows, axis=0)

    def _grey_images(self, maps):
        """Scale every image to [0, 1], in three channels."""
        shape = (len(maps), *maps.shape[2:])
        if self.images is None:
            return np.zeros((*shape, 3))
        images = np.asarray(self.images, dtype=np.float64)
        if images.ndim == 3:
            images = images[..., None]
        fits = images.ndim == 4 and len(images) == len(maps)
        if not fits or images.shape[1] % shape[1] or images.shape[2] % shape[2]:
            raise ValueError(
                f"images of shape {np.shape(self.images)} do not fit maps of shape "
                f"{maps.shape}; give one image a sample, whose sides are multiples of "
                "the sides of the maps."
            )
        if images.shape[3] != 3:
            images = images.mean(3, keepdims=True).repeat(3, axis=3)
        low = images.min((1, 2, 3), keepdims=True)
        spread = images.max((1, 2, 3), keepdims=True) - low
        return (images - low) / np.where(spread > 0, spread, 1)

    def _draw_bars(self, ax, maps, max_tokens):
        n_tokens = maps.shape[2]
        names = self.token_names
        if names is None:
            names = [str(i) for i in range(n_tokens)]
        if len(names) != n_tokens:
            raise ValueError(
                f"token_names has {len(names)} names for {n_tokens} tokens; give one "
                "for each."
            )
        weights = maps.mean(0) / maps.shape[1]  # (n_heads, n_tokens)
        order = np.argsort(-weights.sum(0), kind="stable")[:max_tokens]
        self.ax_, self.figure_ = check_axes(
            ax, "AttentionMapDisplay", figsize=(5.5, 0.9 + 0.28 * len(order))
        )
        start = np.zeros(len(order))
        heads = self._names_of_heads(len(weights))
        colours = class_colours(len(heads), purpose="AttentionMapDisplay")
        for name, head, colour in zip(heads, weights[:, order], colours, strict=True):
            self.ax_.barh(
                np.arange(len(order)), head, left=start, color=colour, label=name
            )
            start = start + head
        self.ax_.set_yticks(np.arange(len(order)), [str(names[i]) for i in order])
        self.ax_.invert_yaxis()
        self.ax_.set_xlabel("weight, mean over samples and heads")
        self.ax_.set_ylabel("token")
        # The longest bars are at the top, and leave no room inside.
        self.ax_.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))


def _join(parts, axis):
    """Put pictures side by side, with white between them."""
    shape = list(parts[0].shape)
    shape[axis] = _GAP
    gap = np.ones(shape)
    spaced = [piece for part in parts for piece in (part, gap)][:-1]
    return np.concatenate(spaced, axis=axis)
