// Runs one function of a file in a Chromium of its own: `node run.mjs FILE FUNCTION`.
//
// Whatever the page says on its console, and whatever it asks for in vain, is a failure.

import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { chromium } = createRequire(`${process.env.PLAYWRIGHT}/`)("playwright-core");

const [file, name] = process.argv.slice(2);
const tests = await import(new URL(file, import.meta.url));
if (typeof tests[name] !== "function") throw new Error(`${file} has no ${name}`);

const folder = mkdtempSync(join(tmpdir(), "penstock-chromium-"));
const context = await chromium.launchPersistentContext(folder, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  viewport: { width: 1440, height: 900 },
  colorScheme: "light",
  permissions: ["clipboard-read", "clipboard-write"],
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
  ],
});

const wrong = [];
const page = context.pages()[0] ?? (await context.newPage());
page.setDefaultTimeout(30_000);
page.on("console", (message) => {
  if (["error", "warning"].includes(message.type())) wrong.push(`console: ${message.text()}`);
});
page.on("pageerror", (error) => wrong.push(`error: ${error.stack}`));
page.on("requestfailed", (request) => {
  // The stream of events ends with the page.
  if (!request.url().endsWith("/events")) wrong.push(`not loaded: ${request.url()}`);
});

try {
  await tests[name](page);
  if (wrong.length) throw new Error(wrong.join("\n"));
} catch (error) {
  console.log(error.stack ?? error);
  if (wrong.length) console.log(wrong.join("\n"));
  process.exitCode = 1;
} finally {
  await context.close();
  rmSync(folder, { recursive: true, force: true });
}
