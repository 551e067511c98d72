"""Sparse codes from an unrolled network instead of an optimiser."""

import math
import warnings
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._array import (
    as_numpy,
    check_memory,
    inference_device,
    resolve_device,
    restore,
    to_tensor,
    validate_array,
)
from sklearn_whitebox._compat import Interval, StrOptions
from sklearn_whitebox._progress import Progress
from sklearn_whitebox._random import draw_seed
from sklearn_whitebox._threads import torch_threads
from sklearn_whitebox.estimators._base import WhiteboxEstimator, all_or_nothing
from sklearn_whitebox.estimators._network_state import (
    BLOCK,
    apply_network,
    arrays_of,
    blocks_of,
    load_arrays,
)
from sklearn_whitebox.functional._dictionary import lasso_duality_gap
from sklearn_whitebox.modules._learned_encoder import UnrolledEncoder
from sklearn_whitebox.solvers._atoms import initial_atoms
from sklearn_whitebox.solvers._lasso_encode import lasso_encode
from sklearn_whitebox.solvers._online_dictionary import learn_dictionary_online
from sklearn_whitebox.solvers._train import TrainSettings
from sklearn_whitebox.solvers._unrolled import train_sparse_encoder

# Epochs of dictionary learning where no dictionary is given.
_DICTIONARY_EPOCHS = 100
# Relative duality gap of the codes that supervise.
_TARGET_TOL = 1e-6


