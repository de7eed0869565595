/* Chapter 11: each trick switched on and off, and what a training step then computes. */
(function (living) {
  "use strict";

  living.register("step_costs", (stage, data) => {
    const state = { likelihood: 0, layer: 0 };
    const controls = living.add(stage, "div", { class: "lv-row" });
    for (const [name, label, options] of [
      ["likelihood", "The likelihood", data.likelihoods], ["layer", "The first layer", data.layers],
    ]) {
      living.choice(controls, {
        label, value: 0, options: options.map((text, i) => [i, text]),
        on(value) {
          state[name] = value;
          draw();
        },
      });
    }
    const fact = living.facts(stage, [
      ...data.kinds.map((kind, i) => [`kind${i}`, kind]), ["calls", "operators called in a step"],
    ]);
    const reach = [0.1, Math.max(...data.steps.flat().map((step) => Math.max(...step.numbers))) * 2];
    living.add(stage, "p", { class: "lv-title" }, "Numbers computed for each count");
    const chart = living.rows(living.add(stage, "div"), {
      label: "Numbers computed for each count", names: data.kinds, ink: "name", row: 30, left: 190,
      x: { domain: reach, log: true, label: "rings: the textbook" },
    });
    living.add(stage, "p", { class: "lv-title" }, "Measured, of these two: where the time goes");
    const longest = Math.max(...data.measured.map(([, parts]) => parts.reduce((a, b) => a + b)));
    const bars = living.rows(living.add(stage, "div"), {
      label: "Measured parts of the time", names: data.measured.map(([name]) => name), ink: "name",
      row: 34, left: 90, x: { domain: [0, longest], label: "time, 3,000 cells × 2,000 genes (nbvae: 100)" },
    });
    const legend = living.add(stage, "ul", { class: "lv-legend" });
    const inks = ["rose", "indigo", "sand", "grey"];
    data.parts.forEach((name, i) => living.add(legend, "li", {},
      living.el("span", { class: `lv-swatch lv-${inks[i]}` }), name));

    function draw() {
      const { numbers, calls } = data.steps[state.likelihood][state.layer];
      const before = data.steps[0][0].numbers;
      const digits = (v) => living.plain(Number(v.toPrecision(2)));
      chart.draw((pen, rows) => rows.forEach(({ y }, i) => {
        const [now, then] = [numbers[i], before[i]].map((v) => pen.x(Math.max(v, reach[0])));
        pen.rule(then, y, now, y, "indigo");
        pen.dot(then, y, 5, "grey open");
        pen.dot(now, y, 5, "indigo");
      }));
      bars.draw((pen, rows) => data.measured.forEach(([, parts], i) => {
        let from = 0;
        parts.forEach((part, k) => {
          pen.bar(pen.x(from), pen.x(from + part), rows[i].top, rows[i].bottom, inks[k]);
          const place = pen.x(from + part / 2);
          if (part > longest / 25) pen.text(place, rows[i].y + 4, String(part), "", "middle");
          from += part;
        });
      }));
      numbers.forEach((v, i) => fact(`kind${i}`, digits(v)));
      fact("calls", String(calls));
      const said = data.kinds.map((kind, i) => `${kind} ${digits(numbers[i])}`);
      living.say(stage, `For each count: ${said.join("; ")}. ${calls} operators.`);
    }
    living.keepDrawn(stage, draw);
  });
})(window.nbvaeLiving);
