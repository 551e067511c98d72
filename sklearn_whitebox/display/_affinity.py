"""Show who is connected to whom in a clustering."""

import numpy as np
from scipy import sparse

from sklearn_whitebox._optional import require
from sklearn_whitebox.display._axes import check_axes
from sklearn_whitebox.display._block_means import block_means
from sklearn_whitebox.display._classes import (
    as_array,
    check_has,
    check_labels,
    class_markers,
)
from sklearn_whitebox.metrics import subspace_preserving_error

_ALTERNATIVES = (
    "SubspaceClusterer, EnsembleKSubspaces, RateReductionClusterer and scikit-learn's "
    "SpectralClustering do. A matrix of your own goes to "
    "AffinityDisplay.from_predictions(affinity, labels)."
)
_MATRICES = {"affinity": "affinity_matrix_", "representation": "representation_"}


class AffinityDisplay:
    """Affinity or representation matrix, with rows and columns sorted by cluster.

    Blocks on the diagonal are connections inside a cluster; what lies outside of them
    connects different clusters.

    Parameters
    ----------
    affinity : ndarray or sparse array of shape (n_samples, n_samples)
        Affinities or codes; their absolute values are drawn.
    labels : ndarray of shape (n_samples,)
        Labels to sort by, usually the clusters found.
    y : ndarray of shape (n_samples,), default=None
        True classes, drawn as a strip of colours beside the rows; rows of a cluster are
        sorted by them.
    preserving_error : float, default=None
        Mean share of a code that lies on samples of other true classes, for the title.
    kind : str, default="affinity"
        What the matrix holds, for the title.

    Attributes
    ----------
    ax_ : Axes
        Axes of the last plot.
    figure_ : Figure
        Figure of the last plot.
    im_ : AxesImage
        Image of the last plot.
    order_ : ndarray of shape (n_samples,)
        Samples in the order of the rows of the last plot.

    Notes
    -----
    The image has at most `max_cells` rows and columns, each the mean over a block of
    samples, so that a sparse matrix is never made dense: beside the matrix, memory is
    O(n_samples + number of entries).

    References
    ----------
    .. [1] You, Robinson, Vidal (2016). Scalable sparse subspace clustering by
       orthogonal matching pursuit. CVPR. (Subspace-preserving error.)

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_whitebox.display import AffinityDisplay
    >>> affinity = np.array([[0, 0, 1.0], [0, 0, 0], [1, 0, 0]])
    >>> display = AffinityDisplay(affinity, labels=[0, 1, 0]).plot()
    >>> display.share_within()
    1.0
    """

    def __init__(
        self, affinity, *, labels, y=None, preserving_error=None, kind="affinity"
    ):
        self.affinity = affinity
        self.labels = labels
        self.y = y
        self.preserving_error = preserving_error
        self.kind = kind

    @classmethod
    def from_estimator(
        cls, estimator, y=None, *, matrix="affinity", ax=None, **plot_settings
    ):
        """Draw the matrix of a fitted clusterer.

        Parameters
        ----------
        estimator : estimator
            Fitted, with attributes ``affinity_matrix_`` and ``labels_``:
            :class:`~sklearn_whitebox.SubspaceClusterer`,
            :class:`~sklearn_whitebox.EnsembleKSubspaces`,
            :class:`~sklearn_whitebox.RateReductionClusterer` or another. Of samples and
            anchors, the anchors are drawn.
        y : array-like of shape (n_samples,), default=None
            True classes of the training samples, for the subspace-preserving error and
            the strip of colours.
        matrix : {"affinity", "representation"}, default="affinity"
            Draw ``affinity_matrix_``, or ``representation_``, the codes it is made of.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : AffinityDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator has no such matrix.
        ValueError
            If `matrix` is unknown, or `y` has another length than the labels.
        """
        if matrix not in _MATRICES:
            known = ", ".join(map(repr, _MATRICES))
            raise ValueError(f"matrix={matrix!r} should be one of {known}.")
        check_has(estimator, [_MATRICES[matrix]], "AffinityDisplay", _ALTERNATIVES)
        drawn = getattr(estimator, _MATRICES[matrix])
        codes = getattr(estimator, "representation_", None)
        labels = as_array(estimator.labels_)
        y = None if y is None else as_array(y)
        if y is not None and y.shape != labels.shape:
            raise ValueError(
                f"y of shape {y.shape} should have a class for each of the "
                f"{len(labels)} training samples."
            )
        rows = _anchors(estimator)
        if rows is not None:
            labels, y = labels[rows], None if y is None else y[rows]
            if drawn.shape[0] != len(rows):
                drawn = sparse.csr_array(drawn)[rows][:, rows]
                codes = None if codes is None else codes[rows][:, rows]
        return cls.from_predictions(
            drawn,
            labels,
            y,
            representation=codes,
            kind=matrix,
            ax=ax,
            **plot_settings,
        )

    @classmethod
    def from_predictions(
        cls,
        affinity,
        labels,
        y=None,
        *,
        representation=None,
        kind="affinity",
        ax=None,
        **plot_settings,
    ):
        """Draw a given matrix.

        Parameters
        ----------
        affinity : array-like or sparse array of shape (n_samples, n_samples)
            Affinities or codes.
        labels : array-like of shape (n_samples,)
            Cluster of each sample.
        y : array-like of shape (n_samples,), default=None
            True classes.
        representation : sparse array of shape (n_samples, n_samples), default=None
            Codes to measure the subspace-preserving error on; None takes `affinity`.
        kind : str, default="affinity"
            What the matrix holds, for the title.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : AffinityDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the matrix is not square, the lengths of `labels` or `y` are not that of
            the matrix, or one of their entries is missing.
        """
        if not sparse.issparse(affinity):
            affinity = as_array(affinity)
        labels = check_labels(labels, "labels")
        y = None if y is None else check_labels(y)
        for name, values in (("labels", labels), ("y", y)):
            if values is not None and affinity.shape != 2 * values.shape:
                raise ValueError(
                    f"affinity of shape {affinity.shape} should be square, with a row "
                    f"for each of the {np.size(values)} entries of {name}."
                )
        error = None
        if y is not None:
            codes = affinity if representation is None else representation
            error = subspace_preserving_error(codes, y)
        display = cls(affinity, labels=labels, y=y, preserving_error=error, kind=kind)
        return display.plot(ax, **plot_settings)

    def share_within(self):
        """Share of the affinity that connects rows of equal label.

        Returns
        -------
        share : float
            From 0 to 1; NaN for an empty affinity.
        """
        labels, affinity = np.asarray(self.labels), self.affinity
        if sparse.issparse(affinity):
            links = sparse.coo_array(affinity)
            row, column = links.coords
            weights = np.abs(links.data)
            total = weights.sum(dtype=np.float64)
            within = weights[labels[row] == labels[column]].sum(dtype=np.float64)
        else:
            total = within = 0.0
            for label in np.unique(labels):
                members = labels == label
                rows = np.abs(np.asarray(affinity)[members])
                total += rows.sum(dtype=np.float64)
                within += rows[:, members].sum(dtype=np.float64)
        return float(within / total) if total else float("nan")

    def plot(self, ax=None, *, cmap="Greys", max_cells=200, colorbar=True):
        """Draw the matrix, darker where the connection is stronger.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure.
        cmap : str or Colormap, default="Greys"
            Colours from zero to the largest cell; they follow the square root of the
            values, so that weak connections can be seen.
        max_cells : int, default=200
            Most rows and columns of the image; with more samples a cell is the mean
            over a block of them.
        colorbar : bool, default=True
            Whether to draw a colour bar.

        Returns
        -------
        display : AffinityDisplay
            Itself, with ``ax_``, ``figure_``, ``im_`` and ``order_``.

        Raises
        ------
        ValueError
            If `max_cells` is not positive.
        """
        if max_cells < 1:
            raise ValueError(f"max_cells={max_cells} must be positive.")
        colors = require("matplotlib.colors", extra="plot", purpose="AffinityDisplay")
        labels, n_samples = np.asarray(self.labels), len(self.labels)
        clusters, numbers = np.unique(labels, return_inverse=True)
        self.order_ = _order(numbers, self.y)
        n_cells = min(max_cells, max(n_samples, 1))
        cells = block_means(self.affinity, self.order_, n_cells)
        self.ax_, self.figure_ = check_axes(ax, "AffinityDisplay", figsize=(6, 5.2))
        largest = cells.max() if cells.size and cells.max() > 0 else 1.0
        self.im_ = self.ax_.imshow(
            cells,
            cmap=cmap,
            norm=colors.PowerNorm(0.5, vmin=0, vmax=largest),
            extent=(0, n_samples, n_samples, 0),
            interpolation="nearest",
        )
        self._draw_borders(numbers, len(clusters))
        if self.y is not None:
            self._draw_classes(n_samples)
        if colorbar:
            block = n_samples / n_cells
            note = f", mean over blocks of about {block:.0f} × {block:.0f}"
            note = note if block > 1 else ""
            bar = self.figure_.colorbar(self.im_, ax=self.ax_, shrink=0.8)
            bar.set_label(self.kind + note)
        self._describe()
        return self

    def _draw_borders(self, numbers, n_clusters):
        ends = np.cumsum(np.bincount(numbers, minlength=n_clusters))
        for border in ends[:-1]:
            self.ax_.axhline(border, color="tab:red", linewidth=0.7)
            self.ax_.axvline(border, color="tab:red", linewidth=0.7)

    def _draw_classes(self, n_samples):
        """Draw a strip of colours of the true classes left of the matrix."""
        colors = require("matplotlib.colors", extra="plot", purpose="AffinityDisplay")
        classes, numbers = np.unique(np.asarray(self.y), return_inverse=True)
        palette = [colors.to_rgb(colour) for colour, _ in class_markers(len(classes))]
        strip = np.array(palette)[numbers[self.order_]][:, None]
        self.ax_.imshow(
            strip,
            extent=(-0.045 * n_samples, -0.015 * n_samples, n_samples, 0),
            interpolation="nearest",
        )
        self.ax_.set_xlim(-0.05 * n_samples, n_samples)
        self.ax_.set_ylim(n_samples, 0)
        # The second image has set another one.
        self.ax_.set_aspect("equal")

    def _describe(self):
        where = "sample, by cluster"
        if self.y is not None:
            where += " (colours: true class)"
        title = f"{self.kind.capitalize()}: {self.share_within():.1%} inside clusters"
        if self.preserving_error is not None:
            title += f"\nsubspace-preserving error {self.preserving_error:.3f}"
        self.ax_.set(xlabel="sample, by cluster", ylabel=where, title=title)


def _anchors(estimator):
    """Give the samples that an affinity was built on, None if they are all."""
    if hasattr(estimator, "anchor_indices_"):
        return np.asarray(estimator.anchor_indices_)
    anchors = getattr(estimator, "anchors_", None)
    return anchors if anchors is not None and len(anchors) else None


def _order(numbers, y):
    if y is None:
        return np.argsort(numbers, kind="stable")
    classes = np.unique(np.asarray(y), return_inverse=True)[1]
    return np.lexsort((classes, numbers))
