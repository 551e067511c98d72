"""Integrating the prediction of a white-box transformer from a baseline to rows."""

import numpy as np
import torch
from sklearn.base import is_classifier


class Way:
    """The way from the baseline to rows, in what the network reads first.

    That is what the dense mixture of a table reads, the tokens of one column each, or
    pixels; the tokens if they are asked for.

    Parameters
    ----------
    network : CRATE
        Network, whose weights need no gradient.
    start : Tensor of shape (1, n_inputs)
        Baseline.
    level : {"feature", "token"}
        What shares the prediction.
    """

    def __init__(self, network, start, level):
        tokens = network.tokens
        self._network = network
        self._mixes = level == "feature" and network.config.tokens == "dense"
        self._from_pixels = level == "feature" and network.config.tokens == "patch"
        self._part = tokens.views if self._mixes else tokens
        self._start = self.read(start)

    def read(self, rows):
        """Give where the way of rows ends."""
        if self._from_pixels:
            return rows
        seen = []
        if self._mixes:
            handle = self._part.register_forward_pre_hook(
                lambda part, given: seen.append(given[0])
            )
        else:
            handle = self._part.register_forward_hook(
                lambda part, given, result: seen.append(result)
            )
        with handle:
            self._network.tokens(rows)
        return seen[0]

    def at(self, end, share):
        """Give the point after a share of the way, to be differentiated at."""
        point = self._start + share * (end - self._start)
        return point.detach().requires_grad_()

    def predict(self, rows, point):
        """Give the output where the rows have got to a point of their way."""
        if self._from_pixels:
            return self._network(point)
        if self._mixes:
            handle = self._part.register_forward_pre_hook(lambda part, given: (point,))
        else:
            handle = self._part.register_forward_hook(lambda part, given, result: point)
        with handle:
            return self._network(rows)

    def share(self, end, slope):
        """Sum slopes times ways over the coordinates of each column or token."""
        products = slope * (end - self._start)
        if self._from_pixels:
            return products
        if not self._mixes:
            return products.sum(-1)
        columns = self._columns().to(products.device)
        sums = products.new_zeros(len(products), int(columns.max()) + 1)
        return sums.index_add(1, columns, products)

    def _columns(self):
        """Tell the column of every number that the dense mixture reads."""
        tokens = self._network.tokens
        n_features = tokens.n_features
        numeric, parts = torch.arange(n_features), []
        if tokens.encoding is not None:
            parts += [numeric.repeat_interleave(tokens.encoding.width)]
            parts += [numeric] * bool(tokens.missing)
        if tokens.categories is not None:
            nominal = n_features + torch.arange(len(tokens.categories.categories))
            parts += [nominal.repeat_interleave(tokens.categories.table.shape[1])]
        return torch.cat(parts)


class Prediction:
    """The number that is attributed, from the outputs of all networks.

    Parameters
    ----------
    estimator : CRATEClassifier or CRATERegressor
        Fitted estimator.
    target : label, int or None
        Class, or number of the output of a regression.
    """

    def __init__(self, estimator, target):
        self._is_classifier = is_classifier(estimator)
        if self._is_classifier:
            self._temperature = float(getattr(estimator, "temperature_", 1.0))
            self._target = _class_number(estimator.classes_, target)
        else:
            n_outputs = len(np.ravel(estimator.target_scale_))
            self._scale = np.ravel(estimator.target_scale_)
            self._target = _output_number(n_outputs, target)

    def __call__(self, outputs, chosen):
        members = _members(outputs)  # (n_members, n_samples, n_outputs)
        if not self._is_classifier:
            return members.mean(0)[:, self._target] * float(self._scale[self._target])
        logs = self._log_probabilities(members)
        mine = torch.nn.functional.one_hot(chosen, logs.shape[1]).bool()
        others = logs.masked_fill(mine, -torch.inf).logsumexp(1)
        return logs[mine] - others

    def choose(self, outputs):
        """Choose the class of every row; None for a regression."""
        if not self._is_classifier:
            return None
        logs = self._log_probabilities(_members(outputs))
        if self._target is None:
            return logs.argmax(1)
        return torch.full_like(logs[:, 0], self._target, dtype=torch.long)

    def _log_probabilities(self, members):
        logs = (members / self._temperature).log_softmax(-1)
        return logs.logsumexp(0) - np.log(len(members))


def _members(outputs):
    """Stack the outputs of all members of all networks along the first axis."""
    return torch.cat([o[None] if o.ndim == 2 else o.movedim(1, 0) for o in outputs])


def integrate(ways, rows, predict, n_steps):
    """Integrate the slopes along the way by the trapezoidal rule.

    What the rule misses of the change of the prediction in a step is shared among the
    columns in proportion to what it gave them, so nothing of the change is lost.

    Parameters
    ----------
    ways : list of Way
        One for each network.
    rows : Tensor of shape (n_samples, n_inputs)
        Rows.
    predict : Prediction
        What is integrated.
    n_steps : int
        Steps of the rule.

    Returns
    -------
    shares : Tensor of shape (n_samples, n_columns)
        They sum to the change of the prediction.
    """
    ends = [way.read(rows) for way in ways]
    chosen = predict.choose(
        [way.predict(rows, end) for way, end in zip(ways, ends, strict=True)]
    )
    total, before = 0.0, None
    for step in range(n_steps + 1):
        value, slopes = _slopes(ways, rows, ends, step / n_steps, predict, chosen)
        if before is not None:
            change = (before[1] + slopes) / (2 * n_steps)
            missed = value - before[0] - change.sum(1)
            sizes = change.abs()
            # A step without any slope is the doing of no column more than another.
            sizes = torch.where(sizes.sum(1, keepdim=True) > 0, sizes, 1.0)
            parts = sizes / sizes.sum(1, keepdim=True)
            total = total + change + missed[:, None] * parts
        before = value, slopes
    return total


def _slopes(ways, rows, ends, share, predict, chosen):
    """Give the prediction at a share of the way, and how each column changes it."""
    with torch.enable_grad():
        points = [way.at(end, share) for way, end in zip(ways, ends, strict=True)]
        outputs = [
            way.predict(rows, point) for way, point in zip(ways, points, strict=True)
        ]
        value = predict(outputs, chosen)
        gradients = torch.autograd.grad(value.sum(), points)
    shares = [
        way.share(end, gradient)
        for way, end, gradient in zip(ways, ends, gradients, strict=True)
    ]
    return value.detach(), sum(share.flatten(1) for share in shares)


def _class_number(classes, target):
    if target is None:
        return None
    (found,) = np.nonzero(classes == target)
    if len(found) != 1:
        raise ValueError(f"target={target!r} should be one of {classes.tolist()}.")
    return int(found[0])


def _output_number(n_outputs, target):
    if target is None and n_outputs == 1:
        return 0
    if not isinstance(target, int | np.integer) or not 0 <= target < n_outputs:
        raise ValueError(
            f"target={target!r} should be the number of an output, from 0 to "
            f"{n_outputs - 1}."
        )
    return int(target)
