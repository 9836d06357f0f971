// Outgoing webhooks of a whole appliance against a receiver in the test: what is told, by whom it is signed, what is
// tried again and for how long, what a kill leaves, and where nothing may go.
import assert from "node:assert/strict";
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { execFile, spawn } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { binDir, holding, startAppliance, until } from "./appliance.mjs";

const receiver = async (host = "127.0.0.1") => {
  const got = [];
  const r = { got, answer: () => ({ status: 204 }) };
  const server = createServer((q, a) => {
    const parts = [];
    q.on("data", (p) => parts.push(p));
    q.on("end", () => {
      const body = Buffer.concat(parts).toString();
      const call = { path: q.url, method: q.method, headers: q.headers, body, json: body ? JSON.parse(body) : null };
      got.push(call);
      const { status, headers = {} } = r.answer(call, got.length);
      a.writeHead(status, headers).end();
    });
  });
  await new Promise((done) => server.listen(0, host, done));
  r.port = server.address().port;
  r.close = () => new Promise((done) => { server.closeAllConnections(); server.close(done); });
  r.url = (path = "/hook") => `http://${host}:${r.port}${path}`;
  r.of = (type, path) => got.filter((g) => g.json?.type === type && (path === undefined || g.path === path));
  return r;
};

/** As docs/decisions/webhooks.md tells receivers to do it. */
const verified = (call, secret, now = Date.now() / 1000) => {
  const { "webhook-id": id, "webhook-timestamp": at, "webhook-signature": signature } = call.headers;
  if (Math.abs(now - Number(at)) > 300) return false;
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const mac = createHmac("sha256", key).update(`${id}.${at}.${call.body}`).digest();
  return signature.split(" ").some((s) => {
    const [version, text] = s.split(",");
    const given = Buffer.from(text ?? "", "base64");
    return version === "v1" && given.length === mac.length && timingSafeEqual(given, mac);
  });
};

const add = (a, url, events, more = {}) => a.post("/api/webhooks", { url, events, ...more });
const log = async (a, id) => (await a.get(`/api/webhooks/${id}/deliveries`)).deliveries;

let a, hook, other;
const config = () => `http:
  requests_per_minute: 0
webhooks:
  allow: ["http://127.0.0.1:${hook.port}", "https://localhost:${hook.port}", "https://hooks.example.invalid"]
  allow_private: ["http://localhost:${other.port}"]
  timeout: 30s
`;

before(async () => {
  hook = await receiver();
  other = await receiver("localhost");
  a = await startAppliance({ config: config() });
});
after(async () => {
  await a?.stop();
  await hook.close();
  await other.close();
});

