"""YAML with the line of every key: what a person is told must point at what they wrote."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

Location = tuple[str | int, ...]
# With aliases counted as often as they are used: a few lines could stand for billions of values.
_MOST_NODES = 100_000
_TEXT = "tag:yaml.org,2002:str"
_SURROGATE = re.compile("[\ud800-\udfff]")
_BRACKETS = {
    "while parsing a flow mapping": ("{", "}"),
    "while parsing a flow sequence": ("[", "]"),
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a file.

    Args:
        location: Keys from the top of the file down to the value that is at fault.
        rule: What must hold, what was found, what to do.
        line: Line at fault; None for that of the location.
    """

    location: Location
    rule: str
    line: int | None = None

    def __str__(self) -> str:
        """Render as ``training.metric: rule``; the place in a list is left to the line."""
        keys = [part for part in self.location if isinstance(part, str)]
        return f"{'.'.join(keys)}: {self.rule}" if keys else self.rule


@dataclass(frozen=True)
class Document:
    """A file's content and where it stands.

    Args:
        content: Mappings, lists and scalars; None if the text is no YAML.
        lines: Line of each key and list item, by location.
        problems: What is wrong with the YAML itself.
    """

    content: Any
    lines: dict[Location, int]
    problems: tuple[Problem, ...] = ()

    def line(self, location: Sequence[str | int]) -> int:
        """Give the line of a location, or of the nearest section around it."""
        return next(
            (
                self.lines[tuple(location[:length])]
                for length in range(len(location), 0, -1)
                if tuple(location[:length]) in self.lines
            ),
            1,
        )


class _Constructor(SafeConstructor):
    """Leaves a day that no calendar has, such as 2005-02-30, as text for the models to refuse."""

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """Say where a value stands that its type cannot hold: !!int x, or 5,000 digits."""
        try:
            value = super().construct_object(node, deep=deep)
            if isinstance(value, int):
                float(value)  # a number of 400 digits is none that a key could mean
        except (KeyError, ValueError, OverflowError) as error:
            raise MarkedYAMLError(
                problem=f"a value that cannot be read ({error})", problem_mark=node.start_mark
            ) from error
        if isinstance(value, str) and _SURROGATE.search(value):
            raise MarkedYAMLError(
                problem="half a character such as \\ud800", problem_mark=node.start_mark
            )
        return value

    def construct_yaml_timestamp(self, node: ScalarNode, values: Any = None) -> Any:
        try:
            return super().construct_yaml_timestamp(node, values)
        except ValueError:
            return str(node.value)


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", _Constructor.construct_yaml_timestamp)


def read(path: Path) -> Document:
    """Read one YAML document; what is wrong with it is among the result, never raised."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return _broken(
            line,
            f"must be UTF-8 text, got the byte 0x{data[error.start]:02x}. Save the file as UTF-8.",
        )
    # Not ruamel's round-trip loader: its own number and text types would end up in the models.
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    yaml.allow_duplicate_keys = True  # they are told below, all of them and with both lines
    try:
        node = yaml.compose(text)
        if node is None:
            return Document(None, {})
        lines: dict[Location, int] = {}
        problems = tuple(_walk(node, (), lines, (), itertools.count(1)))
        return Document(yaml.constructor.construct_document(node), lines, problems)
    except MarkedYAMLError as error:
        return _broken(*_explain(error, text))
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        code = ord(error.character) if isinstance(error.character, str) else error.character
        return _broken(
            line, f"must be YAML, got the unprintable character 0x{code:02x}. Remove it."
        )
    except YAMLError as error:
        return _broken(1, f"must be YAML, got {error}. Correct the file.")
    except RecursionError:
        return _broken(1, "must hold sections in sections a few deep, got hundreds. Close them.")


def _broken(line: int, rule: str) -> Document:
    return Document(None, {}, (Problem((), rule, line),))


def _walk(
    node: Node,
    location: Location,
    lines: dict[Location, int],
    above: Sequence[Node],
    seen: Iterator[int],
) -> Iterator[Problem]:
    """Note the line of everything below a node and take keys as texts; yields those twice."""
    if next(seen) > _MOST_NODES:
        raise MarkedYAMLError(
            problem=f"more than {_MOST_NODES:,} values by aliases", problem_mark=node.start_mark
        )
    if any(node is parent for parent in above):
        raise MarkedYAMLError(
            problem="found an alias for what it stands in", problem_mark=node.start_mark
        )
    if isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*location, index)] = _line(item)
            yield from _walk(item, (*location, index), lines, (*above, node), seen)
    if not isinstance(node, MappingNode):
        return
    own: dict[str, int] = {}
    for key, value in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            merged = value.value if isinstance(value, SequenceNode) else [value]
            for item in merged:
                yield from _walk(item, location, lines, (*above, node), seen)
            continue
        if not isinstance(key, ScalarNode):
            raise MarkedYAMLError(problem="a list or section as key", problem_mark=key.start_mark)
        # A column or a class may be named 007, true or null: a key is the text that is written.
        key.tag = _TEXT
        name = str(key.value)
        if name in own:
            yield Problem(
                (*location, name),
                f"must stand once, got it in line {own[name]} as well. Remove one of them.",
                _line(key),
            )
            continue
        own[name] = lines[(*location, name)] = _line(key)
        yield from _walk(value, (*location, name), lines, (*above, node), seen)


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _explain(error: MarkedYAMLError, text: str) -> tuple[int, str]:
    """Say in words of the file, not of the parser, what is wrong and in which line."""
    problem, context = str(error.problem), str(error.context)
    line = error.problem_mark.line + 1 if error.problem_mark else 1
    opened = error.context_mark.line + 1 if error.context_mark else line
    character = re.match(r"found character '(.+)' that cannot start", problem)
    if character and character[1] == "\\t":
        return line, "must be indented by spaces, got a tab. Replace it by spaces."
    if character or "scanning an alias" in context or "expected the node content" in problem:
        begins = text.splitlines()[line - 1][error.problem_mark.column :][:1]
        begins = "*" if "scanning an alias" in context else begins
        return line, f"a value must not begin with {begins}. Put the value in quotes."
    if context in _BRACKETS:
        opening, closing = _BRACKETS[context]
        return opened, (
            f"the {opening} that this line opens must be closed by {closing}, with commas between "
            f"its items, got something else in line {line}. Add what is missing, or put a value "
            "that begins with { in quotes."
        )
    if "scanning a quoted scalar" in context:
        return opened, "the quote that this line opens must be closed, and never is. Add a quote."
    if "mapping values are not allowed" in problem:
        return line, (
            "must be one `key: value` a line, indented as the lines around it. Correct the "
            "indentation, or put a value that holds ': ' in quotes."
        )
    if "expected <block end>" in problem:
        return line, (
            "must be indented as the lines around it, and a value that begins with {, [ or a quote "
            "must end with it. Correct the indentation, or put the whole value in quotes."
        )
    if "expected a single document" in context:
        return line, "must be the only document of the file, got another after ---. Remove it."
    if "found undefined alias" in problem:
        return line, "a value must not begin with *. Put the value in quotes."
    return line, f"must be YAML, got: {problem}. Correct the line."
