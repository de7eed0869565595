/* Chapter 2: the rate's factor u, the counts that follow, and what they say about θ. The counts
   are drawn here, or those of a real gene in cells of one kind. */
(function (living) {
  "use strict";
  const { gammaDensity, integers, nbLogProb, poissonLogProb, random } = living.maths;
  const THETAS = Float64Array.from({ length: 121 }, (_, i) => 10 ** (-2 + 0.05 * i));
  const DROP = 1.92; // nats: half the 95 % point of χ² with one degree of freedom
  const HERE = "counts drawn here";
  const sum = (list) => list.reduce((a, b) => a + b, 0);
  const short = (v) => (Number.isFinite(v) ? living.plain(Number(v.toPrecision(3))) : "∞");

  /* L(θ) of (2.7) on the grid, and its limit for θ → ∞. Equal cells are counted once. */
  function profile(counts, means) {
    const groups = new Map();
    counts.forEach((x, n) => {
      const key = `${x} ${means[n]}`;
      const group = groups.get(key) || { x, logMean: Math.log(means[n]), times: 0 };
      group.times += 1;
      groups.set(key, group);
    });
    const cells = [...groups.values()];
    const total = (f) => sum(cells.map((c) => c.times * f(c.x, c.logMean)));
    const at = (theta) => total((x, m) => nbLogProb(x, m, Math.log(theta)));
    return { at, finite: THETAS.map(at), poisson: total(poissonLogProb) };
  }

  /* The top of the curve, and where it is within DROP of it. */
  function read({ finite, poisson }) {
    const best = finite.indexOf(Math.max(...finite));
    const top = Math.max(finite[best], poisson);
    const inside = Array.from(THETAS).filter((_, i) => finite[i] > top - DROP);
    const flat = finite[finite.length - 1] > top - DROP;
    return {
      top, theta: finite[best] > poisson && best < THETAS.length - 1 ? THETAS[best] : Infinity,
      low: inside.length ? inside[0] : Infinity,
      high: flat || !inside.length ? Infinity : inside[inside.length - 1],
    };
  }

  /* The part of the curve above a floor, with its ends on the floor. */
  function above(lift, floor) {
    const [xs, ys] = [[], []];
    lift.forEach((v, i) => {
      const w = lift[i - 1];
      if (i && v > floor !== w > floor) {
        const part = (floor - w) / (v - w);
        xs.push(THETAS[i - 1] ** (1 - part) * THETAS[i] ** part);
        ys.push(floor);
      }
      if (v > floor) {
        xs.push(THETAS[i]);
        ys.push(v);
      }
    });
    return [xs, ys];
  }

  living.register("negative_binomial", (stage, data) => {
    const library = Array.from(integers(data.library));
    const real = new Map(data.genes.map(([name, text]) => [name, Array.from(integers(text))]));
    const state = { gene: HERE, mean: 4, theta: 2, cells: 240, seed: 1 };
    const tally = { setting: "", inside: new Map() }; // by seed, whether θ was within the interval

    living.add(stage, "p", { class: "lv-hint" }, "Draw again some ten times: how often is the true " +
      "θ within 1.92 nats of the top? Then set μ to 0.1. Do 2,000 cells tell more of θ than 240?");
    const top = living.add(stage, "div", { class: "lv-row" });
    const genes = [...real.keys()].map((name) => [name, `${name}, ${data.kind}`]);
    living.select(top, {
      label: "Whose counts?", value: HERE, options: [[HERE, HERE], ...genes],
      on: (gene) => change({ gene }),
    });
    const again = living.button(top, "Draw again", () => change({ seed: state.seed + 1 }));
    const controls = living.add(stage, "div", { class: "lv-row" });
    const sliders = {
      mean: living.slider(controls, {
        label: "mean μ", min: 0.05, max: 50, step: 0.01, log: true, digits: 2,
        value: state.mean, text: (v) => v.toPrecision(2), on: (mean) => change({ mean }),
      }),
      theta: living.slider(controls, {
        label: "inverse dispersion θ", min: 0.05, max: 1000, step: 0.01, log: true, digits: 2,
        value: state.theta, text: short,
        on: (theta) => change({ theta }),
      }),
      cells: living.slider(controls, {
        label: "number of cells", min: 10, max: 2000, step: 0.01, log: true, value: state.cells,
        text: (v) => String(Math.round(v)), on: (v) => change({ cells: Math.round(v) }),
      }),
    };
    const panels = living.add(stage, "div", { class: "lv-panels" });
    const panel = (label, x, y, margin) => living.chart(
      living.add(panels, "div", { class: "lv-third" }), { label, height: 220, x, y, margin });
    const factor = panel("The factor u of a cell", { domain: [0, 3], label: "factor u" },
      { domain: [0, 2], label: "density", hidden: true }, { left: 6 });
    const histogram = panel("The counts", { domain: [0, 20], label: "count" },
      { domain: [0, 0.3], label: "share of the cells" });
    const curve = panel("The log-likelihood of θ",
      { domain: [0.01, 10000], log: true, label: "θ", ticks: [0.01, 1, 100, 10000],
        text: (v) => (v === 10000 ? "10⁴" : living.plain(v)) },
      { domain: [-8, 0.8], label: "L(θ) − top, nats", ticks: [-8, -6, -4, -2, 0] });
    const fact = living.facts(stage, [
      ["variance", "variance μ + μ²/θ"], ["zero", "P(0), with this θ", "indigo"],
      ["poisson", "P(0), Poisson", "green"], ["seen", "zeros seen", "grey"],
      ["top", "θ at the top of L"], ["range", "θ within 1.92 nats"],
      ["inside", "draws with the true θ within"],
    ]);

    /* The counts, and each cell's mean: ℓρ for a real gene, the mean of all for drawn ones. */
    function counted() {
      if (state.gene !== HERE) {
        const counts = real.get(state.gene);
        const share = sum(counts) / sum(library);
        return { counts, means: library.map((l) => l * share) };
      }
      const chance = random(state.seed);
      const counts = Array.from({ length: state.cells }, () =>
        chance.nb(state.mean, state.theta));
      return { counts, means: counts.map(() => Math.max(sum(counts) / counts.length, 1e-9)) };
    }

    /* Over the cells, the mean probability of each count. The truth, for counts drawn here. */
    function expected(means, last) {
      const own = state.gene === HERE ? [state.mean] : means;
      const mean = (f) => sum(own.map((m) => Math.exp(f(Math.log(m))))) / own.length;
      const values = Array.from({ length: last + 1 }, (_, x) => x);
      return {
        nb: values.map((x) => mean((m) => nbLogProb(x, m, Math.log(state.theta)))),
        poisson: values.map((x) => mean((m) => poissonLogProb(x, m))),
      };
    }

    function drawFactor() {
      const u = Float64Array.from({ length: 160 }, (_, i) => 0.01 + i * 0.02);
      const density = u.map((v) => gammaDensity(v, state.theta));
      factor.spec.x.domain = [0, u[u.length - 1]];
      factor.spec.y.domain = [0, Math.max(1, Math.min(4, Math.max(...density.slice(8)) * 1.15))];
      factor.draw((pen) => {
        pen.rule(pen.x(1), pen.top, pen.x(1), pen.bottom, "green dashed");
        pen.area(u, density, "indigo soft");
        pen.line(u, density, "indigo");
        pen.text(pen.x(1) + 6, pen.top + 8, "Poisson: always 1", "green-text halo");
      });
    }

    function drawHistogram({ counts, means }) {
      const sorted = [...counts].sort((a, b) => a - b);
      const far = sorted[Math.floor(0.99 * (sorted.length - 1))];
      const last = Math.max(6, Math.ceil(Math.max(far, 1.6 * Math.max(...means.slice(0, 1)))));
      const wide = Math.ceil((last + 1) / 26); // counts in one bar
      const bars = Math.ceil((last + 1) / wide);
      const { nb, poisson } = expected(means, bars * wide - 1);
      const seen = Array(bars * wide).fill(0);
      for (const x of counts) if (x < seen.length) seen[x] += 1 / counts.length;
      const binned = (list) => Array.from({ length: bars }, (_, i) =>
        sum(list.slice(i * wide, (i + 1) * wide)));
      const [shown, byNb, byPoisson] = [seen, nb, poisson].map(binned);
      histogram.spec.x.domain = [-0.5, bars * wide - 0.5];
      histogram.spec.y.domain = [0, 
        1.1 * Math.max(...shown, ...byNb, 0.05, Math.min(0.5, Math.max(...byPoisson)))];
      histogram.draw((pen) => {
        const middle = (i) => i * wide + (wide - 1) / 2;
        const half = (pen.x(wide) - pen.x(0)) / 2;
        shown.forEach((share, i) => pen.bar(pen.x(middle(i)) - half + 0.5,
          pen.x(middle(i)) + half - 0.5, pen.y(0), pen.y(share), "grey"));
        const at = shown.map((_, i) => middle(i));
        pen.line(at, byPoisson, "green dashed");
        pen.line(at, byNb, "indigo");
        byNb.forEach((share, i) => pen.dot(pen.x(at[i]), pen.y(share), 2.6, "indigo"));
      });
      return { zero: nb[0], poisson: poisson[0], seen: seen[0] };
    }

    function drawCurve(l, found) {
      const lift = l.finite.map((v) => v - found.top);
      curve.draw((pen) => {
        const inside = Array.from(THETAS, (_, i) => i).filter((i) => lift[i] > -DROP);
        if (inside.length) {
          pen.bar(pen.x(THETAS[inside[0]]), pen.x(THETAS[inside[inside.length - 1]]), pen.top,
            pen.bottom, "sky soft");
        }
        pen.rule(pen.left, pen.y(-DROP), pen.right, pen.y(-DROP), "grey dotted");
        const [xs, ys] = above(lift, -8);
        pen.line(xs, ys, "indigo thick");
        const x = pen.x(state.theta);
        pen.rule(x, pen.top, x, pen.bottom, "rose dashed");
        const label = state.gene === HERE ? "true θ" : "your θ";
        const right = x > (pen.left + pen.right) / 2;
        pen.text(right ? x - 6 : x + 6, pen.bottom - 8, label, "rose-text halo",
          right ? "end" : "start");
      });
    }

    /* In how many draws with these settings the true θ was within DROP of the top. */
    function kept(l, found) {
      const setting = `${state.mean} ${state.theta} ${state.cells}`;
      if (setting !== tally.setting) Object.assign(tally, { setting, inside: new Map() });
      tally.inside.set(state.seed, l.at(state.theta) > found.top - DROP);
      return `${sum([...tally.inside.values()])} of ${tally.inside.size}`;
    }

    function draw() {
      const here = state.gene === HERE;
      const drawn = counted();
      const mean = here ? state.mean : sum(drawn.counts) / drawn.counts.length;
      sliders.mean.set(mean);
      sliders.mean.input.disabled = sliders.cells.input.disabled = !here;
      again.disabled = !here;
      sliders.cells.set(drawn.counts.length);
      const l = profile(drawn.counts, drawn.means);
      const found = read(l);
      drawFactor();
      const zeros = drawHistogram(drawn);
      drawCurve(l, found);
      fact("variance", short(mean + mean ** 2 / state.theta));
      for (const key of ["zero", "poisson", "seen"]) {
        fact(key, `${living.fixed(100 * zeros[key], 1)} %`);
      }
      fact("top", short(found.theta));
      fact("range", `${short(found.low)} to ${short(found.high)}`);
      fact("inside", here ? kept(l, found) : "–");
      living.say(stage, `θ at the top of the likelihood ${short(found.theta)}; within 1.92 nats ` +
        `from ${short(found.low)} to ${short(found.high)}. P(0) ${zeros.zero.toFixed(3)}.`);
    }
    const change = (by) => {
      Object.assign(state, by);
      draw();
    };
    living.keepDrawn(stage, draw);
  });
})(window.nbvaeLiving);
