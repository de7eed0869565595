"""What the report, the README and the chapters say of a GPU is what was measured there."""

import ast
import re

import pandas as pd
import pytest
from notebooks import BOOK, ROOT, read

from benchmarks import gpu, report_gpu, results

LINES = results.stored(results.FOLDER, "gpu.jsonl")


def seconds(way, batch_size):
    """The seconds of an epoch of the large set."""
    found = [line for line in LINES if line["part"] == "epochs" and line["way"] == way]
    (one,) = [line["epoch_s"] for line in found if line["batch_size"] == batch_size]
    return one


def sooner(batch_size):
    """How many times scvi-tools' epoch takes as long."""
    return f"{seconds('scvi', batch_size) / seconds('recorded', batch_size):.1f}"


@pytest.mark.parametrize(
    "options", ["--data 3000x2000 epochs steps", "epochs --data 3000x2000 steps"]
)
def test_parts_come_before_and_after_options(options):
    """Else the line that the benchmark itself shows would be refused."""
    parsed = gpu.parsed(["folder", *options.split()])
    assert (parsed.parts, parsed.data) == (["epochs", "steps"], "3000x2000")
    assert gpu.parsed(["folder"]).parts == []


def test_a_part_that_is_not_there_is_said_at_once(capsys):
    """Else minutes on a borrowed machine would end in a KeyError."""
    with pytest.raises(SystemExit):
        gpu.parsed(["folder", "epochs", "step"])
    assert "no part step; there are floor, epochs, steps" in capsys.readouterr().err


def test_results_name_no_machine_and_no_path():
    text = (results.FOLDER / "gpu.jsonl").read_text(encoding="utf-8")
    paths = [part for part in re.findall(r"/[\w./-]+", text) if "/" in part[1:]]
    assert paths == [] and len(LINES) == 32
    assert gpu.named("/home/me/cells.h5ad") == "cells" and gpu.named("3000x2000") == "3000x2000"


def test_a_section_of_some_parts():
    """Else a run that was cut short could not be reported."""
    for part in {line["part"] for line in LINES} - {"floor"}:
        assert "\n### " in report_gpu.text([line for line in LINES if line["part"] == part])
    assert report_gpu.text([]) == ""


def test_both_devices_end_at_the_same_quality():
    """Else a figure in seconds would be of another model; the spread is that of three seeds."""
    runs = pd.DataFrame([line for line in LINES if line["part"] == "sample"])
    ends = runs.pivot_table("held_out", "seed", "device")
    assert abs(ends.cuda.mean() - ends.cpu.mean()) < 3 * ends.cpu.std()


def test_what_the_report_says():
    text = report_gpu.text(LINES)
    assert f"It is {sooner(128)} and {sooner(1024)} times as fast" in text
    assert f"| {seconds('recorded', 128):.3f} |" in text
    assert f"| {seconds('recorded', 1024):.3f} |" in text


def test_what_the_readme_says():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"{sooner(128)} times" in text and f"{sooner(1024)} times" in text


def test_what_chapter_6_says():
    text = "".join(cell.source for cell in read(BOOK / "06_training.ipynb").cells)
    runs = [line for line in LINES if line["part"] == "sample"]
    for device, before in (("cuda", "the default run took "), ("cpu", "machine's CPU took ")):
        took = [line["fit_s"] for line in runs if line["device"] == device]
        assert f"{before}{min(took):.1f} to {max(took):.1f} s" in text
    (whole,) = [r["fit_s"] for r in LINES if r["part"] == "whole" and r["batch_size"] == 128]
    assert f"{whole:.1f} s on the 68,579 cells" in text


def test_what_chapter_11_says():
    quoted = {}
    for cell in read(BOOK / "11_fast.ipynb").cells:
        if cell.cell_type == "code" and "ON_GPU =" in cell.source:
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.Assign):
                    quoted[node.targets[0].id] = ast.literal_eval(node.value)
    for batch_size, ways in quoted["ON_GPU"].items():
        for way, shown in ways.items():
            assert round(seconds(way, batch_size), 2) == shown
    step = next(line for line in LINES if line["part"] == "steps" and line["batch_size"] == 128)
    assert quoted["LAUNCHED"] == (round(1e3 * step["eager_ms"]), round(step["kernels"]))
