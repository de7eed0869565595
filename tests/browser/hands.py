"""A page that is open, what axe finds in it, a mouse and a finger that drag, what it computes."""

import time

from axe_playwright_python.base import AXE_SCRIPT

DESK, PHONE = {"width": 1000, "height": 1000}, {"width": 390, "height": 844}


TYPESET = """async () => {
  if (document.querySelector('.math')) await MathJax.startup.promise;
  await document.fonts.ready;
}"""
WRONG = """async ([within, options]) => {
  const found = await axe.run(within, {...options, resultTypes: ['violations']});
  return found.violations.map(v => [v.id, v.nodes.map(n => n.html)]);
}"""


def violations(page, within="html", **options):
    """What axe finds wrong: [rule, elements]. To describe what is right takes it twice as long."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    return page.evaluate(WRONG, [within, options])


class Opened:
    """A page, and what it complained of and asked for."""

    def __init__(self, browser, **options):
        self.context = browser.new_context(**{"viewport": DESK, **options})
        self.context.set_default_timeout(60_000)  # milliseconds; a busy machine is slow
        self.page = self.context.new_page()
        self.errors, self.requests = [], []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self.note)
        self.page.on("request", self.begin)
        self.page.on("requestfinished", self.end)
        self.page.on("requestfailed", self.end)
        self.loading = []

    def begin(self, request):
        self.requests.append(request.url)
        if not request.url.startswith("data:"):
            self.loading.append(request.url)

    def end(self, request):
        if request.url in self.loading:
            self.loading.remove(request.url)

    def note(self, message):
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def settle(self):
        """Wait until the page has what it asked for, formulas are set and letters have come.

        Playwright's "networkidle" takes half a second more, asleep, and does not know of formulas.
        """
        self.page.wait_for_load_state("load")
        self.page.evaluate(TYPESET)
        end = time.monotonic() + 60
        while self.loading and time.monotonic() < end:
            self.page.wait_for_timeout(20)
        assert self.loading == []

    def fact(self, name):
        """A number that the figure shows under this name."""
        text = self.page.locator(f"[data-fact={name}]").first.inner_text()
        return float(text.replace("−", "-").replace(",", "").replace("%", "").split()[0])

    def slide(self, name, value):
        """Set a slider, named by the beginning of its label, as a hand would."""
        slider = self.page.get_by_role("slider", name=name).and_(self.page.locator("input"))
        slider.evaluate("(e, v) => {e.value = v; e.dispatchEvent(new Event('input'))}", value)


def drag_by_mouse(page, what, dx, dy=0.0):
    """Press, move in steps, let go."""
    x, y = middle(what)
    page.mouse.move(x, y)
    page.mouse.down()
    for part in (0.3, 0.7, 1.0):
        page.mouse.move(x + part * dx, y + part * dy)
    page.mouse.up()


def drag_by_finger(page, what, dx, dy=0.0):
    """The same by touch, which Playwright only has for taps."""
    x, y = middle(what)
    session = page.context.new_cdp_session(page)

    def send(kind, *points):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    send("touchStart", {"x": x, "y": y})
    for part in (0.1, 0.4, 0.7, 1.0):
        send("touchMove", {"x": x + part * dx, "y": y + part * dy})
        page.wait_for_timeout(40)  # a browser takes one move a frame
    send("touchEnd")


def middle(what):
    what.scroll_into_view_if_needed()
    box = what.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


class Work:
    """What a page's main thread has computed, in seconds of its own time."""

    def __init__(self, page):
        self.session = page.context.new_cdp_session(page)
        self.session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def seconds(self):
        metrics = self.session.send("Performance.getMetrics")["metrics"]
        return {metric["name"]: metric["value"] for metric in metrics}["TaskDuration"]


PACE = 0.037  # seconds of this on the machine where the limits were set
FIXED = """() => {
  const side = 512, weights = Float32Array.from({length: side * side}, (_, i) => Math.sin(i));
  const multiply = (from) => Float64Array.from(from, (_, i) => {
    let sum = 0;
    for (let j = 0; j < side; j++) sum += weights[side * i + j] * from[j];
    return Math.tanh(sum);
  });
  let state = new Float64Array(side).fill(0.1);
  for (let n = 0; n < 40; n++) state = multiply(state);
  const box = document.createElement('div');
  for (let n = 0; n < 800; n++) {
    const line = document.createElement('p');
    line.textContent = `cell ${n} of ${n * n}`;
    box.append(line);
  }
  document.body.append(box);
  const height = box.offsetHeight;
  box.remove();
  return height + state[0];
}"""


def pace(page):
    """Seconds of the page's own time for a fixed work: products, text, layout."""
    work = Work(page)
    start = work.seconds()
    page.evaluate(FIXED)
    return work.seconds() - start


def share(limit, spend, opened, tries=5):
    """What is spent, as a share of a limit in seconds, whatever else the machine does.

    Other programs can only add to what a page takes: they crowd the caches, slow the clock. So the
    least of some tries counts, and the least that a fixed work took before and after each, in an
    empty page. One try does where it keeps within the limit.
    """
    spent, paces, slower = [spend()], [], 1.0
    empty = opened("about:blank").page if spent[0] >= limit else None
    while empty and min(spent) >= limit * slower and len(spent) <= tries:
        paces += [pace(empty), pace(empty)]
        spent.append(spend())
        paces += [pace(empty), pace(empty)]
        slower = max(1.0, min(paces) / PACE)
    assert min(spent) > 0
    return min(spent) / (limit * slower)
