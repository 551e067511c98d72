"""Docstrings follow numpydoc, and name every parameter and attribute."""

import importlib
import inspect

import pytest
from numpydoc.validate import validate

# EX01, SA01 and ES01 ask for sections that only estimators need, GL01 for a summary
# below the quotes, RT02 for results without a name; ours have one.
IGNORED = {"EX01", "SA01", "ES01", "GL01", "RT02", "SA04"}


def public_objects():
    for package in (
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
    ):
        module = importlib.import_module(f"sklearn_whitebox.{package}")
        for name in module.__all__:
            value = getattr(module, name)
            if not callable(value):
                continue  # a constant has no docstring of its own
            yield f"sklearn_whitebox.{package}.{name}"
            if inspect.isclass(value):
                for method, function in inspect.getmembers(value):
                    own = method in vars(value) and not method.startswith("_")
                    if own and callable(function):
                        yield f"sklearn_whitebox.{package}.{name}.{method}"


@pytest.mark.parametrize("name", list(public_objects()))
def test_docstring_is_complete(name):
    errors = [e for e in validate(name)["errors"] if e[0] not in IGNORED]
    assert not errors, "\n".join(f"{code}: {text}" for code, text in errors)


def estimators():
    from sklearn_whitebox import estimators

    return [getattr(estimators, name) for name in estimators.__all__]


@pytest.mark.parametrize("estimator", estimators(), ids=lambda e: e.__name__)
def test_estimator_has_all_sections(estimator):
    for section in ("Parameters", "Attributes", "Notes", "References", "Examples"):
        assert f"\n    {section}\n    ---" in estimator.__doc__, section
    assert ":ref:`User Guide" in estimator.__doc__
