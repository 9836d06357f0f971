// The books: what requests used is entered with them, told of as a month's report that adds up, and there after a crash.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, test } from "node:test";
import { execFile, spawn } from "node:child_process";
import { cpus } from "node:os";
import { promisify } from "node:util";
import { binDir, sameDay, startAppliance, until } from "./appliance.mjs";

const exec = promisify(execFile);
let a, upstream;
const who = {};
const config = () => `http:
  requests_per_minute: 0
prices:
  cpu_second: 0.5
  embedding_million: 100
  gb_month: 1000000
  external_prompt_million: 1000
  external_completion_million: 2000
generate:
  upstream:
    url: http://127.0.0.1:${upstream.address().port}/v1
    model: far
    may_receive: [public]
    allow_private_address: true
`;
const call = (name, path, body) => a.request(path, { method: "POST", key: who[name].key, body });
const ask = (name, more = {}) => call(name, "/v1/chat/completions", { model: "carrel", messages: [{ role: "user", content: "When do the herons arrive?" }], ...more });
const sum = (list, field) => list.reduce((n, x) => n + x[field], 0);
const FIELDS = ["requests", "prompt_tokens", "completion_tokens", "embedding_tokens", "cpu_us", "gpu_us", "upload_bytes", "cost_micro", "external_micro", "estimated_micro"];
function addsUp(r) {
  for (const f of FIELDS) {
    for (const group of ["teams", "users", "keys", "models", "days"]) assert.equal(sum(r[group], f), r.totals[f], `${f} of ${group}`);
  }
  assert.equal(r.totals.all_micro, r.totals.cost_micro + r.totals.storage_micro);
  assert.equal(sum(r.storage, "cost_micro"), r.totals.storage_micro);
}

before(async () => {
  await sameDay();
  upstream = await new Promise((done) => {
    const s = createServer((req, res) => {
      req.resume().on("end", () => {
        res.writeHead(200, { "content-type": "text/event-stream" });
        const send = (o) => res.write(`data: ${JSON.stringify(o)}\n\n`);
        send({ choices: [{ index: 0, delta: { content: "On the first day of March [1]." }, finish_reason: "stop" }] });
        send({ choices: [], usage: { prompt_tokens: 700, completion_tokens: 9 } });
        res.end("data: [DONE]\n\n");
      });
    });
    s.listen(0, "127.0.0.1", () => done(s));
  });
  a = await startAppliance({ config: config() });
  writeFileSync(join(a.home, "access.yaml"), 'access:\n  - path: "birds/**"\n    readers: [everyone]\n    label: public\n');
  a.drop("birds/herons.md", "# Herons\n\nThe herons arrive on the first day of March and leave in October.");
  a.drop("birds/storks.txt", "Storks nest on roofs. ".repeat(300));
  for (const [name, groups, more] of [["ann", ["law"]], ["bob", ["law"]], ["cid", ["care"]], ["eve", [], { role: "auditor" }]]) {
    const k = await a.post("/api/keys", { name, groups, ...more });
    who[name] = { id: k.id, key: k.key };
  }
  await a.settled();
  await until("the rule is known", async () => (await (await ask("ann")).json()).carrel?.engine === "upstream", { every: 300 });
});
after(async () => {
  await a?.stop();
  upstream?.close();
});

test("a report tells who used what, and everything adds up", { timeout: 180_000 }, async () => {
  const start = await a.get("/api/usage");
  const far = await (await ask("ann")).json();
  assert.equal(far.carrel.engine, "upstream");
  assert.equal((await ask("bob")).status, 200);
  assert.equal((await call("cid", "/v1/embeddings", { model: "carrel-embed", input: ["one two three", "four five"] })).status, 200);
  assert.equal((await call("cid", "/api/search", { query: "herons" })).status, 200);
  assert.equal((await a.request("/api/documents?path=birds/more.txt", { method: "POST", body: "Storks come later." })).status, 201);
  const r = await a.get("/api/usage");
  addsUp(r);
  const more = (f) => r.totals[f] - start.totals[f];
  assert.deepEqual([more("requests"), more("prompt_tokens"), more("completion_tokens"), more("upload_bytes")], [5, 1400, 18, 18]);
  assert.equal(more("external_micro"), 2 * (700 * 1000 + 9 * 2000));
  assert.ok(more("embedding_tokens") >= 5);
  assert.ok(more("cpu_us") > 0, "embedding took time");
  const team = (name) => r.teams.find((t) => t.team === name);
  assert.equal(team("care").requests, 2);
  assert.ok(team("law").share > team("care").share);
  assert.equal(r.users.find((u) => u.user === who.ann.id).name, "ann");
  assert.ok(r.models.some((m) => m.model === "far" && m.external_micro > 0));
  assert.equal(r.share_of, "cost");
  assert.match(r.month, /^\d{4}-\d\d$/);
  assert.equal(r.capacity.cpu.used_us + r.capacity.cpu.idle_us, r.capacity.cpu.capacity_us);
  assert.ok(r.capacity.cpu.used_us > 0 && r.capacity.cpu.capacity_us < 2 * cpus().length * 3600 * 1e6, "counted since this appliance began");
  assert.ok(r.advice.some((x) => x.rule === "external"), JSON.stringify(r.advice));
});

