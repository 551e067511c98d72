"""Processes of ``torch.distributed`` that train one network together."""

import contextlib
import datetime
import inspect
import json
import os
import warnings

import numpy as np
import torch
from torch import distributed

from sklearn_whitebox.distributed._meeting import meet, open_store
from sklearn_whitebox.modules._shared_draws import SharedGenerator
from sklearn_whitebox.solvers._team import Team

_SHARED = (ValueError, TypeError, OSError, RuntimeError)
_RAISED = {kind.__name__: kind for kind in _SHARED}


class LoneTeam(Team):
    """A team of one: this process."""

    def device(self, requested):
        """Give the device to train on.

        Parameters
        ----------
        requested : str, device or None
            The parameter of the estimator.

        Returns
        -------
        device : str, device or None
            The same.
        """
        return requested

    def exchange(self, fact):
        """Give what every process has to say.

        Parameters
        ----------
        fact : object
            What JSON can hold.

        Returns
        -------
        facts : list
            One of every process.
        """
        return [fact]

    def from_first(self, function):
        """Call a function on the first process only, and give its bytes to all.

        Parameters
        ----------
        function : callable
            Takes nothing and gives bytes or None. What it raises is raised by all.

        Returns
        -------
        data : bytes
            The same for all.
        """
        return function() or b""

    def equalise(self, arrays):
        """Give the arrays of the first process to all.

        Parameters
        ----------
        arrays : dict of str to ndarray
            Of the same names, shapes and types everywhere.

        Returns
        -------
        arrays : dict of str to ndarray
            The same for all.
        """
        return arrays


class ProcessTeam(LoneTeam):
    """Processes that share the rows of every batch.

    Parameters
    ----------
    group : ProcessGroup or None
        Group of the processes; None is the default one.
    device : torch.device
        Where this process trains.
    """

    def __init__(self, group, device):
        self._group, self._device = group, device
        self.rank = distributed.get_rank(group)
        self.size = distributed.get_world_size(group)
        backend = distributed.get_backend(group)
        # What is exchanged besides gradients lies where the backend can reach it.
        self._home = device if backend == "nccl" else torch.device("cpu")

    def device(self, requested):
        """Give the device of this process; see the parent."""
        return self._device

    def mean(self, value):
        """Give the mean of all processes; see the parent."""
        return self._reduce(value, distributed.ReduceOp.SUM) / self.size

    def largest(self, value):
        """Give the largest of all processes; see the parent."""
        return self._reduce(value, distributed.ReduceOp.MAX)

    def share(self, n_rows):
        """Give contiguous rows, as equal in number as can be; see the parent."""
        each, more = divmod(n_rows, self.size)
        if self.rank >= n_rows:
            # Every process takes every step, if need be with a row that does not count.
            return slice(n_rows - 1, n_rows), 0.0
        start = self.rank * each + min(self.rank, more)
        count = each + (self.rank < more)
        return slice(start, start + count), count * self.size / n_rows

    def wrap(self, module):
        """Average gradients by DistributedDataParallel; see the parent."""
        from torch.nn.parallel import DistributedDataParallel

        ids = [self._device.index] if self._device.type == "cuda" else None
        # Edges of bins never change, and the option that says so has two names.
        known = inspect.signature(DistributedDataParallel).parameters
        names = ("forward_sync_buffers", "broadcast_buffers")
        still = next(name for name in names if name in known)
        return DistributedDataParallel(
            module, device_ids=ids, process_group=self._group, **{still: False}
        )

    def gather(self, part, n_rows):
        """Put the shares of all processes together; see the parent."""
        each, more = divmod(n_rows, self.size)
        counts = [each + (rank < more) for rank in range(self.size)]
        padded = part.new_zeros((max(counts), *part.shape[1:]), device=self._home)
        own = part[: counts[self.rank]]
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(parts, padded, group=self._group)
        found = [p[:count] for p, count in zip(parts, counts, strict=True)]
        return torch.cat(found).to(part.device)

    def generator(self, device="cpu"):
        """Make a generator that draws for whole batches; see the parent."""
        return SharedGenerator(device=device)

    def exchange(self, fact):
        """Give what every process has to say; see the parent."""
        data = torch.frombuffer(bytearray(json.dumps(fact).encode()), dtype=torch.uint8)
        longest = int(self.largest(len(data)))
        padded = torch.full((longest,), ord(" "), dtype=torch.uint8)
        padded[: len(data)] = data
        padded = padded.to(self._home)
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        distributed.all_gather(parts, padded, group=self._group)
        return [json.loads(part.cpu().numpy().tobytes()) for part in parts]

    def from_first(self, function):
        """Call a function on the first process only; see the parent."""
        data, failure, error = b"", None, None
        if self.rank == 0:
            try:
                data = function() or b""
            except Exception as caught:
                error = caught
                kinds = [name for name, k in _RAISED.items() if isinstance(error, k)]
                failure = [kinds[0] if kinds else "RuntimeError", str(error)]
        failure, length = self.exchange([failure, len(data)])[0]
        if error is not None:
            raise error
        if failure is not None:
            kind, message = failure
            raise _RAISED[kind](message)
        if length == 0:
            return b""
        values = torch.empty(length, dtype=torch.uint8)
        if self.rank == 0:
            values = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        return self._from_first(values).numpy().tobytes()

    def equalise(self, arrays):
        """Give the arrays of the first process to all; see the parent."""
        return {
            name: self._from_first(torch.from_numpy(np.array(array))).numpy()
            for name, array in arrays.items()
        }

    def _reduce(self, value, operation):
        number = torch.tensor(float(value), dtype=torch.float64, device=self._home)
        distributed.all_reduce(number, operation, group=self._group)
        return float(number)

    def _from_first(self, values):
        values = values.to(self._home)
        first = 0
        if self._group is not None:
            first = distributed.get_global_rank(self._group, 0)
        distributed.broadcast(values, first, group=self._group)
        return values.cpu()


