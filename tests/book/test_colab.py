"""Chapters on Colab: the set-up cell installs the package there, and changes nothing else."""

import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import colab
import outputs
import pytest
from notebooks import ROOT

FREEZE = """# python 3.13, list of 2026-08-01
numpy==2.1.3
Scikit_Learn==1.6.1
notebook==6.5.7
torch @ https://download.pytorch.org/whl/cu128/torch-2.11.0%2Bcu128-cp313-cp313-linux_x86_64.whl
google-colab @ file:///colabtools/dist/google_colab-1.0.0.tar.gz
"""
RUN = """
import sys
import google.colab
exec(open(sys.argv[1], encoding="utf-8").read())
import nbvae
print(nbvae.__file__)
"""


@pytest.fixture
def resolves(monkeypatch):
    """Stand for uv: what each extra would need."""
    needs = {(): {"anndata": "1", "numpy": "2.1.3"}}
    needs["--extra", "teaching"] = needs[()] | {"jedi": "1"}
    monkeypatch.setattr(colab, "resolved", lambda known, python, *options: needs[options])


def test_a_frozen_list_is_read_with_its_wheels():
    assert colab.pins(FREEZE) == {
        "numpy": "2.1.3",
        "scikit-learn": "1.6.1",
        "notebook": "6.5.7",
        "torch": "2.11.0",
    }


@pytest.mark.usefixtures("resolves")
def test_the_list_keeps_what_the_chapters_need_and_where_it_is_from():
    text = colab.kept(FREEZE)
    assert "# python 3.13, list of 2026-08-01\n" in text
    assert colab.pins(text) == {"numpy": "2.1.3", "torch": "2.11.0"}


def test_a_list_without_python_and_day_is_refused(tmp_path, capsys):
    path = tmp_path / "list.txt"
    path.write_text("numpy==2.1.3\n", encoding="utf-8")
    assert colab.main(["--check", "--from", str(path)]) == 1
    assert "python 3.13, list of" in capsys.readouterr().err


def test_the_list_here_has_python_day_and_the_pieces_that_must_stay():
    text = colab.LIST.read_text(encoding="utf-8")
    assert "pip-freeze.txt" in colab.origin(text)
    assert {"torch", "numpy", "pandas", "numba", "ipykernel"} <= set(colab.pins(text))


def test_bounds_allow_what_colab_has():
    """Whatever else is resolved: our own bounds are below Colab's versions."""
    known = colab.pins(colab.LIST.read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["teaching"]]
    bounds = dict(re.fullmatch(r"([\w-]+)>=([\d.]+)", row).groups() for row in needed)
    shared = set(known) & set(bounds)
    assert len(shared) >= 12
    for name in shared:
        assert _parts(known[name]) >= _parts(bounds[name]), name


@pytest.mark.usefixtures("resolves")
def test_what_the_cell_adds_is_told_apart_from_what_the_chapters_find_there():
    brought = "ipykernel==6.17.1\numap-learn==0.5.12\n"
    assert colab.added(FREEZE + brought) == ["anndata"]
    with pytest.raises(ValueError, match="umap-learn"):
        colab.added(FREEZE)


@pytest.mark.usefixtures("resolves")
def test_todays_lists_are_read_without_a_gpu_and_with_one(monkeypatch, tmp_path, capsys):
    ours = f"{FREEZE}ipykernel==6.17.1\numap-learn==0.5.12\n"
    today = {"os-info.txt": "Ubuntu\nPython 3.13.15\n"} | dict.fromkeys(colab.LISTS, ours)
    monkeypatch.setattr(
        colab, "urlopen", lambda url: io.BytesIO(today[url.removeprefix(colab.SOURCE)].encode())
    )
    monkeypatch.setattr(colab, "LIST", tmp_path / "colab.txt")
    assert colab.main([]) == 0
    assert "The cell adds 1: anndata" in capsys.readouterr().out
    assert colab.origin(colab.LIST.read_text(encoding="utf-8")).endswith("main/pip-freeze.txt")
    today["pip-freeze.gpu.txt"] = FREEZE
    assert colab.main([]) == 1
    assert "umap-learn" in capsys.readouterr().err


def test_every_package_but_torch_is_held_and_a_clash_is_told(monkeypatch, tmp_path, capsys):
    held = []

    def uv(command, **options):
        held.append(Path(command[command.index("--constraint") + 1]).read_text(encoding="utf-8"))
        return subprocess.CompletedProcess(command, 1, "", "nbvae depends on numpy>=2.2")

    monkeypatch.setattr(subprocess, "run", uv)
    path = tmp_path / "list.txt"
    path.write_text(FREEZE, encoding="utf-8")
    assert colab.main(["--check", "--from", str(path)]) == 1
    assert "numpy>=2.2" in capsys.readouterr().err
    assert held == ["numpy==2.1.3\nscikit-learn==1.6.1\nnotebook==6.5.7\n"]


@pytest.mark.slow
def test_the_set_up_cell_installs_a_clone_and_leaves_the_rest(tmp_path):
    """In an environment that has what Colab has, but not nbvae; without an index."""
    clone = _repository(tmp_path / "clone")
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    packages = next(environment.glob("lib/python*/site-packages"))
    (packages / "colab.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    (packages / "google" / "colab").mkdir(parents=True)
    (packages / "google" / "colab" / "__init__.py").touch()
    cell = tmp_path / "cell.py"
    # With a host: pip before 24.1 takes no address without one.
    address = clone.as_uri().replace("file://", "file://localhost")
    cell.write_text(outputs.setup_source(address), encoding="utf-8")
    quiet = {
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    settings = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_"))} | quiet
    done = subprocess.run(
        [python, "-c", RUN, cell], capture_output=True, text=True, env=settings, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told, where = done.stdout.splitlines()
    assert re.match(r"Installed nbvae in \d+ s and changed nothing else\. ", told)
    assert where.startswith(str(packages))
    added = {path.name.split("-")[0] for path in packages.glob("*.dist-info")}
    assert added == {"nbvae"}


def _repository(folder):
    shutil.copytree(ROOT / "nbvae", folder / "nbvae", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-q", "-m", "a"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def _parts(version):
    return tuple(int(part) for part in version.split("."))
