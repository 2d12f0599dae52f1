// ---- tables -----------------------------------------------------------------------------------------------------------

const NONE = -Infinity;

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

function makeSortable(table) {
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

const matches = (name, text) => text.toLowerCase().split(/\s+/).every((word) => name.toLowerCase().includes(word));

// Hides the rows of tables whose name does not have all words of a search box, and says how many are left.
function filterRows(selector, box, said, what) {
  const found = new Set();
  let all = new Set();
  for (const heading of document.querySelectorAll(`${selector} tbody th`)) {
    const row = heading.parentElement;
    row.hidden = !matches(heading.textContent, box.value);
    all.add(heading.textContent);
    if (!row.hidden) found.add(heading.textContent);
  }
  said.textContent = box.value ? `${found.size} of ${all.size} ${what}` : "";
}

function filterModels() {
  filterRows("table.models", byId("filter"), byId("matches"), "models");
  for (const point of svg.querySelectorAll("[data-name]")) {
    point.classList.toggle("dim", !matches(point.dataset.search, byId("filter").value));
  }
}

function filterScenarios() {
  filterRows("table.scenarios", byId("search"), byId("found"), "scenarios");
}

// The numbers of the chart, best first.
function fillNumbers({ x, y, models, likely, front, rankX, rankY, hasFront }) {
  const table = byId("numbers").querySelector("table");
  const [labelX, labelY] = [data.measures[x].label, data.measures[y].label];
  const headings = ["Model", ...(rankY ? ["Rank"] : []), labelY, labelX, ...(rankX ? [`Rank by ${labelX.split(" (")[0].toLowerCase()}`] : []), ...(hasFront ? ["On the front"] : [])];
  const head = document.createElement("tr");
  for (const text of headings) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.className = text === "Model" ? "t" : "";
    cell.textContent = text;
    head.append(cell);
  }
  table.tHead.replaceChildren(head);
  const order = models.map((_, at) => at).sort((a, b) => parseFloat((rankY || rankX || [])[a]) - parseFloat((rankY || rankX || [])[b]) || 0);
  const rows = order.map((at) => {
    const model = models[at], row = document.createElement("tr"), name = document.createElement("th");
    name.scope = "row";
    name.textContent = model.name;
    row.append(name);
    const shareText = `${front.has(model) ? "● " : ""}${percent(likely.get(model) ?? 0)}`;
    for (const text of [...(rankY ? [rankY[at]] : []), withInterval(model.cell(y)), withInterval(model.cell(x)), ...(rankX ? [rankX[at]] : []), ...(hasFront ? [shareText] : [])]) {
      row.insertCell().textContent = text;
    }
    return row;
  });
  table.tBodies[0].replaceChildren(...rows);
  makeSortable(table);
  byId("numbers").classList.toggle("changed", isChanged());
}

// Every number of the models in the chart, as asked: a value and both ends of its interval a column.
function toCsv({ models }) {
  const keys = Object.keys(data.measures).filter((key) => models.some((model) => model.cell(key)[0] !== null));
  const quote = (text) => (/[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);
  const heading = (key) => `${data.measures[key].label}`;
  const head = ["Model", "Stack", "Evidence", "Scenario", ...keys.flatMap((key) => [heading(key), `${heading(key)}, low`, `${heading(key)}, high`])];
  const rows = models.map((model) => [model.name, model.stack.name, model.evidence, choices.scenario, ...keys.flatMap((key) => {
    const [value, low = null, high = null] = model.cell(key);
    return [value, low, high].map((number) => (number === null ? "" : String(number)));
  })]);
  return [head, ...rows].map((row) => row.map(quote).join(",")).join("\r\n") + "\r\n";
}

function download(name, url) {
  const link = document.createElement("a");
  link.download = name;
  link.href = url;
  link.click();
}

// The chart as an image of its own: styles of the page are written into the copy.
function toPng() {
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  const copy = svg.cloneNode(true), zoom = 2;
  const originals = [...svg.querySelectorAll("*")];
  [...copy.querySelectorAll("*")].forEach((node, at) => {
    const style = getComputedStyle(originals[at]);
    for (const name of ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "paint-order", "opacity", "font-weight"]) {
      node.setAttribute(name, style.getPropertyValue(name));
    }
  });
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("width", width * zoom);
  copy.setAttribute("height", height * zoom);
  copy.setAttribute("font-family", "sans-serif");
  copy.setAttribute("font-size", "12");
  const image = new Image();
  image.addEventListener("load", () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width * zoom, height * zoom];
    const context = canvas.getContext("2d");
    context.fillStyle = getComputedStyle(document.body).backgroundColor;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(image, 0, 0);
    download("tradeoff.png", canvas.toDataURL("image/png"));
  });
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
}
