"""What a page's own part becomes: links that show what they mean, and pictures with a size.

Reading a page takes half a second, so all that looks at it does so here, at once.
"""

import re
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup
from sphinx.application import Sphinx

from . import head, links, marks, pencil, search, weight

# Sphinx puts a formula with a line break into `split`, in which MathJax refuses a number.
SPLIT = re.compile(
    r"\\begin\{split\}\s*(\\begin\{aligned\}.*\\end\{aligned\}\s*\\tag\{[\d.]+\})\s*\\end\{split\}",
    re.DOTALL,
)
SCRIPTLESS = (
    "<noscript><em>Without scripts formulas stand here as LaTeX writes them, "
    "and figures that move are pictures.</em></noscript>"
)
LIGHTNESS = re.compile(r"\b(?:bright|dark|pale|black|white)(?:er|est|r)?\b(?! cell| blood)", re.I)


def collect(app: Sphinx) -> None:
    """Read what the text can name."""
    app.env.nbvae_marks = marks.collect(Path(app.srcdir) / "book")  # type: ignore[attr-defined]


def keep_lightness(body: BeautifulSoup) -> None:
    """Mark pictures whose caption speaks of light and dark: these don't change places at night."""
    for picture in body.find_all("img"):
        cell = picture.find_parent(class_="cell") or picture
        caption = cell.find_next("p")
        told = f"{picture.get('alt', '')} {caption.get_text() if caption else ''}"
        if LIGHTNESS.search(told):
            picture["class"] = " ".join([*map(str, picture.get("class") or ()), "as-drawn"])


def size_pictures(body: BeautifulSoup, app: Sphinx) -> None:
    """Give pictures their size, so that nothing jumps, and load them as they are reached."""
    paths = {name: Path(app.srcdir) / path for path, name in app.builder.images.items()}
    for picture in body.find_all("img"):
        folder, _, name = str(picture["src"]).rpartition("/")
        if name not in paths:
            continue
        width, height = weight.shown_size(paths[name])
        picture.attrs.update(width=str(width), height=str(height), loading="lazy", decoding="async")
        picture["src"] = f"{folder}/{name}".replace(".png", ".webp")


def unsplit_formulas(body: BeautifulSoup) -> None:
    """Let a numbered formula of several lines keep its number."""
    for formula in body.find_all("div", class_="math"):
        if formula.string and (whole := SPLIT.sub(r"\1", formula.string)) != formula.string:
            formula.string = whole


def name_header_cells(body: BeautifulSoup) -> None:
    """An empty corner of a table is no header: a screen reader would read it as one."""
    for cell in body.find_all("th"):
        if not cell.get_text(strip=True):
            cell.name = "td"
        elif not cell.get("scope"):
            cell["scope"] = "col" if cell.find_parent("thead") else "row"


def public_names(app: Sphinx) -> dict[str, str]:
    """Return the names that the package's reference explains, as a text writes them."""
    objects = app.env.get_domain("py").get_objects()
    found = {name: anchor for name, _, _, page, anchor, _ in objects if page == "book/api"}
    return {
        name.removeprefix("nbvae.").removeprefix("data."): anchor for name, anchor in found.items()
    }


def finish(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Change the page before its frame is put around it."""
    if tree is None or app.builder.format != "html":
        return
    body = BeautifulSoup(context["body"], "html.parser")
    keep_lightness(body)
    size_pictures(body, app)
    name_header_cells(body)
    unsplit_formulas(body)
    links.put_anchors(body, page)
    links.link_sections(body, app.env.nbvae_marks)  # type: ignore[attr-defined]
    if page.startswith("book/"):
        links.link_reference(body, page, public_names(app))
    pictures = context["pathto"]("_images", resource=True)
    links.link(body, page, app.env.nbvae_marks, pictures)  # type: ignore[attr-defined]
    if pencil.put_forms(body):
        app.add_js_file("pencil.js", loading_method="defer")
    context["body"] = body.decode(formatter="minimal")
    context["nbvae_description"] = head.description(body)
    if 'class="math' in context["body"]:  # in what a link shows, too
        app.env.get_domain("math").data["has_equations"][page] = True
        context["body"] = context["body"].replace("</h1>", f"</h1>{SCRIPTLESS}", 1)
    search.note(app, page, body)


def setup(app: Sphinx) -> None:
    """Register them."""
    app.connect("builder-inited", collect)
    app.connect("html-page-context", finish, priority=400)  # before what reads the result
