/* Chapter 11: what a count and a θ ask of (11.2), and how well float32 answers. */
(function (living) {
  "use strict";
  const { lgamma } = living.maths;
  const f32 = Math.fround;
  const GRID = Array.from({ length: 101 }, (_, i) => 10 ** (i / 10 - 2));

  /* log Γ(x + θ) − log Γ(θ) in float32, each log-gamma rounded once: the best that it can do. */
  const byGammas = (x, theta) => f32(f32(lgamma(f32(x + theta))) - f32(lgamma(theta)));

  /* The same as a sum of x logarithms, in float32 or exactly. */
  function bySum(x, theta, round) {
    let sum = 0;
    for (let k = 0; k < x; k += 1) sum = round(sum + round(Math.log(round(theta + k))));
    return sum;
  }
  const exactly = (v) => v;

  living.register("likelihood_terms", (stage, data) => {
    const state = { x: 3, theta: 2 };
    const last = data.table; // the largest count that is looked up
    const kinds = [
      ["0", (x) => x === 0, "nothing: the sum is empty"],
      ["1", (x) => x === 1, "nothing: its one term is log 1"],
      [`2 to ${last}`, (x) => x > 1 && x <= last, "one look-up, of a sum made once a gene"],
      [`above ${last}`, (x) => x > last, "two of Stirling's formulas"],
    ];
    const total = data.counts.reduce((sum, [, n]) => sum + n, 0);
    const shares = kinds.map(([, test]) =>
      data.counts.reduce((sum, [x, n]) => sum + (test(x) ? n : 0), 0) / total);

    const controls = living.add(stage, "div", { class: "lv-row" });
    living.slider(controls, {
      label: "count, x", min: 0, max: 40, step: 1, value: state.x, text: String,
      on: (x) => change({ x }),
    });
    living.slider(controls, {
      label: "inverse dispersion, θ", min: 0.01, max: 1e8, step: 0.1, log: true, value: state.theta,
      text: (v) => v.toLocaleString("en", { maximumSignificantDigits: 3 }),
      on: (theta) => change({ theta }),
    });
    const fact = living.facts(stage, [
      ["exact", "log Γ(x + θ) − log Γ(θ), exactly"], ["gammas", "in float32, by log-gammas", "rose"],
      ["sum", "in float32, by the sum", "indigo"],
    ]);
    const panels = living.add(stage, "div", { class: "lv-panels" });
    const left = living.add(panels, "div", { class: "lv-half" });
    const right = living.add(panels, "div", { class: "lv-half" });
    living.add(left, "p", { class: "lv-title" }, "A minibatch's counts");
    const rows = living.rows(left, {
      label: "Share of the minibatch", names: kinds.map(([name]) => name), ink: "name", row: 40,
      x: { domain: [0, 100], ticks: [0, 50, 100], label: "% of the minibatch" },
    });
    const work = living.add(left, "p", { class: "lv-about" });
    living.add(right, "p", { class: "lv-title" }, "Relative error in float32");
    const chart = living.chart(right, {
      label: "Relative error of both ways against θ", height: 230, margin: { left: 52 },
      x: { domain: [0.01, 1e8], log: true, label: "θ", text: (v) => `1e${Math.log10(v)}` },
      y: { domain: [1e-9, 10], log: true, text: (v) => `1e${Math.log10(v)}` },
    });

    const error = (value, truth) => {
      const off = Math.abs(value / truth - 1);
      return off >= 1e-9 ? Math.min(off, 10) : 1e-9; // no error, and 0 by 0, at the bottom
    };
    function draw() {
      const { x } = state;
      const theta = f32(state.theta);
      const now = kinds.findIndex(([, test]) => test(x));
      rows.draw((pen, places) => kinds.forEach((_, i) => {
        const { y, top, bottom } = places[i];
        const end = pen.x(100 * shares[i]);
        pen.bar(pen.left, end, top, bottom, i === now ? "indigo solid" : "indigo soft");
        const text = `${living.fixed(100 * shares[i], 1)} %${i === now ? ": yours" : ""}`;
        const inside = end > pen.right - 90;
        pen.text(inside ? pen.left + 8 : end + 6, y + 4, text,
          inside && i === now ? "paper" : i === now ? "strong" : "");
      }));
      chart.draw((pen) => {
        if (x) {
          for (const [way, ink] of [[byGammas, "rose"], [(n, t) => bySum(n, t, f32), "indigo thick"]]) {
            pen.line(GRID, GRID.map(f32).map((t) => error(way(x, t), bySum(x, t, exactly))), ink);
          }
        }
        pen.rule(pen.x(theta), pen.top, pen.x(theta), pen.bottom, "ink dashed thin");
      });
      const shown = (v) => living.plain(Number(v.toPrecision(6)));
      fact("exact", shown(bySum(x, theta, exactly)));
      fact("gammas", x ? shown(byGammas(x, theta)) : "0");
      fact("sum", shown(bySum(x, theta, f32)));
      work.textContent = `The textbook computes 3 log-gammas and 2 digammas for this count. ` +
        `(11.2) asks for ${kinds[now][2]}${x > 1 ? ", and log x! is one log-gamma" : ""}.`;
      living.say(stage, `x ${x}, θ ${shown(theta)}: exactly ${shown(bySum(x, theta, exactly))}, ` +
        `by log-gammas ${shown(byGammas(x, theta))}. ${work.textContent}`);
    }
    const change = (by) => {
      Object.assign(state, by);
      draw();
    };
    living.keepDrawn(stage, draw);
  });
})(window.nbvaeLiving);
