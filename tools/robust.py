"""Run chapters and tests with other seeds, on lesser processors, in other places: `make robust`.

A claim that another seed or another processor overturns is a claim about one run. Each condition
is a whole run of a chapter, or of tests/, in a process of its own:

    seed 1, seed 2, …   of a chapter: other weights, splits, orders of cells and draws of z; no
                        assertion fails. Of the tests: what they draw
    default, avx2, …    PyTorch's kernels for a processor without the newer instructions; no
                        assertion fails, and what is printed is what the book prints
    mkl, onednn         the same for the two libraries that multiply matrices
    numpy               the same for NumPy
    gpu                 a chapter as it is, on this machine's GPU; no assertion fails
    no network, …       the places of places.py, in which a reader may run the checker

What a chapter draws with NumPy itself stays: that is its data, the same on every machine.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nbformat import NotebookNode, from_dict, v4
from notebooks import ROOT, chapters, code_cells, read, tags
from outputs import ANSI, client_of, environment
from places import EVERYWHERE, PLACES, run

PROCESSORS = {
    "default": {"ATEN_CPU_CAPABILITY": "default"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "avx512": {"ATEN_CPU_CAPABILITY": "avx512"},
    "mkl": {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "MKL_CBWR": "COMPATIBLE"},
    "onednn": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "numpy": {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"},
}
SEEDS = (1, 2, 3, 4, 5)
ALL_PLACES = PLACES | {"everywhere": EVERYWHERE}
GPU = "gpu"
OF_CHAPTERS = (*ALL_PLACES, GPU)  # tests of a GPU look for one themselves
CHECKER = (sys.executable, "-m", "pytest", "-q", "--nbval")
TESTS = ROOT / "tests"
NOT_BOOK = ("--ignore", TESTS / "book")  # what is tested there does not compute
SHIFT = """
import sys
import numpy
import torch

def _shift_seeds(by):
    manual_seed, default_rng = torch.manual_seed, numpy.random.default_rng

    def shifted_rng(seed=None):
        asked_by = sys._getframe(1).f_globals.get("__name__", "").partition(".")[0]
        if asked_by != "nbvae" or not isinstance(seed, int | list | numpy.integer):
            return default_rng(seed)
        return default_rng([*numpy.atleast_1d(seed).tolist(), by])

    torch.manual_seed = torch.random.manual_seed = lambda seed: manual_seed(seed + 1000 * by)
    numpy.random.default_rng = shifted_rng
"""


def with_other_seeds(notebook: NotebookNode, by: int) -> Iterator[str]:
    """Run a chapter with all seeds of its models moved; yield the cells that fail, and how."""
    notebook = from_dict(notebook)
    notebook.cells.insert(0, v4.new_code_cell(f"{SHIFT}\n_shift_seeds({by})", id="seeds"))
    return claims_that_fail(notebook, environment())


def claims_that_fail(notebook: NotebookNode, variables: dict[str, str]) -> Iterator[str]:
    """Run all cells, whatever they print; yield those that fail, and how."""
    notebook = from_dict(notebook)
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    client_of(notebook, ROOT / "book", allow_errors=True).execute(env=variables)
    for cell in code_cells(notebook):
        if "raises-exception" in tags(cell):
            continue
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"cell {cell.id}: {output.ename}: {output.evalue}\n{_where(output)}"
                yield from (o.text for o in cell.outputs if o.output_type == "stream")
            elif output.output_type == "stream" and output.text.startswith("✗"):
                yield f"cell {cell.id}: {output.text.strip()}"


def under_pytest(*arguments: object, variables: dict[str, str]) -> Iterator[str]:
    """Run pytest; yield what it says if something fails."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    found = subprocess.run(
        [*command, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    if found.returncode:
        yield ANSI.sub("", found.stdout)


def in_place(path: Path, place: str) -> Iterator[str]:
    """Run the checker in one place; yield what it says if something fails."""
    for done in run(ALL_PLACES[place], CHECKER, path):
        if done.returncode:
            yield ANSI.sub("", done.stdout)


def has_gpu() -> bool:
    """Ask in a process of its own, so that this one takes none of the GPU's memory."""
    ask = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", ask]).returncode == 0


def trouble(path: Path, condition: str) -> tuple[Path, str, list[str]]:
    """Run a chapter or the tests under one condition; return what went wrong."""
    lesser = PROCESSORS.get(condition, {})
    if condition in ALL_PLACES:
        found = in_place(path, condition)
    elif path == TESTS:
        seed = [] if lesser else ["--seed", condition]
        found = under_pytest(*NOT_BOOK, *seed, path, variables=lesser)
    elif lesser:
        found = under_pytest("--nbval", path, variables=lesser)
    elif condition == GPU:
        found = claims_that_fail(read(path), environment() | {"CUDA_VISIBLE_DEVICES": "0"})
    else:
        found = with_other_seeds(read(path), int(condition))
    return path, condition, list(found)


def run_all(paths: Iterable[Path], conditions: Iterable[str], jobs: int) -> int:
    """Print a line a run, and below it what failed. Return how many runs failed."""
    every = [(path, condition) for condition in conditions for path in paths]
    tasks = [(p, c) for p, c in every if not (p == TESTS and c in OF_CHAPTERS)]
    failed = 0
    with ThreadPoolExecutor(jobs) as pool:
        for path, condition, found in pool.map(lambda task: trouble(*task), tasks):
            failed += bool(found)
            kind = f"seed {condition}" if condition.isdigit() else condition
            print(f"{'✗' if found else '✓'} {path.stem}, {kind}", *found, sep="\n    ", flush=True)
    print(f"{len(tasks)} runs, {failed} failed")
    return failed


def _where(output: NotebookNode) -> str:
    """Quote the reader's line at which a cell stopped."""
    frames = [ANSI.sub("", frame) for frame in output.traceback]
    lines = [line for frame in frames for line in frame.splitlines() if line.startswith("-")]
    return "\n".join(line for line in lines if ">" in line[:12])


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; return 1 if a run failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    what = "notebooks, or tests; all of book/ and tests if none is named"
    parser.add_argument("paths", nargs="*", type=Path, help=what)
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    parser.add_argument("--processors", nargs="*", choices=PROCESSORS, default=list(PROCESSORS))
    parser.add_argument("--places", nargs="*", choices=ALL_PLACES, default=list(PLACES))
    parser.add_argument("--gpu", action=argparse.BooleanOptionalAction, default=has_gpu())
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time")
    options = parser.parse_args(arguments)
    paths = [path.resolve() for path in options.paths] or [*chapters(), TESTS]
    conditions = [*map(str, options.seeds), *options.processors, *options.places]
    conditions += [GPU] * options.gpu
    return int(run_all(paths, conditions, options.jobs) > 0)


if __name__ == "__main__":
    sys.exit(main())