test("processor time is that of every service asked, and reading documents is somebody's", { timeout: 180_000 }, async () => {
  const cpu = async (path, body) => {
    const was = (await a.get("/api/usage")).totals.cpu_us;
    assert.equal((await call("cid", path, body)).status, 200);
    const r = await a.get("/api/usage");
    addsUp(r);
    return r.totals.cpu_us - was;
  };
  // each is more than nothing and less than what the machine could give meanwhile
  for (const [path, body] of [["/api/search", { query: "herons" }], ["/v1/embeddings", { model: "carrel-embed", input: ["one two three"] }], ["/v1/chat/completions", { model: "carrel", messages: [{ role: "user", content: "Where do storks nest?" }] }]]) {
    const from = Date.now();
    const us = await cpu(path, body);
    assert.ok(us > 0 && us < (Date.now() - from) * 1000 * 64, `${path}: ${us}`);
  }
  const k = await a.post("/api/keys", { name: "dan", groups: ["press"], role: "editor" });
  who.dan = { id: k.id, key: k.key };
  assert.equal((await a.request("/api/documents?path=press/cranes.md", { method: "POST", key: k.key, body: "# Cranes\n\n" + "Cranes dance in spring. ".repeat(2000) })).status, 201);
  await a.settled();
  const r = await until("the reading is entered", async () => ((await a.get("/api/usage")).storage.find((c) => c.collection === "press")?.read_documents ? a.get("/api/usage") : undefined), { every: 1000, timeout: 150_000 });
  addsUp(r);
  const press = r.storage.find((c) => c.collection === "press");
  const birds = r.storage.find((c) => c.collection === "birds");
  assert.equal(press.read_documents, 1);
  assert.ok(press.read_cpu_us > 0 && press.read_micro === Math.round(press.read_cpu_us / 2), JSON.stringify(press));
  assert.ok(birds.read_documents >= 2 && birds.read_cpu_us > 0);
  const reading = r.models.find((m) => m.model === "(documents)");
  assert.equal(reading.requests, 0);
  assert.equal(reading.cpu_us, sum(r.storage, "read_cpu_us"));
  const dan = r.users.find((u) => u.user === k.id);
  assert.ok(dan.cpu_us >= press.read_cpu_us, "it is charged to who uploaded it");
  assert.ok(r.teams.find((t) => t.team === "press").cpu_us >= press.read_cpu_us);
  assert.ok(r.users.find((u) => u.user === "").cpu_us > 0, "what lay in the folder belongs to nobody");
  assert.ok((await a.get("/api/limits")).subjects.find((s) => s.kind === "team" && s.name === "press").used.cost_micro_this_month >= press.read_micro);
});

test("as CSV it has the same sums, and names that no spreadsheet runs", { timeout: 180_000 }, async () => {
  const k = await a.post("/api/keys", { name: "=HYPERLINK(1)" });
  who.odd = { id: k.id, key: k.key };
  assert.equal((await call("odd", "/api/search", { query: "herons" })).status, 200);
  const r = await a.get("/api/usage");
  const res = await a.request("/api/usage?format=csv");
  assert.match(res.headers.get("content-disposition"), /^attachment; filename="carrel-usage-\d{4}-\d\d\.csv"$/);
  const [head, ...lines] = (await res.text()).trimEnd().split("\r\n").map((l) => l.split(","));
  for (const f of FIELDS) {
    const at = head.indexOf(f);
    const total = lines.reduce((n, l) => n + Number(l[at]), 0);
    assert.equal(total, r.totals[f] + (f === "cost_micro" ? r.totals.storage_micro : 0), f);
  }
  assert.ok(lines.some((l) => l[head.indexOf("name")] === `"'=HYPERLINK(1)"`));
});

