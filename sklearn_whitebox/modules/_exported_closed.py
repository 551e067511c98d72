"""What closed-form estimators compute from rows, as modules."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sklearn_whitebox.modules._exported import RowsModule


class SubspaceProbabilities(RowsModule):
    """Class probabilities from the distances of rows to subspaces.

    All is in double precision: lengths are small differences of large ones.

    Parameters
    ----------
    means : Tensor of shape (n_classes, n_features)
        Points of the subspaces.
    bases : sequence of Tensor of shape (rank, n_features)
        Orthonormal rows.
    precisions : sequence of Tensor of shape (rank,)
        What squared coordinates are multiplied by.
    noise : float
        What squared distances are divided by.
    temperature : float
        What lengths are divided by.
    constants : Tensor of shape (n_classes,)
        Added to the scores.
    dtype : torch.dtype
        Type of the probabilities.
    """

    means: Tensor
    precisions: Tensor
    constants: Tensor

    def __init__(
        self,
        means: Tensor,
        bases: Sequence[Tensor],
        precisions: Sequence[Tensor],
        *,
        noise: float,
        temperature: float,
        constants: Tensor,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(means.shape[1])
        self.noise, self.temperature, self.dtype = noise, temperature, dtype

        def padded(parts: Sequence[Tensor]) -> Tensor:
            # Rows of zeros make all of one height, and change no distance.
            return nn.utils.rnn.pad_sequence(list(parts), batch_first=True)

        self.bases = nn.Parameter(padded(bases))
        self.register_buffer("precisions", padded(precisions))
        self.register_buffer("means", means)
        self.register_buffer("constants", constants)

    def forward(self, X: Tensor) -> Tensor:
        """Estimate the probabilities of the classes.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        probabilities : Tensor of shape (n_samples, n_classes)
            Rows sum to one.
        """
        return self.log_probabilities(X).exp().to(self.dtype)

    def log_probabilities(self, X: Tensor) -> Tensor:
        """Give the logarithms of the probabilities.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        logs : Tensor of shape (n_samples, n_classes)
            Logarithms, in double precision.
        """
        rows = self._rows(X).to(self.means.dtype)
        gaps = rows[:, None] - self.means  # (n, n_classes, n_features)
        coordinates = torch.einsum("nkd,krd->nkr", gaps, self.bases)
        # The difference itself: norms subtracted lose half the digits near zero.
        rest = gaps - torch.einsum("nkr,krd->nkd", coordinates, self.bases)
        inside = (coordinates.square() * self.precisions).sum(2)
        lengths = rest.square().sum(2) / self.noise + inside
        scores = self.constants - lengths / (2 * self.temperature)
        return scores.log_softmax(1)


class Resampler(RowsModule):
    """Sample images at points between pixels.

    Parameters
    ----------
    n_channels : int
        Channels of an image, which are sampled alike.
    n_pixels : int
        Pixels of a channel.
    pixels : Tensor of shape (n_neighbours, n_points)
        Pixels around each point.
    weights : Tensor of shape (n_neighbours, n_points)
        Their weights.
    """

    pixels: Tensor
    weights: Tensor

    def __init__(
        self, n_channels: int, n_pixels: int, pixels: Tensor, weights: Tensor
    ) -> None:
        super().__init__(n_channels * n_pixels)
        self.n_channels, self.n_pixels = n_channels, n_pixels
        self.register_buffer("pixels", pixels)
        self.register_buffer("weights", weights)

    def forward(self, X: Tensor) -> Tensor:
        """Sample images.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_channels * n_pixels)
            Flattened images.

        Returns
        -------
        Z : Tensor of shape (n_samples, n_channels * n_points)
            Flattened values at the points, in the floating type of `X`, which is at
            least single.
        """
        images = self._rows(X).reshape(X.shape[0], self.n_channels, self.n_pixels)
        weights = self.weights.to(images.dtype)
        parts = [
            images.index_select(2, pixels) * weight
            for pixels, weight in zip(self.pixels, weights, strict=True)
        ]
        return torch.stack(parts).sum(0).flatten(1)
