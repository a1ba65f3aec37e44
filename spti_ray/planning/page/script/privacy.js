// The noise of a run: dp/exact.py and dp/calibration.py once more, for a browser. Figures are never below the planner's.
//
// The planner certifies a sigma by the larger of two figures: the sum over the integers of dp/exact.py, which is here,
// and a privacy loss distribution, which is not. MARGIN is more than the second was ever seen above the first
// (tests/unit/planning/page/test_privacy.py): what the sum certifies with it, both certify.
"use strict";
const Privacy = (() => {
  const STEP = 1.001, MAX_STEPS = 256, MAX_SIGMA = 2e4;
  const MARGIN = 1e-3;  // of epsilon
  const SMOOTH = 1.5, WIDE = 1000, ROUNDING = 1e-11, CONVOLVING = 4e-13, LEFT_OUT = 1e-10;

  // 1 - erf(x), to some 1e-13 of itself: a series of positive terms, then a continued fraction.
  function erfc(x) {
    if (x < 0) return 2 - erfc(-x);
    if (x < 2) {
      let term = x, sum = x;
      for (let n = 1; term > 1e-17 * sum; n++) sum += (term *= 2 * x * x / (2 * n + 1));
      return 1 - 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
    }
    let rest = 0;
    for (let n = 120; n > 0; n--) rest = n / 2 / (x + rest);
    return Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + rest);
  }

  const phi = x => 0.5 * erfc(-x / Math.SQRT2);

  // The smallest sigma of the continuous Gaussian (Balle and Wang 2018), rounded up by a billionth.
  function analyticSigma(epsilon, delta) {
    const spent = sigma => phi(0.5 / sigma - epsilon * sigma) - Math.exp(epsilon) * phi(-0.5 / sigma - epsilon * sigma);
    let low = 1e-3, high = 1;
    while (spent(high) > delta) { low = high; high *= 2; }
    while (high / low > 1 + 1e-12) {
      const middle = Math.sqrt(low * high);
      if (spent(middle) > delta) low = middle; else high = middle;
    }
    return high * (1 + 1e-9);
  }

  // Bound on log(P(S = z) / P(Y = z)), of the sum S of the noises and one discrete Gaussian Y of its variance.
  function unevenness(sigma, count) {
    const exponent = -2 * Math.PI ** 2 * sigma ** 2;
    let first = 0;
    for (let k = 1; k < Math.min(count, 9); k++) first += Math.exp(exponent * k / (k + 1));
    return 10 * (first + Math.max(0, count - 9) * Math.exp(exponent * 0.9));
  }

  function convolve(a, b) {
    const out = new Float64Array(a.length + b.length - 1);
    for (let i = 0; i < a.length; i++) for (let j = 0; j < b.length; j++) out[i + j] += a[i] * b[j];
    return out;
  }

  // The probabilities of the sum of `count` noises, symmetric about 0, by direct convolution.
  function convolved(sigma, count, delta) {
    const bound = Math.log(6 * count / (LEFT_OUT * delta));
    const cut = (weights, noises) => {
      const reach = Math.ceil(sigma * Math.sqrt(2 * noises * bound)), have = (weights.length - 1) / 2;
      return reach < have ? weights.slice(have - reach, have + reach + 1) : weights;
    };
    const reach = Math.ceil(sigma * Math.sqrt(2 * bound));
    let power = Float64Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-((i - reach) ** 2) / (2 * sigma ** 2)));
    const norm = power.reduce((sum, weight) => sum + weight, 0);
    power = power.map(weight => weight / norm);
    let total = Float64Array.of(1), summed = 0;
    for (let noises = 1; ; ) {
      if (Math.floor(count / noises) % 2) { summed += noises; total = cut(convolve(total, power), summed); }
      noises *= 2;
      if (noises > count) return total;
      power = cut(convolve(power, power), noises);
    }
  }

  // The sum of the noises: its highest value, its probabilities from there down, and a bound on their relative error.
  function noiseSum(sigma, count, delta) {
    const variance = count * sigma ** 2;
    if (sigma < SMOOTH) {
      const weights = convolved(sigma, count, delta);
      return { top: (weights.length - 1) / 2, weights, slack: CONVOLVING * count + ROUNDING };
    }
    const top = Math.ceil(Math.sqrt(2 * variance * Math.log(2 / (LEFT_OUT * delta))));
    const bottom = Math.max(-top, -Math.floor(count / 2) - 2);
    const scale = Math.exp(unevenness(sigma, count)) / Math.sqrt(2 * Math.PI * variance);
    const weights = new Float64Array(top - bottom + 1);
    for (let i = 0; i < weights.length; i++) weights[i] = Math.exp(-((top - i) ** 2) / (2 * variance)) * scale;
    return { top, weights, slack: ROUNDING };
  }

  const isWide = (sigma, count) => sigma >= SMOOTH && Math.sqrt(count) * sigma >= WIDE;

  function wideTail(first, variance) {
    const at = (first - 0.5) / Math.sqrt(variance);
    const density = Math.exp(-0.5 * at * at) / Math.sqrt(2 * Math.PI);
    return 0.5 * erfc(at / Math.SQRT2) - at * density / (24 * variance);
  }

  function wideDelta(sigma, count, epsilon) {
    const variance = count * sigma ** 2, first = Math.floor(sigma ** 2 * epsilon - count / 2) + 1;
    const mass = wideTail(first, variance), shifted = wideTail(first + count, variance);
    const furthest = Math.abs(first + count) / Math.sqrt(variance);
    const slack = ROUNDING + 2.5e-3 * (3 + furthest ** 4) / variance ** 2;
    return Math.max(0, mass * (1 + slack) - Math.exp(epsilon) * shifted * (1 - slack)) * Math.exp(unevenness(sigma, count));
  }

  // The delta at `epsilon` of `count` queries of sensitivity 1.
  function exactDelta(sigma, count, epsilon, precision) {
    if (isWide(sigma, count)) return Math.min(1, wideDelta(sigma, count, epsilon) + LEFT_OUT * precision);
    const { top, weights, slack } = noiseSum(sigma, count, precision);
    let sum = 0, kept = 0;
    for (let i = 0; i < weights.length; i++) {
      const excess = epsilon - (count / 2 + top - i) / sigma ** 2;
      if (excess >= 0) break;
      sum += weights[i] * -Math.expm1(excess);
      kept += weights[i];
    }
    return Math.min(1, sum + slack * kept + LEFT_OUT * precision);
  }

  // The smallest epsilon at which `count` queries have at most `delta`.
  function exactEpsilon(sigma, count, delta) {
    if (isWide(sigma, count)) {
      const rho = count / (2 * sigma * sigma);
      let low = 0, high = rho + 2 * Math.sqrt(rho * Math.log(1 / delta));
      if (wideDelta(sigma, count, low) <= delta) return low;
      while (high - low > 1e-12 * high) {
        const middle = (low + high) / 2;
        if (wideDelta(sigma, count, middle) > delta) low = middle; else high = middle;
      }
      return high;
    }
    const { top, weights, slack } = noiseSum(sigma, count, delta);
    const target = delta * (1 - LEFT_OUT), loss = i => (count / 2 + top - i) / sigma ** 2;
    // Scaled by the largest loss, so that no power overflows.
    let mass = 0, shifted = 0;
    for (let i = 0; i < weights.length && loss(i) >= 0; i++) {
      const scaled = loss(i) - loss(0);
      const more = mass + weights[i] * (1 + slack), moreShifted = shifted + weights[i] * Math.exp(-scaled) * (1 - slack);
      if (more - Math.exp(scaled) * moreShifted >= target) {
        return mass <= target ? loss(i) : Math.max(0, loss(0) + Math.log((mass - target) / shifted));
      }
      mass = more;
      shifted = moreShifted;
    }
    return mass <= target ? 0 : Math.max(0, loss(0) + Math.log((mass - target) / shifted));
  }

  // An upper bound on the planner's epsilon of `count` votes of noise sigma.
  const epsilonOf = (sigma, count, delta) => exactEpsilon(sigma, count, delta) * (1 + MARGIN);

  // The fewest steps that certify, by doubling and bisection, as the planner looks for them; null if there are none.
  function fewestSteps(certifies) {
    let failed = -1, passed = 0;
    while (!certifies(passed)) {
      failed = passed;
      passed = 2 * passed + 1;
      if (passed > MAX_STEPS) return null;
    }
    while (passed - failed > 1) {
      const middle = Math.floor((failed + passed) / 2);
      if (certifies(middle)) passed = middle; else failed = middle;
    }
    return passed;
  }

  // sigma in votes for `slots` queries in which a record has `votes`; null where no noise can be certified.
  // Nowhere below the planner's: it passes every step that passes here, and both look in the same order.
  function calibrate(epsilon, delta, votes, slots) {
    const count = votes * slots, start = analyticSigma(epsilon, delta) * Math.sqrt(count);
    if (start > MAX_SIGMA) return null;
    const least = epsilon / (1 + MARGIN);
    const steps = fewestSteps(steps => exactDelta(start * STEP ** steps, count, least, delta) <= delta);
    return steps === null ? null : start * STEP ** steps;
  }

  // Bound on the advantage of whoever tells whether one record was used: delta at epsilon 0.
  const advantageOf = (sigma, count) => Math.min(1, exactDelta(sigma, count, 0, 1e-12) * (1 + MARGIN));

  return { calibrate, epsilonOf, advantageOf, exactEpsilon, exactDelta, analyticSigma };
})();
