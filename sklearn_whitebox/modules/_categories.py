"""Embeddings of nominal columns."""

import math
from itertools import accumulate

import torch
from torch import Tensor, nn

from sklearn_whitebox.modules._crate_config import Device, uniform_
from sklearn_whitebox.modules._shared_draws import own_part, whole_shape


class CategoryEmbedding(nn.Module):
    """Give every category of every nominal column a learnt vector.

    The last category of a column stands for values never seen. No training row has
    one, so a small share of the values is replaced by it in training; it becomes what
    a row is like when the column tells nothing.

    Parameters
    ----------
    categories : tuple of int
        Number of categories of every column, the last of them for unknown values.
    width : int
        Length of the vectors.
    unknown_share : float, default=0.05
        Share of the values taken as unknown in training.
    device : str or device, default=None
        Where to put the parameters.
    """

    def __init__(
        self,
        categories: tuple[int, ...],
        width: int,
        *,
        unknown_share: float = 0.05,
        device: Device = None,
    ) -> None:
        super().__init__()
        self.categories, self.unknown_share = categories, unknown_share
        self.table = nn.Parameter(
            torch.empty(sum(categories), width, dtype=torch.float32, device=device)
        )

    def draw(self, generator: torch.Generator) -> None:
        """Draw the initial vectors, of unit length on average.

        Parameters
        ----------
        generator : Generator
            Source of the draws.
        """
        uniform_(self.table, math.sqrt(3 / self.table.shape[1]), generator)

    def forward(
        self, codes: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Look the categories up.

        Parameters
        ----------
        codes : Tensor of shape (n_samples, n_columns)
            Numbers of the categories, counted from zero in every column; whole, of any
            type.
        generator : Generator, default=None
            Draws which values are taken as unknown; None takes none.

        Returns
        -------
        vectors : Tensor of shape (n_samples, n_columns, width)
            One vector per value.
        """
        rows = codes.long()
        cardinality = torch.tensor(self.categories, device=rows.device)
        if generator is not None:
            # Drawn where the generator lives: one seed, one choice on all devices.
            draws = torch.rand(
                whole_shape(rows.shape, generator),
                generator=generator,
                dtype=torch.float32,
                device=generator.device,
            )
            is_hidden = (own_part(draws, generator) < self.unknown_share).to(
                rows.device
            )
            rows = torch.where(is_hidden, cardinality - 1, rows)
        start = list(accumulate(self.categories, initial=0))[:-1]
        rows = rows + torch.tensor(start, device=rows.device)
        return nn.functional.embedding(rows, self.table)
