// ---- models: the rows that the choices ask for ------------------------------------------------------------------------

const STEPS = 253; // of an unpacked draw between the lowest and the highest of its model
const unpacked = new Map();

function codesOf(packed) {
  if (!unpacked.has(packed)) unpacked.set(packed, Uint8Array.from(atob(packed.codes), (c) => c.charCodeAt(0)));
  return unpacked.get(packed);
}

// Draws of the model at an index, and the step that they are rounded to; null where the page has none.
function drawsAt(packed, index) {
  if (!packed) return null;
  if (packed.values) return packed.values[index];
  const codes = codesOf(packed), number = codes.length / packed.low.length;
  const low = packed.low[index], step = (packed.high[index] - low) / STEPS;
  const own = codes.subarray(index * number, (index + 1) * number);
  return { values: Float64Array.from(own, (code) => (code > STEPS ? NaN : low + code * step)), step };
}

const scaled = (draws, factor) => ({ values: draws.values.map((value) => value * factor), step: draws.step * factor });

function familyOf(scenario) {
  return scenario.split(":")[0];
}

const GROUP = "mean of ";
const merged = new Map();

// The table of one scenario, of all, or the mean over the scenarios of a family.
function partOf(stack, scenario) {
  const at = data.stacks.indexOf(stack);
  const own = data.parts.filter((part) => part.stack === at);
  if (!scenario.startsWith(GROUP)) return own.find((part) => part.scenario === scenario);
  const key = `${at} ${scenario}`;
  if (!merged.has(key)) {
    const family = own.filter((part) => part.scenario !== data.all && familyOf(part.scenario) === scenario.slice(GROUP.length));
    merged.set(key, family.length ? meanOf(family) : undefined);
  }
  return merged.get(key);
}

// Mean over scenarios, each counting the same, of the models that have all of them. Ratios have no such mean.
function meanOf(parts) {
  const models = parts[0].models.filter((model) => parts.every((part) => part.models.includes(model)));
  const rows = parts.map((part) => models.map((model) => part.models.indexOf(model)));
  const keys = Object.keys(parts[0].columns).filter((key) => !data.measures[key].ratio && parts.every((part) => part.columns[key]));
  const mean = (numbers) => numbers.reduce((sum, value) => sum + value, 0) / numbers.length;
  const columns = {}, draws = {};
  for (const key of keys) {
    columns[key] = models.map((_, at) => {
      const values = parts.map((part, of) => part.columns[key][rows[of][at]][0]);
      return [values.every(isNumber) ? mean(values) : null];
    });
  }
  for (const key of Object.keys(parts[0].draws).filter((name) => keys.includes(name))) {
    draws[key] = { values: models.map((_, at) => {
      const each = parts.map((part, of) => drawsAt(part.draws[key], rows[of][at]));
      return { values: each[0].values.map((_, draw) => mean(each.map((one) => one.values[draw]))), step: mean(each.map((one) => one.step)) };
    }) };
  }
  return { models, columns, draws, evidence: rows[0].map((row) => parts[0].evidence[row]), front: {}, isMean: true };
}

const priceOf = (stack) => Number.parseFloat(choices[`price.${stack.name}`]);

// Lengths of the request asked about; null for those of the runs.
function lengths() {
  const p = Number.parseInt(choices.prompt, 10), o = Number.parseInt(choices.output, 10);
  return p >= 1 && o >= 1 ? { p, o } : null;
}

const isChanged = () => lengths() !== null || data.stacks.some((stack) => priceOf(stack) >= 0);

// One model on one stack, with its numbers under the prices and lengths asked about.
class Model {
  constructor(stack, part, row) {
    const index = part.models[row];
    Object.assign(this, { stack, part, row, index, name: data.names[index], label: data.labels[index] });
    this.evidence = data.evidence[part.evidence[row]];
    this.provider = this.name.includes("/") ? this.name.split("/")[0] : "";
    if (choices.stack === EVERY) {
      this.name += ` on ${stack.name}`;
      this.label += ` · ${stack.name}`;
    }
    const asked = lengths(), fit = stack.fits[index];
    this.asked = asked && fit !== null && fit !== undefined ? predict(data.fits[fit], asked.p, asked.o) : null;
  }

  // A cell without ends has the interval of the measure that it is proportional to.
  ofRuns(key) {
    const cell = (this.part.columns[key] || [])[this.row] || [null];
    const { drawn, ratio } = data.measures[key];
    if (cell.length > 1 || drawn === key || ratio || !isNumber(cell[0])) return cell;
    const [base, ...ends] = this.ofRuns(drawn);
    return [cell[0], ...ends.map((end) => (isNumber(end) ? (cell[0] * end) / base : null))];
  }

  // Value, low and high of a measure in the unit of print.
  cell(key) {
    const measure = data.measures[key], price = priceOf(this.stack);
    if (measure.priced && price >= 0) return this.cell(measure.priced).map((value) => isNumber(value) ? (value * price * measure.scale) / 3600 : value);
    let cell = this.ofRuns(key);
    if (lengths() && key !== "score" && key !== "win_rate") {
      if (measure.drawn !== "idealized_s" || !this.asked || !isNumber(cell[0])) return [null];
      const { seconds, low, high } = this.asked, base = this.ofRuns("idealized_s")[0];
      const factor = seconds / base;
      if (measure.ratio) return cell.map((value) => isNumber(value) ? value * factor : value);
      return [cell[0] * factor, (cell[0] * low) / base, (cell[0] * high) / base];
    }
    if (this.part.isMean && isNumber(cell[0])) {
      const draws = this.draws(key);
      if (draws) cell = [cell[0], ...middle90(draws.values)];
    }
    return cell;
  }

