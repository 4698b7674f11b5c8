// The other views: metrics over time, shared data, callbacks outside requests.

const REFRESH = 2000;

/** In a report, the scenario of the selected request, or else of the first: each has its own. */
const scenarioShown = () => store.rows.find(({ id }) => id === list.selected)?.listener ?? store.rows[0]?.listener;

const isShown = (scenario) => !store.report || scenario === scenarioShown();

/** Names with the values of all samples, the busiest first. */
function seriesOf(samples) {
  const latest = samples.at(-1)?.[1] ?? {};
  const words = store.filter.words;
  const names = Object.keys(latest).filter((name) => words.every((word) => has(name, word)));
  return names.map((name) => ({ name, values: samples.map(([, values]) => values[name] ?? 0) }));
}

function chart({ name, values }) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const now = values.at(-1);
  const step = values.length > 1 ? now - values.at(-2) : 0;
  const x = (index) => (values.length > 1 ? (300 * index) / (values.length - 1) : 0);
  const y = (value) => (high > low ? 41 - (38 * (value - low)) / (high - low) : 41);
  const points = (values.length > 1 ? values : [now, now]).map((value, index) =>
    `${(values.length > 1 ? x(index) : index * 300).toFixed(1)},${y(value).toFixed(1)}`);
  const svg = draw("svg", { viewBox: "0 0 300 44", preserveAspectRatio: "none", role: "img", "aria-label": `${name}, from ${low} to ${high}` });
  svg.append(
    draw("polygon", { class: "area", points: `0,44 ${points.join(" ")} 300,44` }),
    draw("polyline", { class: "curve", points: points.join(" ") }));
  const value = make("div", "value", thousands.format(now));
  if (step) value.append(make("small", "", `${step > 0 ? "+" : ""}${thousands.format(step)}`));
  const box = make("div", "chart", make("div", "name", name), value, svg);
  box.title = name;
  box.dataset.metric = name;
  return box;
}

function renderMetrics() {
  const series = seriesOf(store.samples.filter(([, , scenario]) => isShown(scenario)));
  const moved = series.filter(({ values }) => values.some((value) => value !== 0));
  const note = series.length - moved.length;
  byId("view-metrics").replaceChildren(
    make("p", "note", series.length
      ? `${plural(moved.length, "metric")} of the filters${note ? `, ${note} more at 0` : ""}${store.report ? `, request by request: ${scenarioShown()}` : ", the last five minutes"}`
      : "The filters have no metrics yet."),
    make("div", "charts", ...moved.map(chart)));
}

async function renderShared() {
  const scopes = store.report ? embedded.shared.filter(({ scenario }) => isShown(scenario)) : await (await fetch("/inspect/api/shared")).json();
  const groups = scopes.map((scope) => {
    const most = Math.max(1, ...scope.entries.map(([, bytes]) => bytes));
    const rows = scope.entries.map(([key, bytes]) => {
      const meter = make("span", "meter");
      meter.style.width = `${(120 * bytes) / most}px`;
      return make("tr", "", make("td", "", key), make("td", "size", size(bytes), meter));
    });
    const more = scope.keys - scope.entries.length;
    return make("section", "group",
      make("h2", "", scope.vm_id || "(no vm_id)", " ", make("span", "note", `${plural(scope.keys, "key")}, ${size(scope.bytes)}`)),
      make("table", "keys", make("tr", "", make("th", "", "key"), make("th", "size", "value")), ...rows),
      more > 0 ? make("p", "note", `and ${thousands.format(more)} more`) : null);
  });
  if (store.report && groups.length) groups.unshift(make("p", "note", `In the end of: ${scenarioShown()}`));
  byId("view-shared").replaceChildren(...(groups.length ? groups : [make("p", "empty", "No filter has shared any data.")]));
}

async function renderBackground() {
  if (store.report) {
    byId("view-background").replaceChildren(make("p", "empty", "A report holds requests alone."));
    return;
  }
  const { count, callbacks } = await (await fetch("/inspect/api/background")).json();
  const none = { position: () => 0, cuts: [], end: 0 };
  const blocks = [...callbacks].reverse().map((callback) => {
    const block = callbackBlock(none, callback, false);
    const when = make("span", "args", `${clock(callback.at)} ${callback.thread}`);
    block.querySelector(".track").append(when);
    return block;
  });
  byId("view-background").replaceChildren(
    make("p", "note", `${plural(count, "callback")} outside requests: starts, ticks, answers to callouts${count > callbacks.length ? `; the last ${callbacks.length}` : ""}`),
    ...blocks);
}

const VIEWS = {
  requests: () => listChanged(),
  metrics: renderMetrics,
  shared: renderShared,
  background: renderBackground,
};

let view = "requests";

function showView(name, focus) {
  view = name;
  for (const tab of document.querySelectorAll("#views [role=tab]")) {
    const chosen = tab.dataset.view === name;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    if (chosen && focus) tab.focus();
    byId(`view-${tab.dataset.view}`).hidden = !chosen;
  }
  refresh();
}

async function refresh() {
  try {
    await VIEWS[view]();
  } catch {
    // The gateway is gone; the mark beside "Live" says so.
  }
}

store.measured = () => {
  if (view === "metrics" && !store.paused) refresh();
};

setInterval(() => {
  if (!store.report && !store.paused && ["shared", "background"].includes(view)) refresh();
}, REFRESH);
