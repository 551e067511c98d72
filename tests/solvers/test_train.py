import time

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from sklearn_whitebox.solvers._train import TrainSettings, train


class _Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 3)
        self.unused = nn.Linear(4, 3)
        self.head = nn.Linear(3, 1)
        for number, parameter in enumerate(self.parameters()):
            generator = torch.Generator().manual_seed(number)
            nn.init.normal_(parameter, generator=generator)

    def forward(self, X):
        return self.head(self.body(X).tanh())[:, 0]


@pytest.fixture
def task():
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(40, 4, generator=generator)
    y = X[:, 0] * X[:, 1]
    # Layer constructors draw from the global generator.
    with torch.random.fork_rng(devices=[]):
        module = _Net()

    def loss(rows):
        return (module(X[rows]) - y[rows]).square().mean()

    return module, loss


def _batches(_):
    return torch.arange(40).split(10)


def _settings(**changes):
    settings = {"learning_rate": 0.05, "max_epochs": 5, "steps_per_epoch": 4}
    return TrainSettings(**settings | changes)


def test_steps_are_those_of_adamw(task):
    module, loss = task
    start = {n: w.clone() for n, w in module.state_dict().items()}
    found = train(module, loss, _batches, _settings(weight_decay=0.1)).weights
    module.load_state_dict(start)
    groups = [
        {"params": [p for p in module.parameters() if p.ndim == 2]},
        {"params": [p for p in module.parameters() if p.ndim < 2], "weight_decay": 0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.05, weight_decay=0.1)
    for step in range(20):
        progress = step / 20
        factor = (progress + 1e-3) / (0.05 + 1e-3)
        if progress >= 0.05:
            factor = 0.5 * (1 + np.cos(np.pi * (progress - 0.05) / 0.95))
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * factor
        optimizer.zero_grad()
        loss(torch.arange(40).split(10)[step % 4]).backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
    for name, weight in module.state_dict().items():
        assert_allclose(found[name], weight, rtol=1e-4, atol=1e-6)


def test_parameters_without_a_gradient_are_left_alone(task):
    module, loss = task
    before = module.unused.weight.detach().clone()
    result = train(module, loss, _batches, _settings(weight_decay=0.5))
    assert torch.equal(result.weights["unused.weight"], before)


def test_a_parameter_may_get_its_first_gradient_late(task):
    module, loss = task
    steps = []

    def late(rows):
        steps.append(len(rows))
        value = loss(rows)
        if len(steps) > 8:
            value = value + module.unused(torch.ones(1, 4)).square().sum()
        return value

    before = module.unused.weight.detach().clone()
    result = train(module, late, _batches, _settings())
    assert not torch.equal(result.weights["unused.weight"], before)


def test_the_best_weights_are_kept(task):
    module, loss = task
    everything = torch.arange(40)
    curve = iter([3.0, 1.0, 2.0, 2.0, 2.0])
    seen = []

    def validate():
        seen.append(float(loss(everything)))
        return next(curve)

    result = train(module, loss, _batches, _settings(), validate=validate)
    assert (result.best_iter, len(result.loss_curve)) == (2, 5)
    module.load_state_dict(result.weights)
    assert_allclose(loss(everything).item(), seen[1])


def test_the_last_weights_are_kept_where_asked(task):
    module, loss = task
    curve = iter([1.0, 2.0])
    settings = _settings(max_epochs=2, keep_best=False)
    result = train(module, loss, _batches, settings, validate=lambda: next(curve))
    assert result.best_iter == 2
    assert torch.equal(result.weights["body.weight"], module.body.weight)


def test_patience_ends_training(task):
    curve = iter([3.0, 1.0, 2.0, 2.0, 2.0])
    settings = _settings(patience=2)
    result = train(*task, _batches, settings, validate=lambda: next(curve))
    assert (result.stopped, len(result.loss_curve)) == ("patience", 4)


def test_a_callback_ends_training(task):
    result = train(*task, _batches, _settings(), callback=lambda epoch, _: epoch == 1)
    assert (result.stopped, len(result.loss_curve)) == ("callback", 2)


def test_time_ends_training_in_the_middle_of_a_pass(task):
    module, loss = task

    def slow(rows):
        time.sleep(0.02)
        return loss(rows)

    settings = _settings(max_epochs=1000, steps_per_epoch=1000, max_time=0.2)
    start = time.monotonic()
    result = train(module, slow, lambda _: [torch.arange(40)] * 1000, settings)
    assert time.monotonic() - start < 5
    assert (result.stopped, len(result.loss_curve)) == ("time", 1)


@pytest.mark.parametrize("has_validation", [True, False])
def test_an_interrupt_keeps_the_last_whole_pass_where_asked(task, has_validation):
    module, loss = task
    steps = []

    def interrupted(rows):
        steps.append(len(rows))
        if len(steps) == 11:
            raise KeyboardInterrupt
        return loss(rows)

    ends = []
    result = train(
        module,
        interrupted,
        _batches,
        _settings(keep_on_interrupt=True),
        validate=(lambda: -float(len(steps))) if has_validation else None,
        callback=lambda *_: ends.append(module.body.weight.detach().clone()),
    )
    assert (result.stopped, result.best_iter) == ("interrupt", 2)
    assert torch.equal(result.weights["body.weight"], ends[1])


@pytest.mark.parametrize("keep_on_interrupt", [True, False])
def test_an_interrupt_before_the_first_pass_is_passed_on(task, keep_on_interrupt):
    def interrupted(_):
        raise KeyboardInterrupt

    settings = _settings(keep_on_interrupt=keep_on_interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(task[0], interrupted, _batches, settings)


def test_a_loss_that_is_not_finite_is_refused(task):
    with pytest.raises(FloatingPointError, match=r"in epoch 1 at learning_rate=0\.05"):
        train(
            task[0],
            lambda _: task[0].head.bias.sum() * torch.nan,
            _batches,
            _settings(),
        )


def test_the_state_of_the_optimiser_goes_on_where_it_ended(task):
    module, loss = task
    start = {n: w.clone() for n, w in module.state_dict().items()}
    settings = {"schedule": "constant", "warmup_fraction": 0.0}
    whole = train(module, loss, _batches, _settings(max_epochs=4, **settings))
    module.load_state_dict(start)
    half = _settings(max_epochs=2, **settings)
    first = train(module, loss, _batches, half, moments={})
    assert float(first.moments["body.weight"][0]) == 8
    second = train(module, loss, _batches, half, moments=first.moments)
    for name, weight in whole.weights.items():
        assert_allclose(second.weights[name], weight, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("epoch", [0, 3])
def test_training_goes_on_bitwise_from_a_state(task, epoch):
    module, loss = task
    first = {n: w.clone() for n, w in module.state_dict().items()}
    losses, states = iter([5.0, 2.0, 3.0, 4.0, 1.0] * 2), []
    settings = _settings(weight_decay=0.1, patience=4)

    def validate():
        return next(losses)

    whole = train(
        module, loss, _batches, settings, validate=validate, keep=states.append
    )
    assert len(states) == 4  # none after the last pass
    with torch.random.fork_rng(devices=[]):
        module.__init__()
    module.load_state_dict(first)
    state = states[epoch]
    for _ in range(epoch + 1):
        next(losses)
    found = train(module, loss, _batches, settings, validate=validate, start=state)
    assert found.loss_curve == whole.loss_curve
    assert found.validation_curve == whole.validation_curve
    assert found.best_iter == whole.best_iter == 5
    for name, weight in whole.weights.items():
        assert_array_equal(found.weights[name], weight)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_training_works_where_gradients_are_off(task, context):
    module, loss = task
    with torch.inference_mode(False), context():
        result = train(module, loss, _batches, _settings())
    assert result.loss_curve[-1] < result.loss_curve[0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("settings", [{}, {"autocast": True}, {"compile": True}])
def test_training_on_cuda_lowers_the_loss(task, settings):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(40, 4, generator=generator).cuda()
    module = task[0].cuda()

    def loss(rows):
        return (module(X[rows.cuda()]) - X[rows.cuda(), 0]).square().mean()

    result = train(module, loss, _batches, _settings(**settings))
    assert result.loss_curve[-1] < result.loss_curve[0]
    assert result.weights["body.weight"].device.type == "cpu"
