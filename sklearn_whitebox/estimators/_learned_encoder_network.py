"""The network of a learnt encoder: its units, its codes and their duality gaps."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from sklearn_whitebox._array import inference_device, to_tensor
from sklearn_whitebox._threads import torch_threads
from sklearn_whitebox.estimators._network_state import (
    BLOCK,
    apply_network,
    blocks_of,
    load_arrays,
)
from sklearn_whitebox.functional._dictionary import lasso_duality_gap
from sklearn_whitebox.modules._learned_encoder import UnrolledEncoder


@dataclass(frozen=True)
class LassoNetwork:
    """An unrolled network for lasso codes, which computes in units of its own.

    Samples are divided by `scale`, and atoms by their root mean squared norm, so that
    one learning rate suits all units.

    Parameters
    ----------
    components : ndarray of shape (n_components, n_features)
        Atoms, in the units of the user.
    alpha : float
        Weight of the ℓ1 norm, in the units of the user.
    scale : float
        Root mean squared norm of the samples of the fit.
    n_layers : int
        Steps.
    form : {"coupled", "free", "analytic"}
        What a layer learns.
    positive : bool
        Whether codes must not be negative.
    """

    components: np.ndarray
    alpha: float
    scale: float
    n_layers: int
    form: str
    positive: bool

    @cached_property
    def atom_length(self):
        """Root mean squared norm of the atoms."""
        k = len(self.components)
        return math.sqrt(np.square(self.components, dtype=np.float64).sum() / k)

    @property
    def inner_alpha(self):
        """Weight of the ℓ1 norm in the units of the network."""
        return self.alpha / (self.scale * self.atom_length)

    def loss_unit(self, loss):
        """Tell what a loss of one inside means outside.

        Parameters
        ----------
        loss : {"lasso", "supervised"}
            What is trained on.

        Returns
        -------
        unit : float
            Loss in the units of the samples, or of codes.
        """
        if loss == "lasso":
            return self.scale**2
        return (self.scale / self.atom_length) ** 2

    def work(self, n_rows):
        """Count the operations of coding.

        Parameters
        ----------
        n_rows : int
            Number of samples.

        Returns
        -------
        work : float
            Floating-point operations.
        """
        k, d = self.components.shape
        return 2.0 * n_rows * self.n_layers * k * (k if self.form == "free" else d)

    def make_module(self, dtype):
        """Make the network before training.

        Parameters
        ----------
        dtype : torch.dtype
            Floating type.

        Returns
        -------
        module : UnrolledEncoder
            On the CPU.

        Raises
        ------
        ValueError
            If its weights are not finite.
        """
        module = UnrolledEncoder(
            to_tensor(self.components / self.atom_length, dtype=dtype),
            alpha=self.inner_alpha,
            n_layers=self.n_layers,
            form=self.form,
            positive=self.positive,
        )
        if not all(bool(w.isfinite().all()) for w in module.state_dict().values()):
            raise ValueError(
                "dictionary or alpha is out of the range of float32 in comparison with "
                "X; scale the atoms to unit norm."
            )
        return module

    def codes(self, X, weights, device):
        """Code samples block by block.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Samples.
        weights : dict of str to ndarray
            State of the network.
        device : str or torch.device
            Where to compute, as the user named it.

        Yields
        ------
        block : slice
            Rows.
        codes : ndarray of shape (n_rows, n_components)
            Their codes, in the units of the user and the floating type of `X`.
        """
        dtype = torch.float32 if X.dtype == np.float32 else torch.float64
        module = load_arrays(self.make_module(dtype), weights)
        device = inference_device(device, work=self.work(len(X)))
        module = module.to(device)
        unit = self.scale / self.atom_length
        # One product of a layer is the unit of parallel work here.
        work = self.work(min(len(X), BLOCK)) / self.n_layers
        for block in blocks_of(len(X)):
            with torch_threads(work):
                rows = (X[block] / self.scale).astype(X.dtype, copy=False)
                codes = apply_network(module, rows, device)
            yield block, (codes * unit).astype(X.dtype, copy=False)

    def gaps(self, rows, codes):
        """Bound how far codes are from optimal.

        Parameters
        ----------
        rows : ndarray of shape (n_samples, n_features)
            Samples.
        codes : ndarray of shape (n_samples, n_components)
            Their codes.

        Returns
        -------
        gaps : ndarray of shape (n_samples,)
            Duality gaps, relative to half the squared norms of the samples.
        """
        # A gap is a small difference of large numbers.
        rows, codes = rows.astype(np.float64), codes.astype(np.float64)
        half = np.einsum("ij,ij->i", rows, rows) / 2
        gaps = lasso_duality_gap(
            rows,
            codes,
            self.components.astype(np.float64),
            alpha=self.alpha,
            positive=self.positive,
        )
        zero = ~codes.any(axis=1)
        return np.where((half == 0) & zero, 0, gaps / np.where(half > 0, half, 1))
