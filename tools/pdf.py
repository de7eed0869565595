"""Print the whole book into one file: `make pdf`, after `make book`.

The pages of the built site are joined to one, so that links and the outline work, and a browser
prints that. Figures that move are there as pictures, hints and code are open, and the solutions
of the exercises stand at the end.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from bs4 import BeautifulSoup
from bs4.element import Tag
from notebooks import ROOT
from playwright.sync_api import sync_playwright

SITE = ROOT / "_build" / "html"
NAME = "from_counts_to_cells.pdf"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
NEEDLESS = (
    "script, template, form, .headerlink, .lv-note, .lv-stage, p.report, .only-dark, "
    ".sd-btn, .toctree-wrapper"
)
STYLE = """
@page { margin: 18mm 16mm; size: A4; }
html { font-size: 10pt; }
body { margin: 0; padding: 0; }
main > section { break-before: page; }
main > section:first-child { break-before: auto; }
h1, h2, h3, summary, p:has(+ ul, + ol, + div.math) { break-after: avoid; }
.shown { break-inside: avoid; }
.shown p { color: #48566b; font-size: 0.925em; line-height: 1.5; margin: 0 0 1.75rem; }
p, li, pre { orphans: 3; widows: 3; }
dt { break-after: avoid; }
img, details, dt, #solutions section section { break-inside: avoid; }
img { max-width: 100% !important; }
pre { white-space: pre-wrap !important; overflow: visible !important; }
.cell, .cell_input, .cell_input div, pre { break-inside: auto !important; }
.cell_input, .cell_input div { display: block !important; overflow: visible !important; }
.cell_input, .cell_input div { white-space: normal !important; }
.cell_input div, .cell_input pre { margin: 0 !important; padding-block: 0.2em !important; }
.cell_input.short { break-inside: avoid !important; }
pre { font-size: 0.8em !important; }
.bd-article h2 { margin-top: 1.5rem; }
div.cell_output, div.math, .text_html { overflow: visible !important; }
table { font-size: 0.85em; }
table code.literal, table code.literal .pre {
  overflow-wrap: anywhere !important; white-space: normal !important;
}
.nbvae-living { display: none; }
.checked { break-after: avoid; font-size: 0.85em; font-weight: 600; margin: 0.5rem 0 0.25rem; }
.chapters li { list-style: none; }
"""
SHORT = 16  # lines of code that stay together
FOOT = """<div style="width:100%;font-size:8px;text-align:center;color:#555">
<span class="pageNumber"></span></div>"""
READY = """async () => {
  await MathJax.startup.promise;
  for (const formula of document.querySelectorAll("div.math")) {
    const ratio = formula.clientWidth / formula.scrollWidth;
    if (ratio < 1) formula.style.fontSize = `${ratio * 0.98}em`;
  }
  await Promise.all([...document.images].map((image) => image.decode()));
}"""


def pages(site: Path) -> list[Path]:
    """Return the site's pages in the order of its sidebar."""
    index = BeautifulSoup((site / "book" / "intro.html").read_text(encoding="utf-8"), "html.parser")
    names = [str(a["href"]) for a in index.select("nav.bd-links a[href$='.html']")]
    return [site / "book" / name for name in dict.fromkeys(["intro.html", *names])]


def joined(site: Path) -> str:
    """Return one page that holds all, with an id for each thing that something links to."""
    known = pages(site)
    parts, listed, solved = [], [], []
    for path in known:
        article = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").select_one(
            "article"
        )
        assert article is not None
        prepare(article, path.stem, {page.stem for page in known})
        heading = article.find("h1")
        title = heading.get_text() if heading else ""
        if solutions := list(taken_out(article)):
            solved.append(f"<section><h2>{title}</h2>{''.join(solutions)}</section>")
        listed.append(f'<li><a href="#{path.stem}">{title}</a></li>')
        parts.append(f'<section id="{path.stem}">{article.decode_contents()}</section>')
    if solved:
        listed.append('<li><a href="#solutions">Solutions</a></li>')
        parts.append(f'<section id="solutions"><h1>Solutions</h1>{"".join(solved)}</section>')
    contents = f'<nav class="chapters"><h2>Contents</h2><ul>{"".join(listed)}</ul></nav>'
    return frame(known, [parts[0], contents, *parts[1:]])


