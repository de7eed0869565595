"""The figures that move: what they share, and for each page the scripts of those it shows."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.fileutil import copy_asset

SHARED = ("core.js", "maths.js", "states.js")  # what the figures' own scripts build on, in order
FIGURE = re.compile(r'class="nbvae-living"[^>]*? data-figure="(\w+)"')


def folder() -> Path:
    """Return where the living figures are, without importing PyTorch for it."""
    package = find_spec("nbvae")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("The book needs its package: install it with `pip install -e .`")
    return Path(package.origin).parent / "teaching" / "living"


def write(app: Sphinx) -> None:
    """Put the scripts into the site: what figures share in one file, each figure in its own."""
    if app.builder.format != "html":
        return
    source, target = folder(), Path(app.outdir) / "_static"
    (target / "living").mkdir(parents=True, exist_ok=True)
    shared = "".join((source / name).read_text(encoding="utf-8") for name in SHARED)
    (target / "living.js").write_text(shared, encoding="utf-8")
    copy_asset(source / "living.css", target)
    for script in source.glob("*.js"):
        if script.name not in SHARED:
            copy_asset(script, target / "living")


def load(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Give a page the scripts of the figures that it shows."""
    figures = dict.fromkeys(FIGURE.findall(context.get("body", "")))
    if figures:
        app.add_css_file("living.css")
        for script in ("living.js", *(f"living/{name}.js" for name in figures)):
            app.add_js_file(script, loading_method="defer")


def setup(app: Sphinx) -> None:
    """Register them."""
    app.connect("builder-inited", write)
    app.connect("html-page-context", load)
