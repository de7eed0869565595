"""Write the public address of the repository wherever it belongs: `make home REPO=owner/name`.

It stands in `_config.yml`; the set-up cells, the package's urls and CITATION.cff repeat it, since
other programs read it there. `tests/book/test_home.py` says that all agree.
"""

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from notebooks import ROOT, chapters, read, repository, write
from outputs import put_setup_cell, setup_source

REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")
URLS = "[project.urls]\n"


def addresses(repo: str) -> tuple[str, str]:
    """Return where a repository is, and where its pages are.

    Raises:
        ValueError: it isn't owner/name.

    """
    repo = repo.strip().removeprefix("https://github.com/").removesuffix(".git").strip("/")
    if not REPO.fullmatch(repo):
        raise ValueError(f"{repo!r} is not of the form owner/name")
    owner, name = repo.split("/")
    site = f"{owner.lower()}.github.io"
    pages = f"https://{site}/" if name.lower() == site else f"https://{site}/{name}/"
    return f"https://github.com/{owner}/{name}", pages


def in_config(text: str, url: str, pages: str) -> str:
    """Return `_config.yml` with the addresses."""
    text = _put(r"^(repository:\n  url: ).*$", rf'\g<1>"{url}"', text)
    return _put(r"^(  baseurl: ).*$", rf'\g<1>"{pages}"', text)


def in_pyproject(text: str, url: str, pages: str) -> str:
    """Return `pyproject.toml` with the addresses."""
    kept = re.sub(rf"^{re.escape(URLS)}(?:.+\n)*\n?", "", text, flags=re.MULTILINE)
    named = {
        "Homepage": pages,
        "Source": url,
        "Issues": f"{url}/issues",
        "Changelog": f"{url}/blob/main/CHANGELOG.md",
    }
    table = URLS + "".join(f'{name} = "{address}"\n' for name, address in named.items())
    return _put(r"^(?=\[tool\.setuptools\.packages\.find\])", f"{table}\n", kept)


def in_citation(text: str, url: str, pages: str) -> str:
    """Return `CITATION.cff` with the addresses."""
    kept = re.sub(r"^(?:repository-code|url): .*\n", "", text, flags=re.MULTILINE)
    return f'{kept.rstrip()}\nrepository-code: "{url}"\nurl: "{pages}"\n'


FILES: dict[str, Callable[[str, str, str], str]] = {
    "_config.yml": in_config,
    "pyproject.toml": in_pyproject,
    "CITATION.cff": in_citation,
}


def move(repo: str, root: Path = ROOT) -> str:
    """Write the address into all files of a checkout; return where the pages will be.

    Raises:
        ValueError: it isn't owner/name, or a file lacks the place; nothing is written then.

    """
    url, pages = addresses(repo)
    texts = {
        name: change((root / name).read_text(encoding="utf-8"), url, pages)
        for name, change in FILES.items()
    }
    for name, text in texts.items():
        (root / name).write_text(text, encoding="utf-8", newline="\n")
    for path in chapters(root / "book"):
        notebook = read(path)
        put_setup_cell(notebook, setup_source(repository(root / "_config.yml")))
        write(notebook, path)
    return pages


def _put(place: str, text: str, into: str) -> str:
    changed, times = re.subn(place, text, into, count=1, flags=re.MULTILINE)
    if not times:
        raise ValueError(f"there is no place for it: {place}")
    return changed


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repo", help="owner/name")
    try:
        pages = move(parser.parse_args(arguments).repo)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Commit and push; the pages will be at {pages}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