test("auditors read it, readers do not; others' reports are for those who run the appliance", { timeout: 180_000 }, async () => {
  const as = (key, query = "") => a.request(`/api/usage${query}`, { key });
  assert.equal((await as(who.eve.key)).status, 200);
  assert.equal((await (await as(who.eve.key)).json()).capacity, null);
  assert.equal((await as(who.ann.key)).status, 403);
  assert.equal((await as(who.eve.key, "?tenant=north")).status, 403);
  assert.equal((await as(who.eve.key, "?tenant=*")).status, 403);
  assert.equal((await as(a.key, "?tenant=*")).status, 200);
  for (const bad of ["?month=2026-13", "?month=2026", "?month=x", "?format=xml", "?tenant=../x"]) assert.equal((await as(a.key, bad)).status, 400, bad);
  assert.equal((await (await as(a.key, "?month=2001-02")).json()).totals.requests, 0);
});

test("what was answered a second before a crash is in the books", { timeout: 180_000 }, async () => {
  assert.equal((await ask("cid")).status, 200);
  const before = await a.get("/api/usage");
  assert.equal((await ask("cid")).status, 200);
  await sleep(1000);
  await a.kill();
  a = await startAppliance({ home: a.home, config: config() });
  const r = await a.get("/api/usage");
  addsUp(r);
  assert.equal(r.totals.requests, before.totals.requests + 1);
  assert.equal(r.totals.external_micro, before.totals.external_micro + 718_000);
});

test("what documents take is entered for each collection, with its price and what was found there", { timeout: 180_000 }, async () => {
  const birds = await until("the day's figure", async () => (await a.get("/api/usage")).storage.find((s) => s.collection === "birds" && s.documents > 0), { every: 300 });
  const list = (await a.documents()).filter((d) => d.path.startsWith("birds/"));
  assert.deepEqual([birds.documents, birds.bytes], [list.length, sum(list, "size")]);
  assert.ok(birds.found > 0 && birds.cost_micro > 0);
  const r = await a.get("/api/usage");
  addsUp(r);
  assert.ok(r.totals.storage_micro > 0);
});

test("the command line shows and sets the same", { timeout: 180_000 }, async () => {
  const carrel = async (...args) => (await exec(join(binDir, "carrel"), [...args, "--home", a.home])).stdout;
  const table = await carrel("usage");
  assert.match(table, /^\d{4}-\d\d, tenant main: \d+ requests, \d+\.\d{2,6} EUR/);
  assert.doesNotMatch(table.split("\nmodel")[1], / 0\.00\n/, "a small cost is not shown as none");
  assert.match(table, /\nlaw +[\d.]+%/);
  assert.equal(JSON.parse(await carrel("usage", "--json", "--tenant", "*")).tenant, "*");
  assert.match(await carrel("usage", "csv"), /^month,tenant,team,user,name,key,model,requests,/);
  assert.match(await carrel("limits", "set", "team", "law", "budget=12.5", "streams=3"), /^team {3}law: streams 3 budget 12\.50;/);
  assert.match(await carrel("limits"), /team {3}law: streams 3 budget 12\.50;/);
  assert.match(await carrel("limits", "reset", "team", "law"), /^team {3}law: no limit;/);
  await assert.rejects(carrel("limits", "set", "team", "law", "budget=much"), /not understood/);
  await assert.rejects(carrel("usage", "november"), /not understood/);
});

test("a request alone is in the books at once: a kill takes no quarter of a second of them", async () => {
  // says of each new row how long after its request's end it was there
  const look = spawn("python3", ["-u", "-c", `import sqlite3, sys, time
d = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
last = d.execute("SELECT max(rowid) FROM used").fetchone()[0] or 0
print("looking")
while True:
    for id, at in d.execute("SELECT rowid, at_wall_ms FROM used WHERE rowid > ?", (last,)).fetchall():
        print(int(time.time() * 1000) - at)
        last = id
    time.sleep(0.005)`, join(a.home, "tenants/main/serve.db")]);
  let said = "";
  look.stdout.on("data", (d) => (said += d));
  try {
    await until("it looks", () => said.includes("looking"));
    for (let i = 0; i < 40; i++) {
      const before = said;
      assert.equal((await ask("ann")).status, 200);
      await until("it is entered", () => said !== before && said.endsWith("\n"));
      if (Number(said.trim().split("\n").at(-1)) < 200) return; // waiting to be gathered takes 250
      await sleep(400); // nothing was written for a while
    }
    assert.fail(`each took longer: ${said.trim().split("\n").slice(1).join(", ")} ms`);
  } finally {
    look.kill();
  }
});
