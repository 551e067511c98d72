"""How processes share rows, find one another, and choose devices."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import distributed

from sklearn_whitebox.distributed._meeting import meet
from sklearn_whitebox.distributed._team import ProcessTeam, choose_device

pytestmark = pytest.mark.skipif(
    not distributed.is_available(), reason="needs torch.distributed"
)


def teams(size):
    for rank in range(size):
        team = object.__new__(ProcessTeam)
        team.rank, team.size = rank, size
        yield team


@pytest.mark.parametrize("size", [2, 3, 8])
@pytest.mark.parametrize("n_rows", [1, 2, 7, 8, 64, 129])
def test_shares_are_a_partition_and_their_means_that_of_all(size, n_rows, rng):
    losses = rng.normal(size=n_rows)
    seen, means = [], []
    for team in teams(size):
        part, scale = team.share(n_rows)
        assert part.stop > part.start
        means.append(scale * losses[part].mean())
        if scale:
            seen += range(n_rows)[part]
    assert seen == list(range(n_rows))
    assert sum(means) / size == pytest.approx(losses.mean(), rel=1e-12, abs=1e-12)


def gather(store, size):
    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(meet, store, k, size, 20.0) for k in range(size)]
        return [future.result() for future in futures]


def test_processes_agree_on_a_new_word_whatever_the_store_held():
    store = distributed.HashStore()
    words = [gather(store, 3) for _ in range(3)]
    assert all(len(set(found)) == 1 for found in words)
    assert len({found[0] for found in words}) == 3
    # Of processes that were killed before all had come.
    store.set("sklearn_whitebox/name/1", "dead")
    store.set("sklearn_whitebox/roll", json.dumps(["old", ["dead", "dead", "dead"]]))
    store.add("sklearn_whitebox/answers/old", 2)
    assert len(set(gather(store, 3))) == 1


def test_a_process_that_does_not_come_is_not_waited_for_for_ever():
    with pytest.raises(RuntimeError, match=r"2 processes came within timeout=0\.1"):
        meet(distributed.HashStore(), 0, 2, 0.1)


@pytest.mark.parametrize(
    ("requested", "backend", "n_gpus", "expected"),
    [
        ("auto", "auto", 0, ("gloo", "cpu")),
        ("auto", "auto", 1, ("gloo", "cpu")),
        ("auto", "auto", 4, ("nccl", "cuda:1")),
        (None, "auto", 2, ("nccl", "cuda:1")),
        ("cuda", "gloo", 2, ("gloo", "cuda:1")),
        ("auto", "gloo", 2, ("gloo", "cpu")),
        ("cpu", "auto", 2, ("gloo", "cpu")),
    ],
)
def test_each_process_takes_the_gpu_of_its_number(
    monkeypatch, requested, backend, n_gpus, expected
):
    _pretend(monkeypatch, n_gpus)
    found = choose_device(requested, backend)
    assert (found[0], str(found[1])) == expected


@pytest.mark.parametrize(
    ("requested", "backend", "n_gpus", "message"),
    [
        ("cuda:0", "auto", 2, "one device for all processes"),
        ("mps", "auto", 0, "one device for all processes"),
        ("cuda", "auto", 1, "needs a GPU for each of the 2 processes"),
        ("auto", "nccl", 0, "needs a GPU for each"),
        ("cpu", "nccl", 2, "use device='cpu' and backend='gloo'"),
    ],
)
def test_devices_that_do_not_serve_are_refused(
    monkeypatch, requested, backend, n_gpus, message
):
    _pretend(monkeypatch, n_gpus)
    with pytest.raises(ValueError, match=message):
        choose_device(requested, backend)


def _pretend(monkeypatch, n_gpus):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    monkeypatch.setattr(distributed, "is_nccl_available", lambda: True)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
