"""Build a network layer by layer, each a step up the rate reduction."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_whitebox._threads import torch_threads
from sklearn_whitebox.solvers._redunet_features import Features, open_features
from sklearn_whitebox.solvers._redunet_forward import (
    LayerMap,
    automatic_temperature,
    label_memberships,
)
from sklearn_whitebox.solvers._redunet_layers import ReduNetLayer
from sklearn_whitebox.solvers._redunet_moments import ClassMoments
from sklearn_whitebox.solvers._redunet_operators import (
    Operators,
    conditional_rate,
    make_operators,
)
from sklearn_whitebox.solvers._redunet_settings import (
    ReduNetResult,
    ReduNetSettings,
)

Array = NDArray[Any]
Block = tuple[Array, Array, Array | None]
Callback = Callable[[int, float], bool]

_MAX_HALVINGS = 5
_GAIN_LAYERS = 5


def array_chunks(
    V: Array, labels: Array, weights: Array | None = None
) -> Callable[[], Iterator[Block]]:
    """Present arrays in memory as chunks.

    Parameters
    ----------
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Features.
    labels : ndarray of shape (n_samples,)
        Classes, from 0.
    weights : ndarray of shape (n_samples,), default=None
        How many times each row counts.

    Returns
    -------
    chunks : callable
        What :func:`build_redunet` takes.
    """

    def chunks() -> Iterator[Block]:
        yield V, labels, weights

    return chunks


def build_redunet(
    chunks: Callable[[], Iterable[Block]],
    *,
    n_classes: int,
    frequency_weights: Array | None = None,
    settings: ReduNetSettings | None = None,
    cache: str | Path | None = "memory",
    device: torch.device | str | None = None,
    callback: Callback | None = None,
    **options: Any,
) -> ReduNetResult:
    r"""Build a ReduNet from second moments of classes, without back-propagation.

    Each layer is a projected gradient step of the rate reduction of the features that
    enter it, with estimated memberships in place of the labels:

    .. math:: z \mapsto P_{\text{sphere}}\Bigl(z + \eta\bigl[E z
       - \textstyle\sum_k \gamma_k \pi_k(z)\, C_k z\bigr]\Bigr)

    Parameters
    ----------
    chunks : callable
        Each call returns an iterable over ``(V, labels, weights)``: features of shape
        (n_rows, n_frequencies, n_channels), integer classes from 0, and how many times
        each row counts or None. Every call must give the same rows in the same order;
        how they are cut into chunks changes nothing.
    n_classes : int
        Number of classes.
    frequency_weights : ndarray of shape (n_frequencies,), default=None
        How often each frequency counts; None is for plain vectors.
    settings : ReduNetSettings, default=None
        How to step and when to stop.
    cache : {"memory"}, path or None, default="memory"
        Where the features of the training rows are between layers: in memory, in a
        temporary folder made inside the one given, or nowhere, which sends the chunks
        through all earlier layers again.
    device : torch.device or str, default=None
        Where to compute; None is the CPU.
    callback : callable, default=None
        Called as ``callback(layer, rate_reduction)``; True stops.
    **options : dict
        Fields of the settings, to change single ones.

    Returns
    -------
    result : ReduNetResult
        Layers, statistics and, if in memory, the features of the training rows.

    Raises
    ------
    ValueError
        If no row has a positive weight.

    Notes
    -----
    A layer costs O(n d² K + K d³) at each frequency; with classes of r < d/2 rows
    O(n d K r).

    References
    ----------
    .. [1] Chan, Yu, You, Qi, Wright, Ma (2022). ReduNet: a white-box deep network from
       the principle of maximizing rate reduction. JMLR 23.
    """
    settings = replace(settings or ReduNetSettings(), **options)
    where = None if device is None else torch.device(device)
    if frequency_weights is None:
        frequency_weights = np.ones(1)
    by_labels = n_classes if settings.membership == "labels" else None
    store = open_features(cache, chunks, frequency_weights, where, by_labels)
    try:
        rows = store.size * store.shape[0] * store.shape[1]
        with torch_threads(rows * store.shape[1]):
            return _Builder(store, n_classes, settings, callback).build()
    finally:
        store.close()


class _RowSample:
    """Rows at even distances, their number bounded, whatever the chunks are."""

    def __init__(self, size: int) -> None:
        self.limit = int(min(1024, max(256, 2**22 // size)))
        self.stride, self.seen = 1, 0
        self.kept: list[tuple[Array, Tensor, Array]] = []

    def add(self, V: Tensor, weights: Array | None) -> None:
        weights = np.ones(len(V)) if weights is None else weights
        numbers = np.arange(self.seen, self.seen + len(V))
        self.kept.append(self._thin(numbers, V, weights))
        self.seen += len(V)
        while sum(len(numbers) for numbers, _, _ in self.kept) > self.limit:
            self.stride *= 2
            self.kept = [self._thin(*block) for block in self.kept]

    def rows(self) -> tuple[Tensor, Array]:
        weights = np.concatenate([weights for _, _, weights in self.kept])
        return torch.cat([V for _, V, _ in self.kept]), weights

    def _thin(
        self, numbers: Array, V: Tensor, weights: Array
    ) -> tuple[Array, Tensor, Array]:
        chosen = np.flatnonzero(numbers % self.stride == 0)
        rows = V[torch.from_numpy(chosen).to(V.device)]
        return numbers[chosen], rows, weights[chosen]


class _Pass:
    """What one pass over the features gathers."""

    def __init__(self, builder: "_Builder") -> None:
        settings, (n_frequencies, n_channels) = builder.settings, builder.store.shape
        self.moments = ClassMoments(
            builder.n_classes,
            n_frequencies,
            n_channels,
            bound=n_channels / settings.distortion,
            device=builder.store.device,
        )
        # Made at the first row that is taken for another class.
        self.estimated: ClassMoments | None = None
        self.sample: _RowSample | None = None
        if settings.membership_temperature == "auto":
            self.sample = _RowSample(n_frequencies * n_channels)
        self.right = 0.0

    def add(
        self, V: Tensor, labels: Array, weights: Array | None, used: Tensor | None
    ) -> None:
        if used is not None:
            guesses = used.argmax(1).cpu().numpy()
            right = guesses == labels
            self.right += float(right.sum() if weights is None else weights @ right)
            if self.estimated is None and not right.all():
                self.estimated = self.moments.copy()
            if self.estimated is not None:
                self.estimated.add(V, guesses, weights)
        self.moments.add(V, labels, weights)
        if self.sample is not None:
            self.sample.add(V, weights)


class _Builder:
    """The loop over layers."""

    def __init__(
        self,
        store: Features,
        n_classes: int,
        settings: ReduNetSettings,
        callback: Callback | None,
    ) -> None:
        self.store, self.n_classes = store, n_classes
        self.settings, self.callback = settings, callback
        self.statistics: dict[str, list[float]] = {
            name: []
            for name in (
                "coding_rate",
                "conditional_coding_rate",
                "rate_reduction",
                "step",
                "temperature",
                "membership_accuracy",
                "estimated_conditional_coding_rate",
                "estimated_rate_reduction",
            )
        }

    def build(self) -> ReduNetResult:
        layers: list[ReduNetLayer] = []
        gathered = _Pass(self)
        for V, labels, weights in self.store.blocks():
            self._check(labels)
            gathered.add(V, labels, weights, None)
        counts = gathered.moments.counts
        if not counts.sum() > 0:
            raise ValueError("sample_weight must be positive for at least one row.")
        operators = self._invert(gathered.moments)
        self._record_rates(operators)
        converged = False
        for index in range(self.settings.n_layers):
            layer, following = self._next_layer(operators, gathered)
            if layer is None or following is None:
                converged = True
                break
            layers.append(layer)
            gathered, operators = following
            curve = self.statistics["rate_reduction"]
            if self.callback is not None and self.callback(index, curve[-1]):
                break
            if self._levels_off(curve):
                converged = True
                break
        return ReduNetResult(
            layers,
            self.statistics,
            counts,
            converged,
            self.store.collect(),
            gathered.moments,
        )

    def _check(self, labels: Array) -> None:
        if len(labels) and not 0 <= labels.min() <= labels.max() < self.n_classes:
            raise ValueError(
                f"labels must be integers from 0 to n_classes-1={self.n_classes - 1}, "
                f"got values from {labels.min()} to {labels.max()}."
            )

    def _next_layer(
        self, operators: Operators, gathered: _Pass
    ) -> tuple[ReduNetLayer | None, tuple[_Pass, Operators] | None]:
        layer = self._make_layer(operators, gathered)
        before = operators.rate_reduction
        slack = 1e-12 if layer.bases.dtype in (np.float64, np.complex128) else 1e-6
        for _ in range(_MAX_HALVINGS + 1):
            following = self._advance(layer)
            reached = self._invert(following.moments, layer)
            allowed = before - slack * max(1.0, float(operators.rates[0]))
            if not self.settings.monotone or reached.rate_reduction >= allowed:
                self.store.commit(layer)
                self._record(layer, reached, following)
                return layer, (following, reached)
            self.store.discard()
            layer = replace(layer, step=layer.step / 2)
        return None, None

    def _make_layer(self, operators: Operators, gathered: _Pass) -> ReduNetLayer:
        settings = self.settings
        step = settings.step_size
        if settings.step_mode == "relative":
            step = min(step, 1.0) / operators.alpha
        automatic = settings.membership_temperature == "auto"
        layer = operators.to_layer(
            step,
            1.0 if automatic else float(settings.membership_temperature),
            balanced=settings.balance_membership,
            weights=self.store.frequency_weights,
        )
        if settings.keep_moments:
            moments = gathered.moments
            layer = replace(layer, moments=moments.to_array(), counts=moments.counts)
        if automatic and gathered.sample is not None:
            rows, weights = gathered.sample.rows()
            return replace(
                layer, temperature=automatic_temperature(layer, rows, weights)
            )
        return layer

    def _advance(self, layer: ReduNetLayer) -> _Pass:
        layer_map = LayerMap(layer, self.store.device)
        following = _Pass(self)
        by_labels = self.settings.membership == "labels"
        for V, labels, weights in self.store.blocks():
            given = None
            if by_labels:
                given = label_memberships(labels, self.n_classes, V)
            moved, used = layer_map(V, given)
            self.store.stage(moved)
            following.add(moved, labels, weights, used)
        return following

    def _invert(
        self, moments: ClassMoments, layer: ReduNetLayer | None = None
    ) -> Operators:
        return make_operators(
            moments,
            distortion=self.settings.distortion,
            frequency_weights=self.store.frequency_weights,
            dtype=self.store.dtype,
            rank=self.settings.rank,
            previous=None if layer is None else layer.ranks,
        )

    def _record_rates(self, operators: Operators) -> None:
        self.statistics["coding_rate"].append(float(operators.rates[0]))
        self.statistics["conditional_coding_rate"].append(operators.conditional_rate)
        self.statistics["rate_reduction"].append(operators.rate_reduction)

    def _record(
        self, layer: ReduNetLayer, reached: Operators, following: _Pass
    ) -> None:
        self._record_rates(reached)
        self.statistics["step"].append(layer.step)
        self.statistics["temperature"].append(layer.temperature)
        total = following.moments.counts.sum()
        self.statistics["membership_accuracy"].append(float(following.right / total))
        guessed = reached.conditional_rate
        if following.estimated is not None:
            guessed = conditional_rate(
                following.estimated,
                distortion=self.settings.distortion,
                frequency_weights=self.store.frequency_weights,
            )
        self.statistics["estimated_conditional_coding_rate"].append(guessed)
        reduction = float(reached.rates[0]) - guessed
        self.statistics["estimated_rate_reduction"].append(reduction)

    def _levels_off(self, curve: list[float]) -> bool:
        if self.settings.tol <= 0 or len(curve) <= _GAIN_LAYERS:
            return False
        return curve[-1] - curve[-1 - _GAIN_LAYERS] <= self.settings.tol * abs(
            curve[-1]
        )
