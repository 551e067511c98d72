"""Show how the rate reduction of features grows with their number."""

import numpy as np

from sklearn_whitebox.display._axes import check_axes
from sklearn_whitebox.display._classes import (
    check_features,
    check_has,
    check_labels,
    check_named,
)
from sklearn_whitebox.functional import optimal_rate_reduction
from sklearn_whitebox.metrics import rate_reduction_score

_ALTERNATIVES = "give features to RateCurveDisplay.from_predictions(features, y)."


class RateCurveDisplay:
    """Rate reduction of several embeddings against their dimension.

    Parameters
    ----------
    dimensions : dict of str to sequence of int
        Numbers of features of each embedding.
    rates : dict of str to sequence of float
        Rate reduction at these numbers, in nats per sample.
    attainable : tuple of (sequence of int, sequence of float) or None, default=None
        Dimensions, and the largest rate reduction that is possible there.

    Attributes
    ----------
    ax_ : Axes
        Axes of the last plot.
    figure_ : Figure
        Figure of the last plot.

    Examples
    --------
    >>> from sklearn_whitebox.display import RateCurveDisplay
    >>> display = RateCurveDisplay({"PCA": [2, 4]}, {"PCA": [0.1, 0.3]}).plot()
    >>> display.ax_.get_ylabel()
    'rate reduction (nats per sample)'
    """

    def __init__(self, dimensions, rates, *, attainable=None):
        self.dimensions = dimensions
        self.rates = rates
        self.attainable = attainable

    @classmethod
    def from_estimator(cls, estimator, X, y, *, distortion=0.5, ax=None):
        """Draw the rate reduction of the features of fitted transformers.

        Parameters
        ----------
        estimator : transformer, sequence of transformers, or dict of str to these
            Fitted with different numbers of features; a dict has one curve for each
            name.
        X : array-like of shape (n_samples, n_features)
            Samples, best not seen in training.
        y : array-like of shape (n_samples,)
            Class of each sample.
        distortion : float, default=0.5
            Allowed mean squared error per sample, ε².
        ax : Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : RateCurveDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If an estimator does not transform.
        """
        if not isinstance(estimator, dict):
            several = isinstance(estimator, list | tuple)
            models = list(estimator) if several else [estimator]
            estimator = {type(model).__name__: models for model in models[:1]}
        features = {}
        for name, models in estimator.items():
            models = models if isinstance(models, list | tuple) else [models]
            for model in models:
                check_has(model, ["transform"], "RateCurveDisplay", _ALTERNATIVES)
            features[name] = [model.transform(X) for model in models]
        return cls.from_predictions(features, y, distortion=distortion, ax=ax)

    @classmethod
    def from_predictions(cls, features, y, *, distortion=0.5, ax=None):
        """Draw the rate reduction of given features.

        Parameters
        ----------
        features : dict of str to sequence of array-like of shape (n_samples, dim)
            Features of different dimensions, for each curve; they are scaled to unit
            norm.
        y : array-like of shape (n_samples,)
            Class of each row.
        distortion : float, default=0.5
            Allowed mean squared error per sample, ε².
        ax : Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : RateCurveDisplay
            The display, drawn; with the largest rate reduction that classes of these
            sizes can have.

        Raises
        ------
        TypeError
            If the features have no names.
        ValueError
            If the lengths of features and `y` differ, there are no features, or a
            class is missing.
        """
        check_named(features, "features")
        y = check_labels(y)
        dimensions, rates = {}, {}
        for name, several in features.items():
            several = [check_features(Z, y)[0] for Z in several]
            several = sorted(several, key=lambda Z: Z.shape[1])
            dimensions[name] = [Z.shape[1] for Z in several]
            rates[name] = [
                rate_reduction_score(Z, y, distortion=distortion) for Z in several
            ]
        if not any(dimensions.values()):
            raise ValueError("features is empty; give at least one matrix.")
        sizes = np.unique(y, return_counts=True)[1].tolist()
        dims = sorted({d for some in dimensions.values() for d in some})
        largest = [
            optimal_rate_reduction(sizes, d, distortion=distortion) for d in dims
        ]
        return cls(dimensions, rates, attainable=(dims, largest)).plot(ax)

    def plot(self, ax=None):
        """Draw one curve per embedding.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : RateCurveDisplay
            Itself, with ``ax_`` and ``figure_``.
        """
        self.ax_, self.figure_ = check_axes(ax, "RateCurveDisplay", figsize=(6, 4.5))
        if self.attainable is not None:
            self.ax_.plot(*self.attainable, "k--", linewidth=1, label="attainable")
        for number, (name, dimensions) in enumerate(self.dimensions.items()):
            # Markers tell curves apart where colours do not.
            style = "osD^vP*X"[number % 8] + "-"
            self.ax_.plot(dimensions, self.rates[name], style, label=name)
        self.ax_.set_xscale("log", base=2)
        self.ax_.xaxis.set_major_formatter("{x:g}")
        self.ax_.set(xlabel="dimension", ylabel="rate reduction (nats per sample)")
        self.ax_.grid(visible=True, alpha=0.3)
        self.ax_.legend()
        return self
