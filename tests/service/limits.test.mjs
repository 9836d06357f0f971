// Fair use: each limit is filled, answered 429 (a budget 402) with the headers that clients read, and touches nobody
// else; what counts for a day or a month is there after a crash.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, test } from "node:test";
import { sameDay, startAppliance, until } from "./appliance.mjs";

let a, upstream;
const who = {}; // name: {id, key}
const held = []; // answers that wait
const told = []; // what webhooks said
const bodies = []; // what the model elsewhere was asked

// A model elsewhere: 1,000 tokens read and 10 written an answer; what is asked slowly waits to be let go.
function startUpstream() {
  return new Promise((done) => {
    const s = createServer((req, res) => {
      let body = "";
      req.on("data", (d) => (body += d));
      req.on("end", () => {
        if (req.url === "/told") {
          told.push(JSON.parse(body));
          return res.writeHead(204).end();
        }
        bodies.push(JSON.parse(body));
        res.writeHead(200, { "content-type": "text/event-stream" });
        const send = (o) => res.write(`data: ${JSON.stringify(o)}\n\n`);
        const delta = (content, finish_reason = null) => send({ choices: [{ index: 0, delta: { content }, finish_reason }] });
        const end = () => {
          delta("day [1].", "stop");
          send({ choices: [], usage: { prompt_tokens: 1000, completion_tokens: 10 } });
          res.end("data: [DONE]\n\n");
        };
        delta("The herons arrive on the first ");
        if (body.includes("slowly")) held.push(end);
        else end();
      });
    });
    s.listen(0, "127.0.0.1", () => done(s));
  });
}
const config = () => `http:
  requests_per_minute: 0
  max_requests_in_flight: 8
limits:
  tenant_share_percent: 50
webhooks:
  allow: ["http://127.0.0.1:${upstream.address().port}"]
prices:
  external_prompt_million: 1000
generate:
  engine: upstream
  upstream:
    url: http://127.0.0.1:${upstream.address().port}/v1
    model: far
    may_receive: [public]
    allow_private_address: true
`;
async function start(home) {
  const one = await startAppliance({ config: config(), ...(home ? { home } : {}) });
  one.drop("birds.md", "# Herons\n\nThe herons arrive on the first day of March and leave in October.");
  return one;
}
const limit = async (body) => a.post("/api/limits", body);
const standing = async (kind, name) => (await a.get("/api/limits")).subjects.find((s) => s.kind === kind && s.name === name);
const ask = (name, { path = "/v1/chat/completions", content = "When do the herons arrive?", ...more } = {}) =>
  a.request(path, { method: "POST", key: who[name].key, body: { model: "carrel", messages: [{ role: "user", content }], ...more } });
const embed = (name, input) => a.request("/v1/embeddings", { method: "POST", key: who[name].key, body: { model: "carrel-embed", input } });
const header = (r, name) => r.headers.get(name);

before(async () => {
  await sameDay();
  upstream = await startUpstream();
  a = await start();
  writeFileSync(join(a.home, "access.yaml"), 'access:\n  - path: "**"\n    readers: [everyone]\n    label: public\n');
  await a.post("/api/tenants", { tenant: "north" });
  for (const [name, groups, tenant] of [["ann", ["law"]], ["bob", ["law"]], ["cid", ["care"]], ["dan", ["care"]], ["north", [], "north"]]) {
    const k = await a.post("/api/keys", { name, groups, ...(tenant ? { tenant } : {}) });
    who[name] = { id: k.id, key: k.key };
  }
  await a.settled();
  await until("the rule is known", async () => {
    const r = await ask("dan");
    return r.ok && (await r.json()).carrel?.engine === "upstream";
  }, { every: 300 });
});
after(async () => {
  held.splice(0).forEach((end) => end());
  await a?.stop();
  upstream?.close();
});

