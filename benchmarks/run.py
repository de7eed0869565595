"""Race nbvae against scvi-tools and against its own plain form.

    python -m benchmarks.run all                  everything by default: hours; then the report
    python -m benchmarks.run speed                seconds an epoch and memory
    python -m benchmarks.run scaling              the same against cells and genes
    python -m benchmarks.run floor                a step against arithmetic and memory
    python -m benchmarks.run inside               where the time goes, operator by operator
    python -m benchmarks.run quality              whole runs: how soon, how good
    python -m benchmarks.run report               tables and figures from what is there
    python -m benchmarks.run quality --data pbmc3k.h5ad --rounds 3
    python -m benchmarks.run quality --data 68579x2000 --rivals "scvi lr=3e-3" --rounds 1

--data takes "sample" (700 real cells × 765 genes, inside scanpy), a size such as 3000x2000
(generated, see generated.py), or the path of an .h5ad file with raw counts, used as it is; cell
types are looked for in obs["cell_type"]. Every run is a process of its own, rivals take turns, and
a result is kept as soon as it is there: an interrupted benchmark goes on where it was (--again
repeats what is there).

How it is counted. One process a run. Imports and what happens once a process are not counted,
everything from raw counts to fitted module is (one.py). Rivals keep their defaults (rivals.py):
nbvae's trainer evaluates held-out cells of its own after each epoch and picks the best weights, on
its own time; that of scvi-tools does neither. A tenth of the cells, the same for each rival, is in
no one's training data: by them all are judged, by one code (scores.py), at points of the run where
the clock is stopped.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks import plan, results

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Run what the command line asks for."""
    options = parsed()
    if options.part != "report":
        parts = list(plan.PARTS) if options.part == "all" else [options.part]
        specs = [
            {**spec, "device": options.device, "threads": options.threads}
            for part in parts
            for spec in plan.PARTS[part](options.data, options.rivals, options.rounds)
        ]
        if options.max_epochs is not None:
            specs = [{**spec, "max_epochs": options.max_epochs} for spec in specs]
        run_all(specs, options.results, again=options.again)
    report(options.results)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=[*plan.PARTS, "all", "report"])
    parser.add_argument("--data", nargs="+", help="data sets; by default those of the part")
    parser.add_argument("--h5ad", dest="data", nargs="+", help="the same, for files")
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


def run_all(specs: list[dict], folder: Path, *, again: bool) -> None:
    """Run what is not there yet, in order."""
    done = set() if again else {results.key(record) for record in results.read(folder)}
    todo = [spec for spec in specs if results.key(named(spec)) not in done]
    prepared = set()
    for number, spec in enumerate(todo, 1):
        print(f"{number}/{len(todo)} {describe(spec)} …", flush=True)
        if spec["data"] not in prepared:
            in_a_process({**spec, "kind": "prepare"})
            prepared.add(spec["data"])
        results.append(in_a_process(spec), folder)


def named(spec: dict) -> dict:
    """Name the data as the results do: a file by its name alone."""
    path = Path(spec["data"])
    return {**spec, "data": path.stem if path.suffix == ".h5ad" else spec["data"]}


def in_a_process(spec: dict) -> dict:
    """Run one measurement. What it writes to stderr is shown if it fails."""
    threads = str(spec["threads"])
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.one", json.dumps(spec)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
        capture_output=True,
        text=True,
    )
    if ended.returncode:
        sys.exit(f"{describe(spec)} failed:\n{ended.stderr[-4000:]}")
    return {**json.loads(ended.stdout.splitlines()[-1]), "data": named(spec)["data"]}


def describe(spec: dict) -> str:
    """Say in a line what is run."""
    return f"{spec['kind']}: {spec['rival']} on {named(spec)['data']}, round {spec['seed'] + 1}"


def report(folder: Path) -> None:
    """Write tables and figures; imported late, since drawing takes memory the runs may need."""
    from benchmarks import figures, tables

    records = results.read(folder)
    figures.draw(records, folder)
    tables.write(records, folder)
    print(f"Written: {folder}/README.md")


if __name__ == "__main__":
    main()
