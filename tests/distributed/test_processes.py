"""Two processes of torchrun on this machine, over gloo."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

SCRIPT = Path(__file__).with_name("worker.py")
WORKER = runpy.run_path(str(SCRIPT))

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="needs torch.distributed with gloo",
)


def torchrun(*words, options=(), n_processes=2, limit=300):
    """Start processes that find one another on the loopback, at a port that is free."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--local-addr=127.0.0.1", f"--nproc-per-node={n_processes}", *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.run(
        [*command, *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )


def load(path):
    with np.load(path) as archive:
        return dict(archive)


def test_two_processes_give_the_model_of_one(tmp_path):
    done = torchrun(SCRIPT, "fit", tmp_path)
    assert done.returncode == 0, done.stderr
    for name, (estimator, (X, y, weight)) in WORKER["cases"]().items():
        estimator.fit(X, y, weight)
        first, second = (load(tmp_path / f"{name}-{rank}.npz") for rank in (0, 1))
        for key, value in first.items():
            assert_array_equal(second[key], value)
        is_double = estimator.precision == "float64" or name == "few"
        tol = 1e-10 if is_double else 2e-3
        for key, weights in estimator.weights_.items():
            assert_allclose(first[key], weights, rtol=tol, atol=tol, err_msg=name)
        tol = 1e-10 if is_double else 1e-5
        assert_allclose(first["curve"], estimator.loss_curve_, rtol=tol, err_msg=name)
        temperature = getattr(estimator, "temperature_", 1.0)
        assert_allclose(first["temperature"], temperature, rtol=max(tol, 1e-5))


@pytest.mark.slow
def test_all_processes_stop_where_one_cannot_go_on(tmp_path):
    done = torchrun(SCRIPT, "refuse", tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = (
        (tmp_path / f"failures-{rank}").read_text().splitlines() for rank in (0, 1)
    )
    for line in (first[0], second[0]):
        assert line.startswith("ValueError: Process 1 was given other data"), line
        assert "X" in line
    assert first[1].startswith("RuntimeError: Process 1 could not begin: ValueError")
    assert second[1].startswith("ValueError: Input X contains NaN")
    for line in (first[2], second[2]):
        assert line.startswith("ValueError: the training loss became"), line
    assert first[3].startswith("RuntimeError: Another process of this fit failed")
    assert second[3].startswith("ZeroDivisionError")
    assert first[4] == second[4] == "False"


def test_a_killed_process_does_not_change_the_model(tmp_path):
    done = torchrun(SCRIPT, "die", tmp_path, options=["--max-restarts=1"])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "starts-0").read_text() == "xx"
    resumed, whole = (load(tmp_path / f"{name}-0.npz") for name in ("resumed", "whole"))
    other = load(tmp_path / "resumed-1.npz")
    for name, weights in whole.items():
        assert_array_equal(resumed[name], weights)
        assert_array_equal(other[name], weights)
