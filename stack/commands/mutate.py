"""`./relevo mutate`: whether the tests of the modules that decide would notice a wrong one."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from stack.embedded.layout import REPOSITORY
from stack.errors import ConfigurationError, StackError
from stack.mutants import find_mutants
from stack.terminal import console, report, shown_errors

_ROOMS = {
    "calendar": ("moments", "partitions", "due_dates"),
    "evaluation": (
        *("bootstrap", "calibration", "confusion", "decision_threshold", "evidence"),
        *("metric_values", "prediction_columns", "promotion_gate"),
    ),
    "monitoring": (
        *("alerts", "binning", "divergence", "drift", "gaps", "performance", "profiles"),
        *("retraining", "sketches"),
    ),
    "training": ("association",),
}
DECIDING = {n: Path("include", room, f"{n}.py") for room, names in _ROOMS.items() for n in names}
DEMANDED = 0.95
_OURS = ("include", "relevo", "tests")
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_QUIETLY = ("-q", "-p", "no:cacheprovider")


def mutate(
    modules: Annotated[list[str] | None, typer.Argument(help="Such as drift; default all.")] = None,
    sample: Annotated[int, typer.Option(min=0, help="Changes a module; 0 for all of them.")] = 12,
    seed: Annotated[int, typer.Option(help="Of the sample.")] = 1,
) -> None:
    """Change the modules that decide, one place at a time, and count what their tests notice.

    Cosmic Ray makes the changes: comparisons, arithmetic, conditions, truth values, numbers,
    loops and exceptions. Left out are those that decide nothing (annotations, decorators such as
    `frozen=True`, the guard `strict=True` of a zip) and those that a test cannot miss once it
    notices these (`-` by `%`, `is` by `<`). Only the test file of the module itself counts, and
    it runs on a copy of the checkout.

    The exit code is 1 if the tests notice less than 95 % of the changes: of a named module, or of
    all together if none is named. One may always go unnoticed: some change nothing, and of twenty
    one is 5 %.
    """
    with shown_errors():
        for name in modules or ():
            if name not in DECIDING:
                raise ConfigurationError(f"Module {name}: must be one of {', '.join(DECIDING)}.")
        table = Table("module", "mutants", "noticed", "share", box=box.SIMPLE_HEAD, pad_edge=False)
        counts = []
        with _copy() as copy:
            for name in modules or DECIDING:
                total, unnoticed = _examine(copy, DECIDING[name], sample, seed)
                counts.append((name, total, total - len(unnoticed)))
                report(f"{name}: {len(unnoticed)} of {total} unnoticed")
                for line in unnoticed:
                    console.print(line, markup=False, soft_wrap=True)
        counts.append(("all", sum(row[1] for row in counts), sum(row[2] for row in counts)))
        for name, total, noticed in counts:
            table.add_row(name, str(total), str(noticed), f"{noticed / max(total, 1):.1%}")
    console.print(table)
    for _, total, noticed in counts[:-1] if modules else counts[-1:]:
        if noticed < min(DEMANDED * total, total - 1):
            raise typer.Exit(1)


@contextlib.contextmanager
def _copy() -> Iterator[Path]:
    """Copy what the tests of the library need; the copy is deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="relevo-mutate-") as folder:
        copy = Path(folder)
        (copy / "tmp").mkdir()
        tempfile.tempdir = os.environ["TMPDIR"] = str(copy / "tmp")
        for name in ("include", "plugins", "tests"):
            ignored = shutil.ignore_patterns("__pycache__")
            # Without permissions: a read-only file is changed here, too.
            shutil.copytree(
                REPOSITORY / name, copy / name, ignore=ignored, copy_function=shutil.copyfile
            )
        shutil.copyfile(REPOSITORY / "pyproject.toml", copy / "pyproject.toml")
        yield copy


def _examine(copy: Path, path: Path, sample: int, seed: int) -> tuple[int, list[str]]:
    """Count the changes of a module, and list those that its tests do not notice."""
    tests = tests_of(path)
    source = (copy / path).read_text(encoding="utf-8")
    if not (copy / tests).exists():
        raise StackError(f"Tests {tests}: must exist to notice a change, got nothing. Write them.")
    _import_what_is_not_ours(copy / tests)
    begun = time.monotonic()
    if not _passes(copy, tests, seconds=600):
        raise StackError(f"Tests {tests}: must pass unchanged, got failures. Run them first.")
    # A change may keep size and second of the file, by which Python knows what it compiled.
    Path(importlib.util.cache_from_source(copy / path)).unlink(missing_ok=True)
    limit = 5 + 5 * int(time.monotonic() - begun)
    mutants = list(find_mutants(source))
    if 0 < sample < len(mutants):
        mutants = random.Random(seed).sample(mutants, sample)
    unnoticed = []
    for mutant in sorted(mutants, key=lambda item: item.line):
        (copy / path).write_text(mutant.source, encoding="utf-8")
        if _passes(copy, tests, seconds=limit, compiles=False):
            before, after = (t.splitlines()[mutant.line - 1] for t in (source, mutant.source))
            unnoticed.append(f"{path}:{mutant.line}: {before.strip()}  ->  {after.strip()}")
    (copy / path).write_text(source, encoding="utf-8")
    return len(mutants), unnoticed


def tests_of(path: Path) -> Path:
    """Name the test file of a module of the library."""
    return Path("tests", "library", path.parent.name, f"test_{path.name}")


def _import_what_is_not_ours(tests: Path) -> None:
    """Collect tests, so that each run of them begins with the packages that they import."""
    import pytest

    collect = ("--collect-only", "--continue-on-collection-errors")
    # A request to stop waits until then: some packages swallow it while they are imported.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            pytest.main([*collect, *_QUIETLY, str(tests)])
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
    for name in [name for name in sys.modules if name.partition(".")[0] in _OURS]:
        del sys.modules[name]


def _passes(copy: Path, tests: Path, *, seconds: int, compiles: bool = True) -> bool:
    """Run tests in a process that is ended after so many seconds, which is no pass."""
    child = os.fork()
    if child == 0:
        _become_pytest(copy, tests, seconds, compiles)
    try:
        return os.waitpid(child, 0)[1] == 0
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise


def _become_pytest(copy: Path, tests: Path, seconds: int, compiles: bool) -> None:
    import pytest

    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.alarm(seconds)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    os.chdir(copy)
    sys.dont_write_bytecode = not compiles
    os._exit(pytest.main(["-x", *_QUIETLY, str(tests)]))
