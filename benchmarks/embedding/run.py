"""Supervised embeddings against what one would use instead.

    python benchmarks/embedding/run.py --quick
    python benchmarks/embedding/run.py --only quality --data-dir DIR

Each question is a file of this folder and writes `results/<question>.json`; `draw.py`
draws from those. Everything runs on one thread and is timed in CPU seconds.
"""

import os

# Before anything loads a BLAS.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import json
import time
import warnings
from pathlib import Path

import quality
import speed
import torch
from common import RESULTS, data_dir_default, write
from draw import draw
from threadpoolctl import threadpool_limits

QUESTIONS = ("quality", "speed")


def main():
    """Answer the questions asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shipped data, two splits")
    parser.add_argument("--only", help=f"comma-separated, of {', '.join(QUESTIONS)}")
    parser.add_argument("--splits", type=int, help="how many, default 5 (quick: 2)")
    parser.add_argument("--datasets", help="comma-separated names, default all")
    parser.add_argument("--methods", help="comma-separated names, default all")
    parser.add_argument("--untuned", action="store_true", help="defaults only")
    parser.add_argument("--output", type=Path, help="folder of the results")
    parser.add_argument("--merge", nargs="*", type=Path, help="join rows of runs")
    parser.add_argument("--data-dir", default=data_dir_default())
    settings = parser.parse_args()
    chosen = settings.only.split(",") if settings.only else QUESTIONS
    unknown = sorted(set(chosen) - set(QUESTIONS))
    if unknown:
        parser.error(f"--only knows {', '.join(QUESTIONS)}, not {', '.join(unknown)}")
    folder = settings.output or (RESULTS / "quick" if settings.quick else RESULTS)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for question in chosen:
            start = time.perf_counter()
            report = _answer(question, settings)
            report["wall_seconds"] = time.perf_counter() - start
            path = write(question, report, folder)
            draw(path)
            print(f"{path}: {report['wall_seconds']:.0f} s", flush=True)


def _answer(question, settings):
    if question == "speed":
        return speed.run(settings.quick, settings.data_dir)
    if settings.merge:
        rows = {}
        for path in settings.merge:  # later files win
            for row in json.loads(path.read_text())["rows"]:
                key = (row["data"], row["seed"], row["method"], row["tuned"])
                rows[key] = row
        return {
            "rows": list(rows.values()),
            "summary": quality.summarise(list(rows.values())),
        }
    splits = settings.splits or (2 if settings.quick else 5)
    return quality.run(
        settings.quick,
        list(range(splits)),
        settings.data_dir,
        only=settings.datasets and settings.datasets.split(","),
        methods_only=settings.methods and settings.methods.split(";"),
        tuned=not settings.untuned,
    )


if __name__ == "__main__":
    main()
