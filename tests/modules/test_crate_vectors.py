"""The modules' steps, with their gradients, against the published programs."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_whitebox.modules import (
    CRATEConfig,
    ISTAStep,
    OvercompleteStep,
    StatisticsAttention,
    SubspaceAttention,
)

_CASES = {
    "crate_mssa": (
        SubspaceAttention,
        {},
        {
            "qkv.weight": "projection.weight",
            "to_out.0.weight": "output.weight",
            "to_out.0.bias": "output.bias",
        },
    ),
    "crate_mssa_single_head": (
        SubspaceAttention,
        {"n_heads": 1},
        {"qkv.weight": "projection.weight"},
    ),
    "tost_tssa": (
        StatisticsAttention,
        {"attention": "tssa"},
        {
            "qkv.weight": "projection.weight",
            "qkv.bias": "projection.bias",
            "temp": "temperature",
            "to_out.0.weight": "output.weight",
            "to_out.0.bias": "output.bias",
        },
    ),
    "crate_ista_block": (ISTAStep, {}, {"weight": "dictionary"}),
    "crate_alpha_odl_block": (
        OvercompleteStep,
        {"sparsifier": "odl"},
        {"D": "dictionary", "D1": "decoder"},
    ),
}


def _tensor(array):
    return torch.from_numpy(np.array(array, dtype=np.float64))


@pytest.mark.parametrize("name", _CASES)
def test_a_step_and_its_gradients_reproduce_the_published_program(reference, name):
    vectors = reference(name)
    kind, settings, names = _CASES[name]
    heads = int(vectors.get("heads", 1))
    config = CRATEConfig(
        2,
        "dense",
        d_token=vectors["x"].shape[-1],
        **({"n_heads": heads} | settings),
    )
    step = kind(config).double()
    step.load_state_dict(
        {ours: _tensor(vectors[f"w.{theirs}"]) for theirs, ours in names.items()}
    )
    x = _tensor(vectors["x"]).requires_grad_()
    output = step(x)
    assert_allclose(output.detach(), vectors["y"], rtol=1e-5, atol=1e-5)
    if "cotangent" not in vectors:
        return
    (_tensor(vectors["cotangent"]) * output).sum().backward()
    assert_allclose(x.grad, vectors["grad_x"], rtol=1e-5, atol=1e-5)
    parameters = dict(step.named_parameters())
    for theirs, ours in names.items():
        gradient = parameters[ours].grad
        assert_allclose(gradient, vectors[f"g.{theirs}"], rtol=1e-5, atol=1e-5)
