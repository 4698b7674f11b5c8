// What a user does with the page that `serve --inspect` serves.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { join } from "node:path";

const { ADMIN, GATEWAY } = process.env;
const PAGE = `http://${ADMIN}/inspect`;

/** Sends a request to the gateway; resolves to its status. */
function send(path, { method = "GET", headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const request = httpRequest(`http://${GATEWAY}${path}`, { method, headers, agent: false }, (response) => {
      response.on("error", reject).on("end", () => resolve(response.statusCode)).resume();
    });
    request.on("error", reject).end(body);
  });
}

const rows = (page) => page.locator("#list .item:visible");
const detail = (page) => page.locator("#detail");
const selected = (page) => page.locator('#list .item[aria-selected="true"]');

async function open(page) {
  await page.goto(PAGE);
  await page.waitForFunction(() => store.info.instance);
}

/** Waits until the list shows so many requests. */
const count = (page, number) => page.waitForFunction((n) => store.shown.length === n, number);

async function select(page, text) {
  await rows(page).filter({ hasText: text }).last().click();
  await detail(page).locator(".title .path", { hasText: text }).waitFor();
}

export async function theListShowsRequestsAsTheyCome(page) {
  await send("/before");
  await open(page);
  await count(page, 1);
  for (const path of ["/a", "/login", "/login", "/login", "/login"]) await send(path);
  await count(page, 6);
  const last = rows(page).last();
  assert.equal(await last.locator(".status").textContent(), "429");
  assert.equal(await last.locator(".method").textContent(), "GET");
  assert.equal(await last.locator(".path").textContent(), "/login");
  assert.equal(await last.locator(".by").textContent(), "rate_limit");
  assert.equal(await rows(page).first().locator(".path").textContent(), "/before");
  assert.equal(await page.locator("#count").textContent(), "6 requests");
  // Both filters ran, each with a color of its own.
  assert.equal(await last.locator(".share i").count(), 2);
  const colors = await last.locator(".share i").evaluateAll((parts) => parts.map((part) => getComputedStyle(part).backgroundColor));
  assert.notEqual(colors[0], colors[1]);
}

export async function theWaterfallShowsEveryHostcall(page) {
  await open(page);
  await send("/ask", { headers: { "x-unwanted": "1" } });
  await count(page, 1);
  await select(page, "/ask");
  const waterfall = detail(page).locator(".waterfall");
  const told = await page.evaluate(() => store.details.get(1));
  const calls = told.callbacks.flatMap((callback) => callback.calls);
  assert.ok(calls.length > 5);
  assert.deepEqual(await waterfall.locator(".hostcall .name").allTextContents(), calls.map((call) => call.name));
  for (const name of ["on_request_headers", "on_http_call_response", "on_response_headers", "on_log"]) {
    if (told.callbacks.some((callback) => callback.name === name)) {
      assert.ok(await waterfall.locator(".callback .name", { hasText: name }).count(), name);
    }
  }
  // Name, arguments, time and bytes of a call.
  const call = waterfall.locator(".hostcall", { hasText: "replace_header_map_value" }).first();
  assert.match(await call.locator(".args").textContent(), /request_headers.*"x-busy".*"yes"/);
  assert.match(await call.locator(".cost").textContent(), /^9 B .*(ns|µs|ms)$/);
  // A metric is called by its name.
  assert.equal(await waterfall.locator(".hostcall", { hasText: "increment_metric" }).locator(".args").textContent(), "(seen_total +1)");
  // Long arguments are cut off, or wrapped.
  const long = waterfall.locator(".hostcall .args", { hasText: ":authority" }).first();
  const height = async () => (await long.boundingBox()).height;
  const cut = await height();
  await page.keyboard.press("w");
  assert.ok((await height()) > cut);
  await page.keyboard.press("w");
  // Bars are on the axis, and those of later callbacks begin later.
  const bars = await waterfall.locator(".callback .track i").evaluateAll((all) => all.map((bar) => parseFloat(bar.style.left)));
  assert.ok(bars.every((left) => left >= 0 && left <= 100), String(bars));
  assert.deepEqual(bars, [...bars].sort((a, b) => a - b));
  // The callout, with its time, and the log line.
  assert.match(await waterfall.locator(".wait", { hasText: "callout to service" }).textContent(), /202/);
  assert.equal(await waterfall.locator(".logline").first().textContent(), "info /ask");
  await detail(page).locator(".callouts", { hasText: "ready" }).waitFor();
  // The cost of the filter, down to its calls.
  const cells = await detail(page).locator(".flame .cell").allTextContents();
  assert.ok(cells[0].startsWith("busy ") && cells.includes("on_request_headers"), String(cells));
  const titles = await detail(page).locator(".flame .cell").evaluateAll((all) => all.map((cell) => cell.title));
  assert.ok(titles.some((title) => title.startsWith("replace_header_map_value: ")), String(titles));
  assert.match(await detail(page).locator(".metrics").textContent(), /seen_total \+1/);
}

