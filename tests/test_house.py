"""The floor plan: imports point down only, files have one subject and stay short, importing is silent."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the ground up. A module imports from its own room and from lower floors.
FLOORS = [
    ["options.mistakes", "restore.failures"],
    ["options.base", "options.overrides", "restore.atomic", "restore.interruption"],
    ["restore.images", "restore.strips"],
    ["transforms", "losses", "restore.networks", "restore.metrics", "restore.optimization", "restore.camera"],
    ["restore.data_sets"],
    ["options.option_file", "restore.device", "restore.sample_photographs"],
    ["restore.image_store", "restore.schedule"],
    ["restore.data"],
    ["restore.validation"],
    ["restore.checkpoint", "restore.logbook", "restore.model_info", "restore.guard"],
    ["restore.trainer", "restore.tiles"],
    ["restore.assembly", "restore.restorer", "restore.results", "restore.command_line"],
    ["restore.check", "restore.resuming"],
    [
        "restore.train",
        "restore.test",
        "restore.calibrate",
        "restore.camera.__main__",
        "restore.benchmark",
        "restore.__init__",
    ],
]
ROOMS = {room: number for number, floor in enumerate(FLOORS) for room in floor}


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


FILES = {
    module_name(file): file
    for package in ("options", "transforms", "losses", "restore")
    for file in sorted((ROOT / package).rglob("*.py"))
    if file.stat().st_size
}


def room_of(module: str) -> str | None:
    """The room of a module of ours: the longest name in the plan that it begins with."""
    rooms = [room for room in ROOMS if f"{module}.".startswith(f"{room}.")]
    return max(rooms, key=len, default=None)


def imported_by(file: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {module for module in modules if module.split(".")[0] in ("options", "transforms", "losses", "restore")}


def test_every_module_has_a_room_in_the_plan():
    assert [name for name in FILES if room_of(name) is None] == []


@pytest.mark.parametrize("name", FILES)
def test_imports_point_down(name):
    room = room_of(name)
    for module in imported_by(FILES[name]):
        other = room_of(module)
        assert other == room or ROOMS[other] < ROOMS[room], f"{name} imports {module}, which is not below it"


@pytest.mark.parametrize("name", FILES)
def test_a_file_fits_in_250_lines(name):
    assert len(FILES[name].read_text(encoding="utf-8").splitlines()) <= 250


def test_importing_everything_prints_nothing_and_makes_no_file(tmp_path):
    modules = [name for name in FILES if not name.endswith("__main__")]
    code = "".join(f"import {name.removesuffix('.__init__')}\n" for name in modules)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
