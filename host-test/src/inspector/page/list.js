// The list of requests: as many rows are in the document as are seen, whatever the number.

const ROW = 26;
const BEYOND = 6;

const list = {
  box: byId("list"),
  rows: byId("rows"),
  /** The elements, which are used again for other rows. */
  pool: [],
  selected: null,
  /** Whether the end of the list is kept in sight. */
  following: true,
  /** Where the list is scrolled to by this script. */
  planned: false,
  /** What is done when another request is selected. */
  onSelect: () => {},
};

/** Makes the element of a row. */
function newRow() {
  const row = make("div", "row item");
  row.setAttribute("role", "option");
  for (const name of ["time", "status", "method", "path", "by soft", "share", "took number soft"]) {
    row.append(make("span", name));
  }
  list.rows.append(row);
  return row;
}

function fillRow(element, request, index) {
  const selected = request.id === list.selected;
  if (element.request !== request) {
    element.request = request;
    element.id = `row-${request.id}`;
    const [when, status, method, path, by, share, took] = element.children;
    when.textContent = clock(request.at);
    status.textContent = request.status ?? "—";
    status.className = `status ${statusClass(request.status)}`;
    method.textContent = request.method;
    path.textContent = request.path;
    path.className = request.wrong ? "path wrong" : "path";
    by.textContent = request.by;
    took.textContent = time(request.took);
    const total = request.filters.reduce((sum, [, nanoseconds]) => sum + nanoseconds, 0);
    share.replaceChildren(...request.filters.map(([name, nanoseconds]) => {
      const part = make("i", colorOf(name));
      part.style.width = `${total ? (100 * nanoseconds) / total : 0}%`;
      return part;
    }));
    share.title = request.filters.map(([name, nanoseconds]) => `${name} ${time(nanoseconds)}`).join(", ");
    element.setAttribute("aria-label", `${request.method} ${request.path}, ${request.status ?? "no answer"}, by ${request.by}, ${time(request.took)}`);
  }
  element.setAttribute("aria-selected", String(selected));
  element.setAttribute("aria-posinset", index + 1);
  element.setAttribute("aria-setsize", store.shown.length);
  element.style.transform = `translateY(${index * ROW}px)`;
  element.hidden = false;
}

/** Shows the rows that are in sight. */
function renderList() {
  const count = store.shown.length;
  const height = list.box.clientHeight;
  list.rows.style.height = `${count * ROW}px`;
  if (list.following) {
    list.planned = true;
    list.box.scrollTop = Math.max(0, count * ROW - height);
  }
  const first = Math.max(0, Math.floor(list.box.scrollTop / ROW) - BEYOND);
  const last = Math.min(count, Math.ceil((list.box.scrollTop + height) / ROW) + BEYOND);
  // A row keeps its element as long as it is in sight.
  const kept = new Map(list.pool.filter((row) => row.request).map((row) => [row.request.id, row]));
  const free = list.pool.filter((row) => {
    const index = row.request ? indexOf(row.request.id) : -1;
    return index < first || index >= last;
  });
  // Those that stay are neighbours: the others go behind them, so that nothing else has to move.
  if (free.length < list.pool.length) list.rows.append(...free.filter((row) => !row.hidden));
  const used = [];
  let before = null;
  for (let index = first; index < last; index += 1) {
    const request = store.shown[index];
    let row = kept.get(request.id);
    if (!row || row.request !== request) {
      // The first that is free: rows that all change keep their order in the document.
      row = free.shift() ?? newRow();
    }
    fillRow(row, request, index);
    // The order in the document is that on the screen, for those who have the page read to them.
    const next = before ? before.nextSibling : list.rows.firstChild;
    if (next !== row) list.rows.insertBefore(row, next);
    before = row;
    used.push(row);
  }
  list.pool = [...used, ...free];
  for (const row of free) {
    row.hidden = true;
    row.request = null;
    row.removeAttribute("id");
  }
  const active = list.selected !== null && byId(`row-${list.selected}`);
  if (active) list.box.setAttribute("aria-activedescendant", active.id);
  else list.box.removeAttribute("aria-activedescendant");
  byId("empty").hidden = count > 0;
  byId("empty").textContent = store.rows.length > 0
    ? "The filter lets none of the requests through."
    : "No requests yet. Send one to the gateway and it shows up here.";
}

/** The place of a request among those shown, which are in the order of their numbers. */
function indexOf(id) {
  let low = 0;
  let high = store.shown.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (store.shown[middle].id < id) low = middle + 1;
    else high = middle;
  }
  return store.shown[low]?.id === id ? low : -1;
}

let framed = false;

/** Has the list shown anew with the next frame. */
function listChanged() {
  if (framed) return;
  framed = true;
  requestAnimationFrame(() => {
    framed = false;
    renderList();
    renderCount();
  });
}

function renderCount() {
  const { rows, shown } = store;
  byId("count").textContent = shown.length === rows.length
    ? plural(rows.length, "request")
    : `${thousands.format(shown.length)} of ${plural(rows.length, "request")}`;
  const held = store.held.length;
  byId("pause-text").textContent = !store.paused ? "Live"
    : held ? `Paused, ${thousands.format(held)} new` : "Paused";
}

/** Selects the request at a place, and brings it into sight. */
function selectAt(index) {
  const request = store.shown[index];
  if (!request) return;
  list.selected = request.id;
  const top = index * ROW;
  const height = list.box.clientHeight;
  list.following = index === store.shown.length - 1;
  list.planned = true;
  if (top < list.box.scrollTop) list.box.scrollTop = top;
  else if (top + ROW > list.box.scrollTop + height) list.box.scrollTop = top + ROW - height;
  listChanged();
  list.onSelect(request);
}

/** Goes so many requests on, from the selected one or from the end. */
function step(by) {
  const count = store.shown.length;
  const index = list.selected === null ? -1 : indexOf(list.selected);
  const next = index < 0 ? (by > 0 ? 0 : count - 1) : index + by;
  selectAt(Math.max(0, Math.min(count - 1, next)));
}

list.box.addEventListener("scroll", () => {
  if (!list.planned) {
    const left = list.box.scrollHeight - list.box.scrollTop - list.box.clientHeight;
    list.following = left < ROW;
  }
  list.planned = false;
  listChanged();
});

list.rows.addEventListener("mousedown", (event) => {
  const row = event.target.closest(".item");
  if (row?.request) selectAt(indexOf(row.request.id));
});

store.changed = (gone) => {
  if (gone && !list.following) {
    list.planned = true;
    list.box.scrollTop -= gone * ROW;
  }
  listChanged();
};

new ResizeObserver(() => {
  // The head is as wide as the rows, whatever a scrollbar takes.
  const scrollbar = list.box.offsetWidth - list.box.clientWidth;
  document.querySelector(".row.head").style.paddingRight = `${12 + scrollbar}px`;
  listChanged();
}).observe(list.box);
