"""Row-by-row peers of the self-expressive solvers.

The Python toolbox of the authors of EnSC and SSC-OMP is not on a package registry, so
that it cannot be a requirement of the benchmark. What it does is written here anew
from the published algorithms: one row after the other, a matrix-vector product for each
step, least squares by LAPACK for matching pursuit, and the oracle active-set method
with supports of about a hundred rows for the elastic net, whose small problems are
solved by the compiled homotopy of ``spams`` where it is installed, as the toolbox does.
"""

import warnings

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import enet_path

try:
    import spams
except ImportError:
    spams = None


def ssc_omp_rows(X, n_nonzero=10, tol=1e-6):
    """Code each row over the others by orthogonal matching pursuit.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    n_nonzero : int, default=10
        Most coefficients of a row.
    tol : float, default=1e-6
        A row stops when its squared residual is less than this times its norm.

    Returns
    -------
    codes : csr_array of shape (n_samples, n_samples)
        Codes.
    """
    n_samples = len(X)
    columns, values, counts = [], [], np.zeros(n_samples + 1, np.int64)
    for i in range(n_samples):
        row = X[i]
        limit = tol * np.linalg.norm(row)
        residual = row
        support = np.zeros(0, np.int64)
        for _ in range(n_nonzero):
            coherence = np.abs(X @ residual)
            coherence[i] = 0
            support = np.append(support, np.argmax(coherence))
            atoms = X[support]
            code = np.linalg.lstsq(atoms.T, row, rcond=None)[0]
            residual = row - code @ atoms
            if residual @ residual < limit:
                break
        columns.append(support)
        values.append(code)
        counts[i + 1] = len(support)
    return _join(columns, values, counts)


def ensc_rows(X, gamma, tau, support_size=100, max_iter=40, max_nonzero=50):
    """Code each row over the others by the elastic net, with oracle active sets.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    gamma : float
        Weight of the data, in units of the smallest with a code that is not zero.
    tau : float
        Share of the l1 norm in the penalty.
    support_size : int, default=100
        Rows of a small problem.
    max_iter : int, default=40
        Most small problems of a row.
    max_nonzero : int, default=50
        Coefficients of a row that are kept, those of largest modulus; None for all.

    Returns
    -------
    codes : csr_array of shape (n_samples, n_samples)
        Codes.
    """
    n_samples = len(X)
    columns, values, counts = [], [], np.zeros(n_samples + 1, np.int64)
    others = X.copy()
    for i in range(n_samples):
        others[i] = 0
        coherence = np.abs(others @ X[i])
        penalty = coherence.max() / (tau * gamma)
        support, code = _oracle_active_set(
            others, X[i], coherence, penalty, tau, support_size, max_iter
        )
        others[i] = X[i]
        used = np.flatnonzero(code)
        if max_nonzero is not None and len(used) > max_nonzero:
            used = used[np.argsort(-np.abs(code[used]))[:max_nonzero]]
        columns.append(support[used])
        values.append(code[used])
        counts[i + 1] = len(used)
    return _join(columns, values, counts)


def _oracle_active_set(X, row, coherence, penalty, tau, support_size, max_iter):
    n_samples = len(X)
    if n_samples <= support_size:
        support = np.arange(n_samples)
    else:
        support = np.argpartition(-coherence, support_size)[:support_size]
    best = np.inf
    for _ in range(max_iter):
        atoms = X[support]
        code = _elastic_net(atoms, row, penalty * tau, penalty * (1 - tau))
        delta = (row - code @ atoms) / penalty
        objective = (
            tau * np.abs(code).sum()
            + (1 - tau) / 2 * (code @ code)
            + penalty / 2 * (delta @ delta)
        )
        if best - objective < 1e-10 * best:
            break
        best = objective
        pull = np.abs(X @ delta)
        pull[support] = 0
        entering = np.flatnonzero(pull > tau + 1e-10)
        if len(entering) == 0:
            break
        active = support[np.abs(code) > 1e-10]
        if len(active) > 0.8 * support_size:
            grown = round(1.1 * max(len(active), support_size))
            support_size = min(grown, n_samples)
        room = support_size - len(active)
        if len(entering) > room:
            entering = entering[np.argpartition(-pull[entering], room)[:room]]
        support = np.concatenate([active, entering])
    return support, code


def _elastic_net(atoms, row, l1, l2):
    """Minimise half the squared error and the penalties on a support."""
    if spams is not None:
        code = spams.lasso(
            np.asfortranarray(row[:, None]),
            D=np.asfortranarray(atoms.T),
            lambda1=float(l1),
            lambda2=float(l2),
            numThreads=1,
        )
        return np.asarray(code.todense()).ravel()
    n_features = atoms.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        _, path, _ = enet_path(
            atoms.T,
            row,
            alphas=[(l1 + l2) / n_features],
            l1_ratio=l1 / (l1 + l2),
            tol=1e-8,
            max_iter=10_000,
        )
    return path[:, 0]


def _join(columns, values, counts):
    n_samples = len(columns)
    codes = sparse.csr_array(
        (np.concatenate(values), np.concatenate(columns), np.cumsum(counts)),
        shape=(n_samples, n_samples),
    )
    codes.sort_indices()
    return codes
