"""Fitting from blocks: the same for any division, and refusals that name the block."""

import itertools
from functools import partial

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from sklearn_whitebox import (
    CodingLengthClassifier,
    CRATEClassifier,
    CRATERegressor,
    NearestSubspaceClassifier,
    RateReductionEmbedding,
    ReduNetClassifier,
    SparseAutoencoder,
    SparseDictionaryLearner,
    SubspaceClusterer,
)
from sklearn_whitebox._blocks import Blocks, chunk_rows
from sklearn_whitebox.datasets import make_sparse_codes
from sklearn_whitebox.estimators._stream_blocks import gather_rows

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N_ROWS, N_FEATURES = 1500, 6
LABELLED = {
    "coding_length": lambda: CodingLengthClassifier(),
    "nearest_subspace": lambda: NearestSubspaceClassifier(),
    "nearest_centered": lambda: NearestSubspaceClassifier(2, centered=True),
    "redunet": lambda: ReduNetClassifier(n_layers=2, random_state=0),
    "crate": lambda: CRATEClassifier(n_layers=1, n_ensemble=1, random_state=0),
    "crate_regressor": lambda: CRATERegressor(n_layers=1, n_ensemble=1, random_state=0),
    "embedding": lambda: RateReductionEmbedding(3, random_state=0),
}
UNLABELLED = {
    "dictionary": lambda: SparseDictionaryLearner(
        8, fit_algorithm="online", max_iter=3, random_state=0
    ),
    "autoencoder": lambda: SparseAutoencoder(12, n_active=2, random_state=0),
    "clusterer": lambda: SubspaceClusterer(
        3, method="ridge", n_anchors=300, random_state=0
    ),
}
ESTIMATORS = LABELLED | UNLABELLED
CHEAP = ("coding_length", "nearest_subspace", "nearest_centered", "clusterer")


