// The page in a real browser: sign in, drop files, ask, open a citation, by mouse and by keyboard.

import { after, before, test as plainTest } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { startAppliance, until, within } from "../service/appliance.mjs";
import { makePdf } from "../service/pdf.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const shots = process.env.CARREL_SCREENSHOTS; // a folder: keep pictures there

const STEP_MS = 30_000; // one thing in the browser
const TEST_MS = 60_000;

let a, browser, page;
let lost = "the appliance and the browser did not start";

/** The tests stand on each other: without a page to look at none waits for what cannot come. */
function test(name, fn) {
  plainTest(name, { timeout: TEST_MS }, async () => {
    if (lost !== "") throw new Error(`not tried: ${lost}`);
    await fn();
  });
}
const outside = [];
const complaints = [];

const handbook = makePdf(
  [
    [{ size: 20, text: "Staff handbook" }, "", "Welcome to the observatory. This handbook says how we work together."],
    [
      { size: 16, text: "Leave" },
      "",
      "Every employee is entitled to twenty-eight days of paid annual leave.",
      "Part-time staff receive annual leave in proportion to their weekly hours.",
      "Requests for leave are sent to the head of department two weeks ahead.",
    ],
    [{ size: 16, text: "Telescope time" }, "", "Telescope time on the north dome is booked with the night assistant before noon."],
  ],
  { title: "Staff handbook" },
);

before(async () => {
  a = await startAppliance();
  a.drop("kitchen.md", "# Kitchen rules\n\nThe dishwasher is emptied by the person who finds it finished.\n\n## Coffee\n\nThe espresso machine is descaled on the first Monday of every month.\n");
  a.drop("visit.html", "<html><head><title>Visitors</title></head><body><nav>Home</nav><h1>Visitors</h1><p>Visitors park their cars behind the solar tower and sign in at the gate.</p></body></html>");
  await a.settled({ n: 2 });
  if (!(await (await a.request("/", { key: null })).text()).includes('id="app"')) {
    lost = "serve has no page: run npm ci and npm run build in serve/web";
    throw new Error(lost);
  }
  browser = await chromium.launch({
    timeout: 60_000,
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, colorScheme: "light" });
  context.setDefaultTimeout(STEP_MS);
  page = await context.newPage();
  page.on("request", (r) => {
    if (!r.url().startsWith(a.url) && !r.url().startsWith("blob:")) outside.push(r.url());
  });
  page.on("console", (m) => {
    if (m.type() === "error" && !/status of 401/.test(m.text())) complaints.push(m.text());
  });
  page.on("pageerror", (e) => complaints.push(String(e)));
  lost = "";
});

after(async () => {
  try {
    if (browser) await within(STEP_MS, "the browser closes", browser.close());
  } finally {
    await a?.stop();
  }
});

async function shot(name) {
  if (!shots) return;
  mkdirSync(shots, { recursive: true });
  await page.screenshot({ path: join(shots, `${name}.png`) });
}

