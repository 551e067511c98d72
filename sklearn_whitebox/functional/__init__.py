"""Pure functions on tensors and arrays: no state, no hidden randomness, no I/O."""

from sklearn_whitebox.functional._coding_length import (
    coding_length,
    max_feature_penalty,
    optimal_rank,
    optimal_rate_reduction,
    segmentation_coding_length,
)
from sklearn_whitebox.functional._linalg import (
    inverse_identity_plus_gram,
    logdet_identity_plus_gram,
    polar,
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
    subspace_coding_rate,
    subspace_coding_rate_gradient,
    variational_coding_rate,
)

__all__ = [
    "coding_length",
    "coding_rate",
    "coding_rate_gradient",
    "conditional_coding_rate",
    "distortion_from_noise",
    "group_threshold",
    "hard_threshold",
    "inverse_identity_plus_gram",
    "logdet_identity_plus_gram",
    "max_feature_penalty",
    "membership_gradient",
    "optimal_rank",
    "optimal_rate_reduction",
    "polar",
    "project_sphere",
    "rate_reduction",
    "rate_reduction_gradient",
    "segmentation_coding_length",
    "soft_threshold",
    "subspace_coding_rate",
    "subspace_coding_rate_gradient",
    "top_k_threshold",
    "variational_coding_rate",
]
