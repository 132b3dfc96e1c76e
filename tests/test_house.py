"""The house: imports between packages point down, and importing is silent."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the ground up. A package imports from itself and from lower floors; the commands in restore/ are the top floor.
FLOORS = [
    ["options"],
    ["transforms.sensor"],
    ["transforms.noise"],
    ["transforms"],
    ["losses"],
    ["restore.files", "restore.command", "restore.compute"],
    ["restore.networks", "restore.camera", "restore.tracking"],
    ["restore.data"],
    ["restore.evaluation", "restore.report"],
    ["restore.training"],
    ["restore.runs"],
    ["restore.inference"],
    ["restore.export", "restore.chart"],
    ["restore"],
]
FLOOR = {package: number for number, packages in enumerate(FLOORS) for package in packages}
TOP = ("options", "transforms", "losses", "restore")
FILES = [file for package in TOP for file in sorted((ROOT / package).rglob("*.py"))]


def package_of(module: str) -> str:
    """The package of the plan that a module of ours belongs to; what is run as a command belongs to the top floor."""
    if module.endswith("__main__"):
        return "restore"
    return max((package for package in FLOOR if f"{module}.".startswith(f"{package}.")), key=len)


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported_by(file: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {module for module in modules if module.split(".")[0] in TOP}


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_imports_point_down(file):
    package = package_of(module_name(file))
    for module in imported_by(file):
        other = package_of(module)
        assert other == package or FLOOR[other] < FLOOR[package], f"{file} imports {module}, which is not below it"


def test_importing_everything_prints_nothing_and_makes_no_file(tmp_path):
    modules = [module_name(file) for file in FILES if file.name != "__main__.py"]
    code = "".join(f"import {name}\n" for name in modules)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
