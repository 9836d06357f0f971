// Why these passages, why not that document: by the API and the command line.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { binDir, startAppliance } from "./appliance.mjs";

const run = promisify(execFile);
let a;
let documents;

before(async () => {
  a = await startAppliance();
  a.drop("hr/leave.md", "# Parental leave\n\nParental leave lasts twelve weeks. Leave is granted to every parent.\n");
  a.drop("hr/travel.md", "# Travel\n\nTravel costs are paid within two weeks after the journey.\n");
  a.drop("it/passwords.md", "# Passwords\n\nPasswords are changed every year and never written down.\n");
  a.drop("it/printers.txt", "The printers stand in the cellar. They are repaired on Tuesdays.\n");
  await a.settled({ n: 4 });
  documents = Object.fromEntries((await a.documents()).map((d) => [d.path, d.id]));
});

after(() => a?.stop());

const close = (x, y) => Math.abs(x - y) < 1e-3;

test("every word of the question is there, and the shares add up", async () => {
  const r = await a.post("/api/explain", { query: "How many weeks does parental leave last?" });
  assert.equal(r.passages[0].document.path, "hr/leave.md");
  const plain = await a.post("/api/search", { query: "How many weeks does parental leave last?" });
  assert.deepEqual(r.passages.map((p) => [p.document.path, p.score]), plain.passages.map((p) => [p.document.path, p.score]));
  for (const p of r.passages) {
    const { uses } = p.why;
    assert.ok(uses.length >= 5, JSON.stringify(uses));
    assert.ok(close(uses.reduce((sum, u) => sum + u.share, 0), 1), JSON.stringify(uses));
    assert.ok(uses.every((u) => (u.in_text > 0 || u.in_title) === u.share > 0), JSON.stringify(uses));
  }
  const leave = r.passages[0].why.uses.find((u) => u.word === "leave");
  assert.deepEqual([leave.in_text, leave.in_title, leave.function_word], [2, true, false]);
  assert.ok(r.passages[0].why.uses.find((u) => u.word === "how").function_word);
  assert.equal(plain.passages[0].why.uses, undefined);
});

test("why not: fewer words, a condition, or nothing to know", async () => {
  const query = "weeks of parental leave";
  const printers = await a.post("/api/explain", { query, document: documents["it/printers.txt"] });
  assert.equal(printers.why_not.known, true);
  assert.deepEqual(printers.why_not.filtered ?? [], []);
  assert.ok(printers.why_not.best.uses.every((u) => u.word === "of" || u.share === 0), JSON.stringify(printers.why_not));

  const filtered = await a.post("/api/explain", { query, collections: ["it"], formats: ["md"], document: documents["hr/leave.md"] });
  assert.deepEqual(filtered.why_not.filtered, ["collection"]);
  assert.equal(filtered.why_not.best, undefined);

  const shown = await a.post("/api/explain", { query, document: documents["hr/leave.md"] });
  assert.equal(shown.why_not.shown_rank, 1);

  const missing = await a.post("/api/explain", { query, document: "01HZZZZZZZZZZZZZZZZZZZZZZZ" });
  assert.deepEqual([missing.why_not.known, missing.why_not.best], [false, undefined]);

  const bad = await a.request("/api/explain", { method: "POST", body: { query, document: "x".repeat(80) } });
  assert.equal(bad.status, 400);
});

test("a conversation's search is explained as chat asked it", async () => {
  const messages = [{ role: "user", content: "How many weeks does parental leave last?" }, { role: "assistant", content: "Twelve." }, { role: "user", content: "And the costs after a journey?" }];
  const c = await a.post("/v1/chat/completions", { model: "carrel", messages, carrel: { collections: ["hr"] } });
  const asked = { query: messages[2].content, earlier: [messages[0].content], widen: c.carrel.widen, collections: ["hr"] };
  const r = await a.post("/api/explain", asked);
  const places = r.passages.map((p) => [p.document.id, p.start, p.end]);
  assert.ok(c.citations.length > 0);
  for (const p of c.citations) assert.ok(places.some(([id, start, end]) => id === p.document.id && start === p.start && end === p.end), JSON.stringify(p));
  assert.ok(r.passages.some((p) => p.why.uses.some((u) => u.earlier && u.word === "parental")), "words of earlier questions are told as such");
  assert.ok((await a.post("/api/search", { query: "unknownword", rewritten: "printers cellar" })).passages.length > 0);
  for (const bad of [{ earlier: "x" }, { earlier: [1] }, { earlier: Array(9).fill("x") }, { rewritten: 7 }, { rewritten: "x".repeat(40_000) }]) {
    assert.equal((await a.request("/api/explain", { method: "POST", body: { query: "leave", ...bad } })).status, 400, JSON.stringify(bad).slice(0, 80));
  }
});

test("documents are looked for by a part of their file's name, within what one may read", async () => {
  const named = async (q, key) => {
    const r = await a.request(`/api/documents?${q}`, { key });
    return r.ok ? (await r.json()).documents.map((d) => d.path).sort() : r.status;
  };
  assert.deepEqual(await named("q=EAV"), ["hr/leave.md"]);
  assert.deepEqual(await named("q=r&collection=it"), ["it/passwords.md", "it/printers.txt"]);
  assert.deepEqual(await named("q=%25"), []);
  assert.equal((await named("q=r&limit=2")).length, 2);
  assert.equal((await named("q=")).length, 4, "nothing typed: all");
  assert.equal(await named("q=r&state=failed"), 400);
  assert.equal(await named(`q=${"r".repeat(300)}`), 400);
  const k = await a.post("/api/keys", { name: "reader", groups: ["staff"] });
  assert.deepEqual(await named("q=print", k.key), ["it/printers.txt"]);
});

test("on the command line", async () => {
  const carrel = (...args) => run(join(binDir, "carrel"), [...args, "--home", a.home]);
  const why = await carrel("explain", "parental leave");
  assert.match(why.stdout, /1\. .*hr\/leave\.md/);
  assert.match(why.stdout, /words: place 1/);
  assert.match(why.stdout, /leave {2}2 in the text, in the title/);
  const not = await carrel("explain", "parental leave", "--document", "hr/travel.md", "--collection", "it").catch((e) => e);
  assert.match(not.stdout, /does not meet the condition "collection"/);
});
