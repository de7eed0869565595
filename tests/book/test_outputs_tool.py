"""`make outputs`: the same book gives the same bytes, and a failure changes nothing."""

import json

import notebooks
import outputs
import pytest
import sample
from nbformat import v4


def notebook_of(*sources, **metadata):
    cells = [v4.new_code_cell(source) for source in sources]
    cells[-1].metadata.update(metadata)
    return v4.new_notebook(cells=[v4.new_markdown_cell("# 1. A title"), *cells])


def store(notebook, path):
    """Write a notebook as an editor would, with its own spelling."""
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return path


def test_normalising_twice_is_normalising_once():
    notebook = notebook_of("x = 1  \n\n", execution={"iopub.status.busy": "2026"}, tags=["a"])
    notebook.cells[-1].outputs = [
        v4.new_output("error", ename="E", evalue="", traceback=["\x1b[36mFile x.py:1\x1b[0m", "E"])
    ]
    once = outputs.normalise(notebook)
    assert notebooks.dumps(outputs.normalise(once)) == notebooks.dumps(once)
    assert once.cells[-1].source == "x = 1"
    assert once.cells[-1].metadata == {"tags": ["a"]}
    assert once.cells[-1].outputs[0].traceback == ["E"]


@pytest.mark.slow
def test_running_twice_gives_the_same_bytes(tmp_path):
    figure = "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2])\nplt.show()"
    notebook = notebook_of("for i in range(3):\n    print(i)", "1 / 3", figure)
    path = store(notebook, tmp_path / "01_a.ipynb")
    outputs.refresh(path, "")
    first = path.read_bytes()
    outputs.refresh(path, "")
    assert path.read_bytes() == first
    assert first.endswith(b"}\n")
    cells = notebooks.code_cells(notebooks.read(path))
    assert [cell.execution_count for cell in cells] == [1, 2, 3, 4]
    assert cells[1].outputs[0].text == "0\n1\n2\n"
    assert "image/png" in cells[3].outputs[0].data


def test_what_is_stored_is_computed_by_a_cpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert outputs.environment()["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.slow
def test_outside_libraries_leave_no_paths(tmp_path):
    source = "import json\njson.loads('{')"
    path = store(notebook_of(source, tags=["raises-exception"]), tmp_path / "01_a.ipynb")
    outputs.refresh(path, "")
    error = notebooks.code_cells(notebooks.read(path))[1].outputs[0]
    assert error.ename == "JSONDecodeError"
    assert "json/" not in "".join(error.traceback)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import sys\nprint('careful', file=sys.stderr)", "careful"),
    ],
)
def test_trouble_keeps_the_old_file_and_names_the_cell(tmp_path, capsys, source, complaint):
    path = store(notebook_of("x = 1", source), tmp_path / "01_a.ipynb")
    before = path.read_bytes()
    cell = notebooks.read(path).cells[2].id
    assert outputs.main([str(path)]) == 1
    message = capsys.readouterr().err
    assert f"cell {cell}" in message
    assert complaint in message
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["01_a.ipynb"]


def test_missing_identifiers_are_the_same_in_every_run(tmp_path):
    notebook = json.loads(json.dumps(notebook_of("a", "b", "c")))
    for cell in notebook["cells"]:
        del cell["id"]
    notebook["cells"][2]["id"] = "01-002"
    path = store(notebook, tmp_path / "01_a.ipynb")
    assert [c.id for c in notebooks.read(path).cells] == ["01-001", "01-003", "01-002", "01-004"]


def test_asset_is_taken_out_of_its_cell(tmp_path):
    notebook = sample.chapter()
    cell = next(c for c in notebooks.code_cells(notebook) if c.outputs)
    cell.metadata["asset"] = "square.png"
    assert outputs.assets(notebook) == {"square.png": sample.square()}
    cell.outputs = []
    with pytest.raises(outputs.OutputError, match=r"square\.png"):
        outputs.assets(notebook)


def test_setup_cell_is_put_first_once():
    notebook = notebook_of("x = 1")
    outputs.put_setup_cell(notebook, "a")
    outputs.put_setup_cell(notebook, "b")
    assert [cell.source for cell in notebook.cells] == ["# 1. A title", "b", "x = 1"]