export async function whatEachFilterChangedIsShown(page) {
  await open(page);
  const binary = Buffer.from([0, 1, 2, 255, 254, 65, 66]);
  await send("/b", { method: "POST", headers: { "x-unwanted": "1" }, body: "hello\n" });
  await send("/raw", { method: "PUT", body: binary });
  await count(page, 2);
  await select(page, "/b");
  const request = detail(page).locator('.stage[data-filter="busy"][data-way="request"]');
  assert.deepEqual(await request.locator(".minus").allTextContents(), ["-x-unwanted: 1"]);
  assert.deepEqual(await request.locator(".plus").allTextContents(), ["+x-busy: yes"]);
  const response = detail(page).locator('.stage[data-filter="busy"][data-way="response"]');
  const minus = await response.locator(".minus").allTextContents();
  const plus = await response.locator(".plus").allTextContents();
  assert.ok(minus.some((line) => line.startsWith("-content-length: ")), String(minus));
  assert.ok(plus.includes("+x-seen: 1"), String(plus));
  // The body, line by line.
  assert.ok(minus.some((line) => line.startsWith("-POST /b HTTP/1.1")), String(minus));
  assert.ok(plus.some((line) => line.startsWith("+before: POST /b HTTP/1.1")), String(plus));
  assert.match(await detail(page).locator(".columns").first().textContent(), /hello/);
  // Bytes that are no text, as a dump.
  await select(page, "/raw");
  const sent = detail(page).locator(".columns > div").first();
  assert.match(await sent.textContent(), /7 bytes, binary/);
  assert.match(await sent.textContent(), /000000 {2}00 01 02 ff fe 41 42 +\.{5}AB/);
}

export async function aFilterNarrowsTheList(page) {
  await open(page);
  for (const path of ["/login", "/login", "/login", "/login", "/orders", "/other?x=1"]) await send(path);
  await count(page, 6);
  const expectations = [
    ["status:429", 1],
    ["status:4xx", 2],
    ["status:>=400 -status:429", 1],
    ["path:/login", 4],
    ["by:jwt_auth", 1],
    ["status:429 filter:rate_limit path:/login", 1],
    ["filter:jwt_auth path:/orders", 1],
    ["method:post", 0],
    ["\"other?x\"", 1],
    ["took:>1h", 6],
    ["is:wrong", 0],
    ["", 6],
  ];
  for (const [text, expected] of expectations) {
    await page.locator("#filter").fill(text);
    await count(page, expected);
    const note = await page.locator("#filter-note").textContent();
    assert.equal(note !== "", text === "took:>1h", `${text}: ${note}`);
  }
  await page.locator("#filter").fill("status:429");
  // What comes is filtered, too.
  await send("/login");
  await send("/more");
  await count(page, 2);
  await page.waitForFunction(() => store.rows.length === 8);
  await page.waitForFunction(() => document.getElementById("count").textContent === "2 of 8 requests");
  await page.locator("#filter").fill("colour:red");
  assert.match(await page.locator("#filter-note").textContent(), /colour/);
  assert.equal(await page.locator("#filter").getAttribute("aria-invalid"), "true");
}

