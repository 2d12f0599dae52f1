"use strict";
// Sorts and filters the tables and draws the trade-off plot. Everything it shows is in the page; it asks for nothing.
// Text is set with textContent only, so no name can become markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const NONE = -Infinity;

  // ---- tables -------------------------------------------------------------------------------------------------

  function sortKey(text) {
    if (text === "" || text.startsWith("—")) return NONE; // always last
    if (text.startsWith("∞")) return Infinity;
    if (text.startsWith("●")) return 1000 + parseFloat(text.slice(1)); // on the front, before those that are not
    const number = parseFloat(text.replace(/,/g, ""));
    return Number.isNaN(number) ? text : number;
  }

  function sortBy(table, column, descending) {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [sortKey(row.cells[column].textContent.trim()), row]);
    rows.sort(([a], [b]) => {
      if (a === NONE || b === NONE) return (a === NONE) - (b === NONE);
      const order = typeof a === "string" || typeof b === "string" ? String(a).localeCompare(String(b)) : a - b;
      return descending ? -order : order;
    });
    body.append(...rows.map(([, row]) => row));
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = heading.textContent;
      button.addEventListener("click", () => {
        const descending = heading.getAttribute("aria-sort") === "ascending";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
        sortBy(table, column, descending);
      });
      heading.replaceChildren(button);
    });
  }

  function matches(name) {
    const words = byId("filter").value.toLowerCase().split(/\s+/);
    return words.every((word) => name.toLowerCase().includes(word));
  }

  function filter() {
    let shown = new Set();
    for (const row of document.querySelectorAll("table.sortable tbody tr")) {
      const name = row.cells[1].textContent;
      row.hidden = !matches(name);
      if (!row.hidden) shown.add(name);
    }
    byId("matches").textContent = byId("filter").value ? `${shown.size} of ${data.names.length} models` : "";
    for (const point of document.querySelectorAll("#scatter [data-name]")) {
      point.classList.toggle("dim", !matches(point.dataset.name));
    }
  }

  byId("filter").addEventListener("input", filter);
  document.querySelector("main > .controls").hidden = false;

  function search() {
    const words = byId("search").value.toLowerCase().split(/\s+/);
    const found = new Set();
    for (const row of document.querySelectorAll("table.scenarios tbody tr")) {
      const name = row.cells[0].textContent;
      row.hidden = !words.every((word) => name.toLowerCase().includes(word));
      if (!row.hidden) found.add(name);
    }
    byId("found").textContent = byId("search").value ? `${found.size} found` : "";
  }

  if (byId("search")) {
    byId("search").addEventListener("input", search);
    byId("search").closest(".controls").hidden = false;
  }

  // ---- plot ---------------------------------------------------------------------------------------------------

  if (!data.parts.length) return;
  const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#8C8C8C"];
  const WIDEST = 880, HEIGHT = 480;
  const BOX = { left: 64, right: WIDEST - 20, top: 14, bottom: HEIGHT - 50 };
  const MOST_NAMES = 40;
  const svg = byId("scatter");
  const tip = byId("tip");
  const owner = (name) => (name.includes("/") ? name.split("/")[0] : "");
  const owners = [...new Set(data.names.map(owner))].sort();
  // Each of the first six providers has a colour of its own; all others share the last one, grey.
  const colourOf = (provider) => COLOURS[Math.min(owners.indexOf(provider), COLOURS.length - 1)];

  function element(tag, attributes, text) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    return node;
  }

  function format(value) {
    if (value === null) return "—";
    if (value === "inf") return "∞";
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-4 || size >= 1e6)) return value.toExponential(2);
    return value.toLocaleString("en", size >= 1000 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 });
  }

  function options(select, entries, chosen) {
    for (const [value, label] of entries) {
      const option = document.createElement("option");
      option.value = value;
      option.textContent = label;
      option.selected = value === chosen;
      select.append(option);
    }
    select.addEventListener("change", draw);
  }

  // From values, with room for their intervals, to pixels; logarithmic where the values span about a decade or more.
  function scale(cells, low, high) {
    const values = cells.map(([value]) => value);
    const log = Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) >= 8;
    const all = cells.flat().filter((value) => typeof value === "number" && (!log || value > 0));
    const to = log ? Math.log10 : (value) => value;
    const least = to(Math.min(...all)), most = to(Math.max(...all));
    const margin = (most - least) * 0.05 || 0.1 * Math.abs(most) || 0.5;
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
    return ticks;
  }

  function linearTicks(start, end, room) {
    const rough = (end - start) / Math.min(6, room), power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
    const ticks = [];
    for (let index = Math.ceil(start / step); index * step <= end; index++) ticks.push(Number((index * step).toPrecision(10)));
    return ticks;
  }

  const finite = (cell) => cell && typeof cell[0] === "number";

  function draw() {
    const part = data.parts[Number(byId("part").value)];
    const x = byId("x").value, y = byId("y").value;
    const xs = part.columns[x] || [], ys = part.columns[y] || [];
    const models = part.models.map((_, row) => row).filter((row) => finite(xs[row]) && finite(ys[row]));
    const width = Math.max(300, Math.min(WIDEST, byId("chart").clientWidth));
    BOX.right = width - 20; // as many units as pixels, so that text keeps its size on a phone
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    svg.replaceChildren();
    hide();
    if (!models.length) {
      svg.append(element("text", { x: width / 2, y: 220, "text-anchor": "middle" }, "No model has both numbers."));
      return;
    }
    const across = scale(models.map((row) => xs[row]), BOX.left, BOX.right);
    const up = scale(models.map((row) => ys[row]), BOX.bottom, BOX.top);
    drawAxes(across, up, data.measures[x], data.measures[y]);
    const clampX = (value) => Math.min(Math.max(across.at(value), BOX.left), BOX.right) || BOX.left;
    const clampY = (value) => Math.min(Math.max(up.at(value), BOX.top), BOX.bottom) || BOX.bottom;
    const likely = (part.front[x] || {}).likely || [];
    const on = new Set((part.front[x] || {}).on || []);
    const names = element("g", {}); // below the bars, so that the halo of a name never covers an interval
    svg.append(names);
    const bars = [];
    for (const row of models) {
      const [vx, lx, hx] = xs[row], [vy, ly, hy] = ys[row];
      const px = across.at(vx), py = up.at(vy);
      if (typeof lx === "number" && typeof hx === "number") bars.push([clampX(lx), py, clampX(hx), py]);
      if (typeof ly === "number" && typeof hy === "number") bars.push([px, clampY(hy), px, clampY(ly)]);
    }
    for (const [x1, y1, x2, y2] of bars) svg.append(element("line", { class: "bar", x1, y1, x2, y2 }));
    const front = models.filter((row) => on.has(row)).sort((a, b) => xs[a][0] - xs[b][0] || ys[a][0] - ys[b][0]);
    const lines = [];
    if (y === "score" && front.length) {
      const path = front.map((row, index) => {
        const px = across.at(xs[row][0]), py = up.at(ys[row][0]);
        if (!index) return `M${px},${py}`;
        const before = [across.at(xs[front[index - 1]][0]), up.at(ys[front[index - 1]][0])];
        lines.push([before[0], before[1] - 1, px, before[1] + 1], [px - 1, py, px + 1, before[1]]);
        return `H${px}V${py}`;
      });
      svg.append(element("path", { class: "front", d: path.join("") }));
    }
    const order = models.slice().sort((a, b) => xs[a][0] - xs[b][0]);
    order.forEach((row, index) => drawPoint(part, row, across.at(xs[row][0]), up.at(ys[row][0]), likely[row] || 0, index === 0));
    drawNames(names, part, models, likely, lines, bars, (row) => [across.at(xs[row][0]), up.at(ys[row][0])]);
    filter();
  }

  function drawAxes(across, up, x, y) {
    for (const value of across.ticks) {
      const at = across.at(value);
      svg.append(element("line", { class: "grid", x1: at, x2: at, y1: BOX.top, y2: BOX.bottom }));
      svg.append(element("text", { class: "muted", x: at, y: BOX.bottom + 17, "text-anchor": "middle" }, format(value)));
    }
    for (const value of up.ticks) {
      const at = up.at(value);
      svg.append(element("line", { class: "grid", x1: BOX.left, x2: BOX.right, y1: at, y2: at }));
      svg.append(element("text", { class: "muted", x: BOX.left - 8, y: at + 4, "text-anchor": "end" }, format(value)));
    }
    const middle = (BOX.top + BOX.bottom) / 2;
    svg.append(element("text", { x: (BOX.left + BOX.right) / 2, y: 468, "text-anchor": "middle" }, x.label));
    svg.append(element("text", { x: 14, y: middle, "text-anchor": "middle", transform: `rotate(-90 14 ${middle})` }, y.label));
  }

  function drawPoint(part, row, px, py, likely, first) {
    const name = data.names[part.models[row]];
    const colour = colourOf(owner(name));
    const point = element("circle", {
      class: "point", cx: px, cy: py, r: 6, stroke: colour, fill: colour, "fill-opacity": likely, tabindex: first ? 0 : -1,
      role: "img", "aria-label": describe(part, row).map((line) => line.filter(Boolean).join(" ")).join("; "),
    });
    point.dataset.name = name;
    point.addEventListener("mouseenter", () => show(part, row, px, py));
    point.addEventListener("mouseleave", hide);
    point.addEventListener("focus", () => show(part, row, px, py));
    point.addEventListener("blur", hide);
    svg.append(point);
  }

  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const points = [...svg.querySelectorAll(".point:not(.dim)")];
    const at = points.indexOf(document.activeElement);
    if (event.key === "Escape") hide();
    if (!step || at < 0) return;
    event.preventDefault();
    const next = points[(at + step + points.length) % points.length];
    points[at].setAttribute("tabindex", -1);
    next.setAttribute("tabindex", 0);
    next.focus();
  });

  function drawNames(group, part, models, likely, lines, bars, place) {
    const taken = models.map((row) => { const [px, py] = place(row); return [px - 7, py - 7, px + 7, py + 7]; }).concat(lines);
    const first = models.slice().sort((a, b) => (likely[b] || 0) - (likely[a] || 0)).slice(0, MOST_NAMES);
    for (const row of first) {
      const name = data.names[part.models[row]], short = data.labels[part.models[row]];
      const [px, py] = place(row);
      const text = element("text", { class: "halo", x: px, y: py }, short);
      text.dataset.name = name;
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
    if (owners.length < 2) return;
    const own = owners.slice(0, COLOURS.length - 1), rest = owners.length - own.length;
    const entries = own.map((provider) => [colourOf(provider), provider || "no provider"]);
    if (rest) entries.push([COLOURS[COLOURS.length - 1], rest === 1 ? owners[owners.length - 1] : `${rest} others`]);
    for (const [colour, text] of entries) {
      const item = document.createElement("li"), swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.borderColor = colour;
      item.append(swatch, text);
      byId("providers").append(item);
    }
  }

  function describe(part, row) {
    const lines = [[data.names[part.models[row]]], [data.evidence[part.evidence[row]]]];
    for (const [key, measure] of Object.entries(data.measures)) {
      const cell = (part.columns[key] || [])[row];
      if (!cell || cell[0] === null) continue;
      const [value, low, high] = cell;
      const span = low === null || low === undefined || low === high ? "" : `${format(low)} – ${format(high)}`;
      lines.push([measure.label, format(value), span]);
    }
    const front = part.front[byId("x").value];
    if (front) lines.push(["On this front in", `${Math.round(100 * (front.likely[row] || 0))}%`, "of the draws"]);
    return lines;
  }

  function show(part, row, px, py) {
    const table = document.createElement("table");
    describe(part, row).forEach((line, index) => {
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

  function hide() {
    tip.classList.remove("on");
  }

  options(byId("part"), data.parts.map((part, index) => [String(index), part.label]), "0");
  options(byId("x"), data.axes.map((key) => [key, data.measures[key].label]), data.axes[0]);
  options(byId("y"), data.heights.map((key) => [key, data.measures[key].label]), data.heights[0]);
  byId("chart").hidden = false;
  byId("figure").hidden = true;
  drawLegend();
  draw();
  window.addEventListener("resize", draw);
})();
