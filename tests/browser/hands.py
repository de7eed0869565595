"""A mouse and a finger that drag, their screens, and what a page computes meanwhile."""

DESK, PHONE = {"width": 1000, "height": 1000}, {"width": 390, "height": 844}


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


PACE = 0.041  # seconds of the loop below, where the limits were set


def slowness(page):
    """How many times as long as there this processor takes for the same loop; at least 1."""
    work = Work(page)
    start = work.seconds()
    loop = "let s = 0; for (let i = 0; i < 2e7; i++) s += Math.sqrt(i);"
    page.evaluate(f"() => {{ {loop} return s; }}")
    return max(1.0, (work.seconds() - start) / PACE)
