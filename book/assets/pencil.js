/* Pencil exercises: a reader types a formula, or a number, and is told what kind of mistake it looks
   like. What is asked and what each mistake gives comes from Python (nbvae.teaching.exercises);
   here the formula is read, evaluated and compared as Python's `compare` does it. */
(function () {
  "use strict";

  /* ---- A formula becomes a function of its variables ----------------------------------------- */

  /* Stirling's series, from a place where it is exact. */
  function gamma(x) {
    let product = 1;
    for (; x < 30; x += 1) product *= x;
    const series = 1 / (12 * x) - 1 / (360 * x ** 3) + 1 / (1260 * x ** 5);
    return Math.sqrt(2 * Math.PI / x) * (x / Math.E) ** x * Math.exp(series) / product;
  }

  /* The normal distribution function: its series, and in the tails the continued fraction. */
  function normal(x) {
    if (Math.abs(x) > 6) {
      let fraction = 0;
      for (let k = 60; k > 0; k -= 1) fraction = k / (Math.abs(x) + fraction);
      const tail = Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI) / (Math.abs(x) + fraction);
      return x < 0 ? tail : 1 - tail;
    }
    let [term, sum] = [x, x];
    for (let k = 3; k < 200; k += 2) sum += term *= x * x / k;
    return 0.5 + sum * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
  }

  function round(x) { // halves to the even number, as Python does
    const near = Math.round(x);
    return near - x === 0.5 && near % 2 ? near - 1 : near;
  }

  const FUNCTIONS = {
    exp: Math.exp, log: Math.log, ln: Math.log, log2: Math.log2, log10: Math.log10,
    sqrt: Math.sqrt, "√": Math.sqrt, abs: Math.abs, min: Math.min, max: Math.max, floor: Math.floor,
    ceil: Math.ceil, round, gamma, "Γ": gamma, Phi: normal, "Φ": normal, pow: Math.pow, int: Math.trunc,
  };
  const GREEK = {
    alpha: "α", beta: "β", gamma: "γ", delta: "δ", epsilon: "ε", eps: "ε", theta: "θ", kappa: "κ",
    lambda: "λ", mu: "μ", nu: "ν", rho: "ρ", sigma: "σ", phi: "φ", psi: "ψ",
  };
  const POWERS = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const TOKEN = new RegExp("\\s*(?:" + [
    /(\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?)/u, // a number
    /(?:(?:np|math|torch)\.)?([a-zA-Z][a-zA-Z\p{M}\d_₀-₉]*|[\p{L}√][\p{M}_₀-₉]*)/u, // a name
    /(\*\*|<=|>=|[\-−–+*·×/:^()|,<>≤≥⁰¹²³⁴⁵⁶⁷⁸⁹½¼])/u,
  ].map((part) => part.source).join("|") + ")", "uy");

  /* Readers write formulas in many ways; what can't be read says where. */
  class Unreadable extends Error {}

  function tokens(text) {
    const found = [];
    let at = 0;
    while (text.slice(at).trim()) {
      TOKEN.lastIndex = at;
      const token = TOKEN.exec(text);
      if (!token) throw new Unreadable(`“${text.slice(at).trim()[0]}” can't be read here`);
      const [, number, name, sign] = token;
      found.push({ number, name, sign });
      at = TOKEN.lastIndex;
    }
    return found;
  }

  /* From a text, and for each name its place among the variables: a function of their values,
     and whether it has a variable at all. */
  function parse(text, places) {
    const list = tokens(text);
    let at = 0;
    let variables = 0;
    let bars = 0;
    const sign = () => (list[at] || {}).sign;
    const next = (...signs) => (signs.includes(sign()) ? list[at++].sign : null);
    const close = (bracket) => {
      if (!next(bracket)) throw new Unreadable(`“${bracket}” is missing`);
    };

    function comparison() {
      const left = sum();
      const how = next("<", ">", "<=", ">=", "≤", "≥");
      if (!how) return left;
      const right = sum();
      const strict = how === "<" || how === ">";
      const [a, b] = ">≥".includes(how[0]) ? [right, left] : [left, right];
      return (v) => Number(strict ? a(v) < b(v) : a(v) <= b(v));
    }

    function sum() {
      let left = product();
      for (let how; (how = next("+", "-", "−", "–"));) {
        const [a, b] = [left, product()];
        left = how === "+" ? (v) => a(v) + b(v) : (v) => a(v) - b(v);
      }
      return left;
    }

    /* Something that begins here multiplies what stands before it: 2θ, a(b + c). */
    function begins() {
      const token = list[at];
      return token && !token.number &&
        (token.name || ["(", "½", "¼"].includes(token.sign) || (token.sign === "|" && !bars));
    }

    function product() {
      let left = signed();
      for (;;) {
        const how = next("*", "·", "×", "/", ":") || (begins() ? "*" : null);
        if (!how) return left;
        const [a, b] = [left, signed()];
        left = "/:".includes(how) ? (v) => a(v) / b(v) : (v) => a(v) * b(v);
      }
    }

    function signed() {
      if (next("-", "−", "–")) {
        const inner = signed();
        return (v) => -inner(v);
      }
      return next("+") ? signed() : power();
    }

    function power() {
      const base = atom();
      let digits = "";
      while (sign() && POWERS.includes(sign())) digits += POWERS.indexOf(list[at++].sign);
      if (digits) return (v) => base(v) ** Number(digits);
      if (!next("^", "**")) return base;
      const exponent = signed(); // a^b^c is a^(b^c)
      return (v) => base(v) ** exponent(v);
    }

    function atom() {
      const { number, name } = list[at] || {};
      if (number) {
        at += 1;
        return () => Number(number);
      }
      if (name) {
        at += 1;
        return named(name);
      }
      const how = next("(", "|", "½", "¼");
      if (how === "½" || how === "¼") return () => (how === "½" ? 0.5 : 0.25);
      if (!how) {
        const after = sign() ? `before “${sign()}”` : "at the end";
        throw new Unreadable(`a number or a name is missing ${after}`);
      }
      const before = bars;
      bars = how === "|" ? 1 : 0;
      const inner = comparison();
      close(how === "(" ? ")" : "|");
      bars = before;
      return how === "(" ? inner : (v) => Math.abs(inner(v));
    }

    function named(name) {
      const place = places.get(name) ?? places.get(GREEK[name]);
      if (place !== undefined) {
        variables += 1;
        return (v) => v[place];
      }
      if (Object.hasOwn(FUNCTIONS, name)) return call(name);
      if (name === "e") return () => Math.E;
      if (name === "pi" || name === "π") return () => Math.PI;
      if (name === "inf") return () => Infinity;
      throw new Unreadable(`“${name}” is none of the variables`);
    }

    function call(name) {
      const given = [];
      const before = bars;
      bars = 0;
      if (name === "√" && sign() !== "(") given.push(atom());
      else {
        close("(");
        do given.push(comparison()); while (next(","));
        close(")");
      }
      bars = before;
      return (v) => FUNCTIONS[name](...given.map((part) => part(v)));
    }

    const whole = comparison();
    if (at < list.length) {
      const { number, name } = list[at];
      throw new Unreadable(`“${number || name || sign()}” can't stand here`);
    }
    return { of: whole, variables };
  }

  /* ---- Comparing, as nbvae.teaching.exercises does --------------------------------------------- */

  const close = (a, b, within, smallest) => a === b ||
    (Number.isFinite(b) && Math.abs(a - b) <= within * (smallest + Math.abs(b)));

  /* As Python's format with g: so many digits, and an exponent for the very small and large. */
  function general(value, digits) {
    if (!Number.isFinite(value)) return String(value).toLowerCase().replace("infinity", "inf");
    if (value === 0) return "0";
    const [figures, exponent] = value.toExponential(digits - 1).split("e");
    if (exponent < -4 || exponent >= digits) {
      const size = String(Math.abs(exponent)).padStart(2, "0");
      return `${Number(figures)}e${exponent < 0 ? "-" : "+"}${size}`;
    }
    return value.toFixed(Math.max(0, digits - 1 - exponent)).replace(/(\.\d*?)0+$/, "$1")
      .replace(/\.$/, "");
  }

  function apart(found, wanted) {
    for (let digits = 4; ; digits += 1) {
      const [a, b] = [general(found, digits), general(wanted, digits)];
      if (a !== b || digits > 16) return `${b}, not ${a}`;
    }
  }

  /* A complaint, or null for a right answer. found: a value for each case. */
  function complaint(part, cases, found, within) {
    const same = (value, result) => close(value, Number(result), within, part.smallest);
    const wrong = cases.map((_, i) => i).filter((i) => !same(found[i], cases[i].right));
    if (!wrong.length) return null;
    const compared = part.everywhere ? cases.map((_, i) => i) : wrong;
    const explains = (k) => cases[0].slips[k].some((_, variant) =>
      compared.every((i) => same(found[i], cases[i].slips[k][variant])));
    const which = part.complaints.findIndex((_, k) => explains(k));
    if (which >= 0) return `${part.complaints[which]}.`;
    const first = wrong[0];
    return `for ${cases[first].given} it should be ` +
      `${apart(found[first], Number(cases[first].right))}.`;
  }

  /* What is said of a text: null if it is right. A text without variables is a number. */
  function judge(part, text) {
    if (!text.trim()) return "not solved yet.";
    const places = new Map(part.variables.flatMap((names, i) => names.map((name) => [name, i])));
    part.variables.forEach(([name], i) => places.set(name.replaceAll("_", ""), i));
    let formula;
    try {
      formula = parse(text, places);
    } catch (error) {
      if (error instanceof Unreadable) return `this formula can't be read: ${error.message}.`;
      throw error;
    }
    const number = !formula.variables && part.sample;
    const cases = number ? [part.sample] : part.cases;
    const found = cases.map((one) => formula.of(one.values.map(Number)));
    return complaint(part, cases, found, number ? part.rounded : part.within);
  }

  /* ---- The form ---------------------------------------------------------------------------------- */

  const element = (tag, attributes, ...children) => {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };

  function build(box) {
    const asked = JSON.parse(box.dataset.asked);
    const form = element("form", { class: "pencil", "aria-label": `Exercise ${asked.number}` });
    const inputs = asked.parts.map((part, i) => field(form, part, `${asked.number}-${i}`));
    form.append(element("button", { type: "submit" }, "Check"));
    const said = element("p", { class: "pencil-said", role: "status" });
    form.append(said);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const wrong = asked.parts.map((part, i) => [part.what, judge(part, inputs[i].value), i])
        .find(([, told]) => told !== null);
      const where = wrong && asked.parts.length > 1 ? `${wrong[0]}: ` : "";
      said.textContent = wrong ? `✗ Exercise ${asked.number}: ${where}${wrong[1]}`
        : `✓ Exercise ${asked.number}: ${asked.praise}`;
      inputs.forEach((input, i) => input.setAttribute("aria-invalid", Boolean(wrong && wrong[2] === i)));
    });
    box.append(form);
  }

  function field(form, part, id) {
    const input = element("input", {
      id: `pencil-${id}`, type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: "false",
      "aria-describedby": `pencil-${id}-help`,
    });
    const label = element("label", { for: input.id },
      `Your formula${part.what ? `, ${part.what}` : ""}`);
    const names = element("span", { class: "pencil-names" });
    for (const [name, typed] of part.variables) {
      const button = element("button", { type: "button", "aria-label": `Insert ${name}` }, name);
      button.addEventListener("click", () => {
        input.setRangeText(/[\s²]/.test(name) ? typed : name, input.selectionStart, input.selectionEnd, "end");
        input.focus();
      });
      names.append(button);
    }
    const typed = part.variables.map(([name, other]) => (other ? `${name} (${other})` : name));
    const help = element("small", { id: `pencil-${id}-help` }, `Variables: ${typed.join(", ")}. ` +
      (part.sample ? `Or a number, for ${part.sample.given}.` : ""));
    form.append(label, element("span", { class: "pencil-row" }, input, names), help);
    return input;
  }

  window.nbvaePencil = { parse, judge };
  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".nbvae-pencil").forEach(build);
  });
})();
