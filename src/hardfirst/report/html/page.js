"use strict";

// Draws the charts, offers figures and tables as files, and makes tables sortable. Without it the page has all its text and
// tables.

const PANEL_WIDTH = 300;
const MARGIN = { l: 40, r: 12, t: 30, b: 30 };
const AXIS_NAME = 20; // the height of what stands below the last panels' tick labels
const PAPER = { width: 680, panel: 220, height: 700, font: 10 }; // what A4 and Letter have between their margins, and room
const SAVED_WIDTH = 1060; // of an image, whatever the screen
const PHONE = { width: 480, height: 0.78 }; // where panels are lower

const figures = parsed("figures");
const exported = parsed("exports"); // text by format
const sizes = parsed("sizes"); // those that notebooks use too; see figures.SIZES in Python
const darkScheme = matchMedia("(prefers-color-scheme: dark)");
const touch = matchMedia("(pointer: coarse)").matches;
const paper = document.body.appendChild(document.createElement("div"));
paper.className = "light"; // has the colours of the light scheme, whatever the page's
paper.hidden = true;

function parsed(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

// Charts

function colours(scheme) {
  const style = getComputedStyle(scheme);
  return (name) => style.getPropertyValue(name).trim();
}

function template(scheme) {
  const colour = colours(scheme);
  const axis = {
    automargin: true,
    gridcolor: colour("--rule"),
    linecolor: colour("--rule"),
    spikecolor: colour("--quiet"),
    spikedash: "solid",
    spikethickness: -1, // negative: without plotly.js's contrasting border
    tickfont: { color: colour("--quiet") },
    title: { font: { color: colour("--quiet"), size: 12 } },
    zeroline: false,
  };
  return {
    layout: {
      paper_bgcolor: "transparent",
      plot_bgcolor: "transparent",
      font: { color: colour("--ink"), family: getComputedStyle(document.body).fontFamily, size: 12 },
      hoverlabel: { bgcolor: colour("--tint"), bordercolor: colour("--rule"), font: { color: colour("--ink") } },
      modebar: { bgcolor: "transparent", color: colour("--quiet"), activecolor: colour("--ink") },
      xaxis: axis,
      yaxis: axis,
    },
  };
}

function layoutOf(figure, room, scheme, panel = PANEL_WIDTH, tallest = Infinity) {
  const each = figure.below ? 2 : 1; // panels of a cell, one below the other
  const columns = Math.max(1, Math.min(figure.panels / each, Math.floor(room / panel)));
  const rows = each * Math.ceil(figure.panels / each / columns);
  const gap = figure.below ? sizes.pair_gap : sizes.row_gap;
  const full = (room < PHONE.width ? PHONE.height : 1) * figure.height;
  const height = Math.min(full, Math.max(0.6 * figure.height, tallest / rows - gap));
  const below = MARGIN.b + (figure.x || figure.layout.xaxis?.title ? AXIS_NAME : 0);
  const layout = {
    ...structuredClone(figure.layout),
    template: template(scheme),
    width: Math.min(room, figure.width ?? room),
    height: rows * (height + gap) - gap + MARGIN.t + below,
    margin: { ...MARGIN, b: below },
    grid: { rows, columns, subplots: cells(figure.panels, each, rows, columns), xgap: sizes.column_gap, ygap: gap / (height + gap) },
    dragmode: touch ? false : "zoom", // a finger that drags scrolls the page
  };
  nameAxes(layout, figure, columns);
  return layout;
}

// Which axes stand in which cell of the grid: panels run from left to right, those of a pair one below the other.
function cells(panels, each, rows, columns) {
  const grid = Array.from({ length: rows }, () => Array(columns).fill(""));
  for (let panel = 0; panel < panels; panel++) {
    const place = Math.floor(panel / each);
    const number = panel ? panel + 1 : "";
    grid[each * Math.floor(place / columns) + (panel % each)][place % columns] = `x${number}y${number}`;
  }
  return grid;
}

// Axis names stand where there is room: below the last panel of each column, and left of the first column.
function nameAxes(layout, figure, columns) {
  const each = figure.below ? 2 : 1;
  for (let panel = 0; panel < figure.panels; panel++) {
    const [number, place, lowest] = [panel ? panel + 1 : "", Math.floor(panel / each), panel % each === each - 1];
    const [x, y] = [`xaxis${number}`, `yaxis${number}`];
    const last = lowest && place + columns >= figure.panels / each;
    const name = panel % each ? figure.below : figure.y;
    if (figure.x && last) layout[x] = { ...layout[x], title: { text: figure.x, standoff: 6 } };
    if (name && place % columns === 0) layout[y] = { ...layout[y], title: { text: name, standoff: 6 } };
  }
}

// Small enough for a sheet: a chart that is cut in two cannot be read.
function onPaper(figure) {
  const layout = layoutOf(figure, PAPER.width, paper, PAPER.panel, PAPER.height);
  layout.template.layout.font.size = PAPER.font;
  for (const note of layout.annotations ?? []) note.font.size = PAPER.font;
  return layout;
}

function onScreen(id, figure) {
  return layoutOf(figure, document.getElementById(id).clientWidth, document.documentElement);
}

// Without plotly.js's own buttons: one uploads the chart, and an element with role "img" must not contain buttons.
function draw(id, figure, layout) {
  const chart = document.getElementById(id);
  const reset = chart.parentElement.querySelector(".reset");
  const first = !chart.data;
  Plotly.react(chart, structuredClone(figure.data), layout, { displayModeBar: false });
  reset.hidden = true;
  if (first) chart.on("plotly_relayout", () => (reset.hidden = false));
}

// Those that can be seen: a chart in what is folded has no width yet.
function visible() {
  return Object.entries(figures).filter(([id]) => document.getElementById(id).clientWidth);
}

function drawAll(layoutFor = onScreen) {
  for (const [id, figure] of visible()) draw(id, figure, layoutFor(id, figure));
}

// One at a time, so that the page stays usable meanwhile, and at their final height, so that links lead where they should.
async function drawNew() {
  const fresh = visible().filter(([id]) => !document.getElementById(id).data);
  for (const [id, figure] of fresh) document.getElementById(id).style.minHeight = `${onScreen(id, figure).height}px`;
  for (const [id, figure] of fresh) {
    await new Promise((done) => setTimeout(done));
    const chart = document.getElementById(id);
    if (!chart.data && chart.clientWidth) draw(id, figure, onScreen(id, figure));
    chart.style.minHeight = "";
  }
}

// Images

function headingOf(chart) {
  return chart.getAttribute("aria-label");
}

function fileName(chart) {
  const part = chart.closest("main > details:has(> section)")?.querySelector("h2").textContent;
  return fileWords(document.title, part, headingOf(chart));
}

function fileWords(...names) {
  const words = names.filter(Boolean).join(" ").toLowerCase();
  return words.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 120);
}

