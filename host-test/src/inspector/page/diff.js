// What each filter has made of the messages: headers and bodies before and after it.

/**
 * The message at each place of the chain. Only changes are told: a place without a field has that
 * of the place before.
 */
function places(points) {
  let last = { headers: null, body: { size: 0 } };
  return (points ?? []).map((point) => {
    last = {
      headers: "headers" in point ? point.headers : last.headers,
      body: "body" in point ? point.body : last.body,
      trailers: point.trailers,
    };
    return last;
  });
}

/** Headers as lines of a diff: `[sign, name, value]`. */
function headerChanges(before, after) {
  const key = ([name, value]) => `${name}\u0000${value}`;
  const counts = new Map();
  for (const pair of after) counts.set(key(pair), (counts.get(key(pair)) ?? 0) + 1);
  const lines = [];
  const rest = new Map(counts);
  for (const pair of before) {
    const left = rest.get(key(pair)) ?? 0;
    if (left > 0) {
      rest.set(key(pair), left - 1);
      lines.push([" ", ...pair]);
    } else {
      lines.push(["-", ...pair]);
    }
  }
  for (const pair of after) {
    const left = rest.get(key(pair)) ?? 0;
    if (left > 0) {
      rest.set(key(pair), left - 1);
      // What replaces a header stands below it.
      const removed = lines.findLastIndex(([sign, name]) => sign !== " " && name === pair[0]);
      lines.splice(removed < 0 ? lines.length : removed + 1, 0, ["+", ...pair]);
    }
  }
  return lines;
}

const LINES = 400;

/** Lines of two texts, by their longest common subsequence. */
function lineChanges(before, after) {
  const a = before.split("\n").slice(0, LINES);
  const b = after.split("\n").slice(0, LINES);
  const longest = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      longest[i][j] = a[i] === b[j] ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  const lines = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      lines.push([" ", a[i]]);
      i += 1;
      j += 1;
    } else if (j >= b.length || (i < a.length && longest[i + 1][j] >= longest[i][j + 1])) {
      lines.push(["-", a[i]]);
      i += 1;
    } else {
      lines.push(["+", b[j]]);
      j += 1;
    }
  }
  return lines;
}

const SIGNS = { "+": "plus", "-": "minus", " ": "" };

function diffLine(sign, ...parts) {
  return make("div", SIGNS[sign], make("span", "sign", sign), ...parts);
}

const headerLine = ([sign, name, value]) => diffLine(sign, make("span", "key", `${name}: `), value);

/** Bytes as a dump, sixteen in a line. */
function dump(hex) {
  const lines = [];
  for (let at = 0; at < hex.length; at += 32) {
    const bytes = hex.slice(at, at + 32).match(/../g);
    const text = bytes.map((byte) => {
      const code = parseInt(byte, 16);
      return code >= 32 && code < 127 ? String.fromCharCode(code) : ".";
    });
    lines.push(`${(at / 2).toString(16).padStart(6, "0")}  ${bytes.join(" ").padEnd(47)}  ${text.join("")}`);
  }
  return lines.join("\n");
}

const bodyText = (body) => body.text ?? (body.hex ? dump(body.hex) : "");

const bodyNote = (body) => `${plural(body.size, "byte")}${body.cut ? ", the beginning" : ""}${body.hex ? ", binary" : ""}`;

const sameBody = (a, b) => a.size === b.size && a.text === b.text && a.hex === b.hex;

/** What one filter made of one message. */
function stage(filter, way, before, after, answered) {
  const title = make("h3", "", chip(filter), make("span", "note", way));
  const section = make("div", "stage", title);
  section.dataset.filter = filter;
  section.dataset.way = way;
  if (!after?.headers) {
    title.append(make("span", "note", answered ? "— answered here" : "— went no further"));
    return section;
  }
  const lines = headerChanges(before.headers, after.headers);
  const changed = lines.filter(([sign]) => sign !== " ");
  const body = !sameBody(before.body, after.body);
  const trailers = (after.trailers ?? []).filter(([name, value]) =>
    !(before.trailers ?? []).some(([known, old]) => known === name && old === value));
  if (!changed.length && !body && !trailers.length) {
    title.append(make("span", "note", "— left as it was"));
    return section;
  }
  const diff = make("div", `diff ${colorOf(filter)}`);
  diff.append(...changed.map(headerLine), ...trailers.map((pair) => headerLine(["+", ...pair])));
  const same = lines.filter(([sign]) => sign === " ");
  if (same.length) {
    diff.append(make("details", "", make("summary", "", `${plural(same.length, "header")} unchanged`), ...same.map(headerLine)));
  }
  if (body) {
    diff.append(make("div", "head", `body: ${bodyNote(before.body)} → ${bodyNote(after.body)}`));
    diff.append(...lineChanges(bodyText(before.body), bodyText(after.body)).map(([sign, line]) => diffLine(sign, line)));
  }
  section.append(diff);
  return section;
}

/** All stages of a request, and how it came and left. */
function messages(detail) {
  const part = make("section", "part messages", make("h2", "", "Headers and bodies"));
  const names = detail.filters.map(([name]) => name);
  const request = places(detail.passages?.request);
  const response = places(detail.passages?.response);
  names.forEach((filter, index) => {
    if (request[index]?.headers) {
      part.append(stage(filter, "request", request[index], request[index + 1], detail.by === filter));
    }
  });
  [...names].reverse().forEach((filter, index) => {
    if (response[index]?.headers) {
      part.append(stage(filter, "response", response[index], response[index + 1], false));
    }
  });
  part.append(make("div", "columns stage",
    whole("Request, as the client sent it", detail.request),
    whole("Response, as the client got it", detail.response)));
  return part;
}

/** A message with all its headers. */
function whole(title, message) {
  const column = make("div", "", make("h3", "", title));
  const lines = make("div", "diff");
  for (const [name, value] of message.headers) {
    lines.append(make("div", "", make("span", "key", `${name}: `), value));
  }
  column.append(lines);
  if (message.body.size) {
    column.append(make("p", "note", bodyNote(message.body)), make("pre", "body", bodyText(message.body)));
  }
  return column;
}
