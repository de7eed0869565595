/* The mathematics of the figures: the package's formulas once more, for the page. Browser tests
   compare each with SciPy or PyTorch. */
(function (living) {
  "use strict";
  const LANCZOS = [
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313,
    -176.61502916214059, 12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6,
    1.5056327351493116e-7,
  ];

  /* log Γ(x) for x > 0, by Lanczos' formula (g = 7). */
  function lgamma(x) {
    if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - lgamma(1 - x);
    const t = x + 6.5;
    const sum = LANCZOS.reduce((a, c, i) => a + (i ? c / (x - 1 + i) : c), 0);
    return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum);
  }

  const logAddExp = (a, b) => Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)));

  /* (2.4) with the logits of (2.6). */
  function nbLogProb(x, logMean, logTheta) {
    const theta = Math.exp(logTheta);
    const logSum = logAddExp(logMean, logTheta);
    return lgamma(x + theta) - lgamma(x + 1) - lgamma(theta) +
      theta * (logTheta - logSum) + x * (logMean - logSum);
  }

  const poissonLogProb = (x, logMean) => x * logMean - Math.exp(logMean) - lgamma(x + 1);

  const gammaDensity = (u, theta) =>
    Math.exp(theta * Math.log(theta) - lgamma(theta) + (theta - 1) * Math.log(u) - theta * u);

  const normalDensity = (z, m, s) =>
    Math.exp(-0.5 * ((z - m) / s) ** 2) / (s * Math.sqrt(2 * Math.PI));

  /* By trapezia on evenly spaced points. */
  function integral(values, step) {
    let sum = 0;
    for (const value of values) sum += value;
    return step * (sum - 0.5 * (values[0] + values[values.length - 1]));
  }

  /* ---- Chance: the same numbers after the same seed --------------------------------------- */

  function random(seed) {
    let state = seed >>> 0;
    const uniform = () => {
      state = (state + 0x6d2b79f5) >>> 0; // mulberry32
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
    };
    const normal = () =>
      Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());

    /* Marsaglia & Tsang 2000, scale 1. */
    function gamma(shape) {
      if (shape < 1) return gamma(shape + 1) * uniform() ** (1 / shape);
      const d = shape - 1 / 3;
      for (;;) {
        const n = normal();
        const v = (1 + n / Math.sqrt(9 * d)) ** 3;
        if (v > 0 && Math.log(uniform()) < 0.5 * n * n + d - d * v + d * Math.log(v)) {
          return d * v;
        }
      }
    }

    /* By counting below 10, by Hörmann's rejection (1993, PTRS) above. */
    function poisson(mean) {
      if (mean < 10) {
        let [count, left] = [0, uniform()];
        for (const stop = Math.exp(-mean); left > stop; count += 1) left *= uniform();
        return count;
      }
      const b = 0.931 + 2.53 * Math.sqrt(mean);
      const a = -0.059 + 0.02483 * b;
      for (;;) {
        const u = uniform() - 0.5;
        const v = uniform();
        const us = 0.5 - Math.abs(u);
        const count = Math.floor(((2 * a) / us + b) * u + mean + 0.43);
        if (us >= 0.07 && v <= 0.9277 - 3.6224 / (b - 2)) return count;
        if (count < 0 || (us < 0.013 && v > us)) continue;
        const scaled = (v * (1.1239 + 1.1328 / (b - 3.4))) / (a / (us * us) + b);
        if (Math.log(scaled) <= poissonLogProb(count, Math.log(mean))) return count;
      }
    }

    /* The story of chapter 2: a factor u, then a Poisson count. θ = ∞ has u = 1. */
    const nb = (mean, theta) =>
      poisson(Number.isFinite(theta) ? (mean * gamma(theta)) / theta : mean);
    return { uniform, normal, gamma, poisson, nb };
  }

  /* ---- What Python embedded ----------------------------------------------------------------- */

  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const floats = (text) => new Float32Array(bytes(text));
  const integers = (text) => new Uint16Array(bytes(text));

  /* Half-precision floats, IEEE 754. */
  function halves(text) {
    return Float32Array.from(new Uint16Array(bytes(text)), (h) => {
      const [sign, power, rest] = [h >> 15 ? -1 : 1, (h >> 10) & 31, h & 1023];
      return sign * (power ? 2 ** (power - 15) * (1 + rest / 1024) : 2 ** -14 * (rest / 1024));
    });
  }

  /* The decoder of chapter 3: z → ReLU(W1 z + b1) → W2 · + b2 → softmax. */
  function decoder({ first, firstBias, second, secondBias }) {
    const [w1, b1, w2, b2] = [first, firstBias, second, secondBias].map(halves);
    const [k, hidden] = [w1.length / b1.length, b1.length];
    const row = (w, b, input, n, i) => {
      let sum = b[i];
      for (let j = 0; j < n; j += 1) sum += w[i * n + j] * input[j];
      return sum;
    };
    return (z) => {
      const middle = Float64Array.from(b1, (_, i) => Math.max(0, row(w1, b1, z, k, i)));
      const y = Float64Array.from(b2, (_, i) => row(w2, b2, middle, hidden, i));
      const largest = y.reduce((a, b) => Math.max(a, b));
      const shares = y.map((v) => Math.exp(v - largest));
      const sum = shares.reduce((a, b) => a + b);
      return shares.map((v) => v / sum);
    };
  }

  living.maths = {
    lgamma, nbLogProb, poissonLogProb, gammaDensity, normalDensity, integral, random,
    floats, integers, halves, decoder,
  };
})(window.nbvaeLiving);
