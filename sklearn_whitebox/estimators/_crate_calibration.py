"""One temperature for all logits, by the log-loss of rows held out."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax

# Beyond these a model is beyond repair by a temperature.
_COLDEST, _HOTTEST = 0.1, 10.0
# Few rows, all right, ask for certainty: before any of them is seen, the logarithm of
# the temperature is taken to be zero with this standard deviation.
_PRIOR = 0.5


def fit_temperature(outputs, y, weight):
    """Find the temperature of the least log-loss on rows not trained on.

    Parameters
    ----------
    outputs : list of (ndarray, ndarray)
        For every network the numbers of the rows that it did not see, and its logits
        for them, of shape (n, n_classes) or (n, n_members, n_classes).
    y : ndarray of int of shape (n_samples,)
        Class numbers of all rows.
    weight : ndarray of shape (n_samples,)
        Weights of all rows.

    Returns
    -------
    temperature : float
        What to divide logits by, between 0.1 and 10; one if no other is better. It
        stays near one where few rows speak against that.
    """
    n_rows = len(np.unique(np.concatenate([rows for rows, _ in outputs])))

    def loss(log):
        penalty = (log / _PRIOR) ** 2 / (2 * n_rows)
        return penalty + held_out_log_loss(outputs, y, weight, np.exp(log))

    found = minimize_scalar(
        loss,
        bounds=(np.log(_COLDEST), np.log(_HOTTEST)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0


def held_out_log_loss(outputs, y, weight, temperature):
    """Give the log-loss of the mean of the networks that did not see a row.

    Parameters
    ----------
    outputs : list of (ndarray, ndarray)
        As in :func:`fit_temperature`.
    y : ndarray of int of shape (n_samples,)
        Class numbers of all rows.
    weight : ndarray of shape (n_samples,)
        Weights of all rows.
    temperature : float
        What to divide logits by.

    Returns
    -------
    loss : float
        Weighted mean over the rows that some network did not see, in nats.
    """
    total, count = np.zeros(len(y)), np.zeros(len(y))
    for rows, logits in outputs:
        members = logits if logits.ndim == 3 else logits[:, None]
        probabilities = softmax(members / temperature, axis=-1).mean(1)
        total[rows] += probabilities[np.arange(len(rows)), y[rows]]
        count[rows] += 1
    seen = count > 0
    mean = np.maximum(total[seen] / count[seen], np.finfo(float).tiny)
    return float(np.average(-np.log(mean), weights=weight[seen]))
