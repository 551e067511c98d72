import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_whitebox import RateReductionEmbedding
from sklearn_whitebox.functional import project_sphere, rate_reduction
from sklearn_whitebox.metrics import rate_reduction_score, rate_reduction_scorer


def test_score_is_the_rate_reduction_of_unit_rows(rng):
    X, y = rng.normal(size=(30, 4)), rng.integers(0, 3, 30)
    expected = rate_reduction(project_sphere(X), y)
    names = np.array(["a", "b", "c"])[y]
    assert rate_reduction_score(7 * X, names) == pytest.approx(expected)
    assert rate_reduction_score(X, y, normalize=False) == pytest.approx(
        rate_reduction(X, y)
    )


def test_scorer_selects_parameters_in_a_search():
    X, y = load_wine(return_X_y=True)
    model = make_pipeline(
        StandardScaler(), RateReductionEmbedding(4, max_iter=40, random_state=0)
    )
    grid = {"ratereductionembedding__learning_rate": [1e-9, 1e-2]}
    # Plain folds of these sorted rows would hold one class each.
    folds = StratifiedKFold(3)
    search = GridSearchCV(model, grid, scoring=rate_reduction_scorer, cv=folds)
    search.fit(X, y)
    assert search.best_params_["ratereductionembedding__learning_rate"] == 1e-2


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        rate_reduction_score(np.eye(3), [0, 1])
