"""The decoder in the page is the package's, and the figures that use it show its numbers."""

import base64
import json

import numpy as np
import pytest
import samples
import torch
from hands import drag_by_finger, drag_by_mouse
from scipy import spatial
from sklearn.feature_selection import f_classif

pytestmark = pytest.mark.slow
MATHS = "window.nbvaeLiving.maths"


def halved(model):
    """The model as the page has it: weights rounded to half floats."""
    with torch.no_grad():
        for weight in (*model.decoder.parameters(), model.log_theta):
            weight.copy_(weight.half().float())
    return model


def shares_in_page(page, z):
    return np.array(page.page.evaluate(
        f"""z => {{ const box = document.querySelector('.nbvae-living');
        const data = JSON.parse(box.dataset.trained);
        return z.map(v => Array.from({MATHS}.decoder(data.decoder)(v))) }}""", z.tolist(),
    ))  # fmt: skip


def test_the_decoder_is_pytorchs(figure):
    model = halved(samples.untrained()).double()
    z = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 10)))
    with torch.no_grad():
        expected = model.generative(z, torch.ones(20, 1, dtype=torch.float64)).px_scale.numpy()
    assert shares_in_page(figure("state_by_hand"), z.numpy()) == pytest.approx(expected, rel=1e-5)


def test_half_floats_change_shares_little(figure):
    """What the page loses: under one per cent of a share, far less than one count scatters."""
    model = samples.untrained().double()
    z = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 10)))
    with torch.no_grad():
        expected = model.generative(z, torch.ones(20, 1, dtype=torch.float64)).px_scale.numpy()
    assert shares_in_page(figure("state_by_hand"), z.numpy()) == pytest.approx(expected, rel=0.01)


def test_half_floats_are_numpys(figure):
    values = np.array([0, -0.0, 1, -2.5, 6e-8, 3e-5, 65504, 0.333], "<f2")
    text = base64.b64encode(values.tobytes()).decode()
    shown = figure("state_by_hand").page.evaluate(f"t => Array.from({MATHS}.halves(t))", text)
    assert shown == values.astype(float).tolist()


def across(page):
    return float(page.get_by_role("slider", name="the state z").get_attribute("aria-valuenow"))


@pytest.mark.parametrize("drag", [drag_by_mouse, drag_by_finger])
def test_the_state_is_dragged(figure, drag):
    page = figure("state_by_hand", has_touch=True).page
    before = across(page)
    width = page.locator(".lv-scatter svg").bounding_box()["width"] - 52  # without the margins
    drag(page, page.get_by_role("slider", name="the state z"), width / 8, -20)
    assert across(page) == pytest.approx(before + 1, abs=0.06)


def test_the_state_is_moved_by_keys_and_brought_back(figure):
    page = figure("state_by_hand").page
    before, point = across(page), page.get_by_role("slider", name="the state z")
    point.focus()
    point.press("ArrowRight")
    assert across(page) == pytest.approx(before + 0.1, abs=2e-3)
    page.get_by_role("button", name="Back to our monocyte").click()
    assert across(page) == before


def bars(page):
    """How long those of the genes are, in pixels."""
    return [
        float(width)
        for width in page.locator("rect.lv-area").evaluate_all(
            "all => all.map(e => e.getAttribute('width'))"
        )
    ]


def states_in_page(page):
    trained = page.evaluate("document.querySelector('.nbvae-living').dataset.trained")
    z = np.frombuffer(base64.b64decode(json.loads(trained)["z"]), "<f2")
    return z.reshape(60, 10).astype(float)


def test_a_turn_moves_the_map_and_not_the_counts(figure):
    page = figure("state_by_hand")
    place, before, fit = across(page.page), bars(page.page), page.fact("fit")
    page.slide("by an angle", 130)
    assert across(page.page) != pytest.approx(place, abs=0.01)
    assert (bars(page.page), page.fact("fit")) == (before, fit)
    assert page.page.locator("[data-fact=same]").inner_text() == "none"
    prior = page.page.locator("[data-fact=prior]").inner_text().split(", ")
    z = states_in_page(page.page)[3]
    expected = -0.5 * (z @ z) - 5 * np.log(2 * np.pi)
    assert [float(p.replace("−", "-")) for p in prior] == pytest.approx([expected] * 2, abs=0.006)


def test_a_turn_of_z_alone_changes_the_counts_and_not_the_prior(figure):
    page = figure("state_by_hand")
    before, fit = bars(page.page), page.fact("fit")
    page.page.get_by_role("radio", name="z alone").check()
    assert (bars(page.page), page.fact("fit")) == (before, fit)  # not turned yet
    page.slide("by an angle", 130)
    assert bars(page.page) != before
    assert abs(page.fact("fit") - fit) > 5
    assert page.fact("same") > 0.5
    before_turn, after = page.page.locator("[data-fact=prior]").inner_text().split(", ")
    assert before_turn == after


def test_the_fit_is_the_packages(figure):
    """log p(x | z) of cell 3's counts at its own state and library, by PyTorch."""
    page = figure("state_by_hand")
    model, adata = halved(samples.untrained()).double(), samples.table()
    x = torch.from_numpy(adata[3].X.toarray()).double()
    z = torch.from_numpy(states_in_page(page.page)[[3]])
    with torch.no_grad():
        expected = model.likelihood.log_prob(x, model.generative(z, x.sum(1, keepdim=True))).sum()
    assert page.fact("fit") == pytest.approx(expected.item(), abs=0.06)


