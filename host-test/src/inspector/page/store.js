// What is known: rows of the list, details as they are asked for, metrics over time.

const embedded = byId("data") && JSON.parse(byId("data").textContent);

const SAMPLES_KEPT = 300;
const DETAILS_KEPT = 64;

const store = {
  report: Boolean(embedded),
  info: { capacity: 10000, masked: true, counted: false },
  /** All rows that are kept, the latest last. */
  rows: [],
  /** Those that the filter lets through. */
  shown: [],
  /** Those that came while paused. */
  held: [],
  paused: false,
  filter: readFilter(""),
  /** Times and values by name. */
  samples: [],
  details: new Map(),
  changed: () => {},
  measured: () => {},
};

/** Adds rows at the end; tells how many of those shown have gone at the beginning. */
function addRows(rows) {
  if (store.paused) {
    store.held.push(...rows);
    if (store.held.length > store.info.capacity) {
      store.held.splice(0, store.held.length - store.info.capacity);
    }
    store.changed(0);
    return;
  }
  for (const row of rows) {
    store.rows.push(row);
    row.filters.forEach(([name]) => colorOf(name));
    if (store.filter.matches(row)) store.shown.push(row);
  }
  const surplus = store.rows.length - store.info.capacity;
  let gone = 0;
  if (surplus > 0) {
    const first = store.rows[surplus].id;
    store.rows.splice(0, surplus);
    while (gone < store.shown.length && store.shown[gone].id < first) gone += 1;
    store.shown.splice(0, gone);
  }
  store.changed(gone);
}

function setPaused(paused) {
  store.paused = paused;
  const held = store.held;
  store.held = [];
  if (!paused) addRows(held);
}

function setFilter(text) {
  const filter = readFilter(text);
  store.filter = filter.wrong ? { ...filter, matches: () => true } : filter;
  store.shown = store.rows.filter(store.filter.matches);
  return filter.wrong;
}

function addSample(sample) {
  store.samples.push(sample);
  if (store.samples.length > SAMPLES_KEPT) store.samples.shift();
  store.measured();
}

/** All that is known of a request. */
async function detailOf(id) {
  if (store.details.has(id)) return store.details.get(id);
  const response = await fetch(`/inspect/api/requests/${id}`);
  if (!response.ok) throw new Error(await response.text());
  const detail = await response.json();
  store.details.set(id, detail);
  if (store.details.size > DETAILS_KEPT) store.details.delete(store.details.keys().next().value);
  return detail;
}

/** Begins with what the report holds, or listens to the gateway. */
function connect() {
  if (store.report) {
    store.info = embedded.info;
    store.samples = embedded.info.samples;
    for (const request of embedded.requests) store.details.set(request.id, request);
    addRows(embedded.requests);
    return;
  }
  const events = new EventSource("/inspect/api/events");
  events.addEventListener("open", () => byId("pause").classList.remove("lost"));
  events.addEventListener("error", () => byId("pause").classList.add("lost"));
  events.addEventListener("info", ({ data }) => {
    const info = JSON.parse(data);
    // A gateway that was started anew counts from 1.
    if (store.info.instance && store.info.instance !== info.instance) {
      store.rows = [];
      store.shown = [];
      store.held = [];
      store.details.clear();
      store.changed(0);
    }
    store.info = info;
    store.samples = info.samples;
  });
  events.addEventListener("requests", ({ data }) => addRows(JSON.parse(data)));
  events.addEventListener("metrics", ({ data }) => addSample(JSON.parse(data)));
}
