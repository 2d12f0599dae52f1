// Sorts and filters the tables, draws the trade-off plot and answers questions about it. Everything it needs is in the
// page; it asks the network for nothing. Text is set with textContent only, so no name can become markup.
// The parts of this script are joined in the order: numbers, models, chart, tables, choices.

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);

// ---- numbers: text, shares of draws, and the runtime model ------------------------------------------------------------

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

// Text of a number with three digits; `least` allows fewer, for round numbers.
function format(value, least = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "—";
  if (value === "inf" || value === Infinity) return "∞";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) return value.toExponential(2);
  const digits = { minimumSignificantDigits: least, maximumSignificantDigits: 3 };
  return value.toLocaleString("en", size >= 1000 ? { maximumFractionDigits: 0 } : digits);
}

const percent = (share) => `${Math.round(100 * share)}\u00a0%`;

function withInterval(cell) {
  if (!cell) return "—";
  const [value, low, high] = cell.map((number) => format(number));
  return low === undefined || low === high || low === "—" ? value : `${value} (${low}–${high})`;
}

// Straight lines between knots, flat outside.
function interpolate(x, xs, ys) {
  const last = xs.length - 1;
  if (x <= xs[0]) return ys[0];
  if (x >= xs[last]) return ys[last];
  const right = xs.findIndex((knot) => knot >= x);
  const share = (x - xs[right - 1]) / (xs[right] - xs[right - 1]);
  return ys[right - 1] + share * (ys[right] - ys[right - 1]);
}

function prefill(fit, p) {
  const { knots, seconds } = fit, last = knots.length - 1;
  if (fit.nextKey) {
    const at = Math.min(Math.max(0, knots.findIndex((knot) => knot >= p)), last);
    const index = p > knots[last] ? last : at;
    return seconds[index] * (p / knots[index]);
  }
  const inside = interpolate(p, knots, seconds);
  if (last < 1 || p <= knots[last]) return inside;
  const own = Math.max(0, (seconds[last] - seconds[last - 1]) / (knots[last] - knots[last - 1]));
  return inside + (fit.tail ?? own) * (p - knots[last]) + fit.tail2 * (p * p - knots[last] ** 2);
}

// Seconds of one request alone on the stack with their 90 % interval, as RuntimeCoefficients.predict computes them.
function predict(fit, p, o) {
  const steps = Math.max(o - 1, 0);
  const decode = steps * fit.decode + fit.context * (steps * p + (steps * (steps + 1)) / 2);
  const seconds = Math.max(prefill(fit, p) + decode + fit.overhead, 0);
  const errors = [fit.relativeError * seconds, fit.decodeError * decode, fit.resolution / 2];
  if (fit.errors.length) errors.push(interpolate(p, fit.knots, fit.errors));
  const [maxP, maxO] = fit.longest;
  if (p > maxP) errors.push(data.beyond.prefill * Math.max(prefill(fit, p) - prefill(fit, maxP), 0));
  if (p > maxP || o > maxO) errors.push(data.beyond.decode * decode * Math.max((p + o) / (maxP + maxO) - 1, 0));
  const half = Math.hypot(...errors);
  let low = Math.hypot(seconds, half) - half, high = Math.hypot(seconds, half) + half;
  if (fit.nextKey) {
    const last = fit.knots[fit.knots.length - 1];
    const straight = interpolate(p, fit.knots, fit.seconds) * Math.max(p / last, 1) + decode + fit.overhead;
    low = Math.min(low, Math.hypot(straight, half) - half);
    high = Math.max(high, Math.hypot(straight, half) + half);
  }
  return { seconds, low: Math.max(low, 0), high, isInside: p <= maxP && o <= maxO };
}

// Share of the draws in which `a` is better than `b`; a tie counts half. Draws closer than their rounding are ties.
function shareBetter(a, b, better) {
  let wins = 0, known = 0;
  const number = Math.min(a.values.length, b.values.length), tolerance = (a.step + b.step) / 2;
  for (let draw = 0; draw < number; draw++) {
    const difference = better * (a.values[draw] - b.values[draw]);
    if (Number.isNaN(difference)) continue;
    known++;
    wins += Math.abs(difference) <= tolerance ? 0.5 : difference > 0 ? 1 : 0;
  }
  return known ? wins / known : null;
}

// 5 % and 95 % of values, the nearest draws.
function middle90(values) {
  const sorted = Float64Array.from(values.filter((value) => !Number.isNaN(value))).sort();
  if (!sorted.length) return [null, null];
  return [0.05, 0.95].map((share) => sorted[Math.round(share * (sorted.length - 1))]);
}

// Points of which no other is at least as good on both axes and better on one: `costs` small, `goods` large.
function frontOf(costs, goods) {
  const order = [...costs.keys()].filter((at) => !Number.isNaN(costs[at]) && !Number.isNaN(goods[at]));
  order.sort((a, b) => costs[a] - costs[b] || goods[b] - goods[a]);
  const front = [];
  let best = -Infinity, cost = NaN;
  for (const at of order) {
    if (goods[at] > best || (goods[at] === best && costs[at] === cost)) front.push(at);
    if (goods[at] > best) [best, cost] = [goods[at], costs[at]];
  }
  return front;
}

function ranksOf(values, better) {
  return values.map((value) => 1 + values.filter((other) => better * (other - value) > 0).length);
}
