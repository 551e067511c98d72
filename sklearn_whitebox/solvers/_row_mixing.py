"""Altered rows for training: a little of another row of the class, and noise."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_whitebox.solvers._rate_blocks import ClassBlocks


@dataclass(frozen=True)
class RowMixing:
    """How rows are altered in every batch.

    Parameters
    ----------
    mixing : float, default=0.0
        Largest share, below one, of another row of the same class that a row takes
        over; the share is drawn uniformly. A class then is learned as the convex hull
        of its rows rather than as the rows themselves.
    noise : float, default=0.0
        Standard deviation of Gaussian noise on every entry.
    masking : float, default=0.0
        Share of the entries set to zero.
    """

    mixing: float = 0.0
    noise: float = 0.0
    masking: float = 0.0

    def alter(
        self, X: Tensor, blocks: ClassBlocks, generator: torch.Generator
    ) -> Tensor:
        """Alter the rows of a batch.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Rows, one class after the other; rows without class come last and take over
            nothing of others.
        blocks : ClassBlocks
            Classes and weights of the rows.
        generator : Generator
            Source of the changes, on the CPU.

        Returns
        -------
        X : Tensor of shape (n_samples, n_features)
            New rows.
        """
        if self.mixing > 0:
            partners = class_partners(blocks, generator).to(X.device)
            shares = self.mixing * torch.rand(
                len(partners), 1, generator=generator, dtype=torch.float32
            )
            own = X[: len(partners)]
            mixed = torch.lerp(own, own[partners], shares.to(X))
            X = torch.cat([mixed, X[len(partners) :]])
        if self.noise > 0:
            noise = torch.randn(X.shape, generator=generator, dtype=torch.float32)
            X = X + self.noise * noise.to(X)
        if self.masking > 0:
            kept = torch.rand(X.shape, generator=generator, dtype=torch.float32)
            X = X * (kept >= self.masking).to(X)
        return X


def class_partners(blocks: ClassBlocks, generator: torch.Generator) -> Tensor:
    """Draw for every row a row of the same class, in proportion to the weights.

    Parameters
    ----------
    blocks : ClassBlocks
        Classes and weights of the rows.
    generator : Generator
        Source of the draws, on the CPU.

    Returns
    -------
    partners : Tensor of shape (n_labelled,)
        Row numbers, on the CPU; a row may be its own partner.
    """
    counts = torch.tensor(blocks.counts)
    n_rows = int(counts.sum())
    weights = torch.ones(n_rows, dtype=torch.float64)
    if blocks.weights is not None:
        weights = blocks.weights[:n_rows].detach().cpu().double()
    ends = torch.cumsum(weights, 0)
    last = torch.cumsum(counts, 0) - 1
    above = ends[last]
    below = torch.cat([above.new_zeros(1), above[:-1]])
    own = torch.repeat_interleave(torch.arange(len(counts)), counts)
    draws = torch.rand(n_rows, generator=generator, dtype=torch.float64)
    targets = below[own] + draws * (above - below)[own]
    partners = torch.searchsorted(ends, targets, right=True)
    # Rounding may carry a draw over the border of its class.
    return torch.clamp(partners, (last - counts + 1)[own], last[own])
