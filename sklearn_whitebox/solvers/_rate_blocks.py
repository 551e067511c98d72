"""What a rate reduction is made of: constants, classes, weights."""

from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor


@dataclass(frozen=True)
class RateObjective:
    r"""Constants of :math:`-w R(Z; s) + R_c(Z) + \tfrac{\rho}{2n}\|Z\|_F^2`.

    Parameters
    ----------
    distortion : float, default=0.5
        Allowed mean squared error per sample, ε².
    expansion_scale : float, default=1.0
        Factor s of the Gram matrix of all rows.
    expansion_weight : float, default=1.0
        Weight w of the rate of all rows.
    feature_penalty : float, default=0.0
        Weight ρ of the mean squared norm; the λ of the theory times the number of
        training rows.
    """

    distortion: float = 0.5
    expansion_scale: float = 1.0
    expansion_weight: float = 1.0
    feature_penalty: float = 0.0


@dataclass(frozen=True)
class ClassBlocks:
    """How the rows of a batch belong to classes.

    Parameters
    ----------
    counts : tuple of int
        Rows of each class, which come one class after the other. Rows beyond them are
        of no class and count for the rate of all rows only.
    weights : Tensor of shape (n_samples,), default=None
        How many times each row counts.
    memberships : Tensor of shape (n_free, n_classes), default=None
        Shares of the rows without class in the classes, constants of the objective.
    moments : Tensor of shape (n_classes, n_features, n_features), default=None
        Scatters of features that are not in the batch but count as if they were.
    masses : Tensor of shape (n_classes,), default=None
        Their numbers; go with `moments`.
    """

    counts: tuple[int, ...]
    weights: Tensor | None = None
    memberships: Tensor | None = None
    moments: Tensor | None = None
    masses: Tensor | None = None

    @property
    def starts(self) -> list[int]:
        """First row of each class, and of the rows without class."""
        return list(accumulate(self.counts, initial=0))

    def class_masses(self, like: Tensor) -> Tensor:
        """Sum the weights of each class.

        Parameters
        ----------
        like : Tensor
            Gives floating type and device.

        Returns
        -------
        masses : Tensor of shape (n_classes,)
            Total weights.
        """
        labelled = self.starts[-1]
        if self.weights is None:
            masses = torch.tensor(self.counts, dtype=like.dtype, device=like.device)
        else:
            masses = class_sums(self.weights[:labelled].to(like), self.counts)
        if self.memberships is not None:
            shares = self.memberships.to(like)
            if self.weights is not None:
                shares = shares * self.weights[labelled:, None].to(like)
            masses = masses + shares.sum(0)
        if self.masses is not None:
            masses = masses + self.masses.to(like)
        return masses

    def total_mass(self, n_rows: int) -> float:
        """Sum all weights.

        Parameters
        ----------
        n_rows : int
            Rows of the batch.

        Returns
        -------
        total : float
            Number of samples the batch stands for.
        """
        total = n_rows if self.weights is None else float(self.weights.sum())
        return total if self.masses is None else total + float(self.masses.sum())


def class_sums(values: Tensor, counts: tuple[int, ...]) -> Tensor:
    """Sum values over consecutive blocks.

    Parameters
    ----------
    values : Tensor of shape (n_samples,)
        Values, differentiable.
    counts : tuple of int
        Lengths of the blocks.

    Returns
    -------
    sums : Tensor of shape (n_blocks,)
        Sums.
    """
    lengths = torch.tensor(counts, device=values.device)
    blocks = torch.repeat_interleave(lengths)
    return values.new_zeros(len(counts)).index_add(0, blocks, values)