test("documents that are ready or failed are told of, signed, once each", async () => {
  const w = await add(a, hook.url("/docs"), ["document.ingested", "document.failed"], { name: "n8n" });
  assert.match(w.secret, /^whsec_[A-Za-z0-9+/]{43}=$/);
  a.drop("notes/leave.txt", "Leave is fourteen weeks at full pay.");
  a.drop("notes/broken.docx", "PK\x03\x04 this is no archive");
  await until("both are told of", async () => hook.of("document.ingested", "/docs").length >= 1 && hook.of("document.failed", "/docs").length >= 1);
  const [ok] = hook.of("document.ingested", "/docs");
  assert.equal(ok.method, "POST");
  assert.equal(ok.headers["content-type"], "application/json");
  assert.ok(verified(ok, w.secret));
  assert.ok(!verified({ ...ok, body: `${ok.body} ` }, w.secret));
  assert.ok(!verified(ok, w.secret, Date.now() / 1000 + 900), "an old one is refused");
  assert.equal(ok.json.id, ok.headers["webhook-id"]);
  assert.equal(ok.json.tenant, "main");
  assert.equal(ok.json.data.path, "notes/leave.txt");
  assert.equal(ok.json.data.collection, "notes");
  const document = (await a.documents()).find((d) => d.path === "notes/leave.txt");
  assert.equal(ok.json.data.document, document.id);
  const [bad] = hook.of("document.failed", "/docs");
  assert.equal(bad.json.data.path, "notes/broken.docx");
  assert.ok(bad.json.data.error.length > 0);
  // touched, not changed: nothing new; changed: told again
  a.drop("notes/leave.txt", "Leave is fourteen weeks at full pay.");
  await sleep(2500);
  assert.equal(hook.of("document.ingested", "/docs").length, 1);
  a.drop("notes/leave.txt", "Leave is sixteen weeks at full pay.");
  await until("the change is told of", async () => hook.of("document.ingested", "/docs").length === 2);
  const deliveries = await until("the log has all three", async () => {
    const list = await log(a, w.id);
    return list.length === 3 && list.every((d) => d.state === "taken") && list;
  });
  assert.ok(deliveries.every((d) => d.status === 204 && d.attempts === 1 && d.about));
  const listed = (await a.get("/api/webhooks")).webhooks.find((x) => x.id === w.id);
  assert.equal(listed.secret, undefined);
  assert.equal(listed.name, "n8n");
  assert.ok(listed.last_taken > 0);
  const fresh = await a.post(`/api/webhooks/${w.id}/secret`, {});
  assert.notEqual(fresh.secret, w.secret);
  for (const s of [fresh.secret, w.secret]) assert.deepEqual(holding(a.home, [s.slice(6), Buffer.from(s.slice(6), "base64")]), [], "both are sealed");
  assert.ok(Math.abs(fresh.old_until - Date.now() / 1000 - 24 * 3600) < 60);
  const ping = await a.post(`/api/webhooks/${w.id}/test`, {});
  await until("the ping", async () => hook.of("ping", "/docs").length === 1);
  const [p] = hook.of("ping", "/docs");
  assert.equal(p.headers["webhook-id"], ping.delivery);
  assert.ok(verified(p, fresh.secret) && verified(p, w.secret), "for a while under both");
  const at_once = await a.post(`/api/webhooks/${w.id}/secret`, { old_hours: 0 });
  assert.equal(at_once.old_until, undefined);
  await a.request(`/api/webhooks/${w.id}/test`, { method: "POST" });
  await until("the second ping", async () => hook.of("ping", "/docs").length === 2);
  const last = hook.of("ping", "/docs")[1];
  assert.ok(verified(last, at_once.secret) && !verified(last, fresh.secret) && !verified(last, w.secret));
  for (const bad of [-1, 721, "1", 1.5]) {
    assert.equal((await a.request(`/api/webhooks/${w.id}/secret`, { method: "POST", body: { old_hours: bad } })).status, 400, String(bad));
  }
  assert.equal((await a.request(`/api/webhooks/${w.id}`, { method: "DELETE" })).status, 200);
  assert.equal((await a.request(`/api/webhooks/${w.id}`)).status, 404);
  a.drop("notes/after.txt", "Nobody is told of this.");
  await sleep(2500);
  assert.equal(hook.of("document.ingested", "/docs").length, 2);
});

test("a flagged answer is told of, and an erasure takes what still waits", async () => {
  const w = await add(a, other.url("/flag"), ["answer.flagged"]);
  await a.settled({ n: 2 });
  const r = await a.request("/v1/chat/completions", {
    method: "POST",
    body: { model: "carrel", messages: [{ role: "user", content: "How long is leave?" }] },
  });
  const answer = (await r.json()).id.replace(/^chatcmpl-/, "");
  await a.post("/api/feedback", { answer, verdict: "up" });
  await a.post("/api/feedback", { answer, verdict: "down", comment: "It is sixteen." });
  await until("the flag", async () => other.of("answer.flagged").length === 1);
  const [f] = other.of("answer.flagged");
  assert.ok(verified(f, w.secret));
  assert.equal(f.json.data.answer, answer);
  assert.equal(f.json.data.comment, "It is sixteen.");
  assert.equal(f.json.data.question, "How long is leave?");
  const { key } = await a.post("/api/keys", { name: "machine", role: "service" });
  const byService = await a.request("/api/webhooks", { method: "POST", key, body: { url: other.url("/service"), events: ["answer.flagged"] } });
  assert.equal(byService.status, 201, await byService.clone().text());
  await a.post("/api/feedback", { answer, verdict: "down", comment: "It is sixteen." });
  await until("the flag, twice", async () => other.of("answer.flagged", "/service").length === 1);
  assert.deepEqual(other.of("answer.flagged", "/service")[0].json.data, { answer, verdict: "down" }, "a service is not told what others asked");
  await a.request(`/api/webhooks/${(await byService.json()).id}`, { method: "DELETE" });
  other.answer = () => ({ status: 500 });
  await a.post("/api/feedback", { answer, verdict: "down", comment: "Still wrong." });
  await until("it waits", async () => (await log(a, w.id)).some((d) => d.state === "waiting" && d.attempts > 0));
  const document = (await a.documents()).find((d) => d.path === "notes/leave.txt");
  await a.post("/api/erasures", { documents: [document.id] });
  await until("nothing of it is left", async () => (await log(a, w.id)).length === 0);
  other.answer = () => ({ status: 204 });
  await a.request(`/api/webhooks/${w.id}`, { method: "DELETE" });
});

