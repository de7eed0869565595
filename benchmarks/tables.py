"""results/README.md, made from the results by code: no number in it is typed."""

from pathlib import Path

from benchmarks import ratios, results
from benchmarks.ratios import Spread, significant

SCORES = {  # a column's name: the field, and how many decimals
    "−ELBO": ("neg_elbo", 1),
    "lowest on the way": ("lowest", 1),
    "reconstruction": ("reconstruction", 1),
    "KL": ("kl", 1),
    "bound": ("bound", 1),
    "dimensions in use": ("dimensions_in_use", 0),
    "ARI": ("ari", 2),
    "15 neighbours": ("neighbours", 2),
    "seconds": ("fit_s", 1),
    "epochs": ("epochs", 0),
}


def write(records: list[dict], folder: Path) -> None:
    """Write the report."""
    parts = [HEAD, machines(records), speed(records), time_to(records), quality(records)]
    parts += [scaling(records), floor(records), shares(records), operators(records)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text("\n\n".join(part for part in parts if part) + "\n")


def machines(records: list[dict]) -> str:
    """Say where the numbers come from; more than one line means that they must not be mixed."""
    lines = []
    for record in records:
        machine = {**record["machine"], "threads": record["threads"], "device": record["device"]}
        line = ", ".join(f"{key} {value}" for key, value in machine.items() if value is not None)
        if f"- {line}" not in lines:
            lines.append(f"- {line}")
    warning = "\n\nRuns of more than one state are mixed here." if len(lines) > 1 else ""
    return "## Measured on\n\n" + "\n".join(lines) + warning


def speed(records: list[dict]) -> str:
    """Compare seconds an epoch, ratios first, and memory."""
    rows = []
    for name, runs in results.by_data(records, "speed"):
        if not results.of(runs, "plain"):  # measured for the scaling, and shown there
            continue
        for rival in results.rivals_in(runs):
            mine = list(results.of(runs, rival).values())
            over = ratios.paired(runs, rival, "nbvae", "epoch_s")
            seconds = Spread.of([run["epoch_s"] for run in mine])
            memory = Spread.of([run["memory_mb"] for run in mine])
            before = Spread.of([run["memory_before_mb"] for run in mine])
            rows.append(
                [
                    name,
                    f"{mine[0]['zeros']:.0%}",
                    rival,
                    shown(over, "×"),
                    shown(seconds),
                    f"{memory.median:.0f}",
                    f"{before.median:.0f}",
                    str(seconds.runs),
                ]
            )
    head = ["data", "zeros", "rival", "time ÷ nbvae's", "s an epoch"]
    head += ["peak MB", "of it before the fit", "runs"]
    return section("Speed", SPEED, head, rows)


def time_to(records: list[dict]) -> str:
    """Compare how soon a quality is reached."""
    rows = []
    for name, runs in results.by_data(records, "quality"):
        targets: list[tuple[str, list[str]]] = [("its default result", [])]
        any_settings = [rival for rival in results.rivals_in(runs) if rival.startswith("scvi")]
        any_rate = [rival for rival in any_settings if "no warm-up" not in rival]
        if len(any_rate) > 1:
            targets.append(("its best over learning rates", any_rate))
        if len(any_settings) > len(any_rate):
            targets.append(("its best, also without its warm-up", any_settings))
        for title, tuned in targets:
            found = ratios.races(runs, tuned)
            if found:
                rows.append([name, title, *race_cells(found)])
    head = ["data", "until scvi-tools'", "how much sooner", "target, nats", "scvi-tools, s"]
    return section("Time to a quality", TIME_TO, [*head, "nbvae, s", "runs"], rows)


def race_cells(found: list[ratios.Race]) -> list[str]:
    """Sum up races; one that nbvae did not finish is said, not left out."""
    done = [race for race in found if race.ours is not None]
    missed = len(found) - len(done)
    note = f" (not reached in {missed} of {len(found)})" if missed else ""
    sooner = Spread.of([race.theirs / race.ours for race in done]) if done else None
    ours = Spread.of([race.ours for race in done]) if done else None
    target = Spread.of([race.target for race in found])
    theirs = Spread.of([race.theirs for race in found])
    return [
        shown(sooner, "×") + note,
        f"{target.median:.1f}",
        shown(theirs),
        shown(ours),
        str(len(found)),
    ]


def quality(records: list[dict]) -> str:
    """Compare what came out of whole runs."""
    rows = []
    for name, runs in results.by_data(records, "quality"):
        embedded = [r for r in records if r["kind"] == "pca" and r["data"] == name]
        for rival in results.rivals_in(runs):
            rows.append([name, rival, *scores(list(results.of(runs, rival).values()))])
        if embedded and "ari" in embedded[0]:
            rows.append([name, "PCA, 10 components", *scores(embedded)])
    return section("Quality", QUALITY, ["data", "rival", *SCORES], rows)


def scores(runs: list[dict]) -> list[str]:
    """Take the median of each score over the runs."""
    cells = []
    for field, decimals in SCORES.values():
        values = [run[field] for run in map(with_lowest, runs) if field in run]
        cells.append(f"{Spread.of(values).median:,.{decimals}f}" if values else "")
    return cells


def with_lowest(run: dict) -> dict:
    """Add the lowest point of a run's curve, if it has one."""
    if "points" not in run:
        return run
    return {**run, "lowest": min(value for _, _, value in run["points"])}


def scaling(records: list[dict]) -> str:
    """Give the exponents of seconds an epoch."""
    rows = []
    for axis, title in (("n_cells", "cells"), ("n_genes", "genes")):
        for rival in ("nbvae", "scvi"):
            sizes, seconds = ratios.scaling(records, rival, axis)
            if len(sizes) > 1:
                points = ", ".join(
                    f"{size:,}: {significant(s)}" for size, s in zip(sizes, seconds, strict=True)
                )
                rows.append([title, rival, f"{ratios.exponent(sizes, seconds):.2f}", points])
    return section("Scaling", SCALING, ["against", "rival", "exponent", "s an epoch"], rows)


def floor(records: list[dict]) -> str:
    """Compare a step with what the machine allows."""
    fields = ["step_over_floor", "step_ms", "floor_ms", "products_ms", "transfers_ms"]
    fields += ["gflops", "gigabytes_per_second"]
    rows = [
        [run["data"], *(significant(run[field]) for field in fields)]
        for _, runs in results.by_data(records, "floor")
        for run in runs
    ]
    head = ["data", "step ÷ floor", "step, ms", "floor, ms", "products, ms", "transfers, ms"]
    return section("Floor", FLOOR, [*head, "Gflop/s", "GB/s"], rows)


def shares(records: list[dict]) -> str:
    """Show where the time of a run goes."""
    rows, kinds = [], []
    for name, runs in results.by_data(records, "shares"):
        for rival in results.rivals_in(runs):
            mine = [run["shares"] for run in results.of(runs, rival).values()]
            kinds = list(mine[0])
            medians = (Spread.of([run[kind] for run in mine]).median for kind in kinds)
            rows.append([name, rival, *(f"{median:.0%}" for median in medians)])
    return section("Where the time goes", SHARES, ["data", "rival", *kinds], rows)


def operators(records: list[dict]) -> str:
    """Show what an element costs."""
    runs = [run["operators"] for run in records if run["kind"] == "operators"]
    names = list(runs[0]) if runs else []
    rows = [[n, significant(Spread.of([run[n] for run in runs]).median)] for n in names]
    return section("Operators", OPERATORS, ["operator", "time ÷ a multiplication's"], rows)


def section(title: str, text: str, head: list[str], rows: list[list[str]]) -> str:
    """Write a section with a table; nothing if there are no rows."""
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return f"## {title}\n\n{text}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shown(spread: Spread | None, unit: str = "") -> str:
    """Write a median and its range."""
    if spread is None:
        return "–"
    median = significant(spread.median) + unit
    low, high = significant(spread.low), significant(spread.high)
    return median if spread.runs == 1 else f"{median} ({low} to {high})"


HEAD = """# Measured

Written by `python -m benchmarks.run`, whose first lines say how everything is counted; do not edit.
Medians of runs in processes of their own, in turns, with the range in brackets; ratios are of runs
of the same round. Data called 3000x2000 (cells × genes) are generated, see `../generated.py`;
"sample" are 700 real cells."""

SPEED = """`plain` is nbvae without its shortcut, by the same trainer; `textbook` is the same with
`torch.distributions.NegativeBinomial` for the likelihood. An epoch is nine tenths of the cells in
minibatches of 128; nbvae's has its evaluation of the other tenth in it."""

TIME_TO = """Seconds until the −ELBO of cells that no rival saw is, for the first time, as low as
where scvi-tools' default run ends; and as low as the lowest point of all its curves, first over
learning rates alone (1e-3, 3e-3, 5e-3, 1e-2), then with its KL warm-up switched off as well. Of
these only the winning run counts for its time.

![Curves of held-out −ELBO](curves.png)"""

QUALITY = """Of cells that no rival saw, nats a cell, lower is better: −ELBO = reconstruction + KL
at the end of the run, the lowest point of its curve, where one who knew these cells would have
stopped, and the importance-weighted bound with 200 draws (500 cells at most). A latent dimension
is in use if its mean KL to the prior is above 0.1. Against cell types, higher is better: ARI of
k-means with ten clusters, and how many cells their 15 nearest neighbours give the right type."""

SCALING = """Exponent of a power law fitted to the seconds an epoch.

![Seconds an epoch against cells and against genes](scaling.png)"""

FLOOR = """A step of nbvae, with its loading, against dense matrix products and memory traffic at
the rates that this machine has for them; what is counted is in `../floor.py`."""

SHARES = """Shares of the time that PyTorch's profiler sees, over four epochs."""

OPERATORS = """Time of one operator on 128 × 2,000 numbers, a multiplication being 1."""
