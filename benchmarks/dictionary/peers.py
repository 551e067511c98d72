"""Other people's programs, brought to one shape: rows in, dictionaries and codes out.

Packages that are not installed are named once and left out; see README.md.
"""

import importlib
from functools import cache

import numpy as np
from sklearn.decomposition import MiniBatchDictionaryLearning, sparse_encode
from sklearn.linear_model import orthogonal_mp_gram


@cache
def optional(name):
    """Import a peer, or say that it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        print(f"(without {name}: {error}; see benchmarks/dictionary/README.md)")
        return None


def columns(X):
    """One sample a column, in the order that SPAMS wants."""
    return np.asfortranarray(X.T)


def spams_lasso(X, D, alpha):
    """Call LARS of SPAMS on samples and atoms given as columns."""
    return optional("spams").lasso(X, D, lambda1=alpha, mode=2, numThreads=1)


def spams_omp(X, D, *, eps=0.0, **stop):
    """Call OMP of SPAMS on samples and atoms given as columns.

    Without a tolerance, its float32 version returns zeros most of the time.
    """
    return optional("spams").omp(X, D, eps=eps, numThreads=1, **stop)


def spams_learn(X, init, alpha, n_steps, *, batch_size=512, **settings):
    """Run trainDL for some mini-batches from given atoms; all columns."""
    return optional("spams").trainDL(
        X,
        D=init,
        lambda1=alpha,
        iter=n_steps,
        batchsize=batch_size,
        numThreads=1,
        verbose=False,
        **settings,
    )


def sklearn_lasso(X, D, alpha, algorithm):
    return sparse_encode(X, D, algorithm=algorithm, alpha=alpha, max_iter=2000)


def sklearn_omp(X, D, k):
    return orthogonal_mp_gram(D @ D.T, D @ X.T, n_nonzero_coefs=k).T


def sklearn_learner(k, alpha, seed, **settings):
    """Set up mini-batch learning; tolerances off, so that it does what it is asked."""
    settings = {"batch_size": 256, "max_iter": 100, **settings}
    return MiniBatchDictionaryLearning(
        k,
        alpha=alpha,
        fit_algorithm="cd",
        transform_algorithm="lasso_cd",
        random_state=seed,
        tol=0.0,
        max_no_improvement=None,
        **settings,
    )
