"""Estimators: validate, solve, store."""

from sklearn_whitebox.estimators._crate_classifier import (
    CRATEClassifier,
)
from sklearn_whitebox.estimators._rate_reduction_embedding import (
    RateReductionEmbedding,
)
from sklearn_whitebox.estimators._sparse_dictionary_learner import (
    SparseDictionaryLearner,
)
from sklearn_whitebox.estimators._subspace_clusterer import (
    SubspaceClusterer,
)

__all__ = [
    "CRATEClassifier",
    "RateReductionEmbedding",
    "SparseDictionaryLearner",
    "SubspaceClusterer",
]
