"""What chapter 11 quotes from the benchmark is what its report says, and that what the runs say."""

import ast

import pandas as pd
import pytest
from notebooks import BOOK, ROOT, code_cells, read

from benchmarks import figures, report, report_gpu, results, sample

REPORT = (results.FOLDER / "README.md").read_text(encoding="utf-8")
SETS = {
    "sample: 700 × 765": "sample",
    "3,000 × 2,000": "3000x2000",
    "68,579 × 2,000": "68579x2000",
}


@pytest.fixture(scope="module")
def quoted():
    """The dictionaries of numbers in the chapter, by name."""
    found = {}
    for cell in code_cells(read(BOOK / "11_fast.ipynb")):
        if "benchmarks/results/README.md" in cell.source:
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.Assign):
                    found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def column(section, name, *index):
    """A column of a section's table as the report shows it, a Series of strings."""
    body = REPORT.split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in body.splitlines() if line.startswith("| ")]
    head, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines)
    return pd.DataFrame(rows, columns=head).set_index(list(index))[name]


def test_the_report_is_made_of_the_runs():
    on_gpu = results.stored(results.FOLDER, "gpu.jsonl")
    assert report.text(results.read()) + report_gpu.text(on_gpu) == REPORT


def test_the_readmes_table_is_made_of_the_results():
    rows = pd.read_csv(sample.TARGET)
    assert sample.table(rows) in (ROOT / "README.md").read_text(encoding="utf-8")
    assert rows.groupby("name").seed.nunique().min() >= 3


def test_what_the_readme_says_of_that_table():
    """PCA at the median is ahead: by NMI and silhouette of every seed, by ARI of their mean."""
    rows = pd.read_csv(sample.TARGET)
    scores = rows.groupby("name")[["ari", "nmi", "silhouette"]]
    lowest, best = scores.min().loc[sample.PCAS["pca median"]], scores.max().loc[sample.MODEL]
    assert (lowest > best)[["nmi", "silhouette"]].all()
    assert lowest.ari > scores.mean().loc[sample.MODEL].ari


def test_what_chapter_7_says_of_glm_pca():
    """It lies between the model and PCA at the median, by the mean of each score."""
    rows = pd.read_csv(sample.TARGET)
    of_model, of_glm_pca, of_pca = (
        rows[rows.name == name][["ari", "nmi", "silhouette"]].mean()
        for name in (sample.MODEL, sample.GLM_PCA, sample.PCAS["pca median"])
    )
    assert (of_model < of_glm_pca).all() and (of_glm_pca < of_pca).all()


def test_a_report_of_some_kinds_of_runs():
    runs = results.read()
    for kind in set(runs.kind) - {"pca"}:
        assert "\n## " in report.text(runs[runs.kind == kind].dropna(axis="columns", how="all"))


def test_a_report_and_figures_of_a_single_run(tmp_path):
    runs = results.read().query("kind == 'speed' and data == 'sample' and rival == 'nbvae'")
    figures.draw(runs[:1], tmp_path)
    assert "\n## Speed" not in report.text(runs[:1])  # there is nothing to compare with


def test_the_times_of_an_epoch(quoted):
    times = column("Speed", "time ÷ nbvae's", "data", "rival")
    assert quoted["EPOCH"].keys() == SETS.keys()
    for name, ratios in quoted["EPOCH"].items():
        assert ratios.keys() == {"plain", "textbook", "scvi"}
        for rival, ratio in ratios.items():
            assert ratio == pytest.approx(float(times[SETS[name], rival].split("×")[0]), abs=0.06)


def test_the_range_of_the_rounds(quoted):
    times = column("Speed", "time ÷ nbvae's", "data", "rival")
    for rival, (low, high) in quoted["RANGE"].items():
        assert times["sample", rival].endswith(f"({low} to {high})")


def test_the_cost_of_operators(quoted):
    measured = column("Operators", "time ÷ a multiplication's", "operator").astype(float)
    for name, cost in quoted["COST"].items():
        assert cost == pytest.approx(measured[name], rel=0.07)


def test_the_shares_of_log_gammas(quoted):
    shares = column("Where the time goes", "log-gammas and digammas", "rival")
    assert {rival: f"{share:.0%}" for rival, share in quoted["GAMMA_SHARE"].items()} == dict(shares)


def test_how_much_sooner(quoted):
    sooner = column("Time to a quality", "how much sooner", "data", "until scvi-tools'")
    for name, factor in quoted["SOONER"].items():
        shown = sooner[SETS[name], "its default result"]
        assert factor == pytest.approx(float(shown.split("×")[0]), abs=0.6)


def test_when_scvi_is_where_its_default_run_ends(quoted):
    runs = results.read().query("kind == 'quality' and data == 'sample' and seed == 0")
    curves = dict(list(results.curves(runs).groupby("rival")))
    target = curves["scvi"].neg_elbo.iloc[-1]
    for rival, (epoch, seconds) in quoted["REACHED"].items():
        first = curves[rival][curves[rival].neg_elbo <= target].iloc[0]
        assert (first.epoch, first.seconds) == (epoch, pytest.approx(seconds, rel=0.01))


def test_where_scvi_ends(quoted):
    ends = column("Quality", "−ELBO", "data", "rival")
    lowest = column("Quality", "lowest on the way", "data", "rival")
    for name, numbers in quoted["ENDS"].items():
        place = SETS[name], "scvi"
        assert (float(ends[place]), float(lowest[place])) == numbers


def test_what_both_end_with(quoted):
    """Each pair is nbvae's and scvi-tools'; what has a range is quoted without it."""
    names = {
        "IN_USE": "dimensions in use",
        "BOUND": "bound",
        "ARI": "ARI",
        "NEIGHBOURS": "15 neighbours",
    }
    for name, heading in names.items():
        shown = column("Quality", heading, "data", "rival")
        assert quoted[name].keys() == SETS.keys()
        for data, pair in quoted[name].items():
            found = [float(shown[SETS[data], rival].split()[0]) for rival in ("nbvae", "scvi")]
            assert found == list(pair)


def test_what_the_readme_says_of_one_gpu(quoted):
    """10.9 and 7.1 times with the cells on the GPU, 1.6 and 2.1 with minibatches from the host."""
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    small, large = (quoted["ON_GPU"][size] for size in (128, 1024))
    resident = [times["scvi"] / times["recorded"] for times in (small, large)]
    sent = [times["scvi"] / times["loop"] for times in (small, large)]
    assert f"it is {sent[0]:.1f} and {sent[1]:.1f} times as fast" in text
    assert f"is {resident[0]:.1f} times as fast as scvi-tools' ({small['recorded']} s" in text
    assert f"{resident[1]:.1f} times with 1,024 ({large['recorded']} s)" in text


def test_the_floor(quoted):
    times = column("Floor", "step ÷ floor", "data").astype(float)
    for name, factor in quoted["FLOOR"].items():
        assert factor == pytest.approx(times[SETS[name]], abs=0.05)


def test_where_the_time_goes(quoted):
    columns = ("log-gammas and digammas", "matrix products", "Adam, at least", "everything else")
    measured = [column("Where the time goes", name, "rival") for name in columns]
    times = column("Speed", "time ÷ nbvae's", "data", "rival")
    for rival, time in quoted["TIME"].items():
        assert time == round(float(times["3000x2000", rival].split("×")[0]), 1)
    for rival, shares in quoted["PROFILE"].items():
        assert [f"{share}%" for share in shares] == [shown[rival] for shown in measured]
