// Calls that are refused at the door are in the audit: who knocked, why not, how often; and no flood of them fills it.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { binDir, startAppliance, until } from "./appliance.mjs";

let a, reader;
let tooMany = 0; // of those that signed in
before(async () => {
  a = await startAppliance({ config: "http:\n  requests_per_minute: 0\naudit:\n  refusals: 1s\n" });
  await a.post("/api/users", { name: "anna", role: "reader" });
  reader = await a.post("/api/keys", { name: "nosy", role: "reader", groups: [] });
});
after(() => a?.stop());

const records = async (type) => (await a.get(`/api/audit?limit=1000&type=${type}`)).records;
const times = (list) => list.reduce((n, x) => n + x.record.times, 0);
async function knock(n, path, more) {
  const got = [];
  const one = async () => { while (got.length < n) { const at = got.push(0) - 1; const r = await a.request(path, more); await r.text(); got[at] = r.status; } };
  await Promise.all(Array.from({ length: 8 }, one));
  return got;
}

test("signing in with a wrong password is an act with the name tried; too many are counted", async () => {
  const before = (await a.get("/api/audit/head")).seq;
  const got = await knock(20, "/api/session", { method: "POST", key: null, headers: { origin: a.url, "sec-fetch-site": "same-origin" }, body: { name: "anna", password: "a wrong password" } });
  assert.ok(got.includes(401) && got.includes(429), String(got));
  tooMany = got.filter((s) => s === 429).length;
  const { records: all } = await a.get(`/api/audit?limit=1000&from=${before + 1}`);
  const closes = all.filter((x) => x.record.type === "close" && x.record.status === 401);
  assert.equal(closes.length, got.filter((s) => s === 401).length);
  assert.ok(closes.every((x) => x.record.outcome === "refused" && x.text.details.name === "anna" && !JSON.stringify(x).includes("wrong password\"")));
  assert.ok(!all.some((x) => x.record.type === "close" && x.record.status === 429));
});

test("a flood of wrong keys is two records a reason: the first at once, the rest counted, with who and what", async () => {
  const from = Date.now();
  const got = await knock(300, "/api/search", { method: "POST", key: "ck_wrong", body: { query: "secret plans" } });
  assert.ok(got.every((s) => s === 401 || s === 429));
  assert.ok(got.includes(401) && got.includes(429));
  const list = await until("all of them", async () => { const l = await records("refused"); return times(l) === 300 + tooMany && l; });
  for (const [reason, status] of [["invalid_api_key", 401], ["rate_limit_exceeded", 429]]) {
    const mine = list.filter((x) => x.record.reason === reason);
    assert.equal(times(mine), got.filter((s) => s === status).length + (status === 429 ? tooMany : 0), reason);
    assert.ok(mine.length >= 1 && mine.length <= 5 + (Date.now() - from) / 1000, `${reason}: ${mine.length}`);
    assert.equal(mine[0].record.times, 1);
    assert.deepEqual(mine[0].text.by, [{ from: "127.0.0.1", what: status === 429 ? "POST /api/session" : "POST /api/search", times: 1 }]);
    assert.equal(mine.flatMap((x) => x.text.by).filter((b) => b.what === "POST /api/search").reduce((n, b) => n + b.times, 0), got.filter((s) => s === status).length);
    assert.equal(mine[0].record.status, status);
  }
});

test("a role that may not: told by name, in its own tenant's chain, and nothing of it in the chain in clear", async () => {
  assert.deepEqual(await knock(3, "/api/audit", { key: reader.key }), [403, 403, 403]);
  const list = await until("three", async () => { const l = (await records("refused")).filter((x) => x.record.reason === "forbidden"); return times(l) === 3 && l; });
  assert.equal(list[0].text.by[0].name, "nosy");
  assert.equal(list[0].text.by[0].what, "GET /api/audit");
  assert.ok(list.every((x) => !JSON.stringify(x.record).includes("nosy") && !JSON.stringify(x.record).includes("127.0.0.1")));
});

test("the chain with refusals holds, and verify counts them", async () => {
  await until("nothing waits", async () => true);
  const r = spawnSync(join(binDir, "carrel"), ["audit", "verify", "--json", "--home", a.home], { encoding: "utf8" });
  const report = JSON.parse(r.stdout);
  assert.equal(report.verdict, "whole", JSON.stringify(report.findings));
  assert.equal(report.refused, times(await records("refused")));
  assert.ok(report.refused >= 303);
});

test("what is counted when serve stops is not lost", async () => {
  await knock(5, "/api/documents", { key: "ck_other" });
  const at = times(await records("refused"));
  await a.stop({ keep: true });
  a = await startAppliance({ home: a.home, config: null });
  assert.ok(times(await records("refused")) >= at + 3, "the rest was written at the end");
});
