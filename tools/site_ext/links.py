"""Names in the text become links: "(4.7)", "Figure 2.3", "exercise 5.1", words of the glossary.

What a link means waits in a <template> at the page's end, and `links.js` shows it under the
pointer. Without scripts they are links like any other.
"""

import re
from collections.abc import Iterator

from bs4 import BeautifulSoup
from bs4.element import NavigableString, Tag

from .marks import Mark, Marks, section_of, term_key

KINDS = r"[Ee]quations?|[Ff]igures?|[Ee]xercises?"
NAMED = re.compile(rf"(?P<kind>{KINDS})(?P<gap>[  ])(?P<number>\d+\.\d+)|\((?P<plain>\d+\.\d+)\)")
NEVER = (
    "a",
    "code",
    "pre",
    "h1",
    "h2",
    "h3",
    "h4",
    "summary",
    "script",
    "style",
    "label",
    "button",
)
OUTPUT = {"cell_output", "cell_input", "math", "nbvae-living"}
TAGGED = re.compile(r"\\tag\{(\d+\.\d+)\}")
OWN = re.compile(r"Figure (\d+\.\d+)\.")
HEADING = re.compile(r"Exercise (\d+\.\d+) ·")


def put_anchors(body: Tag, page: str) -> None:
    """Give equations, figures, exercises and terms the ids by which links find them."""
    for formula in body.find_all("div", class_="math"):
        if found := TAGGED.search(formula.get_text()):
            formula["id"] = _key("equation", found[1])
    for strong in body.find_all("strong"):
        text, paragraph = strong.get_text(), strong.parent
        if paragraph is None or paragraph.name != "p" or strong.find_previous_sibling():
            continue
        if found := OWN.fullmatch(text):
            paragraph["id"] = _key("figure", found[1])
        elif page == "book/glossary" and strong.previous_sibling is None:
            paragraph["id"] = term_key(text.removesuffix("."))
            paragraph["class"] = "term"
    for heading in body.find_all("h3"):
        if found := HEADING.match(heading.get_text()):
            heading["id"] = _key("exercise", found[1])


def link_sections(body: Tag, marks: Marks) -> None:
    """In the glossary, let links to a chapter go to the section that explains the word."""
    for paragraph in body.find_all("p", class_="term"):
        name = paragraph.get_text().partition(".")[0].partition(" (")[0]
        for anchor in paragraph.find_all("a", href=re.compile(r"\.html$")):
            page = str(anchor["href"])
            section = section_of(name, marks.sections.get(page.removesuffix(".html"), []))
            anchor["href"] = f"{page}#{section}" if section else page


def link(soup: BeautifulSoup, page: str, marks: Marks, pictures: str) -> None:
    """Make names links, and add what they mean at the end.

    Args:
        soup: the page's own part; its anchors have been put.
        page: its name, such as book/04_inference.
        marks: what can be named.
        pictures: where the site's pictures are, seen from the page.

    """
    used: dict[str, Mark] = {}
    for text in list(prose(soup)):
        replace(soup, text, numbers(str(text), marks), page, used)
    if page.startswith("book/") and page[5:7].isdigit():
        defined = {strong.get_text().lower().rstrip(".") for strong in soup.find_all("strong")}
        for text in list(prose(soup)):
            replace(soup, text, terms(str(text), marks, used, defined), page, used)
    for mark in used.values():
        template = soup.new_tag("template", id=f"see-{mark.key}")
        html = re.sub(r'src="(\w+)\.png"', rf'src="{pictures}/\1.webp"', mark.preview)
        template.append(BeautifulSoup(html, "html.parser"))
        soup.append(template)


def link_reference(soup: BeautifulSoup, page: str, names: dict[str, str]) -> None:
    """Let the first mention of each public name of the package go to its reference.

    Args:
        soup: the page's own part.
        page: its name.
        names: what the text writes, such as NBVAE.for_counts, and its id on the page book/api.

    """
    for code in soup.find_all("code"):
        if code.parent is None or code.parent.name not in ("p", "li"):
            continue
        name = code.get_text().partition("(")[0].removeprefix("nbvae.")
        if page != "book/api" and name in names:
            anchor = soup.new_tag("a", href=f"api.html#{names.pop(name)}")
            anchor["class"] = "reference"
            code.wrap(anchor)


def prose(soup: BeautifulSoup) -> Iterator[NavigableString]:
    """Yield the texts in which names are links: no headings, code, outputs, formulas, links."""
    return _texts(soup, written=False)


def _texts(tag: Tag, written: bool) -> Iterator[NavigableString]:
    """Yield the texts below a tag, in their order; ``written`` if the tag is within a sentence."""
    for child in tag.children:
        if type(child) is NavigableString and written:
            yield child
        if not isinstance(child, Tag) or child.name in NEVER:
            continue
        if OUTPUT.isdisjoint(child.get("class") or ()):
            yield from _texts(child, written or child.name in ("p", "li", "dd"))


def numbers(text: str, marks: Marks) -> Iterator[tuple[int, int, Mark]]:
    """Yield begin, end and meaning of what a text names by number."""
    for found in NAMED.finditer(text):
        kind = (found["kind"] or "equation").lower().rstrip("s")
        mark = marks.numbered.get((kind, found["number"] or found["plain"]))
        if mark:
            yield found.start(), found.end(), mark


def terms(
    text: str, marks: Marks, used: dict[str, Mark], defined: set[str]
) -> Iterator[tuple[int, int, Mark]]:
    """Yield the first occurrence on the page of each word of the glossary, longest first.

    A word that the page explains itself, in bold, is left alone.
    """
    taken = [False] * len(text)
    found: list[tuple[int, int, Mark]] = []
    lower = text.lower()
    for name in sorted((n for n in marks.terms if n.lower() in lower), key=len, reverse=True):
        mark = marks.terms[name]
        if mark.key in used or name.lower() in defined or f"{name.lower()}s" in defined:
            continue
        flags = re.NOFLAG if name.isupper() else re.IGNORECASE
        pattern = rf"(?<![\w-]){re.escape(name)}(?:s|es)?(?![\w-])"
        place = next(
            (m for m in re.finditer(pattern, text, flags) if not any(taken[m.start() : m.end()])),
            None,
        )
        if place:
            taken[place.start() : place.end()] = [True] * (place.end() - place.start())
            if mark.key not in {other.key for *_, other in found}:
                found.append((*place.span(), mark))
    return iter(sorted(found, key=lambda entry: entry[0]))


def replace(
    soup: BeautifulSoup,
    text: NavigableString,
    places: Iterator[tuple[int, int, Mark]],
    page: str,
    used: dict[str, Mark],
) -> None:
    """Put links into a text, unless it is the caption of what it names."""
    own = text.find_parent("p")
    whole, pieces, done = str(text), [], 0
    for begin, end, mark in places:
        if own is not None and own.get("id") == mark.key:
            continue
        anchor = soup.new_tag("a", href=_address(page, mark))
        anchor["class"] = "see term" if mark.key.startswith("term-") else "see"
        anchor["data-see"] = mark.key
        anchor.string = whole[begin:end]
        pieces += [NavigableString(whole[done:begin]), anchor]
        done, used[mark.key] = end, mark
    if pieces:
        text.replace_with(*pieces, NavigableString(whole[done:]))


def _address(page: str, mark: Mark) -> str:
    return f"#{mark.key}" if page == mark.page else f"{mark.page.split('/')[-1]}.html#{mark.key}"


def _key(kind: str, number: str) -> str:
    return f"{kind}-{number.replace('.', '-')}"
