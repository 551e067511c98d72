"""Show what each layer of a white-box network does."""

import numpy as np

from sklearn_whitebox.display._axes import check_panels
from sklearn_whitebox.display._classes import check_named
from sklearn_whitebox.display._layer_measures import measure_layers

# Panel: kinds of networks it is for, told by a statistic they have, with the label of
# the axis and a legend for each curve. The first that fits is drawn.
_PANELS = {
    "rate": [
        (
            "coding_rate_half",
            "coding rate in the subspaces (nats)",
            {"coding_rate": "before", "coding_rate_half": "after compression"},
        ),
        (
            "coding_rate",
            "coding rate (nats per sample)",
            {
                "coding_rate": "all samples",
                "conditional_coding_rate": "inside the classes",
                "estimated_conditional_coding_rate": "inside estimated classes",
            },
        ),
    ],
    "reduction": [
        (
            "rate_reduction_half",
            "rate reduction (nats)",
            {"rate_reduction": "before", "rate_reduction_half": "after compression"},
        ),
        (
            "rate_reduction",
            "rate reduction (nats)",
            {
                "rate_reduction": "of the classes",
                "estimated_rate_reduction": "of estimated classes",
            },
        ),
        (
            "estimated_rate_reduction",
            "rate reduction (nats)",
            {"estimated_rate_reduction": "of estimated classes"},
        ),
    ],
    "sparsity": [
        (
            None,
            "share",
            {"nonzero_fraction": "non-zero entries", "dead_tokens": "tokens all zero"},
        )
    ],
    "lasso": [
        (
            "lasso_objective",
            "lasso objective per sample",
            {"lasso_objective": "after the layer", "lasso_optimum": "exact codes"},
        ),
        (
            None,
            "lasso objective per token",
            {"lasso_before": "before", "lasso_after": "after sparse step"},
        ),
    ],
    "membership": [
        (None, "accuracy of memberships", {"membership_accuracy": "accuracy"}),
    ],
    "energy": [(None, "head", {"energy_share": "share of the energy of tokens"})],
    "attention": [
        (
            None,
            "mean over the heads",
            {
                "attention_entropy": "entropy (nats)",
                "attention_diagonal": "weight on itself",
            },
        )
    ],
    "coherence": [
        (
            None,
            "coherence",
            {"subspace_coherence": "subspaces", "dictionary_coherence": "atoms"},
        )
    ],
}
_DEFAULT = ("rate", "sparsity", "lasso", "membership", "energy")
# Statistics of the input and of what each layer makes of it, one more than layers.
_OF_INPUT_TOO = {"conditional_coding_rate", "rate_reduction", "coding_rate"}


