"""Sphinx extension of the book's site.

Nothing comes from another host, buttons need an address, what the text names is a link that shows
what is meant, and no page loads what it doesn't need. Each module does one of these.
"""

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config

from . import body, head, living, mathjax, search, weight


def offer_repository(app: Sphinx, config: Config) -> None:
    """Show links to the repository, its issues and Colab if _config.yml names an address."""
    options = config.html_theme_options
    known = bool(options.get("repository_url"))
    options["use_repository_button"] = options["use_issues_button"] = known
    if not known:
        options["launch_buttons"] = {}


def plain_bars(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Leave the bars of |LFC| and q(z | x) in docstrings, which would be interpreted."""
    if lines and lines[0].startswith("Alias for field number"):  # of a named tuple
        lines.clear()
    lines[:] = [re.sub(r"(``.*?``)|\|", lambda m: m[1] or r"\|", line) for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register everything."""
    app.connect("config-inited", offer_repository)
    app.connect("autodoc-process-docstring", plain_bars)
    for part in (living, mathjax, body, search, head, weight):
        part.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