test("requests a minute: of one key, in every dialect's words, with OpenAI's headers", { timeout: 180_000 }, async () => {
  const set = await limit({ kind: "key", name: who.ann.id, requests_per_minute: 3 });
  assert.equal(set.limits.requests_per_minute, 3);
  for (const left of [2, 1, 0]) {
    const r = await a.request("/v1/models", { key: who.ann.key });
    assert.equal(r.status, 200);
    assert.deepEqual([header(r, "x-ratelimit-limit-requests"), header(r, "x-ratelimit-remaining-requests")], ["3", String(left)]);
    assert.match(header(r, "x-ratelimit-reset-requests"), /^(\d+ms|\d+(\.[1-9])?s|1m0s)$/);
  }
  const r = await a.request("/v1/models", { key: who.ann.key });
  assert.equal(r.status, 429);
  assert.equal(header(r, "x-ratelimit-remaining-requests"), "0");
  assert.equal(header(r, "x-should-retry"), null);
  assert.ok(Number(header(r, "retry-after")) >= 1 && Number(header(r, "retry-after")) <= 20);
  const e = (await r.json()).error;
  assert.deepEqual([e.type, e.code], ["rate_limit_error", "rate_limit_exceeded"]);
  assert.match(e.message, /^This key has made its 3 requests for this minute/);
  const anthropic = await ask("ann", { path: "/v1/messages", max_tokens: 10 });
  assert.equal(anthropic.status, 429);
  assert.deepEqual([(await anthropic.json()).error.type], ["rate_limit_error"]);
  const ollama = await ask("ann", { path: "/api/chat" });
  assert.equal(ollama.status, 429);
  assert.match((await ollama.json()).error, /^This key/);
  assert.equal((await a.request("/v1/models", { key: who.bob.key })).status, 200);
  await limit({ kind: "key", name: who.ann.id, reset: true });
  const again = await a.request("/v1/models", { key: who.ann.key });
  assert.deepEqual([again.status, header(again, "x-ratelimit-limit-requests")], [200, null]);
});

test("a hundred at once take no more than there are, and every refusal says when to come again", { timeout: 180_000 }, async () => {
  await limit({ kind: "key", name: who.ann.id, requests_per_minute: 20 });
  const from = Date.now();
  const all = await Promise.all(Array.from({ length: 100 }, () => a.request("/v1/models", { key: who.ann.key })));
  const passed = all.filter((r) => r.status === 200);
  const back = Math.ceil(((Date.now() - from) * 20) / 60_000); // what the minute gives back meanwhile
  assert.ok(passed.length >= 4 && passed.length <= 20 + back, `${passed.length} passed`);
  // as the official clients read them
  for (const r of all) {
    assert.match(header(r, "x-ratelimit-reset-requests") ?? "0s", /^(\d+h)?(\d+m)?(\d+(\.\d)?s)?(\d+ms)?$/);
    if (r.status === 429) assert.match(header(r, "retry-after"), /^[1-9]\d*$/);
  }
  assert.ok(all.every((r) => r.status === 200 || r.status === 429), JSON.stringify([...new Set(all.map((r) => r.status))]));
  assert.ok(all.filter((r) => r.status === 429).length >= 79 - back);
  await limit({ kind: "key", name: who.ann.id, reset: true });
});

test("tokens a day: of one user, and a client is told not to try again", { timeout: 180_000 }, async () => {
  await limit({ kind: "user", name: who.bob.id, tokens_per_day: 6 });
  const one = await embed("bob", "the quick brown fox jumps over the lazy dog");
  assert.equal(one.status, 200);
  assert.deepEqual([header(one, "x-ratelimit-limit-tokens"), header(one, "x-ratelimit-remaining-tokens")], ["6", "6"]);
  assert.match(header(one, "x-ratelimit-reset-tokens"), /^(\d+h)?(\d+m)?[\d.]+s$/);
  await one.json();
  const two = await embed("bob", "again");
  assert.equal(two.status, 429);
  assert.deepEqual([header(two, "x-ratelimit-remaining-tokens"), header(two, "x-should-retry")], ["0", "false"]);
  assert.equal((await two.json()).error.code, "insufficient_quota");
  const found = await a.request("/api/search", { method: "POST", key: who.bob.key, body: { query: "herons" } });
  assert.equal(found.status, 200); // what uses no tokens goes on
  assert.equal((await embed("ann", "again")).status, 200);
});

