// The waterfall: what ran when, callback by callback and hostcall by hostcall.

/** Hostcalls are shown at once up to this many in a request. */
const SHOWN_AT_ONCE = 200;

/**
 * The axis: time while guests run at full length, and long times between them cut short, since
 * filters take microseconds and upstreams milliseconds.
 */
function axisOf(detail) {
  const spans = detail.callbacks
    .filter((callback) => callback.at !== null && callback.at !== undefined)
    .map((callback) => [callback.at, callback.at + callback.took])
    .sort(([a], [b]) => a - b);
  const end = Math.max(detail.took, ...spans.map(([, to]) => to));
  const busy = spans.reduce((sum, [from, to]) => sum + to - from, 0);
  const longest = Math.max(busy * 0.15, 1);
  const pieces = [];
  let at = 0;
  let drawn = 0;
  const add = (to, short) => {
    if (to <= at) return;
    const length = short ? Math.min(to - at, longest) : to - at;
    pieces.push({ from: at, to, start: drawn, length, cut: short && to - at > longest });
    drawn += length;
    at = to;
  };
  for (const [from, to] of spans) {
    add(from, true);
    add(to, false);
  }
  add(end, true);
  const total = drawn || 1;
  const position = (moment) => {
    const piece = pieces.find((one) => moment <= one.to) ?? pieces.at(-1);
    if (!piece) return 0;
    const inside = Math.max(0, moment - piece.from) / (piece.to - piece.from);
    return (piece.start + Math.min(1, inside) * piece.length) / total;
  };
  const cuts = pieces.filter((piece) => piece.cut).map((piece) => ({
    left: piece.start / total,
    width: piece.length / total,
    took: piece.to - piece.from,
  }));
  return { position, cuts, end };
}

function track(axis, from, took) {
  const element = make("div", "track");
  for (const { left, width } of axis.cuts) element.append(place(make("u"), left, width));
  if (from !== null && from !== undefined) {
    const left = axis.position(from);
    element.append(place(make("i"), left, Math.max(0, axis.position(from + took) - left)));
  }
  return element;
}

const shortArguments = (list) => list
  .map(([name, value]) => (/^"|^\{/.test(value) || /^-?\d/.test(value) ? `${name}=${value}` : value))
  .join(", ");

function hostcallRow(axis, callback, call, metric) {
  const results = call.results ? ` → ${shortArguments(call.results)}` : "";
  const text = metric ? `(${metricText(metric)})` : `(${shortArguments(call.arguments)})${results}`;
  const what = make("div", "what", make("span", "name", call.name), make("span", "args", text));
  what.title = `${call.name}${text}\n${call.status}, ${plural(call.bytes, "byte")}, ${time(call.took)}`;
  if (call.status !== "ok") what.append(make("span", "bad", call.status));
  if (call.fault) what.append(make("span", "bad", "fault"));
  what.append(make("span", "cost", `${call.bytes ? `${size(call.bytes)} ` : ""}${time(call.took)}`));
  const row = make("div", `call hostcall ${colorOf(callback.filter)}`, what);
  row.append(track(axis, call.at === undefined ? null : callback.at + call.at, call.took));
  return row;
}

function callbackRow(axis, callback) {
  const what = make("div", "what",
    make("span", "name", callback.name),
    make("span", "filter", callback.filter),
    make("span", "args", callback.arguments.length ? `(${shortArguments(callback.arguments)})` : ""));
  if (callback.trapped) what.append(make("span", "bad", `trap: ${callback.trapped}`));
  else if (callback.returned) what.append(make("span", "result", `→ ${callback.returned}`));
  const instructions = callback.instructions ? `${short(callback.instructions)} instr. ` : "";
  what.append(make("span", "cost", `${instructions}${time(callback.took)}`));
  what.title = what.textContent;
  return make("div", `call callback ${colorOf(callback.filter)}`, what, track(axis, callback.at, callback.took));
}

function logLines(callback) {
  return (callback.logs ?? []).map(([level, message]) =>
    make("div", `logline ${level}`, make("span", "level", `${level} `), message));
}

/** A metric and what was done to it. */
const metricText = ([name, by, recorded]) => `${name} ${recorded ? "= " : by < 0 ? "" : "+"}${by}`;

/** A callback with all that happened in it. */
function callbackBlock(axis, callback, open) {
  // A call names a metric by its number, and what came of it by its name.
  const metrics = [...(callback.metrics ?? [])];
  const metricOf = ({ name, status }) =>
    (["increment_metric", "record_metric"].includes(name) && status === "ok" ? metrics.shift() : undefined);
  const inside = [
    ...callback.calls.map((call) => hostcallRow(axis, callback, call, metricOf(call))),
    callback.more_calls ? make("div", "logline", `and ${plural(callback.more_calls, "hostcall")} more`) : null,
    ...logLines(callback),
  ].filter((one) => one !== null);
  const row = callbackRow(axis, callback);
  if (!inside.length) return row;
  const block = make("details", "calls", make("summary", "", row), ...inside);
  block.open = open;
  return block;
}

function waitRow(axis, text, from, took) {
  return make("div", "call wait",
    make("div", "what", make("span", "args", text), make("span", "cost", time(took))),
    track(axis, from, took));
}

function waterfall(detail) {
  const axis = axisOf(detail);
  const calls = detail.callbacks.reduce((sum, callback) => sum + callback.calls.length, 0);
  const part = make("section", "part waterfall",
    make("h2", "", "Waterfall", make("span", "note", `${plural(detail.callbacks.length, "callback")}, ${plural(calls, "hostcall")}`)));
  if (!detail.callbacks.length) {
    part.append(make("p", "note", "No filter was asked."));
    return part;
  }
  const scale = make("div", "axis", make("span", "", "0"), make("span", "end", time(axis.end)));
  for (const cut of axis.cuts) {
    const label = make("span", "", time(cut.took));
    if (cut.left > 0.06 && cut.left + cut.width < 0.84) scale.append(place(label, cut.left, cut.width));
  }
  part.append(scale);
  const rows = detail.callbacks.map((callback) => [callback.at ?? 0, callbackBlock(axis, callback, calls <= SHOWN_AT_ONCE)]);
  for (const call of detail.callouts) {
    if (call.at !== null) rows.push([call.at, waitRow(axis, `callout to ${call.cluster}: ${calloutEnd(call)}`, call.at, call.took ?? 0)]);
  }
  const waited = upstreamWait(detail);
  if (waited) rows.push([waited.from, waitRow(axis, `upstream ${detail.cluster} ${detail.upstream}`, waited.from, waited.took)]);
  // A stable sort: what began together stays in the order in which it was recorded.
  rows.sort(([a], [b]) => a - b);
  part.append(...rows.map(([, row]) => row));
  if (detail.more_callbacks) part.append(make("p", "note", `and ${plural(detail.more_callbacks, "callback")} more, which aren't kept`));
  return part;
}

/** The time between the request's last callback and the response's first. */
function upstreamWait(detail) {
  if (!detail.upstream) return null;
  const first = detail.callbacks.find((callback) => callback.name.startsWith("on_response"));
  if (!first) return null;
  const before = detail.callbacks.filter((callback) => callback.at < first.at);
  const from = Math.max(0, ...before.map((callback) => callback.at + callback.took));
  return { from, took: first.at - from };
}

function calloutEnd(call) {
  if (call.response === null) return "no answer";
  if (call.response === "reset") return "broken off";
  return call.response.headers.find(([name]) => name === ":status")?.[1] ?? "answered";
}
