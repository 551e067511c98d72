"""Denoising: learn atoms on a noisy photograph, and let few of them explain a patch.

After Elad and Aharon (2006): all overlapping 8 by 8 patches, their means apart, are
coded by matching pursuit until the residual is as long as the noise; the patches are
put back and averaged together with the noisy image. What differs is who learns the
atoms and who codes. The penalty of learning, twice the noise, is the best of five for
both of those that learn fast.
"""

import numpy as np
import peers
from common import summarise, timed
from data import IMAGES, gray
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.linear_model import orthogonal_mp_gram

from sklearn_whitebox import SparseDictionaryLearner
from sklearn_whitebox.solvers import omp_encode

SIGMA = 20 / 255
SIZE = 8
N_ATOMS = 256
# Residual of a patch at which to stop, and weight of the noisy image in the average.
MAX_ERROR = 1.15 * SIGMA * SIZE
BLEND = 30 / 255 / SIGMA
N_TRAIN = 50_000


def decibels(image, clean):
    return float(-10 * np.log10(np.mean((np.clip(image, 0, 1) - clean) ** 2)))


def blend(noisy, fitted):
    """Put the patches back and average."""
    height, width = noisy.shape
    rows, columns = height - SIZE + 1, width - SIZE + 1
    total, count = BLEND * noisy, np.full(noisy.shape, BLEND)
    fitted = fitted.reshape(rows, columns, SIZE, SIZE)
    for i in range(SIZE):
        for j in range(SIZE):
            total[i : i + rows, j : j + columns] += fitted[:, :, i, j]
            count[i : i + rows, j : j + columns] += 1
    return total / count


def cosines():
    """Build the usual overcomplete dictionary of cosines, 16 by 16 of them."""
    waves = np.cos(np.outer(np.arange(SIZE), np.arange(16) * np.pi / 16))
    waves[:, 1:] -= waves[:, 1:].mean(axis=0)
    waves /= np.linalg.norm(waves, axis=0)
    return np.kron(waves, waves).T


def _ours(X, train, alpha, seed):
    X, train = X.astype(np.float32), train.astype(np.float32)
    learner = SparseDictionaryLearner(
        N_ATOMS, fit_algorithm="online", alpha=alpha, max_iter=2, random_state=seed
    )
    D = learner.fit(train).components_
    return omp_encode(X, D, max_error=MAX_ERROR) @ D


def _cosines(X, train, alpha, seed):
    D = cosines().astype(np.float32)
    return omp_encode(X.astype(np.float32), D, max_error=MAX_ERROR) @ D


def _spams(X, train, alpha, seed):
    x, train = peers.columns(X.astype(np.float32)), train.astype(np.float32)
    rows = np.random.default_rng(seed).choice(len(train), N_ATOMS, replace=False)
    init = train[rows] / np.linalg.norm(train[rows], axis=1, keepdims=True)
    D = peers.spams_learn(
        peers.columns(train), peers.columns(init), alpha, 200, modeParam=2, rho=0.9
    )
    # SPAMS compares the squared norm.
    return peers.spams_omp(x, D, eps=MAX_ERROR**2).T @ D.T


def _sklearn(X, train, alpha, seed):
    learner = peers.sklearn_learner(N_ATOMS, alpha, seed, max_iter=1)
    D = learner.fit(train).components_
    D = D / np.maximum(np.linalg.norm(D, axis=1, keepdims=True), 1e-12)
    norms_squared = (X**2).sum(axis=1)
    # It spends an atom before it looks at the error; that costs a decibel.
    rows = norms_squared > MAX_ERROR**2
    codes = orthogonal_mp_gram(
        D @ D.T,
        D @ X[rows].T,
        tol=MAX_ERROR**2,
        norms_squared=norms_squared[rows],
        copy_Xy=False,
    )
    fitted = np.zeros_like(X)
    fitted[rows] = codes.T @ D
    return fitted


METHODS = {
    "SparseDictionaryLearner": _ours,
    "cosines": _cosines,
    "spams": _spams,
    "sklearn": _sklearn,
}


def denoise(method, noisy, seed, *, n_train=N_TRAIN, alpha=2.0):
    """Denoise an image by one of the methods."""
    windows = sliding_window_view(noisy, (SIZE, SIZE)).reshape(-1, SIZE**2)
    means = windows.mean(axis=1, keepdims=True)
    X = windows - means
    train = X[np.random.default_rng(seed).permutation(len(X))[:n_train]]
    return blend(noisy, METHODS[method](X, train, alpha * SIGMA, seed) + means)


def run(quick, seeds):
    rows = []
    for name in IMAGES:
        clean = gray(name)
        clean = clean[150:250, 250:400] if quick else clean
        for seed in seeds:
            noise = np.random.default_rng(seed).standard_normal(clean.shape)
            noisy = clean + SIGMA * noise
            for method in METHODS:
                if method == "spams" and not peers.optional("spams"):
                    continue
                # Half a minute each, and the same within hundredths for every seed.
                if method == "sklearn" and seed != seeds[0]:
                    continue
                image, seconds = timed(denoise, method, noisy, seed)
                rows.append(
                    {
                        "image": name,
                        "method": method,
                        "seed": seed,
                        "noisy_decibels": decibels(noisy, clean),
                        "decibels": decibels(image, clean),
                        "cpu_seconds": seconds,
                    }
                )
    return {
        "sigma": SIGMA,
        "summary": summarise(rows, ("image", "method")),
        "runs": rows,
    }
