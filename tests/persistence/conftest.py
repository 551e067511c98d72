"""Fitted models of every kind, made when first asked for and not before."""

import functools
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from sklearn.datasets import load_digits, load_iris

from sklearn_whitebox import (
    CodingLengthClassifier,
    CodingLengthClusterer,
    CRATEClassifier,
    CRATERegressor,
    EnsembleKSubspaces,
    KSubspaces,
    LearnedSparseEncoder,
    NearestSubspaceClassifier,
    PolarTransformer,
    RateReductionClusterer,
    RateReductionEmbedding,
    ReduNetClassifier,
    SparseAutoencoder,
    SparseDictionaryLearner,
    SubspaceClusterer,
)

CRATE = {
    "n_layers": 1,
    "d_token": 8,
    "n_heads": 2,
    "n_tokens": 3,
    "n_ensemble": 1,
    "max_iter": 2,
    "random_state": 0,
}
X, y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
NAMES = np.array(["setosa", "versicolor", "virginica"], dtype=object)[y]
PIXELS, DIGITS = load_digits(n_class=3, return_X_y=True)
PIXELS, DIGITS = PIXELS[:90] / 16, DIGITS[:90]


FAMILIES = {
    "crate": CRATEClassifier,
    "crate_regressor": CRATERegressor,
    "coding_classifier": CodingLengthClassifier,
    "coding_clusterer": CodingLengthClusterer,
    "ensemble_k_subspaces": EnsembleKSubspaces,
    "k_subspaces": KSubspaces,
    "encoder": LearnedSparseEncoder,
    "nearest_subspace": NearestSubspaceClassifier,
    "polar": PolarTransformer,
    "rate_clusterer": RateReductionClusterer,
    "embedding": RateReductionEmbedding,
    "redunet": ReduNetClassifier,
    "autoencoder": SparseAutoencoder,
    "dictionary": SparseDictionaryLearner,
    "codes": SparseDictionaryLearner,
    "subspace": SubspaceClusterer,
}


def table(library=pd.DataFrame):
    """A frame of numbers with gaps, categories, strings and booleans."""
    numbers = X.copy()
    numbers[::7, 1] = np.nan
    frame = library({name: numbers[:, i] for i, name in enumerate("abcd")})
    text = np.array(["red", "green", "blue"])[(y + np.arange(150) % 2) % 3]
    if library is pd.DataFrame:
        return frame.assign(
            kind=pd.Categorical(text),
            text=pd.Series(np.where(text == "red", None, text), dtype=object),
            bought=X[:, 0] > 0,
            grade=pd.Categorical(y + 5),
            bin=pd.cut(X[:, 2], 3),
        )
    return frame.with_columns(
        kind=pl.Series(text.tolist(), dtype=pl.Enum(["red", "green", "blue"])),
        bought=pl.Series(X[:, 0] > 0),
    )


def rows_of(name):
    """Rows that the model of a name can be asked about."""
    if name.endswith("frame"):
        return table()
    special = {
        "crate_polars": lambda: table(pl.DataFrame),
        "crate_members": lambda: np.c_[y % 2, X],
        "coding_clusterer_few": lambda: pd.DataFrame(X, columns=list("abcd")),
        "embedding": lambda: pd.DataFrame(X, columns=list("abcd")),
        "crate_images": lambda: PIXELS,
        "embedding_views": lambda: PIXELS,
        "polar": lambda: PIXELS,
        "polar_default": lambda: PIXELS,
        "redunet_images": lambda: PIXELS,
        "redunet_polar": lambda: PIXELS[:, :12],
    }
    return special.get(name, lambda: X)()


def stream(estimator, *arrays, **kwargs):
    """Fit on two parts, one after the other, as in the middle of a stream."""
    half = len(arrays[0]) // 2
    order = np.random.default_rng(0).permutation(len(arrays[0]))
    for rows in (order[:half], order[half:]):
        estimator.partial_fit(*(array[rows] for array in arrays), **kwargs)
    return estimator


