"""Write the results down: a table, JSON, Markdown and figures, all or nothing."""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
from sklearn.base import clone

from sklearn_whitebox._optional import require
from sklearn_whitebox.comparison._contestants import OURS, clusterings, embeddings
from sklearn_whitebox.comparison._data import DataError
from sklearn_whitebox.display import (
    AffinityDisplay,
    AtomsDisplay,
    RateCurveDisplay,
    ScoreTimeDisplay,
)

_FILES = (
    "affinity.png",
    "atoms.png",
    "compare.json",
    "compare.md",
    "rate_reduction.png",
    "scores.png",
)
_TITLES = {
    "embeddings": "Embeddings before the same classifiers (accuracy)",
    "classifiers": "Classifiers",
    "clusterings": "Clusterings against the labels",
}


def summarize(records):
    """Average the records of each method.

    Parameters
    ----------
    records : list of dict
        Results of single runs.

    Returns
    -------
    rows : list of dict
        Per method: mean and standard deviation of each score, mean seconds; or the
        error of a method that failed.
    """
    rows = []
    for name in dict.fromkeys(record["method"] for record in records):
        mine = [record for record in records if record["method"] == name]
        errors = [record["error"] for record in mine if "error" in record]
        if errors:
            rows.append({"method": name, "error": errors[0]})
            continue
        scores = {
            key: (
                float(np.mean([record["scores"][key] for record in mine])),
                float(np.std([record["scores"][key] for record in mine])),
            )
            for key in mine[0]["scores"]
        }
        applied = "transform_time" if "transform_time" in mine[0] else "predict_time"
        rows.append(
            {
                "method": name,
                "scores": scores,
                "fit_time": float(np.mean([r["fit_time"] for r in mine])),
                "apply_time": float(np.mean([r.get(applied, 0.0) for r in mine])),
            }
        )
    return rows


def format_table(records):
    """Lay out the summary of a task as a Markdown table.

    Parameters
    ----------
    records : list of dict
        Results of single runs.

    Returns
    -------
    table : str
        Readable in a terminal as well. Our methods are in bold.
    """
    rows = summarize(records)
    good = [row for row in rows if "error" not in row]
    keys = list(good[0]["scores"]) if good else []
    header = ["method", *keys, "fit (s)", "apply (s)"]
    lines = [header]
    for row in rows:
        name = f"**{row['method']}**" if row["method"] in OURS else row["method"]
        if "error" in row:
            lines.append([name, f"failed: {row['error'].splitlines()[0]}"])
            lines[-1] += [""] * (len(header) - 2)
            continue
        scores = [f"{mean:.3f} ± {std:.3f}" for mean, std in row["scores"].values()]
        times = [f"{row[key]:.2f}" for key in ("fit_time", "apply_time")]
        lines.append([name, *scores, *times])
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True))
        + " |"
        for line in [lines[0], rule, *lines[1:]]
    )


