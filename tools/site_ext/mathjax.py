"""Formulas without a network: MathJax beside the pages, and of it what this book asks for."""

from importlib import import_module
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.fileutil import copy_asset

# Of 13 MB. `_config.yml` says which of them a page loads: all that the usual bundle has but the
# menu, which is a third of it and makes each formula a stop of the Tab key.
PARTS = (
    "startup.js", "core.js", "input/tex.js", "input/tex/extensions", "output/chtml.js",
    "output/chtml/fonts/tex.js", "output/chtml/fonts/woff-v2", "a11y/assistive-mml.js",
)  # fmt: skip


def copy(app: Sphinx, error: Exception | None) -> None:
    """Put MathJax next to the pages."""
    if error or app.builder.format != "html":
        return
    package = import_module("sphinx-mathjax-offline")  # the hyphens rule out `import`
    source = Path(str(package.__file__)).parent / "static" / "mathjax"
    target = Path(app.outdir) / "_static" / "mathjax"
    for part in PARTS:
        folder = target / part if (source / part).is_dir() else (target / part).parent
        folder.mkdir(parents=True, exist_ok=True)
        copy_asset(source / part, folder)


def setup(app: Sphinx) -> None:
    """Register it."""
    app.connect("build-finished", copy)
