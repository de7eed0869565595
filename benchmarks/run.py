"""Race nbvae against scvi-tools and against its own plain form.

    python -m benchmarks.run all                  everything by default: hours; then the report
    python -m benchmarks.run speed                seconds per epoch and memory
    python -m benchmarks.run scaling              the same against cells and genes
    python -m benchmarks.run floor                a step against arithmetic and memory
    python -m benchmarks.run inside               where the time goes, operator by operator
    python -m benchmarks.run quality              whole runs: how soon, how good
    python -m benchmarks.run pca                  what PCA says of cell types, three ways
    python -m benchmarks.run report               tables and figures from what is there
    python -m benchmarks.run quality --data pbmc3k.h5ad --rounds 3
    python -m benchmarks.run quality --data 68579x2000 --rivals "scvi lr=3e-3" --rounds 1

Every run is a process of its own, rivals take turns, and a result is kept as soon as it is there:
an interrupted benchmark goes on where it was.

How it is counted. Imports and what happens once per process are not counted: each rival has trained
on 256 cells before the clock starts. Everything from raw counts to fitted module is. Rivals keep
their defaults: nbvae's trainer evaluates held-out cells of its own after each epoch and picks the
best weights, on its own time; that of scvi-tools does neither. A tenth of the cells, the same for
each rival, is in no one's training data: by them all are judged, by one code (quality.py), at
points of the run where the clock is stopped.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.experiment import command_line, in_a_process, named
from benchmarks.plan import PARTS, Spec, specs

DATA = """sample (700 real cells × 765 genes, inside scanpy), a size such as 3000x2000 (generated),
or the path of an .h5ad file with raw counts, used as it is; cell types are looked for in
obs["cell_type"]; by default those of the part"""


def main() -> None:
    """Run what the command line asks for, then write the report."""
    options = parsed()
    parts = PARTS if options.part == "all" else [options.part]
    run_all([spec for part in parts for spec in specs(part, options)], options)
    from benchmarks import figures, report, report_gpu  # late: the runs may need their memory

    runs, on_gpu = results.read(options.results), results.stored(options.results, "gpu.jsonl")
    figures.draw(runs, options.results)
    text = report.text(runs) + report_gpu.text(on_gpu)
    (options.results / "README.md").write_text(text, encoding="utf-8")
    print(f"Written: {options.results}/README.md")


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = command_line(__doc__)
    parser.add_argument("part", choices=[*PARTS, "all", "report"])
    parser.add_argument("--data", "--h5ad", nargs="+", metavar="DATA", help=DATA)
    parser.add_argument("--rivals", nargs="+", help="by default those of the part")
    parser.add_argument("--rounds", type=int, help="runs of each rival, each with another seed")
    parser.add_argument("--max-epochs", type=int, help="end runs early, to try the benchmark out")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="by default all cores")
    parser.add_argument("--results", type=Path, default=results.FOLDER, help="folder to write to")
    parser.add_argument("--again", action="store_true", help="repeat what is there already")
    options = parser.parse_args()
    if options.data:  # the processes that read files run in another folder
        options.data = [str(Path(d).resolve()) if d.endswith(".h5ad") else d for d in options.data]
    return options


def run_all(asked: list[Spec], options: argparse.Namespace) -> None:
    """Run what is not there yet, in order; two parts may ask for the same."""
    stored = [] if options.again else results.stored(options.results)
    done = {tuple(run[name] for name in Spec._fields) for run in stored}
    todo = [s for s in dict.fromkeys(asked) if s._replace(data=named(s.data)) not in done]
    for spec in {spec.data: spec for spec in todo}.values():
        measured(spec._replace(kind="prepare"))
    for number, spec in enumerate(todo, 1):
        name = named(spec.data)
        what = f"{spec.kind}: {spec.rival} on {name}, round {spec.seed + 1}"
        print(f"{number}/{len(todo)} {what} …", flush=True)
        results.keep(options.results / "runs.jsonl", {**measured(spec), "data": name})


def measured(spec: Spec) -> dict[str, Any]:
    return in_a_process("one", json.dumps(spec._asdict()), threads=spec.threads)


if __name__ == "__main__":
    main()