def _classifiers():
    return {
        "crate": lambda: CRATEClassifier(**CRATE).fit(X, NAMES),
        "crate_calibrated": lambda: CRATEClassifier(
            **{**CRATE, "max_iter": 4},
            calibrate=True,
            early_stopping=True,
            class_weight={"a": 1.0, "b": 2},
        ).fit(
            X[:100], np.array(["a", "b"])[y[:100]], sample_weight=1 + X[:100, 0] ** 2
        ),
        "crate_frame": lambda: CRATEClassifier(
            **CRATE, missing="token", tokens="feature"
        ).fit(table(), NAMES),
        "crate_polars": lambda: CRATEClassifier(
            **CRATE, missing="token", max_categories=2, device="cpu"
        ).fit(table(pl.DataFrame), y == 0),
        "crate_images": lambda: CRATEClassifier(
            **{**CRATE, "n_tokens": "auto"}, image_shape=(8, 8), patch_size=4
        ).fit(PIXELS, DIGITS),
        "crate_stream": lambda: stream(
            CRATEClassifier(**CRATE), X, y, classes=[0, 1, 2]
        ),
        "crate_members": lambda: CRATEClassifier(
            **{**CRATE, "n_ensemble": 2},
            n_members=2,
            categorical_features=[0],
            class_weight="balanced",
            attention="tssa",
            sparsifier="odl",
        ).fit(np.c_[y % 2, X], y.astype(np.int8)),
        "crate_regressor": lambda: CRATERegressor(**CRATE).fit(X, X[:, :2] ** 2),
        "crate_regressor_frame": lambda: CRATERegressor(
            **CRATE, missing="token", warm_start=True
        ).fit(table(), pd.Series(X[:, 0])),
        "crate_regressor_stream": lambda: stream(CRATERegressor(**CRATE), X, X[:, 0]),
        "coding_classifier": lambda: CodingLengthClassifier().fit(X, NAMES),
        "coding_classifier_stream": lambda: stream(
            CodingLengthClassifier(distortion=0.5, priors=np.full(3, 1 / 3)),
            X.astype(np.float32),
            y,
            classes=[0, 1, 2],
        ),
        "nearest_subspace": lambda: NearestSubspaceClassifier().fit(X, y != 1),
        "nearest_subspace_residual": lambda: NearestSubspaceClassifier(
            2, criterion="residual", centered=True, priors=[0.5, 0.25, 0.25]
        ).fit(X, y.astype(np.uint8)),
        "nearest_subspace_stream": lambda: stream(
            NearestSubspaceClassifier(), X, NAMES, classes=np.unique(NAMES)
        ),
        "redunet": lambda: ReduNetClassifier(3, random_state=0).fit(X, NAMES),
        "redunet_tuned": lambda: ReduNetClassifier(
            3,
            finetune=2,
            lift="random_relu",
            compress_layers=True,
            class_weight={0: 1.0, np.int64(1): np.float32(2.0), 2: 1},
            random_state=0,
        ).fit(X, y),
        "redunet_images": lambda: ReduNetClassifier(
            2,
            lift="random_relu",
            input_shape=(1, 8, 8),
            n_channels=4,
            n_components=3,
            random_state=0,
        ).fit(PIXELS, DIGITS),
        "redunet_polar": lambda: ReduNetClassifier(
            2, lift=PolarTransformer(3, n_angles=4), input_shape=(3, 4)
        ).fit(PIXELS[:, :12], DIGITS),
        "redunet_signals": lambda: ReduNetClassifier(
            2, lift=None, input_shape=(2, 2)
        ).fit(X, y),
        "redunet_stream": lambda: stream(
            ReduNetClassifier(3, lift="bias", forget=0.5), X, y, classes=[0, 1, 2]
        ),
    }