test("an erasure of a person takes the names of endpoints, and jobs that name them", async () => {
  const w = await add(a, hook.url("/named"), ["budget.warning"], { name: "for Zoe Quillfeather" });
  a.drop("notes/zoe.md", "# Tea\n\nZoe Quillfeather likes tea.\n");
  await until("it is read", async () => (await a.documents()).some((d) => d.path === "notes/zoe.md" && d.state === "ready"));
  const job = await a.post("/api/jobs", { chat: { model: "carrel", metadata: { for: "Zoe\nQuillfeather" }, messages: [{ role: "user", content: "Tea?" }] } });
  await until("the job is over", async () => !["queued", "running"].includes((await a.get(`/api/jobs/${job.id}`)).status));
  assert.ok(holding(a.home, ["Quillfeather"]).length > 0, "before, it stands in the files");
  await promisify(execFile)(join(binDir, "carrel"), ["erase", "--subject", "Zoe Quillfeather", "--yes", "--home", a.home]);
  assert.deepEqual(holding(a.home, ["Quillfeather"]), []);
  assert.equal((await a.get("/api/webhooks")).webhooks.find((x) => x.id === w.id).name, "");
  assert.equal((await a.request(`/api/jobs/${job.id}`)).status, 404);
  assert.ok((await a.request(`/api/webhooks/${w.id}`, { method: "DELETE" })).ok);
});

test("what fails is tried again with the same id; 410 switches an endpoint off", async () => {
  hook.answer = (call, n) => (call.path === "/flaky" && hook.got.filter((g) => g.path === "/flaky").length === 1 ? { status: 503 } : call.path === "/gone" ? { status: 410 } : { status: 200 });
  const w = await add(a, hook.url("/flaky"), ["document.ingested"]);
  const gone = await add(a, hook.url("/gone"), ["document.ingested"]);
  a.drop("notes/again.txt", "Tried again.");
  const [first, second] = await until("the second try", async () => {
    const calls = hook.got.filter((g) => g.path === "/flaky");
    return calls.length === 2 && calls;
  });
  assert.equal(first.headers["webhook-id"], second.headers["webhook-id"]);
  assert.equal(first.body, second.body);
  assert.ok(Number(second.headers["webhook-timestamp"]) > Number(first.headers["webhook-timestamp"]));
  assert.ok(verified(second, w.secret));
  const [d] = await until("it was taken", async () => {
    const list = await log(a, w.id);
    return list[0].state === "taken" && list;
  });
  assert.equal(d.attempts, 2);
  const off = await a.get(`/api/webhooks/${gone.id}`);
  assert.equal(off.enabled, false);
  assert.match(off.why, /410/);
  assert.equal(hook.got.filter((g) => g.path === "/gone").length, 1);
  assert.equal((await a.post(`/api/webhooks/${gone.id}`, { enabled: true })).enabled, true);
  for (const x of [w, gone]) await a.request(`/api/webhooks/${x.id}`, { method: "DELETE" });
});

