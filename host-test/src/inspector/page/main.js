// Keys, the bar at the top, and the beginning.

const input = byId("filter");

function applyFilter() {
  const wrong = setFilter(input.value);
  input.setAttribute("aria-invalid", String(Boolean(wrong)));
  byId("filter-note").textContent = wrong;
  list.following = list.selected === null || indexOf(list.selected) < 0;
  listChanged();
  if (view === "metrics") refresh();
}

function pause() {
  if (store.report) return;
  setPaused(!store.paused);
  byId("pause").setAttribute("aria-pressed", String(store.paused));
  listChanged();
}

const THEME = "host-test-inspector-theme";

/** A report opened as a file may not be allowed to keep anything. */
function remembered(value) {
  try {
    if (value !== undefined) localStorage.setItem(THEME, value);
    return localStorage.getItem(THEME);
  } catch {
    return value ?? null;
  }
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
}

function switchTheme() {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark"
    || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  const theme = dark ? "light" : "dark";
  remembered(theme);
  setTheme(theme);
}

function stepBack() {
  if (document.activeElement === input && input.value) {
    input.value = "";
    applyFilter();
    return;
  }
  if (view !== "requests") showView("requests");
  list.box.focus();
}

const KEYS = {
  j: () => step(1),
  ArrowDown: () => step(1),
  k: () => step(-1),
  ArrowUp: () => step(-1),
  PageDown: () => step(20),
  PageUp: () => step(-20),
  g: () => selectAt(0),
  Home: () => selectAt(0),
  G: () => selectAt(store.shown.length - 1),
  End: () => selectAt(store.shown.length - 1),
  Enter: () => byId("detail").focus(),
  "/": () => { input.focus(); input.select(); },
  p: pause,
  r: () => replay(list.selected),
  c: () => copyScenario(list.selected, 0),
  C: () => copyScenario(list.selected, BEFORE),
  t: switchTheme,
  w: () => document.body.classList.toggle("wrap"),
  "?": () => byId("help").showModal(),
  1: () => showView("requests"),
  2: () => showView("metrics"),
  3: () => showView("shared"),
  4: () => showView("background"),
};

/** Keys that scroll what has the focus, unless it is the list. */
const SCROLLING = ["ArrowDown", "ArrowUp", "PageDown", "PageUp", "Home", "End", "Enter"];

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") {
    event.preventDefault();
    stepBack();
    return;
  }
  const target = event.target;
  if (target === input) {
    if (event.key === "Enter" || event.key === "ArrowDown") {
      event.preventDefault();
      list.box.focus();
      if (list.selected === null || indexOf(list.selected) < 0) step(1);
    }
    return;
  }
  const inList = target === list.box || target === document.body;
  if (SCROLLING.includes(event.key) && !inList) return;
  const run = KEYS[event.key];
  if (!run) return;
  event.preventDefault();
  run();
});

const tabs = [...document.querySelectorAll("#views [role=tab]")];
byId("views").addEventListener("keydown", (event) => {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  const at = tabs.findIndex((tab) => tab.dataset.view === view);
  showView(tabs[(at + by + tabs.length) % tabs.length].dataset.view, true);
});
for (const tab of tabs) tab.addEventListener("click", () => showView(tab.dataset.view));

input.addEventListener("input", applyFilter);
byId("pause").addEventListener("click", pause);
byId("theme").addEventListener("click", switchTheme);
byId("help-open").addEventListener("click", () => byId("help").showModal());

setTheme(remembered());
connect();
byId("pause").hidden = store.report;
list.box.focus();
listChanged();
