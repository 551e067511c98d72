"""Show what each layer of a white-box transformer does."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._optional import require

# Panel: label of its axis, and a legend for each curve in it.
_PANELS = {
    "rate": (
        "coding rate in the subspaces (nats)",
        {"coding_rate": "before", "coding_rate_half": "after compression"},
    ),
    "reduction": (
        "rate reduction (nats)",
        {"rate_reduction": "before", "rate_reduction_half": "after compression"},
    ),
    "sparsity": (
        "share",
        {"nonzero_fraction": "non-zero entries", "dead_tokens": "tokens all zero"},
    ),
    "lasso": (
        "lasso objective per token",
        {"lasso_before": "before", "lasso_after": "after sparse step"},
    ),
    "attention": (
        "mean over the heads",
        {
            "attention_entropy": "entropy (nats)",
            "attention_diagonal": "weight on itself",
        },
    ),
    "coherence": (
        "coherence",
        {"subspace_coherence": "subspaces", "dictionary_coherence": "atoms"},
    ),
}
_DEFAULT = ("rate", "sparsity", "lasso")


class LayerStatisticsDisplay:
    """Compression and sparsity of the layers of a white-box transformer.

    Parameters
    ----------
    statistics : dict of str to ndarray
        One row a layer; see :func:`sklearn_whitebox.modules.layer_statistics`.

    Attributes
    ----------
    axes_ : ndarray of Axes
        Axes of the last plot, one a panel.
    figure_ : Figure
        Figure of the last plot.

    Notes
    -----
    No curve has to fall from layer to layer. What a layer does to the rate is the step
    from *before* to *after compression* in the same place; what the sparse step does to
    its objective likewise.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_whitebox.display import LayerStatisticsDisplay
    >>> statistics = {
    ...     "lasso_before": np.array([4.0, 3.0]),
    ...     "lasso_after": np.array([2.0, 1.0]),
    ... }
    >>> display = LayerStatisticsDisplay(statistics).plot(panels=["lasso"])
    >>> display.axes_[0].get_ylabel()
    'lasso objective per token'
    """

    def __init__(self, statistics):
        self.statistics = statistics

    @classmethod
    def from_estimator(
        cls, estimator, X, *, distortion=0.01, max_samples=256, ax=None, **plot_settings
    ):
        """Measure the layers of a fitted estimator, and draw what was measured.

        Parameters
        ----------
        estimator : CRATEClassifier or CRATERegressor
            Fitted, with a method ``layer_statistics``.
        X : array-like of shape (n_samples, n_features)
            Rows to measure on.
        distortion : float, default=0.01
            Allowed mean squared error per token of unit norm, ε².
        max_samples : int or None, default=256
            Look at the first so many rows only; None looks at all.
        ax : Axes or sequence of Axes, default=None
            Where to draw, one for each panel; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : LayerStatisticsDisplay
            The display, drawn.
        """
        check_is_fitted(estimator)
        found = estimator.layer_statistics(
            X, distortion=distortion, max_samples=max_samples
        )
        return cls(found).plot(ax, **plot_settings)

    def plot(self, ax=None, *, panels=None):
        """Draw one panel for each kind of statistic.

        Parameters
        ----------
        ax : Axes or sequence of Axes, default=None
            Where to draw, one for each panel; None makes a figure.
        panels : sequence of {"rate", "reduction", "sparsity", "lasso", "attention", \
                "coherence"}, default=None
            What to draw; None takes rate, sparsity and lasso as far as the layers have
            them.

        Returns
        -------
        display : LayerStatisticsDisplay
            Itself, with ``axes_`` and ``figure_``.

        Raises
        ------
        ValueError
            If a panel is unknown, there is nothing to draw, or the axes are not as many
            as the panels.
        """
        if panels is None:
            panels = [name for name in _DEFAULT if self._curves(name)]
        for name in panels:
            if name not in _PANELS:
                known = ", ".join(map(repr, _PANELS))
                raise ValueError(f"panels has {name!r}; use some of {known}.")
        if not any(self._curves(name) for name in panels):
            raise ValueError(
                f"There is nothing to draw in panels={list(panels)}: the model has no "
                "layers, or its layers have no such statistics."
            )
        self.axes_, self.figure_ = _axes(ax, len(panels))
        for axes, name in zip(self.axes_, panels, strict=True):
            self._draw(axes, name)
        return self

    def _curves(self, panel):
        """Give the curves of a panel that hold a number, one value a layer."""
        curves = {}
        for name, label in _PANELS[panel][1].items():
            if name not in self.statistics:
                continue
            values = np.asarray(self.statistics[name], dtype=np.float64)
            if values.ndim == 3:
                values = _mean_off_diagonal(values)
            elif values.ndim == 2:
                values = values.mean(1)
            if np.isfinite(values).any():
                curves[name] = (values, label)
        return curves

    def _draw(self, axes, panel):
        curves = self._curves(panel)
        for number, (name, (values, label)) in enumerate(curves.items()):
            layers = np.arange(len(values))
            deviation = self.statistics.get(f"{name}_std")
            if deviation is not None and np.isfinite(deviation).all():
                axes.fill_between(
                    layers,
                    values - deviation,
                    values + deviation,
                    color=f"C{number}",
                    alpha=0.15,
                    linewidth=0,
                    label="± deviation over samples",
                )
            style = ("o-", "s--")[number % 2]
            axes.plot(layers, values, style, color=f"C{number}", label=label)
        axes.set(xlabel="layer", ylabel=_PANELS[panel][0])
        if curves:
            axes.set_xticks(range(max(len(values) for values, _ in curves.values())))
            axes.legend(fontsize=8)
        if panel in ("sparsity", "coherence"):
            axes.set_ylim(-0.03, 1.03)


def _mean_off_diagonal(matrices):
    """Average how close each subspace is to the others; NaN if there is but one."""
    n_heads = matrices.shape[1]
    if n_heads == 1:
        return np.full(len(matrices), np.nan)
    sums = matrices.sum((1, 2)) - np.trace(matrices, axis1=1, axis2=2)
    return sums / (n_heads * (n_heads - 1))


def _axes(ax, n_panels):
    if ax is None:
        pyplot = require(
            "matplotlib.pyplot", extra="plot", purpose="LayerStatisticsDisplay"
        )
        figure, axes = pyplot.subplots(
            1,
            n_panels,
            figsize=(3.6 * n_panels, 3.2),
            layout="constrained",
            squeeze=False,
        )
        return axes[0], figure
    axes = np.array([ax] if not np.iterable(ax) else list(np.ravel(ax)), dtype=object)
    if len(axes) != n_panels:
        raise ValueError(
            f"ax has {len(axes)} axes for {n_panels} panels; give one for each, or "
            "choose panels=."
        )
    return axes, axes[0].figure
