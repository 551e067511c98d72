"""Embeddings by name, ours and others', at their defaults and with grids to tune.

Every method gets at most four candidate settings, chosen by the same inner
cross-validation. A method that is not installed, or not meant for so many rows, is left
out and named in the report.
"""

from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA, KernelPCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from sklearn.preprocessing import FunctionTransformer

from sklearn_whitebox import RateReductionEmbedding, ReduNetClassifier

OURS = ("RateReductionEmbedding", "ReduNetClassifier")
# Largest training sets that are tried: costs grow with the square or cube beyond.
MOST = {"KernelPCA": 10_000, "NCA": 5000, "LMNN": 1500, "UMAP of TorchDR": 1000}


class TorchDRUmap(TransformerMixin, BaseEstimator):
    """TorchDR's UMAP with its way of placing new rows: they move, the old ones stay."""

    def __init__(self, n_components=8, random_state=None):
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X, y=None):
        """Embed the rows, and remember them."""
        import torchdr

        self.rows_ = X
        self.model_ = torchdr.UMAP(
            n_components=self.n_components,
            n_neighbors=15,
            max_iter=500,
            device="cpu",
            backend=None,
            random_state=self.random_state,
        )
        self.embedding_ = self.model_.fit_transform(X)
        return self

    def transform(self, X):
        """Place new rows among the old ones."""
        if X is self.rows_:
            return self.embedding_
        return self.model_.transform(X, X_train=self.rows_)


def methods(shape, n_classes, seed):
    """Estimator and grid of every method for training rows of a shape."""
    n_samples, n_features = shape
    few = min(n_features, max(n_classes, 8))
    widths = sorted({min(n_features, width) for width in (few, 16, 32, 64)})
    found = {
        "features": (FunctionTransformer(), {}),
        "PCA": (PCA(min(0.95, 1 - 1e-9), svd_solver="full"), {
            "n_components": [0.8, 0.9, 0.95, 0.99]}),
        "KernelPCA": (KernelPCA(min(32, n_samples), kernel="rbf"), {
            "gamma": [s / n_features for s in (0.1, 0.3, 1.0, 3.0)]}),
        "LDA": (LinearDiscriminantAnalysis(), {
            "solver": ["eigen"], "shrinkage": [1e-4, 1e-2, 0.1, "auto"]}),
        "NCA": (
            NeighborhoodComponentsAnalysis(min(n_features, 32), random_state=seed),
            {"n_components": widths},
        ),
        "RateReductionEmbedding": (RateReductionEmbedding(random_state=seed), {
            "distortion": [0.25, 0.5, 1.0, 2.0]}),
        "ReduNetClassifier": (ReduNetClassifier(random_state=seed), {
            "distortion": [0.03, 0.1, 0.3, 0.5]}),
    }  # fmt: skip
    _add_foreign(found, seed, few, widths)
    return {
        name: method
        for name, method in found.items()
        if n_samples <= MOST.get(name, n_samples)
    }


def _add_foreign(found, seed, few, widths):
    try:
        from umap import UMAP

        found["UMAP, supervised"] = (
            UMAP(n_components=few, random_state=seed, n_jobs=1),
            {"n_neighbors": [5, 15, 30, 60]},
        )
    except ImportError:
        print("umap-learn is not installed")
    try:
        from metric_learn import LMNN

        _mend_metric_learn()
        found["LMNN"] = (
            LMNN(n_components=None, random_state=seed, max_iter=200, learn_rate=1e-6),
            {"n_components": widths},
        )
    except ImportError:
        print("metric-learn is not installed")
    try:
        import torchdr  # noqa: F401

        found["UMAP of TorchDR"] = (
            TorchDRUmap(few, random_state=seed),
            {"n_components": widths},
        )
    except ImportError:
        print("torchdr is not installed")


def _mend_metric_learn():
    """Let metric-learn 0.7 run: it passes an argument that scikit-learn renamed."""
    import metric_learn._util as util

    def renamed(function):
        def call(*args, force_all_finite=True, **settings):
            return function(*args, ensure_all_finite=force_all_finite, **settings)

        call.mended = True
        return call

    for name in ("check_X_y", "check_array"):
        if not hasattr(getattr(util, name), "mended"):
            setattr(util, name, renamed(getattr(util, name)))
