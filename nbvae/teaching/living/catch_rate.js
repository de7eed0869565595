/* Chapter 1: catch fewer molecules of one cell, and see what moves and what only blurs. */
(function (living) {
  "use strict";
  const { integers, random } = living.maths;
  const SCALE = 1e4; // of the log-normalised values
  const Z = 1.645; // nine in ten
  const sum = (list) => list.reduce((a, b) => a + b, 0);

  /* Wilson's interval (1927) for a share, from a count and a total. */
  function interval(count, total) {
    const share = count / total;
    const middle = (share + Z ** 2 / (2 * total)) / (1 + Z ** 2 / total);
    const half = (Z / (1 + Z ** 2 / total)) *
      Math.sqrt((share * (1 - share)) / total + Z ** 2 / (4 * total ** 2));
    return [Math.max(0, middle - half), middle + half];
  }

  living.register("catch_rate", (stage, data) => {
    const full = Array.from(integers(data.counts));
    const state = { kept: 0.4, seed: 1 };
    const places = data.genes.map(([, place]) => place);
    const names = data.genes.map(([name]) => name);

    /* Each molecule has a number of its own and is caught if that is below the rate: a lower rate
       only loses molecules. */
    const lots = () => {
      const chance = random(state.seed);
      return full.map((count) => Array.from({ length: count }, chance.uniform));
    };
    let tickets = lots();

    const controls = living.add(stage, "div", { class: "lv-row" });
    living.slider(controls, {
      label: "share of its molecules that are caught again", min: 0.02, max: 1, step: 0.01,
      value: state.kept, text: (v) => `${Math.round(100 * v)} %`, on: (kept) => change({ kept }),
    });
    living.button(controls, "Catch again", () => change({ seed: state.seed + 1 }));
    const fact = living.facts(stage, [
      ["molecules", "molecules"], ["zeros", "zeros among its genes"],
      ["common", `log-normalised, ${names[0]}`], ["rare", `log-normalised, one molecule`],
    ]);
    const panels = living.add(stage, "div", { class: "lv-panels" });
    const panel = (title, x) => {
      const column = living.add(panels, "div", { class: "lv-third" });
      living.add(column, "p", { class: "lv-title" }, title);
      return living.rows(column, { label: title, names, x });
    };
    const most = Math.max(...places.map((g) => full[g]));
    const total = sum(full);
    const counts = panel("Counts: fall", { domain: [0, most * 1.05], label: "molecules" });
    const shares = panel("Shares: blur",
      { domain: [0, (100 * most) / total * 1.5], label: "% of its molecules" });
    const logs = panel("Log-normalised: jump",
      { domain: [0, 8], label: "log(1 + 10,000 · share)" });
    living.add(stage, "p", { class: "lv-hint" }, "Rings: with all molecules. " +
      "Lines: where the cell's true share may be, nine times in ten.");

    function draw() {
      const caught = tickets.map((list) => list.filter((u) => u <= state.kept).length);
      const library = Math.max(1, sum(caught));
      const log = (count, of) => Math.log1p((SCALE * count) / of);
      counts.draw((pen, rows) => places.forEach((g, i) => {
        pen.bar(pen.x(0), pen.x(caught[g]), rows[i].top, rows[i].bottom, "indigo solid");
        pen.dot(pen.x(full[g]), rows[i].y, 4.5, "grey open");
      }));
      shares.draw((pen, rows) => places.forEach((g, i) => {
        const [low, high] = interval(caught[g], library).map((v) => 100 * v);
        pen.dot(pen.x((100 * full[g]) / total), rows[i].y, 4.5, "grey open");
        pen.rule(pen.x(low), rows[i].y, Math.min(pen.x(high), pen.right + 8), rows[i].y,
          "green thick");
        pen.dot(Math.min(pen.x((100 * caught[g]) / library), pen.right + 8), rows[i].y, 4, "green");
      }));
      logs.draw((pen, rows) => places.forEach((g, i) => {
        pen.dot(pen.x(log(full[g], total)), rows[i].y, 4.5, "grey open");
        pen.rule(pen.x(log(full[g], total)), rows[i].y, pen.x(log(caught[g], library)), rows[i].y,
          "rose");
        pen.dot(pen.x(log(caught[g], library)), rows[i].y, 4, "rose");
      }));
      const zeros = caught.filter((x) => x === 0).length / full.length;
      fact("molecules", String(sum(caught)));
      fact("zeros", `${living.fixed(100 * zeros, 1)} %`);
      fact("common", living.fixed(log(caught[places[0]], library), 2));
      fact("rare", living.fixed(log(1, library), 2));
      living.say(stage, `${sum(caught)} molecules caught, ${Math.round(100 * zeros)} % zeros.`);
    }
    const change = (by) => {
      Object.assign(state, by);
      if ("seed" in by) tickets = lots();
      draw();
    };
    living.keepDrawn(stage, draw);
  });
})(window.nbvaeLiving);
