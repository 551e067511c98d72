"""Check that an sdist and a wheel hold what users need, and nothing else."""

import sys
import tarfile
import zipfile
from pathlib import Path

PACKAGE = "sklearn_whitebox"
IN_SDIST = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff")
LARGEST = 2_000_000  # bytes; the package is text


def main(folder):
    sources = {path.as_posix() for path in Path(PACKAGE).rglob("*.py")}
    (wheel,) = Path(folder).glob("*.whl")
    (sdist,) = Path(folder).glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}

    problems = [f"missing in the wheel: {name}" for name in sources - in_wheel]
    problems += [f"missing in the sdist: {name}" for name in sources - in_sdist]
    problems += [f"missing in the sdist: {name}" for name in {*IN_SDIST} - in_sdist]
    if f"{PACKAGE}/py.typed" not in in_wheel:
        problems.append("the wheel is not marked as typed")
    if not any(name.endswith("licenses/LICENSE") for name in in_wheel):
        problems.append("the wheel has no licence")
    strangers = {
        name
        for name in in_wheel
        if not name.startswith(PACKAGE) or name.endswith((".nbi", ".nbc", ".pyc"))
    }
    problems += [f"in the wheel by mistake: {name}" for name in strangers]
    for path in (wheel, sdist):
        if path.stat().st_size > LARGEST:
            problems.append(f"{path.name} has {path.stat().st_size} bytes")
    if problems:
        sys.exit("\n".join(sorted(problems)))
    print(f"{wheel.name} and {sdist.name} are complete")


if __name__ == "__main__":
    main(sys.argv[1])
