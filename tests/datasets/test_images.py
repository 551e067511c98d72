import numpy as np
import pytest
from sklearn.utils import Bunch

from sklearn_whitebox.datasets import _images, fetch_fashion_mnist, fetch_mnist


@pytest.fixture
def tiny(monkeypatch, rng):
    """Register twelve random images as if they were the data set."""
    X = rng.integers(0, 256, (12, 784), dtype=np.uint8)
    y = rng.integers(0, 10, 12)
    digest = _images.content_digest(X, y)
    monkeypatch.setitem(_images._SOURCES, "mnist", (554, (28, 28), digest))
    monkeypatch.setitem(_images._SOURCES, "fashion_mnist", (40996, (28, 28), digest))
    return X, y


def test_files_of_a_folder_are_read(tiny, tmp_path):
    X, y = tiny
    np.savez(tmp_path / "mnist.npz", X=X.reshape(12, 28, 28), y=y)
    data = fetch_mnist(data_dir=tmp_path)
    np.testing.assert_array_equal(data.data, X)
    np.testing.assert_array_equal(data.target, y)
    assert data.image_shape == (28, 28)


def test_training_and_test_files_are_joined(tiny, tmp_path, monkeypatch):
    X, y = tiny
    np.savez(tmp_path / "fashion_train.npz", X=X[:8], y=y[:8])
    np.savez(tmp_path / "fashion_test.npz", X=X[8:], y=y[8:])
    monkeypatch.setenv("SKLEARN_WHITEBOX_DATA", str(tmp_path))
    X_read, y_read = fetch_fashion_mnist(return_X_y=True)
    np.testing.assert_array_equal(X_read, X)
    np.testing.assert_array_equal(y_read, y)


def test_order_of_rows_does_not_change_the_checksum(tiny, rng):
    X, y = tiny
    order = rng.permutation(12)
    digest = _images.content_digest(X, y)
    assert _images.content_digest(X[order], y[order]) == digest
    assert _images.content_digest(X[order], y) != digest


def test_wrong_contents_are_refused(tiny, tmp_path):
    X, y = tiny
    np.savez(tmp_path / "mnist.npz", X=X, y=(y + 1) % 10)
    with pytest.raises(ValueError, match="checksum"):
        fetch_mnist(data_dir=tmp_path)
    assert len(fetch_mnist(data_dir=tmp_path, verify=False).data) == 12


def test_files_without_the_arrays_are_refused(tiny, tmp_path):
    np.savez(tmp_path / "mnist.npz", images=np.zeros(3))
    with pytest.raises(ValueError, match="must hold arrays X and y"):
        fetch_mnist(data_dir=tmp_path)


def test_downloads_are_cached(tiny, tmp_path, monkeypatch):
    X, y = tiny
    calls = []

    def download(**settings):
        calls.append(settings["data_id"])
        return Bunch(data=X.astype(float), target=y.astype(str))

    monkeypatch.setattr(_images, "fetch_openml", download)
    for _ in range(2):
        np.testing.assert_array_equal(fetch_mnist(data_dir=tmp_path).data, X)
    assert calls == [554]
    assert [path.name for path in tmp_path.iterdir()] == ["mnist.npz"]
