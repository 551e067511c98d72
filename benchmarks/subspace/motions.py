"""Rigid motions seen by an affine camera, made as those of motion segmentation.

Tracks of the points of one rigid body lie in an affine subspace of dimension three.
The camera moves, too: all bodies share its motion, so that their subspaces are close,
as in the sequences of Hopkins 155 (Tron, Vidal 2007).
"""

import numpy as np
from scipy.spatial.transform import Rotation

N_FRAMES = 25
WIDTH, HEIGHT = 640.0, 480.0


def make_motions(n_motions, *, noise=1.0, seed=0):
    """Track points of rigid bodies through a sequence.

    Parameters
    ----------
    n_motions : int
        Bodies, the still scene included.
    noise : float, default=1.0
        Standard deviation of the tracked positions, in pixels of a 640 x 480 image;
        the drift of the tracker grows to twice as much.
    seed : int, default=0
        Seed.

    Returns
    -------
    X : ndarray of shape (n_points, 2 * 25)
        Image coordinates of each point in all frames.
    y : ndarray of shape (n_points,)
        Body of each point.
    """
    rng = np.random.default_rng(seed)
    camera = Rotation.from_rotvec(smooth(rng, 3, np.deg2rad(rng.uniform(3, 15))))
    shift = smooth(rng, 2, rng.uniform(10, 60))
    zoom = 1 + smooth(rng, 1, 0.1)
    tracks, y = [], []
    for body in range(n_motions):
        n_points = rng.integers(60, 120) if body == 0 else rng.integers(25, 70)
        size = 220.0 if body == 0 else rng.uniform(30, 80)
        points = size * rng.uniform(-1, 1, size=(n_points, 3)) * [1.2, 0.9, 0.6]
        if body:
            # A body that slides without turning has all directions of its subspace
            # in common with the scene.
            turns = np.deg2rad(rng.choice([0.0, 5.0, 40.0]))
            turn = Rotation.from_rotvec(smooth(rng, 3, turns)).as_matrix()
            path = smooth(rng, 3, rng.uniform(30, 100))
            places = rng.uniform(-150, 150, size=3) + path
            points = points @ turn.transpose(0, 2, 1) + places[:, None]
        seen = points @ camera.as_matrix().transpose(0, 2, 1)
        image = zoom[:, None] * seen[:, :, :2] + shift[:, None]
        tracks.append(image.transpose(1, 0, 2).reshape(n_points, -1))
        y += [body] * n_points
    X = np.vstack(tracks) + np.tile([WIDTH / 2, HEIGHT / 2], N_FRAMES)
    # Trackers lose their points slowly: errors of the frames add up.
    steps = rng.normal(size=(len(X), N_FRAMES, 2)) / np.sqrt(N_FRAMES)
    drift = 2 * noise * np.cumsum(steps, axis=1).reshape(X.shape)
    return X + drift + noise * rng.normal(size=X.shape), np.array(y)


def smooth(rng, n_columns, size):
    """Draw smooth curves from zero: a drift and one slow wave."""
    times = np.linspace(0, 1, N_FRAMES)[:, None]
    drift = rng.normal(size=n_columns) * times
    phase = rng.uniform(0, 2 * np.pi, size=n_columns)
    speed = rng.uniform(0.5, 1.5, size=n_columns)
    wave = np.sin(2 * np.pi * speed * times + phase) - np.sin(phase)
    return size * (drift + 0.4 * rng.normal(size=n_columns) * wave)
