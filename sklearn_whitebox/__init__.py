"""White-box representation learning with the scikit-learn contract."""

from importlib.metadata import PackageNotFoundError, version

from sklearn_whitebox.estimators import (
    CodingLengthClassifier,
    CodingLengthClusterer,
    CRATEClassifier,
    CRATERegressor,
    EnsembleKSubspaces,
    KSubspaces,
    LearnedSparseEncoder,
    NearestSubspaceClassifier,
    PolarTransformer,
    RateReductionClusterer,
    RateReductionEmbedding,
    ReduNetClassifier,
    SparseAutoencoder,
    SparseDictionaryLearner,
    SubspaceClusterer,
)
from sklearn_whitebox.persistence import load, save

try:
    __version__ = version("sklearn-whitebox")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "unknown"

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
    "__version__",
    "load",
    "save",
]
