"""SparseDictionaryLearner and its solvers against the programs one would use instead.

    python benchmarks/dictionary/run.py --quick
    python benchmarks/dictionary/run.py --only coding,greedy

Each question is a file of this folder and writes `results/<question>.json`; `draw.py`
draws from those. Everything runs on one thread and is timed in CPU seconds; repeats are
interleaved, times are medians, everything else means over seeds. Peers that are not
installed are left out: README.md says how to get them.
"""

import os

# Before anything loads a BLAS.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import importlib
import time
import warnings
from pathlib import Path

import torch
from common import RESULTS, show, write
from draw import draw
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

QUESTIONS = (
    "coding",
    "greedy",
    "learning",
    "complete",
    "planted",
    "denoising",
    "digits",
    "learned",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one seed")
    parser.add_argument("--only", help=f"comma-separated, of {', '.join(QUESTIONS)}")
    parser.add_argument("--seeds", type=int, help="how many, default 3 (quick: 1)")
    parser.add_argument("--output", type=Path, help="folder of the results")
    parser.add_argument("--data-dir", help="not used: all data are made or shipped")
    settings = parser.parse_args()
    chosen = settings.only.split(",") if settings.only else QUESTIONS
    unknown = sorted(set(chosen) - set(QUESTIONS))
    if unknown:
        parser.error(f"--only knows {', '.join(QUESTIONS)}, not {', '.join(unknown)}")
    folder = settings.output or (RESULTS / "quick" if settings.quick else RESULTS)
    seeds = list(range(settings.seeds or (1 if settings.quick else 3)))
    warnings.simplefilter("ignore", ConvergenceWarning)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for question in chosen:
            print(f"== {question}", flush=True)
            start = time.perf_counter()
            report = importlib.import_module(question).run(settings.quick, seeds)
            for table in (key for key in report if key.startswith("summary")):
                show(report[table])
            took = time.perf_counter() - start
            path = write(question, report, folder, seeds=seeds, wall_seconds=took)
            draw(path)
            print(f"{path}: {took:.0f} s", flush=True)


if __name__ == "__main__":
    main()
