"""Draw the figures of this benchmark from its JSON files.

python benchmarks/embedding/draw.py
"""

import json
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

_OURS = {"RateReductionEmbedding": "tab:red", "ReduNetClassifier": "tab:orange"}


def draw(path):
    """Draw one file, if there is something to see."""
    report = json.loads(Path(path).read_text())
    painter = {"quality": _quality, "speed": _speed}.get(Path(path).stem)
    if painter is None:
        return
    with mpl.rc_context({"font.size": 8, "axes.spines.top": False}):
        figure = painter(report)
    figure.savefig(Path(path).with_suffix(".png"), dpi=130)


def _quality(report):
    table = [line for line in report["summary"]["table"] if not line["tuned"]]
    data = list(dict.fromkeys(line["data"] for line in table))
    methods = list(dict.fromkeys(line["method"] for line in table))
    figure = Figure(figsize=(7.2, 0.26 * len(data) + 1.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    greys = iter(mpl.colormaps["viridis"](np.linspace(0.1, 0.9, len(methods))))
    for method in methods:
        colour = _OURS.get(method) or next(greys)
        lines = {x["data"]: x["neighbours"] for x in table if x["method"] == method}
        places = [data.index(name) for name in lines]
        left.plot(
            list(lines.values()), places, "s" if method in _OURS else "o", ms=4,
            color=colour, label=method, alpha=0.85, zorder=3 if method in _OURS else 2,
        )  # fmt: skip
    left.set_yticks(range(len(data)), data)
    left.invert_yaxis()
    left.grid(axis="x", alpha=0.3)
    left.set(xlabel="accuracy of 5 neighbours, unseen rows", xlim=(0.55, 1.005))
    left.legend(fontsize=6, loc="lower left")
    ranks = report["summary"]["ranks"]
    order = [row["method"] for row in ranks if row["head"] == "neighbours"]
    for offset, head in zip((-0.25, 0, 0.25), ("neighbours", "subspace", "logistic"),
                            strict=True):  # fmt: skip
        values = {row["method"]: row["rank"] for row in ranks if row["head"] == head}
        right.barh(
            np.arange(len(order)) + offset,
            [values[method] for method in order],
            height=0.24,
            label=head,
        )
    right.set_yticks(range(len(order)), order)
    right.invert_yaxis()
    right.set(xlabel="average rank at defaults (1 is best)")
    right.legend(fontsize=6)
    return figure


def _speed(report):
    figure = Figure(figsize=(4, 3), layout="constrained")
    axes = figure.subplots()
    for name, colour in (("RateReductionEmbedding", "tab:red"), ("NCA", "tab:blue")):
        sizes = [line["n_samples"] for line in report["fit"]]
        seconds = [line[name] for line in report["fit"]]
        axes.loglog(sizes, seconds, "o-", color=colour, label=name)
    axes.set(xlabel="rows of 64 features, 10 classes", ylabel="fit, CPU seconds")
    axes.legend()
    return figure


if __name__ == "__main__":
    folder = Path(__file__).parent / "results"
    for file in sys.argv[1:] or sorted(folder.glob("*.json")):
        draw(file)