export async function aPauseHoldsNewRequestsBack(page) {
  await open(page);
  await send("/1");
  await count(page, 1);
  await page.locator("#pause").click();
  await send("/2");
  await send("/3");
  await page.waitForFunction(() => document.getElementById("pause-text").textContent === "Paused, 2 new");
  assert.equal(await rows(page).count(), 1);
  await page.locator("#pause").click();
  await count(page, 3);
  assert.equal(await page.locator("#pause-text").textContent(), "Live");
}

export async function aRequestIsSentAgain(page) {
  await open(page);
  await send("/login?n=1", { method: "POST", headers: { "x-mine": "yes", "content-type": "text/plain" }, body: "who?" });
  await count(page, 1);
  await select(page, "/login?n=1");
  await detail(page).getByRole("button", { name: "Replay" }).click();
  await count(page, 2);
  // The new one is selected, and it is the same.
  await page.waitForFunction(() => document.getElementById("detail").dataset.id === "2");
  const [first, second] = await page.evaluate(async () => [await detailOf(1), await detailOf(2)]);
  assert.deepEqual(second.request.body, first.request.body);
  assert.equal(second.request.body.text, "who?");
  const own = ({ request }) => request.headers.filter(([name]) => name.startsWith(":") || name.startsWith("x-"));
  assert.deepEqual(own(second), own(first));
  assert.notEqual(second.client, first.client);
}

export async function aScenarioIsCopied(page) {
  const { REQUEST, FILE, TOKEN } = process.env;
  await open(page);
  const headers = { "x-mine": "yes" };
  if (REQUEST === "/orders") headers.authorization = `Bearer ${TOKEN}`;
  // The fourth login is too much, which only a scenario with a past can tell.
  for (let n = 0; n < 4; n += 1) await send(REQUEST, { headers });
  await count(page, 4);
  await page.keyboard.press("G");
  await page.waitForFunction(() => document.getElementById("detail").dataset.id === "4");
  await page.keyboard.press(REQUEST === "/login" ? "C" : "c");
  await page.locator("#scenario").waitFor();
  const text = await page.locator("#scenario-text").inputValue();
  await page.waitForFunction(() => document.getElementById("toast").textContent === "Copied");
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), text);
  assert.match(text, REQUEST === "/login" ? /status: 429/ : /status: 200/);
  writeFileSync(FILE, text);
}

export async function everythingWorksByKeyboardAlone(page) {
  await open(page);
  for (const path of ["/login", "/a", "/b", "/orders"]) await send(path);
  await count(page, 4);
  const key = (...keys) => keys.reduce((before, one) => before.then(() => page.keyboard.press(one)), Promise.resolve());
  const focused = () => page.evaluate(() => document.activeElement.id);
  const isSelected = (path) => selected(page).locator(".path", { hasText: path }).waitFor();
  await key("j");
  await isSelected("/login");
  await key("j", "ArrowDown");
  await isSelected("/b");
  await key("k", "ArrowUp");
  await isSelected("/login");
  await key("G");
  await isSelected("/orders");
  await key("g");
  await isSelected("/login");
  const active = await page.locator("#list").getAttribute("aria-activedescendant");
  assert.equal(await page.locator(`#${active}`).getAttribute("aria-selected"), "true");
  // To the details and back.
  await detail(page).locator(".title").waitFor();
  await key("Enter");
  assert.equal(await focused(), "detail");
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(outline, "solid");
  await key("Escape");
  assert.equal(await focused(), "list");
  // The filter, and out of it.
  await key("/");
  assert.equal(await focused(), "filter");
  await page.keyboard.type("path:/a");
  await count(page, 1);
  await key("Enter");
  assert.equal(await focused(), "list");
  await isSelected("/a");
  await key("/", "Escape");
  await count(page, 4);
  await key("Escape");
  assert.equal(await focused(), "list");
  // Pause and go on, replay, scenario, theme, help.
  await key("p");
  assert.equal(await page.locator("#pause").getAttribute("aria-pressed"), "true");
  await key("p");
  await key("r");
  await count(page, 5);
  await page.waitForFunction(() => list.selected === 5);
  await key("c");
  await page.locator("#scenario").waitFor();
  await key("Escape");
  await page.locator("#scenario").waitFor({ state: "hidden" });
  await key("t");
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
  await key("?");
  await page.locator("#help").waitFor();
  await key("Escape");
  await page.locator("#help").waitFor({ state: "hidden" });
  for (const [digit, name] of [["2", "metrics"], ["3", "shared"], ["4", "background"], ["1", "requests"]]) {
    await key(digit);
    await page.locator(`#view-${name}`).waitFor();
    assert.equal(await page.locator(`#tab-${name}`).getAttribute("aria-selected"), "true");
  }
  // Tab reaches all that can be used, and shows where it is.
  const reached = new Set();
  for (let n = 0; n < 40; n += 1) {
    await key("Tab");
    reached.add(await page.evaluate(() => document.activeElement.id || document.activeElement.localName));
  }
  for (const id of ["tab-requests", "filter", "pause", "theme", "help-open", "list", "detail"]) {
    assert.ok(reached.has(id), `${id} in ${[...reached]}`);
  }
}