@contextlib.contextmanager
def join_team(requested, *, backend, timeout):
    """Join the processes that were started together.

    Parameters
    ----------
    requested : str, device or None
        The device that the estimator asks for.
    backend : {"auto", "gloo", "nccl"}
        How to communicate.
    timeout : float
        Seconds to wait for another process.

    Yields
    ------
    team : LoneTeam
        All processes; this one alone if no others were started.
    """
    was_open = distributed.is_available() and distributed.is_initialized()
    if was_open:
        size = distributed.get_world_size()
    else:
        size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield LoneTeam()
        return
    backend, device = choose_device(requested, backend)
    wait = datetime.timedelta(seconds=timeout)
    group = None
    if was_open:
        # A group of our own has our limit of time, and a backend that suits the device.
        group = distributed.new_group(backend=backend, timeout=wait)
    else:
        home = device if backend == "nccl" else None
        base, rank, size = open_store(wait)
        # Addresses of an earlier group must not be taken for those of this one.
        word = meet(base, rank, size, timeout)
        store = distributed.PrefixStore(f"sklearn_whitebox/{word}", base)
        distributed.init_process_group(
            backend,
            store=store,
            rank=rank,
            world_size=size,
            timeout=wait,
            device_id=home,
        )
    try:
        with warnings.catch_warnings():
            # Of gradients with an axis of one entry; it costs nothing here.
            warnings.filterwarnings("ignore", message="Grad strides do not match")
            yield ProcessTeam(group, device)
    finally:
        distributed.destroy_process_group(group)


def choose_device(requested, backend):
    """Choose how to communicate, and the device of this process.

    Parameters
    ----------
    requested : str, device or None
        The device that the estimator asks for.
    backend : {"auto", "gloo", "nccl"}
        The backend asked for.

    Returns
    -------
    backend : {"gloo", "nccl"}
        The backend.
    device : torch.device
        The GPU that has the number of this process on its machine, or the CPU.

    Raises
    ------
    ValueError
        If they do not fit one another or the machine.
    """
    name = "auto" if requested is None else str(requested)
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(
            f"device={name!r} would be one device for all processes; use 'cuda', which "
            "gives each process a GPU of its own, 'cpu' or 'auto'."
        )
    n_devices = torch.cuda.device_count() if name != "cpu" else 0
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if backend == "auto":
        enough = n_devices >= local_size and distributed.is_nccl_available()
        backend = "nccl" if enough and n_devices else "gloo"
    if backend == "gloo" and name != "cuda":
        return backend, torch.device("cpu")
    if n_devices < local_size:
        raise ValueError(
            f"device={name!r} with backend={backend!r} needs a GPU for each of the "
            f"{local_size} processes of a machine, but there are {n_devices}; start "
            "fewer processes, or use device='cpu' and backend='gloo'."
        )
    rank = distributed.get_rank() if distributed.is_initialized() else 0
    number = int(os.environ.get("LOCAL_RANK", os.environ.get("RANK", rank)))
    return backend, torch.device("cuda", number % n_devices)
