"""What the documents name is there: files, modules, links and commands."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from types import MappingProxyType

import pytest
import typer

from stack.cli import app

PROJECT = Path(__file__).parent.parent
# The changelog is not among them: it tells how things were called when they changed.
DOCUMENTS = sorted(
    str(path.relative_to(PROJECT))
    for path in (*PROJECT.glob("*.md"), *PROJECT.glob("bench/*.md"), *PROJECT.glob("docs/**/*.md"))
    if path.name != "CHANGELOG.md"
)
# What documents name and no clone has.
ABSENT = MappingProxyType(
    {
        ".venv*": "made by the launcher",
        ".relevo*": "made by ./relevo up",
        "stack.json": "made by ./relevo up, in .relevo/",
        ".env": "made by ./relevo compose init",
        "manifest.json": "made by ./relevo backup, in each backup",
        "report.*": "made by ./relevo torture",
        "*/churn.*": "the pipeline that the reader makes",
        "*/test_churn.py": "the pipeline that the reader makes",
        "dags/loan*_on_arrival.py": "a DAG that the reader writes by hand",
        "dags/loans_quality.py": "a DAG that the reader writes by hand",
        "connections.json": "what the reader writes for Airflow",
        "docker-compose.override.yaml": "what the reader writes for docker-compose",
    }
)
# Where a dotted name of ours is found.
ROOTS = MappingProxyType({"include": "", "stack": "", "relevo": "plugins", "tests": ""})
FENCED = re.compile(r"^ *(```+).*?^ *\1", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"[\w.*<>-]+(/[\w.*<>-]+)*/?")
FILE = re.compile(r"[\w./-]+\.(csv|in|j2|json|md|parquet|png|py|sh|toml|txt|ya?ml)")
DOTTED = re.compile(r"[a-z_]\w*(\.\w+)+")
IMPORTED = re.compile(r"(?:\bfrom|\bimport|-m) ((?:include|relevo|stack|tests)(?:\.\w+)+)")
COMMAND = re.compile(r"\./relevo ([a-z][\w-]*)(?: ([a-z][\w-]*))?")


def quoted(text: str) -> list[str]:
    """Return what is in backticks, outside blocks of code."""
    return QUOTED.findall(FENCED.sub("", text))


def named_paths(text: str) -> Iterator[str]:
    """Yield what is in backticks and looks like a file or folder of the repository."""
    tops = {path.name for path in PROJECT.iterdir()}
    for word in quoted(text):
        if PATH.fullmatch(word) and (word.partition("/")[0] in tops or FILE.fullmatch(word)):
            yield word


def missing_paths(text: str, folder: Path) -> list[str]:
    """Name the paths that lead nowhere, from the project and from the document's folder.

    Args:
        text: Markdown. `<name>` and `*` in a path stand for anything; a file may be named alone,
            wherever it is.
        folder: The folder of the document.
    """
    return [
        path
        for path in named_paths(text)
        if not any(fnmatch(path, pattern) for pattern in ABSENT)
        and not is_found(PROJECT, path)
        and not is_found(folder, path)
        and path not in file_names()
    ]


def is_found(start: Path, path: str) -> bool:
    pattern = re.sub(r"<[^>]*>", "*", path).rstrip("/")
    return next(start.glob(pattern), None) is not None


@cache
def file_names() -> frozenset[str]:
    roots = ("bench", "dags", "docs", "expectations", "include", "plugins", "stack", "tests")
    return frozenset(path.name for root in roots for path in (PROJECT / root).rglob("*.*"))


def missing_links(text: str, folder: Path) -> list[str]:
    """Name the links to files that are not there."""
    targets = [target for target in LINK.findall(FENCED.sub("", text)) if "://" not in target]
    return [
        target
        for target in targets
        if not target.startswith("#") and not (folder / target.partition("#")[0]).exists()
    ]


def missing_modules(text: str) -> list[str]:
    """Name the dotted names of ours of which no module, or nothing in the module, is left."""
    names = [word for word in quoted(text) if DOTTED.fullmatch(word) and not FILE.fullmatch(word)]
    ours = [word for word in names if word.partition(".")[0] in ROOTS] + IMPORTED.findall(text)
    return [word for word in ours if not is_there(word)]


def is_there(dotted: str) -> bool:
    """Tell whether a module exists, or a name at the top of one."""
    parts = dotted.split(".")
    start = PROJECT / ROOTS[parts[0]]
    if is_module(start.joinpath(*parts)):
        return True
    for length in range(len(parts) - 1, 0, -1):
        module = start.joinpath(*parts[:length])
        if is_module(module):
            return parts[length] in names_of(module)
    return False


def is_module(path: Path) -> bool:
    return (path / "__init__.py").exists() or path.with_suffix(".py").exists()


@cache
def names_of(module: Path) -> frozenset[str]:
    file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
    names: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names.update(alias.asname or alias.name for alias in aliases)
            case ast.Assign() | ast.AnnAssign():
                names.update(part.id for part in ast.walk(node) if isinstance(part, ast.Name))
    return frozenset(names)


def unknown_commands(text: str) -> list[str]:
    """Name what is written like a command of ours, in code and in prose, and is none."""
    groups = {group.name: names_in(group.typer_instance) for group in app.registered_groups}
    unknown = []
    for name, second in COMMAND.findall(text):
        if name in groups:
            unknown += [f"{name} {second}"] if second and second not in groups[name] else []
        elif name not in names_in(app):
            unknown.append(name)
    return unknown


def names_in(group: typer.Typer | None) -> set[str]:
    assert group is not None
    found = ((item.name, item.callback) for item in group.registered_commands)
    return {name or callback.__name__ for name, callback in found if callback is not None}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_names_is_there(document: str) -> None:
    text = (PROJECT / document).read_text(encoding="utf-8")
    folder = (PROJECT / document).parent
    assert missing_paths(text, folder) == [], "moved or removed: correct the document"
    assert missing_links(text, folder) == [], "moved or removed: correct the link"
    assert missing_modules(text) == [], "moved or renamed: correct the name"
    assert unknown_commands(text) == [], "no command of ./relevo: correct the document"


@pytest.mark.parametrize("pattern", ABSENT)
def test_every_exception_is_still_needed(pattern: str) -> None:
    texts = [(PROJECT / name).read_text(encoding="utf-8") for name in DOCUMENTS]
    words = [word for text in texts for word in quoted(text)]
    assert [word for word in words if fnmatch(word, pattern)], f"remove {pattern} from ABSENT"


def test_what_is_not_there_is_noticed(tmp_path: Path) -> None:
    text = """
See `include/wording.py`, `include/<room>/*.py`, `stack/`, `tests/library/gone.py`, `Gone.md`,
`stack/gone`, `drift.py`, `s3://lake/gone.py`, `metrics/gone`, [a page](docs/cookbook.md#first),
[another](docs/gone.md), [elsewhere](https://example.org/gone.md), [here](#gone);
`include.errors.RelevoError`, `include.errors.Gone`, `relevo.dags`, `stack.gone.thing`, `gone.x`.
Run `./relevo lint --fix`, `./relevo compose init`, `./relevo compose gone` and:

```bash
./relevo vanish stack/gone.py    # `stack/gone.py` is an argument, not a promise
python -m stack.cli && python -m stack.gone
```
"""
    gone = ["tests/library/gone.py", "Gone.md", "stack/gone"]
    assert missing_paths(text, tmp_path) == gone
    (tmp_path / "Gone.md").touch()  # named as seen from the document
    gone.remove("Gone.md")
    assert missing_paths(text, tmp_path) == gone
    assert missing_links(text, PROJECT) == ["docs/gone.md"]
    assert missing_modules(text) == ["include.errors.Gone", "stack.gone.thing", "stack.gone"]
    assert unknown_commands(text) == ["compose gone", "vanish"]
