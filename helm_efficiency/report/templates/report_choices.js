// ---- choices: controls, the link that keeps them, and the start --------------------------------------------------------

const EVERY = "*";
const DEFAULTS = {
  stack: data.stacks.length ? data.stacks[0].name : "", scenario: data.parts.length ? data.parts[0].scenario : "",
  load: "", x: data.axes[0], y: data.heights[0], logx: "", logy: "", prompt: "", output: "", a: "", b: "", theme: "",
};
const choices = { ...DEFAULTS };
for (const stack of data.stacks) DEFAULTS[`price.${stack.name}`] = choices[`price.${stack.name}`] = "";

function readLink() {
  const asked = new URLSearchParams(location.hash.slice(1));
  for (const key of Object.keys(DEFAULTS)) choices[key] = asked.get(key) ?? DEFAULTS[key];
}

function writeLink() {
  const kept = Object.keys(DEFAULTS).filter((key) => choices[key] !== DEFAULTS[key]).map((key) => [key, choices[key]]);
  const hash = new URLSearchParams(kept).toString();
  if (hash || location.hash.includes("=")) history.replaceState(null, "", `#${hash}`);
  byId("link").href = `#${hash}`;
}

// The measure of an axis; at load, its counterpart on a busy server.
function measureChosen(axis) {
  const { busy } = data.measures[choices[axis]];
  return choices.load && !lengths() && busy ? busy : choices[axis];
}

function fillSelect(select, entries) {
  select.replaceChildren(...entries.map(([value, text]) => new Option(text, value, false, false)));
}

// Shows a choice in its control; one that the control does not offer, as of an old link, becomes the default.
function showChoice(key) {
  const control = byId(key);
  if (!control || key === "a" || key === "b") return; // of these, the models on view are offered
  control.value = choices[key];
  if (control.value !== choices[key]) control.value = choices[key] = DEFAULTS[key];
}

function offer() {
  const everyStack = data.stacks.length > 1 ? [[EVERY, "every stack"]] : [];
  fillSelect(byId("stack"), [...data.stacks.map(({ name }) => [name, name || "none"]), ...everyStack]);
  const scenarios = [...new Set(data.parts.map((part) => part.scenario))];
  const families = scenarios.filter((name) => name !== data.all).map(familyOf);
  const groups = [...new Set(families)].filter((name) => families.filter((other) => other === name).length > 1);
  const means = groups.length && new Set(families).size > 1 ? groups.map((name) => [GROUP + name, GROUP + name]) : [];
  const titles = scenarios.map((name) => [name, data.titles[name] || name]);
  fillSelect(byId("scenario"), [...titles.slice(0, 1), ...means, ...titles.slice(1)]);
  fillSelect(byId("x"), data.axes.map((key) => [key, data.measures[key].label]));
  fillSelect(byId("y"), data.heights.map((key) => [key, data.measures[key].label]));
  byId("load").closest("label").hidden = !data.axes.some((key) => data.measures[key].busy);
  byId("stack").closest("label").hidden = data.stacks.length < 2;
  for (const name of ["prompt", "output"]) byId(name).closest("label").hidden = !data.fits.length;
  const prices = data.stacks.filter(() => Object.values(data.measures).some((measure) => measure.priced));
  byId("prices").replaceChildren(...prices.map((stack) => {
    const label = document.createElement("label"), box = document.createElement("input");
    const of = data.stacks.length > 1 ? ` of ${stack.name}` : "";
    Object.assign(box, { type: "number", min: 0, step: "any", id: `price.${stack.name}`, placeholder: stack.price ?? "" });
    label.dataset.stack = stack.name;
    label.append(`$ an accelerator-hour${of} `, box);
    return label;
  }));
}