class LearnedSparseEncoder(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, WhiteboxEstimator
):
    r"""Approximate lasso codes by a few learnt steps (LISTA).

    The code of a sample x on given atoms D minimises
    :math:`\tfrac12\|x - zD\|^2 + \alpha\|z\|_1`. Iterative soft-thresholding gets there
    in hundreds of steps; a network with one layer for each of a few steps, whose
    matrices and thresholds are trained on samples, comes close in eight or sixteen. Use
    it where codes must be differentiable, take the same time for every sample, or come
    from a GPU, for samples like those of the fit; `safeguard` certifies the codes of
    all others. On a CPU the exact solver of :class:`SparseDictionaryLearner` is about
    as fast.

    Read more in the :ref:`User Guide <learned_encoders>`.

    Parameters
    ----------
    dictionary : array-like of shape (n_components, n_features), default=None
        Atoms D, used as they are. None learns unit atoms from the samples online, as
        :class:`SparseDictionaryLearner` with ``fit_algorithm="online"`` does in up to
        100 epochs.
    n_components : int, default=None
        Number of atoms to learn where `dictionary` is None; None is twice the number of
        features.
    n_layers : int, default=16
        Steps, and layers of the network.
    form : {"coupled", "free", "analytic"}, default="coupled"
        What a layer learns. ``"coupled"``: a matrix that reads the residual
        :math:`x - zD`, and thresholds. ``"free"``: one matrix for the sample and one
        for the code, as in the first LISTA [1]_, which costs k² weights a layer.
        ``"analytic"``: a step size and a threshold; the matrix is computed from D
        (ALISTA [3]_), for many atoms or few samples.
    loss : {"lasso", "supervised"}, default="lasso"
        Train on the lasso objective of the codes, or on their squared distance from the
        exact codes.
    alpha : float, default=None
        Weight of the ℓ1 norm. None is :math:`\min(1.2 / \sqrt d, 0.5)` times the root
        mean squared norm of the samples.
    positive_code : bool, default=False
        Whether codes must not be negative.
    safeguard : bool, default=False
        Whether `transform` certifies codes: where the duality gap of the network's code
        is more than `tol`, the exact solver codes the sample again. The exact solver
        runs on the CPU.
    tol : float, default=1e-4
        Largest duality gap of safeguarded codes, relative to half the squared norm of
        the sample. Codes of the network are seldom below 1e-2, so that with a small
        value nearly all samples are coded again.
    batch_size : int, default=256
        Samples of a batch.
    learning_rate : float, default=5e-3
        Peak learning rate of Adam, after a short warm-up and before a cosine decay to
        zero.
    max_iter : int, default=100
        Passes over the samples, all of them done unless `early_stopping`. 0 keeps the
        initial network: exactly `n_layers` steps of iterative soft-thresholding for the
        first two forms.
    early_stopping : bool, default=False
        Hold out samples, stop when their loss no longer improves, and keep the best
        weights.
    validation_fraction : float, default=0.1
        Share of the samples held out for early stopping.
    n_iter_no_change : int, default=10
        Passes without improvement after which early stopping stops.
    device : str or torch.device, default="auto"
        Where to train: ``"cpu"``, ``"cuda"``, … ``"auto"`` takes CUDA if there is one
        and the work is more than about ten billion multiply-adds.
    n_jobs : int, default=None
        Threads of the exact solver, as in joblib. Results do not depend on it.
    random_state : int, RandomState instance or None, default=None
        Determines learnt atoms, order of samples and held-out samples.
    verbose : int, default=0
        Log every tenth of the passes (1) or every pass (2).

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Atoms.
    alpha_ : float
        Weight of the ℓ1 norm used.
    scale_ : float
        Root mean squared norm of the samples, by which the network divides them.
    weights_ : dict of str to ndarray
        State of the network, :class:`~sklearn_whitebox.modules.UnrolledEncoder`, for
        scaled samples and atoms of unit root mean squared norm.
    gap_ : float
        Mean duality gap of the network's codes of the samples of the fit, relative to
        half the squared norm of a sample.
    loss_curve_ : list of float
        Mean loss of the batches of every pass, in the units of the samples.
    validation_curve_ : list of float
        Loss of the held-out samples after every pass; empty without early stopping.
    n_iter_ : int
        Passes done.
    best_iteration_ : int
        Pass, from 1, whose weights were kept; 0 if there was none.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if `X` had any.

    See Also
    --------
    SparseDictionaryLearner : Learns atoms, and codes by an exact solver.
    SparseAutoencoder : Learns atoms together with an encoder of one layer.
    sklearn.decomposition.SparseCoder : Codes on given atoms by an optimiser.

    Notes
    -----
    With n samples, T layers, k atoms and d features a pass costs O(n T k d) time, times
    k/d for ``"free"``; memory is that of two float32 copies of the samples, of T k d
    weights, three times, and of the codes of a batch after every layer. `transform`
    costs O(n T k d) and computes in the floating type of its input. Training is bitwise
    reproducible for a given `random_state` on one machine with one number of threads.

    Trained weights make the objective small on samples like those of the fit. On other
    samples codes can be worse than those of the untrained network; see `safeguard`.

    References
    ----------
    .. [1] Gregor, LeCun (2010). Learning fast approximations of sparse coding. ICML.
    .. [2] Chen, Liu, Wang, Yin (2018). Theoretical linear convergence of unfolded ISTA
       and its practical weights and thresholds. NeurIPS.
    .. [3] Liu, Chen, Wang, Yin (2019). ALISTA: Analytic weights are as good as learned
       weights in LISTA. ICLR.

    Examples
    --------
    >>> from sklearn_whitebox import LearnedSparseEncoder
    >>> from sklearn_whitebox.datasets import make_sparse_codes
    >>> X, _, D = make_sparse_codes(1000, 10, 20, n_nonzero=2, random_state=0)
    >>> ista = LearnedSparseEncoder(D, n_layers=4, alpha=0.1, max_iter=0).fit(X)
    >>> lista = LearnedSparseEncoder(D, n_layers=4, alpha=0.1, max_iter=25)
    >>> lista.fit(X).score(X) > 0.8 * ista.score(X)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "dictionary": ["array-like", None],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "form": [StrOptions({"coupled", "free", "analytic"})],
        "loss": [StrOptions({"lasso", "supervised"})],
        "alpha": [Interval(Real, 0, None, closed="neither"), None],
        "positive_code": ["boolean"],
        "safeguard": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        dictionary=None,
        *,
        n_components=None,
        n_layers=16,
        form="coupled",
        loss="lasso",
        alpha=None,
        positive_code=False,
        safeguard=False,
        tol=1e-4,
        batch_size=256,
        learning_rate=5e-3,
        max_iter=100,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        device="auto",
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.dictionary = dictionary
        self.n_components = n_components
        self.n_layers = n_layers
        self.form = form
        self.loss = loss
        self.alpha = alpha
        self.positive_code = positive_code
        self.safeguard = safeguard
        self.tol = tol
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self):
        """Say that float32 stays float32."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @all_or_nothing()
    def fit(self, X, y=None):
        """Train the network, after learning atoms if none are given.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored.

        Returns
        -------
        self : LearnedSparseEncoder
            The fitted encoder.

        Raises
        ------
        ValueError
            If the dictionary does not fit the samples or has a zero atom, or if `alpha`
            is so large that all exact codes are zero.
        """
        X = validate_array(self, X, ensure_min_samples=2, power=2)
        generator = torch.Generator().manual_seed(draw_seed(self.random_state))
        given = self._checked_dictionary(X)
        self._check_sizes(X, self._n_atoms(X, given))
        self.scale_ = math.sqrt(np.einsum("ij,ij->", X, X, dtype=float) / len(X))
        if self.scale_ == 0:
            raise ValueError("X is zero everywhere, so every code is zero.")
        default = min(1.2 / math.sqrt(X.shape[1]), 0.5) * self.scale_
        self.alpha_ = float(default if self.alpha is None else self.alpha)
        progress = Progress(self, max(1, self.max_iter), X, verbose=self.verbose)
        # A later change of the parameters must not change the network.
        self._architecture = (self.n_layers, self.form, self.positive_code)
        self.components_ = self._learn_atoms(X, generator) if given is None else given
        self._check_alpha(X)
        result = self._train(X, generator, progress)
        progress.close()
        unit = self._loss_unit()
        self.weights_ = arrays_of(result.weights)
        self.loss_curve_ = [unit * loss for loss in result.loss_curve]
        self.validation_curve_ = [unit * loss for loss in result.validation_curve]
        self.n_iter_ = len(result.loss_curve)
        self.best_iteration_ = result.best_iter
        gaps = [self._gaps(X[b], codes) for b, codes in self._network_codes(X)]
        self.gap_ = float(np.concatenate(gaps).mean())
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
            One code a row, each computed from its own sample alone, in the floating
            type of `X`.

        Warns
        -----
        ConvergenceWarning
            If the exact solver behind `safeguard` did not reach `tol`.
        """
        check_is_fitted(self)
        rows = validate_array(self, X, reset=False, power=2)
        return restore(self._encode(rows), like=X, estimator=self)

    def inverse_transform(self, X):
        """Build samples from codes.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        X_original : ndarray or Tensor of shape (n_samples, n_features)
            Codes times atoms, in the floating type of the codes.

        Raises
        ------
        ValueError
            If the codes do not have one column for each atom.
        """
        check_is_fitted(self)
        codes = check_array(as_numpy(X), dtype=(np.float64, np.float32))
        if codes.shape[1] != len(self.components_):
            raise ValueError(
                f"X has {codes.shape[1]} columns; codes of this LearnedSparseEncoder "
                f"have {len(self.components_)}."
            )
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
            Mean of :math:`-\tfrac12\|x - zD\|^2 - \alpha\|z\|_1`; the higher the
            better.
        """
        check_is_fitted(self)
        X = validate_array(self, X, reset=False, power=2)
        codes = self._encode(X)
        residual = X - codes @ self.components_.astype(X.dtype)
        error = np.einsum("ij,ij->", residual, residual, dtype=np.float64)
        penalty = self.alpha_ * np.abs(codes).sum(dtype=np.float64)
        return -float(error / 2 + penalty) / len(X)

    @property
    def _n_features_out(self):
        return len(self.components_)

    def _checked_dictionary(self, X):
        if self.dictionary is None:
            return None
        D = check_array(
            as_numpy(self.dictionary), dtype=X.dtype, input_name="dictionary", copy=True
        )
        if D.shape[1] != X.shape[1]:
            raise ValueError(
                f"dictionary has {D.shape[1]} columns but X has {X.shape[1]} features; "
                "pass one atom per row."
            )
        if self.n_components not in (None, len(D)):
            raise ValueError(
                f"n_components={self.n_components} contradicts the dictionary of "
                f"{len(D)} atoms; leave it None."
            )
        zero = np.flatnonzero(~D.any(axis=1))
        if len(zero):
            raise ValueError(
                f"dictionary has {len(zero)} zero atoms, the first in row {zero[0]}; "
                "drop them."
            )
        return D

    def _n_atoms(self, X, given):
        if given is not None:
            return len(given)
        return self.n_components or 2 * X.shape[1]

    def _check_sizes(self, X, k):
        n_features = X.shape[1]
        per_layer = k * (n_features + (k if self.form == "free" else 0))
        codes = min(self.batch_size, len(X)) * k
        check_memory(
            4 * self.n_layers * (4 * per_layer + 3 * codes) + 16 * k * k,
            what=f"A network of {self.n_layers} layers with {k} atoms",
            remedy="lower n_components, n_layers or batch_size, or use form='analytic'",
        )

    def _learn_atoms(self, X, generator):
        seed = int(torch.randint(2**31 - 1, (), generator=generator))
        draws = np.random.default_rng(seed)
        return learn_dictionary_online(
            X,
            initial_atoms(X, self._n_atoms(X, None), draws),
            alpha=self.alpha_,
            positive_code=self.positive_code,
            max_iter=_DICTIONARY_EPOCHS,
            generator=draws,
            n_jobs=self.n_jobs,
        ).solution["components"]

    def _check_alpha(self, X):
        largest = 0.0
        for block in blocks_of(len(X)):
            products = X[block] @ self.components_.T
            if not self.positive_code:
                products = np.abs(products)
            largest = max(largest, float(products.max()))
        if self.alpha_ >= largest:
            raise ValueError(
                f"alpha={self.alpha_:.3g} >= alpha_max for every sample, so that all "
                f"codes are zero; use alpha < {largest:.3g}."
            )

    def _train(self, X, generator, progress):
        inputs = np.empty(X.shape, dtype=np.float32)
        np.divide(X, self.scale_, out=inputs, casting="same_kind")
        kept, held_out = self._split(len(X), generator)
        steps = -(-len(kept) // self.batch_size)
        work = 3 * self._work(min(self.batch_size, len(kept)))
        device = resolve_device(self.device, work=work * steps * self.max_iter)
        module = self._make_module(torch.float32).to(device)
        targets = self._targets(X, device)
        tensor = to_tensor(inputs, device=device)
        settings = TrainSettings(
            learning_rate=float(self.learning_rate),
            max_epochs=self.max_iter,
            steps_per_epoch=steps,
            patience=self.n_iter_no_change if self.early_stopping else None,
        )

        def part(rows):
            return tensor[rows], None if targets is None else targets[rows]

        training, wanted = (tensor, targets) if held_out is None else part(kept)
        try:
            with torch_threads(work):
                return train_sparse_encoder(
                    module,
                    training,
                    module.dictionary,
                    alpha=self.alpha_ / (self.scale_ * self._atom_length()),
                    settings=settings,
                    generator=generator,
                    targets=wanted,
                    held_out=None if held_out is None else part(held_out),
                    callback=self._in_units_of(progress),
                )
        except FloatingPointError as error:
            raise ValueError(
                f"Training diverged ({error}); lower learning_rate="
                f"{self.learning_rate!r}."
            ) from error

    def _in_units_of(self, progress):
        return lambda epoch, loss: progress(epoch, self._loss_unit() * loss)

    def _atom_length(self):
        """Root mean squared norm of the atoms, by which the network divides them."""
        k = len(self.components_)
        return math.sqrt(np.square(self.components_, dtype=np.float64).sum() / k)

    def _loss_unit(self):
        if self.loss == "lasso":
            return self.scale_**2
        return (self.scale_ / self._atom_length()) ** 2

    def _targets(self, X, device):
        if self.loss == "lasso":
            return None
        exact = lasso_encode(
            X,
            self.components_,
            alpha=self.alpha_,
            positive=self.positive_code,
            tol=_TARGET_TOL,
            n_jobs=self.n_jobs,
        ).solution
        unit = self._atom_length() / self.scale_
        return to_tensor(exact * unit, device=device, dtype=torch.float32)

    def _split(self, n_samples, generator):
        if not self.early_stopping:
            return torch.arange(n_samples), None
        n_held_out = math.ceil(self.validation_fraction * n_samples)
        if n_held_out >= n_samples:
            raise ValueError(
                f"early_stopping=True with validation_fraction="
                f"{self.validation_fraction} leaves none of {n_samples} samples to "
                "train on; lower it or use early_stopping=False."
            )
        order = torch.randperm(n_samples, generator=generator)
        return order[n_held_out:], order[:n_held_out]

    def _make_module(self, dtype):
        n_layers, form, positive = self._architecture
        length = self._atom_length()
        module = UnrolledEncoder(
            to_tensor(self.components_ / length, dtype=dtype),
            alpha=self.alpha_ / (self.scale_ * length),
            n_layers=n_layers,
            form=form,
            positive=positive,
        )
        if not all(bool(w.isfinite().all()) for w in module.state_dict().values()):
            raise ValueError(
                "dictionary or alpha is out of the range of float32 in comparison with "
                "X; scale the atoms to unit norm."
            )
        return module

    def _work(self, n_rows):
        k, d = self.components_.shape
        n_layers, form, _ = self._architecture
        return 2.0 * n_rows * n_layers * k * (k if form == "free" else d)

    def _network_codes(self, X):
        """Yield blocks of rows and the network's codes of them."""
        dtype = torch.float32 if X.dtype == np.float32 else torch.float64
        module = load_arrays(self._make_module(dtype), self.weights_)
        device = inference_device(self.device, work=self._work(len(X)))
        module = module.to(device)
        unit = self.scale_ / self._atom_length()
        # One product of a layer is the unit of parallel work here.
        work = self._work(min(len(X), BLOCK)) / self._architecture[0]
        for block in blocks_of(len(X)):
            with torch_threads(work):
                rows = (X[block] / self.scale_).astype(X.dtype, copy=False)
                codes = apply_network(module, rows, device)
            yield block, (codes * unit).astype(X.dtype, copy=False)

    def _gaps(self, rows, codes):
        """Duality gap of each code, relative to half the squared norm of the sample."""
        # A gap is a small difference of large numbers.
        rows, codes = rows.astype(np.float64), codes.astype(np.float64)
        half = np.einsum("ij,ij->i", rows, rows) / 2
        gaps = lasso_duality_gap(
            rows,
            codes,
            self.components_.astype(np.float64),
            alpha=self.alpha_,
            positive=self._architecture[2],
        )
        zero = ~codes.any(axis=1)
        return np.where((half == 0) & zero, 0, gaps / np.where(half > 0, half, 1))

    def _encode(self, X):
        out = np.empty((len(X), len(self.components_)), dtype=X.dtype)
        for block, codes in self._network_codes(X):
            out[block] = self._safeguarded(X[block], codes) if self.safeguard else codes
        return out

    def _safeguarded(self, rows, codes):
        loose = self._gaps(rows, codes) > self.tol
        if not loose.any():
            return codes
        result = lasso_encode(
            rows[loose],
            self.components_.astype(rows.dtype),
            alpha=self.alpha_,
            positive=self._architecture[2],
            tol=self.tol,
            n_jobs=self.n_jobs,
        )
        if not result.converged:
            warnings.warn(
                f"The exact codes reached a relative duality gap of {result.gap:.1e}, "
                f"not tol={self.tol}; increase tol, or pass float64 samples.",
                ConvergenceWarning,
                stacklevel=4,
            )
        codes[loose] = result.solution
        return codes
