"""Encoders with all that the estimators do around them."""

import torch
from torch import Tensor, nn

from sklearn_whitebox.modules._cluster_network import ClusterNetwork
from sklearn_whitebox.modules._exported import (
    RowsModule,
    Standardize,
    type_of,
    unit_rows,
)
from sklearn_whitebox.modules._learned_encoder import UnrolledEncoder
from sklearn_whitebox.modules._sparse_autoencoder import SparseAutoencoderModule

# As at fit: shorter features stay as they are.
_SHORTEST = 1e-8


class Embedding(RowsModule):
    """Scale rows, encode them, and normalise the features.

    Parameters
    ----------
    standardize : Standardize
        What is done to the columns.
    network : Module
        Maps (n, n_features) to (n, n_components).
    factor : float or None
        What features are multiplied by; None brings them to unit norm.
    """

    factor: Tensor | None

    def __init__(
        self, standardize: Standardize, network: nn.Module, factor: float | None
    ) -> None:
        super().__init__(len(standardize.centre))
        self.standardize = standardize
        self.network = network
        self.register_buffer(
            "factor",
            None if factor is None else torch.tensor(factor, dtype=type_of(network)),
        )

    def forward(self, X: Tensor) -> Tensor:
        """Encode rows.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        Z : Tensor of shape (n_samples, n_components)
            Features.
        """
        rows = self.standardize(self._rows(X))
        Z: Tensor = self.network(rows.to(type_of(self.network)))
        if self.factor is not None:
            return Z * self.factor
        # Squares of large features are beyond the range of float32.
        wide = Z.to(rows.dtype)
        norms = torch.linalg.vector_norm(wide, dim=1, keepdim=True)
        return (wide / norms.clamp_min(_SHORTEST)).to(Z.dtype)


class ClusterAssigner(RowsModule):
    """Compute features, and the cluster whose subspace of features is nearest.

    Parameters
    ----------
    network : ClusterNetwork
        Gives the features of unit rows.
    bases : sequence of Tensor of shape (dim, n_components)
        Orthonormal bases of the clusters.
    largest : int
        Cluster of rows of zeros.
    """

    bases: Tensor

    def __init__(
        self, network: ClusterNetwork, bases: list[Tensor], largest: int
    ) -> None:
        super().__init__(network.stem.in_features)
        self.network, self.largest = network, largest
        # Rows of zeros make all of one height, and change no residual.
        padded = nn.utils.rnn.pad_sequence(bases, batch_first=True)
        self.register_buffer("bases", padded)

    def forward(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """Embed rows and assign them.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        features : Tensor of shape (n_samples, n_components)
            Unit rows; zero where the input is.
        labels : Tensor of shape (n_samples,)
            Clusters, int64.
        """
        rows = unit_rows(self._rows(X)).to(type_of(self.network))
        features, _ = self.network(rows)
        distances = self.distances(features)
        labels = distances.argmin(1)
        is_zero = (features == 0).all(1)
        return features, labels.masked_fill(is_zero, self.largest)

    def distances(self, features: Tensor) -> Tensor:
        """Measure the distances of features to the subspaces of the clusters.

        Parameters
        ----------
        features : Tensor of shape (n_samples, n_components)
            Features.

        Returns
        -------
        distances : Tensor of shape (n_samples, n_clusters)
            Norms of the residuals.
        """
        coordinates = torch.einsum("nd,krd->nkr", features, self.bases)
        inside = torch.einsum("nkr,krd->nkd", coordinates, self.bases)
        return torch.linalg.vector_norm(features[:, None] - inside, dim=2)


class SparseCoder(RowsModule):
    """Code rows by an unrolled solver, in the units of the rows.

    Parameters
    ----------
    network : UnrolledEncoder
        Codes rows of unit size.
    scale : float
        What rows are divided by.
    unit : float
        What codes are multiplied by.
    """

    scale: Tensor
    unit: Tensor

    def __init__(self, network: UnrolledEncoder, *, scale: float, unit: float) -> None:
        super().__init__(network.dictionary.shape[1])
        self.network = network
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))
        self.register_buffer("unit", torch.tensor(unit, dtype=torch.float64))

    def forward(self, X: Tensor) -> Tensor:
        """Code rows.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        codes : Tensor of shape (n_samples, n_components)
            Codes.
        """
        dtype = type_of(self.network)
        rows = self._rows(X).to(self.scale.dtype) / self.scale
        codes = self.network(rows.to(dtype))
        return (codes.to(self.unit.dtype) * self.unit).to(dtype)


class Autoencoder(RowsModule):
    """Code rows by a sparse autoencoder, in the units of the rows.

    Parameters
    ----------
    standardize : Standardize
        What is done to the columns.
    network : SparseAutoencoderModule
        Codes scaled rows.
    """

    def __init__(
        self, standardize: Standardize, network: SparseAutoencoderModule
    ) -> None:
        super().__init__(network.decoder.shape[1])
        self.standardize = standardize
        self.network = network

    def forward(self, X: Tensor) -> Tensor:
        """Code rows.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        codes : Tensor of shape (n_samples, n_components)
            Non-negative codes.
        """
        dtype = type_of(self.network)
        rows = self.standardize(self._rows(X)).to(dtype)
        codes = self.network.activate(self.network.correlate(rows))
        scale = self.standardize.scale
        return (codes.to(scale.dtype) * scale).to(dtype)

    def decode(self, codes: Tensor) -> Tensor:
        """Build rows from codes, as ``inverse_transform`` does up to training.

        Parameters
        ----------
        codes : Tensor of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        rebuilt : Tensor of shape (n_samples, n_features)
            Rows.
        """
        scale, centre = self.standardize.scale, self.standardize.centre
        inner = (codes.to(scale.dtype) / scale).to(codes.dtype)
        rebuilt = self.network.decode(inner)
        return (rebuilt.to(scale.dtype) * scale + centre).to(codes.dtype)
