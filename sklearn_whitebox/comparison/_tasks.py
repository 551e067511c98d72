"""The timed pieces of a comparison: one method on one fold, or with one seed."""

import time
import warnings

import numpy as np
from sklearn.base import clone
from sklearn.metrics import (
    adjusted_rand_score,
    log_loss,
    normalized_mutual_info_score,
)

from sklearn_whitebox.estimators import SparseDictionaryLearner, SubspaceClusterer
from sklearn_whitebox.metrics import clustering_accuracy

_warm = False


def warm_up():
    """Compile or load the compiled kernels of this process, outside of the clock."""
    global _warm
    if _warm:
        return
    _warm = True
    rng = np.random.RandomState(0)
    X = rng.normal(size=(60, 6))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for dtype in (np.float64, np.float32):
            rows = X.astype(dtype)
            SparseDictionaryLearner(8, max_iter=2, random_state=0).fit_transform(rows)
            SubspaceClusterer(2, random_state=0).fit(rows)


def embed(name, embedding, heads, preprocessor, X, y, fold):
    """Fit an embedding on a fold's training rows and score classifiers after it.

    Parameters
    ----------
    name : str
        Name of the method.
    embedding : transformer
        Unfitted.
    heads : dict of str to classifier
        Unfitted classifiers to put after it.
    preprocessor : transformer
        Unfitted.
    X : DataFrame or ndarray of shape (n_samples, n_columns)
        Raw features.
    y : ndarray of shape (n_samples,)
        Class numbers.
    fold : tuple of (int, ndarray, ndarray)
        Number of the fold, its training rows and its test rows.

    Returns
    -------
    record : dict
        Scores, seconds and dimension; or ``error``, if the method failed.
    """

    def work(record):
        train, test = fold[1:]
        before, unseen = prepare(preprocessor, X, train, test)
        model = clone(embedding)
        record["fit_time"] = _timed(lambda: model.fit(before, y[train]))[0]
        Z = model.transform(before)
        record["transform_time"], Z_test = _timed(lambda: model.transform(unseen))
        record["dimension"] = int(Z.shape[1])
        record["scores"] = {}
        for head, classifier in heads.items():
            fitted = clone(classifier).fit(Z, y[train])
            record["scores"][head] = float(fitted.score(Z_test, y[test]))

    return _record({"method": name, "fold": fold[0]}, work)


def classify(name, classifier, preprocessor, X, y, fold):
    """Fit a classifier on a fold's training rows and score it on the others.

    Parameters
    ----------
    name : str
        Name of the method.
    classifier : classifier
        Unfitted.
    preprocessor : transformer
        Unfitted.
    X : DataFrame or ndarray of shape (n_samples, n_columns)
        Raw features.
    y : ndarray of shape (n_samples,)
        Class numbers.
    fold : tuple of (int, ndarray, ndarray)
        Number of the fold, its training rows and its test rows.

    Returns
    -------
    record : dict
        Accuracy, log-loss in nats and seconds; or ``error``, if the method failed.
    """

    def work(record):
        train, test = fold[1:]
        before, unseen = prepare(preprocessor, X, train, test)
        model = clone(classifier)
        record["fit_time"] = _timed(lambda: model.fit(before, y[train]))[0]
        record["predict_time"], P = _timed(lambda: model.predict_proba(unseen))
        record["scores"] = {
            "accuracy": float(np.mean(model.classes_[P.argmax(1)] == y[test])),
            "log_loss": float(log_loss(y[test], P, labels=model.classes_)),
        }

    return _record({"method": name, "fold": fold[0]}, work)


def cluster(name, clusterer, preprocessor, X, y, seed):
    """Cluster all rows and compare the clusters with the classes.

    Parameters
    ----------
    name : str
        Name of the method.
    clusterer : clusterer
        Unfitted.
    preprocessor : transformer
        Unfitted.
    X : DataFrame or ndarray of shape (n_samples, n_columns)
        Raw features.
    y : ndarray of shape (n_samples,)
        Class numbers.
    seed : int
        Random state of the run, for the record.

    Returns
    -------
    record : dict
        Accuracy by the best matching of clusters to classes, normalised mutual
        information, adjusted Rand index and seconds; or ``error``.
    """

    def work(record):
        prepared = clone(preprocessor).fit_transform(X)
        record["fit_time"], labels = _timed(lambda: clusterer.fit_predict(prepared))
        record["scores"] = {
            "accuracy": float(clustering_accuracy(y, labels)),
            "nmi": float(normalized_mutual_info_score(y, labels)),
            "ari": float(adjusted_rand_score(y, labels)),
        }

    return _record({"method": name, "seed": seed}, work)


def prepare(preprocessor, X, train, test):
    """Fit the preprocessing on training rows and apply it to both parts.

    Parameters
    ----------
    preprocessor : transformer
        Unfitted.
    X : DataFrame or ndarray
        Raw features.
    train, test : ndarray of int
        Numbers of the rows.

    Returns
    -------
    before, unseen : ndarray
        Prepared training and test rows.
    """
    prepared = clone(preprocessor).fit(rows_of(X, train))
    return tuple(prepared.transform(rows_of(X, part)) for part in (train, test))


def rows_of(X, index):
    """Take rows by number from a table or a matrix.

    Parameters
    ----------
    X : DataFrame or ndarray
        Rows.
    index : ndarray of int
        Their numbers.

    Returns
    -------
    rows : DataFrame or ndarray
        Of the kind of `X`.
    """
    return X.iloc[index] if hasattr(X, "iloc") else X[index]


def _timed(function):
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def _record(record, work):
    """Fill a record; a method that fails is reported and does not stop the others."""
    warm_up()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            work(record)
        except Exception as error:
            record["error"] = f"{type(error).__name__}: {error}"
    said = {f"{w.category.__name__}: {w.message}" for w in caught}
    if said:
        record["warnings"] = sorted(said)
    return record
