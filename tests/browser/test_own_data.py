"""The figures of chapter 12 show the numbers that NumPy computes."""

from itertools import product

import numpy as np
import pytest
import samples
from hands import drag_by_finger, drag_by_mouse

pytestmark = pytest.mark.slow


def slider(page, name):
    return page.page.get_by_role("slider", name=name).and_(page.page.locator("input"))


def text(page, fact):
    return page.page.locator(f"[data-fact={fact}]").inner_text()


def cut(page, **values):
    """Set the sliders; return where they then are, a step of theirs beside what was asked for."""
    there = {}
    for name, value in values.items():
        log = name.endswith("molecules")
        page.slide(name.replace("_", " "), np.log10(value) if log else value)
        shown = float(slider(page, name.replace("_", " ")).input_value())
        there[name] = float(f"{10**shown:.3g}") if log else shown
    return there


def test_what_is_kept_is_numpys(figure):
    page, rows = figure("quality_control"), samples.rows_of_a_file()
    assert text(page, "kept") == "300 of 300"
    cuts = cut(page, fewest_molecules=900, most_molecules=3000, fewest_genes=170,
               largest_mitochondrial_share=0.03)  # fmt: skip
    library, detected, mito = (rows[name] for name in ("library", "detected", "mito"))
    keep = (library >= cuts["fewest_molecules"]) & (library <= cuts["most_molecules"])
    keep &= (detected >= cuts["fewest_genes"]) & (mito <= cuts["largest_mitochondrial_share"])
    assert 20 < keep.sum() < 150
    assert text(page, "kept") == f"{keep.sum()} of 300"
    bad = np.isin(rows["kinds"], rows["bad"])
    page.page.get_by_role("button", name="Show which").click()
    assert text(page, "left") == f"{(keep & bad).sum()} of {bad.sum()}"
    assert text(page, "lost") == str((~keep & ~bad).sum())
    shown = page.page.locator(".lv-narrow svg text:not(.lv-name):not(.lv-tick)").all_text_contents()
    for kind in np.unique(rows["kinds"]):
        own = rows["kinds"] == kind
        assert f"{(keep & own).sum()} of {own.sum()}" in shown


def test_which_rows_are_bad_is_a_secret_at_first(figure):
    page = figure("quality_control")
    assert text(page, "lost") == text(page, "left") == "?"
    page.page.get_by_role("button", name="Show which").press("Enter")
    assert text(page, "left") == "40 of 40"


@pytest.mark.parametrize("drag", [drag_by_mouse, drag_by_finger])
def test_the_corner_is_dragged(figure, drag):
    page = figure("quality_control", has_touch=True)
    drag(page.page, page.page.get_by_role("slider", name="corner"), 120, 60)
    kept = int(text(page, "kept").split()[0])
    assert kept < 300
    page.page.get_by_role("slider", name="corner").press("Shift+ArrowRight")
    assert int(text(page, "kept").split()[0]) < kept


@pytest.mark.parametrize("way", ["ratio", "variance"])
@pytest.mark.parametrize("asked", [12, 20])
def test_chosen_genes_are_numpys(figure, way, asked):
    page, genes = figure("gene_choice"), samples.scores_of_genes()
    page.page.get_by_role("radio", name=way).check()
    page.slide("genes to keep", np.log10(asked))
    shown = float(slider(page, "genes to keep").input_value())
    n = round(float(f"{10**shown:.3g}"))
    order = {
        name: np.argsort(-np.float32(score), kind="stable")[:n]
        for name, score in genes["scores"].items()
    }
    share = genes["mean"][order[way]].sum() / genes["mean"].sum()
    assert page.fact("counts") == pytest.approx(100 * share, abs=0.51)
    assert text(page, "shared") == f"{len(set(order[way]) & set(order['ratio']))} of {n}"
    near = min(genes["agreement"], key=lambda k: abs(np.log(k / n)))
    where = "" if near == n else f" (with {near} genes)"
    for i, (name, right) in enumerate(zip(order, genes["agreement"][near], strict=True)):
        kept = len(set(genes["markers"]) & {genes["names"][g] for g in order[name]})
        assert text(page, f"way{i}") == (
            f"{kept} of {len(genes['markers'])}; {100 * right:.0f} %{where}"
        )


def test_a_gene_under_the_pointer_is_named(figure):
    page, genes = figure("gene_choice"), samples.scores_of_genes()
    chart = page.page.locator(".lv-scatter svg")
    chart.scroll_into_view_if_needed()
    about = page.page.locator(".lv-about")
    assert "gene's name" in about.inner_text()
    names, box = set(), chart.bounding_box()
    for x, y in product(range(50, int(box["width"]) - 10, 20), range(20, 300, 20)):
        page.page.mouse.move(box["x"] + x, box["y"] + y)
        names.add(about.inner_text().split(":")[0])
        if len(names & set(genes["names"])) > 10:
            return
    pytest.fail(f"only these were named: {names}")


def test_a_count_that_a_page_cannot_hold_is_refused():
    rows = samples.rows_of_a_file()
    rows["library"] = rows["library"] + 0.5
    with pytest.raises(ValueError, match="not a whole number"):
        samples.living.quality_control(**rows)