export async function metricsSharedDataAndBackgroundHaveViews(page) {
  await open(page);
  await send("/b");
  await count(page, 1);
  await page.keyboard.press("2");
  const chart = page.locator('[data-metric="seen_total"]');
  await chart.waitFor();
  await send("/b");
  await page.waitForFunction(() => document.querySelector('[data-metric="seen_total"] .value')?.textContent.startsWith("2"));
  // One sample a second: a line needs two.
  await page.waitForFunction(() => document.querySelector('[data-metric="seen_total"] .curve').getAttribute("points").split(" ").length > 2);
  await page.keyboard.press("3");
  const shared = page.locator("#view-shared");
  await shared.locator("h2", { hasText: "busy" }).waitFor();
  assert.match(await shared.textContent(), /1 key, 19 B.*last seen.*10 B/);
  await page.keyboard.press("4");
  await page.locator("#view-background .callback", { hasText: "on_configure" }).first().waitFor();
}

export async function hostileRequestsAreOnlyText(page) {
  await open(page);
  const markup = "<img/src=x/onerror=alert(1)><script>alert(2)</script>";
  const path = `/b?${encodeURIComponent(markup)}`;
  await send(path, { method: "POST", headers: { "x-evil": markup }, body: `${markup}\u0000\u2028` });
  await count(page, 1);
  await select(page, "/b");
  await detail(page).locator(".messages", { hasText: markup }).waitFor();
  assert.equal(await page.locator("#detail img, #detail script, #list img").count(), 0);
}

export async function theListForgetsWhatIsNotKept(page) {
  await open(page);
  for (let n = 1; n <= 50; n += 1) await send(`/${n}`);
  await page.waitForFunction(() => store.rows.at(-1)?.id === 50);
  assert.equal(await page.evaluate(() => store.rows.length), 20);
  await page.waitForFunction(() => document.getElementById("count").textContent === "20 requests");
  await page.reload();
  await count(page, 20);
  assert.equal(await page.evaluate(() => store.rows[0].path), "/31");
}

