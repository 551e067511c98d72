"""Batches that hold the classes in proportion."""

from collections.abc import Iterator

import torch
from torch import Tensor

from sklearn_whitebox.solvers._rate_blocks import ClassBlocks


def stratified_batches(
    labels: Tensor, n_batches: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Deal all rows into batches that hold the classes in proportion.

    Each class is shuffled and spread evenly over the pass, so a batch has as many rows
    of it as its share asks for, up to about one row; up to a few where many classes
    have fewer rows than there are batches. A batch that lacks a class would bias the
    conditional rate.

    Parameters
    ----------
    labels : Tensor of shape (n_samples,)
        Class numbers.
    n_batches : int
        Batches of one pass.
    generator : Generator
        Source of the order, on the CPU.

    Yields
    ------
    rows : Tensor
        Row numbers of a batch.
    """
    _, classes, counts = labels.unique(return_inverse=True, return_counts=True)
    shuffled = torch.randperm(len(labels), generator=generator)
    grouped = shuffled[torch.argsort(classes[shuffled], stable=True)]
    offsets = torch.rand(len(counts), generator=generator, dtype=torch.float64)
    starts = torch.cumsum(counts, 0) - counts
    own = classes[grouped]
    rank = torch.arange(len(labels)) - starts[own]
    position = (rank + offsets[own]) / counts[own]
    yield from grouped[torch.argsort(position)].tensor_split(n_batches)


def partly_labelled_batches(
    labels: Tensor, n_batches: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Deal the unlabelled rows over a pass and add labelled ones to every batch.

    As many labelled rows as unlabelled ones, or all of them if they are fewer: with
    their share of a large set, classes would have no rows in most batches.

    Parameters
    ----------
    labels : Tensor of shape (n_samples,)
        Class numbers, -1 for rows without label.
    n_batches : int
        Batches of one pass.
    generator : Generator
        Source of the order, on the CPU.

    Yields
    ------
    rows : Tensor
        Row numbers of a batch.
    """
    known = torch.nonzero(labels >= 0).squeeze(1)
    free = torch.nonzero(labels < 0).squeeze(1)
    order = free[torch.randperm(len(free), generator=generator)]
    for chunk in order.tensor_split(n_batches):
        parts = max(1, round(len(known) / max(len(chunk), 1)))
        deal = next(stratified_batches(labels[known], parts, generator))
        yield torch.cat([known[deal], chunk])


def sorted_blocks(
    rows: Tensor, labels: Tensor, weights: Tensor | None
) -> tuple[Tensor, ClassBlocks]:
    """Order the rows of a batch by class, rows without label last.

    Parameters
    ----------
    rows : Tensor of shape (n_rows,)
        Row numbers.
    labels : Tensor of shape (n_samples,)
        Class numbers of all rows, negative without label.
    weights : Tensor of shape (n_samples,) or None
        Weights of all rows.

    Returns
    -------
    rows : Tensor of shape (n_rows,)
        The same row numbers.
    blocks : ClassBlocks
        How they belong to the classes that occur.
    """
    own = labels[rows]
    own = torch.where(own < 0, torch.iinfo(own.dtype).max, own)
    order = torch.argsort(own, stable=True)
    rows = rows[order]
    known = own[order][own[order] < torch.iinfo(own.dtype).max]
    counts = torch.unique_consecutive(known, return_counts=True)[1]
    return rows, ClassBlocks(
        tuple(counts.tolist()), weights=None if weights is None else weights[rows]
    )