async function accessible(where) {
  await within(STEP_MS, "axe loads", page.evaluate(axe)); // evaluate knows no timeout of its own
  const found = await within(60_000, `axe looks at ${where}`, page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21aa"] })));
  assert.deepEqual(found.violations.map((v) => `${where}: ${v.id}: ${v.nodes.map((n) => n.html).join(" ")}`), []);
}

async function ask(question) {
  await page.getByLabel("Your question").fill(question);
  await page.keyboard.press("Enter");
  const last = page.locator(".exchange").last();
  await last.locator('.answer-text[aria-busy="false"]').waitFor({ timeout: 60_000 });
  return last;
}

test("a wrong key is refused in words, the right one opens the page", async () => {
  lost = "nobody could sign in";
  await page.goto(a.url);
  await page.getByRole("button", { name: "Use a key instead" }).click();
  await page.getByLabel("Key").fill("carrel_wrong");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").waitFor();
  await shot("signin");
  await accessible("sign in");
  await page.getByLabel("Key").fill(a.key);
  await page.keyboard.press("Enter");
  await page.getByLabel("Your question").waitFor();
  const cookies = await page.context().cookies();
  assert.equal(cookies.length, 1);
  assert.equal(cookies[0].httpOnly, true);
  assert.equal(cookies[0].sameSite, "Strict");
  assert.equal(await page.evaluate(() => document.cookie), "");
  lost = "";
  await shot("ask-empty");
});

test("a dropped PDF is uploaded, read and listed as ready", async () => {
  await page.getByRole("link", { name: "Documents" }).click();
  await page.setInputFiles("#pick", { name: "handbook.pdf", mimeType: "application/pdf", buffer: handbook });
  await page.setInputFiles("#pick", { name: "broken.pdf", mimeType: "application/pdf", buffer: Buffer.from("%PDF-1.4 nothing") });
  await page.locator('tr[data-path="handbook.pdf"] .state.ready').waitFor({ timeout: 60_000 });
  const broken = page.locator('tr[data-path="broken.pdf"]');
  await broken.locator(".state.failed").waitFor({ timeout: 60_000 });
  assert.match(await broken.locator(".why").innerText(), /damaged.*print it/, "what is wrong, and what to do");
  await shot("documents");
  await accessible("documents");
  const row = page.locator('tr[data-path="handbook.pdf"]');
  assert.equal(await row.locator(".name").innerText(), "Staff handbook", "the document's title, not its file's name");
  assert.equal(await row.locator(".folder").innerText(), "handbook.pdf");
  assert.equal(await row.locator(".pages").innerText(), "3");
  await row.getByRole("button", { name: "About handbook.pdf" }).click();
  assert.match(await page.locator("tr.facts-row").innerText(), /SHA-256\s+[0-9a-f]{64}/);
  await accessible("what is known of a document");
  await row.getByRole("button", { name: "About handbook.pdf" }).click();
  await page.getByLabel("Filter by name, title or author").fill("staff hand");
  assert.equal(await page.locator("tbody tr[data-path]").count(), 1);
  await page.getByLabel("Filter by name, title or author").fill("");
  const paths = () => page.locator("tbody tr[data-path]").evaluateAll((rows) => rows.map((r) => r.dataset.path));
  assert.deepEqual(await paths(), ["broken.pdf", "handbook.pdf", "kitchen.md", "visit.html"], "what failed is seen first, the others by path");
  await page.getByLabel("State").selectOption("failed");
  assert.deepEqual(await paths(), ["broken.pdf"]);
  await page.getByLabel("State").selectOption("");
});

test("what lies in a mail stands under it; a passage of the mail says its subject once", async () => {
  a.drop("post/offer.eml", 'From: Ada <ada@example.org>\nTo: Bo <bo@example.org>\nSubject: Offer for the mirror\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n\n--b\nContent-Type: text/plain\n\nThe new mirror is polished in Jena and weighs ninety kilograms.\n--b\nContent-Type: text/plain\nContent-Disposition: attachment; filename="terms.txt"\n\nPayment is due within thirty days of delivery.\n--b--\n');
  const member = page.locator('tr[data-path="post/offer.eml/terms.txt"]');
  await member.locator(".state.ready").waitFor({ timeout: 60_000 });
  assert.equal(await page.locator('tr[data-path="post/offer.eml"] + tr').getAttribute("data-path"), "post/offer.eml/terms.txt");
  assert.equal(await member.locator(".inside").innerText(), "inside");
  await shot("members");
  await accessible("members");
  await page.getByRole("link", { name: "Ask" }).click();
  const exchange = await ask("Where is the new mirror polished?");
  await exchange.locator(".source", { hasText: "Offer for the mirror" }).first().click();
  const where = page.locator(".viewer .where");
  await page.locator(".viewer .text mark").waitFor();
  assert.equal(await where.innerText(), "post/offer.eml · message Offer for the mirror");
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "New question" }).click();
});

