// ---- chart ------------------------------------------------------------------------------------------------------------

const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#8C8C8C"];
const WIDEST = 1100, HEIGHT = 500;
const BOX = { left: 64, right: WIDEST - 20, top: 14, bottom: HEIGHT - 50 };
const MOST_NAMES = 40;
const LOG_FROM = 8; // about a decade
const svg = byId("scatter");
const tip = byId("tip");
const providers = [...new Set(data.names.map((name) => (name.includes("/") ? name.split("/")[0] : "")))].sort();
// Each of the first six providers has a colour of its own; all others share the last one, grey.
const colourOf = (provider) => COLOURS[Math.min(providers.indexOf(provider), COLOURS.length - 1)];

function element(tag, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

// Whether an axis is logarithmic: as chosen, else where the values span about a decade or more.
function isLog(values, asked) {
  const can = Math.min(...values) > 0;
  return can && (asked === "log" || (asked === "" && Math.max(...values) / Math.min(...values) >= LOG_FROM));
}

// From values, with room for their intervals, to pixels.
function scale(cells, asked, low, high) {
  const log = isLog(cells.map(([value]) => value), asked);
  const all = cells.flat().filter((value) => isNumber(value) && (!log || value > 0));
  const to = log ? Math.log10 : (value) => value;
  const least = to(Math.min(...all)), most = to(Math.max(...all));
  const margin = (most - least) * 0.06 || 0.1 * Math.abs(most) || 0.5;
  const start = least - margin, end = most + margin;
  const at = (value) => low + ((to(value) - start) / (end - start)) * (high - low);
  const room = Math.max(2, Math.abs(high - low) / 100); // labels of about 100 pixels each
  return { at, log, ticks: log ? logTicks(start, end, room) : linearTicks(start, end, room) };
}

function logTicks(start, end, room) {
  const ticks = [];
  const steps = (end - start) * 3 <= room ? [1, 2, 5] : [1];
  for (let power = Math.floor(start); power <= end; power++)
    for (const step of steps) {
      const value = step * 10 ** power;
      if (Math.log10(value) >= start && Math.log10(value) <= end) ticks.push(value);
    }
  return ticks.length > 1 ? ticks : linearTicks(10 ** start, 10 ** end, room).filter((value) => value > 0);
}

function linearTicks(start, end, room) {
  const rough = (end - start) / Math.min(6, room), power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const ticks = [];
  for (let index = Math.ceil(start / step); index * step <= end; index++) ticks.push(Number((index * step).toPrecision(10)));
  return ticks;
}

function drawChart(shown) {
  const { x, y, models, front, likely } = shown;
  const width = Math.max(300, Math.min(WIDEST, byId("chart").clientWidth));
  BOX.right = width - 20; // as many units as pixels, so that text keeps its size on a phone
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  svg.replaceChildren();
  hideTip();
  if (!models.length) {
    svg.append(element("text", { x: width / 2, y: 220, "text-anchor": "middle" }, "No model has both numbers."));
    return;
  }
  const cells = models.map((model) => [model.cell(x), model.cell(y)]);
  const across = scale(cells.map(([cell]) => cell), choices.logx, BOX.left, BOX.right);
  const up = scale(cells.map(([, cell]) => cell), choices.logy, BOX.bottom, BOX.top);
  drawAxes(across, up, data.measures[x], data.measures[y]);
  const inX = (value) => Math.min(Math.max(across.at(value), BOX.left), BOX.right) || BOX.left;
  const inY = (value) => Math.min(Math.max(up.at(value), BOX.top), BOX.bottom) || BOX.bottom;
  const place = new Map(models.map((model, at) => [model, [across.at(cells[at][0][0]), up.at(cells[at][1][0])]]));
  const lines = shown.hasFront ? drawFront([...front].map((model) => place.get(model)), x, y) : [];
  const names = element("g", {}); // below the bars, so that the halo of a name never covers an interval
  svg.append(names);
  const bars = cells.flatMap(([[, lowX, highX], [, lowY, highY]], at) => {
    const [px, py] = place.get(models[at]);
    return [
      ...(isNumber(lowX) && isNumber(highX) ? [[inX(lowX), py, inX(highX), py]] : []),
      ...(isNumber(lowY) && isNumber(highY) ? [[px, inY(highY), px, inY(lowY)]] : []),
    ];
  });
  for (const [x1, y1, x2, y2] of bars) svg.append(element("line", { class: "bar", x1, y1, x2, y2 }));
  const order = models.slice().sort((a, b) => a.value(x) - b.value(x));
  order.forEach((model, index) => drawPoint(model, place.get(model), shown, index === 0));
  const better = drawBetter(data.measures[x].better, data.measures[y].better);
  drawNames(names, models, likely, [...lines, ...better], bars, (model) => place.get(model));
}

function drawAxes(across, up, x, y) {
  for (const value of across.ticks) {
    const at = across.at(value);
    svg.append(element("line", { class: "grid", x1: at, x2: at, y1: BOX.top, y2: BOX.bottom }));
    svg.append(element("text", { class: "muted", x: at, y: BOX.bottom + 17, "text-anchor": "middle" }, format(value, 1)));
  }
  for (const value of up.ticks) {
    const at = up.at(value);
    svg.append(element("line", { class: "grid", x1: BOX.left, x2: BOX.right, y1: at, y2: at }));
    svg.append(element("text", { class: "muted", x: BOX.left - 8, y: at + 4, "text-anchor": "end" }, format(value, 1)));
  }
  const middle = (BOX.top + BOX.bottom) / 2, label = (measure, axis) => measure.label + (axis.log ? ", log" : "");
  svg.append(element("text", { class: "label", x: (BOX.left + BOX.right) / 2, y: HEIGHT - 12, "text-anchor": "middle" }, label(x, across)));
  svg.append(element("text", { class: "label", x: 14, y: middle, "text-anchor": "middle", transform: `rotate(-90 14 ${middle})` }, label(y, up)));
}

// The front as steps, extended to the frame, with the area that it beats shaded; returns boxes that names avoid.
function drawFront(points, x, y) {
  if (!points.length) return [];
  const leftIsBetter = data.measures[x].better < 0, upIsBetter = data.measures[y].better > 0;
  const far = leftIsBetter ? BOX.right : BOX.left, floor = upIsBetter ? BOX.bottom : BOX.top;
  points.sort((a, b) => (leftIsBetter ? a[0] - b[0] : b[0] - a[0]));
  const steps = points.map(([px, py], at) => (at ? `H${px}V${py}` : `M${px},${py}`)).join("");
  const [first, last] = [points[0], points[points.length - 1]];
  svg.prepend(element("path", { class: "beaten", d: `${steps}H${far}V${floor}H${first[0]}Z` }));
  svg.append(element("path", { class: "front", d: steps }));
  svg.append(element("path", { class: "edge", d: `M${first[0]},${floor}V${first[1]}M${last[0]},${last[1]}H${far}` }));
  return points.slice(1).flatMap(([px, py], at) => {
    const [bx, by] = points[at];
    return [[Math.min(bx, px), by - 1, Math.max(bx, px), by + 1], [px - 1, Math.min(py, by), px + 1, Math.max(py, by)]];
  });
}

// An arrow to the corner where both measures are best; returns the box that names avoid.
function drawBetter(betterX, betterY) {
  if (!betterX || !betterY) return [];
  const right = betterX > 0, top = betterY > 0;
  const tipX = right ? BOX.right - 4 : BOX.left + 4, tipY = top ? BOX.top + 4 : BOX.bottom - 4;
  const dx = right ? -1 : 1, dy = top ? 1 : -1;
  const d = `M${tipX + 26 * dx},${tipY + 22 * dy}L${tipX},${tipY}M${tipX + 9 * dx},${tipY + dy}L${tipX},${tipY}L${tipX + dx},${tipY + 9 * dy}`;
  svg.append(element("path", { class: "better", d }));
  const anchor = right ? "end" : "start";
  svg.append(element("text", { class: "muted", x: tipX + 30 * dx, y: tipY + (top ? 28 : -20), "text-anchor": anchor }, "better"));
  return [right ? [tipX - 70, tipY - 36, tipX, tipY + 36] : [tipX, tipY - 36, tipX + 70, tipY + 36]];
}

function drawPoint(model, [px, py], shown, isFirst) {
  const colour = colourOf(model.provider);
  const point = element("circle", {
    class: "point", cx: px, cy: py, r: 6, stroke: colour, fill: colour, "fill-opacity": shown.likely.get(model) ?? 0,
    tabindex: isFirst ? 0 : -1, role: "img",
    "aria-label": describe(model, shown).map((line) => line.filter(Boolean).join(" ")).join("; "),
  });
  Object.assign(point.dataset, { name: model.name, search: `${model.name} ${model.label}` });
  const show = () => showTip(describe(model, shown), px, py);
  for (const event of ["mouseenter", "focus"]) point.addEventListener(event, show);
  for (const event of ["mouseleave", "blur"]) point.addEventListener(event, hideTip);
  svg.append(point);
}

svg.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const points = [...svg.querySelectorAll(".point:not(.dim)")];
  const at = points.indexOf(document.activeElement);
  if (event.key === "Escape") hideTip();
  if (!step || at < 0) return;
  event.preventDefault();
  const next = points[(at + step + points.length) % points.length];
  points[at].setAttribute("tabindex", -1);
  next.setAttribute("tabindex", 0);
  next.focus();
});

