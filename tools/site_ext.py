"""Sphinx extension of the book's site.

Nothing comes from another host, buttons need an address, the pages whose figures move share one
copy of their script, and no page loads what it doesn't need.
"""

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.fileutil import copy_asset

# Of the 13 MB that the package holds, what pages with TeX input and CHTML output can ask for.
MATHJAX_PARTS = ("tex-chtml.js", "input/tex/extensions", "output/chtml/fonts/woff-v2")
# FontAwesome's script, 1.5 MB, draws what its fonts draw already. And preloaded fonts are refused
# where a page is opened as a file.
NEEDLESS = re.compile(
    r'\s*<script src="[^"]*/fontawesome/[^"]*"></script>'
    r'|\s*<link rel="preload" as="font"[^>]*/fontawesome/[^>]*>'
    r'|\n *<span class="c1">### (?:BEGIN|END) SOLUTION</span>'  # the student edition's marks
)
LIVING = 'class="nbvae-living"'
FIRST = ("core.js", "maths.js", "states.js")  # what the figures' own scripts build on


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


def living_folder() -> Path:
    """Return where the living figures are, without importing PyTorch for it."""
    package = find_spec("nbvae")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("The book needs its package: install it with `pip install -e .`")
    return Path(package.origin).parent / "teaching" / "living"


def write_living(app: Sphinx) -> None:
    """Join the scripts of the living figures to one, and put it with their style into the site."""
    if app.builder.format != "html":
        return
    folder, target = living_folder(), Path(app.outdir) / "_static"
    target.mkdir(parents=True, exist_ok=True)
    files = sorted(folder.glob("*.js"), key=lambda path: (path.name not in FIRST, path.name))
    joined = "".join(path.read_text(encoding="utf-8") for path in files)
    (target / "living.js").write_text(joined, encoding="utf-8")
    copy_asset(folder / "living.css", target)


def load_living(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Give script and style to the pages that have a living figure."""
    if LIVING in context.get("body", ""):
        app.add_js_file("living.js", loading_method="defer")
        app.add_css_file("living.css")


def lighten(app: Sphinx, error: Exception | None) -> None:
    """Take off the pages what the theme puts there and this book does without."""
    if error or app.builder.format != "html":
        return
    for page in Path(app.outdir).rglob("*.html"):
        if "_static" not in page.parts:
            text = page.read_text(encoding="utf-8")
            page.write_text(NEEDLESS.sub("", text), encoding="utf-8")
    for script in Path(app.outdir).glob("_static/vendor/fontawesome/*/js/*"):
        script.unlink()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register them."""
    app.connect("config-inited", offer_repository)
    app.connect("builder-inited", write_living)
    app.connect("html-page-context", load_living)
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", lighten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
