"""Show how far apart the subspaces of clusters or classes are."""

import numpy as np
from scipy.linalg import orth, svdvals
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox.display._axes import check_axes

_SUMMARIES = {"smallest": np.min, "mean": np.mean, "largest": np.max}

# Clusters up to which angles are written into the cells.
_MOST_ANNOTATED = 12


class PrincipalAngleDisplay:
    """Principal angles between the subspaces of clusters or classes, in degrees.

    The smallest principal angle of two subspaces is 0 if they share a direction and 90
    if they are orthogonal. Clusters between small angles are hard to tell apart.

    Parameters
    ----------
    angles : ndarray of shape (n_clusters, n_clusters)
        Angles in degrees, from 0 to 90; NaN where a subspace has dimension 0.
    subspace_dims : ndarray of shape (n_clusters,), default=None
        Dimensions of the subspaces, written on the diagonal.
    labels : sequence of str, default=None
        Names of the clusters; None numbers them from 0.
    statistic : {"smallest", "mean", "largest"}, default="smallest"
        Which of the principal angles are given, for the title.
    group : str, default="cluster"
        What has a subspace, for the axes.

    Attributes
    ----------
    ax_ : Axes
        Axes of the last plot.
    figure_ : Figure
        Figure of the last plot.
    im_ : AxesImage
        Image of the last plot.
    text_ : ndarray of shape (n_clusters, n_clusters) or None
        Texts in the cells of the last plot; None if there are none.

    Notes
    -----
    K bases of dimension k in d features cost O(K² d k²) time.

    References
    ----------
    .. [1] Björck, Golub (1973). Numerical methods for computing angles between linear
       subspaces. Mathematics of Computation 27(123).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_whitebox.display import PrincipalAngleDisplay
    >>> plane, line = np.eye(3)[:2], np.array([[0.0, 1.0, 1.0]])
    >>> display = PrincipalAngleDisplay.from_bases([plane, line])
    >>> display.angles.round(1)
    array([[ 0., 45.],
           [45.,  0.]])
    """

    def __init__(
        self,
        angles,
        *,
        subspace_dims=None,
        labels=None,
        statistic="smallest",
        group="cluster",
    ):
        self.angles = angles
        self.subspace_dims = subspace_dims
        self.labels = labels
        self.statistic = statistic
        self.group = group

    @classmethod
    def from_estimator(
        cls,
        estimator,
        *,
        energy=0.9,
        labels=None,
        statistic="smallest",
        ax=None,
        **plot_settings,
    ):
        """Draw the angles between the clusters or classes of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted, with an attribute ``bases_``, or ``class_bases_`` and
            ``class_spectra_``.
        energy : float, default=0.9
            Share of the squared norm of the features of a class that its subspace
            holds. Only for ``class_bases_``, which hold all of it.
        labels : sequence of str, default=None
            Names of the clusters; None takes ``classes_`` of a classifier or embedding,
            and otherwise numbers them from 0.
        statistic : {"smallest", "mean", "largest"}, default="smallest"
            Which of the principal angles of two subspaces to show.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : PrincipalAngleDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If `energy` is not in (0, 1], or as for :meth:`from_bases`.
        """
        check_is_fitted(estimator, ["bases_", "class_bases_"], all_or_any=any)
        if not 0 < energy <= 1:
            raise ValueError(f"energy={energy} should be above 0 and at most 1.")
        bases = getattr(estimator, "bases_", None)
        if bases is None:
            pairs = zip(estimator.class_bases_, estimator.class_spectra_, strict=True)
            bases = [_strongest(*pair, energy) for pair in pairs]
        classes = getattr(estimator, "classes_", None)
        if labels is None and classes is not None:
            labels = [str(label) for label in classes]
        return cls.from_bases(
            bases,
            labels=labels,
            statistic=statistic,
            group="cluster" if classes is None else "class",
            ax=ax,
            **plot_settings,
        )

    @classmethod
    def from_bases(
        cls,
        bases,
        *,
        labels=None,
        statistic="smallest",
        group="cluster",
        ax=None,
        **plot_settings,
    ):
        """Draw the angles between the row spaces of matrices.

        Parameters
        ----------
        bases : sequence of ndarray of shape (dim, n_features)
            A basis of each subspace; the dimensions may differ.
        labels : sequence of str, default=None
            Names of the subspaces; None numbers them from 0.
        statistic : {"smallest", "mean", "largest"}, default="smallest"
            Which of the principal angles of two subspaces to show.
        group : str, default="cluster"
            What has a subspace, for the axes.
        ax : Axes, default=None
            Where to draw; None makes a figure.
        **plot_settings : kwargs
            Passed to :meth:`plot`.

        Returns
        -------
        display : PrincipalAngleDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If there is no basis, a basis is not a matrix of finite numbers, the numbers
            of features differ, `labels` are not as many as `bases`, or `statistic` is
            unknown.
        """
        if statistic not in _SUMMARIES:
            known = ", ".join(map(repr, _SUMMARIES))
            raise ValueError(f"statistic={statistic!r} should be one of {known}.")
        matrices = _check_bases(bases)
        if labels is not None and len(labels) != len(matrices):
            raise ValueError(
                f"labels has {len(labels)} names for {len(matrices)} bases; give one "
                "for each."
            )
        display = cls(
            _angle_matrix(matrices, _SUMMARIES[statistic]),
            subspace_dims=np.array([len(basis) for basis in matrices]),
            labels=labels,
            statistic=statistic,
            group=group,
        )
        return display.plot(ax, **plot_settings)

    def plot(self, ax=None, *, annotate=None, cmap="viridis", colorbar=True):
        """Draw the matrix of angles, dark where clusters are close.

        Parameters
        ----------
        ax : Axes, default=None
            Where to draw; None makes a figure.
        annotate : bool, default=None
            Whether to write the angles, rounded to degrees, into the cells, and the
            dimensions on the diagonal; None does so up to 12 clusters.
        cmap : str or Colormap, default="viridis"
            Colours from 0 to 90 degrees.
        colorbar : bool, default=True
            Whether to draw a colour bar.

        Returns
        -------
        display : PrincipalAngleDisplay
            Itself, with ``ax_``, ``figure_``, ``im_`` and ``text_``.
        """
        angles = np.array(self.angles, dtype=float)
        n_clusters = len(angles)
        self.ax_, self.figure_ = check_axes(
            ax, "PrincipalAngleDisplay", figsize=(5.5, 4.5)
        )
        # A subspace is no neighbour of itself: its zero would be the darkest cell.
        np.fill_diagonal(angles, np.nan)
        self.im_ = self.ax_.imshow(angles, cmap=cmap, vmin=0, vmax=90)
        if colorbar:
            bar = self.figure_.colorbar(
                self.im_, ax=self.ax_, shrink=0.85, ticks=(0, 30, 60, 90)
            )
            bar.set_label("degrees")
        if annotate is None:
            annotate = n_clusters <= _MOST_ANNOTATED
        self.text_ = self._write_angles(angles) if annotate else None
        self.ax_.set(xlabel=self.group, ylabel=self.group)
        self.ax_.set_title(f"{self.statistic.capitalize()} principal angle")
        if self.labels is not None:
            rotation = 90 if max(map(len, map(str, self.labels))) > 3 else 0
            self.ax_.set_xticks(range(n_clusters), self.labels, rotation=rotation)
            self.ax_.set_yticks(range(n_clusters), self.labels)
        elif annotate:
            self.ax_.set(xticks=range(n_clusters), yticks=range(n_clusters))
        return self

    def _write_angles(self, angles):
        texts = np.empty(angles.shape, dtype=object)
        for (i, j), angle in np.ndenumerate(angles):
            known = not np.isnan(angle)
            if i == j and self.subspace_dims is not None:
                content = f"dim\n{self.subspace_dims[i]}"
            else:
                content = f"{angle:.0f}" if known else ""
            # The upper half of the colours is bright.
            colour = "white" if known and angle < 45 else "black"
            texts[i, j] = self.ax_.text(
                j, i, content, ha="center", va="center", color=colour, fontsize=8
            )
        return texts


