"""Estimators: validate, solve, store."""

from sklearn_whitebox.estimators._coding_length_classifier import (
    CodingLengthClassifier,
)
from sklearn_whitebox.estimators._coding_length_clusterer import (
    CodingLengthClusterer,
)
from sklearn_whitebox.estimators._crate_classifier import (
    CRATEClassifier,
)
from sklearn_whitebox.estimators._crate_regressor import (
    CRATERegressor,
)
from sklearn_whitebox.estimators._ensemble_k_subspaces import (
    EnsembleKSubspaces,
)
from sklearn_whitebox.estimators._k_subspaces import (
    KSubspaces,
)
from sklearn_whitebox.estimators._learned_sparse_encoder import (
    LearnedSparseEncoder,
)
from sklearn_whitebox.estimators._nearest_subspace_classifier import (
    NearestSubspaceClassifier,
)
from sklearn_whitebox.estimators._polar_transformer import (
    PolarTransformer,
)
from sklearn_whitebox.estimators._rate_reduction_clusterer import (
    RateReductionClusterer,
)
from sklearn_whitebox.estimators._rate_reduction_embedding import (
    RateReductionEmbedding,
)
from sklearn_whitebox.estimators._redunet_classifier import (
    ReduNetClassifier,
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
    "CRATERegressor",
    "CodingLengthClassifier",
    "CodingLengthClusterer",
    "EnsembleKSubspaces",
    "KSubspaces",
    "LearnedSparseEncoder",
    "NearestSubspaceClassifier",
    "PolarTransformer",
    "RateReductionClusterer",
    "RateReductionEmbedding",
    "ReduNetClassifier",
    "SparseAutoencoder",
    "SparseDictionaryLearner",
    "SubspaceClusterer",
]
