"""Time, memory and quality of a fit against the number of rows, a process per point.

``run.py`` measures what is missing in ``results/scaling.json`` and draws; ``--fresh``
measures all anew, ``--quick`` a few small points, ``--draw`` only draws.
"""

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
FILE = HERE / "results" / "scaling.json"
# What the page of the documentation shows.
DOC = HERE.parents[1] / "doc" / "figures"
# Estimators whose chunks joblib shares out.
SHARED = {
    "NearestSubspaceClassifier",
    "CodingLengthClassifier",
    "SparseDictionaryLearner",
    "SubspaceClusterer",
}
# Rows at most of each curve, so that all take some minutes on one core.
CURVES = {
    ("NearestSubspaceClassifier", "fit"): 1_000_000,
    ("NearestSubspaceClassifier", "fit_blocks"): 1_000_000,
    ("CodingLengthClassifier", "fit"): 30_000,
    ("CodingLengthClassifier", "fit_blocks"): 1_000_000,
    ("SparseDictionaryLearner", "fit"): 100_000,
    ("SparseDictionaryLearner", "fit_blocks"): 300_000,
    ("ReduNetClassifier", "fit"): 100_000,
    ("ReduNetClassifier", "fit_blocks"): 300_000,
    ("SubspaceClusterer", "fit"): 100_000,
    ("SubspaceClusterer", "fit_blocks"): 1_000_000,
    ("KSubspaces", "fit"): 1_000_000,
    ("EnsembleKSubspaces", "fit"): 10_000,
    ("CodingLengthClusterer", "fit"): 3_000,
    ("RateReductionClusterer", "fit"): 30_000,
    ("RateReductionEmbedding", "fit"): 10_000,
    ("RateReductionEmbedding", "fit_blocks"): 100_000,
    ("SparseAutoencoder", "fit"): 30_000,
    ("SparseAutoencoder", "fit_blocks"): 300_000,
    ("CRATEClassifier", "fit_blocks"): 100_000,
}
# Okabe and Ito's, which all eyes tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#000000")
# Each curve ends at its own most.
SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 3_000)
# Rows of 32 features in float32 beyond the memory that a point may add.
LARGE = 5_000_000


def main():
    arguments = parse()
    path = FILE.with_name("quick.json") if arguments.quick else FILE
    if not arguments.draw:
        measure(path, arguments.quick, arguments.fresh)
    if path.exists():
        draw(json.loads(path.read_text()), path)


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("--quick", "--fresh", "--draw"):
        parser.add_argument(option, action="store_true")
    parser.add_argument("--data-dir", help="not used: rows are made")
    return parser.parse_args()


def measure(path, quick, fresh):
    results = {"environment": environment(), "points": [], "parallel": []}
    if path.exists() and not fresh and not quick:
        results = json.loads(path.read_text())
    have = {(p["estimator"], p["method"], p["n"]) for p in results["points"]}
    sizes = QUICK_SIZES if quick else SIZES
    tasks = [
        (name, method, n)
        for (name, method), most in CURVES.items()
        for n in sorted({*(n for n in sizes if n <= most), min(most, sizes[-1])})
    ]
    tasks.sort(key=lambda task: task[2])
    if not quick:
        tasks.append(("NearestSubspaceClassifier", "file", LARGE))
        tasks.append(("SubspaceClusterer", "file", LARGE))
    for name, method, n in tasks:
        if (name, method, n) in have:
            continue
        point = {"estimator": name, "method": method, "n": n, **run(name, method, n)}
        results["points"].append(point)
        save(path, results)
        print(json.dumps(point), flush=True)
    if quick or results["parallel"]:
        return
    results["parallel"] = run("parallel", "all", 400_000)["parallel"]
    save(path, results)


