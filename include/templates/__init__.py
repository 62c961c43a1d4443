"""Pages that people open, as Jinja templates."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

_LOOK_ALIKES = str.maketrans("<>", "\u2039\u203a")


def render(name: str, **values: Any) -> str:
    """Render ``<name>.html.j2``; every value is escaped unless the template says otherwise."""
    environment = Environment(
        loader=PackageLoader("include", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
    )
    return environment.get_template(f"{name}.html.j2").render(**values)


def without_markup(text: str) -> str:
    """Replace angle brackets by look-alikes, for pages of others that do not escape what landed."""
    return text.translate(_LOOK_ALIKES)
