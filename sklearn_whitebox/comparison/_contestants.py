"""Who is compared: our estimators beside what people use today."""

from dataclasses import dataclass

from sklearn.cluster import KMeans, SpectralClustering
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_whitebox.comparison._data import DataError
from sklearn_whitebox.estimators import (
    CRATEClassifier,
    RateReductionEmbedding,
    ReduNetClassifier,
    SparseDictionaryLearner,
    SubspaceClusterer,
)

OURS = (
    "CRATEClassifier",
    "RateReductionEmbedding",
    "ReduNetClassifier",
    "SparseDictionaryLearner",
    "SubspaceClusterer",
)


@dataclass(frozen=True)
class Settings:
    """What the contestants are told about the problem.

    Parameters
    ----------
    n_features : int
        Columns after preprocessing.
    n_classes : int
        Number of classes.
    image_shape : tuple of int or None
        Shape of an image, if rows are images.
    device : str
        Device for the estimators that can use one.
    seed : int
        Random state of all of them.
    quick : bool
        Fewer iterations, for a first look.
    """

    n_features: int
    n_classes: int
    image_shape: tuple | None = None
    device: str = "auto"
    seed: int = 0
    quick: bool = False


def embeddings(settings):
    """Embeddings to put before the same classifiers.

    Parameters
    ----------
    settings : Settings
        The problem.

    Returns
    -------
    contestants : dict of str to transformer
        By class name; ``"passthrough"`` is the scaled features themselves.
    """
    overcomplete = min(2 * settings.n_features, 256)
    return {
        "passthrough": FunctionTransformer(),
        "PCA": PCA(0.95, svd_solver="full"),
        "LinearDiscriminantAnalysis": LinearDiscriminantAnalysis(),
        "SparseDictionaryLearner": SparseDictionaryLearner(
            max(overcomplete, 2),
            random_state=settings.seed,
            **({"max_iter": 10} if settings.quick else {}),
        ),
        "RateReductionEmbedding": RateReductionEmbedding(
            device=settings.device,
            random_state=settings.seed,
            **({"max_iter": 40} if settings.quick else {}),
        ),
    }


def heads():
    """Classifiers after every embedding.

    Returns
    -------
    classifiers : dict of str to classifier
        By class name.
    """
    return {
        "KNeighborsClassifier": KNeighborsClassifier(),
        # Embeddings have different scales; the penalty must treat them alike.
        "LogisticRegression": make_pipeline(
            StandardScaler(), LogisticRegression(max_iter=2000)
        ),
    }


def classifiers(settings):
    """Classifiers of the preprocessed features.

    Parameters
    ----------
    settings : Settings
        The problem.

    Returns
    -------
    contestants : dict of str to classifier
        By class name.
    """
    seed = settings.seed
    fewer = {"max_iter": 40} if settings.quick else {}
    return {
        "LogisticRegression": make_pipeline(
            StandardScaler(), LogisticRegression(max_iter=2000)
        ),
        "HistGradientBoostingClassifier": HistGradientBoostingClassifier(
            random_state=seed, **({"max_iter": 30} if settings.quick else {})
        ),
        "MLPClassifier": MLPClassifier((256,), random_state=seed),
        "ReduNetClassifier": ReduNetClassifier(
            20 if settings.quick else 50, device=settings.device, random_state=seed
        ),
        "CRATEClassifier": CRATEClassifier(
            image_shape=settings.image_shape,
            device=settings.device,
            random_state=seed,
            **fewer,
        ),
    }


def clusterings(settings):
    """Clusterings to compare with the labels.

    Parameters
    ----------
    settings : Settings
        The problem.

    Returns
    -------
    contestants : dict of str to callable
        By class name; each maps a random state to an unfitted clusterer.
    """
    n_clusters = settings.n_classes
    return {
        "KMeans": lambda seed: KMeans(n_clusters, n_init=10, random_state=seed),
        "SpectralClustering": lambda seed: SpectralClustering(
            n_clusters, affinity="nearest_neighbors", random_state=seed
        ),
        "SubspaceClusterer": lambda seed: SubspaceClusterer(
            n_clusters, random_state=seed
        ),
    }


def check_names(names):
    """Refuse names of estimators that are not compared.

    Parameters
    ----------
    names : sequence of str or None
        Names to keep; None keeps all.

    Raises
    ------
    DataError
        If one is unknown, with those that are known.
    """
    settings = Settings(n_features=2, n_classes=2)
    known = {
        *embeddings(settings),
        *classifiers(settings),
        *clusterings(settings),
    }
    for name in names or ():
        if name not in known:
            raise DataError(
                f"--estimators knows no {name!r}; it knows {', '.join(sorted(known))}."
            )