test("a question gets an answer whose citation opens the right page with its lines marked", async () => {
  await page.getByRole("link", { name: "Ask" }).click();
  const exchange = await ask("How many days of annual leave does an employee get?");
  assert.match(await exchange.locator(".answer-text").innerText(), /twenty-eight days of paid annual leave/);
  await exchange.locator(".mark").first().click();
  const viewer = page.locator(".viewer");
  await viewer.locator(".sheet img").waitFor({ timeout: 60_000 });
  assert.match(await viewer.locator(".where").innerText(), /handbook\.pdf · page 2/);
  const picture = await viewer.locator(".sheet img").evaluate((i) => ({ w: i.naturalWidth, h: i.naturalHeight }));
  assert.ok(picture.w > 300 && picture.h > picture.w, JSON.stringify(picture));
  const sheet = await viewer.locator(".sheet").boundingBox();
  const box = await viewer.locator("[data-box]").first().boundingBox();
  assert.ok(box.width > 20 && box.height > 4, "the mark has an extent");
  assert.ok(box.x >= sheet.x - 1 && box.x + box.width <= sheet.x + sheet.width + 1, "the mark lies on the page");
  assert.ok(box.y >= sheet.y && box.y + box.height <= sheet.y + sheet.height, "the mark lies on the page");
  await page.waitForTimeout(300);
  await shot("answer-pdf");
  await accessible("answer with a PDF page");
});

test("thumbs stay pressed, are kept, and can be taken back", async () => {
  const exchange = page.locator(".exchange").last();
  const up = exchange.getByRole("button", { name: "Helpful: this answer", exact: true });
  await up.click();
  await exchange.locator('[aria-label="Helpful: this answer"][aria-pressed="true"]').waitFor();
  await exchange.getByRole("button", { name: /^Not helpful: source/ }).first().click();
  await exchange.locator('[aria-label^="Not helpful: source"][aria-pressed="true"]').waitFor();
  await shot("thumbs");
  await accessible("thumbs");
  await up.click();
  await exchange.locator('[aria-label="Helpful: this answer"][aria-pressed="false"]').waitFor();
});

test("why this passage: places, score and the question's words, asked for when it is opened", async () => {
  const exchange = page.locator(".exchange").last();
  const asked = [];
  const note = (r) => r.url().endsWith("/api/explain") && asked.push(JSON.parse(r.postData()));
  page.on("request", note);
  const panel = exchange.locator("details.reason").first();
  assert.equal(asked.length, 0);
  await panel.locator("summary").focus();
  await page.keyboard.press("Enter");
  await panel.locator(".uses li").first().waitFor();
  assert.equal(asked.length, 1);
  const text = await panel.innerText();
  assert.match(text, /Score \d\.\d{3}/);
  assert.match(text, /By words: place 1/);
  assert.match(await panel.locator(".uses li", { hasText: "leave" }).innerText(), /(once|twice|times) in the text/);
  assert.match(await panel.locator(".uses li", { hasText: "how" }).innerText(), /common word/);
  await panel.scrollIntoViewIfNeeded();
  await shot("why-this");
  await accessible("why this");
  page.off("request", note);
});

