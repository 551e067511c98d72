"""Lasso codes of image patches: how fast, how exact, in how much memory."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import peers
from common import interleaved, summarise
from data import IMAGES, million_patches, patches

from sklearn_whitebox import SparseDictionaryLearner
from sklearn_whitebox.functional import lasso_duality_gap
from sklearn_whitebox.solvers import lasso_encode

ALPHAS = (0.05, 0.1, 0.2)
N_ATOMS = 256
# Gaps that the codes of ours must keep: the claim is speed at these.
TOL = {"float32": 1e-5, "float64": 1e-9}


def atoms_of(X, seed, n_atoms=N_ATOMS):
    """Learn atoms, as they are in use."""
    learner = SparseDictionaryLearner(
        n_atoms, fit_algorithm="online", alpha=0.1, max_iter=2, random_state=seed
    )
    return learner.fit(X).components_.astype(np.float64)


def relative_gaps(X, codes, D, alpha):
    """Duality gap of every row over half its squared norm, in float64."""
    gaps = []
    for start in range(0, X.shape[0], 1000):
        rows = slice(start, start + 1000)
        block = codes[rows]
        block = block.toarray() if hasattr(block, "toarray") else block
        x = X[rows].astype(np.float64)
        norms = 0.5 * (x**2).sum(axis=1)
        gap = lasso_duality_gap(x, block.astype(np.float64), D, alpha=alpha)
        gaps.append(gap[norms > 0] / norms[norms > 0])
    return np.concatenate(gaps)


def _ways(X, D, alpha, few, fewer):
    """Everybody's way to code: a call, and how many rows it codes."""
    ways = {}
    for dtype, tol in TOL.items():
        x, d = X.astype(dtype), D.astype(dtype)
        ways[f"lasso_encode {dtype}"] = (
            lambda x=x, d=d, tol=tol: (
                lasso_encode(x, d, alpha=alpha, tol=tol, sparse_output=True).solution
            ),
            len(X),
        )
        if peers.optional("spams"):
            columns = peers.columns(x), peers.columns(d)
            ways[f"spams.lasso {dtype}"] = (
                lambda columns=columns: peers.spams_lasso(*columns, alpha).T.tocsr(),
                len(X),
            )
    # In float32 it takes several times as long.
    ways["sklearn lasso_cd float64"] = (
        lambda x=X[:few]: peers.sklearn_lasso(x, D, alpha, "lasso_cd"),
        few,
    )
    ways["sklearn lasso_lars float64"] = (
        lambda x=X[:fewer]: peers.sklearn_lasso(x, D, alpha, "lasso_lars"),
        fewer,
    )
    return ways


def speed(seeds, n_repeats, n_rows, few, fewer):
    rows = []
    for seed in seeds:
        train, X = patches(IMAGES, 20_000, n_rows, seed=seed)
        D = atoms_of(train, seed)
        for alpha in ALPHAS:
            ways = _ways(X, D, alpha, few, fewer)
            for call, _ in ways.values():
                call()  # compiles, warms caches
            runs = interleaved({key: way[0] for key, way in ways.items()}, n_repeats)
            for label, (codes, seconds) in runs.items():
                n = ways[label][1]
                gaps = relative_gaps(X[:n], codes, D, alpha)
                rows.append(
                    {
                        "method": label,
                        "alpha": alpha,
                        "seed": seed,
                        "microseconds": 1e6 * float(np.median(seconds)) / n,
                        "all_microseconds": [1e6 * s / n for s in seconds],
                        "largest_gap": gaps.max(),
                        "gap_of_999_in_1000": np.quantile(gaps, 0.999),
                        "nonzeros": codes.count_nonzero() / n
                        if hasattr(codes, "toarray")
                        else np.count_nonzero(codes) / n,
                    }
                )
    return rows


_MEMORY = """
import json, resource, sys, time
from pathlib import Path
import numpy as np
from sklearn_whitebox.solvers import lasso_encode

def peak():
    status = Path("/proc/self/status")
    if status.exists():  # there, getrusage knows of the parent's memory, too
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if "VmHWM" in line)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

X, D = np.load(sys.argv[1] + "/X.npy"), np.load(sys.argv[1] + "/D.npy")
settings = {"alpha": 0.1, "tol": 1e-5, "sparse_output": True}
lasso_encode(X[:2000], D, **settings)
before = peak()
start = time.process_time()
codes = lasso_encode(X, D, **settings).solution
print(json.dumps({
    "rows": X.shape[0],
    "input_mib": X.nbytes / 2**20,
    "peak_above_input_mib": (peak() - before) / 2**10,
    "codes_mib": (codes.data.nbytes + codes.indices.nbytes + codes.indptr.nbytes)
        / 2**20,
    "dense_codes_mib": X.shape[0] * D.shape[0] * X.itemsize / 2**20,
    "seconds": time.process_time() - start,
}))
"""


def memory(n_rows):
    """Peak memory of many codes, in a process that does nothing else."""
    X = million_patches(n_rows)
    D = atoms_of(X[:: max(1, n_rows // 20_000)], 0).astype(X.dtype)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "X.npy", X)
        np.save(Path(folder) / "D.npy", D)
        del X
        done = subprocess.run(
            [sys.executable, "-c", _MEMORY, folder],
            check=True,
            capture_output=True,
            text=True,
        )
    return json.loads(done.stdout)


def run(quick, seeds):
    sizes = (2000, 200, 50) if quick else (10_000, 500, 200)
    rows = speed(seeds, 3 if quick else 5, *sizes)
    return {
        "tolerances": TOL,
        "rows_coded": dict(
            zip(("others", "lasso_cd", "lasso_lars"), sizes, strict=True)
        ),
        "summary": summarise(rows, ("alpha", "method")),
        "memory": memory(50_000 if quick else 1_000_000),
        "runs": rows,
    }
