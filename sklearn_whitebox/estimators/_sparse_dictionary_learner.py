"""Sparse dictionary learning: complete by rotation, overcomplete online."""

from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from scipy import sparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._array import as_numpy, check_memory, restore, validate_array
from sklearn_whitebox._compat import Interval, StrOptions
from sklearn_whitebox._progress import Progress
from sklearn_whitebox._random import draw_seed
from sklearn_whitebox._warn import warn
from sklearn_whitebox.estimators._base import WhiteboxEstimator, all_or_nothing
from sklearn_whitebox.estimators._dictionary_algorithms import (
    COMPLETE,
    GREEDY,
    default_settings,
    learn_alternating,
    learn_complete,
    make_start,
    resolve_algorithm,
)
from sklearn_whitebox.estimators._dictionary_blocks import learn_blocks
from sklearn_whitebox.estimators._dictionary_codes import (
    device_of,
    encode,
    resolve_coder,
    split_sign,
)
from sklearn_whitebox.estimators._sparse_checks import largest_correlation
from sklearn_whitebox.functional._dictionary import mutual_coherence
from sklearn_whitebox.solvers._atoms import unit_rows
from sklearn_whitebox.solvers._dictionary_statistics import DictionaryStatistics
from sklearn_whitebox.solvers._online_dictionary import stream_step

# Samples on which the density of the codes is measured.
_DENSITY_ROWS = 2000
# Share of the possible non-zeros beyond which a penalty hardly makes codes sparse.
_DENSE = 0.5


def _sum_of_squares(X):
    return float(np.einsum("ij,ij->", X, X, dtype=np.float64))


def _learns_online(estimator):
    if estimator.fit_algorithm not in ("auto", "online"):
        raise AttributeError(
            "partial_fit and fit_blocks need fit_algorithm='online' or 'auto'; "
            f"{estimator.fit_algorithm!r} needs all samples at once."
        )
    return True


