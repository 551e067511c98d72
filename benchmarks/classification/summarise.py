"""Tables, ranks and figures of the rows that `run.py` wrote.

    python benchmarks/classification/summarise.py
    python benchmarks/classification/summarise.py A.jsonl B.jsonl --output DIR

A comparison uses the (table, fold) pairs on which all of its methods have run: means
over the folds of a table, then means and ranks over the tables. Tables on which
defaults of this package were chosen and all other tables are also reported apart.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from common import RESULTS, read
from competitors import LABELS, PEERS
from data import DEVELOPMENT, N_FOLDS, UNSEEN
from scipy.stats import friedmanchisquare, rankdata, studentized_range, wilcoxon

GROUPS = {"all": None, "development": DEVELOPMENT, "untouched": UNSEEN}
TEN = ("logistic", "svc", "forest", "histgb", "mlp", "lightgbm", "xgboost", "catboost",
       "realmlp", "crate")  # fmt: skip
POOLS = {
    "ten": TEN,
    "everybody": (*PEERS, "crate"),
    "ablation": ("crate", "crate-0", "crate-tssa", "crate-odl", "crate-mlp",
                 "crate-attention"),
}  # fmt: skip
QUALITIES = {"accuracy": 1, "log_loss": -1, "auc": 1, "brier": -1}
TIMES = ("fit_cpu", "fit_wall", "predict_cpu", "predict_wall")


def collect(paths):
    """Rows by table, fold and method; of several the last that did not fail."""
    rows, environments = {}, []
    for path in paths:
        for row in read(path):
            if "data" not in row:
                environments.append(row["environment"])
                continue
            key = row["data"], row["fold"], row["method"]
            if "error" not in row or key not in rows:
                rows[key] = row
    return rows, environments


def compare(rows, methods, tables=None):
    """Means, ranks and duels of methods on the pairs that all of them have."""
    good = {key for key, row in rows.items() if "error" not in row}
    methods = [m for m in methods if any(key[2] == m for key in good)]
    pairs = {key[:2] for key in good if tables is None or key[0] in tables}
    pairs = {p for p in pairs if all((*p, m) in good for m in methods)}
    names = sorted({name for name, _ in pairs})
    if len(methods) < 2 or not names:
        return None
    means = {
        key: np.array(
            [[_mean(rows, pairs, name, m, key) for m in methods] for name in names]
        )
        for key in (*QUALITIES, *TIMES)
    }
    report = {
        "methods": methods,
        "tables": {name: sum(name == n for n, _ in pairs) for name in names},
        "means": {
            m: {key: _round(values[:, j].mean()) for key, values in means.items()}
            for j, m in enumerate(methods)
        },
        "by_table": {
            key: {
                name: dict(zip(methods, map(_round, means[key][i]), strict=True))
                for i, name in enumerate(names)
            }
            for key in ("accuracy", "log_loss", "fit_cpu")
        },
        "ranks": {},
    }
    for key, sign in QUALITIES.items():
        # Equal shares of right rows are ties, whatever the last bits of their means.
        values = np.round(-sign * means[key], 9)
        report["ranks"][key] = _ranks(values, methods)
    ours = methods.index("crate") if "crate" in methods else None
    if ours is not None:
        report["duels"] = {
            key: _duels(sign * means[key], methods, ours)
            for key, sign in (("accuracy", 1), ("log_loss", -1))
        }
    return report


def _mean(rows, pairs, name, method, key):
    values = [rows[(*p, method)][key] for p in pairs if p[0] == name]
    return float(np.mean([v for v in values if v is not None]))


def _ranks(values, methods):
    """Average ranks, Friedman's test and Nemenyi's critical difference at 5 %."""
    ranks = np.array([rankdata(line) for line in values])
    n_tables, n_methods = ranks.shape
    report = {
        "average": dict(zip(methods, map(_round, ranks.mean(axis=0)), strict=True))
    }
    if n_methods > 2 and n_tables > 1:
        report["friedman_p"] = float(friedmanchisquare(*values.T).pvalue)
        q = studentized_range.ppf(0.95, n_methods, np.inf) / np.sqrt(2)
        difference = q * np.sqrt(n_methods * (n_methods + 1) / (6 * n_tables))
        report["critical_difference"] = _round(difference)
    return report


def _duels(values, methods, ours):
    """Tables won, drawn and lost against each method, and Wilcoxon's test."""
    duels = {}
    for j, method in enumerate(methods):
        if j == ours:
            continue
        gain = np.round(values[:, ours] - values[:, j], 9)
        duels[method] = {
            "won": int((gain > 0).sum()),
            "drawn": int((gain == 0).sum()),
            "lost": int((gain < 0).sum()),
            "mean_gain": _round(gain.mean()),
            "wilcoxon_p": float(wilcoxon(gain).pvalue) if gain.any() else 1.0,
        }
    return duels


