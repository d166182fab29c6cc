"""HTML from templates: every value that they show is escaped."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = "io/templates"


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # only where HTML is asked for

    loader = PackageLoader("circuitlsc", TEMPLATES)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def render(template: str, **values: Any) -> str:
    """Return a template of ``circuitlsc/io/templates`` with values in it; text in them is shown as text."""
    text = _environment().get_template(template).render(values)
    return text.encode(errors="backslashreplace").decode()  # names of files may hold what is no text
