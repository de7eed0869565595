/* Chapter 4: an approximate posterior q to be moved by hand. The two sides of
   −ELBO = reconstruction + KL to the prior = −log p(x) + gap are drawn as two bars of one length. */
(function (living) {
  "use strict";
  const { floats, integral, normalDensity } = living.maths;
  const LIMITS = { m: [-2.5, 2.5], s: [0.1, 1.5] };
  const fixed = (v) => living.fixed(v, 3);

  /* What does not depend on q. */
  function solve(z, step, logLik) {
    const joint = z.map((v, i) => Math.exp(logLik[i] + Math.log(normalDensity(v, 0, 1))));
    const evidence = integral(joint, step);
    return { logLik, logEvidence: Math.log(evidence), posterior: joint.map((p) => p / evidence) };
  }

  /* (4.5) and (4.6): the terms of −ELBO, in nats. */
  function terms(z, step, cell, m, s) {
    const explained = z.map((v, i) => normalDensity(v, m, s) * cell.logLik[i]);
    const reconstruction = -integral(explained, step);
    const kl = 0.5 * (m * m + s * s - 1 - 2 * Math.log(s));
    return { reconstruction, kl, gap: reconstruction + kl + cell.logEvidence };
  }

  /* The best q near a start, by ever smaller steps. */
  function best(gap, start) {
    let [m, s] = start;
    for (let step = 0.4; step > 1e-5; ) {
      const around = [[m + step, s], [m - step, s], [m, s * (1 + step)], [m, s / (1 + step)]];
      const better = around.find(([a, b]) => gap(a, b) < gap(m, s));
      if (better) [m, s] = better;
      else step /= 2;
    }
    return { m, s, gap: gap(m, s) };
  }

  living.register("q_by_hand", (stage, data) => {
    const [low, high, n] = data.z;
    const step = (high - low) / (n - 1);
    const z = Float64Array.from({ length: n }, (_, i) => low + i * step);
    const cells = data.cells.map(([, text]) => solve(z, step, floats(text)));
    const state = { cell: 0, m: data.start[0], s: data.start[1], shown: false, record: Infinity };
    const view = z.map((v, i) => i).filter((i) => Math.abs(z[i]) <= 3);
    const seen = Float64Array.from(view, (i) => z[i]);

    if (cells.length > 1) living.choice(living.add(stage, "div", { class: "lv-row" }), {
      label: "The cell", value: 0, options: data.cells.map(([name], i) => [i, name]),
      on(value) {
        Object.assign(state, { cell: value, shown: false, record: Infinity, tried: false });
        draw();
      },
    });
    const panels = living.add(stage, "div", { class: "lv-panels" });
    const left = living.add(panels, "div", { class: "lv-wide" });
    const right = living.add(panels, "div", { class: "lv-narrow" });
    const chart = living.chart(left, {
      label: "The posterior of z, and your q", height: 250,
      x: { domain: [-3, 3], label: "z" }, y: { domain: [0, 1], label: "density", hidden: true },
      margin: { left: 8 },
    });
    const bars = living.chart(right, {
      label: "Two bars of one length", height: 250,
      x: { domain: [0, 8], label: "nats" }, y: { domain: [0, 1], hidden: true },
      margin: { left: 2, top: 8 },
    });
    const move = (change) => {
      for (const [key, value] of Object.entries(change)) {
        state[key] = Math.min(LIMITS[key][1], Math.max(LIMITS[key][0], value));
      }
      state.tried = true;
      draw();
    };
    const mean = chart.handle({
      label: "mean m of q", ink: "rose", text: () => `m ${state.m.toFixed(2)}`,
      value: () => state.m, drag: (x) => move({ m: x }), key: (dx) => move({ m: state.m + 0.05 * dx }),
    });
    const width = chart.handle({
      label: "width s of q", ink: "rose", shape: "square", text: () => `s ${state.s.toFixed(2)}`,
      value: () => state.s, drag: (x) => move({ s: Math.abs(x - state.m) }),
      key: (dx) => move({ s: state.s + 0.02 * dx }),
    });
    const controls = living.add(stage, "div", { class: "lv-row" });
    const sliders = {
      m: living.slider(controls, {
        label: "<i>m</i>, where q is", min: LIMITS.m[0], max: LIMITS.m[1], step: 0.01, value: 0,
        on: (m) => move({ m }),
      }),
      s: living.slider(controls, {
        label: "<i>s</i>, how wide it is", min: LIMITS.s[0], max: LIMITS.s[1], step: 0.01, value: 1,
        on: (s) => move({ s }),
      }),
    };
    const fact = living.facts(stage, [
      ["reconstruction", "reconstruction", "indigo"], ["kl", "KL to the prior", "sky"],
      ["evidence", "−log p(x), whatever q", "grey"], ["gap", "gap", "rose hatched"],
    ]);
    const bottom = living.add(stage, "div", { class: "lv-row" });
    const reveal = living.button(bottom, "Show the best q", () => {
      state.shown = true;
      draw();
    });
    const verdict = living.add(bottom, "p", { class: "lv-verdict" });

    const gapAt = (m, s) => terms(z, step, cells[state.cell], m, s).gap;
    /* The best q on this side of 0, and whether the other side has one as good. */
    function bests() {
      const side = Math.sign(state.m) || 1;
      const [here, there] = [side, -side].map((m) => best(gapAt, [m, 0.5]));
      const twin = Math.abs(here.m - there.m) > 0.1 && Math.abs(here.gap - there.gap) < 1e-3;
      return { ...here, twin };
    }

    function drawDensities(cell) {
      const q = seen.map((v) => normalDensity(v, state.m, state.s));
      const posterior = Float64Array.from(view, (i) => cell.posterior[i]);
      const tallest = Math.max(...posterior);
      chart.spec.y.domain = [0, 1.12 * Math.max(tallest, Math.min(Math.max(...q), 2.2 * tallest))];
      chart.draw((pen) => {
        pen.line(seen, seen.map((v) => normalDensity(v, 0, 1)), "grey dotted");
        pen.area(seen, posterior, "indigo soft");
        pen.line(seen, posterior, "indigo");
        pen.line(seen, q, "rose thick");
        if (state.shown) {
          pen.line(seen, seen.map((v) => normalDensity(v, state.best.m, state.best.s)),
            "green thick dashed");
        }
        labels(pen, posterior, tallest);
      });
      mean(state.m, 0);
      const height = Math.min(normalDensity(state.s, 0, state.s), chart.spec.y.domain[1]);
      width(state.m + (state.m + state.s > 2.95 ? -state.s : state.s), height);
    }

    /* Names beside the curves instead of a legend. */
    function labels(pen, posterior, tallest) {
      pen.text(pen.x(-2.95), pen.y(normalDensity(-1.7, 0, 1)) - 4, "prior", "muted");
      const at = seen[posterior.lastIndexOf(tallest)];
      pen.text(pen.x(at) + 10, pen.y(tallest) - 2, "posterior", "indigo-text");
      const side = state.m < at ? [pen.x(state.m - state.s) - 8, "end"]
        : [pen.x(state.m + state.s) + 16, "start"];
      const place = Math.min(pen.right - 40, Math.max(pen.left + 40, side[0]));
      const peak = normalDensity(state.s, 0, state.s);
      pen.text(place, pen.y(Math.min(peak, pen.y.back(pen.top + 26))) - 8, "your q", "rose-text",
        side[1]);
      if (!state.shown) return;
      const name = state.best.twin ? "- - one of two best q" : "- - the best q";
      pen.text(pen.right, pen.top + 6, name, "green-text", "end");
    }

    function drawBars(cell, now) {
      const evidence = -cell.logEvidence;
      const length = evidence + now.gap;
      const reach = [1.7, 3, 6, 12, 30, 100, 400].find((f) => f * evidence > 1.08 * length) || 1000;
      bars.spec.x.domain = [0, reach * evidence];
      bars.draw((pen) => {
        const [a, b, c, d] = [0.17, 0.41, 0.62, 0.86].map((f) => pen.top + f * (pen.bottom - pen.top));
        const cut = pen.x(now.reconstruction);
        pen.text(pen.left, a - 7, "reconstruction + KL");
        pen.bar(pen.left, cut, a, b, "indigo solid");
        pen.bar(cut, pen.x(length), a, b, "sky solid");
        pen.text(pen.left, c - 7, "−log p(x) + gap");
        pen.bar(pen.left, pen.x(evidence), c, d, "grey solid");
        pen.bar(pen.x(evidence), pen.x(length), c, d, "rose hatched");
        pen.rule(pen.x(length), a - 12, pen.x(length), d + 6, "ink");
        pen.text(pen.x(length) + 5, (b + c) / 2 + 4, "−ELBO", "strong");
      });
    }

    function judge(now) {
      const record = state.tried ? `Your smallest gap so far: ${fixed(state.record)} nats.` :
        "Drag the dot and the square, or use the sliders. How small can you make the gap?";
      reveal.disabled = !state.tried;
      verdict.textContent = !state.shown ? record :
        `${record} ${state.best.twin ? "One of two equally good q" : "The best q"}: m = ${living.fixed(state.best.m, 2)}, ` +
        `s = ${living.fixed(state.best.s, 2)}, gap ${fixed(state.best.gap)}.`;
      living.say(stage, `m ${state.m.toFixed(2)}, s ${state.s.toFixed(2)}: gap ${fixed(now.gap)} nats. ` +
        verdict.textContent);
    }

    function draw() {
      const cell = cells[state.cell];
      const now = terms(z, step, cell, state.m, state.s);
      if (state.tried) state.record = Math.min(state.record, now.gap);
      if (state.shown) state.best = bests();
      sliders.m.set(state.m);
      sliders.s.set(state.s);
      drawDensities(cell);
      drawBars(cell, now);
      for (const key of ["reconstruction", "kl", "gap"]) fact(key, fixed(now[key]));
      fact("evidence", fixed(-cell.logEvidence));
      judge(now);
    }
    living.keepDrawn(stage, draw);
  });
})(window.nbvaeLiving);
