"""Show how an objective went while an estimator was fitted."""

import numpy as np

from sklearn_whitebox.display._axes import check_axes
from sklearn_whitebox.display._classes import as_array, check_has, check_named

# What is drawn of an estimator, and the label of each curve.
_CURVES = {
    "objective_curve_": "objective",
    "loss_curve_": "training",
    "validation_curve_": "held out",
    "coding_length_curve_": "coding length",
    "objectives_": "runs",
}
# Estimators whose curves have a unit of their own: x axis, y axis.
_AXES = {
    "CRATEClassifier": ("pass", "log-loss (nats)"),
    "CRATERegressor": ("pass", "squared error of standardised targets"),
    "CodingLengthClusterer": ("number of clusters", "coding length (nats)"),
    "EnsembleKSubspaces": ("run", "sum of squared distances"),
    "KSubspaces": ("round", "sum of squared distances"),
    "LearnedSparseEncoder": ("pass", "mean loss of a sample"),
    "RateReductionClusterer": ("pass", "loss (nats per sample)"),
    "RateReductionEmbedding": ("pass", "−rate reduction (nats per sample)"),
    "ReduNetClassifier": ("layer", "rate reduction (nats per sample)"),
    "SparseAutoencoder": ("pass", "mean loss of a scaled sample"),
    "SparseDictionaryLearner": ("iteration", "objective"),
}
_ALTERNATIVES = (
    "estimators that are fitted in steps do: " + ", ".join(_AXES) + ". Numbers of your "
    "own go to LossCurveDisplay.from_predictions(curves)."
)


