"""Show features of any dimension in the plane, with the subspaces of their classes."""

import numpy as np
from sklearn.utils.extmath import randomized_svd

from sklearn_whitebox.display._axes import check_axes
from sklearn_whitebox.display._classes import (
    check_features,
    check_has,
    class_markers,
    classes_of,
)

# Smaller side of the features up to which principal directions are exact.
_EXACT = 2000
# Classes up to which each has an entry in the legend; names of more are on the points.
_MOST_NAMED = 10
_ALTERNATIVES = (
    "give the features to EmbeddingDisplay.from_predictions(Z, y) if you have them."
)


class EmbeddingDisplay:
    """Features in the plane of their two leading principal directions, by class.

    The origin is the common origin of the subspaces: features are not centred. A line
    through it is drawn along the strongest direction of each class. Classes that
    maximal rate reduction made orthogonal lie about different lines; of more than two
    the plane can only show projections, and short lines belong to directions that point
    out of it.

    Parameters
    ----------
    points : ndarray of shape (n_samples, 2)
        Coordinates in the plane.
    labels : ndarray of shape (n_samples,)
        Class of each point.
    directions : ndarray of shape (n_classes, 2), default=None
        Projections of the unit vectors along the strongest directions of the classes,
        in sorted order of their labels; None draws no lines.
    energy : tuple of float, default=None
        Shares of the squared norm of the features that the two axes hold.

    Attributes
    ----------
    ax_ : Axes
        Axes of the last plot.
    figure_ : Figure
        Figure of the last plot.

    Notes
    -----
    The principal directions are the eigenvectors of the second moments of the features,
    found by a singular value decomposition in O(n d min(n, d)) time; beyond 2000 rows
    and features by randomised projections. scikit-learn's ``PCA`` centres and then does
    the same.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_whitebox.display import EmbeddingDisplay
    >>> Z, y = np.array([[2.0, 0, 0], [1, 0, 0], [0, 0, -1]]), ["a", "a", "b"]
    >>> display = EmbeddingDisplay.from_predictions(Z, y)
    >>> abs(display.directions).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    def __init__(self, points, labels, *, directions=None, energy=None):
        self.points = points
        self.labels = labels
        self.directions = directions
        self.energy = energy

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, ax=None, **plot_settings):
        """Draw the features that a fitted transformer gives.

        Parameters
        ----------
        estimator : estimator
            Fitted, with a method ``transform``.
        X : array-like of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,), default=None
            Class of each sample; None takes what the estimator predicts.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : EmbeddingDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator does not transform.
        ValueError
            If `y` is None and the estimator does not predict.
        """
        check_has(estimator, ["transform"], "EmbeddingDisplay", _ALTERNATIVES)
        y = classes_of(estimator, X, y)
        return cls.from_predictions(estimator.transform(X), y, ax=ax, **plot_settings)

    @classmethod
    def from_predictions(cls, Z, y, *, ax=None, **plot_settings):
        """Draw given features.

        Parameters
        ----------
        Z : array-like or sparse array of shape (n_samples, n_features)
            Features; they are not centred.
        y : array-like of shape (n_samples,)
            Class of each row.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : EmbeddingDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If `Z` is not a matrix of finite numbers with a row for each entry of `y`.
        """
        Z, y = check_features(Z, y)
        # Squares of very large or small features would leave the range of floats.
        largest = np.abs(Z).max()
        Z = Z / (largest or 1.0)
        plane = _leading(Z, 2)
        points = Z @ plane.T
        total = max((Z**2).sum(), np.finfo(float).tiny)
        directions = []
        for label in np.unique(y):
            rows = Z[y == label]
            direction = _leading(rows, 1)[0]
            # Towards the side of most rows.
            side = 1.0 if (rows @ direction).sum() >= 0 else -1.0
            directions.append(side * plane @ direction)
        display = cls(
            points * (largest or 1.0),
            y,
            directions=np.array(directions),
            energy=tuple(((points**2).sum(axis=0) / total).tolist()),
        )
        return display.plot(ax, **plot_settings)

    def plot(self, ax=None, *, size=12.0, alpha=0.6, max_points=5000, title=None):
        """Draw the points, the origin and a line for each class.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure.
        size : float, default=12.0
            Size of the points, as in ``scatter``.
        alpha : float, default=0.6
            Opacity of the points.
        max_points : int, default=5000
            Most points drawn; of more, points at equal distances in their order.
        title : str, default=None
            Title of the axes.

        Returns
        -------
        display : EmbeddingDisplay
            Itself, with ``ax_`` and ``figure_``.

        Raises
        ------
        ValueError
            If `max_points` is not positive.
        """
        if max_points < 1:
            raise ValueError(f"max_points={max_points} must be positive.")
        self.ax_, self.figure_ = check_axes(ax, "EmbeddingDisplay", figsize=(6, 5))
        points, labels = np.asarray(self.points, dtype=float), np.asarray(self.labels)
        classes = np.unique(labels)
        styles = class_markers(len(classes))
        # Squares of large coordinates would leave the range of floats.
        reach = np.hypot(*points.T).max(initial=0) or 1.0
        kept = np.arange(len(points))
        if len(points) > max_points:
            kept = np.unique(np.linspace(0, len(points) - 1, max_points).round())
            kept = kept.astype(int)
        self.ax_.axhline(0, color="0.8", linewidth=0.8, zorder=0)
        self.ax_.axvline(0, color="0.8", linewidth=0.8, zorder=0)
        for k, (label, (colour, marker)) in enumerate(
            zip(classes, styles, strict=True)
        ):
            rows = points[kept][labels[kept] == label]
            self.ax_.scatter(
                *rows.T,
                s=size,
                color=colour,
                marker=marker,
                alpha=alpha,
                linewidths=0,
                label=str(label),
            )
            if self.directions is not None:
                line = np.outer([-reach, reach], self.directions[k])
                self.ax_.plot(*line.T, color=colour, linewidth=1.5, alpha=0.9)
        self._name(classes, points, labels)
        names = ["first principal direction", "second principal direction"]
        if self.energy is not None:
            shares = zip(names, self.energy, strict=True)
            names = [f"{name} ({share:.0%} of energy)" for name, share in shares]
        self.ax_.set(xlabel=names[0], ylabel=names[1], title=title or "")
        self.ax_.set_aspect("equal", adjustable="datalim")
        return self

    def _name(self, classes, points, labels):
        """Write the classes into a legend or, if they are many, onto the points."""
        if len(classes) <= _MOST_NAMED:
            self.ax_.legend(title="class", fontsize="small", markerscale=1.5)
            return
        for label in classes:
            self.ax_.annotate(
                str(label),
                np.median(points[labels == label], axis=0),
                fontsize=8,
                ha="center",
                va="center",
                bbox={
                    "boxstyle": "round,pad=0.15",
                    "facecolor": "white",
                    "edgecolor": "0.6",
                    "linewidth": 0.5,
                    "alpha": 0.8,
                },
            )


def _leading(Z, n_directions):
    """Give the leading right singular vectors as rows; zeros where there are none."""
    n_found = min(n_directions, *Z.shape)
    if min(Z.shape) <= _EXACT:
        # The triangle of a tall matrix has its right singular vectors.
        rows = np.linalg.qr(Z, mode="r") if Z.shape[0] > Z.shape[1] else Z
        found = np.linalg.svd(rows, full_matrices=False)[2][:n_found]
    else:
        found = randomized_svd(Z, n_found, random_state=0)[2]
    # Signs are arbitrary; the largest entry is made positive.
    largest = np.take_along_axis(found, np.abs(found).argmax(1)[:, None], axis=1)
    directions = np.zeros((n_directions, Z.shape[1]))
    directions[:n_found] = found * np.where(largest < 0, -1.0, 1.0)
    return directions
