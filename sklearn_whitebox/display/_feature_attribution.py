"""Show what the features contribute to predictions, and whether that can be trusted."""

import numpy as np

from sklearn_whitebox.display._axes import check_panels
from sklearn_whitebox.display._classes import as_array, check_has

# Points of a feature that are drawn; more would only hide one another.
_MOST_POINTS = 400
# Bins in which the points of a feature are spread sideways.
_BINS = 40
_ALTERNATIVES = (
    "CRATEClassifier and CRATERegressor do. Attributions from elsewhere go to "
    "FeatureAttributionDisplay.from_predictions(attributions)."
)


class FeatureAttributionDisplay:
    """Attributions of the features beside the loss of shuffling them.

    On the left, a point for each sample and feature: how much the value of the feature
    moved the prediction, coloured by that value. On the right, if they are given, how
    much the loss on held-out samples grows when the feature is shuffled. Where the two
    disagree about which features matter, the attributions do not explain the quality of
    the predictions.

    Parameters
    ----------
    attributions : ndarray of shape (n_samples, n_features)
        Signed contributions to the prediction of each sample.
    values : ndarray of shape (n_samples, n_features), default=None
        Values of the features, for the colours; only their order matters. Categories
        and missing values are NaN, and drawn in grey.
    feature_names : sequence of str, default=None
        Names of the features; None numbers them from 0.
    importances : ndarray of shape (n_features, n_repeats), default=None
        Growth of the loss when a feature is shuffled, in each repetition.
    rank_correlation : float, default=None
        Rank correlation of the mean absolute attributions with the mean importances.
    quantity : str, default="log-odds"
        What the attributions are contributions to.

    Attributes
    ----------
    ax_ : Axes
        Axes of the attributions in the last plot.
    axes_ : ndarray of Axes
        Axes of the last plot: one, or two with `importances`.
    figure_ : Figure
        Figure of the last plot.
    order_ : ndarray of int
        Numbers of the features that were drawn, from the top.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_whitebox.display import FeatureAttributionDisplay
    >>> attributions = np.array([[0.1, -2.0], [-0.2, 1.0]])
    >>> display = FeatureAttributionDisplay(attributions).plot()
    >>> display.order_
    array([1, 0])
    """

    def __init__(
        self,
        attributions,
        *,
        values=None,
        feature_names=None,
        importances=None,
        rank_correlation=None,
        quantity="log-odds",
    ):
        self.attributions = attributions
        self.values = values
        self.feature_names = feature_names
        self.importances = importances
        self.rank_correlation = rank_correlation
        self.quantity = quantity

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        target=None,
        baseline="median",
        n_steps=32,
        n_repeats=5,
        random_state=None,
        feature_names=None,
        ax=None,
        **plot_settings,
    ):
        """Attribute the predictions of a fitted estimator, and check that with labels.

        Parameters
        ----------
        estimator : CRATEClassifier or CRATERegressor
            Fitted, with methods ``feature_attributions`` and ``check_attributions``.
        X : array-like of shape (n_samples, n_features)
            Rows, not seen in training if they are to tell what generalises.
        y : array-like of shape (n_samples,), default=None
            Their labels, for the check; None leaves it out.
        target : label, default=None
            Class whose log-odds are attributed; None takes the class predicted for each
            row.
        baseline : "median" or array-like of shape (n_features,), default="median"
            Row that contributes nothing.
        n_steps : int, default=32
            Points on the way from the baseline to a row.
        n_repeats : int, default=5
            How often each feature is shuffled.
        random_state : int, RandomState instance or None, default=None
            Determines the shuffling.
        feature_names : sequence of str, default=None
            Names of the features; None takes those seen in training, if any.
        ax : Axes or sequence of two Axes, default=None
            Where to draw; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : FeatureAttributionDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator does not attribute its predictions.
        """
        wanted = ["feature_attributions"]
        check_has(estimator, wanted, "FeatureAttributionDisplay", _ALTERNATIVES)
        settings = {"target": target, "baseline": baseline, "n_steps": n_steps}
        found = {}
        if y is not None:
            check = estimator.check_attributions(
                X, y, n_repeats=n_repeats, random_state=random_state, **settings
            )
            attributions = check.attributions
            found["importances"] = check.importances
            found["rank_correlation"] = check.rank_correlation
        else:
            attributions = estimator.feature_attributions(X, **settings)
        if feature_names is None:
            feature_names = getattr(estimator, "feature_names_in_", None)
        display = cls(
            np.asarray(attributions),
            values=_numbers(X),
            feature_names=feature_names,
            quantity="log-odds" if hasattr(estimator, "classes_") else "prediction",
            **found,
        )
        return display.plot(ax, **plot_settings)

    @classmethod
    def from_predictions(
        cls,
        attributions,
        *,
        values=None,
        feature_names=None,
        importances=None,
        rank_correlation=None,
        quantity="prediction",
        ax=None,
        **plot_settings,
    ):
        """Draw attributions of predictions that were found before, by any method.

        Parameters
        ----------
        attributions : array-like of shape (n_samples, n_features)
            Signed contributions to the prediction of each sample.
        values : array-like of shape (n_samples, n_features), default=None
            Values of the features, for the colours; what is no number is grey.
        feature_names : sequence of str, default=None
            Names of the features; None takes the columns of `values`, if it has any,
            and otherwise numbers them from 0.
        importances : array-like of shape (n_features, n_repeats), default=None
            Growth of the loss when a feature is shuffled, in each repetition.
        rank_correlation : float, default=None
            Rank correlation of the mean absolute attributions with the importances.
        quantity : str, default="prediction"
            What the attributions are contributions to.
        ax : Axes or sequence of two Axes, default=None
            Where to draw; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : FeatureAttributionDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the arrays do not fit one another.
        """
        if feature_names is None and hasattr(values, "columns"):
            feature_names = [str(name) for name in values.columns]
        attributions = as_array(attributions)
        if values is not None and np.shape(values) != attributions.shape:
            raise ValueError(
                f"values of shape {np.shape(values)} should have the shape "
                f"{attributions.shape} of attributions."
            )
        display = cls(
            attributions,
            values=None if values is None else _numbers(values),
            feature_names=feature_names,
            importances=None if importances is None else as_array(importances),
            rank_correlation=rank_correlation,
            quantity=quantity,
        )
        return display.plot(ax, **plot_settings)

    def plot(self, ax=None, *, kind="swarm", max_features=15, cmap="coolwarm"):
        """Draw the attributions, and the importances if there are any.

        Parameters
        ----------
        ax : Axes or sequence of two Axes, default=None
            Where to draw; None makes a figure.
        kind : {"swarm", "bar"}, default="swarm"
            A point for each sample, or a bar for the mean absolute attribution.
        max_features : int, default=15
            Most features shown, those with the largest mean absolute attribution.
        cmap : str or Colormap, default="coolwarm"
            Colours from small to large values of a feature.

        Returns
        -------
        display : FeatureAttributionDisplay
            Itself, with ``ax_``, ``axes_``, ``figure_`` and ``order_``.

        Raises
        ------
        ValueError
            If `kind` is unknown, or the arrays or axes do not fit one another.
        """
        if kind not in ("swarm", "bar"):
            raise ValueError(f"kind={kind!r} should be 'swarm' or 'bar'.")
        attributions = np.asarray(self.attributions, dtype=np.float64)
        if attributions.ndim != 2 or 0 in attributions.shape:
            raise ValueError(
                f"attributions of shape {attributions.shape} should be (n_samples, "
                "n_features), neither of them zero."
            )
        names = self._names(attributions.shape[1])
        sizes = np.abs(attributions).mean(0)
        self.order_ = np.argsort(-sizes, kind="stable")[:max_features]
        n_panels = 1 if self.importances is None else 2
        self.axes_, self.figure_ = check_panels(
            ax,
            n_panels,
            "FeatureAttributionDisplay",
            size=((5.5 + 3 * (n_panels - 1)) / n_panels, 1.2 + 0.3 * len(self.order_)),
            width_ratios=None if ax is not None else [5, 3][:n_panels],
        )
        self.ax_ = self.axes_[0]
        places = np.arange(len(self.order_))
        if kind == "bar":
            self.axes_[0].barh(places, sizes[self.order_], color="C0")
            self.axes_[0].set_xlabel(f"mean |contribution| to the {self.quantity}")
        else:
            self._draw_swarm(attributions, cmap)
            self.axes_[0].set_xlabel(f"contribution to the {self.quantity}")
        self.axes_[0].set_yticks(places, [names[i] for i in self.order_])
        self.axes_[0].set_ylim(len(places) - 0.5, -0.5)
        if self.importances is not None:
            self._draw_importances(places, attributions.shape[1])
        return self

    def _names(self, n_features):
        if self.feature_names is None:
            return [str(i) for i in range(n_features)]
        if len(self.feature_names) != n_features:
            raise ValueError(
                f"feature_names has {len(self.feature_names)} names for {n_features} "
                "features; give one for each."
            )
        return [str(name) for name in self.feature_names]

    def _draw_swarm(self, attributions, cmap):
        axes = self.axes_[0]
        axes.axvline(0, color="grey", linewidth=0.8)
        rows = np.linspace(0, len(attributions) - 1, _MOST_POINTS).round().astype(int)
        rows = np.unique(rows)
        points = None
        for place, feature in enumerate(self.order_):
            across = attributions[rows, feature]
            colours = np.full(len(rows), np.nan)
            if self.values is not None:
                colours = _ranks(np.asarray(self.values)[rows, feature])
            known = np.isfinite(colours)
            height = place + _spread(across)
            axes.scatter(across[~known], height[~known], s=6, color="0.6")
            points = axes.scatter(
                across[known],
                height[known],
                c=colours[known],
                s=6,
                cmap=cmap,
                vmin=0,
                vmax=1,
            )
        if self.values is not None:
            bar = self.figure_.colorbar(points, ax=axes, ticks=[0, 1], pad=0.02)
            bar.ax.set_yticklabels(["low", "high"])
            bar.set_label("value of the feature", labelpad=-12)

    def _draw_importances(self, places, n_features):
        importances = np.asarray(self.importances, dtype=np.float64)
        if importances.ndim == 1:
            importances = importances[:, None]
        if len(importances) != n_features:
            raise ValueError(
                f"importances of shape {importances.shape} should have a row for each "
                f"of the {n_features} features."
            )
        shown = importances[self.order_]
        deviations = shown.std(1) if shown.shape[1] > 1 else None
        self.axes_[1].barh(places, shown.mean(1), xerr=deviations, color="C1")
        self.axes_[1].set_xlabel("loss added by shuffling")
        # Another number of features would make the bars of the sides incomparable.
        self.axes_[1].set_ylim(len(places) - 0.5, -0.5)
        self.axes_[1].set_yticks(places, [])
        if self.rank_correlation is not None:
            self.axes_[1].set_title(
                f"rank correlation of both {self.rank_correlation:.2f}", fontsize=10
            )


