"""The one door through which randomness enters: ``random_state`` → generators."""

import numpy as np
import torch
from sklearn.utils import check_random_state


def draw_seed(random_state):
    """Draw a non-negative integer seed from anything scikit-learn accepts.

    Parameters
    ----------
    random_state : int, RandomState instance or None
        An int gives the same seed at every call, a `RandomState` advances.

    Returns
    -------
    seed : int
        Seed in ``[0, 2**31 - 1)``.
    """
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def torch_generator(random_state):
    """Make a private CPU generator; torch's global one is never touched.

    Draws are made on the CPU also for work on a GPU, so that one seed gives the same
    start on every device.

    Parameters
    ----------
    random_state : int, RandomState instance or None
        Source of the seed.

    Returns
    -------
    generator : torch.Generator
        A freshly seeded generator on the CPU.
    """
    return torch.Generator(device="cpu").manual_seed(draw_seed(random_state))
