"""Estimators: validate, solve, store."""

from sklearn_whitebox.estimators._crate_classifier import (
    CRATEClassifier,
)
from sklearn_whitebox.estimators._learned_sparse_encoder import (
    LearnedSparseEncoder,
)
from sklearn_whitebox.estimators._rate_reduction_embedding import (
    RateReductionEmbedding,
)
from sklearn_whitebox.estimators._sparse_autoencoder import (
    SparseAutoencoder,
)
from sklearn_whitebox.estimators._sparse_dictionary_learner import (
    SparseDictionaryLearner,
)
from sklearn_whitebox.estimators._subspace_clusterer import (
    SubspaceClusterer,
)

__all__ = [
    "CRATEClassifier",
    "LearnedSparseEncoder",
    "RateReductionEmbedding",
    "SparseAutoencoder",
    "SparseDictionaryLearner",
    "SubspaceClusterer",
]
