// The details of one request.

let wanted = null;

/** Shows a request, unless another is wanted by the time its details are there. */
async function showDetail(request) {
  wanted = request.id;
  let detail;
  try {
    detail = await detailOf(request.id);
  } catch (error) {
    if (wanted !== request.id) return;
    byId("detail").replaceChildren(make("p", "empty", String(error.message)));
    return;
  }
  if (wanted !== request.id) return;
  const box = byId("detail");
  box.replaceChildren(
    titleOf(detail),
    costs(detail),
    waterfall(detail),
    messages(detail),
    ...callouts(detail),
    ...metricChanges(detail),
  );
  box.dataset.id = detail.id;
  box.scrollTop = 0;
}

function fact(name, value) {
  return value ? make("span", "", `${name} `, make("b", "", value)) : null;
}

function action(text, key, run) {
  const button = make("button", "", text, " ", make("kbd", "", key));
  button.addEventListener("click", run);
  return button;
}

function titleOf(detail) {
  const actions = make("div", "actions");
  if (!store.report) {
    const again = action("Replay", "r", () => replay(detail.id));
    again.disabled = !detail.replayable;
    if (again.disabled) again.title = "Its body was longer than what is kept.";
    actions.append(again);
  }
  actions.append(action("Scenario", "c", () => copyScenario(detail.id, 0)));
  const title = make("div", "title",
    make("div", "line",
      make("b", statusClass(detail.status), String(detail.status ?? "no answer")),
      make("span", "", detail.method),
      make("span", "path", detail.path),
      actions),
    make("div", "facts",
      fact("", `#${detail.id}`),
      fact("by", detail.by),
      fact("took", time(detail.took)),
      fact("details", detail.details),
      fact("flags", detail.flags),
      fact("host", detail.host),
      fact("client", detail.client),
      fact(store.report ? "scenario" : "listener", detail.listener),
      fact("route", detail.route),
      fact("cluster", detail.cluster),
      fact("upstream", detail.upstream)));
  if (detail.violations.length) {
    title.append(make("div", "violations", ...detail.violations.map((text) => make("p", "", text))));
  }
  return title;
}

/** Which filter cost how much, and by what: filters, below them callbacks, below them hostcalls. */
function costs(detail) {
  const counted = detail.counted && detail.costs.some((cost) => cost.instructions);
  const part = make("section", "part costs-part", make("h2", "", "Cost",
    make("span", "note", counted ? "time; instructions in the table" : "time in each filter, hostcalls included")));
  const total = detail.costs.reduce((sum, cost) => sum + cost.took, 0);
  if (total) part.append(flame(detail, total));
  const table = make("table", "costs");
  const head = ["filter", "time", "instructions", "hostcalls", "bytes"].filter((name) => counted || name !== "instructions");
  table.append(make("tr", "", ...head.map((name, index) => make("th", index ? "number" : "", name))));
  for (const cost of detail.costs) {
    const cells = [time(cost.took), ...(counted ? [thousands.format(cost.instructions)] : []), cost.calls, size(cost.bytes)];
    table.append(make("tr", "", make("td", "", chip(cost.filter)), ...cells.map((cell) => make("td", "number", String(cell)))));
  }
  part.append(detail.costs.length ? table : make("p", "note", "No filter is in the chain of this route."));
  return part;
}

function flame(detail, total) {
  const box = make("div", "flame");
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", detail.costs.map((cost) => `${cost.filter} ${time(cost.took)}`).join(", "));
  const height = 20;
  const cell = (depth, filter, text, left, took) => {
    // A few letters say less than none.
    const shown = took / total > 0.07 ? text : "";
    const element = make("div", `cell d${depth} ${colorOf(filter)}`, shown);
    element.title = `${text}: ${time(took)}`;
    element.style.top = `${depth * height}px`;
    box.append(place(element, left / total, took / total));
  };
  box.style.height = `${height * 3}px`;
  let left = 0;
  for (const cost of detail.costs) {
    cell(0, cost.filter, `${cost.filter} ${time(cost.took)}`, left, cost.took);
    let inner = left;
    for (const callback of detail.callbacks.filter((one) => one.filter === cost.filter)) {
      cell(1, cost.filter, callback.name, inner, callback.took ?? 0);
      let at = inner;
      for (const call of callback.calls) {
        cell(2, cost.filter, call.name, at, call.took ?? 0);
        at += call.took ?? 0;
      }
      inner += callback.took ?? 0;
    }
    left += cost.took;
  }
  return box;
}

function callouts(detail) {
  if (!detail.callouts.length) return [];
  const part = make("section", "part callouts", make("h2", "", "Callouts"));
  for (const call of detail.callouts) {
    const columns = make("div", "columns", whole("Request", call.request));
    if (call.response?.headers) columns.append(whole("Answer", call.response));
    part.append(make("div", "stage",
      make("h3", "", call.cluster, make("span", "note", `${calloutEnd(call)} ${time(call.took)}`)), columns));
  }
  return [part];
}

function metricChanges(detail) {
  const changes = detail.callbacks.flatMap((callback) =>
    (callback.metrics ?? []).map((change) => [callback.filter, ...change]));
  if (!changes.length) return [];
  const lines = changes.map(([filter, ...change]) => make("div", "", chip(filter), ` ${metricText(change)}`));
  return [make("section", "part metrics", make("h2", "", "Metrics"), make("div", "mono", ...lines))];
}

list.onSelect = showDetail;