def test_the_first_coordinates_are_those_that_part_the_kinds(figure):
    page = figure("state_by_hand").page
    kinds = samples.table().obs["cell_type"]
    order = np.argsort(-f_classif(states_in_page(page), kinds)[0])
    chosen = page.locator(".lv-half select").evaluate_all("all => all.map(e => Number(e.value))")
    assert chosen == sorted(order[:2])


def test_the_state_is_put_on_a_kinds_mean(figure):
    page = figure("state_by_hand").page
    page.get_by_role("combobox", name="put z on").select_option("the mean of B")
    z, kinds = states_in_page(page), samples.table().obs["cell_type"].to_numpy()
    chosen = int(page.locator(".lv-half select").first.input_value())
    middle = z[kinds == "B"].mean(0)
    assert across(page) == pytest.approx(middle[chosen], abs=1e-3)
    near = kinds[np.argsort(np.linalg.norm(z - middle, axis=1))[:15]]
    told = page.locator("[data-fact=kind]").inner_text()
    assert told.startswith(f"{np.unique(near, return_counts=True)[1].max()} of 15: ")
    page.get_by_role("button", name="Back to our monocyte").click()
    assert across(page) == pytest.approx(z[3][chosen], abs=1e-3)


@pytest.mark.parametrize("name", ["latent_map", "state_by_hand"])
def test_the_axis_stays_where_it_is_while_the_library_moves(name, figure):
    """So that more molecules are longer bars; by the root of their number."""
    page = figure(name)
    slider = page.page.get_by_role("slider", name="ℓ")
    chart = page.page.locator("svg").filter(has_text="GENE0")
    seen = {}
    for library in (200, 1800):
        slider.evaluate(
            "(e, v) => {e.value = v; e.dispatchEvent(new Event('input'))}", np.log10(library)
        )
        ticks = chart.locator(".lv-tick").evaluate_all(
            "all => all.map(e => [e.textContent, e.getAttribute('x')])"
        )
        seen[library] = ticks, max(bars(page.page))
    assert seen[200][0] == seen[1800][0]
    if name == "latent_map":  # whose bars begin at 0
        assert seen[1800][1] / seen[200][1] == pytest.approx(3, rel=0.02)


def click_on_map(page, x, y):
    """At a place between 0 and 1, within the chart's margins."""
    box = page.locator(".lv-scatter svg").bounding_box()
    inner = (box["width"] - 8) / 1.08, (box["height"] - 12) / 1.08
    page.mouse.click(box["x"] + 4 + (x + 0.04) * inner[0],
                     box["y"] + box["height"] - 6 - (y + 0.04) * inner[1])  # fmt: skip


def test_a_place_without_cells_is_told(figure):
    """With whose mean is decoded there, and how many of each kind they are."""
    page = figure("latent_map").page
    positions = np.random.default_rng(2).normal(size=(60, 2))
    positions = (positions - positions.min(0)) / np.ptp(positions, axis=0)
    kinds = samples.table().obs["cell_type"].to_numpy()
    tree = spatial.KDTree(positions)
    usual = np.median(tree.query(positions, k=2)[0][:, 1])
    places = np.stack(np.meshgrid(*[np.linspace(0, 1, 11)] * 2), -1).reshape(-1, 2)
    distances, near = tree.query(places, k=12)
    place = distances[:, 0].argmax()
    assert distances[place, 0] > 5.2 * usual
    click_on_map(page, *places[place])
    told = page.locator(".lv-about").inner_text()
    assert told.startswith("No cell is here")
    shown = dict(reversed(part.split(" ")) for part in told.split("far off: ")[1].split(", "))
    of, number = np.unique(kinds[near[place]], return_counts=True)
    assert shown == {kind: str(n) for kind, n in zip(of, number, strict=True)}
    assert page.locator(".lv-title").inner_text() == "What the decoder says where no cell is"


def test_a_cell_on_the_map_is_told(figure):
    """Its kind, library and commonest genes, under the pointer and by touch."""
    page = figure("latent_map").page
    adata = samples.table()
    positions = np.random.default_rng(2).normal(size=(60, 2))
    low, high = positions.min(0), positions.max(0)
    for cell in (5, 31, 59):
        click_on_map(page, *(positions[cell] - low) / (high - low))
        told = page.locator(".lv-about").inner_text()
        counts = adata[cell].X.toarray().ravel()
        assert told.startswith(f"{adata.obs['cell_type'].iloc[cell]} · {counts.sum():.0f} ")
        assert told.split("most: ")[1].split(", ") == [
            f"GENE{g}" for g in np.argsort(-counts, kind="stable")[:5]
        ]


def test_the_point_of_the_map_is_moved_by_keys(figure):
    page = figure("latent_map").page
    point = page.get_by_role("slider", name="a point of the map")
    before = float(point.get_attribute("aria-valuenow"))
    point.focus()
    point.press("Shift+ArrowRight")
    assert float(point.get_attribute("aria-valuenow")) == pytest.approx(before + 0.1, abs=2e-3)


def test_a_deep_decoder_is_refused():
    model = samples.untrained()
    model.decoder.layers = torch.nn.Linear(10, 30)
    with pytest.raises(ValueError, match="one hidden layer"):
        samples.living.state_by_hand(model, samples.table(), samples.SHOWN, cell=3)
