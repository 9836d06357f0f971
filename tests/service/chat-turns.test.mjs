// A chat's search stands in line with the other searches of its tenant (serve/share.h): chats are no way round the turns.
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
  const chat = () => a.request("/v1/chat/completions", { method: "POST", body: { model: "carrel", messages: [{ role: "user", content: "When is the lantern lit?" }] } });
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
  } finally {
    leave.abort();
    process.kill(retrieve, "SIGCONT");
  }
  await until("a chat is answered", async () => (await chat()).status === 200, { timeout: 30_000 });
  await a.stop();
});