class LayerStatisticsDisplay:
    """Compression, sparsity and energy of the layers of a white-box network.

    Parameters
    ----------
    statistics : dict of str to ndarray
        One row a layer, under the names of
        :func:`sklearn_whitebox.modules.layer_statistics` and
        :meth:`sklearn_whitebox.ReduNetClassifier.layer_statistics`; further
        ``energy_share`` of shape (n_layers, n_heads), and for unrolled encoders
        ``lasso_objective`` and ``lasso_optimum``.

    Attributes
    ----------
    ax_ : Axes
        Axes of the first panel of the last plot.
    axes_ : ndarray of Axes
        Axes of the last plot, one a panel.
    figure_ : Figure
        Figure of the last plot.

    Notes
    -----
    No curve of a transformer has to fall from layer to layer. What a layer does to the
    rate is the step from *before* to *after compression* in the same place; what the
    sparse step does to its objective likewise. Layer 0 of a ReduNet or of an unrolled
    encoder is its input, or the zero code.

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
        cls,
        estimator,
        X=None,
        y=None,
        *,
        distortion=0.01,
        max_samples=256,
        ax=None,
        **plot_settings,
    ):
        """Measure the layers of a fitted estimator, and draw what was measured.

        Parameters
        ----------
        estimator : estimator
            Fitted :class:`~sklearn_whitebox.CRATEClassifier`,
            :class:`~sklearn_whitebox.CRATERegressor`,
            :class:`~sklearn_whitebox.ReduNetClassifier` or
            :class:`~sklearn_whitebox.LearnedSparseEncoder`.
        X : array-like of shape (n_samples, n_features), default=None
            Rows to measure on. A ReduNet can do without, and shows what was measured
            while it was built.
        y : array-like of shape (n_samples,), default=None
            Their labels, for the rates inside the classes of a ReduNet; the others
            ignore them.
        distortion : float, default=0.01
            Allowed mean squared error per token of unit norm, ε², for transformers; a
            ReduNet uses its own.
        max_samples : int or None, default=256
            Look at so many rows only, at equal distances; None looks at all.
        ax : Axes or sequence of Axes, default=None
            Where to draw, one for each panel; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : LayerStatisticsDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator has no layers that can be measured.
        ValueError
            If `X` is None and the estimator keeps no statistics, or a setting is not
            positive.
        """
        found = measure_layers(
            estimator, X, y, distortion=distortion, max_samples=max_samples
        )
        return cls(found).plot(ax, **plot_settings)

    @classmethod
    def from_predictions(cls, statistics, *, ax=None, **plot_settings):
        """Draw statistics that were measured before.

        Parameters
        ----------
        statistics : dict of str to array-like
            As returned by the method ``layer_statistics`` of an estimator.
        ax : Axes or sequence of Axes, default=None
            Where to draw, one for each panel; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : LayerStatisticsDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the statistics have no names.
        ValueError
            If there is nothing to draw.
        """
        check_named(statistics, "statistics")
        return cls({k: np.asarray(v) for k, v in statistics.items()}).plot(
            ax, **plot_settings
        )

    def plot(self, ax=None, *, panels=None, cmap="viridis"):
        """Draw one panel for each kind of statistic.

        Parameters
        ----------
        ax : Axes or sequence of Axes, default=None
            Where to draw, one for each panel; None makes a figure.
        panels : sequence of {"rate", "reduction", "sparsity", "lasso", "membership", \
                "energy", "attention", "coherence"}, default=None
            What to draw; None takes rate, sparsity, lasso, membership and energy as far
            as the layers have them.
        cmap : str or Colormap, default="viridis"
            Colours of the energy of the heads.

        Returns
        -------
        display : LayerStatisticsDisplay
            Itself, with ``ax_``, ``axes_`` and ``figure_``.

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
        # More than two side by side are too small to read on a page.
        self.axes_, self.figure_ = check_panels(
            ax, len(panels), "LayerStatisticsDisplay", size=(4.2, 3.2), n_columns=2
        )
        self.ax_ = self.axes_[0]
        for axes, name in zip(self.axes_, panels, strict=True):
            if name == "energy":
                self._draw_energy(axes, cmap)
            else:
                self._draw(axes, name)
        return self

    def _kind(self, panel):
        """Give label and legend of a panel for the network that was measured."""
        for statistic, label, legend in _PANELS[panel]:
            if statistic is None or self._has(statistic):
                return label, legend
        return _PANELS[panel][0][1:]

    def _has(self, name):
        return np.isfinite(np.asarray(self.statistics.get(name, ()), float)).any()

    def _curves(self, panel):
        """Give the curves of a panel that hold a number, one value a layer."""
        curves = {}
        for name, label in self._kind(panel)[1].items():
            if not self._has(name):
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
        first = self._first_layer()
        for number, (name, (values, label)) in enumerate(curves.items()):
            is_input_there = name in _OF_INPUT_TOO or name.startswith("lasso_o")
            start = 0 if is_input_there else first
            layers = np.arange(start, start + len(values))
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
            style = ("o-", "s--", "^:")[number % 3]
            axes.plot(
                layers, values, style, color=f"C{number}", markersize=4, label=label
            )
        axes.set(xlabel="layer", ylabel=self._kind(panel)[0])
        if curves:
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(visible=True, alpha=0.3)
            if len(axes.get_legend_handles_labels()[1]) > 1:
                axes.legend(fontsize=8)
        if panel in ("sparsity", "coherence", "membership"):
            axes.set_ylim(-0.03, 1.03)

    def _first_layer(self):
        """Give 1 where the input is measured, too, and is layer 0."""
        lengths = {len(v) for v in self.statistics.values() if np.ndim(v)}
        return 1 if len(lengths) == 2 else 0

    def _draw_energy(self, axes, cmap):
        shares = np.asarray(self.statistics.get("energy_share", ()), dtype=np.float64)
        axes.set(xlabel="layer", ylabel="head")
        if not shares.size:
            return
        image = axes.imshow(
            shares.T, cmap=cmap, vmin=0, aspect="auto", interpolation="nearest"
        )
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_major_locator().set_params(integer=True)
        bar = axes.figure.colorbar(image, ax=axes)
        bar.set_label("share of energy of tokens")


def _mean_off_diagonal(matrices):
    """Average how close each subspace is to the others; NaN if there is but one."""
    n_heads = matrices.shape[1]
    if n_heads == 1:
        return np.full(len(matrices), np.nan)
    sums = matrices.sum((1, 2)) - np.trace(matrices, axis1=1, axis2=2)
    return sums / (n_heads * (n_heads - 1))