class SparseDictionaryLearner(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, WhiteboxEstimator
):
    r"""Learn atoms of which every sample needs only a few.

    Each sample x becomes a sparse code z with :math:`x \approx zD`, where the rows of D
    are the atoms. With at most as many atoms as features (*complete*), D is found as
    the rotation, after preconditioning, that makes the codes sparsest. With more
    (*overcomplete*), atoms and codes improve in turn.

    Read more in the :ref:`User Guide <sparse_dictionaries>`.

    Parameters
    ----------
    n_components : int, default=None
        Number of atoms; None takes as many as features, or as the rank of the samples
        allows if that is less and the algorithm is ``"msp"``.
    fit_algorithm : str, default="auto"
        How atoms are learnt:

        - ``"online"``: lasso codes of a batch, then atoms from the statistics of all
          batches so far; the fastest for many samples.
        - ``"msp"``: complete dictionaries by a rotation that makes codes sparse, which
          matches, stretches and projects in turn, and a refinement by thresholding. It
          minimises the Huber norm of the codes by Newton steps, or maximises their
          ℓ3 norm where samples cannot be preconditioned. ``"kurtosis"`` rotates to
          sources that are flatter than Gaussian ones rather than sparse.
        - ``"ksvd"``: codes of `n_nonzero_coefs` coefficients by matching pursuit, then
          each atom with its coefficients, by one step or as the leading singular pair
          (``"ksvd_exact"``); the best at finding planted atoms. ``"mod"`` is the same
          with all atoms at once by least squares.
        - ``"palm"``: a proximal gradient step on all codes and one on all atoms.

        ``"auto"`` is ``"msp"`` if `n_components` is None or the number of features, and
        no sign is constrained, else ``"online"``; `partial_fit` is always online.
    alpha : float, default=None
        Weight of the ℓ1 norm in :math:`\tfrac12\|x - zD\|^2 + \alpha\|z\|_1`. None is
        :math:`\min(1.2 / \sqrt d, 0.5)` times the root mean squared norm of the
        samples, so that scaled samples give scaled codes, but 0 for ``"msp"`` and
        ``"kurtosis"``, whose codes are then linear in the samples.
    n_nonzero_coefs : int, default=None
        Most non-zeros of a code during ``"ksvd"`` and ``"mod"``; None is a tenth of the
        features.
    transform_algorithm : {"auto", "lasso", "omp", "threshold"}, default="auto"
        How `transform` finds codes: by the lasso (``"lasso_cd"`` and ``"lasso_lars"``,
        scikit-learn's names of two ways to these codes, are taken, too), by order
        recursive matching pursuit, or by soft-thresholding the inner products with the
        atoms. ``"auto"`` is ``"omp"`` after ``"ksvd"`` and ``"mod"``, else ``"lasso"``.
    transform_alpha : float, default=None
        Weight or threshold at `transform`; None takes that of `fit`. Not used by
        ``"omp"``.
    transform_n_nonzero_coefs : int, default=None
        Most non-zeros of a code for ``"omp"``; None takes `n_nonzero_coefs`, and if
        that is None a tenth of the features, or all with `transform_max_error`.
    transform_max_error : float, default=None
        For ``"omp"``, norm of the residual at which a code is done; about
        :math:`1.15\,\sigma\sqrt d` for noise of standard deviation σ.
    transform_max_iter : int, default=1000
        Most steps of the lasso per sample.
    whiten : bool or "auto", default="auto"
        For ``"msp"``, whether atoms may be oblique, which takes preconditioning; if
        False they are orthonormal. ``"auto"`` preconditions unless the second moments
        of the samples along their principal axes span more than five decades, as those
        of natural images do; for ``"kurtosis"`` it always does.
    n_init : int, default=1
        Starts; the one with the best final objective is kept.
    max_iter : int, default=None
        Most iterations, or epochs of ``"online"``. None is 200, and 1000 for
        ``"ksvd"``, ``"mod"`` and ``"palm"``.
    tol : float, default=None
        For ``"msp"`` and ``"online"``, stop when the atoms change by at most this,
        relative to their norm, in an iteration or epoch; and for ``"online"``,
        ``"ksvd"``, ``"mod"`` and ``"palm"`` when the objective has fallen by less than
        this share three times in a row. None is 1e-3, and for ``"ksvd"`` and ``"mod"``
        1e-4, ``"palm"`` 1e-5.
    batch_size : int, default=256
        Samples per batch of ``"online"`` in the first epoch; twice, and then four times
        as many in the next, as far as that leaves 64 batches.
    positive_code : bool, default=False
        Whether codes must not be negative; not with ``"msp"``.
    positive_dict : bool, default=False
        Whether atoms must not have negative entries; not with ``"msp"``.
    split_sign : bool, default=False
        Whether `transform` returns positive and negative parts of codes as separate
        features, which linear classifiers can use better.
    sparse_output : bool, default=False
        Whether `transform` returns a CSR array. Memory is then that of the non-zeros.
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
    density_ : float
        Share of non-zeros in the codes of the samples on the atoms, coded as by
        `transform`; for ``"msp"`` and ``"kurtosis"``, of those beyond the noise.
    mutual_coherence_ : float
        Largest cosine between two atoms.
    n_replaced_ : int
        Atoms without use, or copies of others, that were replaced.
    n_iter_ : int
        Iterations or epochs done; after `partial_fit`, batches seen.
    objective_curve_ : list of float
        Objective after each iteration, or mean over each epoch or batch: what the
        rotation of ``"msp"`` optimises, half the mean squared error for ``"ksvd"`` and
        ``"mod"``, else the mean of the lasso objective, which each sample enters with
        the atoms of its time.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if they are all strings.

    See Also
    --------
    LearnedSparseEncoder : Faster, approximate codes by a trained network.
    sklearn.decomposition.DictionaryLearning : Overcomplete dictionaries by alternation.
    sklearn.decomposition.FastICA : Independent rather than sparse components.

    Notes
    -----
    An iteration of ``"msp"`` costs O(nd²), and about d² samples are needed where codes
    are dense. An epoch of ``"online"`` costs O(nks), and O(k²d) for each batch, for
    codes with s non-zeros, with memory O(k² + kd) beyond the samples. An iteration of
    ``"ksvd"`` or ``"mod"`` costs O(nks), of ``"palm"`` O(nkd) with memory O(nk). Up to
    10,000 samples ``"ksvd"`` and ``"mod"`` also try to swap atoms out of local minima,
    which takes most of their time. Codes cost O(nk(d + s)), and a sample's does not
    depend on the other samples; lasso codes of tensors on a CUDA device are found
    there. Samples are not centred.

    References
    ----------
    .. [1] Zhai, Yang, Liao, Wright, Ma (2020). Complete dictionary learning via
       ℓ4-norm maximization over the orthogonal group. JMLR 21.
    .. [2] Mairal, Bach, Ponce, Sapiro (2010). Online learning for matrix factorization
       and sparse coding. JMLR 11.
    .. [3] Aharon, Elad, Bruckstein (2006). K-SVD: An algorithm for designing
       overcomplete dictionaries for sparse representation. IEEE Transactions on Signal
       Processing 54(11).
    .. [4] Engan, Aase, Husøy (1999). Method of optimal directions for frame design.
       ICASSP.
    .. [5] Bolte, Sabach, Teboulle (2014). Proximal alternating linearized minimization
       for nonconvex and nonsmooth problems. Mathematical Programming 146.
    .. [6] Hyvärinen (1999). Fast and robust fixed-point algorithms for independent
       component analysis. IEEE Transactions on Neural Networks 10.

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
        "fit_algorithm": [StrOptions({"auto", "online", "palm"} | COMPLETE | GREEDY)],
        "alpha": [Interval(Real, 0, np.inf, closed="left"), None],
        "n_nonzero_coefs": [Interval(Integral, 1, None, closed="left"), None],
        "transform_algorithm": [
            StrOptions({"auto", "lasso", "omp", "threshold", "lasso_cd", "lasso_lars"})
        ],
        "transform_alpha": [Interval(Real, 0, np.inf, closed="left"), None],
        "transform_n_nonzero_coefs": [Interval(Integral, 1, None, closed="left"), None],
        "transform_max_error": [Interval(Real, 0, None, closed="left"), None],
        "transform_max_iter": [Interval(Integral, 1, None, closed="left")],
        "whiten": [StrOptions({"auto"}), "boolean"],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "positive_code": ["boolean"],
        "positive_dict": ["boolean"],
        "split_sign": ["boolean"],
        "sparse_output": ["boolean"],
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
        n_nonzero_coefs=None,
        transform_algorithm="auto",
        transform_alpha=None,
        transform_n_nonzero_coefs=None,
        transform_max_error=None,
        transform_max_iter=1000,
        whiten="auto",
        n_init=1,
        max_iter=None,
        tol=None,
        batch_size=256,
        positive_code=False,
        positive_dict=False,
        split_sign=False,
        sparse_output=False,
        dict_init=None,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.fit_algorithm = fit_algorithm
        self.alpha = alpha
        self.n_nonzero_coefs = n_nonzero_coefs
        self.transform_algorithm = transform_algorithm
        self.transform_alpha = transform_alpha
        self.transform_n_nonzero_coefs = transform_n_nonzero_coefs
        self.transform_max_error = transform_max_error
        self.transform_max_iter = transform_max_iter
        self.whiten = whiten
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.batch_size = batch_size
        self.positive_code = positive_code
        self.positive_dict = positive_dict
        self.split_sign = split_sign
        self.sparse_output = sparse_output
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
        X = validate_array(self, X)
        algorithm = resolve_algorithm(self, X.shape[1])
        is_complete = algorithm in COMPLETE
        self._check_memory(X, X.shape[1] if is_complete else self.n_components)
        self._check_alpha(X)
        generator = np.random.default_rng(draw_seed(self.random_state))
        max_iter, _ = default_settings(self, algorithm)
        progress = Progress(self, max_iter * self.n_init, X, verbose=self.verbose)
        fit = self._fit_complete if is_complete else self._fit_alternating
        result = fit(algorithm, X, self._checked_init(X), generator, progress)
        progress.close()
        if not result.converged:
            warn(
                f"SparseDictionaryLearner did not converge in {result.n_iter} "
                "iterations; increase max_iter or tol.",
                ConvergenceWarning,
            )
        self.n_iter_ = result.n_iter
        self.objective_curve_ = result.objective
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
        is_first = not hasattr(self, "components_")
        # The first batch decides on the precision.
        given = {} if is_first else {"dtype": self.components_.dtype}
        X = validate_array(self, X, reset=is_first, **given)
        self._check_memory(X, self.n_components)
        components = self._checked_init(X) if is_first else self.components_
        if is_first:
            generator = np.random.default_rng(draw_seed(self.random_state))
            components = make_start(self, X, components, generator)
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
            positive_dict=self.positive_dict,
            n_jobs=self.n_jobs,
        )
        self._remember(statistics, squares, n_seen)
        self.alpha_ = alpha
        self.n_replaced_ = getattr(self, "n_replaced_", 0) + n_fresh
        self.n_iter_ = statistics.n_steps
        # What "msp" maximises is not on the scale of a batch's objective.
        earlier = self.objective_curve_ if memory else []
        self.objective_curve_ = [*earlier, objective]
        self._algorithm = "online"
        self._set_components(components)
        self.density_ = self._measure_density(X)
        return self

    @available_if(_learns_online)
    @all_or_nothing()
    def fit_blocks(self, blocks):
        """Learn the atoms of samples that do not fit in memory.

        Atoms are first learnt online from some thousand samples, which a hash of their
        values picks from all blocks. Each pass over the blocks then codes all samples
        on the same atoms and improves these by the sums of their second moments. How
        the samples are divided into blocks, `n_jobs` and the backend of joblib change
        nothing. See :ref:`scaling`.

        Parameters
        ----------
        blocks : iterable of blocks, ndarray or dask array
            Blocks of shape (n_rows, n_features), or functions without arguments that
            load them; read anew in each pass. An array or memory map is cut by rows.

        Returns
        -------
        self : SparseDictionaryLearner
            The fitted estimator. ``partial_fit`` goes on from here.

        Raises
        ------
        TypeError
            If `blocks` can be read only once.
        ValueError
            If a block does not fit the others, or `alpha` makes all codes zero.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` passes were not enough.
        """
        return learn_blocks(self, blocks)

    def transform(self, X):
        """Code samples.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        codes : ndarray, Tensor or csr_array of shape (n_samples, n_components)
            Codes, one per row; twice as many columns with `split_sign`.

        Warns
        -----
        ConvergenceWarning
            If `transform_max_iter` steps were not enough for some sample.
        """
        check_is_fitted(self)
        # They may have been set anew since.
        self._validate_params()
        original = X
        X = validate_array(self, X, reset=False)
        codes = self._encode(
            X, sparse_output=self.sparse_output, device=device_of(original)
        )
        if self.split_sign:
            codes = split_sign(codes)
        if self.sparse_output:
            return codes
        return restore(codes, like=original, estimator=self)

    def inverse_transform(self, X):
        """Build samples from codes.

        Parameters
        ----------
        X : array-like, Tensor or sparse array of shape (n_samples, n_components)
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
        codes = X if sparse.issparse(X) else as_numpy(X)
        codes = check_array(codes, dtype=(np.float64, np.float32), accept_sparse="csr")
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
        r"""Mean objective of the samples' codes, negated.

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
            `transform`, or without the second term where codes come from ``"omp"``; the
            higher the better. A complete dictionary without penalty scores zero: set
            `transform_alpha` to compare some.
        """
        check_is_fitted(self)
        self._validate_params()
        X = validate_array(self, X, reset=False)
        codes = self._encode(X, sparse_output=True)
        residual = X - codes @ self.components_.astype(X.dtype)
        loss = _sum_of_squares(residual) / 2
        if resolve_coder(self, self._algorithm) != "omp":
            loss += self._transform_alpha() * np.abs(codes.data).sum(dtype=np.float64)
        return -float(loss) / len(X)

    @property
    def _n_features_out(self):
        return len(self.components_) * (2 if self.split_sign else 1)

    def __sklearn_tags__(self):
        """Say that float32 stays float32."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

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

    def _fit_complete(self, algorithm, X, init, generator, progress):
        learned = learn_complete(self, algorithm, X, init, generator, progress)
        self.alpha_ = 0.0 if self.alpha is None else float(self.alpha)
        self.n_replaced_ = 0
        self.density_ = float(learned.density)
        self._algorithm = algorithm
        self._memory = {}
        self._set_components(learned.components)
        self._check_penalty(X)
        return learned.result

    def _fit_alternating(self, algorithm, X, init, generator, progress):
        squares = _sum_of_squares(X)
        alpha = self._online_alpha(squares / len(X), X.shape[1])
        learned = learn_alternating(
            self, algorithm, X, alpha, init, generator, progress
        )
        self.alpha_ = alpha
        self.n_replaced_ = learned.extras["n_replaced"]
        self._algorithm = algorithm
        self._memory = {}
        if algorithm == "online":
            self._remember(learned.extras["statistics"], squares, len(X))
        self._set_components(learned.components)
        self._check_atoms()
        self.density_ = self._measure_density(X)
        if algorithm not in GREEDY:
            self._check_penalty(X)
        return learned.result

    def _check_atoms(self):
        if self.positive_dict and not self.components_.any():
            raise ValueError(
                "positive_dict=True leaves no atom: no sample has a positive entry "
                "that an atom could explain. Pass -X, or set positive_dict=False."
            )

    def _check_alpha(self, X):
        """Refuse, before learning, a penalty beyond what any unit atom can reach."""
        if not self.alpha:
            return
        norm = float(np.linalg.norm(X, axis=1).max())
        if 0 < norm <= self.alpha:
            raise ValueError(
                f"alpha={self.alpha:.3g} makes every code zero; it must be less than "
                f"the largest norm of a sample, {norm:.3g}."
            )

    def _check_penalty(self, X):
        """Refuse a penalty that leaves nothing, and warn of one that leaves all."""
        if self.alpha_ <= 0:
            return
        largest = largest_correlation(X, self.components_, positive=self.positive_code)
        if 0 < largest <= self.alpha_:
            raise ValueError(
                f"alpha={self.alpha_:.3g} makes every code zero; it must be less than "
                f"the largest inner product of a sample with an atom, {largest:.3g}."
            )
        is_lasso = resolve_coder(self, self._algorithm) == "lasso"
        is_own = self.alpha is not None and self.transform_alpha is None
        k, d = self.components_.shape
        # A lasso code has at most as many non-zeros as there are features.
        is_dense = self.density_ > _DENSE * min(1, d / k)
        if is_lasso and is_own and is_dense and self._algorithm not in COMPLETE:
            warn(
                f"{self.density_:.0%} of the codes are not zero at alpha={self.alpha}: "
                "so dense codes determine no atoms; increase alpha.",
            )

    def _measure_density(self, X):
        codes = self._encode(X[:: -(-len(X) // _DENSITY_ROWS)], sparse_output=True)
        return float(codes.nnz / max(1, codes.shape[0] * codes.shape[1]))

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

    def _encode(self, X, *, sparse_output, device=None):
        return encode(
            self,
            X,
            self.components_,
            resolve_coder(self, self._algorithm),
            self._transform_alpha(),
            sparse_output=sparse_output,
            device=device,
        )