function drawNames(group, models, likely, lines, bars, place) {
  const taken = models.map((model) => { const [px, py] = place(model); return [px - 7, py - 7, px + 7, py + 7]; }).concat(lines);
  const first = models.slice().sort((a, b) => (likely.get(b) ?? 0) - (likely.get(a) ?? 0)).slice(0, MOST_NAMES);
  for (const model of first) {
    const [px, py] = place(model);
    const text = element("text", { class: "halo", x: px, y: py }, model.label);
    Object.assign(text.dataset, { name: model.name, search: `${model.name} ${model.label}` });
    group.append(text);
    const width = text.getComputedTextLength();
    const spots = [[px + 10, py + 4], [px - 10 - width, py + 4], [px - width / 2, py - 11], [px - width / 2, py + 20], [px + 9, py - 8], [px + 9, py + 16], [px - 9 - width, py - 8], [px - 9 - width, py + 16], [px + 9, py - 20], [px - 9 - width, py - 20], [px + 9, py + 28], [px - 9 - width, py + 28]];
    const isFree = ([sx, sy], others) => {
      const box = [sx, sy - 10, sx + width, sy + 3];
      const inside = box[0] >= BOX.left && box[2] <= BOX.right + 18 && box[1] >= 0 && box[3] <= BOX.bottom;
      return inside && !others.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1]);
    };
    // clear of everything, or else across an interval, which is drawn over the name
    const spot = spots.find((at) => isFree(at, [...taken, ...bars])) || spots.find((at) => isFree(at, taken));
    if (!spot) { text.remove(); continue; } // its tooltip has it
    text.setAttribute("x", spot[0]);
    text.setAttribute("y", spot[1]);
    taken.push([spot[0], spot[1] - 10, spot[0] + width, spot[1] + 3]);
  }
}

