"""Digits: sparse codes for a linear classifier, everything fitted inside the fold.

Five folds; the penalty of the support vector machine is chosen for everybody by the
same inner cross-validation. Codes are split into positive and negative parts for those
that offer it.
"""

import numpy as np
import peers
from common import summarise, timed
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import LinearSVC

from sklearn_whitebox import SparseDictionaryLearner

PENALTIES = (0.1, 0.3, 1.0, 3.0)


class SpamsCodes(TransformerMixin, BaseEstimator):
    """Dictionary and codes by SPAMS, split by sign."""

    def __init__(self, n_components, alpha, seed):
        self.n_components = n_components
        self.alpha = alpha
        self.seed = seed

    def fit(self, X, y=None):
        """Learn atoms."""
        rng = np.random.default_rng(self.seed)
        init = X[rng.choice(len(X), self.n_components, replace=False)]
        init = init / np.linalg.norm(init, axis=1, keepdims=True)
        self.atoms_ = peers.spams_learn(
            peers.columns(X),
            peers.columns(init),
            self.alpha,
            500,
            batch_size=256,
            modeParam=2,
            rho=0.9,
        )
        return self

    def transform(self, X):
        """Code samples."""
        codes = peers.spams_lasso(peers.columns(X), self.atoms_, self.alpha)
        codes = codes.T.toarray()
        return np.hstack([np.maximum(codes, 0), np.maximum(-codes, 0)])


def models(seed, k=128):
    """Everybody, by name; peers have the best penalty of .03 to .3."""
    found = {
        "pixels": FunctionTransformer(),
        "PCA 40": PCA(40, random_state=seed),
        **{
            f"SparseDictionaryLearner {m}": SparseDictionaryLearner(
                m, split_sign=True, random_state=seed
            )
            for m in (k, 2 * k)
        },
        f"sklearn mini-batch {k}": peers.sklearn_learner(
            k,
            0.15,
            seed,
            max_iter=10,
            transform_alpha=0.15,
            split_sign=True,
        ),
    }
    if peers.optional("spams"):
        found[f"spams {k}"] = SpamsCodes(k, 0.05, seed)
    return found


def run(quick, seeds):
    X, y = load_digits(return_X_y=True)
    X = X / np.sqrt(np.mean((X**2).sum(axis=1)))
    rows = []
    for seed in seeds:
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        for fold, (train, test) in enumerate(folds.split(X, y)):
            if quick and fold > 0:
                break
            for method, model in models(seed).items():
                _, seconds = timed(model.fit, X[train])
                codes, coding = timed(model.transform, X[train])
                search = GridSearchCV(
                    LinearSVC(random_state=seed, max_iter=5000),
                    {"C": PENALTIES},
                    cv=3,
                )
                search.fit(codes, y[train])
                rows.append(
                    {
                        "method": method,
                        "seed": seed,
                        "fold": fold,
                        "accuracy": search.score(model.transform(X[test]), y[test]),
                        "C": search.best_params_["C"],
                        "nonzeros": np.count_nonzero(codes) / len(codes),
                        "cpu_seconds": seconds,
                        "coding_cpu_seconds": coding,
                    }
                )
    return {"summary": summarise(rows, ("method",)), "runs": rows}
