"""How processes find one another, also after some of them were started anew."""

import functools
import json
import time
import uuid

_PAUSE = 0.01


@functools.cache
def open_store(wait):
    """Connect to the store that the launcher names in the environment.

    Parameters
    ----------
    wait : timedelta
        Longest wait.

    Returns
    -------
    store : Store
        Kept for the life of the process.
    rank, size : int
        Number of this process, and how many there are.
    """
    from torch.distributed.rendezvous import rendezvous

    return next(rendezvous("env://", timeout=wait))


def meet(store, rank, size, seconds):
    """Agree on a word that no earlier group of processes used.

    The store outlives processes: what it holds may be of processes that were killed, or
    of an earlier group of these, and their addresses lead nowhere. So every process
    leaves a fresh name, the first calls the roll, and all who hear their own names
    answer; only where all answered to one roll does the group begin.

    Parameters
    ----------
    store : Store
        Shared by all processes.
    rank, size : int
        Number of this process, and how many there are.
    seconds : float
        Longest wait.

    Returns
    -------
    word : str
        The same for all, and new.

    Raises
    ------
    RuntimeError
        If not all came in time.
    """
    own, deadline = uuid.uuid4().hex, time.monotonic() + seconds
    keys = [f"sklearn_whitebox/name/{k}" for k in range(size)]
    store.set(keys[rank], own)
    names, answered, word = [], "", ""
    while time.monotonic() < deadline:
        if rank == 0 and store.check(keys):
            found = [store.get(key).decode() for key in keys]
            if found != names:
                names, word = found, uuid.uuid4().hex
                store.set("sklearn_whitebox/roll", json.dumps([word, names]))
        if store.check(["sklearn_whitebox/roll"]):
            called, heard = json.loads(store.get("sklearn_whitebox/roll"))
            if len(heard) == size and heard[rank] == own and called != answered:
                answered = called
                store.add(f"sklearn_whitebox/answers/{answered}", 1)
        if rank == 0 and word and _count(store, word) == size:
            store.set(f"sklearn_whitebox/begin/{word}", "")
        if answered and store.check([f"sklearn_whitebox/begin/{answered}"]):
            return answered
        time.sleep(_PAUSE)
    raise RuntimeError(
        f"Not all of {size} processes came within timeout={seconds:g} seconds; the "
        "first error of all processes says why."
    )


def _count(store, word):
    return store.add(f"sklearn_whitebox/answers/{word}", 0)
