"""ReduNet from rows to class probabilities, in real numbers throughout.

Spectra are kept as real and imaginary parts side by side, and a complex matrix as the
real one that does the same to such rows, so that graphs need no complex type.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sklearn_whitebox.modules._exported import RowsModule, Standardize, unit_peaks

# Squares below this count as zero, where the square root has no derivative.
_TINY = 1e-30


class RealSpectra(nn.Module):
    """Discrete Fourier transform of signals by real matrices.

    Parameters
    ----------
    shape : tuple of int
        Channels, then one or two axes along which shifts do not matter.
    dtype : torch.dtype
        Floating type.
    """

    def __init__(self, shape: Sequence[int], dtype: torch.dtype) -> None:
        super().__init__()
        self.n_channels, *self.axes = shape
        length = self.axes[-1]
        n_half = length // 2 + 1
        self._register("last", *_waves(length, n_half), dtype)
        # Frequencies whose mirror images are left out count twice on the way back.
        counts = torch.full((n_half,), 2.0, dtype=torch.float64)
        counts[0] = 1
        if length % 2 == 0:
            counts[-1] = 1
        self.register_buffer("counts", (counts / length).to(dtype))
        if len(self.axes) == 2:
            self._register("first", *_waves(self.axes[0], self.axes[0]), dtype)

    def _register(
        self, name: str, cosines: Tensor, sines: Tensor, dtype: torch.dtype
    ) -> None:
        self.register_buffer(f"{name}_cosines", cosines.to(dtype))
        self.register_buffer(f"{name}_sines", sines.to(dtype))

    def forward(self, X: Tensor) -> Tensor:
        """Transform flattened signals.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Signals.

        Returns
        -------
        V : Tensor of shape (n_samples, n_frequencies, 2 * n_channels)
            Real parts of all channels, then imaginary ones.
        """
        signals = X.reshape(X.shape[0], self.n_channels, *self.axes)
        real = signals @ self.get_buffer("last_cosines")
        imaginary = -(signals @ self.get_buffer("last_sines"))
        if len(self.axes) == 2:
            c, s = self.get_buffer("first_cosines"), self.get_buffer("first_sines")
            real, imaginary = c @ real + s @ imaginary, c @ imaginary - s @ real
        return torch.cat([real.flatten(2).mT, imaginary.flatten(2).mT], 2)

    def inverse(self, V: Tensor) -> Tensor:
        """Transform spectra back.

        Parameters
        ----------
        V : Tensor of shape (n_samples, n_frequencies, 2 * n_channels)
            What :meth:`forward` gives.

        Returns
        -------
        X : Tensor of shape (n_samples, n_features)
            Flattened signals.
        """
        half = (*self.axes[:-1], self.axes[-1] // 2 + 1)
        n_channels = self.n_channels
        real, imaginary = (
            part.mT.reshape(V.shape[0], n_channels, *half)
            for part in V.split(n_channels, 2)
        )
        if len(self.axes) == 2:
            c, s = self.get_buffer("first_cosines"), self.get_buffer("first_sines")
            real, imaginary = c @ real - s @ imaginary, c @ imaginary + s @ real
            real, imaginary = real / self.axes[0], imaginary / self.axes[0]
        counts = self.get_buffer("counts")
        signals = (real * counts) @ self.get_buffer("last_cosines").mT
        signals = signals - (imaginary * counts) @ self.get_buffer("last_sines").mT
        return signals.reshape(V.shape[0], n_channels * math.prod(self.axes))


class LiftedRows(RowsModule):
    """Lift rows to the features that enter a ReduNet.

    Parameters
    ----------
    n_features : int
        Columns of the rows.
    standardize : Standardize or None
        What is done to the columns; None divides rows by their largest entry, as their
        size does not matter.
    lift : Module or None
        Maps rows, or signals, to non-negative features.
    shape : tuple of int or None
        Shape of the signals that enter the lift; None for vectors.
    n_ones : int
        How many constants are appended.
    """

    def __init__(
        self,
        n_features: int,
        *,
        standardize: Standardize | None,
        lift: nn.Module | None,
        shape: Sequence[int] | None,
        n_ones: int,
    ) -> None:
        super().__init__(n_features)
        self.standardize, self.lift = standardize, lift
        self.shape, self.n_ones = shape, n_ones

    def forward(self, X: Tensor, dtype: torch.dtype) -> Tensor:
        """Lift rows.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Rows.
        dtype : torch.dtype
            Floating type of the network.

        Returns
        -------
        lifted : Tensor of shape (n_samples, n_lifted)
            In that type.
        """
        X = self._rows(X)
        scale = unit_peaks if self.standardize is None else self.standardize
        rows: Tensor = scale(X).to(dtype)
        if self.lift is not None:
            if self.shape is not None:
                rows = rows.reshape(rows.shape[0], *self.shape)
            rows = self.lift(rows).flatten(1)
        if self.n_ones:
            rows = torch.cat([rows, rows.new_ones(rows.shape[0], self.n_ones)], 1)
        return rows


class ReduNetStep(nn.Module):
    """One layer, with operators dense or by eigenpairs, as they were found.

    Parameters
    ----------
    operators : Tensor of shape (n_frequencies, n_dense, n_channels, n_channels)
        Dense contractions, that of the expansion first if it is dense; real or complex.
    bases : Tensor of shape (n_frequencies, n_channels, n_columns)
        Eigenvectors of the others, those of the expansion first.
    shrinkages : Tensor of shape (n_frequencies, n_columns)
        Their eigenvalues.
    owners : Tensor of shape (n_columns, n_thin)
        One where a column belongs to a class that is not dense.
    expands_dense : bool
        Whether the expansion is dense.
    step : float
        Step size.
    scales : Tensor of shape (n_classes,)
        Factors of the norms in the softmax; dense classes come first.
    """

    shrinkages: Tensor
    owners: Tensor
    step: Tensor
    scales: Tensor

    def __init__(
        self,
        operators: Tensor,
        bases: Tensor,
        *,
        shrinkages: Tensor,
        owners: Tensor,
        expands_dense: bool,
        step: float,
        scales: Tensor,
    ) -> None:
        super().__init__()
        self.is_complex = bases.is_complex()
        self.expands_dense = expands_dense
        self.n_dense = operators.shape[1] - expands_dense
        self.operators = nn.Parameter(_parts(operators))
        self.bases = nn.Parameter(_parts(bases))
        if self.is_complex:
            shrinkages = torch.cat([shrinkages, shrinkages], 1)
            owners = torch.cat([owners, owners], 0)
        self.register_buffer("shrinkages", shrinkages)
        self.register_buffer("owners", owners)
        self.register_buffer("step", torch.tensor(step, dtype=shrinkages.dtype))
        self.register_buffer("scales", scales)

    def forward(self, V: Tensor, weights: Tensor) -> Tensor:
        """Take the step.

        Parameters
        ----------
        V : Tensor of shape (n_samples, n_frequencies, width)
            Features of unit norm.
        weights : Tensor of shape (n_frequencies,)
            How often each frequency counts; they sum to one.

        Returns
        -------
        V : Tensor of shape (n_samples, n_frequencies, width)
            Features of unit norm.
        """
        rows = V.transpose(0, 1)  # (F, n, width)
        dense = rows[:, None] @ self._real(self.operators)  # (F, n_dense, n, width)
        bases = self._real(self.bases)
        coordinates = rows @ bases  # (F, n, n_columns)
        memberships = self._memberships(rows, dense, coordinates, weights)
        ascent = self._ascend(rows, dense, coordinates, memberships)
        if self.owners.shape[0]:
            signs = memberships[:, self.n_dense :] @ self.owners.mT
            # The columns without an owner are those of the expansion.
            signs = signs - (1 - self.owners.sum(1))
            ascent = ascent + (coordinates * self.shrinkages[:, None] * signs) @ (
                bases.mT
            )
        return to_sphere(V + self.step * ascent.transpose(0, 1), weights)

    def _memberships(
        self, rows: Tensor, dense: Tensor, coordinates: Tensor, weights: Tensor
    ) -> Tensor:
        squares = []
        if self.n_dense:
            powers = dense[:, -self.n_dense :].square().sum(3)  # (F, n_dense, n)
            squares.append(torch.einsum("f,fkn->nk", weights, powers))
        if self.owners.shape[1]:
            kept = self.shrinkages * (2 - self.shrinkages)
            lost = (coordinates.square() * kept[:, None]) @ self.owners
            total = rows.square().sum(2, keepdim=True)
            squares.append(torch.einsum("f,fnk->nk", weights, total - lost))
        norms = torch.cat(squares, 1).clamp_min(_TINY).sqrt()
        return (-norms * self.scales).softmax(1)

    def _ascend(
        self, rows: Tensor, dense: Tensor, coordinates: Tensor, memberships: Tensor
    ) -> Tensor:
        """Apply what is dense, and the identities of all that is not."""
        thin = memberships[:, self.n_dense :].sum(1)
        if self.expands_dense:
            ascent = dense[:, 0] - thin[:, None] * rows
        else:
            # The identities of expansion and classes cancel up to this.
            ascent = memberships[:, : self.n_dense].sum(1)[:, None] * rows
        if self.n_dense:
            classes = dense[:, -self.n_dense :]
            ascent = ascent - torch.einsum("nk,fknd->fnd", memberships, classes)
        return ascent

    def _real(self, values: Tensor) -> Tensor:
        return real_matrix(values) if self.is_complex else values


class ReduNetProbabilities(nn.Module):
    """Class probabilities of a ReduNet.

    Parameters
    ----------
    rows : LiftedRows
        Lifts the rows.
    spectra : RealSpectra or None
        Takes signals to frequencies; None for vectors.
    layers : sequence of ReduNetStep
        The network.
    weights : Tensor of shape (n_frequencies,)
        How often each frequency counts; they sum to one. Their type is that of the
        network.
    head : ClassScores
        Scores classes of the features.
    """

    weights: Tensor

    def __init__(
        self,
        rows: LiftedRows,
        spectra: RealSpectra | None,
        layers: Sequence[ReduNetStep],
        weights: Tensor,
        head: "ClassScores",
    ) -> None:
        super().__init__()
        self.rows, self.spectra = rows, spectra
        self.layers = nn.ModuleList(layers)
        self.register_buffer("weights", weights)
        self.head = head

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
        return self.log_probabilities(X).exp()

    def log_probabilities(self, X: Tensor) -> Tensor:
        """Give the logarithms of the probabilities, to train on.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        logs : Tensor of shape (n_samples, n_classes)
            Logarithms.
        """
        scores: Tensor = self.head(self.propagate(X), self.weights)
        return scores.log_softmax(1).to(self.weights.dtype)

    def features(self, X: Tensor) -> Tensor:
        """Give the features after the last layer, as ``transform`` does.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        Z : Tensor of shape (n_samples, n_features_out)
            Unit rows.
        """
        V = self.propagate(X)
        return V[:, 0] if self.spectra is None else self.spectra.inverse(V)

    def propagate(self, X: Tensor) -> Tensor:
        """Send rows through the network.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        V : Tensor of shape (n_samples, n_frequencies, width)
            Spectra, real and imaginary parts side by side; vectors have one frequency.
        """
        lifted = self.rows(X, self.weights.dtype)
        V = lifted[:, None] if self.spectra is None else self.spectra(lifted)
        V = to_sphere(unit_peaks(V), self.weights)
        for layer in self.layers:
            V = layer(V, self.weights)
        return V


class ClassScores(nn.Module):
    """Score classes by coding lengths, or by distances to subspaces.

    All is in double precision: lengths are small differences of large ones.

    Parameters
    ----------
    bases : sequence of Tensor of shape (n_frequencies, rank, n_channels)
        Orthonormal rows for each class; real or complex.
    dampings : sequence of Tensor of shape (n_frequencies, rank)
        What counts of squared coordinates.
    scales : Tensor of shape (n_classes,)
        Inside the logarithms.
    factors : Tensor of shape (n_classes,)
        Of the lengths.
    constants : Tensor of shape (n_classes,)
        Scores of a feature of zero.
    sharpness : float
        Factor of all scores.
    log_factors : Tensor of shape (n_classes,)
        Added in the end.
    takes_logarithm : bool
        Whether energies are turned into lengths.
    """

    scales: Tensor
    factors: Tensor
    constants: Tensor
    log_factors: Tensor

    def __init__(
        self,
        bases: Sequence[Tensor],
        dampings: Sequence[Tensor],
        *,
        scales: Tensor,
        factors: Tensor,
        constants: Tensor,
        sharpness: float,
        log_factors: Tensor,
        takes_logarithm: bool,
    ) -> None:
        super().__init__()
        self.n_classes, self.sharpness = len(bases), sharpness
        self.takes_logarithm = takes_logarithm
        for k, (basis, damping) in enumerate(zip(bases, dampings, strict=True)):
            if basis.is_complex():
                basis = real_matrix(_parts(basis))
                damping = torch.cat([damping, damping], 1)
            self.register_buffer(f"basis_{k}", basis)
            self.register_buffer(f"damping_{k}", damping)
        self.register_buffer("scales", scales)
        self.register_buffer("factors", factors)
        self.register_buffer("constants", constants)
        self.register_buffer("log_factors", log_factors)

    def forward(self, V: Tensor, weights: Tensor) -> Tensor:
        """Score features.

        Parameters
        ----------
        V : Tensor of shape (n_samples, n_frequencies, width)
            Features of unit norm.
        weights : Tensor of shape (n_frequencies,)
            How often each frequency counts; they sum to one.

        Returns
        -------
        scores : Tensor of shape (n_samples, n_classes)
            Logits.
        """
        rows = V.transpose(0, 1).to(self.scales.dtype)
        weights = weights.to(rows.dtype)
        columns = []
        for k in range(self.n_classes):
            energies = self._energies(rows, k)  # (F, n)
            if self.takes_logarithm:
                energies = (self.scales[k] * energies).log1p()
            columns.append(weights @ energies)
        lengths = self.factors * torch.stack(columns, 1)
        return self.sharpness * (self.constants - lengths) + self.log_factors

    def _energies(self, rows: Tensor, k: int) -> Tensor:
        basis = self.get_buffer(f"basis_{k}")
        damping = self.get_buffer(f"damping_{k}")
        inside = rows @ basis.mT
        # The difference itself: norms subtracted lose half the digits near zero.
        outside = (rows - inside @ basis).square().sum(2)
        return outside + (inside.square() @ damping[:, :, None])[:, :, 0]


def to_sphere(V: Tensor, weights: Tensor) -> Tensor:
    """Bring features to unit norm.

    Parameters
    ----------
    V : Tensor of shape (n_samples, n_frequencies, width)
        Features.
    weights : Tensor of shape (n_frequencies,)
        How often each frequency counts; they sum to one.

    Returns
    -------
    V : Tensor of shape (n_samples, n_frequencies, width)
        Features of unit norm; zero where they were.
    """
    squares = V.square().sum(2) @ weights
    return V / squares.clamp_min(_TINY).sqrt()[:, None, None]


def real_matrix(parts: Tensor) -> Tensor:
    """Write complex matrices as the real ones that do the same to rows.

    Parameters
    ----------
    parts : Tensor of shape (..., m, n, 2)
        Real and imaginary parts.

    Returns
    -------
    matrix : Tensor of shape (..., 2 * m, 2 * n)
        Acts from the right on rows of real parts followed by imaginary ones.
    """
    real, imaginary = parts[..., 0], parts[..., 1]
    upper = torch.cat([real, imaginary], -1)
    lower = torch.cat([-imaginary, real], -1)
    return torch.cat([upper, lower], -2)


def _parts(values: Tensor) -> Tensor:
    """Copy; complex numbers become pairs."""
    values = values.detach().clone(memory_format=torch.contiguous_format)
    return torch.view_as_real(values) if values.is_complex() else values


def _waves(length: int, n_frequencies: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of all frequencies, of shape (length, n_frequencies)."""
    time = torch.arange(length, dtype=torch.float64)[:, None]
    turns = torch.remainder(time * torch.arange(n_frequencies), length) / length
    return (2 * math.pi * turns).cos(), (2 * math.pi * turns).sin()
