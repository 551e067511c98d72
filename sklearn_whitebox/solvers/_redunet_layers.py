"""One layer of a ReduNet as plain arrays: its operators and how they are kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# The rank of an operator that is kept whole.
DENSE = -1


@dataclass(frozen=True)
class ReduNetLayer:
    r"""Operators of one layer, dense or by eigenpairs, as plain arrays.

    With the contractions :math:`M = (I + \alpha S)^{-1}` of all features and
    :math:`M_k = (I + \alpha_k S_k)^{-1}` of each class, the layer is

    .. math:: z \mapsto P_{\text{sphere}}\Bigl(z + \eta\alpha \bigl[M z
       - \textstyle\sum_k \pi_k(z)\, M_k z\bigr]\Bigr), \qquad
       \pi(z) = \operatorname{softmax}_k(-\lambda \alpha_k \|M_k z\|)

    at every frequency, since :math:`\gamma_k\alpha_k = \alpha`. An operator of low rank
    is kept as :math:`M = I - Q \operatorname{diag}(c) Q^H`. All arrays act on rows from
    the right.

    Parameters
    ----------
    alpha : float
        Scale α of the expansion operator ``E = alpha * M``.
    shares : ndarray of shape (n_classes,)
        Share γ of the rows in each class; zero for absent ones.
    step : float
        Step size η.
    temperature : float
        Factor λ of the norms in the softmax.
    balanced : bool
        Whether the softmax sees the norms without the scales of the classes.
    ranks : ndarray of shape (n_classes + 1,)
        Rank of the expansion and of each class; -1 where the operator is dense.
    operators : ndarray of shape (n_frequencies, n_channels, n_dense * n_channels)
        The dense contractions side by side, in that order.
    bases : ndarray of shape (n_frequencies, n_channels, total_rank)
        Eigenvectors Q of the others side by side, in that order.
    shrinkages : ndarray of shape (n_frequencies, total_rank)
        The numbers c in [0, 1).
    frequency_weights : ndarray of shape (n_frequencies,)
        How often each frequency counts.
    moments : ndarray of shape (n_classes, n_frequencies, n_channels, n_channels)
        Second moments the operators are of, acting on rows; None if not kept for
        updates.
    counts : ndarray of shape (n_classes,)
        Rows of each class in the moments; None if not kept.
    """

    alpha: float
    shares: Array
    step: float
    temperature: float
    balanced: bool
    ranks: Array
    operators: Array
    bases: Array
    shrinkages: Array
    frequency_weights: Array
    moments: Array | None = field(default=None, repr=False)
    counts: Array | None = field(default=None, repr=False)

    @property
    def n_classes(self) -> int:
        """Number of classes, absent ones included."""
        return len(self.shares)

    @property
    def nbytes(self) -> int:
        """Memory of the arrays in bytes."""
        values = (getattr(self, f.name) for f in fields(self))
        return sum(v.nbytes for v in values if isinstance(v, np.ndarray))

    @property
    def class_scales(self) -> Array:
        """Scales of the classes; infinite for absent ones."""
        with np.errstate(divide="ignore"):
            return self.alpha / self.shares

    def expansion_operator(self) -> Array:
        r"""Return the expansion operators :math:`E = \alpha M` of all frequencies.

        Returns
        -------
        E : ndarray of shape (n_frequencies, n_channels, n_channels)
            Hermitian matrices acting on columns, as in the papers.
        """
        return self.alpha * self._contraction(0)

    def compression_operators(self) -> Array:
        r"""Return the compression operators :math:`C_k = \alpha_k M_k`.

        Returns
        -------
        C : ndarray of shape (n_classes, n_frequencies, n_channels, n_channels)
            Hermitian matrices acting on columns; zero for absent classes.
        """
        scales = np.where(self.shares > 0, self.class_scales, 0.0)
        blocks = [s * self._contraction(k + 1) for k, s in enumerate(scales)]
        return np.stack(blocks)

    def to_arrays(self) -> dict[str, Array]:
        """Return the layer as a dictionary of arrays.

        Returns
        -------
        arrays : dict of str to ndarray
            What :meth:`from_arrays` takes.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: np.asarray(v) for k, v in values.items() if v is not None}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> "ReduNetLayer":
        """Build a layer from a dictionary of arrays.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            What :meth:`to_arrays` returns.

        Returns
        -------
        layer : ReduNetLayer
            The layer.
        """
        scalars: dict[str, Any] = {
            name: float(arrays[name]) for name in ("alpha", "step", "temperature")
        }
        scalars["balanced"] = bool(arrays["balanced"])
        for name, value in arrays.items():
            scalars.setdefault(name, np.asarray(value))
        return cls(**scalars)

    @classmethod
    def from_operators(
        cls,
        expansion: Array,
        compressions: Array,
        shares: Array,
        *,
        step: float,
        temperature: float,
        alpha: float = 1.0,
        balanced: bool = False,
        frequency_weights: Array | None = None,
    ) -> "ReduNetLayer":
        """Build a dense layer from the operators of the papers.

        Parameters
        ----------
        expansion : ndarray of shape (n_frequencies, n_channels, n_channels)
            Operators E.
        compressions : ndarray of shape (n_classes, n_frequencies, n_channels, \
n_channels)
            Operators C.
        shares : ndarray of shape (n_classes,)
            Share of the rows in each class.
        step : float
            Step size η.
        temperature : float
            Factor of the norms in the softmax.
        alpha : float, default=1.0
            Unit in which the operators are kept; the layer does the same for any.
        balanced : bool, default=False
            Whether the softmax sees the norms without the scales of the classes, for
            which `alpha` matters.
        frequency_weights : ndarray of shape (n_frequencies,), default=None
            How often each frequency counts; None means once.

        Returns
        -------
        layer : ReduNetLayer
            The layer.
        """
        n_frequencies, n_channels = expansion.shape[:2]
        shares = np.asarray(shares, dtype=np.float64)
        present = np.flatnonzero(shares > 0)
        ranks = np.zeros(len(shares) + 1, dtype=np.int64)
        ranks[[0, *(present + 1)]] = DENSE
        scaled = [expansion / alpha]
        scaled += [compressions[k] * (shares[k] / alpha) for k in present]
        rows = np.concatenate([m.conj() for m in scaled], axis=2)
        if frequency_weights is None:
            frequency_weights = np.ones(n_frequencies)
        return cls(
            alpha=float(alpha),
            shares=shares,
            step=float(step),
            temperature=float(temperature),
            balanced=balanced,
            ranks=ranks,
            operators=rows.astype(expansion.dtype),
            bases=np.empty((n_frequencies, n_channels, 0), dtype=expansion.dtype),
            shrinkages=np.empty((n_frequencies, 0), dtype=expansion.real.dtype),
            frequency_weights=np.asarray(frequency_weights, dtype=np.float64),
        )

    def _contraction(self, index: int) -> Array:
        n_channels = self.bases.shape[1]
        rank = int(self.ranks[index])
        before = self.ranks[:index]
        if rank == DENSE:
            first = int((before == DENSE).sum()) * n_channels
            return self.operators[:, :, first : first + n_channels].conj()
        first = int(before[before > 0].sum())
        columns = slice(first, first + rank)
        basis = self.bases[:, :, columns].conj()
        shrunk = basis * self.shrinkages[:, None, columns]
        identity = np.eye(n_channels, dtype=self.bases.dtype)
        contraction: Array = identity - shrunk @ np.swapaxes(basis, 1, 2).conj()
        return contraction
