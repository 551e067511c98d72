"""Show who is connected to whom in a clustering."""

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox.display._axes import check_axes


class AffinityDisplay:
    """Affinity matrix of a clustering, with rows and columns sorted by label.

    Blocks on the diagonal are connections inside a class; what lies outside of them
    connects different classes.

    Parameters
    ----------
    affinity : ndarray or sparse array of shape (n_samples, n_samples)
        Non-negative affinities.
    labels : ndarray of shape (n_samples,)
        Labels to sort by, true or predicted.

    Attributes
    ----------
    ax_ : Axes
        Axes of the last plot.
    figure_ : Figure
        Figure of the last plot.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_whitebox.display import AffinityDisplay
    >>> affinity = np.array([[0, 0, 1.0], [0, 0, 0], [1, 0, 0]])
    >>> display = AffinityDisplay(affinity, labels=[0, 1, 0]).plot()
    >>> display.share_within()
    1.0
    """

    def __init__(self, affinity, *, labels):
        self.affinity = affinity
        self.labels = labels

    @classmethod
    def from_estimator(cls, estimator, y=None, *, ax=None):
        """Draw the affinity of a fitted clusterer.

        Parameters
        ----------
        estimator : estimator
            Fitted, with attributes ``affinity_matrix_`` and ``labels_``.
        y : array-like of shape (n_samples,), default=None
            True labels to sort by; None sorts by the clusters found.
        ax : Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : AffinityDisplay
            The display, drawn.
        """
        check_is_fitted(estimator, "affinity_matrix_")
        labels = estimator.labels_ if y is None else np.asarray(y)
        return cls(estimator.affinity_matrix_, labels=labels).plot(ax)

    def share_within(self):
        """Share of the affinity that connects rows of equal label.

        Returns
        -------
        share : float
            From 0 to 1; NaN for an empty affinity.
        """
        links = sparse.coo_array(self.affinity)
        labels = np.asarray(self.labels)
        row, column = links.coords
        same = labels[row] == labels[column]
        total = links.data.sum()
        return float(links.data[same].sum() / total) if total else float("nan")

    def plot(self, ax=None):
        """Draw one point per connection, darker where the affinity is larger.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : AffinityDisplay
            Itself, with ``ax_`` and ``figure_``.
        """
        self.ax_, self.figure_ = check_axes(ax, "AffinityDisplay", figsize=(5, 5))
        labels = np.asarray(self.labels)
        order = np.argsort(labels, kind="stable")
        position = np.argsort(order)
        links = sparse.coo_array(self.affinity)
        row, column = links.coords
        largest = links.data.max() if links.nnz else 1.0
        self.ax_.scatter(
            position[column],
            position[row],
            c=np.sqrt(links.data / largest),
            cmap="Greys",
            vmin=-0.2,
            vmax=1,
            s=0.4,
            linewidths=0,
            rasterized=True,
        )
        n_samples = len(labels)
        for border in np.flatnonzero(np.diff(labels[order])) + 0.5:
            self.ax_.axhline(border, color="tab:red", linewidth=0.4)
            self.ax_.axvline(border, color="tab:red", linewidth=0.4)
        self.ax_.set(
            xlim=(-0.5, n_samples - 0.5),
            ylim=(n_samples - 0.5, -0.5),
            aspect="equal",
            xlabel="sample, sorted by label",
            ylabel="sample, sorted by label",
            title=f"Affinity: {self.share_within():.0%} inside the classes",
        )
        return self
