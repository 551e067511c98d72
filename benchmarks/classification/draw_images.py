"""Draw accuracy against CPU time from the results on images.

python benchmarks/classification/draw_images.py
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

_STYLES = {
    "svc": ("tab:gray", "D"),
    "crate-published": ("tab:pink", "o"),
    "crate": ("tab:red", "s"),
    "crate-0": ("tab:orange", "s"),
    "vit": ("tab:cyan", "o"),
    "vit-stem": ("tab:blue", "o"),
    "vit-time": ("tab:purple", "^"),
}
_LABELS = {
    "svc": "SVC(C=10)",
    "crate-published": "CRATE as published",
    "crate": "CRATE",
    "crate-0": "CRATE without blocks",
    "vit": "ViT, no stem",
    "vit-stem": "ViT, same stem",
    "vit-time": "ViT, same stem and time",
}


def draw(path):
    """Draw one file."""
    table = json.loads(Path(path).read_text())["summary"]
    tasks = list(dict.fromkeys(line["task"] for line in table))
    with mpl.rc_context({"font.size": 8, "axes.spines.top": False}):
        figure = Figure(figsize=(2.6 * len(tasks) + 1.6, 2.8), layout="constrained")
        panels = figure.subplots(1, len(tasks), squeeze=False)[0]
        for axes, task in zip(panels, tasks, strict=True):
            for line in (line for line in table if line["task"] == task):
                colour, marker = _STYLES[line["method"]]
                axes.errorbar(
                    line["fit_cpu"],
                    line["accuracy"],
                    line["accuracy_std"] or None,
                    fmt=marker,
                    color=colour,
                    label=_LABELS[line["method"]],
                )
            axes.set(title=task, xlabel="fit, CPU seconds", xscale="log")
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.grid(alpha=0.3)
        panels[0].set_ylabel("accuracy on unseen images")
        handles = {}
        for axes in panels:
            handles |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
        figure.legend(handles.values(), handles.keys(), loc="outside right", fontsize=7)
    figure.savefig(Path(path).with_suffix(".png"), dpi=130)


if __name__ == "__main__":
    folder = Path(__file__).parent / "results"
    for file in sys.argv[1:] or sorted(folder.glob("images*.json")):
        draw(file)
