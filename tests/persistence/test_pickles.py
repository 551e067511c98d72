"""Pickles know the version and the format of the state they hold."""

import copy
import pickle
import warnings

import joblib
import pytest
from sklearn.exceptions import InconsistentVersionWarning

from sklearn_whitebox import KSubspaces
from sklearn_whitebox.estimators import _base
from sklearn_whitebox.persistence import SKOPS_TRUSTED


def pickled(**changes):
    """A pickle whose version or format is another one, or missing for None."""
    state = {**KSubspaces(3).__getstate__(), **changes}
    missing = [key for key in changes if changes[key] is None]
    for key in missing:
        del state[key]
    return KSubspaces.__new__(KSubspaces), state


def test_a_pickle_names_version_and_format():
    state = KSubspaces().__getstate__()
    assert state["_whitebox_format"] == 1
    assert state["_whitebox_version"] == _base._VERSION
    assert not any(key.startswith("_whitebox") for key in vars(KSubspaces()))
    loaded = pickle.loads(pickle.dumps(KSubspaces()))
    assert not any(key.startswith("_whitebox") for key in vars(loaded))


@pytest.mark.parametrize("version", ["0.0.1", "99.0", None])
def test_another_version_or_none_is_loaded_with_a_warning(version):
    model, state = pickled(_whitebox_version=version)
    with pytest.warns(InconsistentVersionWarning, match=version or "unknown"):
        model.__setstate__(state)
    assert model.get_params() == KSubspaces(3).get_params()


def test_the_same_version_is_loaded_in_silence():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pickle.loads(pickle.dumps(KSubspaces()))
        copy.deepcopy(KSubspaces())


def test_a_missing_format_is_the_first():
    model, state = pickled(_whitebox_format=None)
    model.__setstate__(state)
    assert model.n_clusters == 3


def test_a_newer_format_is_refused_with_both_versions():
    model, state = pickled(_whitebox_format=2, _whitebox_version="9.8.7")
    message = rf"9\.8\.7 in state format 2; {_base._VERSION} reads up to 1.*Upgrade"
    with pytest.raises(ValueError, match=message):
        model.__setstate__(state)
    assert not vars(model)


@pytest.mark.parametrize("number", [0, -1, "1", 1.0, True, [1]])
def test_a_format_that_never_was_is_refused(number):
    model, state = pickled(_whitebox_format=number)
    with pytest.raises(ValueError, match="never was"):
        model.__setstate__(state)


def test_an_older_format_is_led_to_the_present_one(monkeypatch):
    model, state = pickled()
    monkeypatch.setattr(_base, "_STATE_FORMAT", 3)
    with pytest.raises(ValueError, match="does not read any more"):
        model.__setstate__(state)

    def widen(name, state):
        assert name == "KSubspaces"
        return {**state, "n_clusters": state["n_clusters"] + 1}

    monkeypatch.setitem(_base._STATE_UPGRADES, 1, widen)
    monkeypatch.setitem(_base._STATE_UPGRADES, 2, widen)
    model.__setstate__(state)
    assert model.n_clusters == 5


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 1)])
def test_joblib_keeps_version_and_state(compress, small, tmp_path, assert_same):
    joblib.dump(small, tmp_path / "model.joblib", compress=compress)
    assert_same(vars(small), vars(joblib.load(tmp_path / "model.joblib")))


def test_skops_follows_the_rules_of_pickles(monkeypatch):
    skops = pytest.importorskip("skops.io")
    with monkeypatch.context() as later:
        later.setattr(_base, "_VERSION", "9.8.7")
        same_format = skops.dumps(KSubspaces(3))
        later.setattr(_base, "_STATE_FORMAT", 2)
        newer_format = skops.dumps(KSubspaces(3))
    with pytest.warns(_base.WhiteboxVersionWarning, match=r"9\.8\.7"):
        assert skops.loads(same_format, trusted=SKOPS_TRUSTED).n_clusters == 3
    with pytest.raises(ValueError, match=r"9\.8\.7 in state format 2"):
        skops.loads(newer_format, trusted=SKOPS_TRUSTED)