test("nothing goes where it should not", async () => {
  hook.answer = (call) => (call.path === "/moved" ? { status: 302, headers: { location: other.url("/inside") } } : { status: 204 });
  const refused = {
    "another port": "http://127.0.0.1:1/x",
    "another scheme": `https://127.0.0.1:${hook.port}/x`,
    "another name": "https://hooks.example.invalid.evil.test/",
    "a name before an @": `http://127.0.0.1:${hook.port}@evil.test/`,
    "credentials": `http://user:secret@127.0.0.1:${hook.port}/`,
    "a fragment": hook.url("/x#y"),
    "a header": hook.url("/x\r\nX-Evil: 1"),
    "a backslash": `http://127.0.0.1:${hook.port}\\@evil.test/`,
    "a file": "file:///etc/passwd",
    "decimal address": `http://2130706433:${hook.port}/`,
    "short address": `http://127.1:${hook.port}/`,
    "short hexadecimal address": `http://0x7f.1:${hook.port}/`,
    "octal address": `http://0177.0.0.1:${hook.port}/`,
    "an address in IPv6": `http://[::ffff:127.0.0.1]:${hook.port}/`,
    "this machine in IPv6": `http://[::1]:${hook.port}/`,
    "no address": `http://0.0.0.0:${hook.port}/`,
    "link-local in IPv6": "http://[fe80::1]/",
    "full-width digits": `http://１２７.0.0.1:${hook.port}/`,
    "percent": `http://%31%32%37.0.0.1:${hook.port}/`,
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "nothing": "",
  };
  for (const [what, url] of Object.entries(refused)) {
    const r = await a.request("/api/webhooks", { method: "POST", body: { url, events: ["document.ingested"] } });
    assert.ok(r.status === 400 || r.status === 403, `${what}: ${r.status}`);
  }
  // listed as a public name, but it leads to this machine
  const inside = await add(a, `https://localhost:${hook.port}/rebound`, ["document.ingested"]);
  const moved = await add(a, hook.url("/moved"), ["document.ingested"]);
  await a.post(`/api/webhooks/${inside.id}/test`, {});
  await a.post(`/api/webhooks/${moved.id}/test`, {});
  const one = await until("the door refuses", async () => {
    const [d] = await log(a, inside.id);
    return d?.attempts > 0 && d;
  });
  assert.match(one.error, /carrel-egress refused it/);
  const two = await until("the redirect", async () => {
    const [d] = await log(a, moved.id);
    return d?.attempts > 0 && d;
  });
  assert.match(two.error, /redirects are not followed/);
  assert.equal(two.status, 302);
  assert.equal(hook.got.filter((g) => g.path === "/rebound").length, 0);
  assert.equal(other.got.filter((g) => g.path === "/inside").length, 0);
  for (const x of [inside, moved]) await a.request(`/api/webhooks/${x.id}`, { method: "DELETE" });
});

