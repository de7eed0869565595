"""What a page weighs: pictures in a smaller form, and nothing of the theme that it doesn't use."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from fontTools import subset
from PIL import Image
from sphinx.application import Sphinx

# FontAwesome's script, 1.5 MB, draws what its fonts draw already. And preloaded fonts are refused
# where a page is opened as a file.
NEEDLESS = re.compile(
    r'\s*<script src="[^"]*/fontawesome/[^"]*"></script>'
    r'|\s*<link rel="preload" as="font"[^>]*/fontawesome/[^>]*>'
    r'|\s*<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^>]*></script>'
    r'|\n *<span class="c1">### (?:BEGIN|END) SOLUTION</span>'  # the student edition's marks
)
NAME = r"[A-Za-z_][\w-]*"
OWN = ("custom.css", "living.css")  # scripts put their classes together
AT_MOST = 1.5  # pixels of a picture to one of the page: letters of all pictures are of one size


def shown_size(path: Path) -> tuple[int, int]:
    """Return the width and height at which a page shows a picture."""
    with Image.open(path) as picture:
        width, height = picture.size
    return round(width / AT_MOST), round(height / AT_MOST)


def shrink_pictures(folder: Path) -> None:
    """Store each picture as WebP, a third of the bytes for the same pixels.

    Four times the effort would save 2 % more.
    """
    for path in folder.glob("*.png"):
        with Image.open(path) as picture:
            picture.save(path.with_suffix(".webp"), lossless=True, quality=50, method=2)
        path.unlink()


def rules(css: str) -> Iterator[tuple[str, str]]:
    """Yield the outermost rules of a style sheet: what comes before the brace, and the block."""
    tokens = re.compile(r'/\*.*?\*/|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|[{};]', re.DOTALL)
    begin, opened, depth = 0, 0, 0
    for token in tokens.finditer(css):
        if token[0] == "{":
            opened = token.end() if depth == 0 else opened
            depth += 1
        elif token[0] == "}":
            depth -= 1
            if depth == 0:
                yield css[begin : opened - 1], css[opened : token.start()]
                begin = token.end()
        elif token[0] == ";" and depth == 0:
            yield css[begin : token.end()], ""
            begin = token.end()


def used_rules(css: str, names: set[str]) -> str:
    """Return a style sheet without the selectors of classes that are not among the names."""
    kept = []
    for head, block in rules(re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)):
        head = head.strip()
        if head.endswith(";"):
            kept.append(head)
        elif head.startswith(("@media", "@supports")):
            inner = used_rules(block, names)
            kept += [f"{head}{{{inner}}}"] if inner else []
        elif head.startswith("@"):
            kept.append(f"{head}{{{block}}}")
        else:
            wanted = [one for one in selectors(head) if classes(one) <= names]
            kept += [f"{','.join(wanted)}{{{block}}}"] if wanted else []
    return "\n".join(kept)


def selectors(head: str) -> list[str]:
    """Return the selectors of a rule; commas within brackets do not part them."""
    return [one.strip() for one in re.split(r",(?![^(\[]*[)\]])", head)]


def classes(selector: str) -> set[str]:
    """Return the classes that something must have; what stands in brackets is not asked."""
    if "\\" in selector:
        return set()
    while (plain := re.sub(r"\([^()]*\)|\[[^\]]*\]", "", selector)) != selector:
        selector = plain
    return set(re.findall(rf"\.({NAME})", selector))


def names_in(files: Iterable[Path]) -> set[str]:
    """Return every word in pages and scripts that could be the name of a class."""
    found: set[str] = set()
    for path in files:
        found.update(re.findall(NAME, path.read_text(encoding="utf-8")))
    return found


def icons_in(css: str) -> set[int]:
    """Return the icons that a style sheet names, by a number or by the character itself."""
    numbers = {int(code, 16) for code in re.findall(r"\\([ef][0-9a-f]{3})\b", css)}
    return numbers | {ord(character) for character in css if "\ue000" <= character <= "\uf8ff"}


def lighten_icons(folder: Path, icons: set[int]) -> None:
    """Leave in FontAwesome's fonts these icons."""
    for font in folder.glob("webfonts/*.ttf"):
        options = subset.Options(flavor="woff", layout_features=[], notdef_outline=True)
        loaded = subset.load_font(str(font), options)
        cut = subset.Subsetter(options)
        cut.populate(unicodes=icons)
        cut.subset(loaded)
        subset.save_font(loaded, str(font.with_suffix(".woff")), options)
        font.unlink()
        font.with_suffix(".woff2").unlink()
    css = folder / "css" / "all.min.css"
    text = re.sub(
        r',\s*url\([^)]*\.ttf\)\s*format\("truetype"\)', "", css.read_text(encoding="utf-8")
    )
    text = text.replace('.woff2) format("woff2")', '.woff) format("woff")')
    css.write_text(text, encoding="utf-8")
    for script in folder.glob("js/*"):
        script.unlink()


def lighten(app: Sphinx, error: Exception | None) -> None:
    """Take off the built site what this book does without."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    static = out / "_static"
    pages = [path for path in out.rglob("*.html") if static not in path.parents]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        text = NEEDLESS.sub("", text).replace('data-theme="auto"', 'data-theme="light"', 1)
        page.write_text(text, encoding="utf-8")  # without scripts, "auto" is neither of the two
    shrink_pictures(out / "_images")
    scripts = [path for path in static.rglob("*.js") if "mathjax" not in path.parts]
    names = names_in([*pages, *(s for s in scripts if "fontawesome" not in s.parts)])
    icons: set[int] = set()
    for style in set(static.rglob("*.css")) - {static / name for name in OWN}:
        css = used_rules(style.read_text(encoding="utf-8"), names)
        icons |= icons_in(css)
        style.write_text(css, encoding="utf-8")
    for folder in static.glob("vendor/fontawesome/*"):
        lighten_icons(folder, icons)


def setup(app: Sphinx) -> None:
    """Register it."""
    app.connect("build-finished", lighten)
