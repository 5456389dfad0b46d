// The figure of idea.md: a task's weight by its KPI, and an example's loss by its probability.
"use strict";

const FLOOR = 1e-3; // DTP's own default
const WIDTH = 300, HEIGHT = 200, LEFT = 34, BOTTOM = 30, TOP = 10, RIGHT = 8;
const focal = (p, gamma) => -Math.pow(1 - p, gamma) * Math.log(p);
const clamp = (kpi) => Math.min(Math.max(kpi, FLOOR), 1 - FLOOR);

/** The weights of tasks with these KPIs: scaled so that they sum to the number of tasks. */
function weights(kpis, gamma) {
  const raw = kpis.map((kpi) => focal(clamp(kpi), gamma));
  const total = raw.reduce((sum, weight) => sum + weight);
  return raw.map((weight) => (weight * kpis.length) / total);
}

function element(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** A plot over [0, 1] × [0, top]: axes with their names, and a function from data to pixels. */
function plot(svg, top, x, y) {
  const at = (u, v) => [LEFT + u * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - (Math.min(v, top) / top) * (HEIGHT - BOTTOM - TOP)];
  svg.replaceChildren(
    element("path", { class: "axis", d: `M${at(0, top)} L${at(0, 0)} L${at(1, 0)}` }),
    element("text", { x: WIDTH / 2, y: HEIGHT - 2, "text-anchor": "middle" }, x),
    element("text", { x: LEFT + 6, y: TOP + 4 }, y),
  );
  for (const tick of [0, 0.5, 1]) {
    svg.append(element("text", { x: at(tick, 0)[0], y: HEIGHT - BOTTOM + 13, "text-anchor": "middle" }, tick));
    svg.append(element("text", { x: LEFT - 5, y: at(0, tick * top)[1] + 4, "text-anchor": "end" }, tick * top));
  }
  return at;
}

function curve(at, kind, value) {
  const points = Array.from({ length: 199 }, (_, i) => at((i + 1) / 200, value((i + 1) / 200)));
  return element("path", { class: kind, d: "M" + points.join(" L") });
}

function value(root, name) {
  const input = root.querySelector(`[name=${name}]`);
  input.parentElement.querySelector("output").textContent = Number(input.value).toFixed(2);
  return Number(input.value);
}

function drawTasks(root) {
  const gamma = value(root, "gamma");
  const kpis = ["a", "b", "c"].map((task) => value(root, task));
  const svg = root.querySelector("svg");
  const at = plot(svg, 4, "average KPI κ̄", "weight before scaling");
  svg.append(curve(at, "curve", (kpi) => focal(kpi, gamma)));
  kpis.forEach((kpi, i) => {
    const [x, y] = at(kpi, focal(clamp(kpi), gamma));
    svg.append(element("circle", { class: "point", cx: x, cy: y, r: 5 }), element("text", { x: x + 7, y: y - 5 }, "ABC"[i]));
  });
  const shares = weights(kpis, gamma).map((weight, i) => `${"ABC"[i]} ${weight.toFixed(2)}`);
  root.querySelector(".result").textContent = `Weights: ${shares.join(", ")}. They sum to 3, the number of tasks.`;
}

function drawExample(root) {
  const gamma = value(root, "focus");
  const p = value(root, "p");
  const svg = root.querySelector("svg");
  const at = plot(svg, 4, "probability of the right class p", "loss");
  svg.append(curve(at, "plain", (p) => focal(p, 0)), curve(at, "curve", (p) => focal(p, gamma)));
  const [x, y] = at(p, focal(p, gamma));
  svg.append(element("circle", { class: "point", cx: x, cy: y, r: 5 }));
  const share = Math.pow(1 - p, gamma);
  root.querySelector(".result").textContent =
    `Cross-entropy ${focal(p, 0).toFixed(3)} (dashed), focal loss ${focal(p, gamma).toFixed(3)}: ${(100 * share).toFixed(1)}% of it is left.`;
}

for (const [id, draw] of [["dtp-tasks", drawTasks], ["dtp-example", drawExample]]) {
  const root = document.getElementById(id);
  root.addEventListener("input", () => draw(root));
  draw(root);
}
