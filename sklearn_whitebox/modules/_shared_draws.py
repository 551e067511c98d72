"""Draws for the rows of a batch of which this process has only a part."""

import torch
from torch import Tensor


class SharedGenerator(torch.Generator):
    """Source of draws for a whole batch, of which some rows are used here.

    Processes that share a batch draw for all of its rows, so that every row gets what
    it would get in one process, and the generators stay in step.

    Attributes
    ----------
    n_rows : int
        Rows of the batch.
    part : slice
        Rows that are used here.
    """

    n_rows = 1
    part = slice(0, 1)


def whole_shape(
    shape: tuple[int, ...], generator: torch.Generator | None
) -> tuple[int, ...]:
    """Give the shape to draw in.

    Parameters
    ----------
    shape : tuple of int
        Shape wanted. Its first axis is of rows, or of several entries for each row.
    generator : Generator or None
        Source of the draws.

    Returns
    -------
    shape : tuple of int
        With as many rows as the whole batch has.
    """
    if not isinstance(generator, SharedGenerator):
        return shape
    per_row = shape[0] // (generator.part.stop - generator.part.start)
    return (per_row * generator.n_rows, *shape[1:])


def own_part(draws: Tensor, generator: torch.Generator | None) -> Tensor:
    """Give the draws for the rows that are used here.

    Parameters
    ----------
    draws : Tensor
        In the shape of :func:`whole_shape`.
    generator : Generator or None
        Source of the draws.

    Returns
    -------
    draws : Tensor
        A view of them.
    """
    if not isinstance(generator, SharedGenerator):
        return draws
    per_row = len(draws) // generator.n_rows
    part = generator.part
    return draws[per_row * part.start : per_row * part.stop]