export async function tenThousandRequestsStayResponsive(page) {
  await page.addInitScript(() => {
    window.longTasks = [];
    new PerformanceObserver((entries) => {
      window.longTasks.push(...entries.getEntries().map((entry) => entry.duration));
    }).observe({ type: "longtask", buffered: true });
  });
  await open(page);
  await count(page, 10_000);
  await page.waitForFunction(() => document.getElementById("count").textContent === "10,000 requests");
  const nodes = () => page.locator("#list .item").count();
  assert.ok((await nodes()) < 200, String(await nodes()));
  // The list follows its end.
  assert.equal(await rows(page).last().locator(".path").textContent(), "/item/9999");
  await page.evaluate(() => {
    window.longTasks = [];
    window.added = 0;
    new MutationObserver((changes) => {
      for (const change of changes) window.added += change.addedNodes.length;
    }).observe(document.getElementById("rows"), { childList: true });
  });
  // Through the whole list, by wheel and by keys.
  for (let at = 0; at <= 10; at += 1) {
    await page.evaluate((part) => { list.box.scrollTop = (list.box.scrollHeight * part) / 10; }, at);
    await page.evaluate(() => new Promise((done) => { requestAnimationFrame(() => requestAnimationFrame(done)); }));
  }
  await page.keyboard.press("g");
  await rows(page).first().locator(".path", { hasText: "/item/0" }).waitFor();
  for (let n = 0; n < 100; n += 1) await page.keyboard.press("j");
  await page.waitForFunction(() => list.selected === 101);
  await page.locator("#filter").fill("path:/item/77");
  await count(page, 111);
  await page.locator("#filter").fill("");
  await count(page, 10_000);
  // New ones come while one looks at old ones, which stay where they are.
  await page.keyboard.press("Escape");
  await page.keyboard.press("g");
  const top = await page.evaluate(() => list.box.scrollTop);
  for (let n = 0; n < 20; n += 1) await send(`/new/${n}`);
  await page.waitForFunction(() => store.rows.at(-1).path === "/new/19");
  assert.equal(await page.evaluate(() => store.rows.length), 10_000);
  assert.ok(Math.abs((await page.evaluate(() => list.box.scrollTop)) - top) < 1);
  assert.ok((await nodes()) < 200, String(await nodes()));
  const all = await page.evaluate(() => document.getElementsByTagName("*").length);
  assert.ok(all < 2_500, String(all));
  // Rows were filled anew and moved, not made: thousands passed by.
  const added = await page.evaluate(() => window.added);
  assert.ok(added < 1_000, String(added));
  // The browser reports tasks of 50 ms and more; a busy machine stretches what takes ten. A page
  // that had all rows in it would take seconds.
  const long = await page.evaluate(() => window.longTasks);
  assert.ok(long.every((took) => took < 500), `long tasks: ${long}`);
}

/** Red, green and blue of a color as the browser computes it, as one brightness. */
const brightness = (page, selector, property) => page.evaluate(([selector, property]) => {
  const canvas = document.createElement("canvas").getContext("2d");
  canvas.fillStyle = getComputedStyle(document.querySelector(selector))[property];
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b] = canvas.getImageData(0, 0, 1, 1).data;
  const linear = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
}, [selector, property]);

export async function itIsLightAndDark(page) {
  const { PICTURES, TOKEN } = process.env;
  await open(page);
  const authorization = `Bearer ${TOKEN}`;
  const paths = ["/login", "/orders/7?expand=lines", "/catalogue", "/login", "/orders", "/orders/8", "/login", "/health", "/orders", "/login", "/catalogue?page=2", "/login"];
  for (let round = 0; round < 4; round += 1) {
    for (const [n, path] of paths.entries()) {
      await send(path, n % 5 === 4 ? { headers: { accept: "application/json" } } : { headers: { authorization, accept: "application/json" } });
    }
  }
  await count(page, 4 * paths.length);
  await select(page, "/orders/8");
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    const [text, back, soft] = [
      await brightness(page, "#detail .path", "color"),
      await brightness(page, "#detail", "backgroundColor"),
      await brightness(page, ".row.head", "color"),
    ];
    assert.equal(text < back, scheme === "light");
    // The contrasts that WCAG 2 asks for: 7 is its stricter level, 4.5 the usual.
    const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    assert.ok(contrast(text, back) > 7, `${scheme}: ${contrast(text, back)}`);
    assert.ok(contrast(soft, back) > 4.5, `${scheme}: ${contrast(soft, back)}`);
    if (PICTURES) await page.screenshot({ path: join(PICTURES, `inspector-${scheme}.png`) });
  }
  // Nothing is wider than the window, wide or narrow.
  for (const width of [1440, 1100, 700]) {
    await page.setViewportSize({ width, height: 800 });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${width}: ${overflow}`);
  }
}
