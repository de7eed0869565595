"""What chapter 13 quotes from the benchmarks is what they measured."""

import ast
import json

import pandas as pd
import pytest
from notebooks import BOOK, code_cells, read
from rules import markdown

from benchmarks import results, scale, with_annbatch


@pytest.fixture(scope="module")
def quoted():
    """The numbers in the chapter's cells that name a file of results."""
    found = {}
    for cell in code_cells(read(BOOK / "13_scale.ipynb")):
        if "benchmarks/results/" in cell.source:
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.Assign):
                    try:
                        found[node.targets[0].id] = ast.literal_eval(node.value)
                    except (AttributeError, ValueError):  # computed there
                        continue
    return found


@pytest.fixture(scope="module")
def runs():
    lines = map(json.loads, scale.FILE.read_text(encoding="utf-8").splitlines())
    return pd.DataFrame(lines)


@pytest.fixture(scope="module")
def by_part(runs):
    """Of half a million cells; of several seeds the one in the middle."""
    numbers = ["peak_mb", "cpu_us_per_cell"]
    return runs[runs.n_cells == 500_000].groupby("part")[numbers].median().T


def test_the_rates_of_a_gpu(quoted):
    lines = results.stored(results.FOLDER, "gpu.jsonl")
    for size, name in ((128, "H100, 128"), (1024, "H100, 1,024")):
        (line,) = (x for x in lines if x["part"] == "million" and x["batch_size"] == size)
        assert quoted["MEASURED"][name] == round(line["cells_per_s"])


def test_the_roof_of_a_gpu(quoted):
    lines = [x for x in results.stored(results.FOLDER, "gpu.jsonl") if x["part"] == "floor"]
    (copied,) = (x["gigabytes_per_second"] for x in lines if "gigabytes_per_second" in x)
    (product,) = (x["tflops"] for x in lines if "tflops" in x)
    assert quoted["H100"]["bandwidth"] == pytest.approx(1e9 * copied, rel=0.005)
    assert quoted["H100"]["peak"] == pytest.approx(1e12 * product, rel=0.005)


def test_the_rates_of_a_core(quoted, by_part):
    per_cell = by_part["disk"]["cpu_us_per_cell"]
    assert quoted["MEASURED"]["one core, from disk"] == pytest.approx(1e6 / per_cell, rel=0.02)
    assert quoted["READING"] == pytest.approx(by_part["loading"]["cpu_us_per_cell"], rel=0.05)


def test_the_memory(quoted, by_part):
    for part, megabytes in quoted["PEAK"].items():
        assert megabytes == pytest.approx(by_part[part]["peak_mb"], abs=1)


def test_what_is_said_of_memory_and_disk(runs, quoted, by_part):
    text = markdown(read(BOOK / "13_scale.ipynb"))
    runs = runs[runs.n_cells == 500_000].set_index("part")
    above = {part: (mb - quoted["PEAK"]["nothing"]) / 1e3 for part, mb in quoted["PEAK"].items()}
    assert f"From a store it needs {above['disk']:.2f} GB more than the bare program" in text
    assert f"from memory {above['memory']:.2f} GB." in text
    per_cell = runs.loc[["memory", "disk"]].cpu_us_per_cell
    assert f"for {per_cell.min():.0f} to {per_cell.max():.0f} µs per cell either way" in text
    assert f"Of these, {by_part['loading'].cpu_us_per_cell:.0f} µs are for reading" in text
    ends = runs.held_out.groupby("part").agg(["min", "max"]).round(1)
    disk, memory = ends.loc["disk"], ends.loc["memory"]
    words = "{} to {} from the store and of {} to {} from memory"
    assert words.format(*disk, *memory) in text
    assert disk["min"] < memory["max"] and memory["min"] < disk["max"]


def test_what_ten_million_cells_would_need(runs, by_part):
    """More than the bare program, if memory goes on to grow as it does from 200,000 to 500,000."""
    fewer = runs[(runs.n_cells == 200_000) & (runs.part == "disk")].peak_mb.item()
    per_cell = (by_part["disk"].peak_mb - fewer) / 300_000
    assert 80 < 1e6 * per_cell < 200  # "some hundred bytes"
    whole = by_part["disk"].peak_mb - by_part["nothing"].peak_mb + 9.5e6 * per_cell
    assert "ten million cells would need 1.5 GB more" in markdown(read(BOOK / "13_scale.ipynb"))
    assert whole / 1e3 == pytest.approx(1.5, abs=0.05)


def test_where_runs_on_a_gpu_end():
    text = markdown(read(BOOK / "13_scale.ipynb"))
    lines = results.stored(results.FOLDER, "gpu.jsonl")
    whole = {x["batch_size"]: x["test_neg_elbo"] for x in lines if x["part"] == "whole"}
    assert f"128 ends at {whole[128]:.1f} and 1,024 at {whole[1024]:.1f}" in text
    epochs = {
        x["batch_size"]: x["epoch_s"]
        for x in lines
        if x["part"] == "epochs" and x["way"] == "recorded"
    }
    assert f"{epochs[128]:.2f} s in minibatches of 128 and {epochs[1024]:.2f} s" in text
    steps = {x["batch_size"]: x for x in lines if x["part"] == "steps"}[128]
    assert f"{steps['recorded_ms']:.2f} ms as a recorded graph" in text
    assert f"{steps['eager_ms']:.1f} ms if Python" in text


def test_what_a_cell_costs_a_gpu_that_reads_a_store():
    text = markdown(read(BOOK / "13_scale.ipynb"))
    lines = results.stored(results.FOLDER, "gpu.jsonl")
    us = {
        (x["place"], x["batch_size"]): 1e6 * x["fit_s"] / (0.98 * x["n_cells"] * x["epochs"])
        for x in lines
        if x["part"] == "store"
    }
    for place, words in (
        ("store", "one took {:.1f} µs in minibatches of 128 and {:.1f} in those of 1,024"),
        ("memory", "from the GPU's memory {:.1f} and {:.1f}"),
    ):
        assert words.format(us[place, 128], us[place, 1024]) in text


def test_annbatch_would_save_less_than_a_thirtieth(by_part):
    """What the head of engine.py says of it."""
    spent = pd.read_csv(with_annbatch.FILE).groupby("engine").cpu_us_per_cell.median()
    assert spent["zarr"] - spent["annbatch"] < by_part["disk"].cpu_us_per_cell / 30
