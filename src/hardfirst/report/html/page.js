"use strict";

// Draws the charts, with buttons to save them, and makes tables sortable. Without it the page has all its text and tables.

const PANEL_WIDTH = 300;
const MARGIN = { l: 40, r: 12, t: 30, b: 30 };
const AXIS_NAME = 20; // the height of what stands below the last panels' tick labels
const PAPER = { width: 680, panel: 220, height: 700, font: 10 }; // what A4 and Letter have between their margins, and room
const SAVED_WIDTH = 1060; // of an image, whatever the screen

const figures = parsed("figures");
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
  const columns = Math.max(1, Math.min(figure.panels, Math.floor(room / panel)));
  const rows = Math.ceil(figure.panels / columns);
  const height = Math.min(figure.height, Math.max(0.6 * figure.height, tallest / rows - sizes.row_gap));
  const below = MARGIN.b + (figure.x ? AXIS_NAME : 0);
  const layout = {
    ...structuredClone(figure.layout),
    template: template(scheme),
    width: Math.min(room, figure.width ?? room),
    height: rows * (height + sizes.row_gap) - sizes.row_gap + MARGIN.t + below,
    margin: { ...MARGIN, b: below },
    grid: { rows, columns, pattern: "independent", xgap: sizes.column_gap, ygap: sizes.row_gap / (height + sizes.row_gap) },
    dragmode: touch ? false : "zoom", // a finger that drags scrolls the page
  };
  nameAxes(layout, figure, columns);
  return layout;
}

// Axis names stand where there is room: below the last panel of each column, and left of the first column.
function nameAxes(layout, figure, columns) {
  const lines = { showticklabels: true, tickvals: figure.labels?.map((_, line) => -line), ticktext: figure.labels };
  for (let panel = 0; panel < figure.panels; panel++) {
    const number = panel ? panel + 1 : "";
    const [x, y] = [`xaxis${number}`, `yaxis${number}`];
    if (figure.x && panel + columns >= figure.panels) layout[x] = { ...layout[x], title: { text: figure.x, standoff: 6 } };
    if (panel % columns) continue;
    if (figure.y) layout[y] = { ...layout[y], title: { text: figure.y, standoff: 6 } };
    if (figure.labels) layout[y] = { ...layout[y], ...lines };
  }
}

// Small enough for a sheet: a chart that is cut in two cannot be read.
function onPaper(figure) {
  const layout = layoutOf(figure, PAPER.width, paper, PAPER.panel, PAPER.height);
  layout.template.layout.font.size = PAPER.font;
  for (const title of layout.annotations ?? []) title.font.size = PAPER.font;
  return layout;
}

function onScreen(id, figure) {
  return layoutOf(figure, document.getElementById(id).clientWidth, document.documentElement);
}

// Without plotly.js's own buttons: one uploads the chart, and an element with role "img" must not contain buttons.
function draw(id, figure, layout) {
  const chart = document.getElementById(id);
  const reset = chart.nextElementSibling.querySelector(".reset");
  const first = !chart.data;
  Plotly.react(chart, structuredClone(figure.data), layout, { displayModeBar: false });
  reset.hidden = true;
  if (first) chart.on("plotly_relayout", () => (reset.hidden = false));
}

function drawAll(layoutFor = onScreen) {
  for (const [id, figure] of Object.entries(figures)) draw(id, figure, layoutFor(id, figure));
}

// One at a time, so that the page stays usable meanwhile, and at their final height, so that links lead where they should.
async function drawFirst() {
  for (const [id, figure] of Object.entries(figures)) {
    document.getElementById(id).style.minHeight = `${onScreen(id, figure).height}px`;
  }
  for (const [id, figure] of Object.entries(figures)) {
    await new Promise((done) => setTimeout(done));
    const chart = document.getElementById(id);
    if (!chart.data) draw(id, figure, onScreen(id, figure));
    chart.style.minHeight = "";
  }
}

// Images

function headingOf(chart) {
  return chart.getAttribute("aria-label") ?? chart.closest("section").querySelector("h2, h3, h4").textContent;
}

function fileName(chart) {
  const part = chart.closest("main > section:has(> section)")?.querySelector("h2").textContent;
  const words = [document.title, part, headingOf(chart)].filter(Boolean).join(" ").toLowerCase();
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
    button.addEventListener("click", () => {
      const image = saved(figure, headingOf(chart));
      const { width, height } = image.layout;
      Plotly.downloadImage(image, { format, filename: fileName(chart), width, height, scale: format === "png" ? 2 : 1 });
    });
  }
  chart.after(bar);
  offerReset(id, figure, bar);
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
  const details = document.createElement("details");
  details.className = "numbers";
  const summary = details.appendChild(document.createElement("summary"));
  summary.textContent = `Numbers: ${headingOf(chart)}`;
  details.addEventListener("toggle", () => {
    if (details.childElementCount > 1) return;
    details.insertAdjacentHTML("beforeend", tableOf(figure));
    for (const part of details.querySelectorAll(".scroll, table")) part.setAttribute("aria-label", headingOf(chart));
    watchWidth(details);
  });
  chart.nextElementSibling.after(details);
}

// Names and titles in a figure are HTML already.
function tableOf(figure) {
  const lines = figure.data.filter((trace) => trace.name);
  const names = [...new Set(lines.map((trace) => trace.name))];
  const rows = figure.layout.annotations.flatMap((title, panel) => {
    const here = lines.filter((trace) => trace.xaxis === (panel ? `x${panel + 1}` : "x"));
    const across = [...new Set(here.flatMap((trace) => trace.x))].sort((one, other) => one - other);
    return across.map((at) => {
      const values = names.map((name) => {
        const trace = here.find((one) => one.name === name);
        return trace?.y[trace.x.indexOf(at)]?.toFixed(2) ?? "–";
      });
      return `<tr><th scope="row">${title.text}</th>${[at, ...values].map((value) => `<td>${value}</td>`).join("")}</tr>`;
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
  const rows = [...body.rows].filter((row) => !row.classList.contains("over-tasks"));
  const last = [...body.rows].filter((row) => row.classList.contains("over-tasks"));
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
  for (const details of document.querySelectorAll("details:not(.numbers, [open])")) {
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

for (const table of document.querySelectorAll("table")) if (sortable(table)) makeSortable(table);
for (const [id, figure] of Object.entries(figures)) {
  offerImages(id, figure);
  if (figure.table) offerTable(id, figure);
}
watchWidth(document);

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
drawFirst();
