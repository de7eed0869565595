"""The results: one line of JSON a run in results/runs.jsonl, added as soon as the run is over."""

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

FOLDER = Path(__file__).parent / "results"
WHAT = ("kind", "data", "rival", "seed", "max_epochs", "device", "threads")  # tells runs apart


def key(record: dict) -> tuple:
    """Tell which measurement a specification or a result is of."""
    return tuple(record[name] for name in WHAT)


def append(record: dict, folder: Path = FOLDER) -> None:
    """Add a result; what is there stays."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "runs.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")


def read(folder: Path = FOLDER) -> list[dict]:
    """Read the results in their order; of a measurement that was repeated, the last one."""
    file = folder / "runs.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return list({key(record): record for record in map(json.loads, lines)}.values())


def by_data(records: list[dict], kind: str) -> Iterator[tuple[str, list[dict]]]:
    """Group the results of a kind by the data they are from, smaller sets first."""
    chosen = [record for record in records if record["kind"] == kind]

    def size(record: dict) -> tuple:
        return record["n_cells"] * record["n_genes"], record["data"]

    for _, group in groupby(sorted(chosen, key=size), key=size):
        runs = list(group)
        yield runs[0]["data"], runs


def of(records: list[dict], rival: str) -> dict[int, dict]:
    """Pick a rival's results, by seed."""
    return {record["seed"]: record for record in records if record["rival"] == rival}


def rivals_in(records: list[dict]) -> list[str]:
    """Name the rivals that took part: ours first, then scvi-tools by its settings."""
    first = ["nbvae", "plain", "textbook"]
    names = {record["rival"] for record in records}
    return [n for n in first if n in names] + sorted(names - set(first), key=lambda n: (len(n), n))
