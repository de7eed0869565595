/* Chapter 6: learning rate × warm-up. Each square is three runs that were done before; pick some,
   and find the best pair in few picks. */
(function (living) {
  "use strict";
  const { integers } = living.maths;
  const NAMES = ["train", "held", "kl"];

  living.register("training_grid", (stage, { rates, warmups, seeds, epochs, used, noZ, ...data }) => {
    const numbers = integers(data.curves);
    const state = { rate: 0, warmup: 0 };
    const seen = new Set();

    /* A curve of a run: rate, warm-up and seed by their places. */
    const curve = (rate, warmup, seed, name) => {
      const start = ((rate * warmups.length + warmup) * seeds + seed) * NAMES.length;
      const at = (start + NAMES.indexOf(name)) * epochs;
      return Array.from(numbers.slice(at, at + epochs), (v) => v / 10);
    };
    const each = (f) => Array.from({ length: seeds }, (_, seed) => f(seed));
    const mean = (list) => list.reduce((a, b) => a + b) / list.length;
    const place = (rate, warmup) => rate * warmups.length + warmup;
    const bests = rates.flatMap((_, r) => warmups.map((__, w) =>
      each((s) => Math.min(...curve(r, w, s, "held")))));
    const lowest = Math.min(...bests.map(mean));
    const near = (at) => mean(bests[at]) < lowest + 5; // nats: less than seeds differ by

    living.add(stage, "p", { class: "lv-hint" }, "Each square is three runs of " +
      `${epochs} epochs, done beforehand. Find the best pair in as few picks as you can.`);
    const pick = (by) => {
      Object.assign(state, by);
      seen.add(place(state.rate, state.warmup));
      boxes.rate[state.rate].checked = boxes.warmup[state.warmup].checked = true;
      draw();
    };
    const choose = (name, label, list) => [...living.choice(stage, {
      label, value: 0, options: list.map((v, i) => [i, String(v)]), on: (i) => pick({ [name]: i }),
    }).querySelectorAll("input")];
    const boxes = {
      rate: choose("rate", "Learning rate", rates),
      warmup: choose("warmup", "Epochs of warm-up", warmups),
    };
    const panels = living.add(stage, "div", { class: "lv-panels" });
    const panel = (label, height, x, y, margin) => {
      const box = living.add(panels, "div", { class: "lv-half" });
      living.add(box, "p", { class: "lv-title" }, label);
      return living.chart(box, { label, height, x, y, margin });
    };
    const named = (list) => ({
      domain: [0, list.length], ticks: list.map((_, i) => i + 0.5), text: (v) => String(list[v - 0.5]),
    });
    const map = panel("Best −ELBO: mean of three seeds", 240,
      { ...named(warmups), label: "epochs of warm-up" }, { ...named(rates), label: "learning rate" },
      { left: 48 });
    const time = { domain: [0, epochs], label: "epoch" };
    const loss = panel("The three runs: training —, held out - -", 240, time,
      { domain: [noZ - 75, noZ + 150], label: "−ELBO, nats per cell" });
    const kl = panel("KL, held out", 150, time, { domain: [1, 5000], log: true, label: "nats per cell" });
    const fact = living.facts(stage, [
      ["best", "best −ELBO, mean of the seeds"], ["span", "from seed to seed"],
      ["epoch", "best epoch of each"], ["used", "dimensions in use"], ["picked", "picked"],
    ]);
    const row = living.add(stage, "div", { class: "lv-row" });
    living.button(row, "Show all", () => {
      bests.forEach((_, at) => seen.add(at));
      draw();
    });
    const verdict = living.add(row, "p", { class: "lv-verdict" });

    const square = (v, list) => Math.max(0, Math.min(list.length - 1, Math.floor(v)));
    living.touched(map, {
      on: ([x, y]) => pick({ warmup: square(x, warmups), rate: square(y, rates) }),
      over() {}, leave() {},
    });

    function draw() {
      const here = place(state.rate, state.warmup);
      map.draw((pen) => bests.forEach((best, at) => {
        const [r, w] = [Math.floor(at / warmups.length), at % warmups.length];
        const [x0, x1, y0, y1] = [pen.x(w) + 2, pen.x(w + 1) - 2, pen.y(r) - 2, pen.y(r + 1) + 2];
        const known = seen.has(at);
        pen.bar(x0, x1, y0, y1, !known ? "grey soft" : near(at) ? "green" : "rose soft");
        if (at === here) {
          for (const [a, b, c, d] of [[x0, y0, x1, y0], [x0, y1, x1, y1], [x0, y0, x0, y1], [x1, y0, x1, y1]]) {
            pen.rule(a, b, c, d, "ink thick");
          }
        }
        pen.text((x0 + x1) / 2, (y0 + y1) / 2 + 5, known ? living.fixed(mean(best), 0) : "?",
          near(at) && known ? "strong halo" : "halo", "middle");
      }));
      const steps = Array.from({ length: epochs }, (_, i) => i + 1);
      const lines = (pen, name, ink) => each((s) =>
        pen.line(steps, curve(state.rate, state.warmup, s, name), ink));
      loss.draw((pen) => {
        pen.rule(pen.left, pen.y(noZ), pen.right, pen.y(noZ), "grey");
        pen.text(pen.right, pen.y(noZ) - 5, "without z", "muted", "end");
        lines(pen, "train", "indigo thin");
        lines(pen, "held", "rose dashed");
      });
      kl.draw((pen) => {
        if (warmups[state.warmup]) {
          const end = pen.x(warmups[state.warmup]);
          pen.rule(end, pen.top, end, pen.bottom, "grey dotted");
        }
        lines(pen, "kl", "green");
      });
      const best = bests[here];
      const when = each((s) => 1 + curve(state.rate, state.warmup, s, "held").indexOf(best[s]));
      fact("best", living.fixed(mean(best), 0));
      fact("span", `${living.fixed(Math.min(...best), 0)} to ${living.fixed(Math.max(...best), 0)}`);
      fact("epoch", when.join(", "));
      fact("used", used[here].join(", "));
      fact("picked", `${seen.size} of ${bests.length}`);
      verdict.textContent = near(here) ? "No pair is better than this by more than seeds differ."
        : "There are better pairs.";
      living.say(stage, `Learning rate ${rates[state.rate]}, warm-up ${warmups[state.warmup]}: best ` +
        `−ELBO ${living.fixed(mean(best), 0)}. ${verdict.textContent}`);
    }
    seen.add(0);
    living.keepDrawn(stage, draw);
  });
})(window.nbvaeLiving);
