"""The rows a CRATE is trained on, and its losses on them."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from sklearn_whitebox._array import to_tensor
from sklearn_whitebox.estimators._crate_config import Plan
from sklearn_whitebox.estimators._crate_cost import rows_at_once
from sklearn_whitebox.modules._augment import AUGMENTATIONS, augment_images
from sklearn_whitebox.modules._crate_config import CRATEConfig
from sklearn_whitebox.modules._shared_draws import SharedGenerator
from sklearn_whitebox.solvers._team import ALONE, Team


@dataclass(frozen=True)
class Rows:
    """Rows as the network takes them.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_inputs)
        Scaled numbers, then codes of categories.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Class numbers, or standardised numbers.
    weight : ndarray of shape (n_samples,)
        Weights.
    """

    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Setup:
    """What all training runs of a fit share.

    Parameters
    ----------
    config : CRATEConfig
        Architecture.
    plan : Plan
        Settings that were resolved.
    edges : ndarray or None
        Edges of the bins of the numeric columns.
    is_classifier : bool
        Whether the loss is the cross-entropy; else the squared error.
    label_smoothing : float
        As the estimators document them.
    patience : int
        Passes without improvement before a stop.
    precision : {"float32", "float64", "bfloat16"}
        Arithmetic of the steps.
    compile : bool
        Whether to compile the network.
    device : str, device or None
        Where to compute.
    augment : str or None
        How to alter images in training.
    keep_on_interrupt : bool
        Whether an interrupt keeps the best weights.
    serial : bool
        Whether each network trains on one thread, whatever its size.
    team : Team, default=ALONE
        Processes that train together.
    journal : object or None, default=None
        Keeps where training stands, see :func:`train_network`; None keeps nothing.
    """

    config: CRATEConfig
    plan: Plan
    edges: np.ndarray | None
    is_classifier: bool
    label_smoothing: float
    patience: int
    precision: str
    compile: bool
    device: object
    augment: str | None
    keep_on_interrupt: bool
    serial: bool
    team: Team = ALONE
    journal: object = None


class Task:
    """Rows on the device of the network, and the loss on them.

    Parameters
    ----------
    setup : Setup
        Says which loss.
    module : CRATE
        Network.
    rows : Rows
        Training rows.
    noise : torch.Generator or None
        Source of dropout and of altered images; None for none.
    """

    def __init__(self, setup, module, rows, noise):
        self._setup, self._module, self._noise = setup, module, noise
        self._forward = setup.team.wrap(module)
        self._X, self._y, self._weight = self._load(rows)

    def loss(self, batch):
        """Give the weighted training loss, the mean of that of all members."""
        part, scale = self._setup.team.share(len(batch))
        if isinstance(self._noise, SharedGenerator):
            self._noise.n_rows, self._noise.part = len(batch), part
        batch = batch[part]
        X = self._X[batch]
        if self._setup.augment is not None and self._noise is not None:
            shape = self._setup.config.image_shape
            X = augment_images(
                X.reshape(-1, *shape),
                self._noise,
                **AUGMENTATIONS[self._setup.augment],
            ).flatten(1)
        outputs = self._forward(X, self._noise)
        losses = self._losses(outputs, self._y[batch], smooth=True)
        loss = (self._weight[batch] * losses).mean()
        return loss if scale == 1.0 else scale * loss

    def watch(self, held_out, given):
        """Gather the rows to watch.

        Parameters
        ----------
        held_out : ndarray of bool
            Training rows held out.
        given : Rows or None
            Further rows.

        Returns
        -------
        watch : Watch or None
            None if there is nothing to watch.
        """
        parts = []
        if held_out.any():
            chosen = torch.from_numpy(np.flatnonzero(held_out)).to(self._X.device)
            parts.append((self._X[chosen], self._y[chosen], self._weight[chosen]))
        if given is not None:
            parts.append(self._load(given))
        if not parts:
            return None
        joined = (torch.cat(part) for part in zip(*parts, strict=True))
        return Watch(
            self._module,
            *joined,
            is_classifier=self._setup.is_classifier,
            team=self._setup.team,
        )

    def _losses(self, outputs, y, *, smooth):
        members = outputs if outputs.ndim == 3 else outputs[:, None]
        if not self._setup.is_classifier:
            return (members - y[:, None]).square().mean((1, 2))
        n_members = members.shape[1]
        losses = torch.nn.functional.cross_entropy(
            members.flatten(0, 1),
            y.repeat_interleave(n_members) if n_members > 1 else y,
            reduction="none",
            label_smoothing=self._setup.label_smoothing if smooth else 0.0,
        )
        return losses.reshape(-1, n_members).mean(1)

    def _load(self, rows):
        parameter = next(self._module.parameters())
        device, dtype = parameter.device, parameter.dtype
        y = to_tensor(rows.y, device=device)
        return (
            to_tensor(rows.X, device=device, dtype=dtype),
            y if self._setup.is_classifier else y.to(dtype),
            to_tensor(rows.weight, device=device, dtype=dtype),
        )


class Watch:
    """Rows that early stopping watches.

    Parameters
    ----------
    module : CRATE
        Network.
    X, y, weight : Tensor
        Rows, on the device of the network.
    is_classifier : bool
        Whether the loss is the log-loss; else the mean squared error.
    team : Team, default=ALONE
        Processes that share the rows.
    """

    def __init__(self, module, X, y, weight, *, is_classifier, team=ALONE):
        self._module, self._X, self._y, self._weight = module, X, y, weight
        self._is_classifier, self._team = is_classifier, team

    def outputs(self):
        """Give the outputs of the network, in parts of bounded size."""
        own, _ = self._team.share(len(self._X))
        parts = self._X[own].split(rows_at_once(self._module))
        outputs = torch.cat([self._module(part) for part in parts])
        return self._team.gather(outputs, len(self._X))

    def loss(self):
        """Give the weighted loss of the members' mean, without smoothing."""
        outputs = self.outputs().float()
        if self._is_classifier:
            logs = member_mean_logs(outputs)
            losses = -logs.gather(1, self._y[:, None])[:, 0]
        else:
            mean = outputs.mean(1) if outputs.ndim == 3 else outputs
            losses = (mean - self._y).square().mean(1)
        return float(self._weight.to(losses) @ losses / self._weight.sum())


def member_mean_logs(outputs):
    """Give the logarithms of the members' mean probabilities.

    Parameters
    ----------
    outputs : Tensor of shape (n_samples, n_classes) or \
            (n_samples, n_members, n_classes)
        Logits.

    Returns
    -------
    logs : Tensor of shape (n_samples, n_classes)
        Logarithms.
    """
    logs = outputs.log_softmax(-1)
    if logs.ndim == 2:
        return logs
    return logs.logsumexp(1) - math.log(logs.shape[1])
