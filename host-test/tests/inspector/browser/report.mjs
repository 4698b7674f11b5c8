// The page as a file.

import assert from "node:assert/strict";

export async function aReportWorksFromAFile(page) {
  await page.goto(process.env.REPORT);
  const rows = page.locator("#list .item:visible");
  await rows.nth(1).waitFor();
  assert.equal(await rows.count(), 2);
  assert.equal(await rows.first().locator(".path").textContent(), "/named");
  assert.equal(await rows.last().locator(".status").textContent(), "403");
  assert.match(await rows.last().locator(".time").textContent(), /^\+60\.\d+ s$/);
  // Everything but sending it again is there.
  await page.keyboard.press("j");
  const detail = page.locator("#detail");
  await detail.locator(".title .path", { hasText: "/named" }).waitFor();
  assert.equal(await detail.getByRole("button", { name: "Replay" }).count(), 0);
  assert.deepEqual(await detail.locator('.stage[data-way="request"] .plus').allTextContents(), ["+x-greeted: yes"]);
  assert.match(await detail.locator(".messages").textContent(), /<b>hello<\/b><\/script>/);
  assert.ok(await detail.locator(".hostcall").count());
  assert.ok(await detail.locator(".flame .cell").count());
  await page.keyboard.press("j");
  await detail.locator(".title", { hasText: "nameless" }).waitFor();
  await page.keyboard.press("c");
  await page.locator("#scenario").waitFor();
  assert.match(await page.locator("#scenario-text").inputValue(), /^\s*name: Greets those who say their name/);
  await page.keyboard.press("Escape");
  await page.locator("#filter").fill("status:403");
  await page.waitForFunction(() => store.shown.length === 1);
  await page.locator("#filter").fill("");
  await page.keyboard.press("Escape");
  await page.keyboard.press("2");
  await page.locator('[data-metric="asked_total"] .value', { hasText: "2" }).waitFor();
  await page.keyboard.press("3");
  await page.locator("#view-shared", { hasText: "1 key, 8 B" }).waitFor();
}
