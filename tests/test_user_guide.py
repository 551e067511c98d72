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
