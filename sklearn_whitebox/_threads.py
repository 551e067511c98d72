"""The one gate for threads: small work on one thread, everything put back after."""

import contextlib
import functools
import os
import sys
import threading

import torch
from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend
from threadpoolctl import ThreadpoolController, threadpool_limits

_PID_AT_IMPORT = os.getpid()

# Multiply-adds of one step below which a second thread costs more than it brings:
# idle OpenMP threads spin at every barrier, which slows tiny fits by up to 200 times.
SMALL_WORK = 2e8


@contextlib.contextmanager
def fork_guard():
    """Keep every OpenMP pool out of use in a process made by ``os.fork``.

    The pool's threads do not survive the fork, and the first parallel region in the
    child would wait for them for ever. Elsewhere this does nothing.
    """
    if os.getpid() == _PID_AT_IMPORT:
        yield
        return
    before = torch.get_num_threads()
    # MKL inside torch has a count of its own, which only torch can reach.
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def torch_threads(work=0.0):
    """Run torch on one thread when the work is small, and restore the count after.

    A process made by ``os.fork`` also gets one thread, see :func:`fork_guard`. The
    count is never raised above the caller's.

    Parameters
    ----------
    work : float, default=0.0
        Multiply-adds of one step of the loop inside.
    """
    before = torch.get_num_threads()
    inside = 1 if work < SMALL_WORK else before
    if inside != before:
        torch.set_num_threads(inside)
    try:
        with fork_guard():
            yield
    finally:
        if inside != before:
            torch.set_num_threads(before)


@contextlib.contextmanager
def serial_pools(work=0.0):
    """Run torch and compiled OpenMP loops on one thread when the work is small.

    For calls into scikit-learn whose loops use OpenMP, such as k-means. The counts
    belong to the calling thread, so that concurrent fits do not disturb each other.

    Parameters
    ----------
    work : float, default=0.0
        Multiply-adds of one step of the loop inside.
    """
    with torch_threads(work):
        if work >= SMALL_WORK:
            yield
            return
        with threadpool_limits(limits=1, user_api="openmp"):
            yield


@functools.cache
def _pools():
    """Find the thread pools once: looking through all libraries takes milliseconds.

    The BLAS of NumPy, SciPy and torch are loaded by the time that a solver runs.
    """
    return ThreadpoolController()


_blas_lock = threading.Lock()
_blas_users = 0
_blas_limit = None


@contextlib.contextmanager
def serial_blas():
    """Run BLAS on one thread inside blocks that joblib already runs in parallel.

    Used for any ``n_jobs``, one included, because the number of BLAS threads changes
    the last bits of a product and results must not depend on ``n_jobs``. The setting is
    one for the whole process, so concurrent fits share it: the first sets it and the
    last puts it back.
    """
    global _blas_users, _blas_limit
    with _blas_lock:
        if _blas_users == 0:
            _blas_limit = _pools().limit(limits=1, user_api="blas")
        _blas_users += 1
    try:
        yield
    finally:
        with _blas_lock:
            _blas_users -= 1
            if _blas_users == 0:
                _blas_limit.restore_original_limits()
                _blas_limit = None


def run_blocks(function, blocks, *, n_jobs=None, in_place=False, batch_size="auto"):
    """Call a function on each block, by the joblib backend that is active.

    That is threads unless the caller named another: under ``parallel_config("dask")``
    blocks travel to the workers of a cluster. BLAS runs on one thread wherever a block
    is computed, so that results do not depend on the backend. Inside a task of dask,
    which owns one thread, blocks come one after the other: arrays handed on to a
    further worker would be lost with it.

    Parameters
    ----------
    function : callable
        At the level of a module, unless `in_place`.
    blocks : iterable of tuple
        Arguments of each call. Arrays of more than a kilobyte are sent once to a
        cluster, and are lost with the worker that holds them; inside a tuple they
        travel with every task, and survive it.
    n_jobs : int, default=None
        As in joblib.
    in_place : bool, default=False
        Whether blocks are written into arrays that all calls share, which keeps them in
        the threads of this process.
    batch_size : int or "auto", default="auto"
        Calls of one task, as in joblib.

    Returns
    -------
    results : list
        In the order of the blocks.
    """
    parallel = _make_parallel(n_jobs, in_place, batch_size=batch_size)
    with serial_blas():
        return parallel(delayed(_call_serially)(function, *block) for block in blocks)


def iterate_blocks(function, blocks, *, n_jobs=None):
    """Call a function on each block as :func:`run_blocks` does, result by result.

    Parameters
    ----------
    function : callable
        At the level of a module.
    blocks : iterable of tuple
        Arguments of each call; twice as many as there are workers are read ahead.
    n_jobs : int, default=None
        As in joblib.

    Returns
    -------
    results : generator
        In the order of the blocks.
    """
    parallel = _make_parallel(n_jobs, False, batch_size=1, return_as="generator")
    return parallel(delayed(_call_serially)(function, *block) for block in blocks)


def _make_parallel(n_jobs, in_place, **options):
    if in_place:
        return Parallel(n_jobs=n_jobs, require="sharedmem", **options)
    if _is_dask_task():
        # Threads would be as many as the cluster has workers, whatever n_jobs says.
        return Parallel(backend="sequential", **options)
    return Parallel(n_jobs=n_jobs, prefer="threads", **options)


def _call_serially(function, *args):
    with serial_blas():
        return function(*args)


def _is_dask_task():
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return False
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True


def count_threads(n_jobs=None):
    """Count the threads of this process that share the work of :func:`run_blocks`.

    Parameters
    ----------
    n_jobs : int, default=None
        As in joblib.

    Returns
    -------
    n_threads : int
        One where other processes do the work.
    """
    backend, _ = get_active_backend(prefer="threads")
    if getattr(backend, "supports_sharedmem", False):
        return effective_n_jobs(n_jobs)
    return 1
