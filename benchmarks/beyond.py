"""Chapter 14 with several seeds: `python -m benchmarks.beyond`.

Runs the chapter's own cells, its assertions included, once for each seed, and writes what each run
found to results/beyond.json. The seed moves the weights, the split for the best epoch, the order
of cells, the draws of z and the first pseudo-inputs. The cells that judge stay.
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import nbformat

from benchmarks.results import FOLDER

ROOT = Path(__file__).resolve().parent.parent
CHAPTER, RESULT = ROOT / "book" / "14_beyond.ipynb", FOLDER / "beyond.json"
SEEDS = range(5)


def run(seed: int) -> dict[str, float]:
    """Run all cells up to the exercises; return the chapter's ``found``."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in nbformat.read(CHAPTER, as_version=4).cells:
        if cell.source.startswith("## Exercises"):
            break
        if cell.cell_type == "code":
            source = cell.source.replace("SEED = 0 ", f"SEED = {seed} ")
            exec(compile(source, f"cell {cell.id}", "exec"), names)
    return {name: round(float(value), 4) for name, value in names["found"].items()}


def main() -> None:
    """Run the seeds that are named, or all, one after the other."""
    mpl.use("Agg")
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for seed in map(int, sys.argv[1:] or SEEDS):
        found[str(seed)] = run(seed)
        RESULT.write_text(json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