def _numbers(X):
    """Give the numbers of a table, NaN for all that is none."""
    columns = []
    for j in range(np.shape(X)[1]):
        column = X.iloc[:, j] if hasattr(X, "iloc") else np.asarray(X)[:, j]
        try:
            columns.append(np.asarray(column, dtype=np.float64))
        except (TypeError, ValueError):
            columns.append(np.full(len(column), np.nan))
    return np.stack(columns, axis=1)


def _ranks(values):
    """Place values between 0 and 1 by their order, equal ones alike; NaN stays."""
    values = np.asarray(values, dtype=np.float64)
    ranks = np.full(len(values), np.nan)
    known = np.isfinite(values)
    distinct, order = np.unique(values[known], return_inverse=True)
    ranks[known] = order / max(len(distinct) - 1, 1)
    return ranks


def _spread(values):
    """Move points of like values apart, symmetrically, the more the denser they lie."""
    low, high = values.min(), values.max()
    width = max(high - low, np.finfo(float).tiny)
    bins = np.minimum(((values - low) / width * _BINS).astype(int), _BINS - 1)
    offsets = np.zeros(len(values))
    counts = np.bincount(bins, minlength=_BINS)
    for number in np.flatnonzero(counts > 1):
        members = np.flatnonzero(bins == number)
        half = 0.4 * counts[number] / counts.max()
        offsets[members] = np.linspace(-half, half, len(members))
    return offsets
