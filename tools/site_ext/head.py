"""What others see of a page: description, card, address; where to report a mistake; a 404 page."""

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bs4 import BeautifulSoup
from sphinx.application import Sphinx

LONGEST = 200  # characters of a description
CARD = "_static/latent_umap.png"
QUESTION = "The question."
LOST = """<section><h1>There is no such page</h1>
<p>It may have moved. The chapters are listed at the side; the search knows every section.</p>
</section>"""


def description(body: BeautifulSoup) -> str:
    """Return a chapter's question, or how another page begins."""
    paragraphs = [p.get_text().strip() for p in body.find_all("p")]
    question = [p.removeprefix(QUESTION).strip() for p in paragraphs if p.startswith(QUESTION)]
    text = re.sub(r"\s+", " ", (question or paragraphs or [""])[0])
    return text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0] + " …"


def fill(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Describe the page in its head, and say below it where a mistake is reported."""
    base = app.config.html_baseurl
    if page == "404" and base:  # it is shown at any address
        context["metatags"] = f'<base href="{escape(base)}">' + context.get("metatags", "")
    if tree is None or app.builder.format != "html":
        return
    about = {"description": context["nbvae_description"]}
    card = {"og:type": "article", "og:site_name": app.config.html_title or app.config.project,
            "og:title": BeautifulSoup(context["title"], "html.parser").get_text(),
            "og:description": about["description"]}  # fmt: skip
    if base:
        card |= {
            "og:url": f"{base.rstrip('/')}/{page}.html",
            "og:image": f"{base.rstrip('/')}/{CARD}",
        }
        about["twitter:card"] = "summary_large_image"
    tags = [f'<meta name="{name}" content="{escape(text)}">' for name, text in about.items()]
    tags += [f'<meta property="{name}" content="{escape(text)}">' for name, text in card.items()]
    context["metatags"] = context.get("metatags", "") + "".join(tags)
    context["body"] += report(app.config.html_theme_options.get("repository_url", ""), page)


def report(repository: str, page: str) -> str:
    """Return the link that reports a mistake; `links.js` adds the section that is read."""
    if not repository:
        return ""
    title, text = quote(f"Mistake in {page}"), quote(f"Page: {page}\nSection: \n\nWhat is wrong: ")
    address = f"{repository}/issues/new?title={title}&body={text}"
    return f'<p class="report"><a class="report" href="{escape(address)}">Report a mistake</a></p>'


def lost(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Add the page that a host shows for an address that it doesn't have."""
    yield "404", {"title": "Not found", "body": LOST}, "page.html"


def map_site(app: Sphinx, error: Exception | None) -> None:
    """List the pages for search engines, if they have an address."""
    base = app.config.html_baseurl
    if error or app.builder.format != "html" or not base:
        return
    pages = sorted(page for page in app.env.found_docs if page.startswith("book/"))
    rows = "".join(f"<url><loc>{base.rstrip('/')}/{page}.html</loc></url>\n" for page in pages)
    text = f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{rows}</urlset>\n'
    Path(app.outdir, "sitemap.xml").write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Register them."""
    app.connect("html-page-context", fill, priority=470)
    app.connect("html-collect-pages", lost)
    app.connect("build-finished", map_site)