@pytest.fixture(scope="module", autouse=True)
def small_chunks():
    """Let few rows make several chunks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sklearn_whitebox._block_input._MOST_ROWS", 512)
        yield


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    bases = rng.normal(size=(3, 2, N_FEATURES))
    y = rng.integers(3, size=N_ROWS)
    X = np.einsum("ij,ijk->ik", rng.normal(size=(N_ROWS, 2)), bases[y])
    return X + 0.05 * rng.normal(size=X.shape), y


def give(name, X, y):
    """Return a block as the estimator takes it."""
    return (X, y) if name in LABELLED else X


def cut(name, data, bounds):
    X, y = data
    edges = [0, *sorted(bounds), N_ROWS]
    parts = itertools.pairwise(edges)
    return [give(name, X[a:b], y[a:b]) for a, b in parts]


def output(model, X):
    for method in ("predict_proba", "predict", "transform"):
        if hasattr(model, method):
            return getattr(model, method)(X)
    raise AssertionError(type(model))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_division_into_blocks_changes_nothing(name, data):
    make = ESTIMATORS[name]
    X, y = data
    whole = make().fit_blocks(give(name, X, y))
    blocks = cut(name, data, [0, 1, 700, 700, 1100])
    arrays = make().fit_blocks(blocks)
    loaded = make().fit_blocks([lambda block=block: block for block in blocks])
    expected = output(whole, X[:300])
    np.testing.assert_array_equal(output(arrays, X[:300]), expected)
    np.testing.assert_array_equal(output(loaded, X[:300]), expected)


@pytest.mark.parametrize("name", CHEAP)
def test_any_division_gives_the_same(name, data):
    make = ESTIMATORS[name]
    X, y = data
    expected = output(make().fit_blocks(give(name, X, y)), X[:100])

    @settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.integers(0, N_ROWS), max_size=6), st.booleans())
    def check(bounds, lazily):
        blocks = cut(name, data, bounds)
        if lazily:
            blocks = [lambda block=block: block for block in blocks]
        model = make().fit_blocks(blocks)
        np.testing.assert_array_equal(output(model, X[:100]), expected)

    check()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2000), max_size=8), st.booleans())
def test_chunks_are_the_same_rows_for_any_division(bounds, lazily):
    X = np.arange(2000.0 * 3).reshape(2000, 3)
    size = chunk_rows(3)
    edges = [0, *sorted(bounds), 2000]
    blocks = [X[a:b] for a, b in itertools.pairwise(edges)]
    if lazily:
        blocks = [lambda block=block: block for block in blocks]
    rows = Blocks(blocks, labelled=False).survey()
    assert rows.n_samples == 2000
    found = list(rows.map(_first_and_last))
    expected = [(X[i, 0], X[min(i + size, 2000) - 1, 0]) for i in range(0, 2000, size)]
    assert found == expected


def _first_and_last(X, _):
    return X[0, 0], X[-1, 0]


@pytest.mark.parametrize("name", ["dictionary", "clusterer"])
def test_number_of_jobs_changes_nothing(name, data):
    make, X = ESTIMATORS[name], data[0]
    alone = make().fit_blocks(X)
    for options in ({"n_jobs": 2}, {"n_jobs": -1}):
        together = make().set_params(**options).fit_blocks(X)
        np.testing.assert_array_equal(output(alone, X), output(together, X))


@pytest.mark.parametrize("name", ["nearest_subspace", "nearest_centered"])
def test_blocks_give_the_model_of_all_rows(name, data):
    X, y = data
    whole, blocks = ESTIMATORS[name]().fit(X, y), ESTIMATORS[name]().fit_blocks(data)
    np.testing.assert_array_equal(whole.ranks_, blocks.ranks_)
    np.testing.assert_allclose(
        whole.predict_proba(X), blocks.predict_proba(X), atol=1e-9
    )


def test_coding_lengths_of_blocks_are_those_of_all_rows(data):
    whole = CodingLengthClassifier(distortion=0.1).fit(*data)
    blocks = CodingLengthClassifier(distortion=0.1).fit_blocks(data)
    np.testing.assert_allclose(
        whole.decision_function(data[0]), blocks.decision_function(data[0]), rtol=1e-9
    )


def test_few_rows_of_many_features_are_kept_as_rows():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 300)), np.repeat(["a", "b"], 15)
    whole = NearestSubspaceClassifier(3).fit(X, y)
    blocks = NearestSubspaceClassifier(3).fit_blocks([(X[:7], y[:7]), (X[7:], y[7:])])
    np.testing.assert_allclose(whole.transform(X), blocks.transform(X), atol=1e-9)


def test_clusters_of_blocks_are_those_of_a_fit_on_as_many_anchors(data):
    whole = ESTIMATORS["clusterer"]().fit(data[0])
    blocks = ESTIMATORS["clusterer"]().fit_blocks(data[0])
    np.testing.assert_array_equal(whole.anchors_, blocks.anchors_)
    np.testing.assert_array_equal(whole.labels_, blocks.labels_)
    assert blocks.representation_.shape == (300, 300)


def test_dictionary_of_blocks_is_as_good_as_one_of_all_rows():
    X, _, atoms = make_sparse_codes(6000, 12, 16, random_state=0)
    make = partial(SparseDictionaryLearner, 16, fit_algorithm="online", random_state=0)
    model = make().fit_blocks([X[:4000], X[4000:]])
    assert model.score(X) > 1.01 * make().fit(X).score(X)
    assert np.median(np.abs(model.components_ @ atoms.T).max(axis=0)) > 0.99
    n_passes = model.n_iter_
    later = model.partial_fit(X[:500])
    assert len(later.objective_curve_) == n_passes + 1


@pytest.mark.parametrize("name", ESTIMATORS)
def test_refusals_name_the_block_and_keep_the_model(name, data):
    X, y = data[0][:400], data[1][:400]
    model = ESTIMATORS[name]().fit_blocks(give(name, *data))
    expected = output(model, X)
    narrow = give(name, X[:, :3], y)
    with pytest.raises(ValueError, match="Block 1 has 3 features, but block 0 has 6"):
        model.fit_blocks([give(name, X, y), narrow])
    single = give(name, X.astype(np.float32), y)
    with pytest.raises(ValueError, match="Block 1 is float32, but block 0 is float64"):
        model.fit_blocks([give(name, X, y), single])
    broken = X.copy()
    broken[3, 2] = np.inf
    with pytest.raises(ValueError, match="Block 2: Input"):
        model.fit_blocks([give(name, X, y), give(name, X, y), give(name, broken, y)])
    with pytest.raises(TypeError, match="can be read only once"):
        model.fit_blocks(block for block in [give(name, X, y)])
    with pytest.raises(ValueError, match="hold no rows"):
        model.fit_blocks([give(name, X[:0], y[:0])])
    for strange in (3, {"X": X}, pd.DataFrame(X)):
        with pytest.raises(TypeError, match="blocks is a"):
            model.fit_blocks(strange)
    np.testing.assert_array_equal(output(model, X), expected)


@pytest.mark.parametrize("name", ["coding_length", "crate", "redunet"])
def test_labels_of_a_block_must_match_its_rows(name, data):
    X, y = data
    model = ESTIMATORS[name]()
    with pytest.raises(ValueError, match=r"Block 0 has 1500 rows, but 5 labels"):
        model.fit_blocks([(X, y[:5])])
    with pytest.raises(ValueError, match=r"it must be a pair \(X, y\)"):
        model.fit_blocks([X, X])
    with pytest.raises(ValueError, match="X has 1500 rows and y 1499 labels"):
        model.fit_blocks((X, y[1:]))


@pytest.mark.parametrize("name", ["coding_length", "nearest_subspace"])
def test_an_iterator_is_read_once_where_classes_are_known(name, data):
    expected = ESTIMATORS[name]().fit_blocks(data)
    blocks = iter(cut(name, data, [400]))
    model = ESTIMATORS[name]().fit_blocks(blocks, classes=[0, 1, 2])
    np.testing.assert_array_equal(output(model, data[0]), output(expected, data[0]))
    with pytest.raises(ValueError, match="not in classes"):
        ESTIMATORS[name]().fit_blocks(iter([data]), classes=[0, 1])
    late = iter([(data[0], data[1]), (data[0][:, :2], data[1])])
    with pytest.raises(ValueError, match="Block 1 has 2 features"):
        ESTIMATORS[name]().fit_blocks(late, classes=[0, 1, 2])


def test_names_of_columns_are_those_of_the_blocks(data):
    frame = pd.DataFrame(data[0], columns=list("abcdef"))
    model = ESTIMATORS["dictionary"]().fit_blocks([frame[:400], frame[400:]])
    assert list(model.feature_names_in_) == list("abcdef")
    with pytest.raises(ValueError, match="Block 1 has columns"):
        model.fit_blocks([frame, frame.rename(columns={"a": "z"})])
    model.fit_blocks(data[0])
    assert not hasattr(model, "feature_names_in_")


def test_fine_tuning_needs_all_rows(data):
    with pytest.raises(ValueError, match="finetune=2 needs the features of all rows"):
        ReduNetClassifier(2, finetune=2).fit_blocks(data)


def test_only_online_dictionaries_learn_from_blocks():
    assert not hasattr(SparseDictionaryLearner(fit_algorithm="msp"), "fit_blocks")


@pytest.mark.parametrize("n_passes", [0, 1.5, True])
def test_passes_are_counted_in_positive_integers(n_passes, data):
    with pytest.raises(ValueError, match="n_passes="):
        ESTIMATORS["autoencoder"]().fit_blocks(data[0], n_passes=n_passes)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["elastic_net", "omp", "ridge"])
def test_processes_of_loky_give_the_clusters_of_one(method):
    # Arrays beyond a megabyte arrive as read-only memory maps.
    X = np.random.default_rng(0).laplace(size=(5000, 30))
    make = partial(SubspaceClusterer, 3, method=method, random_state=0)
    alone = make().fit(X)
    with joblib.parallel_config(backend="loky", n_jobs=2):
        together = make().fit(X)
    np.testing.assert_array_equal(alone.labels_, together.labels_)


class Changing:
    """Blocks that are others from some pass on."""

    def __init__(self, *passes):
        # It is asked for an iterator once before it is read.
        self.passes, self.n_read = passes, -1

    def __iter__(self):
        self.n_read += 1
        return iter(self.passes[min(max(self.n_read, 1), len(self.passes)) - 1])


@pytest.mark.parametrize("name", ["nearest_subspace", "redunet", "clusterer"])
def test_blocks_that_change_between_passes_are_refused(name, data):
    X, y = data
    whole = [give(name, X[:900], y[:900]), give(name, X[900:], y[900:])]
    make = ESTIMATORS[name]
    with pytest.raises(ValueError, match=r"There were 2 blocks .* and now there are 1"):
        make().fit_blocks(Changing(whole, whole[:1]))
    with pytest.raises(ValueError, match=r"Block 1 had 600 rows .* now has 500"):
        make().fit_blocks(Changing(whole, [whole[0], give(name, X[1000:], y[1000:])]))
    reads = iter([whole[1], give(name, X[:20], y[:20])])
    with pytest.raises(ValueError, match=r"Block 1 had 600 rows .* now has 20"):
        make().fit_blocks([lambda: whole[0], lambda: next(reads)])
    if name in LABELLED:
        with pytest.raises(ValueError, match=r"Block 1 has labels \[5\] that no block"):
            make().fit_blocks(Changing(whole, [whole[0], (X[900:], y[900:] * 0 + 5)]))


@pytest.mark.parametrize("dtype", ["int8", "U3", object, bool])
def test_classes_keep_the_type_of_the_labels(dtype, data):
    X, y = data
    y = y.astype("U1").astype(object) if dtype is object else y.astype(dtype)
    model = NearestSubspaceClassifier(2).fit_blocks([(X[:9], y[:9]), (X[9:], y[9:])])
    np.testing.assert_array_equal(model.classes_, np.unique(y))
    assert model.classes_.dtype == np.asarray(y).dtype


@pytest.mark.parametrize("name", ["nearest_subspace", "redunet", "crate"])
def test_labels_that_are_no_classes_are_refused(name, data):
    X, y = data
    model = ESTIMATORS[name]()
    with pytest.raises(ValueError, match=r"Block 1 has labels \['a'\], but blocks"):
        model.fit_blocks([(X, y), (X[:5], np.repeat("a", 5))])
    with pytest.raises(ValueError, match="Block 1: labels cannot be sorted"):
        model.fit_blocks([(X, y), (X[:2], np.array([None, 1], dtype=object))])
    with pytest.raises(ValueError, match="Block 0 has no labels"):
        model.fit_blocks([(X, None)])
    with pytest.raises(ValueError, match="Block 0: y contains NaN"):
        model.fit_blocks([(X, np.where(y == 0, np.nan, y))])
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        model.fit_blocks([(X, X[:, 0])])


def test_sparse_rows_and_half_lazy_pairs_are_refused(data):
    array = pytest.importorskip("dask.array")
    X, y = data
    with pytest.raises(TypeError, match="X is sparse"):
        NearestSubspaceClassifier().fit_blocks((csr_array(X), y))
    for pair in [(array.from_array(X), y), (X, array.from_array(y))]:
        with pytest.raises(TypeError, match="One of X and y is a lazy"):
            NearestSubspaceClassifier().fit_blocks(pair)


def test_passes_may_be_counted_by_numpy(data):
    make, X = ESTIMATORS["autoencoder"], data[0][:600]
    one, other = (make().fit_blocks(X, n_passes=n) for n in (2, np.int64(2)))
    np.testing.assert_array_equal(one.transform(X), other.transform(X))


@pytest.fixture(scope="module")
def repeated():
    """Make many rows of which twelve differ."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 5)), np.arange(12) % 2
    index = rng.integers(12, size=20_000)
    return X[index], y[index]


