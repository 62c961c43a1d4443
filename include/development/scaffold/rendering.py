"""The templates of proposed files, and the words that several of them share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from include.development.scaffold.proposal import Proposal

_SHOWN = 50


def rendered(template: str, **values: Any) -> str:
    """Fill in ``templates/<template>.j2``; a value that the template lacks is an error."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Python and YAML are written, which have quotes of their own
    )
    return environment.get_template(f"{template}.j2").render(**values)


def description(proposal: Proposal) -> str:
    """Say in one sentence what the model predicts."""
    wish, target = proposal.wish, proposal.target
    name = prose(wish.target)
    if target.task == "binary":
        positive = prose(str(target.positive)) if target.positive is not None else "1"
        return f"Chance that {name} is {positive}."
    return f"{'Class' if target.task == 'multiclass' else 'Value'} of {name}."


def seen(proposal: Proposal) -> str:
    """Say how many rows were looked at."""
    looked, rows = len(proposal.frame), proposal.sample.rows
    return f"{rows:,} rows" if looked == rows else f"{looked:,} of {rows:,} rows"


def quoted(text: str) -> str:
    """Write a string as Python does, in the quotes of which it holds fewer."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    return quote + "".join(_escaped(character, quote) for character in text) + quote


def double_quoted(text: str) -> str:
    """Write a string as YAML does in double quotes."""
    return '"' + "".join(_escaped(character, '"') for character in text) + '"'


def one_line(text: str) -> str:
    """Write text for a comment, whatever names of columns it holds."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def prose(name: str) -> str:
    """Write a name for a sentence of a docstring, which has quotes and escapes of its own."""
    line = one_line(name).replace("\\", "/").replace('"', "'")
    return f"{line[:_SHOWN]}..." if len(line) > _SHOWN else line


def _escaped(character: str, quote: str) -> str:
    if character in (quote, "\\"):
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    return short or (f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