  value(key) {
    const [value] = this.cell(key);
    return isNumber(value) ? value : NaN;
  }

  // Draws of a measure, joint with those of all other models; null where the page has none.
  draws(key) {
    const { drawn, ratio, fitted } = data.measures[key];
    const value = this.part.isMean ? this.ofRuns(key)[0] : this.cell(key)[0];
    if (!isNumber(value)) return null;
    let base = drawsAt(this.part.draws[drawn], this.row), of = this.ofRuns(drawn)[0];
    if (lengths() && drawn === "idealized_s") {
      const errors = drawsAt(this.stack.errors, this.index);
      if (!errors || !this.asked) return null;
      const { seconds, low, high } = this.asked; // the ends lie 1.645 standard deviations away
      const drawn = (error) => Math.max(seconds + (error / 1.645) * (error < 0 ? seconds - low : high - seconds), 0);
      base = { values: errors.values.map(drawn), step: (errors.step / 1.645) * (high - seconds) };
      of = seconds;
    }
    if (!base && fitted) { // the page has no room for all draws of a scenario; this one has the same error of prediction
      base = drawsAt(this.part.draws[fitted], this.row);
      of = this.ofRuns(fitted)[0];
    }
    if (!base) return null;
    const draws = scaled(base, of ? value / of : 1);
    const scores = ratio && key !== drawn && drawsAt(this.part.draws.score, this.row), score = this.ofRuns("score")[0];
    if (!scores) return draws;
    return { values: draws.values.map((cost, draw) => (cost * score) / scores.values[draw]), step: draws.step };
  }
}

// The models that have both measures, with their front and ranks.
function view() {
  const x = measureChosen("x"), y = measureChosen("y");
  const stacks = choices.stack === EVERY ? data.stacks : data.stacks.filter((stack) => stack.name === choices.stack);
  const all = stacks.flatMap((stack) => {
    const part = partOf(stack, choices.scenario);
    return part ? part.models.map((_, row) => new Model(stack, part, row)) : [];
  });
  const models = all.filter((model) => !Number.isNaN(model.value(x)) && !Number.isNaN(model.value(y)));
  const betterX = data.measures[x].better, betterY = data.measures[y].better;
  const hasFront = betterX !== 0 && betterY !== 0;
  const costs = models.map((model) => -betterX * model.value(x)), goods = models.map((model) => betterY * model.value(y));
  const front = new Set(hasFront ? frontOf(costs, goods).map((at) => models[at]) : []);
  const found = { x, y, models, missing: all.length - models.length, front, hasFront };
  return { ...found, likely: hasFront ? shares(found) : new Map(), ...ranks(found) };
}

// How often each model is on the front: as the tables say where nothing was asked, else counted in the draws.
function shares({ x, y, models, front }) {
  const isAsked = isChanged() || choices.stack === EVERY || y !== "score";
  if (!isAsked && models.every((model) => model.part.front[x])) return new Map(models.map((model) => [model, model.part.front[x].likely[model.row]]));
  const drawn = models.map((model) => [model.draws(x), model.draws(y)]);
  if (!models.length || drawn.some(([a, b]) => !a && !b)) return new Map(models.map((model) => [model, front.has(model) ? 1 : 0]));
  const number = Math.min(...drawn.flat().filter(Boolean).map((draws) => draws.values.length));
  const at = (draws, model, key, draw) => data.measures[key].better * (draws ? draws.values[draw] : model.value(key));
  const counts = models.map(() => 0);
  for (let draw = 0; draw < number; draw++) {
    const costs = models.map((model, index) => -at(drawn[index][0], model, x, draw));
    const goods = models.map((model, index) => at(drawn[index][1], model, y, draw));
    for (const index of frontOf(costs, goods)) counts[index]++;
  }
  return new Map(models.map((model, index) => [model, counts[index] / number]));
}

function ranks({ x, y, models }) {
  const of = (key) => {
    const better = data.measures[key].better;
    if (!better) return null;
    const rank = ranksOf(models.map((model) => model.value(key)), better);
    const drawn = models.map((model) => model.draws(key));
    if (!models.length || drawn.some((draws) => !draws)) return rank.map(String);
    const number = Math.min(...drawn.map((draws) => draws.values.length));
    const each = Array.from({ length: number }, (_, draw) => ranksOf(drawn.map((draws) => draws.values[draw]), better));
    return rank.map((own, index) => {
      const [low, high] = middle90(each.map((one) => one[index]));
      const ends = [Math.min(low, own), Math.max(high, own)];
      return ends[0] === ends[1] ? `${own} (${own})` : `${own} (${ends[0]}–${ends[1]})`;
    });
  };
  return { rankX: of(x), rankY: of(y) };
}