@pytest.mark.parametrize("model", [NearestSubspaceClassifier, CodingLengthClassifier])
def test_repeated_rows_give_the_model_of_all_rows(model, repeated):
    X = repeated[0][:100]
    whole, blocks = model().fit(*repeated), model().fit_blocks(repeated)
    np.testing.assert_allclose(
        whole.predict_proba(X), blocks.predict_proba(X), atol=1e-9
    )


@pytest.mark.parametrize("n_anchors", [8, 300])
def test_repeated_rows_give_the_clusters_of_all_rows(n_anchors, repeated):
    make = partial(SubspaceClusterer, 3, subspace_dim=1, random_state=0)
    whole = make(n_anchors=n_anchors).fit(repeated[0])
    blocks = make(n_anchors=n_anchors).fit_blocks(repeated[0])
    np.testing.assert_array_equal(whole.labels_, blocks.labels_)
    np.testing.assert_array_equal(whole.isolated_, blocks.isolated_)
    n_distinct = min(n_anchors, 12)
    assert blocks.representation_.shape == (n_distinct, n_distinct)
    assert len(np.unique(repeated[0][blocks.anchors_], axis=0)) == n_distinct


def test_a_sample_of_repeated_rows_has_all_of_them_in_their_proportions(repeated):
    X, y = repeated
    parts = [(X[:7000], y[:7000]), (X[7000:], y[7000:])]
    rows, labels = gather_rows(Blocks(parts, labelled=True).survey(), 600)
    assert len(rows) == pytest.approx(600, abs=12)
    assert len(np.unique(rows, axis=0)) == 12
    assert np.mean(labels) == pytest.approx(np.mean(y), abs=0.02)
    turned = Blocks((X[::-1].copy(), y[::-1].copy()), labelled=True).survey()
    np.testing.assert_array_equal(gather_rows(turned, 600)[0], rows)


@pytest.mark.parametrize("name", ["nearest_subspace", "dictionary"])
def test_what_a_function_raises_tells_the_block(name, data):
    def fail():
        raise OSError("no such disk")

    blocks = [lambda: give(name, *data), fail]
    with pytest.raises(OSError, match="no such disk") as caught:
        ESTIMATORS[name]().fit_blocks(blocks)
    assert caught.value.__notes__ == ["This is from loading block 1."]
