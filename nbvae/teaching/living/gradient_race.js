/* Chapter 4: three estimates of one slope. Above, what single steps would be told; below, where
   runners get to that climb the ELBO in m by what they are told. */
(function (living) {
  "use strict";
  const { floats, integral, normalDensity, random } = living.maths;
  const [STEPS, RUNNERS, RATE, SHOWN] = [60, 12, 0.1, 150];
  const START = -1.5;
  const WAYS = [
    ["score", "score function", "rose"],
    ["baseline", "score function, with a baseline", "sand"],
    ["reparametrised", "reparametrised", "indigo"],
  ];

  /* h(z) = log p(x | z) and its slope between the points at which Python gave it. */
  function curve(z, step, h) {
    const place = (v) => {
      const at = Math.min(z.length - 3, Math.max(1, (v - z[0]) / step));
      return [Math.floor(at), at - Math.floor(at)];
    };
    const slopes = h.map((_, i) => (h[Math.min(i + 1, h.length - 1)] - h[Math.max(i - 1, 0)]) /
      (step * (i > 0 && i < h.length - 1 ? 2 : 1)));
    const between = (of) => (v) => {
      const [i, part] = place(v);
      return of[i] * (1 - part) + of[i + 1] * part;
    };
    return { value: between(h), slope: between(slopes), slopes };
  }

  living.register("gradient_race", (stage, data) => {
    const [low, high, n] = data.z;
    const step = (high - low) / (n - 1);
    const z = Float64Array.from({ length: n }, (_, i) => low + i * step);
    const raw = Float64Array.from(floats(data.h));
    const h = curve(z, step, raw);
    const s = data.s;
    const state = { draws: 1, added: 0, seed: 1 };

    /* One estimate from each way, from the same noise: means over `draws` draws. */
    function estimates(m, chance, base) {
      const sums = [0, 0, 0];
      for (let k = 0; k < state.draws; k += 1) {
        const noise = chance.normal();
        const value = h.value(m + s * noise) + state.added;
        sums[0] += (value * noise) / s;
        sums[1] += ((value - base) * noise) / s;
        sums[2] += h.slope(m + s * noise);
      }
      return sums.map((sum) => sum / state.draws);
    }

    /* Means under q by quadrature: of h, of the slope, and how much one draw scatters. */
    function exact(m, added = state.added) {
      const q = z.map((v) => normalDensity(v, m, s));
      const mean = (of) => integral(z.map((v, i) => (q[i] ? q[i] * of(v, i) : 0)), step);
      const base = mean((v, i) => raw[i]) + added;
      const slope = mean((v, i) => h.slopes[i]);
      const score = (less) =>
        mean((v, i) => (((raw[i] + added - less) * (v - m)) / (s * s)) ** 2) - slope ** 2;
      const variances = [score(0), score(base), mean((v, i) => h.slopes[i] ** 2) - slope ** 2];
      return { base, slope, spreads: variances.map((v) => Math.sqrt(v / state.draws)) };
    }

    function race(way) {
      return Array.from({ length: RUNNERS }, (_, runner) => {
        const chance = random(1000 * state.seed + runner);
        const path = [START];
        for (let k = 0; k < STEPS; k += 1) {
          const m = path[path.length - 1];
          const base = bases(m) + state.added;
          const told = estimates(m, chance, base)[way] - m; // −m: the slope of −KL, exact
          path.push(Math.max(-9, Math.min(9, m + RATE * told)));
        }
        return path;
      });
    }

    /* The mean of h under q at each m, once for all; races look it up. */
    const ms = Float64Array.from({ length: 181 }, (_, i) => -9 + 0.1 * i);
    const meanAt = ms.map((m) =>
      integral(z.map((v, i) => normalDensity(v, m, s) * raw[i]), step));
    const bases = (m) => meanAt[Math.round((m + 9) / 0.1)];
    const goal = (() => {
      let m = 0;
      for (let k = 0; k < 400; k += 1) m += 0.1 * (exact(m).slope - m);
      return m;
    })();

    const hint = living.add(stage, "p", { class: "lv-hint" });
    hint.textContent = "Each dot is what one step is told; all three ways are right on average. " +
      `Below, ${RUNNERS} runners start at m = −1.5 and follow what they are told.`;
    const controls = living.add(stage, "div", { class: "lv-row" });
    living.slider(controls, {
      label: "draws per step", min: 1, max: 100, step: 0.01, log: true, value: 1,
      text: (v) => String(Math.round(v)), on: (v) => change({ draws: Math.round(v) }),
    });
    living.slider(controls, {
      label: "added to every log p(x | z), as other genes would", min: -600, max: 0, step: 10,
      value: 0, text: (v) => `${living.fixed(v, 0)} nats`, on: (added) => change({ added }),
    });
    living.button(controls, "Draw again", () => change({ seed: state.seed + 1 }));
    const panels = living.add(stage, "div", { class: "lv-panels" });
    const columns = WAYS.map(([key, label, ink]) => {
      const column = living.add(panels, "div", { class: "lv-third" });
      living.add(column, "p", { class: "lv-title" },
        living.el("span", { class: `lv-swatch lv-${ink}` }), label);
      const dots = living.chart(column, {
        label: `${label}: single estimates`, height: 92,
        x: { domain: [-1, 1], label: "estimated slope" }, y: { domain: [0, 1], hidden: true },
        margin: { left: 10, top: 6 },
      });
      const runs = living.chart(column, {
        label: `${label}: the race`, height: 190,
        x: { domain: [0, STEPS], label: "step" }, y: { domain: [-3, 3], label: "m", ticks: [-2, 0, 2] },
        margin: { left: 26 },
      });
      return { key, ink, dots, runs };
    });
    const fact = living.facts(stage, [
      ["slope", "the slope itself"],
      ...WAYS.map(([key, label, ink]) => [key, `sd, ${label}`, ink]),
    ]);

    /* One scale for all, of which only a wider scatter than without a number added breaks out. */
    function drawDots(column, told, now, way) {
      const usual = Math.max(...exact(START, 0).spreads);
      const wide = Math.max(usual, now.spreads[way]);
      const reach = 2.8 * wide + Math.abs(now.slope);
      column.dots.spec.x.domain = [now.slope - reach, now.slope + reach];
      column.dots.draw((pen) => {
        const spots = random(7);
        for (const value of told) {
          const x = pen.x(value);
          if (x < pen.left || x > pen.right) continue;
          pen.dot(x, pen.top + 4 + spots.uniform() * (pen.bottom - pen.top - 8), 2.5,
            `${column.ink} soft`);
        }
        pen.rule(pen.x(now.slope), pen.top, pen.x(now.slope), pen.bottom, "ink");
        if (wide > usual) {
          const times = (wide / usual).toPrecision(2);
          pen.text(pen.right, pen.top + 8, `axis ${times} times as wide`, "strong halo", "end");
        }
      });
    }

    function drawRuns(column, way) {
      const steps = Array.from({ length: STEPS + 1 }, (_, k) => k);
      column.runs.draw((pen) => {
        pen.line([0, STEPS], [goal, goal], "green thick dashed");
        for (const path of race(way)) pen.line(steps, path, `${column.ink} thin`);
        pen.text(pen.right, pen.y(goal) - 7, "best m", "green-text strong halo", "end");
      });
    }

    function draw() {
      const now = exact(START);
      const chance = random(state.seed);
      const told = Array.from({ length: SHOWN }, () => estimates(START, chance, now.base));
      columns.forEach((column, way) => {
        drawDots(column, told.map((t) => t[way]), now, way);
        drawRuns(column, way);
        fact(column.key, living.plain(Number(now.spreads[way].toPrecision(3))));
      });
      fact("slope", living.fixed(now.slope, 2));
      living.say(stage, `${state.draws} draws per step. Standard deviation of an estimate: ` +
        WAYS.map(([, label], way) => `${label} ${now.spreads[way].toPrecision(3)}`).join(", "));
    }
    const change = (by) => {
      Object.assign(state, by);
      draw();
    };
    living.keepDrawn(stage, draw);
  });
})(window.nbvaeLiving);
