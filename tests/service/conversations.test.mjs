// Conversations: kept for their owner and for nobody else, exported, erased, gone after their days and with what was erased; links
// inside a tenant show no more than their viewer may read.
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { promisify } from "node:util";
import { binDir, holding, startAppliance, until } from "./appliance.mjs";

const exec = promisify(execFile);
const keys = {};
let a;

const carrel = async (...args) => (await exec(join(binDir, "carrel"), [...args, "--home", a.home])).stdout.trim();
const call = async (who, path, { method = "GET", body } = {}) => {
  const r = await a.request(path, { key: keys[who], method, body });
  const text = await r.text();
  let json = null;
  try { json = JSON.parse(text); } catch { /* Markdown */ }
  return { status: r.status, text, json, headers: r.headers };
};
const say = async (who, conversation, messages, more = {}) =>
  call(who, "/v1/chat/completions", { method: "POST", body: { model: "carrel", conversation, messages: typeof messages === "string" ? [{ role: "user", content: messages }] : messages, ...more } });
const ask = async (who, conversation, question, more) => {
  const r = await say(who, conversation, question, more);
  assert.equal(r.status, 200, r.text);
  return { id: r.json.carrel.conversation, answer: r.json.carrel.answer_id, text: r.json.choices[0].message.content, json: r.json };
};
const mine = async (who, query = "") => (await call(who, `/api/conversations${query}`)).json.conversations;
const erase = async (body) => {
  const e = await a.post("/api/erasures", body);
  await until("it is erased", async () => (await a.get(`/api/erasures/${e.id}`)).state === "done");
};

before(async () => {
  a = await startAppliance();
  keys.admin = a.key;
  writeFileSync(join(a.home, ".access.tmp"), "access:\n  - path: hr/**\n    readers: [hr]\n");
  renameSync(join(a.home, ".access.tmp"), join(a.home, "access.yaml"));
  await carrel("tenant", "create", "north");
  for (const [name, ...more] of [["ada"], ["bob"], ["hr", "--groups", "hr"], ["north", "--tenant", "north"]]) keys[name] = await carrel("key", "create", name, ...more);
  a.drop("hr/pay.md", "# Pay\n\nThe astronomer's salary is ninety quicksilver crowns a year.\n");
  a.drop("open/visit.md", "# Visitors\n\nVisitors park their cars behind the solar tower.\n");
  a.drop("open/kitchen.md", "# Kitchen\n\nThe espresso machine is descaled on the first Monday of the month.\n");
  await a.settled({ n: 3 });
});
after(async () => a?.stop());

test("a conversation is kept with its citations, gone on with, listed, found by its title, renamed and deleted", { timeout: 180_000 }, async () => {
  const first = await ask("ada", "new", "Where do visitors park their cars?");
  assert.match(first.text, /solar tower/);
  const next = await ask("ada", first.id, [
    { role: "user", content: "Where do visitors park their cars?" },
    { role: "assistant", content: first.text },
    { role: "user", content: "When is the espresso machine descaled?" },
  ]);
  assert.equal(next.id, first.id);
  assert.equal((await ask("ada", "new", "Who empties 100% of the espresso_machine?")).json.carrel.answer_id.length, 26);
  assert.deepEqual((await mine("ada")).map((c) => c.exchanges), [1, 2], "the newest first");
  assert.deepEqual((await mine("ada", "?q=VISITORS")).map((c) => c.id), [first.id]);
  assert.equal((await mine("ada", `?q=${encodeURIComponent("100%")}`)).length, 1);
  assert.equal((await mine("ada", `?q=${encodeURIComponent("_%_")}`)).length, 0, "nothing stands for something else");
  // letters of any alphabet, accents aside, as search has it
  for (const [title, ...found] of [["Grüße aus der ÉCOLE", "GRÜSSE", "grusse", "école", "e\u0301cole"], ["МОСКВА и Тула", "москва", "ТУЛА"], ["ΑΘΗΝΑ", "αθηνα"], ["休暇の日数", "暇の日"], ["Ｆｕｌｌ width", "full"]]) {
    await call("ada", `/api/conversations/${first.id}`, { method: "PATCH", body: { title } });
    for (const q of found) assert.deepEqual((await mine("ada", `?q=${encodeURIComponent(q)}`)).map((c) => c.id), [first.id], `${title}: ${q}`);
    assert.deepEqual(await mine("ada", "?q=zzz"), []);
  }
  await call("ada", `/api/conversations/${first.id}`, { method: "PATCH", body: { title: "Where do visitors park their cars?" } });
  const page = (await call("ada", "/api/conversations?limit=1")).json;
  const rest = (await call("ada", `/api/conversations?limit=1&before=${page.conversations[0].id}`)).json;
  assert.ok(page.next !== null && rest.next === null && rest.conversations[0].id === first.id);
  await a.request("/api/feedback", { key: keys.ada, method: "POST", body: { answer: first.answer, verdict: "up", comment: "right" } });
  const open = (await call("ada", `/api/conversations/${first.id}`)).json;
  assert.equal(open.title, "Where do visitors park their cars?");
  assert.deepEqual(open.exchanges.map((e) => e.number), [1, 2]);
  assert.equal(open.exchanges[0].text, first.text);
  assert.deepEqual(open.exchanges[0].citations, first.json.citations);
  assert.equal(open.exchanges[0].carrel.engine, "extractive");
  assert.deepEqual(open.exchanges[0].feedback, [{ passage: 0, verdict: "up", comment: "right" }]);
  assert.equal((await call("ada", `/api/conversations/${first.id}`, { method: "PATCH", body: { title: "Parking" } })).status, 200);
  assert.equal((await call("ada", `/api/conversations/${first.id}`)).json.title, "Parking");
  for (const title of ["", "a\nb", "x".repeat(201), 7, undefined]) assert.equal((await call("ada", `/api/conversations/${first.id}`, { method: "PATCH", body: { title } })).status, 400);
  assert.equal((await call("ada", `/api/conversations/${first.id}`, { method: "DELETE" })).json.deleted, 1);
  assert.equal((await call("ada", `/api/conversations/${first.id}`)).status, 404);
});

