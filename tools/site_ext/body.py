"""What a page's own part becomes: sizes of pictures, links, tables that a keyboard can scroll."""

from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup, Tag
from sphinx.application import Sphinx

from . import weight


def size_pictures(body: Tag, app: Sphinx) -> None:
    """Give pictures their size, so that nothing jumps, and load them as they are reached."""
    paths = {name: Path(app.srcdir) / path for path, name in app.builder.images.items()}
    for picture in body.find_all("img"):
        folder, _, name = picture.get("src", "").rpartition("/")
        if name not in paths:
            continue
        width, height = weight.shown_size(paths[name])
        picture.attrs.update(width=str(width), height=str(height), loading="lazy", decoding="async")
        picture["src"] = f"{folder}/{name}".replace(".png", ".webp")


def finish(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Change the page before its frame is put around it."""
    if tree is None or app.builder.format != "html":
        return
    body = BeautifulSoup(context["body"], "html.parser")
    size_pictures(body, app)
    context["body"] = body.decode(formatter="minimal")


def setup(app: Sphinx) -> None:
    """Register it."""
    app.connect("html-page-context", finish, priority=400)  # before what reads the result
