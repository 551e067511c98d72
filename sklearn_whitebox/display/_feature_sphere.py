"""Show features of three dimensions on the unit sphere."""

import numpy as np

from sklearn_whitebox.display._axes import check_axes
from sklearn_whitebox.display._classes import (
    as_features,
    check_features,
    check_has,
    check_labels,
    class_markers,
    classes_of,
)

# Points of a meridian of the drawn sphere.
_ARC = 60
# Classes up to which each has an entry in the legend.
_MOST_NAMED = 12
_ALTERNATIVES = (
    "give the features to FeatureSphereDisplay.from_predictions(Z, y) if you have them."
)


class FeatureSphereDisplay:
    """Features of three dimensions on the unit sphere, coloured by class.

    A line through the origin is drawn along the strongest direction of each class.
    Classes that maximal rate reduction has made orthogonal lie about three orthogonal
    lines.

    Parameters
    ----------
    features : ndarray of shape (n_samples, 3)
        Features; they are divided by their norms.
    labels : ndarray of shape (n_samples,)
        Class of each row.

    Attributes
    ----------
    ax_ : Axes3D
        Axes of the last plot.
    figure_ : Figure
        Figure of the last plot.
    directions_ : ndarray of shape (n_classes, 3)
        Unit vectors along the strongest directions of the classes.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_whitebox.display import FeatureSphereDisplay
    >>> display = FeatureSphereDisplay(2 * np.eye(3), [0, 1, 2]).plot()
    >>> display.directions_.tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """

    def __init__(self, features, labels):
        self.features = features
        self.labels = labels

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, ax=None, **plot_settings):
        """Draw the features that a fitted transformer gives.

        Parameters
        ----------
        estimator : estimator
            Fitted, with a method ``transform`` that gives three features.
        X : array-like of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,), default=None
            Class of each sample; None takes what the estimator predicts.
        ax : Axes3D, default=None
            Where to draw; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : FeatureSphereDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator does not transform.
        ValueError
            If it does not give three features, or `y` is None and it does not predict.
        """
        check_has(estimator, ["transform"], "FeatureSphereDisplay", _ALTERNATIVES)
        y = classes_of(estimator, X, y)
        return cls.from_predictions(estimator.transform(X), y, ax=ax, **plot_settings)

    @classmethod
    def from_predictions(cls, Z, y, *, ax=None, **plot_settings):
        """Draw given features.

        Parameters
        ----------
        Z : array-like or sparse array of shape (n_samples, 3)
            Features.
        y : array-like of shape (n_samples,)
            Class of each row.
        ax : Axes3D, default=None
            Where to draw; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : FeatureSphereDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If `Z` does not have three columns of finite numbers and a row for each
            entry of `y`.
        """
        Z, y = as_features(Z), check_labels(y)
        if Z.shape != (y.size, 3):
            raise ValueError(
                f"Z of shape {Z.shape} should have three columns and a row for "
                f"each of the {y.size} entries of y; EmbeddingDisplay draws features "
                "of any dimension."
            )
        return cls(*check_features(Z, y)).plot(ax, **plot_settings)

    def plot(self, ax=None, *, size=8.0, title=None, legend=True):
        """Draw the sphere, the features and the directions of the classes.

        Parameters
        ----------
        ax : Axes3D, default=None
            Where to draw; None makes a figure.
        size : float, default=8.0
            Size of the points, as in ``scatter``.
        title : str, default=None
            Title of the axes.
        legend : bool, default=True
            Whether to name the colours, if there are not more than 12 classes.

        Returns
        -------
        display : FeatureSphereDisplay
            Itself, with ``ax_``, ``figure_`` and ``directions_``.

        Raises
        ------
        ValueError
            If `ax` is not three-dimensional.
        """
        if ax is not None and not hasattr(ax, "plot_wireframe"):
            raise ValueError(
                "ax is not three-dimensional; make it with "
                "plt.subplots(subplot_kw={'projection': '3d'})."
            )
        self.ax_, self.figure_ = check_axes(
            ax,
            "FeatureSphereDisplay",
            projection="3d",
            figsize=(5, 5),
        )
        features, labels = np.asarray(self.features, float), np.asarray(self.labels)
        # Squares of very large or small features would leave the range of floats.
        features = features / (np.abs(features).max(initial=0) or 1.0)
        norms = np.linalg.norm(features, axis=1, keepdims=True)
        features = np.divide(
            features, norms, out=np.zeros_like(features), where=norms > 0
        )
        angle, height = np.meshgrid(
            np.linspace(0, 2 * np.pi, _ARC), np.linspace(0, np.pi, _ARC // 2)
        )
        sphere = (
            np.cos(angle) * np.sin(height),
            np.sin(angle) * np.sin(height),
            np.cos(height),
        )
        self.ax_.plot_wireframe(
            *sphere, rstride=5, cstride=5, color="lightgrey", linewidth=0.4
        )
        directions = []
        classes = np.unique(labels)
        styles = class_markers(len(classes))
        for label, (colour, marker) in zip(classes, styles, strict=True):
            rows = features[labels == label]
            direction = np.linalg.svd(rows, full_matrices=False)[2][0]
            # Towards the side of most rows.
            direction = direction * (1.0 if (rows @ direction).sum() >= 0 else -1.0)
            directions.append(direction + 0.0)
            self.ax_.scatter(
                *rows.T, s=size, color=colour, marker=marker, label=str(label)
            )
            self.ax_.plot(*np.outer(direction, [-1.2, 1.2]), color=colour, linewidth=2)
        self.directions_ = np.array(directions)
        # The walls of a box would look like a scale, which a sphere does not need.
        self.ax_.set_axis_off()
        self.ax_.set_box_aspect((1, 1, 1), zoom=1.2)
        self.ax_.set_title(title or "")
        if legend and len(classes) <= _MOST_NAMED:
            self.ax_.legend(title="class", fontsize="small", loc="upper left")
        return self
