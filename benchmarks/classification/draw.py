"""Draw ranks with their critical difference, and quality against time.

python benchmarks/classification/draw.py
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from competitors import LABELS, OURS
from matplotlib.figure import Figure

_STYLE = {"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}


def draw(path):
    """Write ranks.png and time.png beside a summary."""
    report = json.loads(Path(path).read_text())
    folder = Path(path).parent
    with mpl.rc_context(_STYLE):
        figure = _ranks(report)
        if figure is not None:
            figure.savefig(folder / "ranks.png", dpi=130)
            _time(report).savefig(folder / "time.png", dpi=130)


def _ranks(report):
    """One critical-difference diagram per group of tables and quality."""
    panels = [
        (group, key, report["ten"][group])
        for group in ("all", "development", "untouched")
        for key in ("accuracy", "log_loss")
        if report["ten"][group]
    ]
    panels = [p for p in panels if "critical_difference" in p[2]["ranks"][p[1]]]
    if not panels:
        return None
    n_lines = (len(panels) + 1) // 2
    figure = Figure(figsize=(8.4, 2.3 * n_lines), layout="constrained")
    axes = np.atleast_2d(figure.subplots(n_lines, 2, squeeze=False)).ravel()
    for panel, (group, key, comparison) in zip(axes, panels, strict=False):
        count = len(comparison["tables"])
        _critical_difference(panel, comparison["ranks"][key])
        title = f"{key.replace('_', '-')}, {group} tables ({count})"
        panel.set_title(title, fontsize=8, pad=14)
    return figure


def _critical_difference(axes, ranks):
    average = sorted(ranks["average"].items(), key=lambda pair: pair[1])
    methods, values = zip(*average, strict=True)
    half = (len(methods) + 1) // 2
    axes.set(xlim=(0.2, len(methods) + 0.8), ylim=(-0.4 - 0.55 * half, 0.6))
    axes.spines[:].set_visible(False)
    axes.set_yticks([])
    axes.set_xticks([])
    axes.plot([1, len(methods)], [0, 0], "k", lw=0.8)
    for rank in range(1, len(methods) + 1):
        axes.plot([rank, rank], [0, 0.12], "k", lw=0.8)
        axes.text(rank, 0.2, rank, ha="center", va="bottom", fontsize=7)
    for place, (method, value) in enumerate(average):
        left = place < half
        level = place if left else len(methods) - 1 - place
        height = -0.75 - 0.45 * level
        colour = "tab:red" if method in OURS else "0.15"
        end = 0.9 if left else len(methods) + 0.1
        axes.plot([value, value, end], [0, height, height], lw=0.8, color=colour)
        axes.text(
            end, height, f"{LABELS[method]}  {value:.2f}", color=colour,
            ha="right" if left else "left", va="center", fontsize=7,
        )  # fmt: skip
    for level, (first, last) in enumerate(_cliques(values, ranks)):
        height = -0.12 - 0.1 * level
        axes.plot(
            [values[first] - 0.04, values[last] + 0.04], [height, height],
            lw=2.2, color="tab:blue", solid_capstyle="butt",
        )  # fmt: skip
    axes.set_xlim(-2.6, len(methods) + 3.6)


def _cliques(values, ranks):
    """Longest runs of methods that differ by less than the critical difference."""
    runs = []
    for first, value in enumerate(values):
        last = max(
            j for j, v in enumerate(values) if v - value <= ranks["critical_difference"]
        )
        if last > first and (not runs or last > runs[-1][1]):
            runs.append((first, last))
    return runs


def _time(report):
    figure = Figure(figsize=(7.2, 3.1), layout="constrained")
    panels = figure.subplots(1, 2)
    comparison = report["ten"]["all"]
    for axes, key in zip(panels, ("accuracy", "log_loss"), strict=True):
        for method in comparison["methods"]:
            mean = comparison["means"][method]
            ours = method in OURS
            axes.plot(
                mean["fit_cpu"], mean[key], "s" if ours else "o", ms=5,
                color="tab:red" if ours else "tab:blue",
            )  # fmt: skip
            axes.annotate(
                LABELS[method], (mean["fit_cpu"], mean[key]), fontsize=6,
                xytext=(4, 3), textcoords="offset points",
            )  # fmt: skip
        axes.set(xscale="log", xlabel="fit, CPU seconds, mean over tables")
        axes.set_ylabel(f"mean {key.replace('_', '-')}")
        axes.grid(alpha=0.3)
        axes.margins(x=0.18, y=0.08)
    panels[1].invert_yaxis()
    return figure


if __name__ == "__main__":
    folder = Path(__file__).parent / "results"
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else folder / "summary.json")
