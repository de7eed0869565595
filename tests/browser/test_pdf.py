"""The book on paper: one file whose links stay within it, with everything unfolded."""

import re
import subprocess
import sys

import pdf
import pytest
from bs4 import BeautifulSoup

pytestmark = pytest.mark.slow
NAV = '<nav class="bd-links"><a href="intro.html">I</a><a href="02_b.html">B</a></nav>'
MATHJAX = (
    "<script>window.MathJax = {startup: {promise: Promise.resolve()}}</script>"
    "<script src='../_static/mathjax/none.js'></script>"
)


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "book"
    folder.mkdir()
    first = (
        '<h1>Start</h1><p id="a"><a href="02_b.html#b">there</a> <a href="02_b.html">all</a></p>'
    )
    second = (
        '<h1>Second</h1><p id="b"><a href="#b">here</a> <a href="https://example.org">out</a></p>'
        "<details><summary>Show solution</summary><p>The answer.</p></details><form>no</form>"
    )
    for name, body in (("intro", first), ("02_b", second)):
        head = MATHJAX if name == "02_b" else ""
        page = f"<html><head>{head}</head><body>{NAV}<article>{body}</article></body></html>"
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return tmp_path


def test_links_stay_within_the_file_and_arrive(site):
    soup = BeautifulSoup(pdf.joined(site), "html.parser")
    ids = [node["id"] for node in soup.select("[id]")]
    assert len(ids) == len(set(ids))
    inside = [a["href"] for a in soup.select("main section a")]
    assert inside == ["#02_b--b", "#02_b", "#02_b--b", "https://example.org"]
    assert {a["href"][1:] for a in soup.select("a[href^='#']")} <= set(ids)


def test_solutions_are_open_and_forms_are_gone(site):
    soup = BeautifulSoup(pdf.joined(site), "html.parser")
    assert soup.find("details").has_attr("open")
    assert soup.find("form") is None


@pytest.mark.usefixtures("browser")
def test_it_prints_with_an_outline_and_links(site):
    (site / "_static" / "mathjax").mkdir(parents=True)
    (site / "_static" / "mathjax" / "none.js").write_text("")
    done = subprocess.run([sys.executable, pdf.__file__, site], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    data = (site / pdf.NAME).read_bytes()
    assert "pages" in done.stdout
    assert data.startswith(b"%PDF") and b"/Outlines" in data
    assert len(re.findall(rb"/S\s*/GoTo|/Dest\s", data)) >= 3
    assert not (site / "book" / "whole.html").exists()


def test_without_a_site_it_says_so(tmp_path, capsys):
    assert pdf.main(tmp_path) == 1
    assert "make book" in capsys.readouterr().err
