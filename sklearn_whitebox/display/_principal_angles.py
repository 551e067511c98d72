"""Show how far apart the subspaces of clusters or classes are."""

import numpy as np

from sklearn_whitebox.display._axes import check_axes
from sklearn_whitebox.display._classes import check_features, check_has, classes_of
from sklearn_whitebox.display._subspace_geometry import (
    SUMMARIES,
    angle_matrix,
    check_bases,
    class_bases,
    spectral_bases,
    strongest,
)
from sklearn_whitebox.solvers._redunet_spectra import frequency_weights

_ALTERNATIVES = (
    "SubspaceClusterer, KSubspaces, EnsembleKSubspaces, CodingLengthClusterer, "
    "RateReductionClusterer, NearestSubspaceClassifier, RateReductionEmbedding and "
    "ReduNetClassifier do. Give X, and y, to look at the features of any transformer, "
    "or bases of your own to PrincipalAngleDisplay.from_bases."
)

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
        X=None,
        y=None,
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
            ``class_spectra_``; with `X` any transformer.
        X : array-like of shape (n_samples, n_features), default=None
            Samples, whose features after ``transform`` are looked at; None takes the
            subspaces that the estimator has kept.
        y : array-like of shape (n_samples,), default=None
            Class of each sample; None takes what the estimator predicts.
        energy : float, default=0.9
            Share of the squared norm of the features of a class that its subspace
            holds. Not for ``bases_``, whose dimensions the estimator has chosen.
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
        TypeError
            If the estimator has no subspaces and, with `X`, no ``transform``.
        ValueError
            If `energy` is not in (0, 1], or as for :meth:`from_bases`.

        Notes
        -----
        Classes of a :class:`~sklearn_whitebox.ReduNetClassifier` of signals are
        subspaces that hold each signal with all its shifts; their angles are found
        frequency by frequency.
        """
        if X is not None:
            check_has(estimator, ["transform"], "PrincipalAngleDisplay", _ALTERNATIVES)
            y = classes_of(estimator, X, y)
            return cls.from_predictions(
                estimator.transform(X),
                y,
                energy=energy,
                labels=labels,
                statistic=statistic,
                ax=ax,
                **plot_settings,
            )
        wanted = ["bases_", "class_bases_"]
        check_has(estimator, wanted, "PrincipalAngleDisplay", _ALTERNATIVES)
        _check_energy(energy)
        classes = getattr(estimator, "classes_", None)
        if labels is None and classes is not None:
            labels = [str(label) for label in classes]
        settings = {
            "labels": labels,
            "statistic": statistic,
            "group": "cluster" if classes is None else "class",
        }
        bases, occurs = getattr(estimator, "bases_", None), (1,)
        if bases is not None:
            return cls.from_bases(bases, ax=ax, **settings, **plot_settings)
        spectra = estimator.class_spectra_
        if np.ndim(spectra[0]) == 2:
            occurs = frequency_weights(estimator._lifted_shape())
            bases = spectral_bases(estimator.class_bases_, spectra, energy, occurs)
        else:
            pairs = zip(estimator.class_bases_, spectra, strict=True)
            bases = [[strongest(*pair, energy)] for pair in pairs]
        display = cls._from_parts(bases, occurs, **settings)
        return display.plot(ax, **plot_settings)

    @classmethod
    def from_predictions(
        cls,
        Z,
        y,
        *,
        energy=0.9,
        labels=None,
        statistic="smallest",
        ax=None,
        **plot_settings,
    ):
        """Draw the angles between the classes of given features.

        Parameters
        ----------
        Z : array-like or sparse array of shape (n_samples, n_features)
            Features; they are not centred.
        y : array-like of shape (n_samples,)
            Class of each row.
        energy : float, default=0.9
            Share of the squared norm of the features of a class that its subspace
            holds.
        labels : sequence of str, default=None
            Names of the classes in sorted order; None takes the values of `y`.
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
            If `Z` is not a matrix of finite numbers with a row for each entry of `y`,
            `energy` is not in (0, 1], or as for :meth:`from_bases`.
        """
        _check_energy(energy)
        Z, y = check_features(Z, y)
        if labels is None:
            labels = [str(label) for label in np.unique(y)]
        return cls.from_bases(
            class_bases(Z, y, energy),
            labels=labels,
            statistic=statistic,
            group="class",
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
        matrices = check_bases(bases)
        display = cls._from_parts(
            [[matrix] for matrix in matrices],
            (1,),
            labels=labels,
            statistic=statistic,
            group=group,
        )
        return display.plot(ax, **plot_settings)

    @classmethod
    def _from_parts(cls, bases, occurs, *, labels, statistic, group):
        if statistic not in SUMMARIES:
            known = ", ".join(map(repr, SUMMARIES))
            raise ValueError(f"statistic={statistic!r} should be one of {known}.")
        if labels is not None and len(labels) != len(bases):
            raise ValueError(
                f"labels has {len(labels)} names for {len(bases)} bases; give one "
                "for each."
            )
        counts = np.asarray(occurs, dtype=np.int64)
        dims = [int(counts @ [len(part) for part in parts]) for parts in bases]
        return cls(
            angle_matrix(bases, statistic, occurs),
            subspace_dims=np.array(dims),
            labels=labels,
            statistic=statistic,
            group=group,
        )

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


def _check_energy(energy):
    if not 0 < energy <= 1:
        raise ValueError(f"energy={energy} should be above 0 and at most 1.")
