"""Draw the figures of this benchmark from its JSON files.

python benchmarks/subspace/draw.py
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure


def draw(path):
    """Draw one file, if there is something to see."""
    report = json.loads(Path(path).read_text())
    question = Path(path).stem
    painter = {"quality": _quality, "parity": _parity, "scale": _scale}.get(question)
    if painter is None:
        return
    with mpl.rc_context({"font.size": 8, "axes.spines.top": False}):
        figure = painter(report)
    figure.savefig(Path(path).with_suffix(".png"), dpi=130)


def _quality(report):
    table = sorted(report["best"], key=lambda row: -row["accuracy"])
    position = np.arange(len(table))
    figure = Figure(figsize=(6.5, 0.24 * len(table) + 1.2), layout="constrained")
    axes = figure.subplots()
    axes.barh(
        position,
        [row["accuracy"] for row in table],
        color="tab:red",
        alpha=0.75,
        height=0.7,
        label="SubspaceClusterer(), median of the seeds",
    )
    worst = [row["worst"] for row in table]
    axes.plot(worst, position, "k|", ms=7, label="its worst seed")
    best = [row["best_peer_accuracy"] for row in table]
    axes.plot(best, position, "o", color="tab:blue", ms=4, label="best tuned peer")
    plain = [row["simple_peer_accuracy"] for row in table]
    axes.plot(
        plain,
        position,
        "x",
        color="black",
        ms=5,
        label="better of k-means and nearest-neighbour spectral",
    )
    axes.set_yticks(position, [row["data"] for row in table])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="clustering accuracy", ylim=(len(table) - 0.4, -0.6))
    figure.legend(loc="outside upper left", ncols=2, frameon=False)
    return figure


def _parity(report):
    rows = report["summary"]
    figure = Figure(figsize=(5, 2.6), layout="constrained")
    axes = figure.subplots()
    names = [f"{r['method']}\n{r['n']}\n{r['dtype']}" for r in rows]
    axes.bar(names, [r["ratio"] for r in rows], color="tab:red", alpha=0.75)
    for k, row in enumerate(rows):
        axes.annotate(
            f"{100 * row['same_support']:.1f} %",
            (k, row["ratio"]),
            ha="center",
            va="bottom",
        )
    axes.set(ylabel="times faster than the peer")
    axes.set_title("with the share of rows that have the same support", fontsize=8)
    return figure


def _scale(report):
    rows = [row for row in report["summary"] if "seconds" in row]
    figure = Figure(figsize=(6, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    for k, row in enumerate(rows):
        label = f"{row['job']}" + (f", {row['anchors']}" if "anchors" in row else "")
        style = {"color": f"C{k % 10}", "label": label}
        left.plot(row["n"], row["cpu_seconds"], "o", **style)
        right.plot(row["n"], row["peak_mib_above_data"], "o", color=f"C{k % 10}")
    left.set(xscale="log", yscale="log", xlabel="samples", ylabel="CPU seconds")
    right.set(xscale="log", yscale="log", xlabel="samples", ylabel="MiB above the data")
    figure.legend(loc="outside lower left", fontsize=6, frameon=False, ncols=2)
    return figure


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent / "results"
    for path in sorted(folder.glob("*.json")):
        draw(path)
