"""ReduNet in plain torch: its weights are operators of the rate reduction."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_whitebox.solvers._redunet_layers import ReduNetLayer
from sklearn_whitebox.solvers._redunet_spectra import frequency_weights

# Squares below this count as zero, where the square root has no derivative.
_TINY = 1e-30


class ReduNet(nn.Module):
    r"""Layers that climb the rate reduction, as a module that can be trained further.

    Each layer is a projected gradient step, see :func:`build_redunet`. Its operators
    are parameters; they are made Hermitian in the forward pass, so they stay so
    whatever the optimiser does. Steps, temperatures and shares of classes are buffers.

    Parameters
    ----------
    layers : sequence of ReduNetLayer
        The network to start from, at least one layer.
    input_shape : tuple of int, default=None
        Channels, then the axes along which shifts commute with the network, as given
        when it was built; None is for plain vectors.

    Raises
    ------
    ValueError
        If there are no layers, or their frequencies are not those of the shape.

    Notes
    -----
    All operators are dense here: L (K + 1) d² numbers, at each frequency.

    References
    ----------
    .. [1] Chan, Yu, You, Qi, Wright, Ma (2022). ReduNet: a white-box deep network from
       the principle of maximizing rate reduction. JMLR 23.
    """

    classes: Tensor
    steps: Tensor
    sharpness: Tensor
    weights: Tensor

    def __init__(
        self,
        layers: Sequence[ReduNetLayer],
        *,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        weights = frequency_weights(input_shape)
        if not layers:
            raise ValueError("layers must hold at least one layer.")
        if layers[0].bases.shape[0] != len(weights):
            raise ValueError(
                f"input_shape={input_shape} has {len(weights)} frequencies, but the "
                f"layers have {layers[0].bases.shape[0]}."
            )
        self.input_shape = None if input_shape is None else tuple(input_shape)
        self._layers = [_Constants.of(layer) for layer in layers]
        present = np.flatnonzero(layers[0].shares > 0)
        real = layers[0].shrinkages.dtype
        expansions, compressions, sharpness = [], [], []
        for layer in layers:
            expansions.append(layer.expansion_operator().conj() / layer.alpha)
            scales = layer.class_scales[present]
            operators = layer.compression_operators()[present].conj()
            compressions.append(operators / scales[:, None, None, None])
            scales = np.ones(len(present)) if layer.balanced else scales
            sharpness.append(layer.temperature * scales)
        self.expansions = nn.Parameter(_as_real(np.stack(expansions), real))
        self.compressions = nn.Parameter(_as_real(np.stack(compressions), real))
        relative = [layer.step * layer.alpha for layer in layers]
        self.register_buffer("classes", torch.from_numpy(present))
        self.register_buffer("steps", torch.from_numpy(np.array(relative, real)))
        self.register_buffer(
            "sharpness", torch.from_numpy(np.stack(sharpness).astype(real))
        )
        shares = (weights / weights.sum()).astype(real)
        self.register_buffer("weights", torch.from_numpy(shares))

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
        memberships : Tensor of shape (n_samples, n_present)
            Over the classes in ``self.classes``.
        """
        return self._memberships(self._compress(V, index), index)

    def to_layers(self) -> list[ReduNetLayer]:
        """Return the layers as plain arrays, for fast application.

        Returns
        -------
        layers : list of ReduNetLayer
            Dense layers that do what the module does.
        """
        layers = []
        weights = frequency_weights(self.input_shape)
        present = self.classes.cpu().numpy()
        for index, constants in enumerate(self._layers):
            expansion, compressions = self._operators(index)
            scales = constants.alpha / constants.shares[present]
            operators = np.zeros(
                (len(constants.shares), *expansion.shape),
                dtype=expansion.detach().cpu().numpy().dtype,
            )
            rows = compressions.detach().cpu().numpy()
            operators[present] = rows.conj() * scales[:, None, None, None]
            layers.append(
                ReduNetLayer.from_operators(
                    expansion.detach().cpu().numpy().conj() * constants.alpha,
                    operators,
                    constants.shares,
                    step=constants.step,
                    temperature=constants.temperature,
                    alpha=constants.alpha,
                    balanced=constants.balanced,
                    frequency_weights=weights,
                )
            )
        return layers

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
            if self.input_shape is not None and len(self.input_shape) > 1:
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


class _Constants:
    """What of a layer is not trained."""

    def __init__(
        self,
        alpha: float,
        shares: np.ndarray,
        step: float,
        temperature: float,
        balanced: bool,
    ) -> None:
        self.alpha, self.shares = alpha, shares
        self.step, self.temperature, self.balanced = step, temperature, balanced

    @classmethod
    def of(cls, layer: ReduNetLayer) -> "_Constants":
        return cls(
            layer.alpha, layer.shares, layer.step, layer.temperature, layer.balanced
        )


def _as_real(array: np.ndarray, real: np.dtype) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor.to(torch.float32 if real == np.float32 else torch.float64)
