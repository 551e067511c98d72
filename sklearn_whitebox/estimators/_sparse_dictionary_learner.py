"""Sparse dictionary learning: complete by rotation, overcomplete online."""

import warnings
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._array import as_numpy, check_memory, restore, validate_array
from sklearn_whitebox._compat import Interval, StrOptions
from sklearn_whitebox._progress import Progress
from sklearn_whitebox._random import draw_seed
from sklearn_whitebox.estimators._base import WhiteboxEstimator, all_or_nothing
from sklearn_whitebox.functional._dictionary import mutual_coherence
from sklearn_whitebox.solvers._atoms import initial_atoms, unit_rows
from sklearn_whitebox.solvers._dictionary_statistics import DictionaryStatistics
from sklearn_whitebox.solvers._lasso_encode import lasso_encode
from sklearn_whitebox.solvers._msp import learn_complete_dictionary
from sklearn_whitebox.solvers._omp import omp_encode
from sklearn_whitebox.solvers._online_dictionary import (
    learn_dictionary_online,
    stream_step,
)

# Mean excess kurtosis of codes below which sparse atoms cannot be told apart.
_GAUSSIAN = 0.1


def _sum_of_squares(X):
    return float(np.einsum("ij,ij->", X, X, dtype=np.float64))


def _learns_online(estimator):
    return estimator.fit_algorithm != "msp"