def write(paths, folder):
    """Write summary.json, summary.md and the figures."""
    from draw import draw

    rows, environments = collect(paths)
    report = {"environments": _distinct(environments), "coverage": _coverage(rows)}
    report["failures"] = [
        {key: row[key] for key in ("data", "fold", "method", "error")}
        for row in rows.values()
        if "error" in row
    ]
    report["parameters"] = _parameters(rows)
    for pool, methods in POOLS.items():
        report[pool] = {
            group: compare(rows, methods, tables) for group, tables in GROUPS.items()
        }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "summary.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    (folder / "summary.md").write_text(_markdown(report))
    draw(path)
    return path


def _coverage(rows):
    counts = {}
    for (name, _, method), row in rows.items():
        if "error" not in row:
            line = counts.setdefault(method, {})
            line[name] = line.get(name, 0) + 1
    return {m: dict(sorted(counts[m].items())) for m in LABELS if m in counts}


def _parameters(rows):
    found = {}
    for (_, _, method), row in rows.items():
        if row.get("n_parameters"):
            found.setdefault(method, []).append(row["n_parameters"])
    return {method: int(np.median(values)) for method, values in found.items()}


def _distinct(environments):
    seen = {}
    for environment in environments:
        fixed = {k: v for k, v in environment.items() if k != "load_average"}
        seen[json.dumps(fixed, sort_keys=True)] = fixed
    return list(seen.values())


def _round(value):
    return round(float(value), 5)


def _markdown(report):
    lines = ["# Classifiers on tables", ""]
    for pool in POOLS:
        for group, comparison in report[pool].items():
            if comparison:
                lines += _section(pool, group, comparison)
    lines += ["## What ran", "", "| method | tables | fits |", "|---|---|---|"]
    for method, counts in report["coverage"].items():
        full = sum(count >= N_FOLDS for count in counts.values())
        lines.append(
            f"| {LABELS[method]} | {len(counts)}, {full} of them with all "
            f"{N_FOLDS} folds | {sum(counts.values())} |"
        )
    for failure in report["failures"]:
        lines.append(
            f"\nFailed: {LABELS[failure['method']]} on {failure['data']}, fold "
            f"{failure['fold']}: {failure['error']}"
        )
    return "\n".join(lines) + "\n"


def _section(pool, group, comparison):
    fits = sum(comparison["tables"].values())
    title = f"## {pool}: {group} tables"
    lines = [title, "", f"{len(comparison['tables'])} tables, {fits} fits a method."]
    keys = [k for k in ("accuracy", "log_loss") if k in comparison["ranks"]]
    for key in keys:
        ranks = comparison["ranks"][key]
        if "critical_difference" in ranks:
            lines.append(
                f"Critical difference of ranks by {key}: "
                f"{ranks['critical_difference']:.2f}."
            )
    lines += [
        "",
        "| method | accuracy | log-loss | AUC | Brier | rank by accuracy | "
        "rank by log-loss | fit, CPU s | won–drawn–lost |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    ranks = {key: comparison["ranks"][key]["average"] for key in keys}
    for method in sorted(comparison["methods"], key=ranks["accuracy"].get):
        mean = comparison["means"][method]
        duel = comparison.get("duels", {}).get("accuracy", {}).get(method)
        shown = duel and f"{duel['won']}–{duel['drawn']}–{duel['lost']}"
        lines.append(
            f"| {LABELS[method]} | {mean['accuracy']:.4f} | {mean['log_loss']:.3f} | "
            f"{mean['auc']:.4f} | {mean['brier']:.3f} | "
            f"{ranks['accuracy'][method]:.2f} | {ranks['log_loss'][method]:.2f} | "
            f"{mean['fit_cpu']:.2f} | {shown or ''} |"
        )
    if group == "all":
        lines += _by_table(comparison)
    return [*lines, ""]


def _by_table(comparison):
    methods = comparison["methods"]
    lines = []
    for key in ("accuracy", "log_loss"):
        head = " | ".join(LABELS[m] for m in methods)
        lines += ["", f"| {key} | folds | {head} |", "|---" * (len(methods) + 2) + "|"]
        for name, values in comparison["by_table"][key].items():
            best = (max if key == "accuracy" else min)(values.values())
            cells = [
                f"**{v:.3f}**" if v == best else f"{v:.3f}" for v in values.values()
            ]
            mark = "" if name in DEVELOPMENT else " (untouched)" * (name in UNSEEN)
            folds = comparison["tables"][name]
            lines.append(f"| {name}{mark} | {folds} | {' | '.join(cells)} |")
    return lines


def main():
    """Summarise the committed rows, or the files named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", type=Path)
    parser.add_argument("--output", type=Path, default=RESULTS)
    settings = parser.parse_args()
    print(write(settings.rows or sorted(RESULTS.glob("*.jsonl")), settings.output))


if __name__ == "__main__":
    main()