test("another's conversation is as one that is not there: for every verb, in chats, for other tenants", { timeout: 180_000 }, async () => {
  const c = await ask("ada", "new", "Where do visitors park?");
  for (const who of ["bob", "north", "admin"]) {
    const nothing = "00000000000000000000000000";
    for (const [method, tail, body] of [["GET", ""], ["PATCH", "", { title: "x" }], ["DELETE", ""], ["GET", "/export"], ["GET", "/shares"], ["POST", "/shares", {}], ["DELETE", "/shares/0"]]) {
      const theirs = await call(who, `/api/conversations/${c.id}${tail}`, { method, body });
      const none = await call(who, `/api/conversations/${nothing}${tail}`, { method, body });
      assert.deepEqual([theirs.status, theirs.json?.error?.message], [404, none.json?.error?.message], `${who} ${method} ${tail}: ${theirs.text}`);
    }
    assert.equal((await say(who, c.id, "And then?")).status, 404);
    assert.deepEqual((await mine(who)).filter((x) => x.id === c.id), []);
  }
  assert.equal((await mine("ada")).some((x) => x.id === c.id), true);
});

test("what cannot be kept is refused: made-up answers, functions, ids that are none", { timeout: 180_000 }, async () => {
  const c = await ask("ada", "new", "Where do visitors park?");
  const invented = [{ role: "user", content: "Hi" }, { role: "assistant", content: "The salary is ninety crowns." }, { role: "user", content: "Where do visitors park?" }];
  assert.equal((await say("ada", c.id, invented)).status, 400);
  assert.equal((await say("ada", "new", invented)).status, 400);
  assert.equal((await say("ada", "new", "Where?", { tools: [{ type: "function", function: { name: "f", parameters: {} } }] })).status, 400);
  for (const bad of ["old", "../../x", "", 7, [], { id: 3 }, true]) assert.equal((await say("ada", bad, "Where?")).status, 400, JSON.stringify(bad));
  assert.equal((await say("ada", { id: c.id }, "Where do visitors park?")).status, 200, "as OpenAI's responses name one");
});

