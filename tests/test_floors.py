"""Imports go down, never up or sideways."""

import ast
import importlib
from pathlib import Path

import pytest

import sklearn_whitebox

ROOT = Path(sklearn_whitebox.__file__).parent
SIDE = {
    "_array",
    "_block_input",
    "_blocks",
    "_compat",
    "_optional",
    "_progress",
    "_random",
    "_threads",
    "_warn",
}
# What each floor may import, beside itself and the side modules.
ORDER = ["functional", "solvers", "modules", "metrics", "datasets", "estimators"]
ALLOWED = {
    "functional": [],
    "solvers": ["functional"],
    "modules": ["functional"],
    "metrics": ["functional", "solvers"],
    "datasets": ["functional", "solvers"],
    "estimators": ["functional", "solvers", "modules", "metrics"],
    "display": ORDER,
    "persistence": ["estimators"],
    "distributed": ["solvers", "modules", "estimators", "persistence"],
    "comparison": [*ORDER, "display"],
}


def own_imports(path):
    """List the modules of this package that a file imports, as (package, module)."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            names = [node.module]
            if (
                node.module.startswith("sklearn_whitebox")
                and node.module.count(".") < 2
            ):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "sklearn_whitebox" and len(parts) > 1:
                found.add(tuple(parts[1:3]))
    return found


def files(floor):
    return sorted((ROOT / floor).glob("*.py"))


@pytest.mark.parametrize("floor", ALLOWED)
def test_floor_imports_only_from_below(floor):
    for path in files(floor):
        for target in own_imports(path):
            package = target[0]
            if package in SIDE:
                # Only the NumPy border of floor 0 needs one of the gates.
                border = path.name == "_arrays.py" and package == "_threads"
                assert floor != "functional" or border, f"{path.name} imports {package}"
            else:
                assert package in [*ALLOWED[floor], floor], f"{path.name}: {target}"


def test_estimators_do_not_import_each_other():
    exported = importlib.import_module("sklearn_whitebox.estimators")
    homes = {
        getattr(exported, name).__module__.split(".")[-1] for name in exported.__all__
    }
    for path in files("estimators"):
        if path.name == "__init__.py":
            continue
        for package, *module in own_imports(path):
            if package == "estimators":
                assert module[0] not in homes, f"{path.name} imports {module[0]}"


def test_side_modules_import_no_floor():
    for name in SIDE:
        for package, *_ in own_imports(ROOT / f"{name}.py"):
            assert package in SIDE


def test_every_folder_is_a_known_floor():
    folders = {path.name for path in ROOT.iterdir() if (path / "__init__.py").is_file()}
    assert folders == set(ALLOWED)


@pytest.mark.parametrize("library", ["matplotlib", "pandas", "polars", "rich"])
def test_only_display_and_readers_name_extras(library):
    """Extras are imported where they are used, never at import of the package."""
    for path in ROOT.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            assert all(not n.startswith(library) for n in names), path


def test_private_parts_of_scikit_learn_are_imported_in_one_place():
    for path in ROOT.rglob("*.py"):
        if path.name == "_compat.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not node.module:
                continue
            if node.module.split(".")[0] != "sklearn":
                continue
            private = [part for part in node.module.split(".") if part.startswith("_")]
            private += [a.name for a in node.names if a.name.startswith("_")]
            assert not private, f"{path.name} imports {private} of scikit-learn"
