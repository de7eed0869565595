"""The public address: all places agree, and `make home` writes every one of them."""

import re
import shutil
import tomllib

import home
import pytest
import sample
import yaml
from notebooks import ROOT, chapters, code_cells, read, repository, write
from outputs import setup_source

import nbvae

URL, PAGES = "https://github.com/ada/my.book", "https://ada.github.io/my.book/"


def places(root):
    """The address as each place has it; "" where it has none."""
    settings = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    cells = [code_cells(read(path))[0].source for path in chapters(root / "book")]
    sources = {
        settings["repository"]["url"],
        project.get("urls", {}).get("Source", ""),
        citation.get("repository-code", ""),
        *(re.search(r'address = "(.*)"', cell)[1] for cell in cells),
    }
    pages = {
        settings["html"]["baseurl"],
        project.get("urls", {}).get("Homepage", ""),
        citation.get("url", ""),
    }
    return sources, pages


@pytest.fixture
def checkout(tmp_path):
    for name in home.FILES:
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "book").mkdir()
    write(sample.chapter(), tmp_path / "book" / "01_sample.ipynb")
    return tmp_path


def test_all_places_agree_here():
    sources, pages = places(ROOT)
    assert (len(sources), len(pages)) == (1, 1)


@pytest.mark.parametrize("repo", ["ada/my.book", f"{URL}", f"{URL}.git", " ada/my.book/ "])
def test_moving_writes_every_place_once(checkout, repo):
    for _ in range(2):
        assert home.move(repo, checkout) == PAGES
        assert places(checkout) == ({URL}, {PAGES})
    assert (checkout / "pyproject.toml").read_text().count("[project.urls]") == 1


def test_moving_again_leaves_nothing_of_the_old_place(checkout):
    home.move("ada/my.book", checkout)
    home.move("bob/other", checkout)
    assert places(checkout) == ({"https://github.com/bob/other"}, {"https://bob.github.io/other/"})
    for name in home.FILES:
        assert "ada" not in (checkout / name).read_text()


def test_moving_changes_nothing_else(checkout):
    before = {name: (checkout / name).read_text() for name in home.FILES}
    cells = [cell.source for cell in read(checkout / "book" / "01_sample.ipynb").cells]
    home.move("ada/my.book", checkout)
    for name, text in before.items():
        lost = set(text.splitlines()) - set((checkout / name).read_text().splitlines())
        assert all('""' in line for line in lost), name
    after = [cell.source for cell in read(checkout / "book" / "01_sample.ipynb").cells]
    assert [new for old, new in zip(cells, after, strict=True) if old != new] == [setup_source(URL)]


@pytest.mark.parametrize("repo", ["", "ada", "a/b/c", "https://example.org/a/b", "a b/c", "-/x"])
def test_what_is_no_repository_is_refused(checkout, repo, capsys):
    before = (checkout / "_config.yml").read_text()
    with pytest.raises(ValueError, match="owner/name"):
        home.move(repo, checkout)
    assert (checkout / "_config.yml").read_text() == before
    assert home.main(["--", repo]) == 1
    assert "owner/name" in capsys.readouterr().err


def test_pages_of_a_user_have_no_folder():
    assert home.addresses("Ada/ada.github.io")[1] == "https://ada.github.io/"


def test_the_citation_has_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == nbvae.__version__
    assert nbvae.__version__ in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_no_address_is_set_by_half():
    assert repository() == "" or repository().startswith("https://")
