// Receivers of webhooks that are slow, busy, endless or somewhere else than their name says, and sending again by hand.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startAppliance, until } from "./appliance.mjs";

const got = [];
const answers = {}; // path -> (request, response, how many times before)
let a, server, port, inside;

before(async () => {
  server = createServer((q, r) => {
    let body = "";
    q.on("data", (d) => (body += d)).on("end", () => {
      const path = q.url;
      const before = got.filter((g) => g.path === path).length;
      got.push({ path, id: q.headers["webhook-id"], at: Date.now(), body });
      (answers[path] ?? ((_, res) => res.writeHead(204).end()))(q, r, before);
    });
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  port = server.address().port;
  inside = createServer((q, r) => {
    got.push({ path: "/inside" });
    r.end();
  });
  inside.on("connection", () => got.push({ path: "/inside" }));
  await new Promise((done) => inside.listen(0, "127.0.0.1", done));
  // what an administrator might be talked into listing: names of this machine that do not look it
  const lying = ["https://localhost", "https://2130706433", "https://0x7f000001", "https://127.1"];
  a = await startAppliance({
    config: `http:\n  requests_per_minute: 0\nwebhooks:\n  timeout: 2s\n  allow: ["http://127.0.0.1:${port}", ${lying.map((l) => `"${l}:${inside.address().port}"`).join(", ")}]\n`,
  });
  a.lying = lying;
});
after(async () => {
  await a?.stop();
  server.closeAllConnections();
  server.close();
  inside.closeAllConnections();
  inside.close();
});

const calls = (path) => got.filter((g) => g.path === path);
const log = async (id) => (await a.get(`/api/webhooks/${id}/deliveries`)).deliveries;
const ping = async (origin, path) => {
  const w = await a.post("/api/webhooks", { url: `${origin}${path}`, events: ["job.done"] });
  const { delivery } = await a.post(`/api/webhooks/${w.id}/test`, {});
  return { w, delivery };
};
const tried = (w, n = 1) => until("it was tried", async () => {
  const [d] = await log(w.id);
  return d?.attempts >= n && d;
});

test("an address in disguise leads nowhere, whatever list it is on", { timeout: 180_000 }, async () => {
  const all = await Promise.all(a.lying.map(async (l) => [l, await ping(`${l}:${inside.address().port}`, "/x")]));
  for (const [l, { w }] of all) {
    const d = await tried(w);
    assert.match(d.error, /carrel-egress refused it/, l);
    assert.equal(d.status, undefined, l);
    await a.request(`/api/webhooks/${w.id}`, { method: "DELETE" });
  }
  assert.equal(calls("/inside").length, 0);
});

test("429 and 503 with Retry-After are waited for; more than an hour is an hour", { timeout: 180_000 }, async () => {
  answers["/busy"] = (q, r, n) => (n === 0 ? r.writeHead(429, { "retry-after": "9" }).end() : r.writeHead(204).end());
  answers["/asleep"] = (q, r) => r.writeHead(503, { "retry-after": "7200" }).end();
  answers["/date"] = (q, r) => r.writeHead(429, { "retry-after": new Date(Date.now() + 600_000).toUTCString() }).end();
  answers["/nonsense"] = (q, r) => r.writeHead(429, { "retry-after": "-5 minutes" }).end();
  const [busy, asleep, date, nonsense] = await Promise.all(["/busy", "/asleep", "/date", "/nonsense"].map((p) => ping(`http://127.0.0.1:${port}`, p)));
  const wait = async (x) => (await tried(x.w)).next - Date.now() / 1000;
  assert.equal((await tried(asleep.w)).status, 503);
  const [two, three, four] = await Promise.all([asleep, date, nonsense].map(wait)); // each after its first try
  assert.ok(two > 3500 && two <= 3601, `an hour, not ${two}`);
  assert.ok(three > 570 && three <= 601, `ten minutes, not ${three}`);
  assert.ok(four <= 6, `nonsense is not heard: ${four}`);
  await until("the busy one took it", async () => (await log(busy.w.id))[0].state === "taken");
  const [first, second] = calls("/busy");
  assert.ok(second.at - first.at >= 8900, `not before it said: ${second.at - first.at} ms`);
  assert.equal(first.id, second.id);
  for (const x of [busy, asleep, date, nonsense]) await a.request(`/api/webhooks/${x.w.id}`, { method: "DELETE" });
});

test("slow answers end at the time limit; endless ones are not read to their end", { timeout: 180_000 }, async () => {
  let sent = 0;
  answers["/silent"] = () => {};
  answers["/drip"] = (q, r) => {
    r.writeHead(200);
    const timer = setInterval(() => r.write("."), 100);
    r.on("close", () => clearInterval(timer));
  };
  answers["/endless"] = (q, r) => {
    r.writeHead(200);
    const more = () => {
      while (!r.destroyed && sent < 1 << 30) {
        sent += 65536;
        if (!r.write(Buffer.alloc(65536, 120))) return void r.once("drain", more);
      }
    };
    more();
  };
  answers["/heads"] = (q, r) => {
    r.socket.write("HTTP/1.1 200 OK\r\n");
    const line = `x-more: ${"y".repeat(8000)}\r\n`;
    const timer = setInterval(() => !r.socket.destroyed && r.socket.write(line.repeat(20)), 5);
    r.socket.on("close", () => clearInterval(timer));
  };
  const [silent, drip, endless, heads] = await Promise.all(["/silent", "/drip", "/endless", "/heads"].map((p) => ping(`http://127.0.0.1:${port}`, p)));
  for (const x of [silent, drip]) {
    const d = await tried(x.w);
    assert.equal(d.state, "waiting", "it is tried again");
    assert.ok(d.took_ms >= 1900 && d.took_ms < 30_000, `${d.took_ms} ms`);
    assert.match(d.error, /cannot be reached/);
  }
  assert.equal((await tried(endless.w)).state, "taken", "its status says that it was taken");
  assert.ok(sent < 64 << 20, `${sent} bytes were sent`);
  const h = await tried(heads.w);
  assert.equal(h.state, "waiting");
  assert.match(h.error, /cannot be reached/);
  // what is slow holds up itself, not others
  const quick = await ping(`http://127.0.0.1:${port}`, "/quick");
  await until("the quick one", async () => (await log(quick.w.id))[0].state === "taken");
  for (const x of [silent, drip, endless, heads, quick]) await a.request(`/api/webhooks/${x.w.id}`, { method: "DELETE" });
});

test("what was told is told again by hand, the same, and only to its endpoint", { timeout: 180_000 }, async () => {
  const { w, delivery } = await ping(`http://127.0.0.1:${port}`, "/again");
  const other = await ping(`http://127.0.0.1:${port}`, "/other");
  const again = (hook, id, key) => a.request(`/api/webhooks/${hook}/deliveries/${id}`, { method: "POST", body: {}, ...(key && { key }) });
  await until("it was taken", async () => (await log(w.id))[0].state === "taken");
  const r = await again(w.id, delivery);
  assert.equal(r.status, 202);
  assert.deepEqual(await r.json(), { delivery });
  await until("it came again", async () => calls("/again").length === 2);
  const [first, second] = calls("/again");
  assert.deepEqual([first.id, first.body], [second.id, second.body]);
  const d = await until("the log says so", async () => {
    const [x] = await log(w.id);
    return x.state === "taken" && x.attempts === 2 && x;
  });
  assert.ok(d.again >= d.created);
  assert.equal((await log(w.id)).length, 1, "one row however often");
  assert.equal((await again(w.id, other.delivery)).status, 404);
  assert.equal((await again(w.id, "none")).status, 404);
  const { key } = await a.post("/api/keys", { name: "other", role: "service", groups: ["x"] });
  assert.equal((await again(w.id, delivery, key)).status, 404, "not a machine's that did not make it");
  await sleep(300);
  assert.equal(calls("/again").length, 2);
  for (const x of [w, other.w]) await a.request(`/api/webhooks/${x.id}`, { method: "DELETE" });
});