def prepare(article: Tag, page: str, known: set[str]) -> None:
    """Open what is folded, load all pictures, and let links stay within the file."""
    for node in article.select(NEEDLESS):
        node.decompose()
    for hidden in article.select("details.hide"):  # code: there is nothing to click on
        unfold(hidden)
    for details in article.select("details"):
        details["open"] = ""
    for code in article.select(".cell_input"):
        if code.get_text().count("\n") <= SHORT:
            code["class"] = " ".join([*map(str, code.get_attribute_list("class")), "short"])
    for picture in article.select("img"):
        picture["loading"] = "eager"
    for caption in article.select("div.cell + p"):
        cell = caption.find_previous_sibling()
        if cell and cell.select(".cell_output img"):
            shown = caption.wrap(Tag(name="div", attrs={"class": "shown"}))
            shown.insert(0, cell.select(".cell_output")[-1])
    for node in article.select("[id]"):
        node["id"] = f"{page}--{node['id']}"
    for link in article.select("a[href]"):
        target, _, anchor = str(link["href"]).partition("#")
        stem = target.removesuffix(".html") if target else page
        if stem in known and (not target or target.endswith(".html")):
            link["href"] = f"#{stem}--{anchor}" if anchor else f"#{stem}"


def unfold(hidden: Tag) -> None:
    """Leave what was folded, below its title if that says more than what it is."""
    title = hidden.summary.extract().select_one(".collapsed") if hidden.summary else None
    text = title.get_text() if title else ""
    if text.startswith("Checked") and not hidden.get_text().lstrip().startswith("# Checked"):
        label = Tag(name="p", attrs={"class": "checked"})
        label.string = text
        hidden.insert_before(label)
    hidden.unwrap()


def taken_out(article: Tag) -> Iterator[str]:
    """Move the answers out of a prepared chapter, with their checks; each leaves a link."""
    for heading in article.select("h3[id*='--exercise-']"):
        section = heading.parent
        assert section is not None
        cells = section.select(".tag_hide-cell, .tag_exercise-check")
        task, title = str(heading["id"]), heading.get_text()
        solution = task.replace("--exercise-", "--solution-")
        answer = "".join(str(cell) for cell in cells)
        for cell in cells:
            cell.decompose()
        link = BeautifulSoup(f'<p><a href="#{solution}">Solution</a></p>', "html.parser")
        section.append(link)
        back = f'<h3 id="{solution}"><a href="#{task}">{title}</a></h3>'
        yield f"<section>{back}{answer}</section>"


def frame(known: list[Path], parts: list[str]) -> str:
    """Return the styles and MathJax of a page that has formulas, around other contents."""
    texts = (path.read_text(encoding="utf-8") for path in known)
    head = BeautifulSoup(next(t for t in texts if "mathjax/" in t), "html.parser").head
    assert head is not None
    kept = [str(link) for link in head.select("link[rel=stylesheet]")]
    kept += [str(s) for s in head.select("script") if "MathJax" in str(s) or "mathjax" in str(s)]
    title = "<title>From counts to cells</title>"
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8">{title}'
        f"{''.join(kept)}<style>{STYLE}</style></head><body><main class='bd-article bd-content'>"
        f"{''.join(parts)}</main></body></html>"
    )


def a_browser() -> str:
    """Return where the system's Chromium is.

    Raises:
        FileNotFoundError: there is none.

    """
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise FileNotFoundError("Chromium is needed: `apt-get install chromium` brings it")
    return path


def print_page(page: Path, target: Path) -> None:
    """Let a browser typeset a page and print it."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=a_browser(), args=list(BROWSER_FLAGS))
        sheet = opened.new_page(viewport={"width": 700, "height": 1000})
        sheet.set_default_timeout(600_000)
        sheet.goto(page.as_uri())
        sheet.evaluate(READY)
        sheet.pdf(
            path=target, outline=True, tagged=True,
            prefer_css_page_size=True, print_background=True,
            display_header_footer=True, header_template="<span></span>", footer_template=FOOT,
        )  # fmt: skip
        opened.close()


def main(site: Path = SITE) -> int:
    """Write the file beside the pages."""
    if not (site / "book" / "intro.html").exists():
        print("There is no site yet: `make book` builds it", file=sys.stderr)
        return 1
    whole = site / "book" / "whole.html"
    whole.write_text(joined(site), encoding="utf-8")
    try:
        print_page(whole, site / NAME)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        whole.unlink()
    size = (site / NAME).stat().st_size / 1e6
    count = len(re.findall(rb"/Type\s*/Page\b", (site / NAME).read_bytes()))
    print(f"{site / NAME}: {count} pages, {size:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
