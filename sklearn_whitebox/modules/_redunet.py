"""ReduNet in plain torch: its weights are operators of the rate reduction."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Squares below this count as zero, where the square root has no derivative.
_TINY = 1e-30


class ReduNet(nn.Module):
    r"""Layers that climb the rate reduction, as a module that can be trained further.

    Each layer is a projected gradient step, written with contractions
    :math:`M = E / \alpha` and :math:`M_k = C_k / \alpha_k`:

    .. math:: z \mapsto P_{\text{sphere}}\Bigl(z + \eta\alpha \bigl[M z
       - \textstyle\sum_k \pi_k(z)\, M_k z\bigr]\Bigr), \qquad
       \pi(z) = \operatorname{softmax}_k(-\lambda\alpha_k \|M_k z\|)

    The contractions are parameters; they are made Hermitian in the forward pass, so
    they stay so whatever the optimiser does. The rest are buffers.

    Parameters
    ----------
    expansions : Tensor of shape (n_layers, F, C, C)
        Contractions M for F frequencies of C channels, acting on rows from the right;
        complex for signals.
    compressions : Tensor of shape (n_layers, n_classes, F, C, C)
        Contractions of the classes.
    steps : Tensor of shape (n_layers,)
        Steps ηα.
    sharpness : Tensor of shape (n_layers, n_classes)
        Factors λα of the norms in the softmax.
    frequency_weights : Tensor of shape (F,)
        How often each frequency counts in a norm.
    input_shape : tuple of int, default=None
        Channels, then the axes along which shifts commute with the network, as given
        when it was built; None is for plain vectors.

    Raises
    ------
    ValueError
        If there are no layers, or their frequencies are not those of the shape.

    Notes
    -----
    A row costs O(L (K + 1) d²) at each frequency.

    References
    ----------
    .. [1] Chan, Yu, You, Qi, Wright, Ma (2022). ReduNet: a white-box deep network from
       the principle of maximizing rate reduction. JMLR 23.
    """

    steps: Tensor
    sharpness: Tensor
    weights: Tensor

    def __init__(
        self,
        expansions: Tensor,
        compressions: Tensor,
        *,
        steps: Tensor,
        sharpness: Tensor,
        frequency_weights: Tensor,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if not len(expansions):
            raise ValueError("expansions must hold at least one layer.")
        self.input_shape = None if input_shape is None else tuple(input_shape)
        n_frequencies = _count_frequencies(self.input_shape)
        if expansions.shape[1] != n_frequencies:
            raise ValueError(
                f"input_shape={self.input_shape} has {n_frequencies} frequencies, but "
                f"the layers have {expansions.shape[1]}."
            )
        self.is_complex = expansions.is_complex()
        self.expansions = nn.Parameter(_parts(expansions))
        self.compressions = nn.Parameter(_parts(compressions))
        self.register_buffer("steps", steps)
        self.register_buffer("sharpness", sharpness)
        self.register_buffer("weights", frequency_weights / frequency_weights.sum())

    def forward(self, X: Tensor) -> Tensor:
        """Send samples through all layers.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Samples, flattened in row-major order.

        Returns
        -------
        Z : Tensor of shape (n_samples, n_features)
            Features of unit norm.
        """
        return self.to_signals(self.propagate(self.to_spectra(X)))

    def propagate(self, V: Tensor) -> Tensor:
        """Send spectra through all layers.

        Parameters
        ----------
        V : Tensor of shape (n_samples, n_frequencies, n_channels)
            Input features, of any norm.

        Returns
        -------
        V : Tensor of shape (n_samples, n_frequencies, n_channels)
            Features of unit norm.
        """
        V = self._normalize(V)
        for index in range(len(self.steps)):
            V = self._step(V, index)
        return V

    def memberships(self, V: Tensor, index: int = 0) -> Tensor:
        """Estimate to which classes features belong.

        Parameters
        ----------
        V : Tensor of shape (n_samples, n_frequencies, n_channels)
            Features of unit norm that enter a layer.
        index : int, default=0
            Number of the layer.

        Returns
        -------
        memberships : Tensor of shape (n_samples, n_classes)
            Non-negative; rows sum to one.
        """
        return self._memberships(self._compress(V, index), index)

    def operators(self) -> tuple[Tensor, Tensor]:
        """Return the contractions of all layers as they are used.

        Returns
        -------
        expansions : Tensor of shape (n_layers, F, C, C)
            Hermitian.
        compressions : Tensor of shape (n_layers, n_classes, F, C, C)
            Hermitian.
        """
        expansions, compressions = zip(
            *(self._operators(index) for index in range(len(self.steps))), strict=True
        )
        return torch.stack(expansions).detach(), torch.stack(compressions).detach()

    def to_spectra(self, X: Tensor) -> Tensor:
        """Transform flattened samples into spectra.

        Parameters
        ----------
        X : Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        V : Tensor of shape (n_samples, n_frequencies, n_channels)
            See :func:`to_frequencies`.
        """
        if self.input_shape is None or len(self.input_shape) == 1:
            return X[:, None]
        signals = X.reshape(len(X), *self.input_shape)
        spectra = torch.fft.rfftn(signals, dim=tuple(range(2, signals.ndim)))
        return spectra.flatten(2).mT

    def to_signals(self, V: Tensor) -> Tensor:
        """Transform spectra into flattened samples.

        Parameters
        ----------
        V : Tensor of shape (n_samples, n_frequencies, n_channels)
            Spectra.

        Returns
        -------
        X : Tensor of shape (n_samples, n_features)
            Samples.
        """
        if self.input_shape is None or len(self.input_shape) == 1:
            return V[:, 0]
        n_channels, *axes = self.input_shape
        spectra = V.mT.reshape(len(V), n_channels, *axes[:-1], axes[-1] // 2 + 1)
        dims = tuple(range(2, spectra.ndim))
        signals = torch.fft.irfftn(spectra, s=axes, dim=dims)
        return signals.reshape(len(V), n_channels * math.prod(axes))

    def _step(self, V: Tensor, index: int) -> Tensor:
        expansion, _ = self._operators(index)
        responses = self._compress(V, index)
        memberships = self._memberships(responses, index)
        expanded = torch.einsum("nfc,fcd->nfd", V, expansion)
        weighted = torch.einsum("nk,knfd->nfd", memberships.to(V), responses)
        return self._normalize(V + self.steps[index] * (expanded - weighted))

    def _compress(self, V: Tensor, index: int) -> Tensor:
        _, compressions = self._operators(index)
        return torch.einsum("nfc,kfcd->knfd", V, compressions)

    def _memberships(self, responses: Tensor, index: int) -> Tensor:
        norms = self._norms(responses).mT
        return torch.softmax(-self.sharpness[index] * norms, dim=1)

    def _operators(self, index: int) -> tuple[Tensor, Tensor]:
        pair = []
        for values in (self.expansions[index], self.compressions[index]):
            if self.is_complex:
                values = torch.view_as_complex(values)
            pair.append((values + values.mH) / 2)
        return pair[0], pair[1]

    def _norms(self, V: Tensor) -> Tensor:
        powers = torch.view_as_real(V).square().sum(-1) if V.is_complex() else V * V
        squares = powers.sum(-1) @ self.weights
        return squares.clamp_min(_TINY).sqrt()

    def _normalize(self, V: Tensor) -> Tensor:
        largest = V.detach().abs().amax((1, 2), keepdim=True)
        V = V / torch.where(largest > 0, largest, 1)
        return V / self._norms(V)[:, None, None]


class SubspaceHead(nn.Module):
    r"""Class scores from how much of a feature is in the subspace of each class.

    .. math:: s_k(z) = \tau \|U_k^\top z\|^2

    The largest is that of the nearest subspace, for orthonormal bases and unit norms.

    Parameters
    ----------
    bases : Tensor of shape (n_classes, dim, n_features)
        Orthonormal rows that span each class, to start from.
    sharpness : float, default=20.0
        Factor τ to start from; it is trained too.
    """

    def __init__(self, bases: Tensor, *, sharpness: float = 20.0) -> None:
        super().__init__()
        self.bases = nn.Parameter(bases.clone())
        self.log_sharpness = nn.Parameter(
            torch.full((), math.log(sharpness), dtype=bases.dtype, device=bases.device)
        )

    def forward(self, Z: Tensor) -> Tensor:
        """Score features.

        Parameters
        ----------
        Z : Tensor of shape (n_samples, n_features)
            Features of unit norm.

        Returns
        -------
        scores : Tensor of shape (n_samples, n_classes)
            Logits.
        """
        coordinates = torch.einsum("nd,krd->nkr", Z, self.bases)
        return self.log_sharpness.exp() * coordinates.square().sum(2)


def _parts(values: Tensor) -> Tensor:
    """Return a copy, complex numbers as pairs, which every optimiser takes."""
    values = values.detach().clone(memory_format=torch.contiguous_format)
    return torch.view_as_real(values) if values.is_complex() else values


def _count_frequencies(input_shape: tuple[int, ...] | None) -> int:
    axes = () if input_shape is None else input_shape[1:]
    return math.prod(axes[:-1]) * (axes[-1] // 2 + 1) if axes else 1
