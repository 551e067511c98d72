"""What steers the construction of a ReduNet, and what it returns."""

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from sklearn_whitebox.solvers._redunet_layers import ReduNetLayer
from sklearn_whitebox.solvers._redunet_moments import ClassMoments

Array = NDArray[Any]


@dataclass(frozen=True)
class ReduNetSettings:
    """How :func:`build_redunet` steps and when it stops.

    Parameters
    ----------
    distortion : float, default=0.1
        Allowed mean squared error per sample, ε².
    n_layers : int, default=50
        Most layers.
    step_size : float, default=0.5
        Step; see `step_mode`.
    step_mode : {"relative", "absolute"}, default="relative"
        Whether `step_size` is ηα, at most one, or η itself.
    membership : {"estimated", "labels"}, default="estimated"
        What moves the training features: the memberships that the layer estimates, as
        for new features, or the labels.
    membership_temperature : float or "auto", default="auto"
        Factor λ of the norms in the softmax; "auto" takes fifty over the median of the
        smallest norms of the training features, layer by layer.
    balance_membership : bool, default=False
        Whether the softmax compares the classes without their scales, which favour
        large ones.
    tol : float, default=0.0
        Stop when the rate reduction has grown by less than this share of it over five
        layers.
    monotone : bool, default=True
        Whether to halve a step that lowers the rate reduction, at most five times, and
        to stop if that does not help.
    rank : int, "auto" or None, default="auto"
        How to keep operators, see :func:`make_operators`.
    keep_moments : bool, default=False
        Whether layers keep their second moments, for updates.
    """

    distortion: float = 0.1
    n_layers: int = 50
    step_size: float = 0.5
    step_mode: str = "relative"
    membership: str = "estimated"
    membership_temperature: float | str = "auto"
    balance_membership: bool = False
    tol: float = 0.0
    monotone: bool = True
    rank: int | str | None = "auto"
    keep_moments: bool = False


@dataclass(frozen=True)
class ReduNetResult:
    """Layers of a network and how they were found.

    Parameters
    ----------
    layers : list of ReduNetLayer
        The layers, perhaps none.
    statistics : dict of str to list of float
        ``coding_rate``, ``conditional_coding_rate`` and ``rate_reduction`` of the
        input and after each layer; for each layer its ``step``, ``temperature``, the
        ``membership_accuracy`` of the features that enter it, and
        ``estimated_conditional_coding_rate`` and ``estimated_rate_reduction`` of those
        that leave it, with the estimated classes in place of the labels.
    counts : ndarray of shape (n_classes,)
        Rows of each class.
    converged : bool
        Whether the rate reduction stopped growing before the layers ran out.
    features : ndarray of shape (n_samples, n_frequencies, n_channels) or None
        Training features after the last layer, if they are in memory.
    final : ClassMoments
        Second moments of these features, by class.
    """

    layers: list[ReduNetLayer]
    statistics: dict[str, list[float]]
    counts: Array
    converged: bool
    features: Array | None = field(default=None, repr=False)
    final: ClassMoments | None = field(default=None, repr=False)

    @property
    def moments(self) -> Array:
        """Second moments of the classes in the features after the last layer.

        Of shape (n_classes, n_frequencies, n_channels, n_channels), in float64, acting
        on rows: for plain vectors ``Z_k.T @ Z_k``.
        """
        assert self.final is not None
        return self.final.to_array()
