"""Chapter 7's maps: a cell's true neighbours, and what the page says of them."""

import base64

import numpy as np
import pytest
import samples
from hands import drag_by_finger, drag_by_mouse
from scipy.spatial.distance import cdist

from nbvae.teaching.living import maps

pytestmark = pytest.mark.slow


def told(page):
    return page.page.locator(".lv-about").inner_text()


def own_neighbours(points, k=15):
    """By sorting all distances."""
    distances = cdist(points, points)
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1)[:, :k]


def kept(points):
    """Of each cell's nearest in z, how many are nearest on a map."""
    pairs = zip(own_neighbours(samples.latent().mean), own_neighbours(points), strict=True)
    return np.array([len({*a} & {*b}) for a, b in pairs])


def related(points):
    codes = samples.table().obs["cell_type"].cat.codes.to_numpy()
    centres = [
        np.array([p[codes == c].mean(axis=0) for c in range(3)])
        for p in (points, samples.latent().mean)
    ]
    pairs = [[np.linalg.norm(c[i] - c[j]) for i, j in ((0, 1), (0, 2), (1, 2))] for c in centres]
    return np.corrcoef(*pairs)[0, 1]


def test_the_numbers_of_each_map_are_pythons(figure):
    page = figure("many_maps")
    for place, of in enumerate(samples.several_maps().values()):
        page.slide("neighbours that", place)
        for seed, points in enumerate(of):
            page.slide("seed", seed)
            assert page.fact("here") == kept(points)[3]
            assert page.fact("all") == pytest.approx(100 * kept(points).mean() / 15, abs=0.51)
            assert page.fact("related") == pytest.approx(related(points), abs=0.006)
    assert page.fact("plane") == pytest.approx(100 * kept(samples.PLANE).mean() / 15, abs=0.51)


def test_lines_lead_to_the_true_neighbours(figure):
    """As many whole lines as neighbours that the map has kept, the others dashed."""
    page = figure("many_maps").page
    for side, points in enumerate((samples.several_maps()[15][0], samples.PLANE)):
        chart = page.locator(".lv-scatter svg").nth(side)
        assert chart.locator("path.lv-line.lv-ink").count() == kept(points)[3]
        assert chart.locator("path.lv-line.lv-dashed").count() == 15 - kept(points)[3]


def place_on_page(page, side, points, cell):
    spot = maps.on_unit_square(points)[cell] / maps.LARGEST
    chart = page.locator(".lv-scatter svg").nth(side)
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    inner = (box["width"] - 8) / 1.08
    return (box["x"] + 4 + (spot[0] + 0.04) * inner,
            box["y"] + box["height"] - 4 - (spot[1] + 0.04) * inner)  # fmt: skip


@pytest.mark.parametrize("cell", [0, 25, 47])
def test_a_touched_cell_is_told_and_linked(figure, cell):
    page = figure("many_maps")
    page.page.get_by_label("Colour:").select_option("GENE1")
    page.page.mouse.click(*place_on_page(page.page, 1, samples.PLANE, cell))
    adata = samples.table()[cell]
    sd = samples.latent().sd[cell].mean()
    assert told(page) == (
        f"{adata.obs['cell_type'].iloc[0]} · {adata.X.sum():.0f} molecules · "
        f"mean sd {sd:.2f} · GENE1 {adata[:, 'GENE1'].X.sum():.0f}"
    )
    for handle in page.page.locator(".lv-handle").all():
        assert handle.get_attribute("aria-valuenow") == str(cell)
    assert page.fact("here") == kept(samples.several_maps()[15][0])[cell]


def test_a_cell_under_the_pointer_is_told_and_not_chosen(figure):
    page = figure("many_maps")
    before = told(page)
    page.page.mouse.move(*place_on_page(page.page, 1, samples.PLANE, 47))
    assert told(page) != before
    assert page.page.locator(".lv-handle").first.get_attribute("aria-valuenow") == "3"


@pytest.mark.parametrize("drag", [drag_by_mouse, drag_by_finger])
def test_a_drag_goes_from_cell_to_cell(figure, drag):
    page = figure("many_maps", has_touch=True).page
    handle = page.locator(".lv-handle").nth(1)
    drag(page, handle, 90, -60)
    assert handle.get_attribute("aria-valuenow") != "3"


def test_keys_go_to_the_next_cell_in_their_direction(figure):
    page = figure("many_maps").page
    handle = page.locator(".lv-handle").nth(1)
    handle.focus()
    for key, axis, sign in (("ArrowRight", 0, 1), ("ArrowUp", 1, 1), ("ArrowLeft", 0, -1)):
        before = int(handle.get_attribute("aria-valuenow"))
        handle.press(key)
        way = samples.PLANE[int(handle.get_attribute("aria-valuenow"))] - samples.PLANE[before]
        assert sign * way[axis] > 0
        assert abs(way[axis]) >= abs(way[1 - axis])


def test_a_turned_map_is_turned_back():
    points = np.random.default_rng(0).normal(size=(40, 2)) @ [[3, 0], [0, 1]]
    away = points @ [[0.6, 0.8], [0.8, -0.6]] + [5, -2]
    assert maps.turned(away, points) == pytest.approx(points - points.mean(axis=0))


def test_the_map_that_is_shown_first_lies_as_it_was_given():
    figure = samples.FIGURES["many_maps"]()
    text = figure.trained["maps"][figure.values["start"]][0][0]
    shown = np.frombuffer(base64.b64decode(text), "<u2").reshape(60, 2)
    given = maps.on_unit_square(samples.several_maps()[15][0])
    assert shown.astype(float) == pytest.approx(given, abs=2)


def test_colours_are_told_in_numbers(figure):
    page = figure("many_maps").page
    widths = np.sort(samples.latent().sd.mean(axis=1))
    ends = [widths[int(p * 60)] for p in (0.01, 0.99)]
    page.get_by_label("Colour:").select_option("sd")
    told = page.locator(".lv-legend li").all_inner_texts()
    assert [float(told[i].split()[-1]) for i in (0, -1)] == pytest.approx(ends, abs=0.0051)
    page.get_by_label("Colour:").select_option("library")
    library = np.sort(samples.table().X.sum(axis=1).A1)
    told = page.locator(".lv-legend li").all_inner_texts()
    assert [int(told[i].split()[1]) for i in (0, -1)] == [library[0], library[59]]


def test_the_page_gets_the_maps_that_python_has():
    figure = samples.FIGURES["many_maps"]()
    text = figure.trained["plane"][0]
    shown = np.frombuffer(base64.b64decode(text), "<u2").reshape(60, 2) / maps.LARGEST
    scale = np.ptp(samples.PLANE, axis=0).max()
    assert np.diff(shown, axis=0) == pytest.approx(np.diff(samples.PLANE, axis=0) / scale, abs=3e-5)