function offerPairs(models) {
  const names = models.map((model) => model.name);
  for (const [key, at] of [["a", 0], ["b", 1]]) {
    const select = byId(key);
    if ([...select.options].map((option) => option.value).join("\n") !== names.join("\n")) fillSelect(select, names.map((name) => [name, name]));
    select.value = names.includes(choices[key]) ? choices[key] : names[Math.min(at, names.length - 1)] ?? "";
  }
  byId("pair").hidden = names.length < 2 || !models.some((model) => model.draws(measureChosen("y")));
}

// In how many draws the one model is better than the other, on each axis.
function comparePair({ x, y, models }) {
  const [a, b] = ["a", "b"].map((key) => models.find((model) => model.name === byId(key).value));
  const said = byId("odds");
  said.replaceChildren();
  if (!a || !b || a === b) return;
  for (const key of new Set([y, x])) {
    const measure = data.measures[key], pair = [a.draws(key), b.draws(key)];
    if (!measure.better || pair.includes(null)) continue;
    const item = document.createElement("li"), share = document.createElement("strong");
    share.textContent = percent(shareBetter(...pair, measure.better));
    const way = measure.better > 0 ? "higher" : "lower";
    item.append(share, ` that ${a.label} has the ${way} ${measure.label.replace(/ \(.*/, "").toLowerCase()} (${format(a.value(key))} against ${format(b.value(key))})`);
    said.append(item);
  }
}

function sayWhatWasAsked(shown) {
  const said = [], asked = lengths();
  if (asked) said.push(`Times are those of one request of ${asked.p.toLocaleString("en")} prompt and ${asked.o.toLocaleString("en")} output tokens, alone; scores are those of the runs.`);
  if (data.stacks.some((stack) => priceOf(stack) >= 0)) said.push("GPU costs are at the prices typed.");
  if (shown.missing) said.push(`${shown.missing} without both numbers ${shown.missing === 1 ? "is" : "are"} not shown.`);
  byId("asked").textContent = said.join(" ");
}

let current;

function draw() {
  const stacks = choices.stack === EVERY ? data.stacks.map((stack) => stack.name) : [choices.stack];
  for (const label of byId("prices").children) label.hidden = !stacks.includes(label.dataset.stack);
  byId("load").disabled = lengths() !== null;
  document.documentElement.style.colorScheme = choices.theme || "light dark";
  if (!data.parts.length) return;
  current = view();
  drawChart(current);
  fillNumbers(current);
  offerPairs(current.models);
  comparePair(current);
  sayWhatWasAsked(current);
  filterModels();
}

function start() {
  for (const table of document.querySelectorAll("table.sortable")) makeSortable(table);
  byId("filter").addEventListener("input", filterModels);
  if (byId("search")) byId("search").addEventListener("input", filterScenarios);
  for (const hidden of document.querySelectorAll(".needs-script")) hidden.hidden = false;
  readLink();
  if (data.parts.length) {
    offer();
    byId("chart").hidden = false;
    byId("figure").hidden = true;
    byId("numbers").open = data.names.length <= 20;
    drawLegend();
  }
  for (const key of Object.keys(DEFAULTS)) {
    showChoice(key);
    for (const event of ["input", "change"]) byId(key)?.addEventListener(event, () => {
      if (choices[key] === byId(key).value) return;
      choices[key] = byId(key).value;
      writeLink();
      draw();
    });
  }
  byId("csv").addEventListener("click", () => download("tradeoff.csv", `data:text/csv;charset=utf-8,${encodeURIComponent(toCsv(current))}`));
  byId("png").addEventListener("click", toPng);
  byId("reset").addEventListener("click", () => {
    Object.assign(choices, DEFAULTS, { theme: choices.theme });
    Object.keys(DEFAULTS).forEach(showChoice);
    writeLink();
    draw();
  });
  window.addEventListener("hashchange", () => {
    if (!location.hash.includes("=")) return; // a link to a section
    readLink();
    Object.keys(DEFAULTS).forEach(showChoice);
    draw();
  });
  window.addEventListener("resize", draw);
  draw();
}

start();