test("why not another document: chosen by typing, told in plain words", async () => {
  const panel = page.locator(".exchange").last().locator("details.why-not");
  await panel.locator("summary").click();
  const name = panel.getByRole("combobox", { name: "Document" });
  const options = panel.getByRole("option");
  await name.focus();
  await options.nth(2).waitFor();
  const asked = page.waitForRequest((r) => r.url().includes("/api/documents?") && r.url().includes("q=KITCH"));
  await name.fill("KITCH");
  await asked;
  await until("only what has it in its name", async () => (await options.count()) === 1);
  assert.equal(await name.getAttribute("aria-expanded"), "true");
  await shot("why-not-list");
  await accessible("why not, choosing");
  await page.keyboard.press("ArrowDown");
  assert.equal(await name.getAttribute("aria-activedescendant"), await options.first().getAttribute("id"));
  await page.keyboard.press("Enter");
  await panel.locator(".reason-body p").first().waitFor();
  assert.equal(await name.inputValue(), "kitchen.md");
  assert.match(await panel.locator(".reason-body").innerText(), /question's words|Others fit better|at place/);
  assert.equal(await panel.getByRole("listbox").isVisible(), false);
  await name.fill("no such name");
  await panel.getByText("No document has this in its name.").waitFor();
  await name.fill("visit");
  await options.filter({ hasText: "visit.html" }).click();
  await panel.getByText(/question's words|Others fit better|at place/).waitFor();
  await panel.scrollIntoViewIfNeeded();
  await shot("why-not");
  await accessible("why not");
  // one that is gone by the time it is asked about
  await page.route("**/api/explain", (route) => route.continue({ postData: JSON.stringify({ ...JSON.parse(route.request().postData()), document: "01HZZZZZZZZZZZZZZZZZZZZZZZ" }) }));
  await name.fill("handbook");
  await options.first().waitFor();
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("Enter");
  await panel.getByText("There is no such document, or you may not read it.").waitFor();
  await page.unroute("**/api/explain");
});

test("why, in a conversation: the search that the answer was made from", async () => {
  await page.getByRole("button", { name: "New question" }).click();
  await ask("How many days of annual leave does an employee get?");
  const exchange = await ask("And for part-time staff?");
  const sent = page.waitForRequest((r) => r.url().endsWith("/api/explain"));
  const panel = exchange.locator("details.reason").first();
  await panel.locator("summary").click();
  const body = JSON.parse((await sent).postData());
  assert.equal(body.widen, 0, "as the settings have it");
  assert.deepEqual(body, { query: "And for part-time staff?", earlier: ["How many days of annual leave does an employee get?"], widen: 0 });
  await panel.locator(".uses li").first().waitFor();
  assert.match(await panel.innerText(), /from an earlier question/);
});

test("what is folded into a passage is named; panels and versions keep their contrast in the dark", async () => {
  const recipe = (word) => `# Observatory soup\n\nThe observatory soup is cooked for forty minutes with leeks, barley and two bay leaves. While it simmers on the small stove below the dome, the night assistant peels the potatoes and slices the carrots as thinly as the knife allows. Half a litre of milk goes in last, together with a handful of parsley from the roof. It is served with dark bread on the terrace before the telescopes are opened, and what is left over is kept for the morning in the cellar. A ${word} of pepper is added at the table.\n`;
  a.drop("soup/first.md", recipe("pinch"));
  a.drop("soup/second.md", recipe("touch"));
  await until("the soup is found twice", async () => (await a.search("observatory soup leeks barley", { fold: false })).filter((p) => p.document.path.startsWith("soup/")).length === 2);
  a.drop("kitchen.md", "# Kitchen rules\n\nThe dishwasher is emptied by the person who finds it finished.\n\n## Coffee\n\nThe espresso machine is descaled on the first Tuesday of every month.\n");
  await until("the kitchen has changed", async () => (await a.search("espresso machine descaled")).some((p) => p.text.includes("Tuesday")));
  await page.getByRole("button", { name: "New question" }).click();
  const soup = await ask("How long is the observatory soup cooked?");
  const panel = soup.locator("details.reason").first();
  await panel.locator("summary").click();
  await panel.getByText(/The same is also in: soup\/(first|second)\.md/).waitFor();
  const other = soup.locator("details.why-not");
  await other.locator("summary").click();
  await other.getByRole("combobox").fill("visit");
  await other.getByRole("option").first().waitFor();
  const coffee = await ask("When is the espresso machine descaled?");
  await coffee.locator(".mark").first().click();
  const past = page.locator(".viewer .versions");
  await past.locator("summary").click();
  await until("both versions are listed", async () => (await past.locator("li").count()) === 2);
  assert.match(await past.locator("li").first().innerText(), /today/);
  assert.doesNotMatch(await past.locator("li").nth(1).innerText(), /today|no longer kept/);
  await panel.scrollIntoViewIfNeeded();
  await everywhere("panels");
  await past.locator("summary").click();
  await page.keyboard.press("Escape");
});

test("the viewer lists a document's versions", async () => {
  const exchange = page.locator(".exchange").last();
  await exchange.locator(".mark").first().click();
  const past = page.locator(".viewer .versions");
  await past.locator("summary").click();
  await past.locator("li").first().waitFor();
  assert.match(await past.locator("li").first().innerText(), /today/);
  await shot("versions");
  await accessible("versions");
  await page.keyboard.press("Escape");
});

test("a question is narrowed, the filter is seen with its answer and taken away again", async () => {
  const bar = page.locator(".filters");
  await bar.locator("summary").click();
  const select = bar.locator("label", { hasText: "Format" }).locator("select");
  await select.waitFor();
  assert.equal(await bar.getByLabel("Label").isVisible(), false, "one value only: nothing to choose");
  const format = "md";
  await select.selectOption(format);
  const today = new Date().toISOString().slice(0, 10);
  await bar.getByLabel("As of", { exact: true }).fill(today);
  await shot("filters");
  await accessible("filters");
  const sent = page.waitForRequest((r) => r.url().endsWith("/v1/chat/completions"));
  const exchange = await ask("When is the espresso machine descaled?");
  assert.deepEqual(JSON.parse((await sent).postData()).carrel, { formats: [format], as_of: today });
  assert.match(await exchange.locator(".scope").innerText(), new RegExp(`as they stood on ${today}[^]*Format: ${format}`));
  await shot("as-of");
  await accessible("narrowed answer");
  await bar.getByLabel(`Remove Format: ${format}`).click();
  await bar.getByLabel(`Remove As of ${today}`).click();
  assert.equal(await bar.locator(".active li").count(), 0);
  await bar.locator("summary").click();
  const again = page.waitForRequest((r) => r.url().endsWith("/v1/chat/completions"));
  const plain = await ask("When is the espresso machine descaled?");
  assert.equal(JSON.parse((await again).postData()).carrel, undefined);
  assert.equal(await plain.locator(".scope").count(), 0);
});

test("a citation of a text document opens the text with the passage marked; Escape returns the focus", async () => {
  const exchange = await ask("When is the espresso machine descaled?");
  assert.match(await exchange.locator(".answer-text").innerText(), /first Tuesday/);
  const mark = exchange.locator(".mark").first();
  await mark.focus();
  await page.keyboard.press("Enter");
  await page.locator(".viewer .text mark").waitFor();
  assert.match(await page.locator(".viewer .text mark").innerText(), /espresso machine is descaled/);
  await page.keyboard.press("Escape");
  assert.equal(await page.locator(".viewer").isVisible(), false);
  assert.equal(await mark.evaluate((e) => e === document.activeElement), true);
});

test("what the documents do not say is not answered", async () => {
  const exchange = await ask("Which quarterback won the championship in Cincinnati?");
  assert.equal(await exchange.locator(".mark").count(), 0);
  assert.match(await exchange.locator(".answer-text").innerText(), /nothing in these documents/i);
});

test("a picture is read, and a citation marks the lines on it", async () => {
  const dir = mkdtempSync(join(tmpdir(), "carrel-e2e-"));
  try {
    const lines = ["The night watch of the observatory is kept by Imke Terpstra.", "She can be reached at extension four hundred."];
    writeFileSync(join(dir, "p.pdf"), makePdf([lines]));
    execFileSync("pdftoppm", ["-png", "-gray", "-r", "150", "-singlefile", join(dir, "p.pdf"), join(dir, "p")]);
    a.drop("watch.png", readFileSync(join(dir, "p.png")));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  await until("the picture is ready", async () => (await a.documents()).some((d) => d.path === "watch.png" && d.state === "ready"));
  await page.getByRole("button", { name: "New question" }).click();
  const exchange = await ask("Who keeps the night watch of the observatory?");
  assert.match(await exchange.locator(".answer-text").innerText(), /Imke Terpstra/);
  await exchange.locator(".mark").first().click();
  const viewer = page.locator(".viewer");
  await until("its picture is shown", async () => /watch\.png · page 1/.test(await viewer.locator(".where").innerText()) && (await viewer.locator(".sheet img").count()) === 1);
  assert.equal(await viewer.locator("[data-box]").count(), 2, "words side by side are one mark: one a line");
  const sheet = await viewer.locator(".sheet").boundingBox();
  const box = await viewer.locator("[data-box]").first().boundingBox();
  const share = (x, of) => x / of;
  assert.ok(Math.abs(share(box.x - sheet.x, sheet.width) - 72 / 612) < 0.02, "the line begins where it was written");
  assert.ok(Math.abs(share(box.y - sheet.y, sheet.height) - 81 / 792) < 0.02, "at its height");
  await shot("answer-picture");
});

test("the whole page works by keyboard alone", async () => {
  await page.reload();
  await page.getByLabel("Your question").waitFor();
  await page.keyboard.type("Where do visitors park?");
  await page.keyboard.press("Enter");
  await page.locator('.answer-text[aria-busy="false"]').waitFor({ timeout: 60_000 });
  assert.match(await page.locator(".answer-text").innerText(), /behind the solar tower/);
  for (let i = 0; i < 25; i++) {
    await page.keyboard.press("Shift+Tab");
    if (await page.evaluate(() => document.activeElement?.classList.contains("mark"))) break;
  }
  assert.equal(await page.evaluate(() => document.activeElement?.classList.contains("mark")), true, "a citation can be reached");
  await page.keyboard.press("Enter");
  await page.locator(".viewer .text mark").waitFor();
  await page.keyboard.press("Escape");
});

test("dark colours keep the contrast", async () => {
  await page.emulateMedia({ colorScheme: "dark" });
  await accessible("dark");
  await shot("dark");
  await page.emulateMedia({ colorScheme: "light" });
});

/** Pictures and axe in light and dark, on a desk and on a phone. */
async function everywhere(name) {
  for (const scheme of ["light", "dark"]) {
    for (const width of [1280, 390]) {
      await page.emulateMedia({ colorScheme: scheme });
      await page.setViewportSize({ width, height: 860 });
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${name}: wider than ${width}`);
      if ((scheme === "dark") === (width === 390)) await accessible(`${name}, ${scheme}, ${width}`); // each colour and each width once
      if (shots) {
        mkdirSync(shots, { recursive: true });
        await page.screenshot({ path: join(shots, `${name}-${scheme}-${width}.png`), fullPage: true });
      }
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 1280, height: 860 });
}

const quality = () => page.locator(".quality");

async function measured(runs) {
  await quality().getByRole("button", { name: "Measure now" }).click();
  await until(`${runs} runs`, async () => {
    const e = await a.get("/api/eval");
    return !e.running && e.runs.length >= runs;
  });
  await quality().getByRole("button", { name: "Stop" }).waitFor({ state: "hidden", timeout: 60_000 });
}

test("quality: nothing measured yet, then a run with its progress, as plots and as numbers", async () => {
  for (const site of ["north", "harbour"]) {
    for (const subject of ["parental leave", "travel expenses", "fire drills", "visitor badges", "server backups", "bicycle storage"]) {
      a.drop(`${site}/${subject.replace(" ", "-")}.md`, `# Rules for ${subject} at the ${site} site\n\nThese rules describe how ${subject} are organised by the ${site} team.\n\n## Applying for ${subject} in advance\n\nA ${subject} coordinator means the person who handles ${subject} there. Requests are answered within three days by the coordinator of the ${site}.\n\n## Common questions\n\nWho pays when ${subject} become more expensive than planned? The department that asked for it does.\n`);
    }
  }
  await a.settled({ n: 15 });
  await page.getByRole("link", { name: "Quality" }).click();
  await quality().getByText("Nothing has been measured so far.").waitFor();
  await quality().getByText("Which quarterback won the championship in Cincinnati?").waitFor();
  await accessible("quality, nothing measured");
  await measured(1);
  assert.equal(await quality().locator("figure.plot").count(), 4);
  assert.equal(await quality().locator("figure.plot .pt").count(), 4);
  await quality().getByLabel("Measure", { exact: true }).selectOption({ label: "Plain words against search as it is" });
  await measured(3);
  await quality().locator("figure.plot").first().locator(".pt").nth(2).waitFor({ state: "attached" });
  assert.equal(await quality().locator(".legend li").count(), 2);
  const kept = (await a.get("/api/eval")).runs;
  await quality().locator(".numbers summary").click();
  const rows = quality().locator(".figures tbody tr");
  assert.equal(await rows.count(), 3);
  assert.ok((await rows.first().innerText()).includes(kept[0].all.ndcg_10.mean.toFixed(3)), "the table has the run's figures");
  await everywhere("quality");
});

test("quality: the points are reached by keyboard and say their numbers; a collection narrows them", async () => {
  const plot = quality().locator("figure.plot").first();
  assert.equal(await plot.locator('.pt[tabindex="0"]').count(), 1, "one tab stop");
  await plot.locator('.pt[tabindex="0"]').focus();
  const said = () => page.evaluate(() => document.activeElement.getAttribute("aria-label"));
  const first = await said();
  assert.match(first, /^nDCG@10 \d\.\d{3} \(\d\.\d{3} to \d\.\d{3}\)\. /);
  await page.keyboard.press("ArrowLeft");
  assert.notEqual(await said(), first);
  await page.keyboard.press("End");
  assert.equal(await said(), first);
  await page.keyboard.press("ArrowDown");
  assert.match(await said(), /plain BM25/);
  assert.equal(await plot.locator(".bubble").innerText(), await said());
  await shot("quality-point");
  const all = await quality().locator(".figures tbody tr").first().innerText();
  await quality().getByLabel("Collection").selectOption({ label: "harbour" });
  assert.notEqual(await quality().locator(".figures tbody tr").first().innerText(), all);
  await quality().getByLabel("Collection").selectOption({ label: "all" });
});

test("quality: two runs are compared in plain words, thumbs are counted", async () => {
  const difference = quality().locator(".difference");
  await difference.locator("li").first().waitFor();
  assert.match(await difference.innerText(), /(better|worse) by \d\.\d{3} \(95 % interval|no difference shown: [+−]\d\.\d{3}|no difference on any question/);
  await quality().getByLabel("Against run").selectOption(await quality().getByLabel("Run", { exact: true }).inputValue());
  await difference.getByText("Choose two different runs.").waitFor();
  const counts = await quality().locator(".counts").innerText();
  const o = await a.get("/api/feedback?days=90");
  assert.ok(o.refused >= 1 && o.passages_disliked >= 1);
  assert.match(counts, new RegExp(`${o.passages_disliked}\\s+sources not helpful`));
});

test("quality: a run is stopped", async () => {
  // a run over these few documents is over in a moment: the page is told that it goes on until it was stopped
  let stopped = false;
  const state = await a.get("/api/eval?history=60");
  await page.route("**/api/eval*", async (route) => {
    const method = route.request().method();
    stopped ||= method === "DELETE";
    if (method === "DELETE") return route.continue();
    await route.fulfill({ json: stopped ? { ...state, failed: "stopped" } : { ...state, running: true, done: 3, total: 12 } });
  });
  await quality().getByRole("button", { name: "Measure now" }).click();
  const stop = quality().getByRole("button", { name: "Stop" });
  await quality().getByText("3 of 12 questions asked").waitFor();
  assert.equal(await stop.evaluate((e) => e === document.activeElement), true, "who started it by keyboard can stop it");
  assert.equal(await quality().locator("progress").getAttribute("value"), "0.25");
  await shot("quality-running");
  await accessible("quality, running");
  await page.keyboard.press("Enter");
  await stop.waitFor({ state: "hidden", timeout: 60_000 });
  await page.unroute("**/api/eval*");
  assert.equal(stopped, true);
  assert.match(await quality().getByRole("alert").first().innerText(), /stopped/);
  assert.equal(await quality().getByRole("button", { name: "Measure now" }).isEnabled(), true);
});

test("a document moved to the trash is gone from the list and from search", async () => {
  await page.getByRole("link", { name: "Documents" }).click();
  page.once("dialog", (d) => d.accept());
  await page.getByLabel("Move visit.html to the trash").click();
  await page.locator('tr[data-path="visit.html"]').waitFor({ state: "detached", timeout: 60_000 });
  const hits = await a.search("visitors park cars solar tower");
  assert.ok(hits.every((p) => p.document.path !== "visit.html"));
});

test("people: a user is added, signs in with the password shown once, chooses another", async () => {
  await page.getByRole("link", { name: "People" }).click();
  await page.getByText("Add a user", { exact: true }).click();
  const form = page.locator("form.fields").first();
  await form.getByLabel("Name").fill("dora@clinic.example");
  await form.getByLabel("Role").selectOption("reader");
  await form.getByRole("button", { name: "Add" }).click();
  await page.getByText("It is shown only now.").waitFor();
  const password = await page.locator(".once .secret").innerText();
  await page.getByRole("row", { name: /dora@clinic/ }).waitFor();
  await shot("people");
  await accessible("people");
  const other = await page.context().browser().newContext();
  const hers = await other.newPage();
  await hers.goto(a.url);
  await hers.getByLabel("Name").fill("dora@clinic.example");
  await hers.getByLabel("Password").fill(password);
  await hers.keyboard.press("Enter");
  await hers.getByLabel("New password").fill("quiet river stones");
  await hers.getByLabel("The same again").fill("quiet river stones");
  await hers.keyboard.press("Enter");
  await hers.getByLabel("Your question").waitFor();
  for (const tab of ["People", "Usage", "Audit", "Webhooks"]) assert.equal(await hers.getByRole("link", { name: tab }).count(), 0, tab);
  assert.equal(await hers.evaluate(async () => (await fetch("/api/audit")).status), 403);
  await hers.getByRole("link", { name: "Account" }).click();
  await hers.getByRole("button", { name: "Set it up" }).click();
  await hers.locator(".qr").waitFor();
  await other.close();
});

test("audit: an auditor sees who did what, checks the chain and asks nothing", async () => {
  await a.post("/api/search", { query: "Where do visitors park?" });
  const { key } = await a.post("/api/keys", { name: "Prüferin", role: "auditor" });
  const context = await browser.newContext({ viewport: { width: 380, height: 860 }, colorScheme: "dark" });
  context.setDefaultTimeout(STEP_MS);
  const p = await context.newPage();
  p.on("pageerror", (e) => complaints.push(String(e)));
  await p.goto(a.url);
  await p.getByRole("button", { name: "Use a key instead" }).click();
  await p.getByLabel("Key").fill(key);
  await p.keyboard.press("Enter");
  await p.getByRole("link", { name: "Audit" }).click();
  const records = p.getByRole("region", { name: "Records, as a table" });
  await records.getByRole("row", { name: /Where do visitors park\?.*done/ }).first().waitFor();
  await p.getByText(/The last record is number \d+/).waitFor();
  assert.match(await p.locator(".audit code.secret").first().textContent(), /^\d+:[0-9a-f]{64}$/);
  await p.getByRole("button", { name: "Check the whole chain" }).click();
  await p.getByText("The chain is whole").waitFor();
  await p.getByLabel("Shown").selectOption("act");
  const made = records.getByRole("row", { name: /key\.create/ }).first();
  await made.getByRole("button", { name: /in full/ }).focus();
  await p.keyboard.press("Enter");
  await records.getByText('"Prüferin"').first().waitFor();
  assert.equal(await records.getByRole("row", { name: /Where do visitors park/ }).count(), 0);
  assert.equal(await p.getByRole("link", { name: "Ask" }).count(), 0);
  await p.evaluate(axe);
  const found = await p.evaluate(async () => (await window.axe.run()).violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target).join(" ")}`));
  assert.deepEqual(found, []);
  assert.ok(await p.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing is wider than the window");
  await context.close();
});

test("signing out ends the session", async () => {
  await page.getByLabel("Sign out").click();
  await page.getByLabel("Key", { exact: true }).waitFor();
  assert.equal(await page.evaluate(() => fetch("/api/documents").then((r) => r.status)), 401);
});

test("nothing was loaded from elsewhere and nothing broke the content policy", () => {
  assert.deepEqual(outside, []);
  assert.deepEqual(complaints, []);
});
