/* Chapter 6: training runs without names. Go through their epochs, and say which is which. */
(function (living) {
  "use strict";
  const { halves, integers } = living.maths;
  const REACH = 7; // of the map, in the prior's standard deviations
  const MOST = 3.5; // nats; a higher bar of the KL is cut
  const INFINITE = [140, 240]; // where θ = ∞ stands on the axis

  living.register("training_scrubber", (stage, { epochs, names, signs, bins, noZ, ...data }) => {
    const last = epochs[epochs.length - 1];
    const library = Array.from(integers(data.library));
    const relative = halves(data.relative); // log library less the mean of the cell's type
    const runs = data.runs.map((run) =>
      Object.fromEntries(Object.entries(run).map(([key, text]) => [key, integers(text)])));
    const said = {}; // for each run, the last guess
    let [run, frame, colour] = [0, 0, "type"];

    living.add(stage, "p", { class: "lv-hint" }, `${runs.length} runs, and only one is healthy. ` +
      "Go through the epochs of each, and say which it is.");
    const top = living.add(stage, "div", { class: "lv-row" });
    living.choice(top, {
      label: "Run", value: 0, options: runs.map((_, i) => [i, String.fromCharCode(65 + i)]),
      on: (v) => draw((run = v)),
    });
    living.slider(top, {
      label: "epoch", min: 0, max: epochs.length - 1, step: 1, value: frame,
      text: (v) => `${epochs[v]} of ${last}`, on: (v) => draw((frame = v)),
    });
    const panels = living.add(stage, "div", { class: "lv-panels" });
    const panel = (label, height, x, y, of = "chart") => {
      const box = living.add(panels, "div", { class: "lv-half" });
      living.add(box, "p", { class: "lv-title" }, label);
      const margin = { ...(y.label ? {} : { left: 8, top: 8 }), ...(x.label ? {} : { bottom: 24 }) };
      return living[of](box, { label, height, x, y, margin });
    };
    const side = (reach) => ({ domain: [-reach, reach], hidden: true });
    const curves = panel("Loss: training —, held out - -", 220, { domain: [0, last], label: "epoch" },
      { domain: [noZ - 120, noZ + 110], label: "−ELBO, nats per cell" });
    const map = panel("z of the cells", 200, side(REACH), side(4), "scatter");
    living.choice(map.root.parentNode.parentNode, {
      label: "Show", value: colour, options: [["type", "cell type"], ["library", "library for its type"]],
      on: (v) => draw((colour = v)),
    });
    const kl = panel("KL of each dimension", 150, { domain: [0.4, 10.6] },
      { domain: [0, MOST], label: "nats" });
    const theta = panel("θ of the genes (dotted: at first)", 150, {
      domain: [0.1, 250], log: true, ticks: [0.1, 1, 10, 100, 183],
      text: (v) => (v === 183 ? "∞" : String(v)),
    }, { domain: [0, 800], root: true, hidden: true });
    const fact = living.facts(stage, [
      ["train", "−ELBO, training"], ["held", "−ELBO, held out"], ["kl", "KL, held out"],
      ["used", "dimensions in use"], ["median", "median θ"], ["told", "library told by z within types, R²"],
    ]);
    const bottom = living.add(stage, "div", { class: "lv-row" });
    const guess = living.select(bottom, {
      label: "This run is", value: "", on: (v) => draw((said[run] = v)),
      options: ["", ...[...names].sort()].map((name) => [name, name || "…"]),
    });
    const verdict = living.add(bottom, "p", { class: "lv-verdict" });

    /* What the run holds for a frame, as whole numbers. */
    const part = (key, of = frame) => {
      const size = runs[run][key].length / epochs.length;
      return Array.from(runs[run][key].slice(of * size, (of + 1) * size));
    };
    const ends = (i) => (i < bins.length - 1 ? [bins[i], bins[i + 1]] : INFINITE);
    const dot = (v, i) => ({
      x: REACH * ((v & 255) / 127.5 - 1), y: REACH * ((v >> 8) / 127.5 - 1),
      ...(colour === "type" ? { r: 2.6, ink: `k${data.types[i]}` }
        : { r: 1.5 + library[i] / 400, ink: relative[i] > 0 ? "rose" : "sky" }),
    });

    function judge() {
      const name = said[run];
      const score = `${runs.filter((_, i) => said[i] === names[i]).length} of ${runs.length} named.`;
      guess.value = name || "";
      verdict.textContent = !name ? score
        : name === names[run] ? `Yes, ${name}. ${signs[run]} ${score}`
          : `No. What would show “${name}”: ${signs[names.indexOf(name)]}`;
    }

    function draw() {
      const epoch = epochs[frame];
      const seen = Array.from({ length: epoch }, (_, i) => i + 1);
      const [train, held, total] = [0, 1, 2].map((i) =>
        seen.map((e) => runs[run].curves[i * last + e - 1] / 10));
      const dimensions = part("kl").map((v) => v / 1000);
      const counts = part("theta");
      curves.draw((pen) => {
        pen.rule(pen.left, pen.y(noZ), pen.right, pen.y(noZ), "grey");
        pen.text(pen.right, pen.y(noZ) - 5, "without z", "muted", "end");
        if (!epoch) return;
        pen.line(seen, train, "indigo thick");
        pen.line(seen, held, "rose thick dashed");
      });
      map.draw(() => {});
      map.points(part("map").map(dot));
      kl.draw((pen) => dimensions.forEach((v, i) => pen.bar(pen.x(i + 0.65), pen.x(i + 1.35),
        pen.y(0), pen.y(Math.min(v, MOST)), v > 0.1 ? "sky solid" : "grey")));
      theta.draw((pen) => {
        counts.forEach((n, i) => n && pen.bar(...ends(i).map(pen.x), pen.y(0), pen.y(n), "green"));
        part("theta", 0).forEach((n, i) => n && pen.line(ends(i), [n, n], "ink dotted"));
      });
      const end = (list) => (epoch ? living.fixed(list[epoch - 1], 1) : "–");
      fact("train", end(train));
      fact("held", end(held));
      fact("kl", end(total));
      fact("used", `${dimensions.filter((v) => v > 0.1).length} of ${dimensions.length}`);
      fact("median", counts[counts.length - 1] ? "∞" : living.fixed(part("median")[0] / 100, 2));
      fact("told", living.fixed(part("told")[0] / 1000, 2));
      judge();
      living.say(stage, `Run ${String.fromCharCode(65 + Number(run))}, epoch ${epoch}: held-out ` +
        `−ELBO ${end(held)}, KL ${end(total)}. ${verdict.textContent}`);
    }
    living.keepDrawn(stage, draw);
  });
})(window.nbvaeLiving);