def _strongest(basis, spectrum, energy):
    """Keep the first directions of a basis that hold a share of the squared norm."""
    squares = np.asarray(spectrum, dtype=np.float64) ** 2
    held = np.cumsum(squares) / max(squares.sum(), np.finfo(np.float64).tiny)
    # The last sum differs from one by rounding.
    dim = min(int(np.searchsorted(held, energy - 1e-9)) + 1, len(squares))
    return np.asarray(basis)[: dim if squares.sum() > 0 else 0]


def _check_bases(bases):
    matrices = [np.asarray(basis, dtype=np.float64) for basis in bases]
    if not matrices:
        raise ValueError("bases is empty; give at least one basis.")
    for i, matrix in enumerate(matrices):
        if matrix.ndim != 2 or not np.isfinite(matrix).all():
            raise ValueError(
                f"bases[{i}] should be a matrix of finite numbers with a direction in "
                f"each row, not of shape {matrix.shape}."
                if matrix.ndim != 2
                else f"bases[{i}] holds NaN or infinity."
            )
        if matrix.shape[1] != matrices[0].shape[1]:
            raise ValueError(
                f"bases[{i}] has {matrix.shape[1]} features, but bases[0] has "
                f"{matrices[0].shape[1]}; subspaces of different spaces have no angles."
            )
    return matrices


def _angle_matrix(bases, summary):
    bases = [orth(basis.T).T if basis.size else basis for basis in bases]
    angles = np.zeros((len(bases), len(bases)))
    for i, first in enumerate(bases):
        for j, second in enumerate(bases[:i]):
            value = np.nan
            if len(first) and len(second):
                value = summary(_principal_angles(first, second))
            angles[i, j] = angles[j, i] = value
        if not len(first):
            angles[i, i] = np.nan
    return angles


def _principal_angles(first, second):
    """Angles in degrees between two row spaces, smallest first."""
    if len(first) < len(second):
        first, second = second, first
    cosines = second @ first.T
    # Cosines near 1 have lost half of the digits of a small angle, sines have not.
    sines = np.minimum(svdvals(second - cosines @ first)[::-1], 1)
    cosines = np.minimum(svdvals(cosines), 1)
    small = cosines**2 > 1 / 2
    return np.rad2deg(np.where(small, np.arcsin(sines), np.arccos(cosines)))
