/* Chapter 12: cut-offs on three numbers of each row, and the kinds of cells that pay for them. */
(function (living) {
  "use strict";
  const { floats, integers } = living.maths;
  const whole = (v) => Math.round(v).toLocaleString("en");
  const percent = (v) => living.fixed(100 * v, 1);

  living.register("quality_control", (stage, data) => {
    const { kinds } = data;
    const [library, detected, mito] = [integers(data.library), integers(data.detected),
      floats(data.mito)];
    const rows = Array.from(data.kind, (c, n) => ({
      kind: c.charCodeAt(0) - 65, library: library[n], detected: detected[n], mito: mito[n],
    }));
    for (const row of rows) row.bad = row.kind >= kinds.length - data.bad;
    const state = { up: "mito", shown: false };
    const keep = (row) => row.library >= cuts.fewest && row.library <= cuts.most &&
      row.detected >= cuts.detected && row.mito <= cuts.mito;

    const largest = (name) => 1.08 * Math.max(...rows.map((row) => row[name]));
    const wide = [0.9 * Math.min(...library), largest("library")];
    const axes = {
      mito: { label: "mitochondrial share (%, root scale)", domain: [0, largest("mito")], root: true,
        ticks: [0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5].filter((v) => v < largest("mito")),
        text: (v) => living.plain(100 * v) },
      detected: { label: "genes detected", domain: [0, largest("detected")] },
    };
    const cuts = { fewest: wide[0], most: wide[1], detected: 0, mito: axes.mito.domain[1] };
    const controls = living.add(stage, "div", { class: "lv-row" });
    const slider = (name, label, [min, max], options) => living.slider(controls, {
      label, min, max, value: cuts[name], text: whole, step: 1, ...options,
      on: (v) => change({ [name]: v }),
    });
    const log = { log: true, step: 0.002 };
    const sliders = {
      fewest: slider("fewest", "fewest molecules", wide, log),
      most: slider("most", "most molecules", wide, log),
      detected: slider("detected", "fewest genes", axes.detected.domain),
      mito: slider("mito", "largest mitochondrial share", axes.mito.domain,
        { step: 0.0005, text: (v) => `${percent(v)} %` }),
    };
    const fact = living.facts(stage, [
      ["kept", "rows kept"], ["lost", "good cells lost"], ["left", "bad rows left"],
    ]);
    const panels = living.add(stage, "div", { class: "lv-panels" });
    const left = living.add(panels, "div", { class: "lv-wide" });
    const right = living.add(panels, "div", { class: "lv-narrow" });
    living.choice(left, {
      label: "Upwards:", value: "mito",
      options: [["mito", "mitochondrial share"], ["detected", "genes detected"]],
      on(up) {
        state.up = up;
        draw();
      },
    });
    const chart = living.scatter(left, {
      label: "The rows, one dot each", height: 330, y: axes.mito,
      x: { domain: wide, log: true, label: "molecules", ticks: data.ticks, text: whole },
    });
    const corner = chart.handle({
      label: "corner of what is kept", ink: "green", value: () => cuts.fewest,
      text: () => `${whole(cuts.fewest)} molecules`,
      drag: (x, y) => change({ fewest: x, [state.up]: y }),
      key: (dx, dy) => change({ fewest: cuts.fewest * 1.02 ** dx,
        [state.up]: cuts[state.up] + (dy * axes[state.up].domain[1]) / 80 }),
    });
    living.add(right, "p", { class: "lv-title" }, "Kept, of each kind");
    const bars = living.rows(right, {
      label: "Share of each kind that is kept", names: kinds, ink: "name", row: 21,
      left: 7 * Math.max(...kinds.map((name) => name.length)) + 12,
      x: { domain: [0, 100], ticks: [0, 50, 100], label: "%" },
    });
    const reveal = living.button(living.add(stage, "div", { class: "lv-row" }),
      "Show which rows are bad", () => {
        state.shown = true;
        draw();
      });

    /* "12 of 40" of the rows that pass a test are kept; "?" while that is a secret. */
    const tally = (test, secret) => {
      const own = rows.filter(test);
      const kept = own.filter(keep).length;
      return { share: kept / own.length, lost: own.length - kept,
        text: secret && !state.shown ? "?" : `${kept} of ${own.length}` };
    };
    function drawBars() {
      bars.draw((pen, places) => kinds.forEach((_, k) => {
        const bad = k >= kinds.length - data.bad;
        const { share, text } = tally((row) => row.kind === k, bad);
        const { y, top, bottom } = places[k];
        const end = text === "?" ? pen.left : pen.x(100 * share);
        pen.bar(pen.left, end, top, bottom, bad ? "rose soft" : "indigo soft");
        pen.text(pen.left + 4, y + 4, text);
      }));
    }
    function draw() {
      for (const name in sliders) sliders[name].set(cuts[name]);
      chart.spec.y = axes[state.up];
      chart.draw((pen) => {
        const [a, b, y] = [pen.x(cuts.fewest), pen.x(cuts.most), pen.y(cuts[state.up])];
        const end = state.up === "mito" ? pen.bottom : pen.top;
        pen.rule(a, y, a, end, "green thick");
        pen.rule(b, y, b, end, "green thick");
        pen.rule(a, y, b, y, "green thick");
      });
      chart.points(rows.map((row) => ({
        x: row.library, y: row[state.up], r: keep(row) ? 3 : 1.7,
        ink: state.shown && row.bad ? "rose" : keep(row) ? "indigo" : "grey",
      })));
      corner(cuts.fewest, cuts[state.up]);
      drawBars();
      const [every, good, bad] = [tally(() => true), tally((row) => !row.bad, true),
        tally((row) => row.bad, true)];
      fact("kept", every.text);
      fact("lost", state.shown ? String(good.lost) : "?");
      fact("left", bad.text);
      reveal.disabled = state.shown;
      living.say(stage, `Kept: ${every.text} rows, ${bad.text} bad ones, ${good.text} good ones.`);
    }
    function change(by) {
      Object.assign(cuts, by);
      cuts.fewest = Math.max(wide[0], Math.min(cuts.fewest, cuts.most));
      for (const up in axes) cuts[up] = Math.max(0, Math.min(axes[up].domain[1], cuts[up]));
      draw();
    }
    living.keepDrawn(stage, draw);
  });
})(window.nbvaeLiving);
