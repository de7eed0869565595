/* Chapter 5: the mended draft with one error switched on. Touch its line; then see what it does. */
(function (living) {
  "use strict";
  living.register("switchboard", (stage, { cases, scores }) => {
    const letters = cases.map((_, i) => String.fromCharCode(65 + i));
    const solved = cases.map(() => false);
    const missed = cases.map(() => new Set());
    let at = 0;

    living.add(stage, "p", { class: "lv-hint" }, "The mended draft, with one error at a time. " +
      "Where is the mistake? Touch its line.");
    living.choice(stage, {
      label: "Error", value: 0, options: letters.map((letter, i) => [i, letter]),
      on(i) {
        at = i;
        draw();
      },
    });
    const code = living.add(stage, "div", { class: "lv-code", role: "group", "aria-label": "Code" });
    const row = living.add(stage, "div", { class: "lv-row" });
    const verdict = living.add(row, "p", { class: "lv-verdict" });
    const tell = living.button(row, "Show me", () => solve());
    const told = living.add(stage, "dl", { class: "lv-told" });
    const trained = living.add(stage, "div", { class: "lv-trained" }); // not of what broke
    living.add(trained, "p", { class: "lv-title" },
      "After 50 epochs, held out: what the loss reports (●) and what is true (○)");
    const chart = living.rows(living.add(trained, "div", {}), {
      label: "Reported and true −ELBO", names: ["mended", "with the error"], left: 96, row: 30,
      x: { domain: [0, 1], label: "−ELBO, nats per cell" },
    });
    const fact = living.facts(trained, [
      ["reported", "−ELBO, reported", "indigo"], ["true", "−ELBO, true", "rose"],
      ["kl", "true KL"], ["sd", "mean width s of q"], ["ari", "clusters and types, ARI"],
    ]);

    function solve() {
      solved[at] = true;
      draw();
    }
    function touch(line) {
      if (cases[at].wrong.includes(line)) return solve();
      missed[at].add(line);
      draw(line);
    }

    function drawCode({ code: lines, wrong }, focus) {
      code.replaceChildren();
      lines.forEach((text, n) => {
        if (!text.trim()) return;
        const shown = solved[at] && wrong.includes(n) ? "wrong" : missed[at].has(n) ? "fine" : "";
        const mark = { wrong: "✗ ", fine: "✓ ", "": "  " }[shown];
        const button = living.add(code, "button", {
          type: "button", class: `lv-${shown}`, "aria-label": `line ${n + 1}: ${text.trim()}`,
        }, mark + text);
        button.addEventListener("click", () => touch(n));
        if (n === focus) button.focus({ preventScroll: true });
      });
    }

    function drawNumbers(score) {
      const both = [scores.correct, ...(score ? [score] : [])];
      const values = both.flatMap(([reported, truth]) => [reported, truth]);
      const room = 3 + 0.1 * (Math.max(...values) - Math.min(...values));
      chart.spec.x.domain = [Math.min(...values) - room, Math.max(...values) + room];
      chart.draw((pen, rows) => both.forEach(([reported, truth], i) => {
        pen.rule(pen.x(reported), rows[i].y, pen.x(truth), rows[i].y, "grey");
        pen.dot(pen.x(truth), rows[i].y, 8, "rose open");
        pen.dot(pen.x(reported), rows[i].y, 4.5, "indigo");
      }));
      ["reported", "true", "kl", "sd", "ari"].forEach((key, i) =>
        fact(key, score ? living.fixed(score[i], i < 2 ? 1 : 2) : "–"));
    }

    function draw(focus) {
      const { name, said, meant, effect } = cases[at];
      const open = solved[at];
      drawCode(cases[at], focus);
      told.replaceChildren();
      const say = (term, text, tag = "dd") => told.append(living.el("dt", {}, term),
        living.el("dd", {}, tag === "dd" ? text : living.el(tag, {}, text)));
      if (open) {
        say("Python says", said || "nothing", said ? "code" : "dd");
        say("It should read", meant.join("\n"), "code");
        say("What it does", effect);
      }
      trained.hidden = open && Boolean(said);
      drawNumbers(open && (scores[name] || (said ? null : scores.correct)));
      tell.disabled = open;
      const count = `${solved.filter(Boolean).length} of ${cases.length} found.`;
      verdict.textContent = open ? `${letters[at]}: ${name}. ${count}`
        : missed[at].size ? `Not there. That line says what it should. ${count}` : count;
      living.say(stage, `Error ${letters[at]}. ${verdict.textContent} ` +
        (open ? `Python says ${said || "nothing"}. ${effect}` : ""));
    }
    living.keepDrawn(stage, draw);
  });
})(window.nbvaeLiving);
