"""Subspace clustering against what one would use instead.

    python benchmarks/subspace/run.py --quick
    python benchmarks/subspace/run.py --only quality,scale --data-dir DIR

Each question is a file of this folder and writes `results/<question>.json`; `draw.py`
draws from those. Everything runs on one thread, but for `scale`, and is timed in CPU
seconds.
"""

import os

# Before anything loads a BLAS; `scale` sets its own in processes of its own.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import importlib
import time
import warnings
from pathlib import Path

import torch
from common import RESULTS, write
from draw import draw
from threadpoolctl import threadpool_limits

QUESTIONS = ("quality", "parity", "scale", "robustness", "counting", "classifying")


def answer(question, quick, seeds, data_dir):
    module = importlib.import_module(question)
    if question == "robustness":
        return module.run(quick)
    if question == "counting":
        return module.run(quick, len(seeds))
    if question == "classifying":
        return module.run(quick, data_dir)
    return module.run(quick, seeds, data_dir)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, two seeds")
    parser.add_argument("--only", help=f"comma-separated, of {', '.join(QUESTIONS)}")
    parser.add_argument("--seeds", type=int, help="how many, default 5 (quick: 2)")
    parser.add_argument("--output", type=Path, help="folder of the results")
    parser.add_argument("--data-dir", default=os.environ.get("SKLEARN_WHITEBOX_DATA"))
    settings = parser.parse_args()
    chosen = settings.only.split(",") if settings.only else QUESTIONS
    unknown = sorted(set(chosen) - set(QUESTIONS))
    if unknown:
        parser.error(f"--only knows {', '.join(QUESTIONS)}, not {', '.join(unknown)}")
    folder = settings.output or (RESULTS / "quick" if settings.quick else RESULTS)
    seeds = list(range(settings.seeds or (2 if settings.quick else 5)))
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for question in chosen:
            print(f"== {question}", flush=True)
            start = time.perf_counter()
            report = answer(question, settings.quick, seeds, settings.data_dir)
            report["wall_seconds"] = time.perf_counter() - start
            path = write(question, report, folder)
            draw(path)
            print(f"{path}: {report['wall_seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