// As on the page, but in light colours, and with the chart's heading and a legend in the image.
function saved(figure, heading) {
  const colour = colours(paper);
  const layout = layoutOf(figure, SAVED_WIDTH, paper);
  const names = figure.data.filter((trace) => trace.showlegend).map((trace) => trace.name);
  const length = names.reduce((sum, name) => sum + sizes.character * name.length + sizes.legend_entry, 0);
  const below = names.length ? sizes.legend_line * Math.ceil(length / layout.width) + 12 : 0;
  layout.margin.t += 36;
  layout.margin.b += below;
  layout.height += 36 + below;
  layout.paper_bgcolor = colour("--page");
  layout.title = { text: escaped(heading), x: 0, xref: "paper", y: 1, yref: "container", yanchor: "top", pad: { t: 14 } };
  layout.showlegend = names.length > 0;
  layout.legend = { orientation: "h", x: 0, yref: "container", y: 0, yanchor: "bottom" };
  return { data: structuredClone(figure.data), layout };
}

function escaped(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function offerImages(id, figure) {
  const chart = document.getElementById(id);
  const bar = document.createElement("div");
  bar.className = "downloads";
  for (const format of ["png", "svg"]) {
    const button = bar.appendChild(document.createElement("button"));
    button.type = "button";
    button.textContent = `Save as ${format.toUpperCase()}`;
    button.setAttribute("aria-label", `Save as ${format.toUpperCase()}: ${headingOf(chart)}`);
    button.addEventListener("click", () => saveImage(id, format));
  }
  chart.closest("figure").append(bar);
  offerReset(id, figure, bar);
}

function saveImage(id, format) {
  const chart = document.getElementById(id);
  const image = saved(figures[id], headingOf(chart));
  const { width, height } = image.layout;
  Plotly.downloadImage(image, { format, filename: fileName(chart), width, height, scale: format === "png" ? 2 : 1 });
}

function offerReset(id, figure, bar) {
  const button = bar.appendChild(document.createElement("button"));
  button.type = "button";
  button.className = "reset";
  button.textContent = "Reset zoom";
  button.setAttribute("aria-label", `Reset zoom: ${headingOf(document.getElementById(id))}`);
  button.hidden = true; // until there is one
  button.addEventListener("click", () => draw(id, figure, onScreen(id, figure)));
}

// The lines of a chart as a table, built when it is first opened: it may have thousands of rows.
function offerTable(id, figure) {
  const chart = document.getElementById(id);
  const details = chart.closest("figure").appendChild(document.createElement("details"));
  details.className = "numbers";
  const summary = details.appendChild(document.createElement("summary"));
  summary.textContent = `Numbers: ${headingOf(chart)}`;
  details.addEventListener("toggle", () => {
    if (details.childElementCount > 1) return;
    details.insertAdjacentHTML("beforeend", tableOf(figure));
    for (const part of details.querySelectorAll(".scroll, table")) part.setAttribute("aria-label", headingOf(chart));
    watchWidth(details);
  });
}

// Names and titles in a figure are HTML already.
function tableOf(figure) {
  const lines = figure.data.filter((trace) => trace.name);
  const names = [...new Set(lines.map((trace) => trace.name))];
  const titles = figure.layout.annotations;
  const rows = titles.flatMap((title, panel) => {
    const here = lines.filter((trace) => trace.xaxis === (panel ? `x${panel + 1}` : "x"));
    const name = figure.below && panel % 2 ? `${titles[panel - 1].text}, ${figure.below}` : title.text;
    const across = [...new Set(here.flatMap((trace) => trace.x))].sort((one, other) => one - other);
    return across.map((at) => {
      const values = names.map((name) => {
        const trace = here.find((one) => one.name === name);
        return trace?.y[trace.x.indexOf(at)]?.toFixed(2) ?? "–";
      });
      return `<tr><th scope="row">${name}</th>${[at, ...values].map((value) => `<td>${value}</td>`).join("")}</tr>`;
    });
  });
  const head = [figure.table, figure.x, ...names].map((name) => `<th scope="col">${name}</th>`).join("");
  const table = `<table><thead><tr>${head}</tr></thead><tbody>${rows.join("")}</tbody></table>`;
  return `<div class="scroll" role="group">${table}</div>`;
}

// Tables

// A cell with a number has it in data-value. In a column of numbers cells without one are missing, and come last.
function keyOf(cell, numeric) {
  if (numeric) return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  const text = cell.textContent.trim();
  return text === "" || text === "–" ? null : text;
}

function compareKeys(one, other) {
  return typeof one === "number" ? one - other : one.localeCompare(other, "en", { numeric: true });
}

function sortBy(table, column, direction) {
  const body = table.tBodies[0];
  const fixed = (row) => row.matches(".over-tasks, .baseline, .reference");
  const rows = [...body.rows].filter((row) => !fixed(row));
  const last = [...body.rows].filter((row) => fixed(row) && !row.matches(".baseline"));
  const numeric = rows.some((row) => row.cells[column].dataset.value !== undefined);
  const keys = new Map(rows.map((row) => [row, keyOf(row.cells[column], numeric)]));
  rows.sort((one, other) => {
    const [key, otherKey] = [keys.get(one), keys.get(other)];
    if (key === null || otherKey === null) return (key === null) - (otherKey === null);
    return direction * compareKeys(key, otherKey);
  });
  body.append(...rows, ...last);
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    const arrow = document.createElement("span");
    arrow.className = "arrow";
    arrow.ariaHidden = "true";
    button.insertBefore(arrow, button.querySelector("small"));
    head.append(button);
    button.addEventListener("click", () => {
      const rising = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      sortBy(table, column, rising ? 1 : -1);
    });
  });
}

