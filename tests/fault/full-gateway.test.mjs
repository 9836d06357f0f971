// A full disk under each part of what the gateway writes: nothing is shown that is not in the audit, nothing is said to be done that
// is not, errors are plain, and it goes on by itself when there is room. Mounting needs root.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { closeSync, openSync, rmSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startAppliance, until } from "../service/appliance.mjs";
import { Client, listener } from "./gateway_client.mjs";

const skip = process.getuid() === 0 ? false : "needs root to mount a small tmpfs";
/* A disk each; inner ones after those that they lie in. */
const DISKS = { system: "24m", "tenants/main": "128m", "tenants/main/audit": "8m", "watch/main": "8m" };

let a, hook, client;
const run = (...args) => execFileSync(args[0], args.slice(1), { encoding: "utf8" });
const mounted = [];

/** The folder as it is, on a disk of its own. */
function ownDisk(dir, size) {
  const away = `${dir}.away`;
  run("mv", dir, away);
  run("mkdir", dir);
  run("mount", "-t", "tmpfs", "-o", `size=${size}`, "tmpfs", dir);
  mounted.push(dir);
  run("chown", `--reference=${away}`, dir);
  run("chmod", `--reference=${away}`, dir);
  run("cp", "-a", `${away}/.`, dir);
  rmSync(away, { recursive: true });
}

/** Takes all room, to the last byte. */
function fill(dir) {
  const ballast = join(dir, "ballast");
  const fd = openSync(ballast, "a");
  const piece = Buffer.alloc(65536);
  for (let size = piece.length; size >= 512; ) {
    try {
      writeSync(fd, piece, 0, size);
    } catch (e) {
      assert.equal(e.code, "ENOSPC");
      size /= 2;
    }
  }
  closeSync(fd);
  return () => rmSync(ballast);
}

before(async () => {
  if (skip) return;
  hook = await listener();
  a = await startAppliance({ config: `http:\n  requests_per_minute: 0\nwebhooks:\n  timeout: 60s\n  allow_private: ["${hook.url}"]\n` });
  a.drop("visit.md", "# Visitors\n\nVisitors park their cars behind the solar tower.\n");
  await a.settled({ n: 1 });
  await a.search("visitors"); // the audit begins
  await a.stop({ keep: true });
  for (const [dir, size] of Object.entries(DISKS)) ownDisk(join(a.home, dir), size);
  a = await startAppliance({ home: a.home, config: null });
  await a.post("/api/webhooks", { url: `${hook.url}/docs`, events: ["document.ingested"] });
  client = new Client(() => a, await a.post("/api/keys", { name: "customer", role: "reader" }), 7);
});
after(async () => {
  await a?.stop({ keep: true });
  for (const dir of mounted.reverse()) run("umount", "-l", dir);
  if (a) rmSync(dirname(a.home), { recursive: true, force: true });
  hook?.close();
});

const SHOWS = [
  ["POST", "/api/search", { query: "Where do visitors park?" }],
  ["POST", "/v1/chat/completions", { model: "carrel", messages: [{ role: "user", content: "Where do visitors park?" }] }],
  ["POST", "/v1/chat/completions", { model: "carrel", stream: true, messages: [{ role: "user", content: "Where do visitors park?" }] }],
  ["POST", "/v1/responses", { model: "carrel", input: "Where do visitors park?" }],
  ["POST", "/v1/messages", { model: "carrel", max_tokens: 100, messages: [{ role: "user", content: "Where do visitors park?" }] }],
  ["POST", "/api/chat", { model: "carrel", stream: false, messages: [{ role: "user", content: "Where do visitors park?" }] }],
  ["POST", "/mcp", { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "ask", arguments: { question: "Where do visitors park?" } } }],
];

/** The chain has asked the disk for some room ahead: what is answered from it is recorded, and then it is used up. */
const useUpRoom = () => until("the audit's room is used up", async () => {
  const r = await a.request("/api/search", { method: "POST", body: { query: "visitors" } });
  await r.text();
  return r.status === 503;
}, { every: 1 });

/** Every door that shows something, while the audit cannot be written. */
async function nothingIsShown() {
  for (const [method, path, body] of SHOWS) {
    const r = await a.request(path, { method, body });
    const text = await r.text();
    assert.doesNotMatch(text, /solar tower/, `${path}: ${r.status}`);
    if (path !== "/mcp" && !body.stream) assert.equal(r.status, 503, `${path}: ${text}`);
    assert.match(text, /audit|record/, `${path} says why: ${text}`);
  }
}

