"""The architecture in one look: the rooms from the ground up, and that imports only point down."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

import detrbench

PACKAGE = Path(detrbench.__file__).parent

ROOMS = {
    "core": "errors, units, statistics, atomic files, strict YAML, version",
    "machine": "what this computer is, and what happened to it while we measured",
    "models": "from a reference to a module: files, blocks, builder, sources of models",
    "reports": "settings, cases, metrics, verdicts, comparisons, the report itself",
    "runtimes": "ways to execute a model, their clocks, whether they compute the same",
    "render": "a document to text: one file for each format",
    "counting": "one trace, cost formulas, conventions, lint",
    "timing": "steps to samples to a run",
    "compare": "the gate, differences, history, what CI services read",
    "analysis": "probe, explain, predict",
    "experiments": "suites, the paper's guidelines, the article's claims",
    "cli": "one thin file for each command",
}
"""A room imports itself and those above it in this list; the package's own files import any."""

MOST_ENTRIES = 14

Arrow = tuple[str, str]


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of the package, by its dotted name."""
    return {_dotted(path): path for path in PACKAGE.rglob("*.py")}


def _dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def arrows() -> frozenset[Arrow]:
    """Importing module -> imported module: at the top, inside functions, and named in strings."""
    return frozenset(
        (name, target)
        for name, path in modules().items()
        for node in ast.walk(ast.parse(path.read_bytes()))
        for target in _targets(node)
        if target in modules() and target != name
    )


def _targets(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        inside = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name if name in modules() else str(node.module) for name in inside)
    elif isinstance(node, ast.Constant) and str(node.value).startswith("detrbench."):
        yield str(node.value).partition(":")[0]


def room(module: str) -> str:
    """The room of a module; "" for the package's own files."""
    return module.split(".")[1] if module.count(".") else ""


def test_the_rooms_are_all_there_is() -> None:
    entries = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert len(entries) <= MOST_ENTRIES, sorted(entries)
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"} == {*ROOMS}


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_only_what_lies_below_it(name: str) -> None:
    order = list(ROOMS)
    below = set(order[: order.index(name) + 1])
    upward = sorted(
        f"{source} -> {target}"
        for source, target in arrows()
        if room(source) == name and room(target) not in below
    )
    assert not upward


def test_no_imports_go_in_circles() -> None:
    targets: dict[str, set[str]] = {name: set() for name in modules()}
    for source, target in arrows():
        targets[source].add(target)
    while targets:
        free = {name for name, others in targets.items() if not others & targets.keys()}
        assert free, f"circles among {sorted(targets)}"
        for name in free:
            del targets[name]


def test_no_module_is_called_like_a_public_function() -> None:
    """`detrbench.trace` is a function; a module of that name would take its place."""
    assert not {path.stem for path in PACKAGE.iterdir()} & {*detrbench.__all__}


def test_tests_mirror_the_package() -> None:
    """Every folder of tests is a room, or a part of one, or of what the repository has beside."""
    tests = Path(__file__).parent
    beside = {"benchmarks", "packaging", "data", "golden", "__pycache__"}
    folders = {path.relative_to(tests) for path in tests.rglob("*") if path.is_dir()}
    strange = [
        str(folder)
        for folder in folders
        if not beside & {*folder.parts} and not (PACKAGE / folder).is_dir()
    ]
    assert not strange
