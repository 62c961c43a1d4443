"""docs/architecture.md says what is so: its links, its functions, its rooms and its arrows."""

from __future__ import annotations

import ast
import functools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
PAGE = PROJECT / "docs" / "architecture.md"
LIBRARY = PROJECT / "include"

LINK = re.compile(r"\[[^\]]*\]\(([^)#]+)\)")
# A function or method with brackets, a class or a constant; plain words are tables and keys.
NAMED = re.compile(r"`([A-Z]\w*(?:\.\w+)*|\w+(?:\.\w+)*\(\))`")


def text() -> str:
    return PAGE.read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """Read the rows of the first table below a heading, without its head."""
    lines = text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0].splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


@functools.cache
def defined(path: Path) -> frozenset[str]:
    """Name what a module defines: functions, classes, constants, and ``Class.method``."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                names.add(name)
            case ast.ClassDef(name=name, body=body):
                inside = [item for item in body if isinstance(item, ast.FunctionDef)]
                names |= {name, *(f"{name}.{item.name}" for item in inside)}
            case ast.Assign(targets=targets):
                names |= {item.id for item in targets if isinstance(item, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.ImportFrom(names=aliases) if path.parent == LIBRARY:
                names |= {item.name for item in aliases}  # a door names what a room makes
            case _:
                pass
    return frozenset(names)


def claims(page: str) -> Iterator[tuple[Path, str]]:
    """Walk over what the page says to be in a file: names behind a link, in the same line."""
    for line in page.splitlines():
        path = None
        for found in re.finditer(f"{LINK.pattern}|{NAMED.pattern}", line):
            address, name = found.groups()
            if address is not None:
                path = (PAGE.parent / address).resolve() if address.endswith(".py") else None
            elif path is not None:
                yield path, name.removesuffix("()")


def floors_of_the_contract() -> dict[int, set[str]]:
    """Number the layers of the library from below, from 1."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = (
        contract["layers"]
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract.get("containers") == ["include"]
    )
    return {
        floor: {room.strip() for room in layer.split("|")}
        for floor, layer in enumerate(reversed(layers), start=1)
    }


def picture() -> str:
    return text().partition("```mermaid\nflowchart TB\n")[2].partition("```")[0]


def imports_of(room: str) -> set[str]:
    """Name the rooms that a room imports from."""
    module = LIBRARY / f"{room}.py"
    found = set()
    for path in [module] if module.exists() else (LIBRARY / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("include"):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                found |= {name.split(".")[1] for name in names}
    return found - {room}


def test_every_link_leads_to_something() -> None:
    links = LINK.findall(text())
    assert len(links) > 100
    assert [link for link in links if not (PAGE.parent / link).exists()] == []


def test_every_name_is_in_the_file_that_stands_before_it() -> None:
    found = list(claims(text()))
    assert len(found) > 100
    missing = [
        f"{path.relative_to(PROJECT)}: {name}" for path, name in found if name not in defined(path)
    ]
    assert missing == [], "the page names what is not there: correct the page"


@pytest.mark.parametrize(
    "line",
    [
        "[drift](../include/monitoring/drift.py) `judge_drift()`",
        "| [champions](../include/registry/champions.py) | `Registry.demote()` |",
        "[model files](../include/registry/model_files.py) `UNTRUSTED_TYPES`",
    ],
)
def test_a_name_that_is_not_there_would_be_noticed(line: str) -> None:
    ((path, name),) = claims(line)
    assert name not in defined(path)


def test_each_question_has_one_file_and_a_name_in_it() -> None:
    rows = table("Where is it decided?")
    assert len(rows) >= 20
    for question, file, answer in rows:
        assert question.endswith("?"), question
        assert len(LINK.findall(file)) == 1, question
        assert NAMED.search(answer), question


def test_the_table_of_rooms_is_that_of_the_contract() -> None:
    told: dict[int, set[str]] = {}
    for floor, rooms, *_ in table("The rooms"):
        told.setdefault(int(floor), set()).update(re.findall(r"`(\w+)`", rooms))
    assert told == floors_of_the_contract()


def test_the_picture_shows_every_floor_but_that_of_the_doors() -> None:
    drawn = {
        int(floor): set(rooms.split())
        for floor, rooms in re.findall(
            r'subgraph f\d+\["floor (\d+)"\]\n(.*?)\n    end', picture(), re.DOTALL
        )
    }
    contract = floors_of_the_contract()
    del contract[max(contract)]
    assert drawn == contract


def test_every_arrow_that_is_drawn_is_an_import() -> None:
    arrows = re.findall(r"(\w+) --> (\w+)", picture())
    assert len(arrows) > 10
    assert [(upper, lower) for upper, lower in arrows if lower not in imports_of(upper)] == []


def test_what_is_taken_from_a_room_is_there() -> None:
    missing = []
    for _, rooms, _, taken in table("The rooms"):
        for name in re.findall(r"`([\w.]+)`", taken):
            if not any(_is_in(room, name) for room in re.findall(r"`(\w+)`", rooms)):
                missing.append(f"{rooms}: {name}")
    assert missing == []


def _is_in(room: str, name: str) -> bool:
    """Tell whether a room has a module or package, or a name in one of them or in itself."""
    module, _, rest = name.partition(".")
    path = LIBRARY / room / f"{module}.py"
    if path.exists():
        return not rest or rest in defined(path)
    itself = LIBRARY / f"{room}.py"
    itself = itself if itself.exists() else LIBRARY / room / "__init__.py"
    return name == room or name in defined(itself) or (LIBRARY / room / name).is_dir()
