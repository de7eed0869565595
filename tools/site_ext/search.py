"""The search: it finds sections, by their prose, and works where pages are opened as files."""

import json
import re
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup
from bs4.element import Tag
from sphinx.application import Sphinx

NO_PROSE = {"template", "script", "style", "pre", "noscript"}
NO_PROSE_CLASSES = {"cell_input", "cell_output", "headerlink", "nbvae-living"}
SIGNS = {"mu": "μ", "theta": "θ", "rho": "ρ", "ell": "ℓ", "beta": "β", "gamma": "γ", "kappa": "κ",
         "varphi": "φ", "phi": "φ", "varepsilon": "ε", "sigma": "σ", "log": "log", "mid": "|",
         "delta": "δ", "omega": "ω"}  # fmt: skip
LOADED = ("sections.js", "search.js")


def sections(body: BeautifulSoup, page: str) -> list[list[str]]:
    """Return page, anchor, headings and prose of each section of a page; it is used up."""
    for node in body.find_all(_is_no_prose):
        node.extract()
    for formula in body.find_all("span", class_="math"):
        formula.replace_with(spoken(formula.get_text()))
    found = []
    for section in body.find_all("section"):
        heading = section.find(re.compile("h[1-3]"), recursive=False)
        if heading is None:
            continue
        above = [
            s.find(re.compile("h[1-3]"), recursive=False) for s in section.find_parents("section")
        ]
        titles = [_text(h) for h in [*reversed(above), heading] if h is not None]
        own = [child for child in section.children if isinstance(child, Tag)]
        prose = [_text(child) for child in own if child.name != "section" and child is not heading]
        anchor = "" if len(titles) == 1 else str(section.get("id", ""))
        found.append([page, anchor, " › ".join(titles), " ".join(filter(None, prose))])
    return found


def spoken(formula: str) -> str:
    """Return a short formula as text that can be searched for."""
    named = re.sub(
        r"\\(\w+)\s?",
        lambda m: SIGNS.get(m[1], ""),
        formula.removeprefix(r"\(").removesuffix(r"\)"),
    )
    return re.sub(r"[{}\\]", "", named)


def load(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Give the page of the search its scripts."""
    if page == "search":
        for script in LOADED:
            app.add_js_file(script, loading_method="defer")


def note(app: Sphinx, page: str, body: BeautifulSoup) -> None:
    """Note the sections of a page, which is used up."""
    app.env.nbvae_sections[page] = sections(body, page)  # type: ignore[attr-defined]


def begin(app: Sphinx) -> None:
    """Start with no sections; `make book` writes every page anew."""
    app.env.nbvae_sections = {}  # type: ignore[attr-defined]


def write(app: Sphinx, error: Exception | None) -> None:
    """Write the sections, in place of Sphinx's index of words."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    known: dict[str, list[list[str]]] = app.env.nbvae_sections  # type: ignore[attr-defined]
    found = [section for page in known.values() for section in page]
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    (out / "_static" / "sections.js").write_text(f"window.bookSections={text};\n", encoding="utf-8")
    (out / "searchindex.js").unlink(missing_ok=True)


def _is_no_prose(node: Tag) -> bool:
    classes = set(node.get("class") or ())
    shown = node.name == "div" and "math" in classes  # a formula on a line of its own
    return shown or node.name in NO_PROSE or not NO_PROSE_CLASSES.isdisjoint(classes)


def _text(node: Tag) -> str:
    return re.sub(r"\s+", " ", node.get_text()).strip()


def setup(app: Sphinx) -> None:
    """Register them."""
    app.connect("builder-inited", begin)
    app.connect("html-page-context", load)
    app.connect("build-finished", write)
