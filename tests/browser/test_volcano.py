"""The figure of chapter 9 calls the genes that the package calls."""

import numpy as np
import pytest
import samples
from hands import PHONE
from scipy import stats

from nbvae.differential.prior import expected_fdr, fitted_weights, posterior

pytestmark = pytest.mark.slow
UNPACK = """const box = document.querySelector('.nbvae-living'), v = nbvaeLiving.volcano;
  const [, , lfc, sd] = JSON.parse(box.dataset.trained).pairs[0].map(
    (t, i) => i < 2 ? t : nbvaeLiving.maths.floats(t));"""

INK = """([lfc, p]) => {
  const canvas = document.querySelector('.lv-scatter canvas'), sharp = devicePixelRatio;
  const width = canvas.width / sharp;
  const x = 40 + (lfc + 9) / 18 * (width - 52), y = 262 - p / 1.03 * 236;
  const patch = canvas.getContext('2d').getImageData(
    Math.round(sharp * x) - 1, Math.round(sharp * y) - 1, 3, 3);
  return patch.data.some((v, i) => i % 4 === 3 && v > 0);
}"""


@pytest.fixture(scope="module")
def table():
    found = samples.differences()["A", "B"]
    return found.loc[sorted(found.index)]


def known(table, delta):
    error = table["lfc_error"].to_numpy()
    weights = fitted_weights(table["lfc_alone"].to_numpy(), error)
    return posterior(table["lfc_alone"].to_numpy(), error, weights, delta)


def called(table, delta, fdr):
    """How many genes the package calls: its posterior, then its rule."""
    p = np.sort(np.maximum(known(table, delta).up, known(table, delta).down))[::-1]
    return (expected_fdr(p) <= fdr).sum()


def test_tails_of_the_normal_distribution_are_scipys(figure):
    x = [-9.0, -3.2, -0.4, 0.0, 1e-3, 0.7, 2.0, 5.0, 9.0, 30.0]
    shown = figure("volcano").page.evaluate("a => a.map(nbvaeLiving.volcano.tail)", x)
    assert shown == pytest.approx(stats.norm.sf(x), rel=1e-6)


@pytest.mark.parametrize("delta", [0.0, 0.25, 1.0])
def test_posteriors_are_the_packages(figure, table, delta):
    shown = figure("volcano").page.evaluate(
        f"d => {{ {UNPACK} return v.shrink(lfc, sd).map(g => "
        "[g.mean, v.beyond(g, d, 1), v.beyond(g, d, -1)]) }", delta
    )  # fmt: skip
    expected = known(table, delta)
    for column, by_package in zip(
        np.transpose(shown), (expected.mean, expected.up, expected.down), strict=True
    ):
        assert column == pytest.approx(by_package, rel=1e-5, abs=1e-9)


def test_the_table_is_what_the_page_starts_with(figure, table):
    page = figure("volcano")
    assert page.fact("called") == table["is_de"].sum()
    assert page.fact("p") == pytest.approx(table.loc["GENE3", "proba_de"], abs=6e-4)
    assert page.fact("typical") == pytest.approx(
        np.sort(table["proba_de"])[len(table) // 2], abs=6e-3
    )


def test_genes_are_called_live(figure, table):
    page, counts = figure("volcano"), set()
    for delta, fdr in ((0.25, 0.05), (0.25, 0.3), (1.0, 0.05), (1.0, 0.3), (2.5, 0.1)):
        page.slide("δ", delta)
        page.slide("accepted", fdr)
        assert page.fact("called") == called(table, delta, fdr)
        told = page.page.locator("[data-fact=expected]").inner_text()
        assert told == "–" if page.fact("called") == 0 else page.fact("expected") <= 100 * fdr
        counts.add(page.fact("called"))
    assert len(counts) > 2


def test_the_groups_are_chosen(figure):
    page = figure("volcano")
    before = page.page.locator(".lv-about").inner_text()
    page.page.get_by_role("combobox", name="groups").select_option("A against C")
    other = samples.differences()["A", "C"]
    assert page.fact("called") == other["is_de"].sum()
    assert page.page.locator(".lv-about").inner_text() != before


def test_a_gene_is_touched_and_chosen(figure, table):
    page = figure("volcano", viewport=PHONE, has_touch=True).page
    box = page.locator(".lv-scatter svg").bounding_box()
    for gene in table["lfc_mean"].abs().nlargest(2).index:
        row = table.loc[gene]
        x = box["x"] + 40 + (row["lfc_mean"] + 9) / 18 * (box["width"] - 52)
        y = box["y"] + 262 - row["proba_de"] / 1.03 * 236
        page.touchscreen.tap(x, y)
        told = page.locator(".lv-about").inner_text()
        named = told.split(":")[0]
        near = table.loc[named, ["lfc_mean", "proba_de"]] - row[["lfc_mean", "proba_de"]]
        assert abs(near["lfc_mean"]) < 0.5 and abs(near["proba_de"]) < 0.05
        means = table.loc[named, ["raw_mean1", "raw_mean2"]]
        assert f"{means.iloc[0]:.2f} and {means.iloc[1]:.2f} counts" in told
    page.get_by_role("combobox", name="gene").select_option("GENE7")
    assert page.locator(".lv-about").inner_text().startswith("GENE7: ")


def test_estimates_by_themselves_are_faint_dots(figure, table):
    """Else where nothing is called the page would be empty, however wild the estimates."""
    page = figure("volcano").page
    page.get_by_role("combobox", name="groups").select_option("A against C")
    other = samples.differences()["A", "C"]
    alone = other.loc[(other["lfc_alone"] - other["lfc_mean"]).abs().nlargest(3).index]
    assert (alone["lfc_alone"] - alone["lfc_mean"]).abs().min() > 0.2
    for _, row in alone.iterrows():
        for lfc in ("lfc_alone", "lfc_mean"):
            drawn = page.evaluate(INK, [float(np.clip(row[lfc], -9, 9)), row["proba_de"]])
            assert drawn, f"{row.name}: no dot at {lfc}"
    assert not page.evaluate(INK, [8.5, 0.5])


def test_the_list_begins_with_the_markers(figure, table):
    names = figure("volcano").page.get_by_role("combobox", name="gene").locator("option")
    shown = names.all_text_contents()
    assert shown[:2] == ["GENE7", "GENE2"]
    assert sorted(shown) == sorted(table.index)


def test_no_share_of_nothing_is_told(figure):
    page = figure("volcano")
    page.slide("δ", 3)
    page.slide("accepted", 0.01)
    assert page.fact("called") == 0
    assert page.page.locator("[data-fact=expected]").inner_text() == "–"


def test_delta_is_moved_by_keys(figure, table):
    page = figure("volcano")
    slider = page.page.get_by_role("slider", name="δ")
    slider.focus()
    for _ in range(15):
        slider.press("ArrowRight")
    assert page.fact("called") == called(table, 1.0, 0.05)
