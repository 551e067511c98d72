"""What the layers of a CRATE do to given data, measured."""

import torch
from torch import Tensor

from sklearn_whitebox.functional._attention import split_heads
from sklearn_whitebox.functional._sparsification import lasso_objective
from sklearn_whitebox.functional._subspace_rate import token_coding_rate
from sklearn_whitebox.modules._crate import CRATE, CRATELayer, LayerTrace
from sklearn_whitebox.modules._crate_attention import StatisticsAttention
from sklearn_whitebox.modules._crate_steps import ISTAStep, OvercompleteStep


def layer_statistics(
    module: CRATE, X: Tensor, *, distortion: float = 0.01
) -> dict[str, Tensor]:
    """Measure compression and sparsity, layer by layer.

    Parameters
    ----------
    module : CRATE
        Network in evaluation.
    X : Tensor of shape (n_samples, n_features)
        Scaled features, or flattened images with channels last.
    distortion : float, default=0.01
        Allowed mean squared error per token of unit norm, ε².

    Returns
    -------
    statistics : dict of str to Tensor
        Arrays with one row a layer: ``coding_rate`` and ``coding_rate_std`` (mean and
        deviation over the samples of the rate summed over the heads, on the input of
        the layer), ``coding_rate_half`` (the same mean after compression),
        ``nonzero_fraction`` (share of output entries, of code entries for the
        overcomplete step, that are not zero; NaN without a sparse step),
        ``dead_tokens`` (share of output tokens that are all zero), ``lasso_before`` and
        ``lasso_after`` (objective of the sparse step per token, for ISTA),
        ``attention_entropy`` and ``attention_diagonal`` of shape (n_layers, n_heads)
        (nats; mean weight of a token on itself; NaN for TSSA) and
        ``subspace_coherence`` of shape (n_layers, n_heads, n_heads) (one for equal,
        zero for orthogonal subspaces).
    """
    rows: list[dict[str, Tensor]] = []
    for layer, trace in zip(module.layers, module.trace(X), strict=True):
        assert isinstance(layer, CRATELayer)
        rows.append(
            _compression(layer, trace, distortion)
            | _sparsity(layer, trace)
            | _attention(layer, trace)
        )
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def _compression(
    layer: CRATELayer, trace: LayerTrace, distortion: float
) -> dict[str, Tensor]:
    before = token_coding_rate(trace.heads, distortion=distortion).sum(1)
    heads = layer.compress.project(layer.compress_norm(trace.half))
    after = token_coding_rate(heads, distortion=distortion).sum(1)
    single = before.new_full((), float("nan"))
    return {
        "coding_rate": before.mean(),
        "coding_rate_std": before.std() if len(before) > 1 else single,
        "coding_rate_half": after.mean(),
    }


def _sparsity(layer: CRATELayer, trace: LayerTrace) -> dict[str, Tensor]:
    missing = trace.output.new_full((), float("nan"))
    found = dict.fromkeys(("nonzero_fraction", "lasso_before", "lasso_after"), missing)
    found["dead_tokens"] = (trace.output == 0).all(-1).to(trace.output).mean()
    step = layer.sparsify
    if isinstance(step, ISTAStep):
        tokens, codes = layer.sparsify_norm(trace.half), trace.output
        found["nonzero_fraction"] = (codes != 0).to(codes).mean()
        n_tokens = codes.shape[0] * codes.shape[1]
        for name, start in (("lasso_before", tokens), ("lasso_after", codes)):
            objective = lasso_objective(
                tokens, start, step.dictionary, sparsity=step.sparsity
            )
            found[name] = objective.sum() / n_tokens
    elif isinstance(step, OvercompleteStep):
        codes = step.codes(layer.sparsify_norm(trace.half))
        found["nonzero_fraction"] = (codes != 0).to(codes).mean()
    return found


def _attention(layer: CRATELayer, trace: LayerTrace) -> dict[str, Tensor]:
    n_heads = trace.heads.shape[1]
    if isinstance(layer.compress, StatisticsAttention):
        missing = trace.heads.new_full((n_heads,), float("nan"))
        found = {"attention_entropy": missing, "attention_diagonal": missing}
    else:
        weights = layer.compress.maps(trace.heads)
        found = {
            "attention_entropy": torch.special.entr(weights).sum(-1).mean((0, 2)),
            "attention_diagonal": weights.diagonal(dim1=-2, dim2=-1).mean((0, 2)),
        }
    bases = split_heads(layer.compress.projection.weight.mT, n_heads)
    bases = torch.linalg.qr(bases).Q  # (n_heads, d_token, head_dim)
    overlap = torch.einsum("kdp,ldq->klpq", bases, bases)
    norm = torch.linalg.matrix_norm(overlap)
    return found | {"subspace_coherence": norm / bases.shape[-1] ** 0.5}
