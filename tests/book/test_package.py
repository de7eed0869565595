"""The package as others get it: what is in it, and what it says where something is missing."""

import importlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from notebooks import ROOT

import nbvae.teaching

BUILD = """
import os, sys
from setuptools import build_meta
source, out = sys.argv[1:]
os.chdir(source)
build_meta.build_sdist(out)
build_meta.build_wheel(out)
"""


def test_without_what_teaching_needs_an_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'nbvae\[teaching\]'"):
        importlib.reload(nbvae.teaching)


def sources(folder):
    """The package's files, as they lie in a folder."""
    return {
        path.relative_to(folder).as_posix()
        for path in (folder / "nbvae").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def build(source, out):
    """Build both archives; return the names in each."""
    command = [sys.executable, "-c", BUILD, str(source), str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with tarfile.open(*out.glob("*.tar.gz")) as archive:
        inside = {m.name.partition("/")[2] for m in archive.getmembers() if m.isfile()}
    with zipfile.ZipFile(*out.glob("*.whl")) as archive:
        return inside, set(archive.namelist())


@pytest.mark.slow
def test_wheel_and_sdist_hold_the_package_and_nothing_else(tmp_path):
    pytest.importorskip("setuptools", reason="only pip's own environment of a build has it here")
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("nbvae", "tests", "tools"):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, source)
    (tmp_path / "out").mkdir()
    sdist, wheel = build(source, tmp_path / "out")
    package = sources(ROOT)
    assert {name for name in wheel if ".dist-info/" not in name} == package
    assert {name for name in sdist if name.startswith("nbvae/")} == package
    assert not [n for n in sdist if Path(n).parts[:1] in (("tests",), ("tools",), ("book",))]

    with tarfile.open(*(tmp_path / "out").glob("*.tar.gz")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (tmp_path / "again").mkdir()
    [unpacked] = (tmp_path / "unpacked").iterdir()
    assert build(unpacked, tmp_path / "again")[1] == wheel