test("who may, and a machine's endpoint hears of what its key may read", async () => {
  const key = async (body) => (await a.post("/api/keys", body)).key;
  const reader = await key({ name: "anna", role: "reader" });
  const machine = await key({ name: "n8n", role: "service", groups: ["hr"] });
  const narrow = await key({ name: "ask", role: "service", scopes: ["ask"] });
  for (const k of [reader, narrow]) {
    assert.equal((await a.request("/api/webhooks", { key: k })).status, 403);
  }
  hook.answer = () => ({ status: 204 });
  const r = await a.request("/api/webhooks", { key: machine, method: "POST", body: { url: hook.url("/machine"), events: ["document.ingested"] } });
  assert.equal(r.status, 201, await r.clone().text());
  const w = await r.json();
  const all = await add(a, hook.url("/all"), ["document.ingested"]);
  const bad = await a.request("/api/webhooks", { method: "POST", body: { url: hook.url(), events: ["document.burnt"] } });
  assert.equal(bad.status, 400);
  a.drop("board/.carrel.yaml", "readers: [board]\n");
  a.drop("hr/.carrel.yaml", "readers: [hr]\n");
  await sleep(300);
  a.drop("board/secret.txt", "The merger is in May.");
  a.drop("hr/pay.txt", "Pay rises in June.");
  a.drop("notes/open.txt", "Lunch is at noon.");
  await until("the administrator's endpoint has all", async () => hook.of("document.ingested", "/all").length === 3);
  await until("the machine's has its own", async () => hook.of("document.ingested", "/machine").length >= 2);
  await sleep(500);
  const paths = hook.of("document.ingested", "/machine").map((g) => g.json.data.path).sort();
  assert.deepEqual(paths, ["hr/pay.txt", "notes/open.txt"]);
  const seen = await (await a.request("/api/webhooks", { key: machine })).json();
  assert.deepEqual(seen.webhooks.map((x) => x.id), [w.id], "others' endpoints are not there for it");
  for (const [method, tail, body] of [["GET", ""], ["GET", "/deliveries"], ["POST", "", { enabled: false }], ["POST", "/test", {}], ["POST", "/secret", {}], ["DELETE", ""]]) {
    assert.equal((await a.request(`/api/webhooks/${all.id}${tail}`, { key: machine, method, body })).status, 404, `${method} ${tail}`);
    if (method !== "DELETE") assert.ok((await a.request(`/api/webhooks/${w.id}${tail}`, { key: machine, method, body })).status < 300, `${method} ${tail}`);
  }
  const id = (await a.get("/api/keys")).keys.find((k) => k.name === "n8n").id;
  await a.request(`/api/webhooks/${w.id}`, { method: "POST", body: { enabled: true } });
  assert.equal((await a.request(`/api/keys/${id}`, { method: "DELETE" })).status, 200);
  const left = (await a.get("/api/webhooks")).webhooks;
  assert.match(left.find((x) => x.id === w.id).why, /key that made it was revoked/);
  assert.deepEqual(left.map((x) => x.enabled), [false, true], "what a revoked key has told elsewhere ends with it");
  for (const x of [w, all]) assert.equal((await a.request(`/api/webhooks/${x.id}`, { method: "DELETE" })).status, 200);
});

test("the command line: add, list, test, log, off, remove", async () => {
  const carrel = async (...args) => (await promisify(execFile)(join(binDir, "carrel"), ["webhook", ...args, "--home", a.home])).stdout;
  hook.answer = () => ({ status: 204 });
  assert.equal(await carrel("list"), "There are no webhooks; carrel webhook add makes one.\n", "and it is no failure");
  const added = await carrel("add", hook.url("/cli"), "answer.flagged,job.done");
  const [id] = added.split(" ");
  const secret = added.match(/secret: (whsec_\S+)/)[1];
  assert.equal(await carrel("log", id), "It was told nothing yet.\n");
  assert.match(await carrel("list"), new RegExp(`^${id}  on .*/cli  answer.flagged,job.done`, "m"));
  const ping = (await carrel("test", id)).match(/sent as (\w+);/)[1];
  await until("the ping", async () => hook.of("ping", "/cli").length === 1);
  assert.ok(verified(hook.of("ping", "/cli")[0], secret));
  assert.match(await until("the log", async () => (await carrel("log", id)).includes("taken") && carrel("log", id)), new RegExp(`${ping}  taken .*  1 try  HTTP 204`));
  assert.match(await carrel("again", id, ping), new RegExp(`sent as ${ping}`));
  await until("the ping again", async () => hook.of("ping", "/cli").length === 2);
  assert.match(await carrel("off", id), / off .*switched off/);
  assert.match(await carrel("secret", id), /whsec_\S+[^]* one before too until \d{4}-/);
  assert.doesNotMatch(await carrel("secret", id, "0"), /before/);
  await assert.rejects(carrel("secret", id, "soon"), /old_hours/);
  await assert.rejects(carrel("again", id, "none"), /no such delivery/);
  await carrel("remove", id);
  await assert.rejects(carrel("log", id), /no such webhook/);
});

