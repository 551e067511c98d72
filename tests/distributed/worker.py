"""What the tests start by torchrun: ``worker.py TASK FOLDER``."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from sklearn_whitebox import CRATEClassifier, CRATERegressor
from sklearn_whitebox._progress import Progress
from sklearn_whitebox.distributed import fit_distributed

RANK = int(os.environ.get("RANK", "0"))
TIMEOUT = 60.0


def table(n_rows=150):
    """Two numbers, and a column of categories as text."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 3)).astype(object)
    X[:, 2] = rng.choice(["a", "b", "c"], n_rows)
    y = (X[:, 0] * X[:, 1] > 0).astype(int) + (X[:, 2] == "a")
    return X, y, rng.uniform(0.2, 2.0, n_rows)


def cases():
    """Estimators with data, by name; batches are no multiples of two rows."""
    X, y, weight = table()
    numbers = X[:, :2].astype(float)
    images, digits = load_digits(return_X_y=True)
    common = {"random_state": 0, "max_iter": 3}
    nominal = {"categorical_features": [2], **common}
    return {
        "table": (
            CRATEClassifier(n_ensemble=2, batch_size=45, **nominal),
            (X, y, weight),
        ),
        "double": (
            CRATEClassifier(
                n_ensemble=1, refit=True, batch_size=45, precision="float64", **nominal
            ),
            (X, y, weight),
        ),
        "numbers": (
            CRATERegressor(
                n_ensemble=1,
                n_members=2,
                attention="tssa",
                sparsifier="odl",
                precision="float64",
                batch_size=33,
                **common,
            ),
            (numbers, numbers[:, 0] * numbers[:, 1], None),
        ),
        "images": (
            CRATEClassifier(
                image_shape=(8, 8), augment="mirror", precision="float64", **common
            ),
            (images[:97], digits[:97], None),
        ),
        "few": (CRATEClassifier(n_ensemble=1, **common), (numbers[:31], y[:31], None)),
    }


def killable():
    """An estimator that trains long enough to be killed in its second network."""
    X, y, _ = table(60)
    return CRATEClassifier(n_ensemble=2, max_iter=4, random_state=0), X[:, :2], y


def failure_of(function):
    """Give what a function raises, as text."""
    try:
        function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def at_pass(number, action):
    """Do something when so many passes of all networks were reported."""
    report, seen = Progress.__call__, []

    def call(self, iteration, objective=None):
        seen.append(iteration)
        if len(seen) == number:
            action()
        return report(self, iteration, objective)

    Progress.__call__ = call


def fit_all(folder):
    for name, (estimator, (X, y, weight)) in cases().items():
        fit_distributed(estimator, X, y, sample_weight=weight, timeout=TIMEOUT)
        np.savez(
            folder / f"{name}-{RANK}.npz",
            curve=np.array(estimator.loss_curve_),
            temperature=getattr(estimator, "temperature_", 1.0),
            **estimator.weights_,
        )
    torch.distributed.init_process_group("gloo")
    estimator, X, y = killable()
    fit_distributed(estimator.set_params(max_iter=1), X, y, timeout=TIMEOUT)
    assert torch.distributed.is_initialized()
    torch.distributed.destroy_process_group()


def refuse_all(folder):
    model = CRATEClassifier(n_ensemble=1, max_iter=3, random_state=0)
    X, y, _ = table(60)
    X = X[:, :2].astype(float)
    other = X + (RANK == 1)
    broken = X.copy()
    if RANK == 1:
        broken[0] = np.nan
    wild = CRATEClassifier(
        n_ensemble=1, learning_rate=1e30, random_state=0, early_stopping=False
    )
    lines = [
        failure_of(lambda: fit_distributed(model, other, y, timeout=TIMEOUT)),
        failure_of(lambda: fit_distributed(model, broken, y, timeout=TIMEOUT)),
        failure_of(lambda: fit_distributed(wild, X, y, timeout=TIMEOUT)),
    ]
    if RANK == 1:
        at_pass(2, lambda: 1 / 0)
    lines.append(failure_of(lambda: fit_distributed(model, X, y, timeout=TIMEOUT)))
    lines.append(str(hasattr(model, "weights_")))
    (folder / f"failures-{RANK}").write_text("\n".join(lines))


def die_once(folder):
    """Be killed in the second network at the first start, and go on at the second."""
    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    estimator, X, y = killable()
    if first and RANK == 1:
        at_pass(6, lambda: os.kill(os.getpid(), signal.SIGKILL))
    starts = folder / f"starts-{RANK}"
    starts.write_text(starts.read_text() + "x" if starts.exists() else "x")
    fit_distributed(estimator, X, y, checkpoint=folder / "run", timeout=TIMEOUT)
    np.savez(folder / f"resumed-{RANK}.npz", **estimator.weights_)
    whole = killable()[0]
    fit_distributed(whole, X, y, timeout=TIMEOUT)
    np.savez(folder / f"whole-{RANK}.npz", **whole.weights_)


if __name__ == "__main__":
    tasks = {"fit": fit_all, "refuse": refuse_all, "die": die_once}
    tasks[sys.argv[1]](Path(sys.argv[2]))