const answers = () => until("it answers again", async () => {
  const all = await Promise.all(SHOWS.map(async ([method, path, body]) => /solar tower/.test(await (await a.request(path, { method, body })).text())));
  return all.every(Boolean);
}, { every: 300 });

for (const dir of ["tenants/main/audit", "tenants/main", "system", "watch/main"]) {
  test(`${dir} is full while a client works`, { skip, timeout: 180_000 }, async (t) => {
    const before = client.n;
    client.begin(4);
    await until("the client is at work", () => client.n > before + 20 || !client.working, { every: 5 });
    const empty = fill(join(a.home, dir));
    try {
      await sleep(1500);
      if (dir === "tenants/main/audit") await useUpRoom();
      if (dir.startsWith("tenants")) await nothingIsShown();
      if (dir === "tenants/main/audit") {
        const r = await a.request("/api/keys", { method: "POST", body: { name: "nobody" } });
        assert.equal(r.status, 503, await r.text());
        const { error } = await (await a.request("/v1/chat/completions", { method: "POST", body: SHOWS[1][2] })).json();
        assert.equal(error.type, "server_error", JSON.stringify(error));
      }
      if (dir === "watch/main") {
        const r = await a.request("/api/documents?path=big.md", { method: "POST", body: "# Big\n\nno room\n" });
        assert.equal(r.status, 507, await r.text());
      }
      assert.equal((await a.request("/api/health", { key: null })).status, 200, "it is up, and says so");
      const health = await (await a.request("/api/status")).json();
      if (dir === "tenants/main/audit") assert.match(JSON.stringify(health.audit ?? health), /space|full|audit/i);
    } finally {
      empty();
    }
    await answers();
    await sleep(500);
    await client.end();
    await client.compare(hook.took);
    const { opens, interrupted } = client.audit();
    const { requests } = await client.books([]);
    t.diagnostic(`${client.n} turns, ${client.answers.size} answers, ${opens} calls in the audit (${interrupted} without end), ${requests} of ${client.sent} in the books; ${JSON.stringify([...client.errors])}`);
    client.errors.clear();
    assert.ok(!(await a.get("/api/keys")).keys.some((k) => k.name === "nobody"));
  });
}

test("the tenant's database takes nothing while receivers reply to webhooks: what became of them is written down later", { skip, timeout: 180_000 }, async () => {
  const hold = hook.hold();
  const put = async (n) => {
    const r = await a.request(`/api/documents?path=held/paper-${n}.md`, { method: "POST", body: `# Paper\n\nNumber ${n} of those that are held.\n` });
    assert.equal(r.status, 201, await r.text());
  };
  for (let n = 0; n < 5; n++) await put(n);
  await until("as many wait for a reply as an endpoint is sent at once", () => hold.waiting.length === 2);
  await until("all is read", async () => (await a.get("/api/documents?limit=1000")).documents.every((d) => d.state === "ready" || d.state === "failed"));
  // a full disk does not do: the file beside the database may have room of its own
  const writer = spawn("python3", ["-c", "import sqlite3, sys\nd = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)\nd.execute('BEGIN IMMEDIATE')\nprint('held', flush=True)\nsys.stdin.read()", join(a.home, "tenants/main/serve.db")]);
  const failed = () => [...a.output.matchAll(/msg=webhooks tenant=main/g)].length;
  const before = failed();
  try {
    await new Promise((done) => writer.stdout.once("data", done));
    hold.release();
    await until("it could not be written down", () => failed() >= before + 2);
  } finally {
    writer.stdin.end();
  }
  await until("the others follow", () => [0, 1, 2, 3, 4].every((n) => hook.took.has(`held/paper-${n}.md`)));
  await until("all is written down", async () => {
    const { deliveries } = await a.get(`/api/webhooks/${(await a.get("/api/webhooks")).webhooks[0].id}/deliveries`);
    return deliveries.every((d) => d.state === "taken" && d.attempts === 1);
  });
  for (let n = 0; n < 5; n++) assert.equal(hook.took.get(`held/paper-${n}.md`).size, 1);
});
