import json

import numpy as np
import pytest
from sklearn.datasets import load_iris

from sklearn_whitebox.__main__ import main
from sklearn_whitebox.comparison import DataError, compare, format_report, load_problem

pandas = pytest.importorskip("pandas")


@pytest.fixture
def table():
    X, y = load_iris(return_X_y=True)
    frame = pandas.DataFrame(X, columns=list("abcd"))
    frame["kind"] = np.array(["setosa", "versicolor", "virginica"])[y]
    return frame


def with_text(frame):
    frame["soil"] = np.where(np.arange(len(frame)) % 3, "clay", "sand")
    frame.loc[::7, "soil"] = None
    frame.loc[::5, "a"] = np.nan
    return frame


def spoilt(frame):
    frame["a"] = frame["a"].astype(object)
    frame.loc[3, "a"] = "unknown"
    return frame


# Each case: what is done to the table, options, and what the sentence must say.
BAD_TABLES = {
    "no such column": (lambda f: f, {"target": "species"}, "no column 'species'"),
    "no target": (lambda f: f, {}, "with --target"),
    "all-NaN column": (
        lambda f: f.assign(empty=np.nan),
        {"target": "kind"},
        "Column 'empty' has no value at all",
    ),
    "one class": (
        lambda f: f[f["kind"] == "setosa"],
        {"target": "kind"},
        "All rows have the label setosa",
    ),
    "few rows": (
        lambda f: f.iloc[:53],
        {"target": "kind"},
        "Class versicolor has 3 rows, fewer than the 5 folds",
    ),
    "text among numbers": (spoilt, {"target": "kind"}, "text such as 'unknown'"),
    "image of text": (
        lambda f: f.assign(a="x"),
        {"target": "kind", "image_shape": (2, 2)},
        "Column 'a' holds text, but images need numbers",
    ),
    "image shape": (
        lambda f: f,
        {"target": "kind", "image_shape": (3, 3)},
        "3 × 3 is 9 pixels, but a row has 4 columns",
    ),
    "continuous target": (
        lambda f: f.assign(price=np.linspace(0, 1, len(f))),
        {"target": "price"},
        "looks continuous",
    ),
    "infinite": (
        lambda f: f.assign(a=np.inf),
        {"target": "kind"},
        "infinite entries",
    ),
    "only the target": (lambda f: f[["kind"]], {"target": "kind"}, "no column beside"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_tables_are_refused_in_a_sentence(table, tmp_path, case, capsys):
    change, options, sentence = BAD_TABLES[case]
    path = tmp_path / "data.csv"
    change(table).to_csv(path, index=False)
    with pytest.raises(DataError, match=sentence):
        load_problem(path, **options)
    words = ["compare", "--data", str(path), "--output", str(tmp_path / "out")]
    if "target" in options:
        words += ["--target", options["target"]]
    if "image_shape" in options:
        words += ["--image-shape", *map(str, options["image_shape"])]
    assert main(words) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_missing_and_unreadable_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="There is no file"):
        load_problem(tmp_path / "nothing.csv", target="y")
    for name in ("table.csv", "table.parquet", "arrays.npz"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00nonsense")
        with pytest.raises(DataError, match="not a readable"):
            load_problem(tmp_path / name, target="y")
    (tmp_path / "table.txt").write_text("a,b")
    with pytest.raises(DataError, match=r"give a \.csv, \.parquet or \.npz"):
        load_problem(tmp_path / "table.txt", target="b")


def test_misread_tables_are_refused(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,b,b\n1,2,x\n")
    with pytest.raises(DataError, match="two columns named 'b'"):
        load_problem(path, target="b")
    path.write_text("a;b\n1;2\n")
    with pytest.raises(DataError, match="separated by semicolons"):
        load_problem(path, target="b")
    path.write_text("a,b\n1,2\n1,2,3,4\n")
    with pytest.raises(DataError, match="not a readable CSV") as caught:
        load_problem(path, target="b")
    assert "\n" not in str(caught.value)


def test_arrays_must_fit_together(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.eye(3), y=[0, 1])
    with pytest.raises(DataError, match="one row of X for each entry of y"):
        load_problem(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", X=np.eye(3))
    with pytest.raises(DataError, match="no array 'y'; it has 'X'"):
        load_problem(tmp_path / "b.npz")
    np.save(tmp_path / "plain.npy", np.eye(3))
    (tmp_path / "plain.npy").rename(tmp_path / "plain.npz")
    with pytest.raises(DataError, match=r"not a readable \.npz"):
        load_problem(tmp_path / "plain.npz")
    np.savez(tmp_path / "huge.npz", X=np.full((4, 2), 1e300), y=[0, 0, 1, 1])
    with pytest.raises(DataError, match="whose squares overflow"):
        load_problem(tmp_path / "huge.npz", cv=2)
    np.savez(tmp_path / "complex.npz", X=np.eye(4), y=np.array([0, 0, 1j, 1j]))
    with pytest.raises(DataError, match="holds complex128 entries"):
        load_problem(tmp_path / "complex.npz", cv=2)
    np.savez(tmp_path / "c.npz", X=np.array([["a"]] * 4), y=[0, 0, 1, 1])
    with pytest.raises(DataError, match="where numbers are needed"):
        load_problem(tmp_path / "c.npz", cv=2)


def test_unknown_estimators_and_folds_are_refused():
    with pytest.raises(DataError, match="knows no 'PAC'; it knows"):
        compare(estimators=["PAC"])
    with pytest.raises(DataError, match="--cv 1 is too small"):
        compare(cv=1)


def test_text_and_missing_values_are_prepared_and_reported(table, tmp_path):
    path = tmp_path / "data.csv"
    with_text(table).to_csv(path, index=False)
    problem = load_problem(path, target="kind")
    X = problem.preprocessor.fit_transform(problem.X)
    assert X.shape == (150, 4 + 3)
    assert np.isfinite(X).all()
    said = " ".join(problem.notes)
    assert "Missing values in 'a' became the median" in said
    assert "Columns of text ('soil') became one indicator per text" in said


def test_rows_without_a_label_are_left_out(table, tmp_path):
    table.loc[:3, "kind"] = None
    table.to_parquet(tmp_path / "data.parquet")
    problem = load_problem(tmp_path / "data.parquet", target="kind")
    assert len(problem.y) == len(problem.X) == 146
    assert "4 rows without a label were left out." in problem.notes


def test_unseen_texts_do_not_stop_prediction(table, tmp_path):
    with_text(table).to_csv(tmp_path / "data.csv", index=False)
    problem = load_problem(tmp_path / "data.csv", target="kind")
    fitted = problem.preprocessor.fit(problem.X.iloc[:100])
    unseen = problem.X.iloc[100:].assign(soil="lava")
    assert np.isfinite(fitted.transform(unseen)).all()


def test_images_keep_their_shape(tmp_path, rng):
    X = rng.integers(0, 256, (20, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", X=X, y=np.repeat([0, 1], 10))
    problem = load_problem(tmp_path / "images.npz")
    assert problem.image_shape == (4, 4)
    assert problem.preprocessor.fit_transform(problem.X).max() <= 1


def test_comparison_records_every_fold_and_draws(table, tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    path = tmp_path / "data.csv"
    with_text(table).to_csv(path, index=False)
    chosen = ["PCA", "RateReductionEmbedding", "LogisticRegression", "KMeans"]
    results = compare(
        path,
        target="kind",
        quick=True,
        estimators=chosen,
        output=tmp_path / "out",
        verbose=0,
    )
    written = {file.name for file in (tmp_path / "out").iterdir()}
    assert written == {
        "compare.json",
        "compare.md",
        "rate_reduction.png",
        "scores.png",
    }
    assert json.loads((tmp_path / "out" / "compare.json").read_text()) == results
    folds = [r["fold"] for r in results["embeddings"] if r["method"] == "PCA"]
    assert folds == [0, 1, 2]
    for record in results["embeddings"] + results["classifiers"]:
        assert "error" not in record, record
        assert record["fit_time"] >= 0
        assert all(np.isfinite(v) for v in record["scores"].values())
    assert set(results["grid_search"]["best_params"]) == {
        "embed__distortion",
        "classify__n_neighbors",
    }
    report = format_report(results)
    assert "**RateReductionEmbedding**" in report
    assert "± " in report


def test_a_failing_method_is_listed_and_does_not_stop_the_others(monkeypatch):
    from sklearn.decomposition import PCA

    def fail(self, X, y=None):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(PCA, "fit", fail)
    results = compare(quick=True, estimators=["PCA", "KMeans"], verbose=0)
    assert results["embeddings"][0]["error"] == "RuntimeError: no such luck"
    assert "failed: RuntimeError: no such luck" in format_report(results)
    assert all("error" not in record for record in results["clusterings"])


def test_interruption_writes_nothing(monkeypatch, tmp_path, capsys):
    from sklearn_whitebox.comparison import _report

    def interrupt(*args):
        raise KeyboardInterrupt

    # The latest moment: all is computed, and the first files are made.
    monkeypatch.setattr(_report, "_draw", interrupt)
    words = ["compare", "--quick", "--estimators", "PCA", "--output", str(tmp_path)]
    assert main(words) == 130
    assert "no results were written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_figures_of_an_earlier_comparison_do_not_stay(tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    (tmp_path / "atoms.png").write_text("old")
    (tmp_path / "mine.txt").write_text("kept")
    compare(quick=True, estimators=["PCA"], output=tmp_path, verbose=0)
    assert not (tmp_path / "atoms.png").exists()
    assert (tmp_path / "mine.txt").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--seed", "-1"], "--seed -1 must be between"),
        (["--seed", "99999999999"], "must be between"),
        (["--n-jobs", "0"], "--n-jobs 0 means nothing"),
        (["--cv", "1"], "--cv 1 is too small"),
        (["--device", "nonsense"], "device='nonsense' cannot be used here"),
        (["--estimators", "PAC"], "knows no 'PAC'"),
        (["--target", "y"], "give --data, too"),
        (["--data", "nowhere.csv"], "There is no file nowhere.csv"),
    ],
)
def test_bad_settings_end_in_a_sentence_before_any_work(words, sentence, capsys):
    assert main(["compare", *words]) == 2
    said = capsys.readouterr().err.strip()
    assert sentence in said
    assert len(said.splitlines()) == 1


def test_results_cannot_go_into_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for folder in ("file", "file/below"):
        assert main(["compare", "--output", str(tmp_path / folder)]) == 2
        assert "no folder one can write to" in capsys.readouterr().err


def test_comparison_without_a_success_is_an_error(monkeypatch):
    from sklearn.decomposition import PCA

    monkeypatch.setattr(PCA, "fit", None)
    with pytest.raises(DataError, match="Every method failed, first with TypeError"):
        compare(quick=True, estimators=["PCA"], verbose=0)


@pytest.mark.slow
def test_quick_comparison_runs_all_methods_on_digits(tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    assert main(["compare", "--quick", "--output", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "compare.json").read_text())
    for task in ("embeddings", "classifiers", "clusterings"):
        assert not [r for r in results[task] if "error" in r]
    assert (tmp_path / "atoms.png").exists()
    assert (tmp_path / "affinity.png").exists()
