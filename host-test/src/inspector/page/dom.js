// Small things: making elements, and writing numbers.

const byId = (id) => document.getElementById(id);

/** Makes an element; children are elements or texts, and nothing is ever read as markup. */
function make(name, classes, ...children) {
  const element = document.createElement(name);
  if (classes) element.className = classes;
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** The same in SVG. */
function draw(name, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** Puts an element between two places of its parent, in parts of 1. */
function place(element, left, width) {
  element.style.left = `${left * 100}%`;
  element.style.width = `${width * 100}%`;
  return element;
}

const thousands = new Intl.NumberFormat("en-US");

/** A time in nanoseconds with three digits. */
function time(nanoseconds) {
  if (nanoseconds === null || nanoseconds === undefined) return "";
  const units = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"]];
  for (const [size, unit] of units) {
    if (nanoseconds >= size) {
      const value = nanoseconds / size;
      return `${value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)} ${unit}`;
    }
  }
  return `${nanoseconds} ns`;
}

function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(1)} KiB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}

const twoDigits = (number) => String(number).padStart(2, "0");

/** When a request came: the time of day, or the virtual time of a scenario. */
function clock(at) {
  if (store.report) return `+${(at / 1000).toFixed(3)} s`;
  const date = new Date(at);
  const parts = [date.getHours(), date.getMinutes(), date.getSeconds()].map(twoDigits);
  return `${parts.join(":")}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** A count in at most five characters or so. */
const short = (count) => (count < 10_000 ? thousands.format(count) : `${(count / 1000).toFixed(1)}k`);

const plural = (count, word) => `${thousands.format(count)} ${word}${count === 1 ? "" : "s"}`;

const statusClass = (status) => `s${status ? Math.floor(status / 100) : 0}`;

/** Filters have a color each, in the order in which they were first seen. */
const filterColors = new Map();

function colorOf(filter) {
  if (!filter) return "fx";
  if (!filterColors.has(filter)) filterColors.set(filter, `f${filterColors.size % 8}`);
  return filterColors.get(filter);
}

const chip = (filter) => make("span", `chip ${colorOf(filter)}`, filter || "(no name)");

let toastTimer = 0;

function toast(text) {
  byId("toast").textContent = text;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { byId("toast").textContent = ""; }, 4000);
}
