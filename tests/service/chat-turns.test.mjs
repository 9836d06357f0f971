// A chat's search, and an agent's, stands in line with the other searches of its tenant (serve/share.h): no way leads round the turns.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { test } from "node:test";
import { startAppliance, until } from "./appliance.mjs";

function processOf(a, name) {
  const pid = readdirSync("/proc").find((d) => {
    try {
      return /^\d+$/.test(d) && readFileSync(`/proc/${d}/stat`, "latin1").split(") ").at(-1).split(" ")[1] === String(a.child.pid) && readFileSync(`/proc/${d}/cmdline`, "latin1").includes(`carrel-${name}\0`);
    } catch {
      return false; // it ended meanwhile
    }
  });
  assert.ok(pid, `carrel-${name} runs`);
  return Number(pid);
}

test("when the line is full a chat is told to come back, and afterwards it is answered", { timeout: 120_000 }, async () => {
  const n = 4 * availableParallelism() + 64 + 8;
  const a = await startAppliance({ config: `http:\n  requests_per_minute: 0\n  max_connections_per_address: ${n + 50}\n  max_requests_in_flight: ${n + 50}\n  max_requests_in_flight_per_address: ${n + 50}\n` });
  a.drop("lantern.txt", "The lantern at the pier is lit at dusk.\n");
  await a.settled();
  const chat = (headers = {}) => a.request("/v1/chat/completions", { method: "POST", headers, body: { model: "carrel", messages: [{ role: "user", content: "When is the lantern lit?" }] } });
  const search = { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "search", arguments: { query: "lantern" } } };
  const agent = async () => (await a.request("/mcp", { method: "POST", body: search, signal: AbortSignal.timeout(20_000) })).json();
  let job;
  const retrieve = processOf(a, "retrieve");
  const leave = new AbortController();
  process.kill(retrieve, "SIGSTOP");
  try {
    let full = false;
    for (let i = 0; i < n; i++) {
      a.request("/api/search", { method: "POST", body: { query: "lantern" }, signal: leave.signal }).then((r) => { full ||= r.status === 429; }, () => {});
    }
    await until("the line is full", async () => full, { timeout: 30_000 });
    const r = await chat();
    assert.equal(r.status, 429);
    assert.ok(r.headers.get("retry-after"));
    assert.match((await r.json()).error.message, /searches of this tenant/);
    const told = (await agent()).result;
    assert.equal(told.isError, true);
    assert.match(told.content[0].text, /searches of this tenant/);
    // nobody stands there to try a job again: it waits
    const asked = await chat({ prefer: "respond-async" });
    assert.equal(asked.status, 202);
    job = `/api/jobs/${(await asked.json()).id}`;
    await until("the job has begun", async () => (await a.get(job)).status !== "queued");
    await new Promise((done) => setTimeout(done, 2500)); // it has asked again meanwhile
    assert.equal((await a.get(job)).status, "running");
  } finally {
    leave.abort();
    process.kill(retrieve, "SIGCONT");
  }
  await until("a chat is answered", async () => (await chat()).status === 200, { timeout: 30_000 });
  assert.match((await agent()).result.content[0].text, /pier/);
  const end = await until("the job is over", async () => {
    const j = await a.get(job);
    return j.status !== "running" && j;
  });
  assert.deepEqual([end.status, end.http_status], ["completed", 200]);
  await a.stop();
});
