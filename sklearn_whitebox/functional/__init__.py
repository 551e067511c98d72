"""Pure functions on tensors and arrays: no state, no hidden randomness, no I/O."""

from sklearn_whitebox.functional._analytic_weights import (
    analytic_weights,
)
from sklearn_whitebox.functional._attention import (
    merge_heads,
    split_heads,
    subspace_attention_weights,
    subspace_self_attention,
    thresholded_self_attention,
    token_memberships,
    token_statistics_attention,
)
from sklearn_whitebox.functional._coding_length import (
    coding_length,
    segmentation_coding_length,
)
from sklearn_whitebox.functional._dictionary import (
    fista_step,
    ista_step,
    lasso_duality_gap,
    mutual_coherence,
    normalize_atoms,
    reconstruction_error,
)
from sklearn_whitebox.functional._linalg import (
    inverse_identity_plus_gram,
    logdet_identity_plus_gram,
    polar,
)
from sklearn_whitebox.functional._optimal_rate import (
    max_feature_penalty,
    optimal_rank,
    optimal_ranks,
    optimal_rate_reduction,
    regularized_singular_values,
)
from sklearn_whitebox.functional._prox import (
    group_threshold,
    hard_threshold,
    project_sphere,
    soft_threshold,
    top_k_threshold,
)
from sklearn_whitebox.functional._rate import (
    coding_rate,
    coding_rate_gradient,
    conditional_coding_rate,
    distortion_from_noise,
    membership_gradient,
    rate_reduction,
    rate_reduction_gradient,
)
from sklearn_whitebox.functional._redunet import (
    compression_operators,
    expansion_operator,
    membership_probabilities,
    redunet_step,
)
from sklearn_whitebox.functional._sinkhorn import (
    sinkhorn,
    sinkhorn_potentials,
)
from sklearn_whitebox.functional._sparsification import (
    lasso_objective,
    overcomplete_codes,
    overcomplete_step,
    sparsification_step,
)
from sklearn_whitebox.functional._subspace_rate import (
    subspace_coding_rate,
    subspace_coding_rate_gradient,
    token_coding_rate,
    variational_coding_rate,
)

__all__ = [
    "analytic_weights",
    "coding_length",
    "coding_rate",
    "coding_rate_gradient",
    "compression_operators",
    "conditional_coding_rate",
    "distortion_from_noise",
    "expansion_operator",
    "fista_step",
    "group_threshold",
    "hard_threshold",
    "inverse_identity_plus_gram",
    "ista_step",
    "lasso_duality_gap",
    "lasso_objective",
    "logdet_identity_plus_gram",
    "max_feature_penalty",
    "membership_gradient",
    "membership_probabilities",
    "merge_heads",
    "mutual_coherence",
    "normalize_atoms",
    "optimal_rank",
    "optimal_ranks",
    "optimal_rate_reduction",
    "overcomplete_codes",
    "overcomplete_step",
    "polar",
    "project_sphere",
    "rate_reduction",
    "rate_reduction_gradient",
    "reconstruction_error",
    "redunet_step",
    "regularized_singular_values",
    "segmentation_coding_length",
    "sinkhorn",
    "sinkhorn_potentials",
    "soft_threshold",
    "sparsification_step",
    "split_heads",
    "subspace_attention_weights",
    "subspace_coding_rate",
    "subspace_coding_rate_gradient",
    "subspace_self_attention",
    "thresholded_self_attention",
    "token_coding_rate",
    "token_memberships",
    "token_statistics_attention",
    "top_k_threshold",
    "variational_coding_rate",
]
