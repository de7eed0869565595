"""Sphinx extension of the book's site: nothing comes from another host, buttons need an address."""

from importlib import import_module
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.fileutil import copy_asset

# Of the 13 MB that the package holds, what pages with TeX input and CHTML output can ask for.
MATHJAX_PARTS = ("tex-chtml.js", "input/tex/extensions", "output/chtml/fonts/woff-v2")


def offer_repository(app: Sphinx, config: Config) -> None:
    """Show links to the repository, its issues and Colab if _config.yml names an address."""
    options = config.html_theme_options
    known = bool(options.get("repository_url"))
    options["use_repository_button"] = options["use_issues_button"] = known
    if not known:
        options["launch_buttons"] = {}


def copy_mathjax(app: Sphinx, error: Exception | None) -> None:
    """Put MathJax next to the pages, so that they show formulas without a network."""
    if error or app.builder.format != "html":
        return
    package = import_module("sphinx-mathjax-offline")  # the hyphens rule out `import`
    source = Path(str(package.__file__)).parent / "static" / "mathjax"
    target = Path(app.outdir) / "_static" / "mathjax"
    for part in MATHJAX_PARTS:
        folder = part if (source / part).is_dir() else "."
        copy_asset(source / part, target / folder)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the two."""
    app.connect("config-inited", offer_repository)
    app.connect("build-finished", copy_mathjax)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
