"""The templates of proposed files, and the words that several of them share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from include.development.scaffold.proposal import Proposal


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
    if target.task == "binary":
        positive = target.positive if target.positive is not None else "1"
        return f"Chance that {wish.target} is {positive}."
    return f"{'Class' if target.task == 'multiclass' else 'Value'} of {wish.target}."


def seen(proposal: Proposal) -> str:
    """Say how many rows were looked at."""
    looked, rows = len(proposal.frame), proposal.sample.rows
    return f"{rows:,} rows" if looked == rows else f"{looked:,} of {rows:,} rows"


def quoted(text: str) -> str:
    """Write a string as Python does."""
    return json.dumps(text, ensure_ascii=False)