def format_report(results):
    """Write the whole report in Markdown.

    Parameters
    ----------
    results : dict
        What :func:`compare` returns.

    Returns
    -------
    report : str
        Text.
    """
    data, settings = results["data"], results["settings"]
    parts = [
        f"# Comparison on {data['name']}",
        f"{data['n_samples']} rows, {data['n_features']} features, "
        f"{len(data['classes'])} classes; {settings['cv']} stratified folds; mean ± "
        "standard deviation.",
        "\n".join(f"- {note}" for note in data["preparation"]),
    ]
    for task, title in _TITLES.items():
        if task in results:
            parts += [f"## {title}", format_table(results[task])]
    if "grid_search" in results:
        search = results["grid_search"]
        best = ", ".join(f"`{k}={v}`" for k, v in search["best_params"].items())
        parts += [
            "## Grid search",
            f"{search['pipeline']}: best {best}, with accuracy "
            f"{search['best_score']:.3f} in its own cross-validation "
            f"({search['seconds']:.1f} s).",
        ]
    versions = results["environment"]["versions"]
    parts.append(
        f"Seed {settings['random_state']}, {results['environment']['cores']} cores, "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + f"; {results['seconds']:.0f} s in all."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def write_report(results, problem, y, settings, output, names, say):
    """Write all files to a folder at the end, or none of them.

    Parameters
    ----------
    results : dict
        What :func:`compare` returns.
    problem : Problem
        The data.
    y : ndarray of shape (n_samples,)
        Class numbers.
    settings : Settings
        What the contestants were told.
    output : str or path
        The folder; made if missing.
    names : sequence of str or None
        Estimators compared.
    say : callable
        Takes progress messages.
    """
    output = Path(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
        # Beside the final files, so that moving them there is one step on one disk.
        work = Path(tempfile.mkdtemp(prefix=".partial-", dir=output))
    except OSError as error:
        raise DataError(f"--output {output} cannot be written ({error}).") from error
    try:
        (work / "compare.json").write_text(json.dumps(results, indent=1) + "\n")
        (work / "compare.md").write_text(format_report(results))
        try:
            _draw(results, problem, y, settings, work, names)
        except ImportError as error:
            say(f"No figures: {error}")
        written = [path.name for path in sorted(work.iterdir())]
        for name in _FILES:
            if name not in written:  # of an earlier comparison
                (output / name).unlink(missing_ok=True)
        for name in written:
            (work / name).replace(output / name)
        for name in written:
            say(f"wrote {output / name}")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _draw(results, problem, y, settings, folder, names):
    _draw_scores(results, folder)
    if "rate_curve" in results:
        curve = results["rate_curve"]
        display = RateCurveDisplay(
            curve["dimensions"], curve["rates"], attainable=curve["attainable"]
        ).plot()
        display.ax_.set_title(f"{results['data']['name']}: unseen rows")
        _save(display.figure_, folder / "rate_reduction.png")
    if problem.image_shape is None or len(problem.image_shape) != 2:
        return
    X = clone(problem.preprocessor).fit_transform(problem.X)
    if not names or "SparseDictionaryLearner" in names:
        learner = embeddings(settings)["SparseDictionaryLearner"].fit(X)
        display = AtomsDisplay.from_estimator(learner, image_shape=problem.image_shape)
        _save(display.figure_, folder / "atoms.png")
    if not names or "SubspaceClusterer" in names:
        clusterer = clusterings(settings)["SubspaceClusterer"](settings.seed).fit(X)
        display = AffinityDisplay.from_estimator(clusterer, y)
        _save(display.figure_, folder / "affinity.png")


def _draw_scores(results, folder):
    axes = {
        "embeddings": ("LogisticRegression", "accuracy of logistic regression on top"),
        "classifiers": ("accuracy", "accuracy"),
        "clusterings": ("accuracy", "clustering accuracy"),
    }
    tasks = [task for task in axes if task in results]
    pyplot = require("matplotlib.pyplot", extra="plot", purpose="Drawing figures")
    figure, panels = pyplot.subplots(
        1,
        len(tasks),
        figsize=(5.2 * len(tasks), 4.2),
        layout="constrained",
        squeeze=False,
    )
    for ax, task in zip(panels[0], tasks, strict=True):
        key, label = axes[task]
        rows = [r for r in summarize(results[task]) if "error" not in r]
        if rows:
            ScoreTimeDisplay(
                [row["method"] for row in rows],
                [row["scores"][key][0] for row in rows],
                [row["scores"][key][1] for row in rows],
                [row["fit_time"] + row["apply_time"] for row in rows],
                highlighted=OURS,
                score_name=label,
            ).plot(ax)
        ax.set_title(f"{results['data']['name']}: {task}")
    _save(figure, folder / "scores.png")


def _save(figure, path):
    figure.savefig(path, dpi=130)
    require("matplotlib.pyplot", extra="plot", purpose="Drawing").close(figure)
