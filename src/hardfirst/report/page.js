"use strict";

// Draws the small multiples: as many panels side by side as fit, in the colours of the page's light or dark scheme.

const PANEL_WIDTH = 300;
const COLUMN_GAP = 0.16; // of a panel's width
const ROW_GAP = 62; // pixels, for the upper panel's tick labels and the lower one's title
const MARGIN = { l: 40, r: 12, t: 30, b: 30 };

const figures = JSON.parse(document.getElementById("figures").textContent);
const darkScheme = matchMedia("(prefers-color-scheme: dark)");
const touch = matchMedia("(pointer: coarse)").matches;

function template() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = {
    automargin: true,
    gridcolor: colour("--rule"),
    linecolor: colour("--rule"),
    spikecolor: colour("--quiet"),
    spikedash: "solid",
    spikethickness: -1, // negative: without plotly.js's contrasting border
    tickfont: { color: colour("--quiet") },
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

function draw(id, figure) {
  const chart = document.getElementById(id);
  const columns = Math.max(1, Math.min(figure.panels, Math.floor(chart.clientWidth / PANEL_WIDTH)));
  const rows = Math.ceil(figure.panels / columns);
  const layout = {
    ...structuredClone(figure.layout),
    template: template(),
    width: chart.clientWidth,
    height: rows * (figure.height + ROW_GAP) - ROW_GAP + MARGIN.t + MARGIN.b,
    margin: MARGIN,
    grid: { rows, columns, pattern: "independent", xgap: COLUMN_GAP, ygap: ROW_GAP / (figure.height + ROW_GAP) },
    dragmode: touch ? false : "zoom", // a finger that drags scrolls the page
  };
  // naming the buttons keeps out plotly.js's own, of which one uploads the chart
  const config = { displaylogo: false, modeBarButtons: [["toImage", "resetScale2d"]] };
  Plotly.react(chart, structuredClone(figure.data), layout, config);
}

function drawAll() {
  for (const [id, figure] of Object.entries(figures)) draw(id, figure);
}

let drawnWidth = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === drawnWidth) return; // a phone's address bar changes the height alone
  drawnWidth = innerWidth;
  drawAll();
});
darkScheme.addEventListener("change", drawAll);
drawAll();
