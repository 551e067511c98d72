"""Scores on arrays: clustering accuracy, recovery of dictionaries, rates."""

from sklearn_whitebox.metrics._clustering import (
    clustering_accuracy,
    connectivity,
    representation_sparsity,
    subspace_preserving_error,
    subspace_preserving_rate,
)
from sklearn_whitebox.metrics._dictionary import (
    DictionaryRecovery,
    dictionary_recovery,
)
from sklearn_whitebox.metrics._rate import (
    rate_reduction_score,
    rate_reduction_scorer,
)

__all__ = [
    "DictionaryRecovery",
    "clustering_accuracy",
    "connectivity",
    "dictionary_recovery",
    "rate_reduction_score",
    "rate_reduction_scorer",
    "representation_sparsity",
    "subspace_preserving_error",
    "subspace_preserving_rate",
]
