import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import sklearn_whitebox

PACKAGES = [
    "sklearn_whitebox",
    *(
        f"sklearn_whitebox.{name}"
        for name in (
            "comparison",
            "datasets",
            "display",
            "distributed",
            "estimators",
            "functional",
            "metrics",
            "modules",
            "persistence",
            "solvers",
        )
    ),
]


@pytest.mark.parametrize("package", PACKAGES)
def test_exports_are_listed_sorted_and_real(package):
    module = importlib.import_module(package)
    names = module.__all__
    assert list(names) == sorted(names)
    assert len(set(names)) == len(names)
    for name in names:
        assert hasattr(module, name)
    public = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__.startswith("sklearn_whitebox")
    }
    constants = {"__version__", "SKOPS_TRUSTED"}
    assert public == set(names) - constants


@pytest.mark.parametrize("package", PACKAGES)
def test_exports_are_on_the_page_of_the_api(package):
    if package == "sklearn_whitebox.estimators":
        return  # the page names them where they are imported from
    page = (Path(__file__).parents[1] / "doc" / "api.rst").read_text()
    section = page.split(f".. currentmodule:: {package}\n")[1]
    section = section.split(".. currentmodule::")[0]
    listed = [line.strip() for line in section.splitlines() if line.startswith("   ")]
    names = set(importlib.import_module(package).__all__) - {"__version__"}
    if package == "sklearn_whitebox":
        names -= {"load", "save"}  # listed with the package that defines them
    assert sorted(n for n in listed if not n.startswith(":")) == sorted(names)


def test_version_is_that_of_the_installed_package():
    assert sklearn_whitebox.__version__.count(".") >= 1


def test_import_loads_no_extra_and_starts_no_thread():
    code = (
        "import sys, threading\n"
        # What the required packages load by themselves is theirs to answer for.
        "import joblib, numba, scipy.sparse, torch, sklearn.cluster, "
        "sklearn.model_selection\n"
        "before = set(sys.modules)\n"
        "import sklearn_whitebox\n"
        "extras = {'matplotlib', 'pandas', 'polars', 'rich', 'skops', 'dask',\n"
        "          'safetensors', 'onnx'}\n"
        "found = extras & (set(sys.modules) - before)\n"
        "assert not found, found\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