def run(*task):
    """Measure one point in a process of its own, with one thread."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    threads = dict.fromkeys(names, "1")
    command = [sys.executable, "-W", "ignore", str(HERE / "point.py"), *map(str, task)]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command,
            env=os.environ | threads,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def save(path, results):
    """Replace the file at once, so that an interrupted run leaves a whole one."""
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(results, indent=1) + "\n")
    part.replace(path)


def environment():
    import sklearn
    import torch

    import sklearn_whitebox

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(x.split(":")[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor()
    return {
        "sklearn_whitebox": sklearn_whitebox.__version__,
        "scikit-learn": sklearn.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": 1,
    }


def draw(results, path):
    """Write the table of the documentation and the figure."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    curves = {}
    for point in results["points"]:
        if "error" not in point:
            key = point["estimator"], point["method"]
            curves.setdefault(key, []).append(point)
    figure, axes = plt.subplots(
        2, 2, figsize=(11, 8), sharex=True, sharey="row", layout="constrained"
    )
    names = sorted({name for name, _ in curves})
    looks = dict(zip(names, itertools.product("os^", COLOURS), strict=False))
    for (name, method), points in sorted(curves.items()):
        points.sort(key=lambda point: point["n"])
        marker, colour = looks[name]
        for row, quantity in enumerate(("seconds", "mebibytes")):
            axes[row, int(method != "fit")].loglog(
                [point["n"] for point in points],
                [
                    max(point[quantity], 0.1) if row else point[quantity]
                    for point in points
                ],
                ":" if method == "file" else "-",
                color=colour,
                marker=marker,
                markersize=8 if method == "file" else 5,
                label=name,
            )
    for axis, title in zip(axes[0], ("fit", "fit_blocks; alone: a file"), strict=True):
        axis.set_title(title)
    for axis in axes[1]:
        axis.set_xlabel("rows")
    axes[0, 0].set_ylabel("seconds, one thread")
    axes[1, 0].set_ylabel("MiB beyond the data, at the peak")
    lines = {}
    for axis in axes.flat:
        lines |= dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
    lines = dict(sorted(lines.items()))
    figure.legend(lines.values(), lines, loc="outside lower center", ncols=3)
    figure.savefig(path.with_suffix(".png"), dpi=110)
    text = table(curves, results["parallel"]) + "\n" + extrapolation(curves)
    if path == FILE:
        figure.savefig(DOC / "scaling.png", dpi=110)
        (DOC / "scaling.txt").write_text(text)
    plt.close(figure)
    print(text)


def table(curves, parallel):
    """Give the largest point of each curve, and its slope, as a Markdown table."""
    lines = [
        "| estimator, method | rows | seconds | MiB beyond the data | quality | "
        "time grows as |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for (name, method), points in sorted(curves.items()):
        last = points[-1]
        quality = last.get("quality")
        lines.append(
            f"| `{name}.{'fit_blocks' if method == 'file' else method}`"
            f"{' of a file' if method == 'file' else ''} | {last['n']:,} | "
            f"{last['seconds']:.3g} | {last['mebibytes']:.0f} | "
            f"{'' if quality is None else format(quality, '.3f')} | {slope(points)} |"
        )
    return "\n".join(lines) + "\n" + sharing(parallel)


def sharing(parallel):
    """Give the times of one and of two processes as a Markdown table."""
    if not parallel:
        return ""
    lines = [
        "",
        "| `fit_blocks` of blocks that workers load | one process | two | backend |",
        "|---|--:|--:|---|",
    ]
    for row in parallel:
        lines.append(
            f"| {row['what']} | {row['alone']:.1f} s | {row['together']:.1f} s | "
            f"{row['backend']} |"
        )
    return "\n".join(lines) + "\n"


def extrapolation(curves):
    """Tell what 10⁸ rows would take if the largest point went on in proportion."""
    lines = [
        "| `fit_blocks` of | measured at | µs a row | 10⁸ rows on one core | "
        "chunks are shared out |",
        "|---|--:|--:|--:|---|",
    ]
    largest = {}
    for (name, method), points in curves.items():
        if method != "fit" and points[-1]["n"] > largest.get(name, {"n": 0})["n"]:
            largest[name] = points[-1]
    for name, last in sorted(largest.items()):
        each = last["seconds"] / last["n"]
        total = each * 1e8
        shared = "by joblib" if name in SHARED else "no"
        lines.append(
            f"| `{name}` | {last['n']:,} | {1e6 * each:.1f} | {duration(total)} | "
            f"{shared} |"
        )
    return "\n".join(lines) + "\n"


def duration(seconds):
    """Write a time in the unit in which it is a short number."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def slope(points):
    """Give the exponent of the time between the last two points."""
    if len(points) < 2:
        return ""
    import math

    first, last = points[-2:]
    rise = math.log(last["seconds"] / first["seconds"])
    return f"n^{rise / math.log(last['n'] / first['n']):.1f}"


if __name__ == "__main__":
    main()
