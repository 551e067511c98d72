"""Fit and predict with every extra made unimportable; run as a script."""

import importlib.abc
import sys

EXTRAS = ("matplotlib", "pandas", "polars", "pyarrow", "rich", "skops", "dask")


class Blocker(importlib.abc.MetaPathFinder):
    """Pretend that the extras are not installed."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in EXTRAS:
            raise ImportError(f"{name} is blocked")


sys.meta_path.insert(0, Blocker())

from sklearn.datasets import load_iris  # noqa: E402

from sklearn_whitebox import (  # noqa: E402
    CRATEClassifier,
    RateReductionEmbedding,
    SparseDictionaryLearner,
    SubspaceClusterer,
)
from sklearn_whitebox.comparison import compare  # noqa: E402
from sklearn_whitebox.display import AtomsDisplay  # noqa: E402

X, y = load_iris(return_X_y=True)
CRATEClassifier(max_iter=2, random_state=0).fit(X, y).predict(X)
RateReductionEmbedding(2, max_iter=2, random_state=0).fit(X, y).transform(X)
SparseDictionaryLearner(random_state=0).fit(X).transform(X)
SubspaceClusterer(3, random_state=0).fit(X).predict(X)
try:
    AtomsDisplay(X, image_shape=(2, 2)).plot()
except ImportError as error:
    assert "sklearn-whitebox[plot]" in str(error), error  # noqa: PT017
else:
    raise AssertionError("a display was drawn without matplotlib")
compare(quick=True, estimators=["PCA"], verbose=0)
print("works without extras")
