"""What the layers of a CRATE do to given data, measured."""

import torch
from torch import Tensor

from sklearn_whitebox.functional._attention import split_heads
from sklearn_whitebox.functional._rate import coding_rate
from sklearn_whitebox.functional._sparsification import lasso_objective
from sklearn_whitebox.functional._subspace_rate import (
    subspace_coding_rate,
    token_coding_rate,
)
from sklearn_whitebox.modules._crate import CRATE, CRATELayer, LayerTrace
from sklearn_whitebox.modules._crate_attention import StatisticsAttention
from sklearn_whitebox.modules._crate_steps import ISTAStep, OvercompleteStep

# Numbers that the intermediate results of the rows measured at a time may take.
_BUDGET = 2**24
_OF_LAYER = (
    "coding_rate",
    "coding_rate_std",
    "coding_rate_half",
    "coding_rate_delta",
    "total_rate",
    "rate_reduction",
    "rate_reduction_half",
    "nonzero_fraction",
    "dead_tokens",
    "lasso_before",
    "lasso_after",
    "dictionary_coherence",
)
_OF_HEAD = (
    "coding_rate_head",
    "attention_entropy",
    "attention_diagonal",
    "membership",
)


def layer_statistics(
    module: CRATE,
    X: Tensor,
    *,
    distortion: float = 0.01,
    batch_size: int | None = None,
) -> dict[str, Tensor]:
    r"""Measure compression and sparsity, layer by layer.

    Rates are taken on tokens of unit norm: attention alone lengthens the tokens, and
    with that raises any rate, but the layer norm that comes next takes the length away.

    Parameters
    ----------
    module : CRATE
        Network in evaluation.
    X : Tensor of shape (n_samples, n_features)
        Scaled features, or flattened images with channels last.
    distortion : float, default=0.01
        Allowed mean squared error per token of unit norm, ε². The default is the
        constant of the published programs.
    batch_size : int or None, default=None
        Rows measured at a time; None takes as many as keep intermediate results below
        128 MiB in double precision. The results do not depend on it.

    Returns
    -------
    statistics : dict of str to Tensor
        Arrays with one row a layer, means over the samples (over samples and members
        of an ensemble). NaN stands for what a layer does not have.

        ``coding_rate``, ``coding_rate_std``
            Rate of the tokens that enter the layer inside its subspaces, summed over
            the heads, in nats, and its deviation over the samples; the published
            measure.
        ``coding_rate_head`` of shape (n_layers, n_heads)
            The rate of each head; the mean over the heads is `coding_rate` over their
            number.
        ``coding_rate_half``, ``coding_rate_delta``
            The rate after the compression, in the same subspaces, and its change
            relative to `coding_rate`; a negative change is compression.
        ``total_rate``
            Rate of the tokens as a whole, :math:`R(Z)`.
        ``rate_reduction``, ``rate_reduction_half``
            :math:`R(Z) - R_c(Z \mid U_{[K]})` before and after the compression, with
            orthonormal bases of the subspaces and tokens of unit norm in both terms.
            `coding_rate` is no term of it: it scales the tokens in each head.
        ``nonzero_fraction``
            Share of entries of the output of an ISTA step that are not zero, of the
            code for an overcomplete step, whose output is dense.
        ``dead_tokens``
            Share of output tokens that are all zero.
        ``lasso_before``, ``lasso_after``
            Objective of the sparse step per token, where it starts (at the tokens for
            ISTA, at zero for an overcomplete step) and where it ends.
        ``dictionary_coherence``
            Largest absolute cosine of two atoms.
        ``subspace_coherence`` of shape (n_layers, n_heads, n_heads)
            :math:`\|U_i^\top U_j\|_F / \sqrt{p}` of orthonormal bases: one for equal,
            zero for orthogonal subspaces.
        ``attention_entropy``, ``attention_diagonal`` of shape (n_layers, n_heads)
            Entropy of the rows of the attention in nats, and mean weight of a token on
            itself; for ``attention="mssa"``.
        ``membership`` of shape (n_layers, n_heads)
            Mean membership of the tokens; for ``attention="tssa"``.

    Raises
    ------
    ValueError
        If `distortion` is not positive.

    Notes
    -----
    Costs a forward pass, and O(n q min(n, q)) time for the rate of each head and row,
    n tokens and q their width in the head; the smaller side is factorised.

    References
    ----------
    .. [1] Yu et al. (2023). White-box transformers via sparse rate reduction. NeurIPS.
    """
    if not distortion > 0:
        raise ValueError(f"distortion={distortion} must be positive.")
    size = _rows_at_once(module) if batch_size is None else batch_size
    found: list[list[dict[str, Tensor]]] = [[] for _ in module.layers]
    for part in X.split(size):
        tokens = module.embed(part)
        # Members of an ensemble share the layers, and count as further samples.
        tokens = tokens.reshape(-1, *tokens.shape[-2:])
        for layer, measured in zip(module.layers, found, strict=True):
            assert isinstance(layer, CRATELayer)
            trace = layer.trace(tokens)
            measured.append(_measure(layer, trace, distortion))
            tokens = trace.output
    n_heads = module.config.n_heads
    if not found:
        return _nothing(X, n_heads)
    rows = []
    for layer, measured in zip(module.layers, found, strict=True):
        assert isinstance(layer, CRATELayer)
        samples = {n: torch.cat([part[n] for part in measured]) for n in measured[0]}
        rows.append(_summary(samples) | _geometry(layer))
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def _rows_at_once(module: CRATE) -> int:
    config, n_tokens = module.config, module.tokens.n_tokens + 1
    widths = 10 * config.d_token + 4 * config.inner_width
    if config.sparsifier in ("odl", "mlp"):
        widths += 2 * config.overcomplete * config.d_token
    per_row = n_tokens * widths
    if config.attention == "mssa":
        per_row += 3 * config.n_heads * n_tokens**2
    return max(1, _BUDGET // (config.n_members * per_row))


def _nothing(X: Tensor, n_heads: int) -> dict[str, Tensor]:
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(_OF_LAYER, ())
    shapes |= dict.fromkeys(_OF_HEAD, (n_heads,))
    shapes["subspace_coherence"] = (n_heads, n_heads)
    return {name: X.new_empty((0, *shape)) for name, shape in shapes.items()}


def _measure(
    layer: CRATELayer, trace: LayerTrace, distortion: float
) -> dict[str, Tensor]:
    """Measure a layer on a few rows, one entry a row."""
    return (
        _compression(layer, trace, distortion)
        | _sparsity(layer, trace)
        | _attention(layer, trace)
    )


def _compression(
    layer: CRATELayer, trace: LayerTrace, distortion: float
) -> dict[str, Tensor]:
    bases = _bases(layer)
    found = {}
    for suffix, tokens in (("", trace.tokens), ("_half", trace.half)):
        tokens = layer.compress_norm(tokens)
        heads = layer.compress.project(tokens) if suffix else trace.heads
        found["heads" + suffix] = token_coding_rate(heads, distortion=distortion)
        units = torch.nn.functional.normalize(tokens, dim=-1)
        found["total" + suffix] = coding_rate(units, distortion=distortion)
        parts = subspace_coding_rate(units, bases, distortion=distortion)
        found["reduction" + suffix] = found["total" + suffix] - parts
    return found


def _sparsity(layer: CRATELayer, trace: LayerTrace) -> dict[str, Tensor]:
    output, step = trace.output, layer.sparsify
    missing = output.new_full((len(output),), float("nan"))
    found = dict.fromkeys(("nonzero_fraction", "lasso_before", "lasso_after"), missing)
    found["dead_tokens"] = (output == 0).all(-1).to(output).mean(-1)
    if not isinstance(step, ISTAStep | OvercompleteStep):
        return found
    tokens = layer.sparsify_norm(trace.half)
    if isinstance(step, ISTAStep):
        start, codes = tokens, output
    else:
        codes = step.codes(tokens)
        start = torch.zeros_like(codes)
    found["nonzero_fraction"] = (codes != 0).to(codes).mean((-2, -1))
    for name, point in (("lasso_before", start), ("lasso_after", codes)):
        objective: Tensor = lasso_objective(
            tokens, point, step.dictionary, sparsity=_sparsity_weight(step)
        )
        found[name] = objective / tokens.shape[-2]
    return found


def _sparsity_weight(step: ISTAStep | OvercompleteStep) -> float:
    weight = step.sparsity
    return float(weight.detach() if isinstance(weight, Tensor) else weight)


def _attention(layer: CRATELayer, trace: LayerTrace) -> dict[str, Tensor]:
    missing = trace.heads.new_full(trace.heads.shape[:2], float("nan"))
    maps = layer.compress.maps(trace.heads)
    if isinstance(layer.compress, StatisticsAttention):
        return {
            "attention_entropy": missing,
            "attention_diagonal": missing,
            "membership": maps.mean(-1),
        }
    return {
        "attention_entropy": torch.special.entr(maps).sum(-1).mean(-1),
        "attention_diagonal": maps.diagonal(dim1=-2, dim2=-1).mean(-1),
        "membership": missing,
    }


def _summary(samples: dict[str, Tensor]) -> dict[str, Tensor]:
    """Average what was measured over the samples."""
    means = {name: values.mean(0) for name, values in samples.items()}
    rates = samples["heads"].sum(1)
    rate, half = means["heads"].sum(), means["heads_half"].sum()
    single = rate.new_full((), float("nan"))
    found = {
        "coding_rate": rate,
        "coding_rate_std": rates.std() if len(rates) > 1 else single,
        "coding_rate_head": means["heads"],
        "coding_rate_half": half,
        "coding_rate_delta": (half - rate) / rate,
        "total_rate": means["total"],
        "rate_reduction": means["reduction"],
        "rate_reduction_half": means["reduction_half"],
    }
    return found | {n: means[n] for n in (*_OF_LAYER, *_OF_HEAD) if n in means}


def _bases(layer: CRATELayer) -> Tensor:
    """Give orthonormal bases of the subspaces, of shape (n_heads, d_token, dim)."""
    bases = split_heads(layer.compress.projection.weight.mT, layer.compress.n_heads)
    orthonormal: Tensor = torch.linalg.qr(bases).Q
    return orthonormal


def _geometry(layer: CRATELayer) -> dict[str, Tensor]:
    """Measure how the subspaces, and the atoms, of a layer lie to one another."""
    bases = _bases(layer)
    overlap = torch.einsum("kdp,ldq->klpq", bases, bases)
    norm = torch.linalg.matrix_norm(overlap)
    coherence = bases.new_full((), float("nan"))
    if isinstance(layer.sparsify, ISTAStep | OvercompleteStep):
        atoms = torch.nn.functional.normalize(layer.sparsify.dictionary, dim=0)
        cosines = (atoms.mT @ atoms).abs().fill_diagonal_(0)
        coherence = cosines.max()
    return {
        "subspace_coherence": norm / bases.shape[-1] ** 0.5,
        "dictionary_coherence": coherence,
    }