function sortable(table) {
  const plain = table.tHead?.rows.length === 1 && table.tBodies.length === 1;
  return plain && table.tBodies[0].rows.length > 1 && !table.querySelector("[rowspan], [colspan]");
}

// The page

// Elements that scroll must be reachable with the keyboard; others are no tab stops.
const widths = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight + 1) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});

function watchWidth(part) {
  for (const element of part.querySelectorAll(".scroll, .key")) widths.observe(element);
}

function openAll() {
  for (const details of document.querySelectorAll("details:not(.numbers, .menu, [open])")) {
    details.open = true;
    details.dataset.opened = "";
  }
}

function closeAgain() {
  for (const details of document.querySelectorAll("details[data-opened]")) {
    details.open = false;
    delete details.dataset.opened;
  }
}

// A link to a section that is folded opens it, and all that it is in.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let part = target; part; part = part.parentElement) if (part.matches("details")) part.open = true;
  target?.scrollIntoView();
}

// The bar marks the section that the top of the screen is in.
function markSection() {
  const links = [...document.querySelectorAll(".bar nav a")];
  const parts = links.map((link) => document.getElementById(link.hash.slice(1)));
  const here = parts.findLastIndex((part) => part.getBoundingClientRect().top < innerHeight / 3);
  links.forEach((link, index) => {
    if (index === here) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  });
}