def _clusterers():
    return {
        "coding_clusterer": lambda: CodingLengthClusterer().fit(X[::4]),
        "coding_clusterer_few": lambda: CodingLengthClusterer(
            3, distortion=0.5, code_mean=True, connectivity=5, min_cluster_size=2
        ).fit(pd.DataFrame(X, columns=list("abcd"))),
        "ensemble_k_subspaces": lambda: EnsembleKSubspaces(
            3, subspace_dim=1, n_estimators=5, random_state=0
        ).fit(X),
        "k_subspaces": lambda: KSubspaces(3, affine=True, n_init=2, random_state=0).fit(
            X
        ),
        "k_subspaces_dims": lambda: KSubspaces(
            3, subspace_dim=[1, 2, 1], init="random", n_init=1, random_state=0
        ).fit(X),
        "rate_clusterer": lambda: RateReductionClusterer(
            3, max_iter=2, random_state=0
        ).fit(X),
        "rate_clusterer_counting": lambda: RateReductionClusterer(
            "auto", max_iter=2, hidden_layer_sizes=(), random_state=0
        ).fit(X[::3].astype(np.float32)),
        **{
            f"subspace_{method}": functools.partial(
                lambda method: SubspaceClusterer(
                    3, method=method, n_init=2, random_state=0
                ).fit(X[:60]),
                method,
            )
            for method in (
                "elastic_net",
                "omp",
                "ridge",
                "low_rank",
                "thresholding",
                "neighbors",
            )
        },
        **{
            f"subspace_by_{rule}": functools.partial(
                lambda rule: SubspaceClusterer(
                    "auto",
                    predict_method=rule,
                    n_anchors=30,
                    max_clusters=4,
                    n_init=2,
                    random_state=0,
                ).fit(X),
                rule,
            )
            for rule in ("subspace", "representation", "coding_length")
        },
    }


def _transformers():
    start = np.asfortranarray(np.linalg.qr(np.random.default_rng(0).random((4, 4)))[0])
    return {
        "encoder": lambda: LearnedSparseEncoder(
            n_layers=2, max_iter=2, random_state=0
        ).fit(X),
        "encoder_free": lambda: LearnedSparseEncoder(
            start,
            n_layers=2,
            form="free",
            loss="supervised",
            max_iter=2,
            early_stopping=True,
            random_state=0,
        ).fit(X),
        "encoder_analytic": lambda: LearnedSparseEncoder(
            start[::-1],
            n_layers=2,
            form="analytic",
            safeguard=True,
            max_iter=2,
            positive_code=True,
            random_state=0,
        ).fit(X),
        "polar": lambda: PolarTransformer(3, n_angles=8, input_shape=(8, 8)).fit(
            PIXELS
        ),
        "polar_default": lambda: PolarTransformer(3, n_angles=8).fit(PIXELS),
        "embedding": lambda: RateReductionEmbedding(3, max_iter=2, random_state=0).fit(
            pd.DataFrame(X, columns=list("abcd")), NAMES
        ),
        "embedding_linear": lambda: RateReductionEmbedding(
            2, encoder="linear", max_iter=2, batch_size=None, random_state=0
        ).fit(X, y),
        "embedding_frobenius": lambda: RateReductionEmbedding(
            2, encoder="linear", normalize="frobenius", max_iter=2, random_state=0
        ).fit(X, y),
        "embedding_free": lambda: RateReductionEmbedding(
            2,
            normalize=None,
            max_iter=2,
            hidden_layer_sizes=(8,),
            early_stopping=True,
            class_weight="balanced",
            random_state=0,
        ).fit(X, y == 1),
        "embedding_views": lambda: RateReductionEmbedding(
            2,
            objective="self_supervised",
            n_views=2,
            hidden_layer_sizes=(8,),
            input_shape=(8, 8),
            max_iter=2,
            random_state=0,
        ).fit(PIXELS),
        "embedding_semi": lambda: RateReductionEmbedding(
            2,
            objective="semi_supervised",
            n_views=2,
            hidden_layer_sizes=(8,),
            max_iter=2,
            random_state=0,
        ).fit(X, np.where(np.arange(150) % 3, y, -1)),
        "embedding_stream": lambda: stream(
            RateReductionEmbedding(2, hidden_layer_sizes=(8,), random_state=0),
            X.astype(np.float32),
            NAMES,
            classes=np.unique(NAMES),
        ),
        "autoencoder": lambda: SparseAutoencoder(
            8, n_active=2, max_iter=2, random_state=0
        ).fit(X),
        "autoencoder_relu": lambda: SparseAutoencoder(
            activation="relu",
            center="mean",
            sparse_output=True,
            max_iter=2,
            random_state=0,
        ).fit(X),
        "autoencoder_stream": lambda: stream(
            SparseAutoencoder(8, n_active=2, dead_after=1, random_state=0), X
        ),
        **{
            f"dictionary_{algorithm}": functools.partial(
                lambda algorithm: SparseDictionaryLearner(
                    4, fit_algorithm=algorithm, max_iter=5, random_state=0
                ).fit(X),
                algorithm,
            )
            for algorithm in (
                "online",
                "palm",
                "msp",
                "kurtosis",
                "ksvd",
                "ksvd_exact",
                "mod",
            )
        },
        **{
            f"codes_{algorithm}": functools.partial(
                lambda algorithm: SparseDictionaryLearner(
                    transform_algorithm=algorithm,
                    split_sign=True,
                    sparse_output=True,
                    dict_init=start.astype(">f8"),
                    fit_algorithm="online",
                    max_iter=5,
                    random_state=0,
                ).fit(X),
                algorithm,
            )
            for algorithm in ("lasso", "omp", "threshold")
        },
        "dictionary_stream": lambda: stream(
            SparseDictionaryLearner(6, random_state=0, whiten=False), X
        ),
    }