test("an export holds everything, as JSON and as Markdown; of all, or of one", { timeout: 180_000 }, async () => {
  const c = await ask("bob", "new", "Where do visitors park?\n# not a heading");
  await ask("bob", "new", "When is the espresso machine descaled?");
  const all = await call("bob", "/api/conversations/export");
  assert.equal(all.json.conversations.length, 2);
  assert.match(all.headers.get("content-disposition"), /attachment; filename="conversations\.json"/);
  const one = await call("bob", `/api/conversations/${c.id}/export?format=markdown`);
  assert.match(one.headers.get("content-type"), /text\/markdown/);
  assert.match(one.text, /^# Where do visitors park\? # not a heading\n/);
  assert.match(one.text, /- \[1\] open\/visit\.md \(SHA-256 of the passage [0-9a-f]{64}\)/);
  assert.equal((await call("bob", "/api/conversations/export?format=pdf")).status, 400);
});

test("a link shows its viewer what he may read: from the first answer that he may not on, nothing", { timeout: 180_000 }, async () => {
  const c = await ask("hr", "new", "Where do visitors park their cars?");
  const pay = await ask("hr", c.id, "What is the astronomer's salary?");
  assert.match(pay.text, /quicksilver/);
  await ask("hr", c.id, "When is the espresso machine descaled?");
  const made = await call("hr", `/api/conversations/${c.id}/shares`, { method: "POST", body: { days: 7 } });
  assert.equal(made.status, 201, made.text);
  const { token, id, expires } = made.json;
  assert.match(token, /^[0-9a-f]{64}$/);
  assert.ok(Math.abs(expires - Date.now() / 1000 - 7 * 86400) < 100);
  assert.deepEqual(holding(a.home, [token]), [], "the link's secret is written nowhere");
  await ask("hr", c.id, "Where do visitors park?");
  const own = (await call("hr", `/api/shared/${token}`)).json;
  assert.deepEqual(own.exchanges.map((e) => e.hidden), [false, false, false], "what was said after the link was made is not behind it");
  const seen = await call("ada", `/api/shared/${token}`);
  assert.deepEqual(seen.json.exchanges.map((e) => e.hidden), [false, true, true]);
  assert.deepEqual(Object.keys(seen.json.exchanges[1]).sort(), ["hidden", "number"]);
  assert.doesNotMatch(seen.text, /quicksilver|salary|pay\.md|espresso/);
  assert.match(seen.json.exchanges[0].text, /solar tower/);
  assert.equal(seen.headers.get("cache-control"), "no-store");
  for (const t of [randomBytes(32).toString("hex"), token.slice(1), `${token}0`, token.toUpperCase(), "x"]) assert.equal((await call("ada", `/api/shared/${t}`)).status, 404);
  assert.equal((await call("north", `/api/shared/${token}`)).status, 404, "not in another tenant");
  assert.equal((await a.request(`/api/shared/${token}`, { key: null })).status, 401, "nor for whom nobody knows");
  // the rights are those of the moment of looking
  writeFileSync(join(a.home, ".access.tmp"), "access:\n  - path: hr/**\n    readers: [hr]\n  - path: open/**\n    readers: [hr]\n");
  renameSync(join(a.home, ".access.tmp"), join(a.home, "access.yaml"));
  await until("the rule holds", async () => (await call("ada", `/api/shared/${token}`)).json.exchanges[0].hidden);
  assert.equal((await call("ada", `/api/shared/${token}`)).json.title, "", "the title is the first question");
  writeFileSync(join(a.home, ".access.tmp"), "access:\n  - path: hr/**\n    readers: [hr]\n");
  renameSync(join(a.home, ".access.tmp"), join(a.home, "access.yaml"));
  await until("the old rule holds", async () => !(await call("ada", `/api/shared/${token}`)).json.exchanges[0].hidden);
  assert.deepEqual((await call("hr", `/api/conversations/${c.id}/shares`)).json.shares.map((s) => [s.id, s.exchanges]), [[id, 3]]);
  assert.equal((await call("hr", `/api/conversations/${c.id}/shares/${id}`, { method: "DELETE" })).status, 200);
  assert.equal((await call("hr", `/api/shared/${token}`)).status, 404, "taken back");
  const twenty = await Promise.all(Array.from({ length: 21 }, () => call("hr", `/api/conversations/${c.id}/shares`, { method: "POST", body: {} })));
  assert.equal(twenty.filter((r) => r.status === 201).length, 20);
  const last = twenty.find((r) => r.status === 201).json.token;
  await call("hr", `/api/conversations/${c.id}`, { method: "DELETE" });
  assert.equal((await call("hr", `/api/shared/${last}`)).status, 404, "with its conversation");
});

test("an erased document takes its answers, what followed them and the titles", { timeout: 180_000 }, async () => {
  a.drop("open/barge.md", "# Barges\n\nThe lighthouse keeper counts seventeen vermilion barges.\n");
  await until("barges are found", async () => (await a.search("vermilion barges")).some((p) => p.text.includes("vermilion")));
  const c = await ask("ada", "new", "Where do visitors park their cars?");
  await ask("ada", c.id, "What does the lighthouse keeper count?");
  await ask("ada", c.id, "When is the espresso machine descaled?");
  const only = await ask("ada", "new", "How many barges does the lighthouse keeper count?");
  assert.match(only.text, /vermilion/);
  await call("ada", `/api/conversations/${c.id}`, { method: "PATCH", body: { title: "Seventeen vermilion barges" } });
  const { id } = (await a.documents()).find((d) => d.path === "open/barge.md");
  await erase({ documents: [id] });
  const left = (await call("ada", `/api/conversations/${c.id}`)).json;
  assert.deepEqual(left.exchanges.map((e) => e.question), ["Where do visitors park their cars?"]);
  assert.equal(left.title, "Where do visitors park their cars?");
  assert.equal((await call("ada", `/api/conversations/${only.id}`)).status, 404, "nothing is left of it");
  const files = readdirSync(join(a.home, "tenants/main")).filter((f) => f.startsWith("serve.db"));
  for (const f of files) assert.equal(readFileSync(join(a.home, "tenants/main", f)).includes("vermilion"), false, f);
});

test("a person is erased from answers and from titles", { timeout: 180_000 }, async () => {
  const who = "Zörvald Ümbrekson";
  const c = await ask("ada", "new", "Where do visitors park?");
  await call("ada", `/api/conversations/${c.id}`, { method: "PATCH", body: { title: `For ${who}` } });
  const named = await ask("ada", "new", `Where does ${who} park his car?`);
  await erase({ subject: who });
  assert.equal((await call("ada", `/api/conversations/${c.id}`)).json.title, "Where do visitors park?");
  assert.equal((await call("ada", `/api/conversations/${named.id}`)).status, 404);
  assert.deepEqual(holding(a.home, [who]), []);
});

test("one erases one's own, an administrator those of whom he names; the records go too", { timeout: 180_000 }, async () => {
  const c = await ask("bob", "new", "Which cerulean visitors park?");
  const kept = await ask("ada", "new", "Where do visitors park?");
  const bob = (await call("bob", "/api/session")).json.user_id;
  assert.equal((await call("ada", `/api/users/${bob}/conversations`, { method: "DELETE" })).status, 403);
  assert.ok((await call("admin", `/api/users/${bob}/conversations`, { method: "DELETE" })).json.deleted >= 1);
  assert.deepEqual(await mine("bob"), []);
  assert.equal((await call("bob", `/api/answers/${c.answer}`)).status, 404);
  // the audit keeps its own texts, by its own policy, until an erasure of a person or a document takes them
  assert.deepEqual(holding(join(a.home, "tenants"), ["cerulean"]).filter((f) => !f.includes("payload.db")), []);
  assert.ok((await mine("ada")).some((x) => x.id === kept.id));
  assert.ok((await call("ada", "/api/conversations", { method: "DELETE" })).json.deleted >= 1);
  assert.deepEqual(await mine("ada"), []);
});

test("after their days they are gone, and where none are kept that is said", { timeout: 180_000 }, async () => {
  const c = await ask("ada", "new", "Where do visitors park?");
  await call("ada", `/api/conversations/${c.id}`, { method: "PATCH", body: { title: "Periwinkle parking" } });
  const home = a.home;
  const config = "http:\n  requests_per_minute: 0\nconversations:\n  keep_days: 0\n";
  await a.stop({ keep: true });
  assert.equal(holding(join(home, "tenants"), ["Periwinkle"]).length, 1);
  a = await startAppliance({ home, config });
  const left = "import sqlite3, sys\nprint(sqlite3.connect(sys.argv[1], timeout=20).execute(\"SELECT count(*) FROM conversations WHERE title LIKE '%Periwinkle%'\").fetchone()[0])";
  await until("the sweep has come by itself", async () => // nobody asks
    execFileSync("python3", ["-c", left, join(home, "tenants/main/serve.db")], { encoding: "utf8" }).trim() === "0");
  await a.stop({ keep: true });
  assert.deepEqual(holding(join(home, "tenants"), ["Periwinkle"]), []);
  a = await startAppliance({ home, config });
  assert.equal((await call("ada", `/api/conversations/${c.id}`)).status, 404);
  const r = await say("ada", "new", "Where do visitors park?");
  assert.deepEqual([r.status, r.json.error.param], [400, "conversation"]);
  assert.match(r.json.error.message, /keep_days/);
  const list = (await call("ada", "/api/conversations")).json;
  assert.deepEqual([list.keep_days, list.conversations], [0, []]);
});

test("a user has as many conversations as the setting says; the next is refused plainly, and none goes by itself", { timeout: 180_000 }, async () => {
  const home = a.home;
  await a.stop({ keep: true });
  a = await startAppliance({ home, config: "conversations:\n  per_user: 2\n" });
  const [key] = [(await a.post("/api/keys", { name: "few" })).key];
  keys.few = key;
  const one = await ask("few", "new", "Where do visitors park?");
  const two = await call("few", "/v1/conversations", { method: "POST", body: {} });
  assert.equal(two.status, 200);
  for (const r of [await say("few", "new", "Where do visitors park?"), await call("few", "/v1/conversations", { method: "POST", body: {} }), await call("few", "/v1/responses", { method: "POST", body: { model: "carrel", input: "Where?", conversation: "new" } })]) {
    assert.ok([400, 413].includes(r.status), r.text);
    assert.equal(r.json.error.code, "too_large");
    assert.match(r.json.error.message, /you have 2 conversations, .*\(conversations\.per_user\): delete some/);
  }
  assert.deepEqual((await mine("few")).map((c) => c.id), [one.id]);
  await ask("few", one.id, "When is the espresso machine descaled?"); // what is there goes on
  assert.equal((await call("few", `/api/conversations/${one.id}`, { method: "DELETE" })).status, 200);
  await ask("few", "new", "Where do visitors park?");
});
