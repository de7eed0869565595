"""Film the living map for the README: `make picture`, after `make front`.

A browser shows the figure of the front page, a hand drags its point from one kind of cell to the
next, and the frames become book/assets/latent_map.gif.
"""

import io
import math
import re
import sys
from collections.abc import Iterator
from html import unescape

from notebooks import BOOK
from pdf import BROWSER_FLAGS, a_browser
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from site_ext.living import SHARED, folder

MAP = BOOK / "assets" / "latent_map.html"
TARGET = BOOK / "assets" / "latent_map.gif"
WIDTH, HEIGHT = 860, 410
FRAMES, REST = 80, 6  # frames of a round; how many of them the point stays with one kind
PAUSE = 90  # ms between frames
COLOURS = 96
STYLE = """body { background: #fff; font: 16px/1.4 sans-serif; margin: 0; padding: 12px; }
.lv-stage { background: #fff !important; border: 0 !important; margin: 0 !important;
  padding: 0 !important; }
.lv-legend, .lv-slider, .lv-row, .lv-hint { display: none !important; }"""


def page() -> str:
    """Return a page with the figure alone."""
    source = folder()
    scripts = "".join(
        (source / name).read_text(encoding="utf-8") for name in (*SHARED, "latent_map.js")
    )
    style = (source / "living.css").read_text(encoding="utf-8")
    figure = MAP.read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html><html data-theme="light"><meta charset="utf-8">'
        f"<style>{style}{STYLE}</style>"
        f"{figure}<script>{scripts}</script></html>"
    )


def path(stops: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Yield the point's places: a rest at each stop, and a smooth way to the next."""
    steps = FRAMES // len(stops)
    for (x0, y0), (x1, y1) in zip(stops, [*stops[1:], stops[0]], strict=True):
        for step in range(steps):
            part = max(0.0, (step - REST + 1) / (steps - REST + 1))
            way = (1 - math.cos(math.pi * part)) / 2
            yield x0 + way * (x1 - x0), y0 + way * (y1 - y0)


def frames(sheet: Page) -> Iterator[Image.Image]:
    """Drag the point and yield what is seen."""
    names = sheet.locator(".lv-chart .lv-strong")
    boxes = [box for name in names.all() if (box := name.bounding_box())]
    stops = [(b["x"] + b["width"] / 2, b["y"] + b["height"] / 2) for b in boxes][:4]
    handle = sheet.locator(".lv-handle").bounding_box()
    assert handle is not None
    sheet.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    sheet.mouse.down()
    for x, y in path(stops):
        sheet.mouse.move(x, y)
        yield Image.open(io.BytesIO(sheet.screenshot())).convert("RGB")
    sheet.mouse.up()


def film() -> list[Image.Image]:
    """Return the frames."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=a_browser(), args=list(BROWSER_FLAGS))
        sheet = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        sheet.set_content(page())
        sheet.locator(".lv-handle").wait_for()
        found = list(frames(sheet))
        browser.close()
    return found


def main() -> int:
    """Write the picture."""
    if not re.search("latent_map", unescape(MAP.read_text(encoding="utf-8"))):
        print(f"{MAP} holds no map: `make front` writes it", file=sys.stderr)
        return 1
    shots = film()
    palette = shots[0].quantize(COLOURS, dither=Image.Dither.NONE)
    drawn = [shot.quantize(palette=palette, dither=Image.Dither.NONE) for shot in shots]
    drawn[0].save(
        TARGET, save_all=True, append_images=drawn[1:], duration=PAUSE, loop=0, optimize=True
    )
    print(f"{TARGET.relative_to(BOOK.parent)}: {TARGET.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
