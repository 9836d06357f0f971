// What each role sees of the page: nothing that it would be refused, and of the documents those it may read.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { startAppliance, temporaryHome, until, within } from "../service/appliance.mjs";

const shots = process.env.CARREL_SCREENSHOTS; // a folder: keep pictures there
const STEP_MS = 30_000;
let a, browser;
const keys = {};
const refused = [];

before(async () => {
  const home = temporaryHome();
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, "access.yaml"), "access:\n  - path: wards/**\n    readers: [ward]\n  - path: board/**\n    readers: [board]\n");
  a = await startAppliance({ home, config: "http:\n  requests_per_minute: 0\n" });
  for (const role of ["manager", "editor", "reader", "auditor"]) keys[role] = (await a.post("/api/keys", { name: role, role, groups: ["ward"] })).key;
  a.drop("wards/leave.md", "# Leave\n\nTwenty-eight days of leave are paid.\n");
  a.drop("board/plan.md", "# Plan\n\nThe east wing is sold.\n");
  a.drop("wards/broken.pdf", "%PDF-1.7 and nothing that follows is one");
  a.drop("board/torn.pdf", "%PDF-1.7 and nothing that follows is one");
  await a.settled({ n: 4 });
  browser = await chromium.launch({ timeout: 60_000, executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"] });
});

after(async () => {
  try {
    if (browser) await within(STEP_MS, "the browser closes", browser.close());
  } finally {
    await a?.stop();
  }
});

async function as(role) {
  const context = await browser.newContext({ viewport: { width: 1180, height: 720 } });
  context.setDefaultTimeout(STEP_MS);
  const page = await context.newPage();
  page.on("response", (r) => {
    if (r.status() === 403) refused.push(`${role}: ${r.request().method()} ${r.url()}`);
  });
  await page.goto(a.url);
  await page.getByRole("button", { name: "Use a key instead" }).click();
  await page.getByLabel("Key").fill(keys[role] ?? a.key);
  await page.keyboard.press("Enter");
  await page.locator("header.top nav a").first().waitFor();
  const tabs = await page.locator("header.top nav a").allInnerTexts();
  return { page, tabs, close: () => context.close() };
}

async function documents(role) {
  const { page, tabs, close } = await as(role);
  await page.getByRole("link", { name: "Documents" }).click();
  await page.locator("tr[data-path]").first().waitFor();
  await until("the summary", async () => (await page.locator(".summary").innerText()) !== "");
  const seen = {
    tabs,
    rows: Object.fromEntries(await page.locator("tr[data-path]").evaluateAll((l) => l.map((r) => [r.dataset.path, r.dataset.state]))),
    trash: await page.getByRole("button", { name: /to the trash/ }).count(),
    drop: await page.getByRole("button", { name: /Drop documents here/ }).count(),
    summary: await page.locator(".summary").innerText(),
  };
  if (shots) {
    mkdirSync(shots, { recursive: true });
    await page.screenshot({ path: join(shots, `role-${role}.png`) });
  }
  await close();
  return seen;
}

test("a reader sees what may be read, and no way of changing it", { timeout: 180_000 }, async () => {
  const seen = await documents("reader");
  assert.deepEqual(seen, { tabs: ["Ask", "Documents", "API"], rows: { "wards/leave.md": "ready" }, trash: 0, drop: 0, summary: "1 ready" });
});

test("an editor puts in and takes out, and sees what failed of what may be read", { timeout: 180_000 }, async () => {
  const seen = await documents("editor");
  assert.deepEqual(seen, { tabs: ["Ask", "Documents", "API"], rows: { "wards/broken.pdf": "failed", "wards/leave.md": "ready" }, trash: 1, drop: 1, summary: "1 ready · 1 failed" });
});

test("a manager has the team besides, an administrator everything", { timeout: 180_000 }, async () => {
  const manager = await documents("manager");
  assert.deepEqual(manager.tabs, ["Ask", "Documents", "People", "API"]);
  assert.deepEqual(manager.rows, { "wards/broken.pdf": "failed", "wards/leave.md": "ready" });
  const admin = await documents("admin");
  assert.deepEqual(admin.tabs, ["Ask", "Documents", "Quality", "Usage", "Audit", "People", "Webhooks", "API"]);
  assert.deepEqual([Object.keys(admin.rows).length, admin.trash, admin.drop], [4, 4, 1]);
});

test("an auditor sees what was used, and no documents", { timeout: 180_000 }, async () => {
  const { page, tabs, close } = await as("auditor");
  assert.deepEqual(tabs, ["Usage", "Audit", "Account", "API"]);
  for (const tab of tabs) {
    await page.getByRole("link", { name: tab, exact: true }).click();
    await page.locator("main h1").first().waitFor();
  }
  await page.goto(`${a.url}/#documents`);
  await page.locator("main h1", { hasText: "Usage" }).waitFor();
  assert.equal(await page.getByRole("button", { name: /trash|Drop documents/ }).count(), 0);
  if (shots) await page.screenshot({ path: join(shots, "role-auditor.png") });
  await close();
});

test("nothing on any of these pages asked for what is refused", () => {
  assert.deepEqual(refused, []);
});
