"""Sphinx: the site of ``docs/``; ``./docs.sh`` builds it."""

from __future__ import annotations

import importlib.metadata
import re
from typing import TYPE_CHECKING, Any

from latex2mathml.converter import convert

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "circuitlsc"
author = copyright = "The circuitlsc developers"
release = importlib.metadata.version("circuitlsc")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

# pages
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
exclude_patterns: list[str] = []
suppress_warnings = ["ref.python"]  # an attribute that two classes have

# docstrings
default_role = "py:obj"  # a name in `backticks` is a link where the site has it
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings say types, shapes and units
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

# html: whatever is shown lies in the folder
html_theme = "furo"
html_title = f"circuitlsc {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"footer_icons": []}


def mathml(latex: str, display: str) -> str:
    """Return a formula as MathML, which browsers show without a script."""
    if display == "block" and r"\\" in latex and r"\begin" not in latex:
        latex = rf"\begin{{aligned}}{latex}\end{{aligned}}"
    found = convert(latex, display=display)
    unknown = re.findall(r"<m[io]>(\\\w+)", found)
    if unknown:
        raise ValueError(f"{latex!r} has {unknown}, which MathML does not know. Write it in another way.")
    return found


def visit_math(self: Any, node: Any) -> None:
    """Write a formula in a line."""
    from docutils.nodes import SkipNode

    self.body.append(mathml(node.astext(), "inline"))
    raise SkipNode


def visit_display(self: Any, node: Any) -> None:
    """Write a formula of its own."""
    from docutils.nodes import SkipNode

    blocks = (part for part in re.split(r"\n\s*\n", node.astext().strip()) if part)
    self.body.append("".join(f'<div class="formula">{mathml(block, "block")}</div>' for block in blocks))
    raise SkipNode


def lead_inside(app: Sphinx, page: str, text: list[str]) -> None:
    """Let links of pages lead to what the site has of the folders beside docs/."""
    up = "../" * page.count("/")
    text[0] = re.sub(r"\]\((?:\.\./)+benchmarks/(\w+)\.md", rf"]({up}generated/\1.md", text[0])


def setup(app: Sphinx) -> None:
    """Register what is above."""
    app.add_html_math_renderer("mathml", inline_renderers=(visit_math, None), block_renderers=(visit_display, None))
    app.config.html_math_renderer = "mathml"
    app.connect("source-read", lead_inside)