function offerCopies() {
  for (const box of document.querySelectorAll(".command")) {
    const button = box.appendChild(document.createElement("button"));
    button.type = "button";
    button.textContent = "Copy";
    button.setAttribute("aria-label", box.dataset.what ? `Copy: ${box.dataset.what}` : "Copy the command");
    button.addEventListener("click", async () => {
      const code = box.querySelector("code");
      getSelection().selectAllChildren(code); // to be copied by hand where the browser does not let a page do it
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
      }
      setTimeout(() => (button.textContent = "Copy"), 2000);
    });
  }
}

// The menu of files

function saveText(format) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([exported[format]], { type: "text/plain;charset=utf-8" }));
  link.download = `${fileWords(document.title)}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href));
}

function offerMenu() {
  const menu = document.getElementById("export-menu");
  const first = Object.keys(figures)[0];
  for (const button of menu.querySelectorAll("[data-image]")) {
    if (!first) button.parentElement.remove();
    button.addEventListener("click", () => saveImage(first, button.dataset.image));
  }
  for (const button of menu.querySelectorAll("[data-export]")) {
    button.addEventListener("click", () => saveText(button.dataset.export));
  }
  menu.addEventListener("click", ({ target }) => target.matches("button") && (menu.open = false));
  menu.addEventListener("keydown", ({ key }) => {
    if (key !== "Escape") return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  addEventListener("click", ({ target }) => menu.contains(target) || (menu.open = false));
  menu.hidden = !menu.querySelector("button");
}

for (const table of document.querySelectorAll("table")) if (sortable(table)) makeSortable(table);
for (const [id, figure] of Object.entries(figures)) {
  offerImages(id, figure);
  if (figure.table) offerTable(id, figure);
}
watchWidth(document);
offerCopies();
offerMenu();
for (const details of document.querySelectorAll("details")) details.addEventListener("toggle", drawNew);
addEventListener("hashchange", openTarget);
for (const link of document.querySelectorAll("a[href^='#']")) {
  link.addEventListener("click", () => link.hash === location.hash && openTarget()); // again, after it was closed
}
addEventListener("scroll", markSection, { passive: true });
markSection();
if (location.hash) openTarget();

let drawnWidth = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === drawnWidth) return; // a phone's address bar changes the height alone
  drawnWidth = innerWidth;
  drawAll();
});
darkScheme.addEventListener("change", () => drawAll());
addEventListener("beforeprint", () => {
  openAll();
  drawAll((_, figure) => onPaper(figure));
});
addEventListener("afterprint", () => {
  closeAgain();
  drawAll();
});
drawNew();