# A new estimator needs its models here: what they hold has to be found savable.
MODELS = {**_classifiers(), **_clusterers(), **_transformers()}


@functools.cache
def fitted(name):
    """Fit the model of a name, once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MODELS[name]()


def answers(estimator, rows):
    """Everything that a fitted model says about rows."""
    methods = ("predict", "predict_proba", "decision_function", "transform")
    found = {
        method: getattr(estimator, method)(rows)
        for method in methods
        if hasattr(estimator, method)
    }
    if hasattr(estimator, "inverse_transform"):
        codes = found["transform"]
        if codes.shape[1] == len(getattr(estimator, "components_", ())):
            found["inverse_transform"] = estimator.inverse_transform(codes)
    return found


def assert_same(one, two, path=""):
    """Two values are of the same types, shapes and bits."""
    if isinstance(one, np.ndarray):
        assert isinstance(two, np.ndarray), path
        assert (one.dtype, one.shape) == (two.dtype, two.shape), path
        if one.dtype.kind in {"O", "T"}:
            assert_same(one.ravel().tolist(), two.ravel().tolist(), path)
        else:
            assert one.tobytes() == two.tobytes(), path
        return
    assert type(one) is type(two), path
    if isinstance(one, dict):
        assert_same(list(one), list(two), path)
        for key in one:
            assert_same(one[key], two[key], f"{path}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), path
        for position, pair in enumerate(zip(one, two, strict=True)):
            assert_same(*pair, f"{path}[{position}]")
    elif isinstance(one, float | complex):
        assert np.array(one).tobytes() == np.array(two).tobytes(), path
    elif scipy.sparse.issparse(one):
        assert one.shape == two.shape, path
        for part in ("data", "indices", "indptr"):
            assert_same(getattr(one, part), getattr(two, part), f"{path}.{part}")
    elif hasattr(one, "get_params"):
        assert_same(vars(one), vars(two), path)
    elif isinstance(one, np.generic):
        assert_same(np.asarray(one), np.asarray(two), path)
    else:
        assert one == two, path


@pytest.fixture(name="assert_same", scope="session")
def _assert_same():
    return assert_same


@pytest.fixture(name="answers", scope="session")
def _answers():
    return answers


# For the whole session, so that the tests of one model follow one another.
@pytest.fixture(params=MODELS, scope="session")
def name(request):
    """Name of every model."""
    return request.param


@pytest.fixture(scope="session")
def model(name):
    """Every fitted model; not to be changed."""
    return fitted(name)


@pytest.fixture(scope="session")
def rows(name):
    """Rows for the model."""
    return rows_of(name)


@pytest.fixture(name="fitted", scope="session")
def _fitted():
    return fitted


@pytest.fixture(scope="session")
def families():
    """Classes by the beginning of the names of their models."""
    return FAMILIES


@pytest.fixture(scope="session")
def family(name):
    """The class that the name of the model promises."""
    return FAMILIES[max((key for key in FAMILIES if name.startswith(key)), key=len)]


@pytest.fixture(scope="session")
def small():
    """A small model of many kinds of values, in the middle of a stream."""
    return fitted("redunet_stream")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"