test("a kill loses nothing that was to be told", async () => {
  const w = await add(a, hook.url("/kill"), ["document.ingested"]);
  hook.answer = () => ({ status: 500 });
  a.drop("notes/kill.txt", "Told after the kill.");
  await until("it waits", async () => (await log(a, w.id)).some((d) => d.attempts > 0));
  const { home } = a;
  await a.kill();
  hook.answer = () => ({ status: 204 });
  const before = hook.got.length;
  a = await startAppliance({ home, config: null });
  await until("it is told", async () => hook.got.slice(before).some((g) => g.path === "/kill" && g.json.data.path === "notes/kill.txt"));
  const ids = new Set(hook.got.filter((g) => g.path === "/kill").map((g) => g.headers["webhook-id"]));
  assert.equal(ids.size, 1, "one id however often");
  await until("the log says so", async () => (await log(a, w.id)).every((d) => d.state === "taken"));
});

test("what was under way goes out too where nothing could be written when serve began", { timeout: 180_000 }, async () => {
  const w = await add(a, hook.url("/begin"), ["document.ingested"]);
  hook.answer = () => ({ status: 500 });
  for (const n of [1, 2]) a.drop(`notes/begin${n}.txt`, `Told after the beginning, ${n}.`);
  await until("they wait", async () => (await log(a, w.id)).filter((d) => d.attempts > 0).length === 2);
  const { home } = a;
  await a.kill();
  hook.answer = () => ({ status: 204 });
  const python = `import sqlite3, sys
d = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
d.execute("UPDATE deliveries SET leased=1 WHERE state=0")
d.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()`;
  const hold = spawn("python3", ["-c", python, join(home, "tenants/main/serve.db")]);
  await new Promise((done) => hold.stdout.once("data", done));
  a = await startAppliance({ home, config: null });
  await until("it could not be written", () => /webhooks.*tenant=main/.test(a.output));
  hold.stdin.end();
  await until("both are told", async () => (await log(a, w.id)).filter((d) => d.state === "taken").length === 2);
  assert.equal((await a.request(`/api/webhooks/${w.id}`, { method: "DELETE" })).status, 200);
});

test("an endpoint ends with its maker: a key that expired, one of somebody who may not any more; an administrator takes it over", { timeout: 180_000 }, async () => {
  const owner = await a.post("/api/users", { name: "machine owner", role: "admin", groups: [] });
  const his = await a.post("/api/keys", { name: "his", owner: owner.id });
  const make = async (key, path) => {
    const r = await a.request("/api/webhooks", { method: "POST", key, body: { url: hook.url(path), events: ["document.ingested"] } });
    assert.equal(r.status, 201, await r.clone().text());
    return (await r.json()).id;
  };
  // of a key for a few seconds; for longer where that was not enough
  const path = () => `/short${seconds}`;
  const told = () => hook.of("document.ingested", path()).length;
  let short, seconds = 4;
  const over = async () => (await a.request("/api/session", { key: short.key })).status === 401;
  for (; ; seconds *= 3) {
    short = await a.post("/api/keys", { name: "short", role: "service", expires: Math.floor(Date.now() / 1000) + seconds });
    short.hook = await make(short.key, path()).catch((e) => { if (seconds > 100) throw e; });
    a.drop(`notes/told${seconds}.txt`, `While both may be told, for ${seconds} s.`);
    if (short.hook && await until("it is told or over", async () => told() > 0 ? "told" : await over() && "over") === "told") break;
  }
  const ids = [short.hook, await make(his.key, "/his")];
  a.drop("notes/his.txt", "While he may be told.");
  await until("he is told", async () => hook.of("document.ingested", "/his").length === 1);
  await a.post(`/api/users/${owner.id}`, { role: "reader" });
  await until("the key has expired", over, { every: 200 });
  const before = told();
  a.drop("notes/untold.txt", "Nobody is told of this one.");
  const of = async (id) => (await a.get("/api/webhooks")).webhooks.find((w) => w.id === id);
  await until("both are off", async () => (await Promise.all(ids.map(of))).every((w) => !w.enabled && w.why === "who made it may not any more"));
  assert.deepEqual([told(), hook.of("document.ingested", "/his").length], [before, 1]);
  await a.post(`/api/webhooks/${ids[0]}`, { enabled: true });
  a.drop("notes/again.txt", "Now an administrator answers for it.");
  await until("it is told again", async () => told() > before);
  assert.equal((await of(ids[0])).enabled, true);
  for (const id of ids) await a.request(`/api/webhooks/${id}`, { method: "DELETE" });
});
