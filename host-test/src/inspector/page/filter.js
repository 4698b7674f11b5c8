// The filter's language: words and `key:value`, all of which must hold; `-` in front means not.

const FILTER_KEYS = {
  status: (request, value) => statusFits(request.status, value),
  method: (request, value) => has(request.method, value),
  path: (request, value) => has(request.path, value),
  host: (request, value) => has(request.host, value),
  listener: (request, value) => has(request.listener, value),
  client: (request, value) => has(request.client, value),
  by: (request, value) => has(request.by, value),
  filter: (request, value) => request.filters.some(([name, took]) => took > 0 && has(name, value)),
  took: (request, value) => compares(request.took, value, duration),
  calls: (request, value) => compares(request.calls, value, Number),
  id: (request, value) => compares(request.id, value, Number),
  is: (request, value) => value === "wrong" && request.wrong,
};

const has = (text, part) => String(text).toLowerCase().includes(part);

/** `429`, `4xx`, `>=400`, `none`. */
function statusFits(actual, wanted) {
  if (wanted === "none") return !actual;
  if (/^[1-5]xx$/.test(wanted)) return Math.floor(actual / 100) === Number(wanted[0]);
  return /^[<>=]/.test(wanted) ? compares(actual ?? 0, wanted, Number) : String(actual ?? "").startsWith(wanted);
}

/** `>2`, `<=2`, `2`. */
function compares(actual, wanted, read) {
  const [, sign, text] = /^(<=|>=|<|>|=)?(.*)$/.exec(wanted);
  const value = read(text);
  switch (sign) {
    case "<": return actual < value;
    case "<=": return actual <= value;
    case ">": return actual > value;
    case ">=": return actual >= value;
    default: return actual === value;
  }
}

/** `2ms`, `500us`, `1s`; nanoseconds. */
function duration(text) {
  const found = /^([\d.]+)(ns|us|µs|ms|s)?$/.exec(text);
  if (!found) return NaN;
  const scale = { ns: 1, us: 1e3, "µs": 1e3, ms: 1e6, s: 1e9 };
  return Number(found[1]) * scale[found[2] ?? "ms"];
}

/**
 * Reads a filter: `{matches, words, wrong}`; `wrong` is a sentence about what can't be read, and
 * empty if all can.
 */
function readFilter(text) {
  const terms = [];
  let wrong = "";
  for (const [, minus, key, quoted, plain] of text.matchAll(/(-)?(?:([a-z]+):)?(?:"([^"]*)"?|(\S+))/gi)) {
    const value = (quoted ?? plain).toLowerCase();
    const name = key?.toLowerCase();
    if (name && !FILTER_KEYS[name]) {
      wrong = `no filter is called ${name}:`;
    } else if (name === "is" && value !== "wrong") {
      wrong = "is: knows only wrong";
    } else if ((name === "took" && Number.isNaN(duration(value.replace(/^[<>=]+/, ""))))
      || (["calls", "id"].includes(name) && Number.isNaN(Number(value.replace(/^[<>=]+/, "") || NaN)))) {
      wrong = `${name}: wants a number`;
    } else {
      terms.push({ not: Boolean(minus), test: FILTER_KEYS[name], value, word: !name });
    }
  }
  const matches = (request) => terms.every(({ not, test, value }) => {
    const holds = test ? test(request, value) : has(`${request.method} ${request.host}${request.path}`, value);
    return holds !== not;
  });
  const words = terms.filter((term) => term.word && !term.not).map((term) => term.value);
  return { matches, words, wrong };
}
