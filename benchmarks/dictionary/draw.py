"""Draw the figures of this benchmark from its JSON files.

python benchmarks/dictionary/draw.py
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

COLOURS = {
    "lasso_encode": "tab:red",
    "omp_encode": "tab:red",
    "SparseDictionaryLearner": "tab:red",
    "spams": "tab:blue",
    "sklearn": "tab:gray",
    "FastICA": "tab:green",
    "plain": "tab:orange",
    "ksvd": "tab:purple",
    "dictlearn": "tab:brown",
    "cosines": "tab:olive",
    "LearnedSparseEncoder": "tab:purple",
    "SparseAutoencoder": "tab:purple",
    "ISTA": "tab:gray",
    "FISTA": "tab:blue",
}
MARKERS = "osD^vP*X"
# Of densities.
STYLES = {0.1: "-", 0.3: "--", 0.5: ":"}


def colour(method):
    """Find the colour of a family of methods."""
    return next((c for key, c in COLOURS.items() if method.startswith(key)), "black")


def methods(lines):
    return list(dict.fromkeys(line["method"] for line in lines))


def bars(ax, lines, key, by, *, logarithmic=False, form="{:.3g}"):
    """Draw groups of horizontal bars, one for each method."""
    groups = list(dict.fromkeys(line[by] for line in lines))
    place, ticks = 0.0, {}
    for group in groups:
        title = f"{by} {group}" if len(groups) > 1 else ""
        ax.text(0.99, place - 0.9, title, ha="right", transform=_across(ax))
        for line in (line for line in lines if line[by] == group):
            ax.barh(place, line[key], 0.8, color=colour(line["method"]))
            label = " " + form.format(line[key])
            ax.text(line[key], place, label, va="center", fontsize=6)
            ticks[place] = line["method"]
            place += 1
        place += 1.2
    ax.set_yticks(list(ticks), list(ticks.values()), fontsize=6)
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)
    if logarithmic:
        ax.set_xscale("log")
        ax.set_xlim(right=ax.get_xlim()[1] * 2)


def _across(ax):
    """Measure x in widths of the axes, y in data."""
    return ax.get_yaxis_transform()


def draw_coding(report, axes):
    lines = report["summary"]
    bars(axes[0], lines, "microseconds", "alpha", logarithmic=True)
    axes[0].set(xlabel="CPU microseconds a patch", title="lasso codes of image patches")
    for i, name in enumerate(methods(lines)):
        mine = [line for line in lines if line["method"] == name]
        axes[1].plot(
            [line["microseconds"] for line in mine],
            [max(line["largest_gap"], 1e-16) for line in mine],
            MARKERS[i % len(MARKERS)] + "-",
            color=colour(name),
            label=name,
        )
    axes[1].set(
        xscale="log",
        yscale="log",
        xlabel="CPU microseconds a patch",
        ylabel="largest relative duality gap",
        title="time and exactness",
    )
    axes[1].legend(fontsize=6)


def draw_greedy(report, axes):
    lines = report["summary"]
    bars(axes[0], lines, "microseconds", "k", logarithmic=True)
    axes[0].set(xlabel="CPU microseconds a patch", title="greedy codes with k atoms")
    bars(axes[1], lines, "error_of_first_rows", "k", form="{:.4f}")
    axes[1].set(xlabel="mean squared error of the rows that all code", title="error")


def draw_learning(report, axes):
    for ax, task in zip(
        axes, dict.fromkeys(r["task"] for r in report["runs"]), strict=False
    ):
        runs = [run for run in report["runs"] if run["task"] == task]
        for i, name in enumerate(methods(runs)):
            for j, run in enumerate(r for r in runs if r["method"] == name):
                ax.plot(
                    *np.transpose(run["curve"]),
                    marker=MARKERS[i % len(MARKERS)],
                    markersize=3,
                    color=colour(name),
                    alpha=0.9 - 0.12 * i,
                    label=None if j else name,
                )
        low = min(v for run in runs for _, v in run["curve"])
        ax.set(
            xscale="log",
            ylim=(0.99 * low, 1.15 * low),
            xlabel="CPU seconds",
            ylabel="objective, held-out patches",
            title=task,
        )
        ax.legend(fontsize=6, loc="upper right")


def draw_complete(report, axes):
    cells = report["cells"]
    dimensions = sorted({line["d"] for line in cells})
    for row, noise in enumerate((0.0, 0.1)):
        for ax, d in zip(axes[row * 4 :], dimensions, strict=False):
            here = [x for x in cells if x["noise"] == noise and x["d"] == d]
            for name in methods(here):
                for density, style in zip(
                    (0.1, 0.3, 0.5), ("-", "--", ":"), strict=True
                ):
                    mine = [
                        x
                        for x in here
                        if x["method"] == name and x["density"] == density
                    ]
                    ax.loglog(
                        [x["samples_per_dimension"] for x in mine],
                        [max(x["error"], 1e-16) for x in mine],
                        style,
                        marker="o",
                        markersize=3,
                        color="tab:olive" if "cube" in name else colour(name),
                        label=f"{name}, density {density}",
                    )
            ax.minorticks_off()
            ax.set(
                xlabel="samples per dimension",
                title=f"{d} atoms, noise {noise:g}",
                xticks=(20, 100, 400),
                xticklabels=(20, 100, 400),
                ylabel="$1 - \\|\\hat D D^T\\|_4^4 / d$",
            )
    for number, place in enumerate((0, 3)):
        names, labels = axes[place].get_legend_handles_labels()
        half = len(names) // 2
        chosen = slice(half) if number == 0 else slice(half, None)
        axes[place].legend(names[chosen], labels[chosen], fontsize=5)


def draw_planted(report, axes):
    lines = report["summary"]
    names = methods(lines)
    for i, name in enumerate(names):
        mine = [line for line in lines if line["method"] == name]
        style = {"color": colour(name), "marker": MARKERS[i % len(MARKERS)]}
        places = range(len(mine))
        axes[0].plot(places, [x["detected"] for x in mine], alpha=0.7, **style)
        axes[1].scatter(
            np.mean([x["cpu_seconds"] for x in mine]),
            np.mean([x["detected"] for x in mine]),
            label=name,
            **style,
        )
    ratios = list(dict.fromkeys(str(line["decibels"]) for line in lines))
    axes[0].set_xticks(range(len(ratios)), ["∞" if r == "none" else r for r in ratios])
    axes[0].set(xlabel="signal to noise (dB)", ylabel="share of atoms found")
    axes[1].set(
        xscale="log", xlabel="CPU seconds", ylabel="share found, mean over noises"
    )
    axes[1].legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))


def draw_denoising(report, axes):
    lines = report["summary"]
    bars(axes[0], lines, "decibels", "image", form="{:.2f}")
    lowest = min(line["decibels"] for line in lines)
    highest = max(line["decibels"] for line in lines)
    axes[0].set(xlim=(lowest - 1, highest + 1), xlabel="decibels", title="quality")
    bars(axes[1], lines, "cpu_seconds", "image", logarithmic=True)
    axes[1].set(xlabel="CPU seconds, learning and coding", title="time")


def draw_digits(report, axes):
    for ax, key, label in zip(
        axes,
        ("accuracy", "cpu_seconds"),
        ("accuracy of a linear classifier", "CPU seconds to learn the atoms"),
        strict=True,
    ):
        lines = [{**line, "data": "digits"} for line in report["summary"]]
        bars(ax, lines, key, "data", form="{:.4f}" if key == "accuracy" else "{:.2g}")
        ax.set(xlabel=label)
    axes[0].set_xlim(0.93, 1)
    axes[1].set(xscale="log", xlim=(1e-4, 100))


def draw_learned(report, axes):
    for ax, task in zip(
        axes, dict.fromkeys(r["task"] for r in report["summary"]), strict=False
    ):
        lines = [line for line in report["summary"] if line["task"] == task]
        for i, line in enumerate(lines):
            ax.loglog(
                line["microseconds"],
                max(line["excess"], 1e-8),
                MARKERS[i % len(MARKERS)],
                color=colour(line["method"]),
                label=line["method"],
            )
        ax.set(
            xlabel="CPU microseconds a sample",
            ylabel="mean objective above the best (least 1e-8)",
            title=task,
        )
        ax.legend(fontsize=5)
    lines = report["summary_autoencoders"]
    for i, line in enumerate(lines):
        axes[2].plot(
            line["active"],
            line["explained"],
            MARKERS[i % len(MARKERS)],
            color=colour(line["method"]),
            label=line["method"],
        )
    axes[2].set(
        xlabel="active features of a row",
        ylabel="variance explained",
        title="activations of a classifier",
    )
    axes[2].legend(fontsize=5)


FIGURES = {
    "learned": (draw_learned, 1, 3),
    "coding": (draw_coding, 1, 2),
    "greedy": (draw_greedy, 1, 2),
    "learning": (draw_learning, 2, 3),
    "complete": (draw_complete, 2, 4),
    "planted": (draw_planted, 1, 2),
    "denoising": (draw_denoising, 1, 2),
    "digits": (draw_digits, 1, 2),
}


def draw(path):
    """Draw one report next to its file."""
    path = Path(path)
    report = json.loads(path.read_text())
    paint, rows, columns = FIGURES[report["question"]]
    with mpl.rc_context({"font.size": 8, "axes.titlesize": 8}):
        figure = Figure(figsize=(4.4 * columns, 3.4 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        paint(report, axes)
        for ax in axes:
            ax.set_visible(ax.has_data())
        picture = path.with_suffix(".png")
        figure.savefig(picture, dpi=90)
    # Few colours make a small file.
    image = Image.open(picture).convert("RGB")
    image.quantize(48).save(picture, optimize=True)


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for found in sorted(folder.glob("**/*.json")):
        draw(found)