class LossCurveDisplay:
    """Objective of an estimator after each iteration, pass or layer of its fit.

    A training curve that still falls at its end asks for more iterations; a curve of
    held-out samples that rises again shows overfitting.

    Parameters
    ----------
    curves : dict of str to sequence of float
        Values of each curve; NaN leaves a gap.
    starts : dict of str to int, default=None
        Number of the first value of a curve; None takes 1 for all.
    marks : sequence of int, default=()
        Numbers to mark by vertical lines, such as the iteration that was kept.
    xlabel : str, default="iteration"
        What is counted.
    ylabel : str, default="loss"
        What is measured, and its unit.

    Attributes
    ----------
    ax_ : Axes
        Axes of the last plot.
    figure_ : Figure
        Figure of the last plot.
    lines_ : list of Line2D
        Curves of the last plot.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_whitebox import KSubspaces
    >>> from sklearn_whitebox.display import LossCurveDisplay
    >>> X, _ = load_iris(return_X_y=True)
    >>> model = KSubspaces(3, subspace_dim=1, random_state=0).fit(X)
    >>> display = LossCurveDisplay.from_estimator(model)
    >>> display.ax_.get_ylabel()
    'sum of squared distances'
    """

    def __init__(
        self, curves, *, starts=None, marks=(), xlabel="iteration", ylabel="loss"
    ):
        self.curves = curves
        self.starts = starts
        self.marks = marks
        self.xlabel = xlabel
        self.ylabel = ylabel

    @classmethod
    def from_estimator(
        cls, estimator, *, curve=None, name=None, ax=None, **plot_settings
    ):
        """Draw the curves that a fitted estimator has kept.

        Parameters
        ----------
        estimator : estimator
            Fitted, with an attribute ``objective_curve_``, ``loss_curve_``,
            ``validation_curve_``, ``coding_length_curve_`` or ``objectives_``.
        curve : str, default=None
            Attribute to draw alone; None takes all that are measured in the same unit.
        name : str, default=None
            Name of the estimator in the legend, to tell several on the same axes apart.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : LossCurveDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator keeps no curve.
        ValueError
            If it has none of that name, or all its curves are empty.
        """
        check_has(estimator, list(_CURVES), "LossCurveDisplay", _ALTERNATIVES)
        found = _found(estimator)
        if curve is not None and curve not in found:
            raise ValueError(
                f"curve={curve!r} is not kept by {type(estimator).__name__} or empty; "
                f"it has {', '.join(found) or 'none'}."
            )
        kind = type(estimator).__name__
        xlabel, ylabel = _AXES.get(kind, ("iteration", "loss"))
        if curve is not None:
            found = {curve: found[curve]}
        elif "objective_curve_" in found:
            # The training loss of a ReduNet counts other passes, downwards.
            found = {"objective_curve_": found["objective_curve_"]}
        if kind == "ReduNetClassifier" and "objective_curve_" not in found:
            xlabel, ylabel = "pass", "−rate reduction (nats per sample)"
        labels = {key: _label(_CURVES[key], name, len(found)) for key in found}
        start = 0 if xlabel == "layer" else 1
        return cls.from_predictions(
            {labels[key]: values for key, values in found.items()},
            starts=dict.fromkeys(labels.values(), start),
            marks=_marks(estimator, found),
            xlabel=xlabel,
            ylabel=ylabel,
            ax=ax,
            **plot_settings,
        )

    @classmethod
    def from_predictions(
        cls,
        curves,
        *,
        starts=None,
        marks=(),
        xlabel="iteration",
        ylabel="loss",
        ax=None,
        **plot_settings,
    ):
        """Draw given curves.

        Parameters
        ----------
        curves : dict of str to sequence of float
            Values of each curve.
        starts : dict of str to int, default=None
            Number of the first value of a curve; None takes 1 for all.
        marks : sequence of int, default=()
            Numbers to mark by vertical lines.
        xlabel : str, default="iteration"
            What is counted.
        ylabel : str, default="loss"
            What is measured, and its unit.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : LossCurveDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If `curves` has no names.
        ValueError
            If no curve holds a finite number.
        """
        check_named(curves, "curves")
        curves = {name: as_array(v).astype(float) for name, v in curves.items()}
        if not any(np.isfinite(values).any() for values in curves.values()):
            raise ValueError(
                "curves holds no finite number; an estimator that was fitted without "
                "an iteration (max_iter=0) has none."
            )
        display = cls(curves, starts=starts, marks=marks, xlabel=xlabel, ylabel=ylabel)
        return display.plot(ax, **plot_settings)

    def plot(self, ax=None, *, log=False):
        """Draw one line for each curve.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure. Curves are added to those there.
        log : bool, default=False
            Whether the y axis is logarithmic; only for positive values.

        Returns
        -------
        display : LossCurveDisplay
            Itself, with ``ax_``, ``figure_`` and ``lines_``.
        """
        self.ax_, self.figure_ = check_axes(ax, "LossCurveDisplay", figsize=(6, 4.2))
        self.lines_, colour = [], None
        for number, (name, values) in enumerate(self.curves.items()):
            values = np.asarray(values, dtype=float)
            first = 1 if self.starts is None else self.starts.get(name, 1)
            steps = np.arange(first, first + len(values))
            style = ("-", "--", ":", "-.")[number % 4]
            if self.xlabel == "run":
                # A run does not start where the one before it ended.
                style = ""
            # Points, where there are few: a line of one value cannot be seen.
            marker = "o" if len(values) <= 30 else None
            self.lines_ += self.ax_.plot(
                steps, values, style, marker=marker, markersize=4, label=name
            )
            colour = colour or self.lines_[0].get_color()
        label = "kept"
        for mark in sorted(set(self.marks)):
            self.ax_.axvline(
                mark, color=colour, linewidth=0.8, linestyle=":", label=label
            )
            label = None
        if log:
            self.ax_.set_yscale("log")
        else:
            self.ax_.ticklabel_format(axis="y", useOffset=False)
        self.ax_.set(xlabel=self.xlabel, ylabel=self.ylabel)
        self.ax_.xaxis.get_major_locator().set_params(integer=True)
        self.ax_.grid(visible=True, alpha=0.3)
        if len(self.ax_.get_legend_handles_labels()[1]) > 1:
            self.ax_.legend(fontsize="small")
        return self


def _found(estimator):
    """Give the curves of an estimator that hold a number."""
    found = {}
    for attribute in _CURVES:
        values = np.asarray(getattr(estimator, attribute, ()), dtype=float).ravel()
        if np.isfinite(values).any():
            found[attribute] = values
    return found


def _label(label, name, n_curves):
    if name is None:
        return label
    return name if n_curves == 1 else f"{name}, {label}"


def _marks(estimator, found):
    """Give what was chosen on a curve: passes that were kept, a number of clusters."""
    if "coding_length_curve_" in found:
        return [int(estimator.n_clusters_)]
    if "validation_curve_" not in found:
        return []
    best = np.ravel(getattr(estimator, "best_iteration_", ()))
    return [int(number) for number in best if number > 0]