function drawLegend() {
  if (providers.length < 2) return;
  const own = providers.slice(0, COLOURS.length - 1), rest = providers.length - own.length;
  const entries = own.map((provider) => [colourOf(provider), provider || "no provider"]);
  if (rest) entries.push([COLOURS[COLOURS.length - 1], rest === 1 ? providers[providers.length - 1] : `${rest} others`]);
  for (const [colour, text] of entries) {
    const item = document.createElement("li"), swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.borderColor = colour;
    item.append(swatch, text);
    byId("providers").append(item);
  }
}

function describe(model, { x, likely, hasFront }) {
  const lines = [[model.name], [model.evidence]];
  for (const [key, measure] of Object.entries(data.measures)) {
    const [value, low, high] = model.cell(key);
    if (value === null) continue;
    const span = low === null || low === undefined || low === high ? "" : `${format(low)} – ${format(high)}`;
    lines.push([measure.label, format(value), span]);
  }
  if (model.asked && !model.asked.isInside) lines.push(["The request is longer than any that was measured."]);
  if (hasFront && data.measures[x].cost) lines.push(["On this front in", percent(likely.get(model) ?? 0), "of the draws"]);
  return lines;
}

function showTip(lines, px, py) {
  const table = document.createElement("table");
  lines.forEach((line, index) => {
    const tr = table.insertRow();
    line.forEach((text) => {
      const cell = tr.insertCell();
      cell.textContent = text;
      if (line.length === 1) cell.colSpan = 3;
      if (index === 0) cell.style.fontWeight = "600";
    });
  });
  tip.replaceChildren(table);
  tip.classList.add("on");
  const frame = svg.getBoundingClientRect(), chart = byId("chart").getBoundingClientRect();
  const ratio = frame.width / svg.viewBox.baseVal.width;
  const left = frame.left - chart.left + px * ratio + 14, top = frame.top - chart.top + py * ratio + 14;
  const flip = left + tip.offsetWidth > chart.width;
  tip.style.left = `${flip ? Math.max(0, left - tip.offsetWidth - 28) : left}px`;
  tip.style.top = `${Math.max(0, Math.min(top, chart.height - tip.offsetHeight))}px`;
}

function hideTip() {
  tip.classList.remove("on");
}
