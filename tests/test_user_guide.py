"""The code of the documentation does what the pages say, and the pages are complete."""

import doctest
import importlib.util
from pathlib import Path

import pytest

from sklearn_whitebox import estimators

DOC = Path(__file__).parents[1] / "doc"
PAGES = sorted([*DOC.glob("*.md"), *(DOC / "user_guide").glob("*.md")])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings(r"ignore:.isinstance\(treespec, LeafSpec\):FutureWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_of_the_guide_run(page):
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    found = doctest.testfile(
        str(page), module_relative=False, optionflags=flags, encoding="utf-8"
    )
    assert found.failed == 0


def test_the_guide_is_found():
    assert len(PAGES) > 5


def test_every_page_of_the_guide_is_in_its_contents():
    contents = (DOC / "user_guide" / "index.md").read_text().splitlines()
    pages = {page.stem for page in (DOC / "user_guide").glob("*.md")} - {"index"}
    assert pages <= set(contents)


@pytest.mark.parametrize("name", estimators.__all__)
def test_every_estimator_has_its_place_on_the_page_on_choosing(name):
    assert name in (DOC / "choosing.md").read_text()
    assert name in (DOC / "figures" / "choosing.html").read_text()


def test_the_chart_is_the_one_that_its_script_draws():
    path = DOC / "figures" / "choosing.py"
    spec = importlib.util.spec_from_file_location("choosing", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.chart() == path.with_suffix(".html").read_text(encoding="utf-8")


def load_checker():
    spec = importlib.util.spec_from_file_location("check_site", DOC / "check_site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_checker_finds_what_is_wrong_with_a_site_and_nothing_else(tmp_path):
    page = "<title>{}</title><h1 id='top'>x</h1>{}"
    good = "<a href='b.html#there'>b</a><a href='https://elsewhere.org/#x'>c</a>"
    (tmp_path / "a.html").write_text(page.format("A", good))
    (tmp_path / "b.html").write_text(
        page.format("B", "<p id='there'><img alt='y' src='a.html'>")
    )
    checker = load_checker()
    assert checker.main([str(tmp_path)]) == 0

    bad = "<a href='b.html#gone'></a><a href='none.html'></a><img src='a.html'>"
    (tmp_path / "c.html").write_text(page.format("", bad))
    found = sorted(line.split(": ", 1)[1] for line in checker.findings(tmp_path))
    assert found == [
        "leads to no anchor: b.html#gone",
        "leads to no file: none.html",
        "no title",
        "picture without alternative text: a.html",
    ]
    assert checker.main([str(tmp_path)]) == 1
