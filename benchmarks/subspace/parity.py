"""The same codes as the peer's, and how much sooner.

EnSC (gamma 200, l1 ratio .9) and SSC-OMP (5 coefficients) on scattering features of
MNIST with unit rows, by the row-by-row algorithms of `peers.py` and by ours, on one
thread, in CPU seconds. Ours is timed before and after the peer; the median counts. A
row agrees if both codes have the same support; in float32 coefficients at the level of
rounding come and go on either side.
"""

import statistics

import numpy as np
from common import load, timed, unit
from peers import ensc_rows, spams, ssc_omp_rows

from sklearn_whitebox.solvers import self_express

_ENSC = {"method": "elastic_net", "gamma": 200.0, "l1_ratio": 0.9}
_OMP = {"method": "omp", "n_nonzero_coefs": 5, "n_pursuits": 1}


def run(quick, seeds, data_dir):
    data = load("mnist_sc_10k", data_dir)
    if data is None:
        data = load("digits", data_dir)
    X = unit(data[0])
    sizes = [(1000, "EnSC"), (1000, "SSC-OMP")]
    if not quick:
        sizes = [(n, name) for n in (5000, 10_000) for name in ("EnSC", "SSC-OMP")]
    rows = []
    for n_samples, name in sizes:
        for dtype in (np.float32, np.float64):
            if n_samples > 5000 and dtype == np.float64:
                continue
            rows.append(_compare(name, X[:n_samples].astype(dtype)))
            print(rows[-1], flush=True)
    return {"summary": rows}


def _compare(name, X):
    tol = 1e-9 if X.dtype == np.float64 else 1e-6
    options = {**(_ENSC if name == "EnSC" else _OMP), "tol": tol}

    def ours():
        return self_express(X, **options).solution

    def peer():
        if name == "EnSC":
            return ensc_rows(X, 200.0, 0.9, max_nonzero=None)
        return ssc_omp_rows(X, 5, tol)

    timed(self_express, X[:300], **options)  # compiles
    codes, first = timed(ours)
    theirs, peer_seconds = timed(peer)
    seconds = [first] + [timed(ours)[1] for _ in range(2)]
    median = statistics.median(seconds)
    return {
        "method": name,
        "n": len(X),
        "d": X.shape[1],
        "dtype": str(X.dtype),
        "same_support": _agreement(codes, theirs),
        "largest_difference": float(abs(codes - theirs).max()),
        "cpu_seconds": median,
        "peer_cpu_seconds": peer_seconds,
        "ratio": peer_seconds / median,
        "peer_engine": "spams" if name == "EnSC" and spams else "numpy, scikit-learn",
    }


def _agreement(one, other):
    """Share of rows whose coefficients above rounding are in the same places."""
    tiny = 10 * np.finfo(one.dtype).eps
    same = 0
    for i in range(one.shape[0]):
        supports = []
        for codes in (one, other):
            piece = slice(codes.indptr[i], codes.indptr[i + 1])
            values, columns = abs(codes.data[piece]), codes.indices[piece]
            supports.append(set(columns[values > tiny * values.max(initial=0)]))
        same += supports[0] == supports[1]
    return same / one.shape[0]
