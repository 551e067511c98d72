"""Patches of the two photographs that scikit-learn ships, and planted dictionaries.

The photographs become gray (mean of the channels, from 0 to 1). Patches overlap, lose
their mean and are scaled together so that their root mean squared norm is one: flat
patches stay short, as they are in every use of such codes, and penalties of .05 to .2
mean something. Held-out patches come from tiles of 64 by 64 pixels that the training
patches do not touch.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.datasets import load_sample_image

from sklearn_whitebox.datasets import make_sparse_codes

IMAGES = ("china", "flower")
_TILE = 64
# Every fifth tile along the diagonals is held out.
_HELD_OUT = 5


def gray(name):
    return load_sample_image(f"{name}.jpg").astype(float).mean(axis=2) / 255


def all_patches(image, size):
    """Every overlapping patch, one a row, without its mean."""
    rows = sliding_window_view(image, (size, size)).reshape(-1, size * size)
    return rows - rows.mean(axis=1, keepdims=True)


def _sides(shape, size):
    """Which patches lie wholly in training tiles, and which in held-out ones."""
    rows, columns = (np.arange(length) // _TILE for length in shape)
    held_out = (rows[:, None] + 2 * columns) % _HELD_OUT == 0
    windows = sliding_window_view(held_out, (size, size)).reshape(-1, size * size)
    return ~windows.any(axis=1), windows.all(axis=1)


def patches(images, n_train, n_test, *, size=8, seed=0, dtype=np.float64):
    """Training and held-out patches of some photographs, of mean squared norm one."""
    train, test = [], []
    for name in images:
        image = gray(name)
        rows = all_patches(image, size)
        for side, chosen in zip((train, test), _sides(image.shape, size), strict=True):
            side.append(rows[chosen])
    rng = np.random.default_rng(seed)
    train, test = (
        side[rng.choice(len(side), min(n, len(side)), replace=False)]
        for side, n in (
            (np.concatenate(train), n_train),
            (np.concatenate(test), n_test),
        )
    )
    scale = 1 / np.sqrt(np.mean((train**2).sum(axis=1)))
    return (train * scale).astype(dtype), (test * scale).astype(dtype)


def million_patches(n, *, size=8):
    """As many patches as asked for, from the photographs and their mirror images."""
    views = []
    for name in IMAGES:
        image = gray(name).astype(np.float32)
        views += [all_patches(view, size) for view in (image, image.T)]
    X = np.concatenate(views)[:n]
    return X / np.sqrt(np.mean((X**2).sum(axis=1)))


def planted(seed, snr):
    """Plant 50 atoms in 20 dimensions, 3 a sample, as Aharon, Elad and Bruckstein."""
    X, _, D = make_sparse_codes(1500, 20, 50, n_nonzero=3, random_state=seed)
    if np.isfinite(snr):
        noise = np.random.default_rng(seed).standard_normal(X.shape)
        X = X + noise * 10 ** (-snr / 20) * np.linalg.norm(X) / np.linalg.norm(noise)
    return X, D