test("uploaded bytes a day: of one key", { timeout: 180_000 }, async () => {
  const k = await a.post("/api/keys", { name: "scanner", admin: true });
  who.scanner = { id: k.id, key: k.key };
  await limit({ kind: "key", name: k.id, upload_bytes_per_day: 1000 });
  const up = (n, key = k.key) => a.request(`/api/documents?path=up/${n}-${Math.random()}.txt`, { method: "POST", key, body: "x".repeat(n) });
  assert.equal((await up(600)).status, 201);
  const r = await up(500); // would pass it: refused before a byte is read
  assert.equal(r.status, 429);
  assert.match((await r.json()).error.message, /more than its 1000 bytes of today/);
  assert.equal((await up(300)).status, 201);
  assert.equal((await up(500, a.key)).status, 201);
  assert.equal((await standing("key", k.id)).used.upload_bytes_today, 900);
});

test("answers at once: of one user; the place is free again when one ends or its reader leaves", { timeout: 180_000 }, async () => {
  await limit({ kind: "user", name: who.ann.id, streams: 1 });
  const leave = new AbortController();
  const slow = a.request("/v1/chat/completions", { method: "POST", key: who.ann.key, signal: leave.signal,
    body: { model: "carrel", stream: true, messages: [{ role: "user", content: "When do the herons arrive? Answer slowly." }] } });
  const first = await slow;
  assert.equal(first.status, 200);
  const second = await ask("ann");
  assert.equal(second.status, 429);
  assert.equal(header(second, "retry-after"), "1");
  assert.equal((await ask("dan")).status, 200);
  assert.equal((await standing("user", who.ann.id)).used.streams, 1);
  leave.abort();
  await until("the place is free", async () => (await ask("ann")).status === 200, { every: 100 });
  held.splice(0).forEach((end) => end());
  await limit({ kind: "user", name: who.ann.id, reset: true });
});

test("one tenant's flood leaves room for another's requests", { timeout: 180_000 }, async () => {
  const slow = [1, 2, 3, 4].map(() => ask("cid", { content: "When do the herons arrive? Answer slowly." }));
  await until("all of them are at work", async () => held.length === 4);
  const over = await a.request("/v1/models", { key: who.dan.key });
  assert.equal(over.status, 429);
  assert.match((await over.json()).error.message, /^This tenant has 4 requests at work, which is its part/);
  for (let i = 0; i < 3; i++) assert.equal((await a.request("/v1/models", { key: who.north.key })).status, 200);
  held.splice(0).forEach((end) => end());
  for (const s of slow) assert.equal((await s).status, 200);
  await until("there is room again", async () => (await a.request("/v1/models", { key: who.dan.key })).status === 200);
});

test("a budget warns, stops with 402, and an administrator can raise it", { timeout: 180_000 }, async () => {
  await a.post("/api/webhooks", { url: `http://127.0.0.1:${upstream.address().port}/told`, events: ["budget.warning", "budget.exceeded"] });
  await limit({ kind: "user", name: who.cid.id, team: "night" });
  await limit({ kind: "team", name: "night", budget_per_month: 2.5 });
  const warned = "x-carrel-budget-warning";
  for (const [used, warning] of [[1, false], [2, false], [3, true]]) {
    const r = await ask("cid");
    assert.equal(r.status, 200, `answer ${used}`);
    assert.equal(header(r, warned) !== null, warning, `answer ${used}: ${header(r, warned)}`);
    await r.text();
    assert.equal((await standing("team", "night")).used.cost_micro_this_month, used * 1_000_000);
  }
  await until("it is in the log", () => /a budget is nearly used up.*tenant=main of=team name=night/.test(a.output));
  assert.equal(a.output.match(/a budget is nearly used up/g).length, 1);
  const r = await ask("cid");
  assert.equal(r.status, 402);
  assert.equal(header(r, "x-should-retry"), "false");
  const e = (await r.json()).error;
  assert.equal(e.code, "insufficient_quota");
  assert.match(e.message, /^The team "night" has used up its budget of 2\.50 EUR for this month/);
  assert.equal((await ask("dan")).status, 200);
  const metrics = await (await a.request("/metrics")).text();
  assert.match(metrics, /^carrel_serve_limited_requests_total\{limit="budget"\} 1$/m);
  assert.match(metrics, /^carrel_serve_usage_lost_total 0$/m);
  await until("both were told", async () => told.length === 2);
  // they may be delivered in either order
  assert.deepEqual(told.map((t) => [t.type, t.data.of, t.data.name, t.data.spent, t.data.budget]).sort(), [
    ["budget.exceeded", "team", "night", 3, 2.5],
    ["budget.warning", "team", "night", 2, 2.5],
  ]);
  const mine = await a.request("/api/limits/mine", { key: who.cid.key });
  assert.equal((await mine.json()).warning, "team");
  await limit({ kind: "team", name: "night", budget_per_month: 3.5 });
  assert.equal((await ask("cid")).status, 200);
});