class SparseDictionaryLearner(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, WhiteboxEstimator
):
    r"""Learn atoms of which every sample needs only a few.

    Each sample x becomes a sparse code z with :math:`x \approx zD`, where the rows of D
    are the atoms. With at most as many atoms as features (*complete*), D is found as
    the rotation, after preconditioning, that makes the codes sparsest ("msp"). With
    more (*overcomplete*), atoms and lasso codes improve in turn, batch by batch
    ("online").

    Read more in the :ref:`User Guide <sparse_dictionaries>`.

    Parameters
    ----------
    n_components : int, default=None
        Number of atoms; None takes as many as features, or as the rank of the samples
        allows if that is less and the algorithm is ``"msp"``.
    fit_algorithm : {"auto", "msp", "online"}, default="auto"
        ``"auto"`` is ``"msp"`` if `n_components` is None or the number of features and
        codes may be negative, else ``"online"``; `partial_fit` is always online.
    alpha : float, default=None
        Weight of the ℓ1 norm in :math:`\tfrac12\|x - zD\|^2 + \alpha\|z\|_1`. None is
        :math:`\min(1.2 / \sqrt d, 0.5)` times the root mean squared norm of the
        samples for ``"online"``, so that scaled samples give scaled codes, and 0 for
        ``"msp"``, whose codes are then linear in the samples.
    transform_algorithm : {"auto", "lasso", "omp", "threshold"}, default="auto"
        How `transform` finds codes: by the lasso (also ``"auto"``), by orthogonal
        matching pursuit, or by soft-thresholding the inner products with the atoms.
    transform_alpha : float, default=None
        Weight or threshold at `transform`; None takes that of `fit`. Not used by
        ``"omp"``.
    transform_n_nonzero_coefs : int, default=None
        Non-zeros of a code for ``"omp"``; None is a tenth of the features.
    transform_max_iter : int, default=1000
        Most steps of the lasso per sample.
    whiten : bool or "auto", default="auto"
        For ``"msp"``, whether atoms may be oblique, which takes preconditioning; if
        False they are orthonormal. ``"auto"`` preconditions unless the second moments
        of the samples along their principal axes span more than five decades, as those
        of natural images do.
    max_iter : int, default=200
        Most iterations ("msp") or epochs ("online").
    tol : float, default=1e-3
        Stop when the atoms change by at most this, relative to their norm, in an
        iteration or epoch; online also when the objective has fallen by less than this
        share in three epochs in a row.
    batch_size : int, default=256
        Samples per batch of ``"online"``.
    positive_code : bool, default=False
        Whether codes must not be negative; not with ``"msp"``.
    split_sign : bool, default=False
        Whether `transform` returns positive and negative parts of codes as separate
        features, which linear classifiers can use better.
    dict_init : array-like of shape (n_components, n_features), default=None
        Atoms to start from; None draws a rotation ("msp") or distinct samples.
    n_jobs : int, default=None
        Threads that code samples, as in joblib. Results do not depend on it.
    random_state : int, RandomState instance or None, default=None
        Source of the start and of the order of the samples.
    verbose : int, default=0
        Log every tenth iteration (1) or every one (2).

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Atoms, of unit norm, with a positive largest entry and by decreasing energy of
        their codes after `fit`.
    alpha_ : float
        Weight of the ℓ1 norm used.
    mutual_coherence_ : float
        Largest cosine between two atoms.
    n_replaced_ : int
        Atoms without use that were replaced by samples.
    n_iter_ : int
        Iterations or epochs done; after `partial_fit`, batches seen.
    objective_curve_ : list of float
        After each iteration, the norm that ``"msp"`` maximises, or for each epoch or
        batch, the mean objective that ``"online"`` minimises.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if they are all strings.

    See Also
    --------
    sklearn.decomposition.DictionaryLearning : Overcomplete dictionaries by alternation.
    sklearn.decomposition.FastICA : Independent rather than sparse components.

    Notes
    -----
    An iteration of ``"msp"`` costs O(nd²), and about d² samples are needed. An epoch of
    ``"online"`` costs O(nks) for codes with s non-zeros, with memory O(k² + kd) beyond
    the samples. A sample's code does not depend on the other samples at `transform`.
    Samples are not centred. Under noise an oblique complete dictionary is found best in
    two fits: ``"msp"``, and ``"online"`` from its atoms as `dict_init`.

    References
    ----------
    .. [1] Zhai, Yang, Liao, Wright, Ma (2020). Complete dictionary learning via
       ℓ4-norm maximization over the orthogonal group. JMLR 21.
    .. [2] Mairal, Bach, Ponce, Sapiro (2010). Online learning for matrix factorization
       and sparse coding. JMLR 11.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_whitebox.datasets import make_sparse_codes
    >>> X, codes, atoms = make_sparse_codes(1000, 10, random_state=0)
    >>> model = SparseDictionaryLearner(random_state=0).fit(X)
    >>> np.abs(model.components_ @ atoms.T).max(axis=1).round(3).min()
    np.float64(1.0)
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "fit_algorithm": [StrOptions({"auto", "msp", "online"})],
        "alpha": [Interval(Real, 0, None, closed="left"), None],
        "transform_algorithm": [StrOptions({"auto", "lasso", "omp", "threshold"})],
        "transform_alpha": [Interval(Real, 0, None, closed="left"), None],
        "transform_n_nonzero_coefs": [Interval(Integral, 1, None, closed="left"), None],
        "transform_max_iter": [Interval(Integral, 1, None, closed="left")],
        "whiten": [StrOptions({"auto"}), "boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "positive_code": ["boolean"],
        "split_sign": ["boolean"],
        "dict_init": ["array-like", None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_components=None,
        *,
        fit_algorithm="auto",
        alpha=None,
        transform_algorithm="auto",
        transform_alpha=None,
        transform_n_nonzero_coefs=None,
        transform_max_iter=1000,
        whiten="auto",
        max_iter=200,
        tol=1e-3,
        batch_size=256,
        positive_code=False,
        split_sign=False,
        dict_init=None,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.fit_algorithm = fit_algorithm
        self.alpha = alpha
        self.transform_algorithm = transform_algorithm
        self.transform_alpha = transform_alpha
        self.transform_n_nonzero_coefs = transform_n_nonzero_coefs
        self.transform_max_iter = transform_max_iter
        self.whiten = whiten
        self.max_iter = max_iter
        self.tol = tol
        self.batch_size = batch_size
        self.positive_code = positive_code
        self.split_sign = split_sign
        self.dict_init = dict_init
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @all_or_nothing()
    def fit(self, X, y=None):
        """Learn the atoms.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored.

        Returns
        -------
        self : SparseDictionaryLearner
            The fitted estimator.

        Raises
        ------
        ValueError
            If the parameters contradict each other or the samples, or if `alpha` is so
            large that all codes are zero.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` iterations were not enough.
        UserWarning
            For ``"msp"``, if the samples look Gaussian in every direction, or if they
            have fewer dimensions than `n_components`.
        """
        self._check_signs()
        X = validate_array(self, X)
        generator = np.random.default_rng(draw_seed(self.random_state))
        uses_msp = self._uses_msp(X.shape[1])
        self._check_memory(X, X.shape[1] if uses_msp else self.n_components)
        progress = Progress(self, self.max_iter, X, verbose=self.verbose)
        fit = self._fit_msp if uses_msp else self._fit_online
        result = fit(X, self._checked_init(X), generator, progress)
        progress.close()
        if not result.converged:
            warnings.warn(
                f"SparseDictionaryLearner did not converge in {result.n_iter} "
                "iterations; increase max_iter or tol.",
                ConvergenceWarning,
                stacklevel=4,
            )
        self.n_iter_ = result.n_iter
        self.objective_curve_ = result.objective
        self._set_components(result.solution["components"])
        return self

    @available_if(_learns_online)
    @all_or_nothing()
    def partial_fit(self, X, y=None):
        """Improve the atoms with one batch, online.

        Atoms without use are replaced by samples of the batch that the others
        represent badly.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            The batch; it is learnt from as a whole, whatever `batch_size`.
        y : None
            Ignored.

        Returns
        -------
        self : SparseDictionaryLearner
            The improved estimator.
        """
        self._check_signs()
        is_first = not hasattr(self, "components_")
        # The first batch decides on the precision.
        given = {} if is_first else {"dtype": self.components_.dtype}
        X = validate_array(self, X, reset=is_first, **given)
        self._check_memory(X, self.n_components)
        components = self._checked_init(X) if is_first else self.components_
        if components is None:
            generator = np.random.default_rng(draw_seed(self.random_state))
            k = self.n_components or X.shape[1]
            components = initial_atoms(X, k, generator)
        components = np.asarray(components, dtype=X.dtype)
        memory = getattr(self, "_memory", None) or {}
        squares = memory.get("squares", 0.0) + _sum_of_squares(X)
        n_seen = memory.get("n_seen", 0) + len(X)
        alpha = self._online_alpha(squares / n_seen, X.shape[1])
        components, statistics, objective, n_fresh = stream_step(
            X,
            components,
            DictionaryStatistics.from_dict(memory.get("statistics"), components),
            alpha=alpha,
            positive_code=self.positive_code,
            n_jobs=self.n_jobs,
        )
        self._remember(statistics, squares, n_seen)
        self.alpha_ = alpha
        self.n_replaced_ = getattr(self, "n_replaced_", 0) + n_fresh
        self.n_iter_ = statistics.n_steps
        # What "msp" maximises is not on the scale of a batch's objective.
        earlier = self.objective_curve_ if memory else []
        self.objective_curve_ = [*earlier, objective]
        self._set_components(components)
        return self

    def transform(self, X):
        """Code samples.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        codes : ndarray or Tensor of shape (n_samples, n_components)
            Codes, one per row; twice as many columns with `split_sign`.

        Warns
        -----
        ConvergenceWarning
            If `transform_max_iter` steps were not enough for some sample.
        """
        check_is_fitted(self)
        original = X
        X = validate_array(self, X, reset=False)
        codes = self._encode(X)
        if self.split_sign:
            codes = np.hstack([np.maximum(codes, 0), np.maximum(-codes, 0)])
        return restore(codes, like=original, estimator=self)

    def inverse_transform(self, X):
        """Build samples from codes.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_components)
            Codes, as `transform` gives them.

        Returns
        -------
        X_original : ndarray or Tensor of shape (n_samples, n_features)
            Codes times atoms.

        Raises
        ------
        ValueError
            If the codes do not have one column for each feature of `transform`.
        """
        check_is_fitted(self)
        codes = check_array(as_numpy(X), dtype=(np.float64, np.float32))
        if codes.shape[1] != self._n_features_out:
            raise ValueError(
                f"X has {codes.shape[1]} columns; codes of this {type(self).__name__} "
                f"have {self._n_features_out}."
            )
        if self.split_sign:
            k = len(self.components_)
            codes = codes[:, :k] - codes[:, k:]
        return restore(codes @ self.components_.astype(codes.dtype), like=X)

    def score(self, X, y=None):
        r"""Mean lasso objective of the samples' codes, negated.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored.

        Returns
        -------
        score : float
            Mean of :math:`-\tfrac12\|x - zD\|^2 - \alpha\|z\|_1`, with the weight of
            `transform`; the higher the better.
        """
        check_is_fitted(self)
        X = validate_array(self, X, reset=False)
        codes = self._encode(X)
        residual = X - codes @ self.components_.astype(X.dtype)
        squares = _sum_of_squares(residual)
        penalty = self._transform_alpha() * np.abs(codes).sum(dtype=np.float64)
        return -float(squares / 2 + penalty) / len(X)

    @property
    def _n_features_out(self):
        return len(self.components_) * (2 if self.split_sign else 1)

    def __sklearn_tags__(self):
        """Say that float32 stays float32."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _uses_msp(self, n_features):
        complete = self.n_components in (None, n_features)
        if self.fit_algorithm == "auto":
            return complete and not self.positive_code
        if self.fit_algorithm == "online":
            return False
        if self.positive_code:
            raise ValueError(
                "positive_code=True needs fit_algorithm='online': the codes of 'msp' "
                "have both signs."
            )
        if not complete and self.n_components > n_features:
            raise ValueError(
                f"n_components={self.n_components} is more than the {n_features} "
                "features; fit_algorithm='msp' learns complete dictionaries. Use "
                "'online'."
            )
        return True

    def _check_memory(self, X, side):
        side = side or X.shape[1]
        # A few square matrices are alive at a time.
        check_memory(
            4 * X.itemsize * side**2,
            what=f"SparseDictionaryLearner with {side} atoms or features",
            remedy="set a smaller n_components with fit_algorithm='online'",
        )

    def _checked_init(self, X):
        if self.dict_init is None:
            return None
        init = check_array(as_numpy(self.dict_init), dtype=X.dtype)
        k = self.n_components or len(init)
        if init.shape != (k, X.shape[1]):
            raise ValueError(
                f"dict_init has shape {init.shape}; it must have shape "
                f"({k}, {X.shape[1]})."
            )
        return init

    def _fit_msp(self, X, init, generator, progress):
        try:
            result = learn_complete_dictionary(
                X,
                self.n_components,
                whiten=self.whiten,
                max_iter=self.max_iter,
                tol=self.tol,
                init=init,
                generator=generator,
                callback=progress,
            )
        except ValueError as error:
            if init is None:
                raise
            raise ValueError(
                f"dict_init does not fit the samples: {error} Pass as many atoms, or "
                "set fit_algorithm='online'."
            ) from error
        found = result.solution
        n_samples, n_features = X.shape
        if self.n_components is not None and found["rank"] < self.n_components:
            warnings.warn(
                f"X has rank {found['rank']}, so only as many atoms are learnt instead "
                f"of n_components={self.n_components}.",
                stacklevel=5,
            )
        # With fewer samples a kurtosis says little.
        enough = n_samples >= max(1000, 2 * n_features**2)
        if enough and found["excess_kurtosis"] < _GAUSSIAN:
            warnings.warn(
                f"The codes have excess kurtosis {found['excess_kurtosis']:.2f}: the "
                "samples look Gaussian or sub-Gaussian in every direction, and no "
                "sparse dictionary can be identified. For independent components try "
                "sklearn.decomposition.FastICA(fun='cube').",
                stacklevel=5,
            )
        self.alpha_ = 0.0 if self.alpha is None else float(self.alpha)
        self.n_replaced_ = 0
        self._memory = {}
        return result

    def _fit_online(self, X, init, generator, progress):
        squares = _sum_of_squares(X)
        alpha = self._online_alpha(squares / len(X), X.shape[1])
        if init is None:
            k = self.n_components or X.shape[1]
            init = initial_atoms(X, k, generator)
        result = learn_dictionary_online(
            X,
            init,
            alpha=alpha,
            positive_code=self.positive_code,
            batch_size=self.batch_size,
            max_iter=self.max_iter,
            tol=self.tol,
            generator=generator,
            n_jobs=self.n_jobs,
            callback=progress,
        )
        statistics = result.solution["statistics"]
        if squares > 0 and not statistics.gram.any():
            raise ValueError(
                f"alpha={alpha:.3g} makes every code zero; it must be less than the "
                f"largest norm of a sample, {np.linalg.norm(X, axis=1).max():.3g}."
            )
        self.alpha_ = alpha
        self.n_replaced_ = result.solution["n_replaced"]
        self._remember(statistics, squares, len(X))
        return result

    def _online_alpha(self, mean_square, n_features):
        if self.alpha is not None:
            return float(self.alpha)
        return float(min(1.2 / np.sqrt(n_features), 0.5) * np.sqrt(mean_square))

    def _remember(self, statistics, squares, n_seen):
        self._memory = {
            "statistics": statistics.to_dict(),
            "squares": squares,
            "n_seen": n_seen,
        }

    def _set_components(self, components):
        self.components_ = unit_rows(components)
        self.mutual_coherence_ = float(mutual_coherence(self.components_))

    def _transform_alpha(self):
        return self.alpha_ if self.transform_alpha is None else self.transform_alpha

    def _threshold(self, products):
        alpha = float(self._transform_alpha())
        if self.positive_code:
            return np.maximum(products - alpha, 0)
        return np.sign(products) * np.maximum(np.abs(products) - alpha, 0)

    def _check_signs(self):
        if self.positive_code and self.transform_algorithm == "omp":
            raise ValueError(
                "positive_code=True does not go with transform_algorithm='omp', whose "
                "codes have both signs; use 'lasso' or 'threshold'."
            )

    def _encode(self, X):
        self._check_signs()
        D = self.components_.astype(X.dtype)
        if self.transform_algorithm == "omp":
            return omp_encode(
                X,
                D,
                n_nonzero_coefs=self.transform_n_nonzero_coefs,
                n_jobs=self.n_jobs,
            ).toarray()
        if self.transform_algorithm == "threshold":
            return self._threshold(X @ D.T)
        result = lasso_encode(
            X,
            D,
            alpha=self._transform_alpha(),
            positive=self.positive_code,
            max_iter=self.transform_max_iter,
            n_jobs=self.n_jobs,
        )
        if not result.converged:
            warnings.warn(
                f"Some codes have a relative duality gap of {result.gap:.1e} after "
                f"{self.transform_max_iter} steps; increase transform_max_iter or "
                "transform_alpha.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return result.solution
