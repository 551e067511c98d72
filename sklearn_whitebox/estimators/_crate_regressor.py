"""CRATERegressor: regression by a white-box transformer."""

from types import MappingProxyType

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._array import restore
from sklearn_whitebox.estimators._base import all_or_nothing
from sklearn_whitebox.estimators._crate_base import BaseCRATE
from sklearn_whitebox.estimators._crate_inference import infer_all
from sklearn_whitebox.estimators._crate_stream import learn_batch
from sklearn_whitebox.estimators._crate_targets import prepare_numbers
from sklearn_whitebox.estimators._export_crate import values_module
from sklearn_whitebox.estimators._stream_blocks import learn_passes


class CRATERegressor(RegressorMixin, BaseCRATE):
    r"""White-box transformer (CRATE) that predicts numbers from tables and images.

    Every row becomes a few tokens. Each layer is a step up the sparse rate reduction
    :math:`R(Z) - R_c(Z \mid U_{[K]}) - \lambda \|Z\|_0` of the tokens: attention
    compresses them towards learnt subspaces, then a proximal step of a lasso in a
    learnt dictionary makes them sparse. A linear map of the tokens predicts the
    standardised targets. What each layer does can be measured by
    :meth:`layer_statistics` and seen by :meth:`attention_maps`.

    Read more in the :ref:`User Guide <crate_regressor>`.

    Parameters
    ----------
    n_layers : int or "auto", default="auto"
        Number of layers. With none the head reads the tokens as they are. ``"auto"``
        takes one for tables and two for images.
    d_token : int or "auto", default="auto"
        Width of a token; a multiple of `n_heads`. ``"auto"`` takes 32 for tables and 64
        for images.
    n_heads : int, default=4
        Number of subspaces of each layer.
    attention : {"mssa", "tssa"}, default="mssa"
        Step that compresses: attention inside subspaces [1]_, or by second moments of
        the tokens [3]_, whose cost is linear in the number of tokens.
    sparsifier : {"ista", "odl", "mlp"} or None, default="ista"
        Step that sparsifies: one proximal step in a complete dictionary [1]_, two in an
        overcomplete one with a residual connection [2]_, the perceptron of an ordinary
        transformer for comparison, or none.
    tokens : {"dense", "feature"}, default="dense"
        Tokens of a table: `n_tokens` learnt non-linear views of all features, or one
        token per feature, which shows what the model reads but costs more and predicts
        less well. Images always give one token per patch.
    n_tokens : int or "auto", default="auto"
        Number of views for ``tokens="dense"``; ``"auto"`` takes 8.
    encoding : {"piecewise_linear", "periodic", "linear"}, default="piecewise_linear"
        How a number enters the tokens: by itself and how far it went through each bin
        between quantiles, by learnt waves of it, or by itself alone.
    n_bins : int or "auto", default="auto"
        Bins of a feature for ``encoding="piecewise_linear"``; ``"auto"`` takes 16.
    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Nominal columns: those of a data frame that hold categories, strings or
        booleans; or their mask, indices or names; or none.
    max_categories : int or None, default=None
        Most categories of a column; rarer ones are taken as one, as are those that
        were not seen at fit. None sets no limit.
    missing : {"error", "token"}, default="error"
        Whether a missing number (NaN) is refused, or what it stands for is learnt. A
        missing label of a nominal column is a category; pixels cannot be missing.
    image_shape : (int, int) or (int, int, int), default=None
        Height, width and, unless it is one, number of channels of the images that the
        rows are, flattened row by row with channels last. None for tables.
    patch_size : int, default=None
        Side of a patch in pixels; must divide height and width. None takes the size
        that gives about 32 patches.
    stem : bool or "auto", default="auto"
        Convolutions before an image is cut into patches; ``"auto"`` from 8 x 8 pixels.
    pool : {"auto", "class", "mean", "concat"}, default="auto"
        What the head reads: a class token, the mean of all tokens of a row, or all of
        them side by side. ``"auto"`` takes the mean for images and all for tables.
    augment : {"auto", "shift", "affine", "mirror"} or None, default="auto"
        Alter images in training: move them by up to 7 % of their side; turn and scale
        them, too, by up to 10 degrees and 10 %; mirror them, too. ``"auto"`` takes
        ``"affine"``; None takes them as they are.
    dropout : float or "auto", default="auto"
        Share of the entries of the first tokens of a table, of attention weights and of
        outputs of the attention dropped in training. ``"auto"`` takes 0.3 of the first
        tokens and 0.1 of the others.
    n_ensemble : int or "auto", default="auto"
        Number of independent networks, whose predictions are averaged. With early
        stopping each of several networks holds out another part of the rows, so that
        each row is learnt from. ``"auto"`` takes 8 for tables of 50 rows and more, else
        one, as for :meth:`partial_fit`.
    n_members : int or "auto", default="auto"
        Members of each network: they share all layers but scale the tokens by numbers
        of their own and have heads of their own [4]_. Their predictions are averaged.
        ``"auto"`` takes one.
    max_iter : int or "auto", default="auto"
        Most passes over the data, each of at least ten steps. The step size falls to
        zero at the last of them. ``"auto"`` takes 300 to 2000 steps on tables, growing
        with the root of the number of rows, and 15 to 40 passes on images.
    batch_size : int or "auto", default="auto"
        Rows of a step. ``"auto"`` takes all of up to 64 rows, else 128 or, of more than
        2000 rows, 256; of images 32, 64 or 128. Up to 64 rows that a step sees at once
        are trained in double precision without dropout, unless they are images to be
        altered; an integer weight is then a repetition.
    learning_rate : float or "auto", default="auto"
        Peak step size of AdamW. ``"auto"`` takes 5e-3 for tables, 4e-3 for images;
        above a million weights 2e-3 and 1e-3.
    weight_decay : float or "auto", default="auto"
        Decay of the matrices of layers and head. ``"auto"`` takes 0.3 for tables and
        0.01 for images.
    early_stopping : bool or "auto", default="auto"
        Hold out a part of the data, stop when its squared error no longer
        improves, and keep the best weights. Not done with fewer than 50 rows.
        ``"auto"`` does it for tables.
    validation_fraction : float, default=0.15
        Share of the rows held out if there is one network; of several networks each
        holds out an equal part.
    n_iter_no_change : int, default=10
        Passes without improvement after which early stopping stops. Without it, and
        where a step sees all rows without noise, the training loss is watched instead.
    refit : bool or "auto", default="auto"
        After early stopping train again on all rows, for the best number of passes
        and with a step size that falls to zero by then. ``"auto"`` does it for a single
        network.
    max_time : float or None, default=None
        Stop after about so many seconds and keep the best weights so far. The step
        size falls to zero by then. None sets no limit.
    on_interrupt : {"raise", "keep"}, default="raise"
        Whether ``KeyboardInterrupt`` leaves the estimator as it was before, or ends
        training and keeps the best weights so far.
    warm_start : bool, default=False
        Start from the weights and the scaling of the previous fit. Columns and
        architecture must be the same; the settings of training may differ.
    precision : {"float32", "float64", "bfloat16"}, default="float32"
        Arithmetic of training. In ``"float64"``, steps that see all rows are free of
        noise, and an integer weight is a repetition. ``"bfloat16"`` needs CUDA.
    compile : bool, default=False
        Compile the network first; worth it for long trainings on CUDA.
    device : str or torch.device, default="auto"
        Where to compute: ``"cpu"``, ``"cuda"``, … ``"auto"`` takes CUDA if there is one
        and the work is more than about ten billion multiply-adds. The fitted model is
        on no device; where a named CUDA device is missing it predicts on the CPU.
    n_jobs : int or None, default=None
        Networks of an ensemble trained at a time, one thread each. The result does not
        depend on it.
    random_state : int, RandomState instance or None, default=None
        Determines initial weights, held-out rows, order of rows and dropout.
    verbose : int, default=0
        Log every tenth of the passes (1) or every pass (2).

    Attributes
    ----------
    target_mean_ : ndarray of shape (n_outputs,)
        Means of the targets, which the network does not see.
    target_scale_ : ndarray of shape (n_outputs,)
        Their standard deviations; one for constants.
    n_outputs_ : int
        Number of targets.
    weights_ : dict of str to ndarray
        Weights of the network, a :class:`sklearn_whitebox.modules.CRATE`; of an
        ensemble with a first axis that numbers the networks.
    n_networks_ : int
        Number of networks.
    is_categorical_ : ndarray of bool of shape (n_features,)
        Which columns are nominal.
    categories_ : list of ndarray
        Categories of every nominal column, those taken as one left out.
    centre_ : ndarray of shape (n_numeric,)
        Subtracted from the numeric columns: their medians, or the means of the
        channels.
    scale_ : ndarray of shape (n_numeric,)
        Multiplied with the numeric columns: one over their interquartile ranges, or
        over the standard deviations of the channels; zero for constants.
    loss_curve_ : list of float
        Squared error of the standardised targets, mean of every pass; of an ensemble
        the mean of the networks that still trained.
    validation_curve_ : list of float
        Squared error of the held-out rows after every pass; empty if none were
        held out.
    n_iter_ : int
        Passes done, without those of a refit.
    best_iteration_ : int or list of int
        Pass, from 1, whose weights were kept, or after which the refit ended; one for
        each network of an ensemble.
    n_parameters_ : int
        Number of weights of all networks.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if `X` had any.

    See Also
    --------
    CRATEClassifier : The same for classes.
    sklearn.neural_network.MLPRegressor : Perceptron without tokens.
    sklearn.ensemble.HistGradientBoostingRegressor : The first baseline for tables.

    Notes
    -----
    Settings left at ``"auto"`` depend on the number of rows and of weights, and on
    whether rows are images; they were chosen on ten tables of the benchmark, whose
    results are reported apart.

    For each network a forward pass of a row costs :math:`L (3 n d^2 + 2 n^2 d)`
    multiply-adds for L layers and n tokens of width d with the defaults, times
    `n_members`; 16 n d² instead of n d² a layer for ``sparsifier="odl"``, without the
    last term for ``attention="tssa"``. Dense tokens of a table cost n d (B + 1) more a
    column, for B bins. Training costs three times that. Rows are predicted in their own
    precision, up to 512 at a time. Training is bitwise reproducible for a given
    `random_state` on one machine with one number of threads, unless `max_time` ends it.

    References
    ----------
    .. [1] Yu et al. (2023). White-box transformers via sparse rate reduction. NeurIPS.
    .. [2] Yang et al. (2024). Scaling white-box transformers for vision. NeurIPS.
    .. [3] Wu et al. (2025). Token statistics transformer: linear-time attention via
       variational rate reduction. ICLR.
    .. [4] Gorishniy et al. (2025). TabM: advancing tabular deep learning with
       parameter-efficient ensembling. ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_whitebox import CRATERegressor
    >>> X = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    >>> y = np.abs(X[:, 0]) - X[:, 1]
    >>> model = CRATERegressor(n_ensemble=2, max_iter=20, random_state=0)
    >>> model.fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.9
    True
    """

    _is_classifier = False
    _target_checks = MappingProxyType({"multi_output": True, "y_numeric": True})

    def __init__(
        self,
        *,
        n_layers="auto",
        d_token="auto",
        n_heads=4,
        attention="mssa",
        sparsifier="ista",
        tokens="dense",
        n_tokens="auto",
        encoding="piecewise_linear",
        n_bins="auto",
        categorical_features="from_dtype",
        max_categories=None,
        missing="error",
        image_shape=None,
        patch_size=None,
        stem="auto",
        pool="auto",
        augment="auto",
        dropout="auto",
        n_ensemble="auto",
        n_members="auto",
        max_iter="auto",
        batch_size="auto",
        learning_rate="auto",
        weight_decay="auto",
        early_stopping="auto",
        validation_fraction=0.15,
        n_iter_no_change=10,
        refit="auto",
        max_time=None,
        on_interrupt="raise",
        warm_start=False,
        precision="float32",
        compile=False,
        device="auto",
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_layers = n_layers
        self.d_token = d_token
        self.n_heads = n_heads
        self.attention = attention
        self.sparsifier = sparsifier
        self.tokens = tokens
        self.n_tokens = n_tokens
        self.encoding = encoding
        self.n_bins = n_bins
        self.categorical_features = categorical_features
        self.max_categories = max_categories
        self.missing = missing
        self.image_shape = image_shape
        self.patch_size = patch_size
        self.stem = stem
        self.pool = pool
        self.augment = augment
        self.dropout = dropout
        self.n_ensemble = n_ensemble
        self.n_members = n_members
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.refit = refit
        self.max_time = max_time
        self.on_interrupt = on_interrupt
        self.warm_start = warm_start
        self.precision = precision
        self.compile = compile
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @all_or_nothing()
    def partial_fit(self, X, y, sample_weight=None):
        """Take one pass over a batch of rows, with the state of AdamW of the last one.

        The first batch fixes the columns, the bins and the scaling of columns and
        targets, so it should be typical. There is no early stopping, and no schedule
        but a short warm-up. After :meth:`fit` it goes on from the fitted weights.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights.

        Returns
        -------
        self : CRATERegressor
            Fitted estimator.

        Raises
        ------
        ValueError
            If rows or targets do not fit those of the first call.
        """
        learn_batch(self, X, y, sample_weight, dict(vars(self)))
        return self

    @all_or_nothing()
    def fit_blocks(self, blocks, *, n_passes=1):
        """Learn from rows of numbers that do not fit in memory.

        Bins, scaling of columns and targets are settled by some thousand rows, which a
        hash of their values picks from all blocks; then :meth:`partial_fit` takes
        `n_passes` passes over chunks of a fixed number of rows, so that it does not
        matter how they are divided into blocks. Shuffle rows when they are written: a
        chunk in which all are alike teaches little. See :ref:`scaling`.

        Parameters
        ----------
        blocks : iterable of blocks, pair of arrays, or pair of dask arrays
            Blocks are pairs of shapes (n_rows, n_features) and (n_rows,), or functions
            without arguments that load them; read anew in each pass. A pair of arrays
            is cut by rows.
        n_passes : int, default=1
            Passes over all rows.

        Returns
        -------
        self : CRATERegressor
            The fitted estimator.

        Raises
        ------
        TypeError
            If `blocks` can be read only once.
        ValueError
            If a block does not fit the others.
        """
        return learn_passes(
            self,
            blocks,
            labelled=True,
            n_passes=n_passes,
            allow_nan=self.missing == "token",
        )

    def predict(self, X):
        """Predict the targets of every row.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows as in :meth:`fit`.

        Returns
        -------
        y : ndarray or Tensor of shape (n_samples,) or (n_samples, n_outputs)
            Targets, in one dimension if those at fit were. A tensor for tensors.
        """
        check_is_fitted(self)
        parts = infer_all(self, X, _member_mean)
        y = np.mean(parts, axis=0)
        y = y * self.target_scale_ + self.target_mean_
        return restore(y[:, 0] if self._is_flat else y, like=X)

    def build_module(self):
        """Build the fitted model as a module of plain torch.

        Changing it does not change the estimator. What it takes, how to train it
        further and how to write it as ONNX is told in the :ref:`User Guide <export>`.

        Returns
        -------
        module : torch.nn.Module
            On the CPU, in evaluation mode. Its ``forward(X)`` gives what
            :meth:`predict` gives for a tensor of the same rows; nominal columns hold
            codes, see :meth:`encode_categories`.
        """
        return values_module(self)

    def _prepare_targets(self, y, weight, known, *, is_batch=False):
        y = np.asarray(y)
        scaling = None
        if known is not None and "weights_" in known:
            scaling = known["target_mean_"], known["target_scale_"]
            _check_n_outputs(y, len(scaling[0]))
        targets = prepare_numbers(y, weight, scaling)
        targets.attributes["_is_flat"] = y.ndim == 1
        targets.attributes["n_outputs_"] = targets.n_outputs
        return targets

    def _number_targets(self, y, attributes):
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y_val")
        mean, scale = attributes["target_mean_"], attributes["target_scale_"]
        _check_n_outputs(y, len(mean))
        return (y.reshape(len(y), -1) - mean) / scale

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _member_mean(module, rows):
    outputs = module(rows)
    return outputs.mean(1) if outputs.ndim == 3 else outputs


def _check_n_outputs(y, n_outputs):
    n_given = 1 if y.ndim == 1 else y.shape[1]
    if n_given != n_outputs:
        raise ValueError(
            f"y has {n_given} targets, but the model has {n_outputs}; clone the "
            "estimator to start afresh."
        )
