/* Chapter 3: a state z to be dragged along two of its coordinates, and a turn of all coordinates.
   Together with the decoder: the map turns, the counts stay. Without it they do not. */
(function (living) {
  "use strict";
  const { integers, nbLogProb } = living.maths;
  const MOST = 2000; // molecules
  /* Planes in which the turn goes, and how fast: each coordinate meets several others. */
  const PLANES = [[0, 5, 1], [1, 6, 0.7], [2, 7, 1.3], [3, 8, 0.9], [4, 9, 1.1], [0, 1, 1],
    [2, 3, 0.8], [4, 5, 1.2], [6, 7, 0.6], [8, 9, 1]];

  /* z' = A z, or back. A is a product of turns in planes: lengths do not change. */
  function turned(z, angle, sign = 1) {
    const result = Float64Array.from(z);
    const planes = PLANES.filter(([a, b]) => Math.max(a, b) < z.length);
    for (const [a, b, speed] of sign > 0 ? planes : planes.reverse()) {
      const [c, s] = [Math.cos(speed * angle), sign * Math.sin(speed * angle)];
      [result[a], result[b]] = [c * result[a] - s * result[b], s * result[a] + c * result[b]];
    }
    return result;
  }

  const average = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length;

  /* The mean state of each kind that has cells. */
  const middles = (cells) => cells.kinds.map((name, kind) => {
    const own = living.ofKind(cells, kind).map((n) => cells.z[n]);
    return { name, kind, n: own.length, z: cells.z[0].map((_, i) => average(own.map((z) => z[i]))) };
  }).filter(({ n }) => n);

  /* The two coordinates of which the kinds' means explain most, in their order. */
  function tellingPair(cells, kinds) {
    const part = Array.from(cells.z[0], (_, i) => {
      const middle = average(cells.z.map((z) => z[i]));
      const square = (v) => (v - middle) ** 2;
      return average(kinds.map(({ n, z }) => n * square(z[i]))) /
        average(cells.z.map((z) => square(z[i])));
    });
    const order = part.map((_, i) => i).sort((a, b) => part[b] - part[a]);
    return order.slice(0, 2).sort((a, b) => a - b);
  }

  living.register("state_by_hand", (stage, data) => {
    const cells = living.cells(data);
    const counts = integers(data.counts);
    const logTheta = cells.theta.map(Math.log);
    const kinds = middles(cells);
    const [across, up] = tellingPair(cells, kinds);
    const state = {
      z: cells.z[data.cell], across, up, angle: 0, alone: false, seed: 1,
      library: cells.library[data.cell],
    };
    const panels = living.add(stage, "div", { class: "lv-panels" });
    const left = living.add(panels, "div", { class: "lv-half" });
    const right = living.add(panels, "div", { class: "lv-half" });
    const axes = living.add(left, "div", { class: "lv-row" });
    const numbers = cells.z[0].length;
    const options = Array.from({ length: numbers }, (_, i) => [String(i), String(i + 1)]);
    living.select(axes, { label: "across: coordinate", value: String(across), options,
      on: (v) => change({ across: Number(v) }) });
    living.select(axes, {
      label: "up:", value: String(up), options, on: (v) => change({ up: Number(v) }),
    });
    const chart = living.scatter(left, {
      label: "The cells by two coordinates of z", height: (width) => Math.min(width, 330),
      x: { domain: [-4, 4], label: "coordinate across", ticks: [-4, -2, 0, 2, 4] },
      y: { domain: [-4, 4], label: "coordinate up", ticks: [-4, -2, 0, 2, 4] },
    });
    const place = () => turned(state.z, state.angle);
    const moveTo = (x, y) => {
      const there = place();
      there[state.up] = Math.max(-4, Math.min(4, y));
      there[state.across] = Math.max(-4, Math.min(4, x));
      change({ z: turned(there, state.angle, -1) });
    };
    const point = chart.handle({
      label: "the state z", ink: "rose", value: () => place()[state.across],
      text: () => `${place()[state.across].toFixed(2)} across, ${place()[state.up].toFixed(2)} up`,
      drag: moveTo,
      key: (dx, dy) => moveTo(place()[state.across] + 0.1 * dx, place()[state.up] + 0.1 * dy),
    });
    living.add(left, "p", { class: "lv-hint" }, "Dragging moves these two coordinates. The other " +
      "eight stay: a point among T cells here need not be a T cell. Its nearest cells, by all ten, " +
      "are named below.");
    living.legend(left, cells);
    const show = living.genes(right, data.genes, {
      draws: 3, own: data.genes.map(([, g]) => counts[g]), middle: true,
      label: "counts (root scale)", top: living.room(cells, data.genes, MOST),
    });
    living.add(right, "p", { class: "lv-hint" }, "Bars: the middle nine tenths of what this state " +
      "makes. Dots: three drawn cells. Crosses: what was counted in our monocyte.");
    const controls = living.add(stage, "div", { class: "lv-row" });
    living.choice(controls, {
      label: "turn", value: "both", options: [["both", "z and the decoder"], ["z", "z alone"]],
      on: (what) => change({ alone: what === "z" }),
    });
    living.slider(controls, {
      label: "by an angle of", min: 0, max: 360, step: 1, value: 0,
      text: (v) => `${Math.round(v)}°`, on: (v) => change({ angle: (v * Math.PI) / 180 }),
    });
    living.slider(controls, {
      label: "library ℓ", min: 100, max: MOST, step: 0.005, log: true, value: state.library,
      text: (v) => String(Math.round(v)), on: (v) => change({ library: Math.round(v) }),
    });
    const buttons = living.add(stage, "div", { class: "lv-row" });
    living.button(buttons, "Draw again", () => change({ seed: state.seed + 1 }));
    const put = living.select(buttons, {
      label: "put z on", value: "", options: [["", "our monocyte"],
        ...kinds.map(({ name }, i) => [String(i), `the mean of ${name}`])],
      on: (v) => change({ z: v ? kinds[Number(v)].z : cells.z[data.cell] }),
    });
    living.button(buttons, "Back to our monocyte", () => {
      put.value = "";
      change({ z: cells.z[data.cell] });
    });
    const fact = living.facts(stage, [
      ["kind", "nearest cells"], ["total", "counts of the drawn cell"],
      ["fit", "log p(x | z) of our monocyte, nats"],
      ["prior", "log p(z), before the turn and after"],
      ["same", "largest change of a share by the turn"],
    ]);
    const logFit = (shares) => shares.reduce((sum, share, g) =>
      sum + nbLogProb(counts[g], Math.log(state.library * share), logTheta[g]), 0);
    const logPrior = (z) => -0.5 * (z.reduce((a, v) => a + v * v, 0) + z.length *
      Math.log(2 * Math.PI));

    /* The decoder of the turned story, f'(z') = f(Aᵀ z'), or the old one, beside the first. */
    function draw() {
      const now = place();
      const shares = cells.decode(state.alone ? now : turned(now, state.angle, -1));
      const before = cells.decode(state.z);
      const change = shares.reduce((most, v, g) => Math.max(most, Math.abs(v - before[g])), 0);
      chart.spec.x.label = `coordinate ${state.across + 1}`;
      chart.spec.y.label = `coordinate ${state.up + 1}`;
      chart.draw((pen) => pen.text(pen.right, pen.top - 6, state.angle ? "turned" : "", "muted",
        "end"));
      chart.points(cells.z.map((z, n) => {
        const there = turned(z, state.angle);
        return { x: there[state.across], y: there[state.up], ink: cells.ink(cells.type[n]) };
      }));
      point(now[state.across], now[state.up]);
      const total = show(shares, state.library, cells.theta, state.seed);
      const near = living.nearest(cells, state.z);
      fact("kind", `${near.of} of 15: ${cells.kinds[near.kind]}`);
      fact("total", String(total));
      fact("fit", living.fixed(logFit(shares), 1));
      fact("prior", `${living.fixed(logPrior(state.z), 2)}, ${living.fixed(logPrior(now), 2)}`);
      fact("same", change < 1e-12 ? "none" : `${living.fixed(100 * change, 1)} %`);
      living.say(stage, `z ${now[state.across].toFixed(2)} across, ${now[state.up].toFixed(2)} up; ` +
        `${near.of} of the 15 nearest cells are ${cells.kinds[near.kind]}.`);
    }
    const change = (by) => {
      Object.assign(state, by);
      draw();
    };
    living.keepDrawn(stage, draw);
  });
})(window.nbvaeLiving);
