"""Files of which a small part is in memory at a time."""

import subprocess
import sys
import textwrap
from functools import partial

import numpy as np
import pandas as pd
import pytest

from sklearn_whitebox import NearestSubspaceClassifier, SparseDictionaryLearner

N_ROWS, N_FEATURES, STEP = 1_250_000, 64, 50_000
MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def big_file(tmp_path_factory):
    """Write 305 MiB of rows of two planes, and their labels."""
    folder = tmp_path_factory.mktemp("big")
    rows = np.lib.format.open_memmap(
        folder / "X.npy", mode="w+", dtype=np.float32, shape=(N_ROWS, N_FEATURES)
    )
    labels = np.lib.format.open_memmap(
        folder / "y.npy", mode="w+", dtype=np.int8, shape=(N_ROWS,)
    )
    rng = np.random.default_rng(0)
    planes = rng.standard_normal((2, 2, N_FEATURES), dtype=np.float32)
    for start in range(0, N_ROWS, STEP):
        part = slice(start, start + STEP)
        y = rng.integers(2, size=STEP)
        codes = rng.standard_normal((STEP, 2), dtype=np.float32)
        rows[part] = np.where(y[:, None], codes @ planes[1], codes @ planes[0])
        labels[part] = y
    rows.flush()
    del rows, labels
    yield folder
    for path in folder.iterdir():
        path.unlink()


# Anonymous memory: pages of a mapped file belong to the file, and are dropped at need.
SCRIPT = """
    import re, sys, threading, time
    import numpy as np
    from functools import partial
    from sklearn_whitebox import NearestSubspaceClassifier, SubspaceClusterer

    def in_use():
        status = open("/proc/self/status").read()
        return int(re.search(r"RssAnon:\\s+(\\d+)", status)[1]) / 1024

    def load(start, stop):
        X = np.load("X.npy", mmap_mode="r")[start:stop]
        y = np.load("y.npy", mmap_mode="r")[start:stop]
        return np.array(X), np.array(y)

    kind = sys.argv[1]
    warm = load(0, 2000)
    NearestSubspaceClassifier(2).fit_blocks(warm)
    before, peak, done = in_use(), 0.0, False

    def watch():
        global peak
        while not done:
            peak = max(peak, in_use())
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    X, y = np.load("X.npy", mmap_mode="r"), np.load("y.npy", mmap_mode="r")
    if kind == "map":
        model = NearestSubspaceClassifier(2).fit_blocks((X, y))
    elif kind == "functions":
        starts = range(0, len(X), 50_000)
        blocks = [partial(load, a, a + 50_000) for a in starts]
        model = NearestSubspaceClassifier(2).fit_blocks(blocks)
    else:
        model = SubspaceClusterer(2, method="ridge", n_anchors=300, random_state=0)
        model.fit_blocks(X)
        assert len(model.labels_) == len(X)
    done = True
    watcher.join()
    right = np.mean(model.predict(X[:5000]) == y[:5000])
    print(peak - before, max(right, 1 - right) if kind == "anchors" else right)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    "kind", ["map", "functions", pytest.param("anchors", marks=pytest.mark.slow)]
)
def test_memory_stays_far_below_the_size_of_the_file(kind, big_file):
    size = (big_file / "X.npy").stat().st_size / MEBIBYTE
    assert size > 300
    script = textwrap.dedent(SCRIPT)
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, kind],
        cwd=big_file,
        check=True,
        capture_output=True,
        text=True,
    )
    growth, right = map(float, run.stdout.split())
    assert growth < size / 3
    assert right > 0.99


def read_row_group(path, number):
    parquet = pytest.importorskip("pyarrow.parquet")
    frame = parquet.ParquetFile(path).read_row_group(number).to_pandas()
    return frame.drop(columns="label"), frame["label"]


def test_row_groups_of_parquet_are_blocks(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    rng = np.random.default_rng(0)
    y = rng.choice(["a", "b"], size=3000)
    X = rng.normal(size=(3000, 1)) * np.where(y == "a", 1, 2)[:, None] * [1.0, 2, 3, 4]
    X = X + 0.1 * rng.normal(size=X.shape)
    frame = pd.DataFrame(X, columns=list("wxyz")).assign(label=y)
    path = tmp_path / "rows.parquet"
    frame.to_parquet(path, row_group_size=700)
    groups = parquet.ParquetFile(path).num_row_groups
    assert groups == 5
    blocks = [partial(read_row_group, path, number) for number in range(groups)]
    model = NearestSubspaceClassifier(1).fit_blocks(blocks)
    assert list(model.feature_names_in_) == list("wxyz")
    expected = NearestSubspaceClassifier(1).fit_blocks((X, y))
    np.testing.assert_array_equal(
        model.predict(frame[list("wxyz")]), expected.predict(X)
    )


def test_blocks_of_dask_arrays_and_prediction_by_blocks():
    array = pytest.importorskip("dask.array")
    X = np.random.default_rng(0).laplace(size=(3000, 6))
    lazy = array.from_array(X, chunks=(1000, 6))
    make = partial(
        SparseDictionaryLearner,
        8,
        fit_algorithm="online",
        max_iter=20,
        random_state=0,
    )
    model = make().fit_blocks(lazy)
    np.testing.assert_array_equal(model.components_, make().fit_blocks(X).components_)
    codes = lazy.map_blocks(model.transform, chunks=(1000, 8), meta=np.empty((0, 0)))
    np.testing.assert_array_equal(codes.compute(), model.transform(X))
    with pytest.raises(ValueError, match="rechunk"):
        make().fit_blocks(lazy.rechunk((1000, 3)))


def test_lazy_collections_are_refused_with_the_way_out():
    array = pytest.importorskip("dask.array")
    X, y = np.random.default_rng(0).normal(size=(90, 4)), np.arange(90) % 3
    lazy_X, lazy_y = array.from_array(X), array.from_array(y)
    model = NearestSubspaceClassifier(1).fit(X, y)
    with pytest.raises(TypeError, match=r"call fit_blocks\(\(X, y\)\)"):
        model.fit(lazy_X, y)
    with pytest.raises(TypeError, match="y is a lazy dask collection"):
        model.fit(X, lazy_y)
    for method in (model.predict, model.predict_proba, model.transform):
        with pytest.raises(TypeError, match="map_blocks"):
            method(lazy_X)
    with pytest.raises(TypeError, match="lazy dask collection"):
        model.partial_fit(lazy_X, y)
    with pytest.raises(TypeError, match=r"call fit_blocks\(X\)"):
        SparseDictionaryLearner(3, fit_algorithm="online").fit(lazy_X)
