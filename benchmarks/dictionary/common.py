"""Timing, interleaving and summaries shared by the questions of this benchmark."""

import contextlib
import json
import statistics
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from sklearn_whitebox.comparison import environment

RESULTS = Path(__file__).parent / "results"


def timed(function, *args, **settings):
    """Value and CPU seconds of a call: everything here runs on one thread."""
    start = time.process_time()
    value = function(*args, **settings)
    return value, time.process_time() - start


def interleaved(ways, n_repeats):
    """Call each way in turn, again and again: last value and all seconds of each."""
    values, seconds = {}, {label: [] for label in ways}
    labels = list(ways)
    for repeat in range(n_repeats):
        # Who comes first changes, so that nobody always finds a cold cache.
        shift = repeat % len(labels)
        for label in labels[shift:] + labels[:shift]:
            values[label], spent = timed(ways[label])
            seconds[label].append(spent)
    return {label: (values[label], seconds[label]) for label in labels}


def summarise(rows, by):
    """Group rows: times become medians, everything else means."""
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in by), []).append(row)
    summary = []
    for group, members in groups.items():
        line = dict(zip(by, group, strict=True))
        for key, value in members[0].items():
            if key in by or key in ("seed", "fold") or isinstance(value, str | list):
                continue
            found = [member[key] for member in members if member[key] is not None]
            middle = statistics.median if "seconds" in key else statistics.fmean
            line[key] = middle(found) if found else None
        line["runs"] = len(members)
        summary.append(line)
    return summary


def show(summary):
    """Print a summary, a line each."""
    for line in summary:
        print(
            "  "
            + "  ".join(
                f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
                for key, value in line.items()
            ),
            flush=True,
        )


def rounded(value):
    """Make a report ready for JSON: six digits are more than the noise leaves."""
    if isinstance(value, dict):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [rounded(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def peer_versions():
    """Look up which peers are installed."""
    found = {}
    for package in ("spams-bin", "dictlearn", "ksvd"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def write(name, report, folder, **about):
    """Write the answer to one question, with versions and machine."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    report = {"question": name, "threads": 1, **about, **report}
    report["environment"] = environment()
    report["environment"]["versions"] |= peer_versions()
    path = folder / f"{name}.json"
    text = json.dumps(rounded(report), indent=1)
    path.write_text(text + "\n")
    return path