test("an answer may be no longer than what is left pays for, and says so", { timeout: 60_000 }, async () => {
  await limit({ kind: "key", name: who.dan.id, tokens_per_day: 3000 });
  const asked = async (more) => {
    assert.equal((await ask("dan", more)).status, 200);
    return bodies.at(-1).max_tokens;
  };
  const used = (await standing("key", who.dan.id)).used.tokens_today;
  assert.ok(used > 0);
  await limit({ kind: "key", name: who.dan.id, tokens_per_day: used + 1200 });
  assert.equal(await asked(), 1200);
  assert.equal(await asked({ max_tokens: 50 }), 50); // of the 190 that are left
  assert.equal((await ask("dan")).status, 429); // the prompt was more than what was left, and no answer comes after it
  await limit({ kind: "key", name: who.dan.id, reset: true });
  assert.equal(await asked(), undefined);
});

test("after a crash tokens and money of before still count, and limits are as they were set", { timeout: 180_000 }, async () => {
  await until("all is entered", async () => (await a.get("/api/usage")).teams.find((t) => t.team === "night")?.cost_micro === 4_000_000);
  await sleep(1000); // and written
  await a.kill();
  const home = a.home;
  a = await start(home);
  assert.equal((await standing("team", "night")).used.cost_micro_this_month, 4_000_000);
  assert.equal((await ask("cid")).status, 402);
  assert.equal((await embed("bob", "again")).status, 429);
  assert.equal((await standing("key", who.scanner.id)).used.upload_bytes_today, 900);
});

test("limits are set by administrators, a tenant's by those who run the appliance", { timeout: 180_000 }, async () => {
  const as = (key, body) => a.request("/api/limits", { method: "POST", key, body });
  const north = (await a.post("/api/keys", { name: "head", admin: true, tenant: "north" })).key;
  assert.equal((await as(who.ann.key, { kind: "team", name: "law", tokens_per_day: 0 })).status, 403);
  assert.equal((await as(north, { kind: "tenant", name: "north", tokens_per_day: 0 })).status, 403);
  assert.equal((await as(north, { kind: "user", name: who.ann.id, tokens_per_day: 0 })).status, 404);
  assert.equal((await as(north, { kind: "user", tenant: "main", name: who.ann.id, tokens_per_day: 0 })).status, 403);
  assert.equal((await as(north, { kind: "user", name: who.north.id, tokens_per_day: 5 })).status, 200);
  assert.equal((await as(a.key, { kind: "tenant", name: "north", budget_per_month: 100 })).status, 200);
  for (const bad of [{ kind: "cat", name: "x" }, { kind: "team" }, { kind: "team", name: "x", streams: -1 }, { kind: "team", name: "x", budget_per_month: "1" }])
    assert.equal((await as(a.key, bad)).status, 400, JSON.stringify(bad));
  const list = (await (await a.request("/api/limits", { key: north })).json()).subjects;
  assert.ok(list.length > 0 && list.every((s) => s.tenant === "north"));
});
