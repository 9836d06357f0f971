// The HTTP API against the running services: shapes that OpenAI clients expect, keys, sessions, malformed and
// hostile requests.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { startAppliance, until } from "./appliance.mjs";

let a;
before(async () => {
  a = await startAppliance({ config: "http:\n  header_timeout_ms: 2000\n  idle_timeout_ms: 3000\n  requests_per_minute: 0\n  max_body_bytes: 1M\n" });
  a.drop("leave.md", "# Leave\n\nEvery employee has thirty days of holiday. Part-time staff have fewer days.\n");
  a.drop("travel.md", "# Travel\n\nTrain tickets are booked by the travel office in the second floor.\n");
  await a.settled({ n: 2 });
});
after(async () => a?.stop());

const error = async (r, status) => {
  assert.equal(r.status, status, await r.clone().text());
  const body = await r.json();
  assert.equal(typeof body.error.message, "string");
  assert.ok(body.error.message.length > 5, JSON.stringify(body));
  for (const k of ["type", "param", "code"]) assert.ok(k in body.error, k);
  assert.ok(r.headers.get("x-request-id"));
  return body.error;
};

const chat = (body, more = {}) => a.request("/v1/chat/completions", { method: "POST", body, ...more });
const question = { model: "carrel", messages: [{ role: "user", content: "How many days of holiday does an employee have?" }] };

/** Everything a server sends until it closes, or until ms have passed. */
function raw(text, { ms = 1500, end = false } = {}) {
  const { hostname, port } = new URL(a.url);
  return new Promise((done) => {
    let out = "";
    const s = connect(Number(port), hostname, () => {
      s.write(text);
      if (end) s.end();
    });
    const t = setTimeout(() => s.destroy(), ms);
    s.on("data", (c) => (out += c.toString("latin1")));
    s.on("error", () => {});
    s.on("close", () => {
      clearTimeout(t);
      done(out);
    });
  });
}

const statuses = (out) => [...out.matchAll(/HTTP\/1\.1 (\d{3})/g)].map((m) => Number(m[1]));

test("health needs no key and says no more than up or down", async () => {
  const r = await a.request("/api/health", { key: null });
  assert.equal(r.status, 200);
  assert.deepEqual(await r.json(), { status: "ok" });
});

test("every other call needs a key", async () => {
  for (const [method, path] of [["GET", "/v1/models"], ["POST", "/v1/chat/completions"], ["POST", "/v1/embeddings"], ["POST", "/api/search"], ["GET", "/api/documents"], ["POST", "/api/documents"], ["DELETE", "/api/documents/x"], ["GET", "/metrics"], ["GET", "/api/status"], ["GET", "/api/progress"]]) {
    const r = await a.request(path, { method, key: null, body: method === "POST" ? {} : undefined });
    await error(r, 401);
    await error(await a.request(path, { method, key: "carrel_0000", body: method === "POST" ? {} : undefined }), 401);
  }
});

test("models: carrel, an embedding model whose name contains embed", async () => {
  const list = await a.get("/v1/models");
  assert.equal(list.object, "list");
  for (const m of list.data) {
    assert.equal(m.object, "model");
    assert.equal(typeof m.id, "string");
    assert.equal(typeof m.created, "number");
    assert.equal(typeof m.owned_by, "string");
  }
  assert.ok(list.data.some((m) => m.id === "carrel"));
  assert.ok(list.data.some((m) => m.id === "carrel-embed"));
  assert.equal((await a.get("/v1/models/carrel")).id, "carrel");
  await error(await a.request("/v1/models/nothing"), 404);
});

test("chat, not streamed", async () => {
  const r = await (await chat({ ...question, unknown_field: { x: 1 }, temperature: 0.2 })).json();
  assert.equal(r.object, "chat.completion");
  assert.equal(r.choices[0].message.role, "assistant");
  assert.match(r.choices[0].message.content, /thirty days of holiday/);
  assert.equal(r.choices[0].finish_reason, "stop");
  for (const k of ["prompt_tokens", "completion_tokens", "total_tokens"]) assert.equal(typeof r.usage[k], "number", k);
  const [n] = /\[(\d+)\]/.exec(r.choices[0].message.content).slice(1).map(Number);
  const c = r.citations.find((x) => x.number === n);
  assert.equal(c.document.path, "leave.md");
  assert.match(c.text, /thirty days/);
  assert.equal(r.carrel.engine, "extractive");
  const record = await a.get(`/api/answers/${r.carrel.answer_id}`);
  assert.match(JSON.stringify(record), /How many days of holiday/);
  assert.match(JSON.stringify(record), /[0-9a-f]{64}/, "passage hashes are recorded");
});

test("chat, streamed: chunks of one id, usage when asked, [DONE]", async () => {
  const r = await chat({ ...question, stream: true, stream_options: { include_usage: true } });
  assert.match(r.headers.get("content-type"), /^text\/event-stream/);
  const events = (await r.text()).split("\n\n").filter((e) => e.startsWith("data:")).map((e) => e.slice(5).trim());
  assert.equal(events.at(-1), "[DONE]");
  const chunks = events.slice(0, -1).map((e) => JSON.parse(e));
  assert.equal(new Set(chunks.map((c) => c.id)).size, 1);
  assert.ok(chunks.every((c) => c.object === "chat.completion.chunk"));
  const text = chunks.map((c) => c.choices[0]?.delta?.content ?? "").join("");
  assert.match(text, /thirty days of holiday/);
  assert.ok(chunks.some((c) => c.choices[0]?.finish_reason === "stop"));
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.equal(typeof chunks.at(-1).usage.total_tokens, "number");
  assert.ok(chunks.some((c) => c.citations?.length > 0));
});

test("content in parts, earlier turns, an empty assistant turn: what clients really send", async () => {
  const r = await chat({
    model: "carrel",
    messages: [
      { role: "system", content: "Be brief." },
      { role: "user", content: "Tell me about train tickets" },
      { role: "assistant", content: [] },
      { role: "user", content: [{ type: "text", text: "Who books train tickets?" }] },
    ],
  });
  assert.equal(r.status, 200, await r.clone().text());
  assert.match((await r.json()).choices[0].message.content, /travel office/);
});

test("an unknown model is 404, a bad request says which field", async () => {
  assert.equal((await error(await chat({ ...question, model: "gpt-nothing" }), 404)).code, "model_not_found");
  await error(await chat({ model: "carrel" }), 400);
  await error(await chat({ model: "carrel", messages: [] }), 400);
  await error(await chat({ model: "carrel", messages: "hello" }), 400);
  await error(await chat({ model: "carrel", messages: [{ role: "user", content: 7 }] }), 400);
});

test("embeddings: floats, base64, batches", async () => {
  const f = await a.post("/v1/embeddings", { model: "carrel-embed", input: ["holiday", "train tickets"], encoding_format: "float" });
  assert.equal(f.object, "list");
  assert.equal(f.data.length, 2);
  assert.deepEqual(f.data.map((d) => d.index), [0, 1]);
  const b = await a.post("/v1/embeddings", { model: "carrel-embed", input: "holiday", encoding_format: "base64" });
  const bytes = Buffer.from(b.data[0].embedding, "base64");
  assert.equal(bytes.length, f.data[0].embedding.length * 4);
  for (let i = 0; i < f.data[0].embedding.length; i++) assert.ok(Math.abs(bytes.readFloatLE(4 * i) - f.data[0].embedding[i]) < 1e-6);
  assert.equal(typeof b.usage.total_tokens, "number");
  const many = await a.post("/v1/embeddings", { model: "carrel-embed", input: Array.from({ length: 512 }, (_, i) => `text number ${i}`) });
  assert.equal(many.data.length, 512);
  await error(await a.request("/v1/embeddings", { method: "POST", body: { model: "nothing-embed", input: "x" } }), 404);
  await error(await a.request("/v1/embeddings", { method: "POST", body: { model: "carrel-embed" } }), 400);
});

test("search says why", async () => {
  const [p] = await a.search("holiday of an employee", { top_k: 1 });
  assert.equal(p.document.path, "leave.md");
  assert.equal(typeof p.document.id, "string");
  assert.equal(typeof p.score, "number");
  assert.equal(p.why.text_rank, 1);
  assert.equal(typeof p.start, "number");
  await error(await a.request("/api/search", { method: "POST", body: {} }), 400);
  await error(await a.request("/api/search", { method: "POST", body: { query: "x", top_k: -1 } }), 400);
});

test("questions of any form are no syntax error", async () => {
  for (const q of ['"unbalanced', "NEAR(", "a AND OR NOT", "*", "(((", "col:umn", "\u0000", "🦆", "ﷺ", "x".repeat(5000), "'; DROP TABLE chunks; --", "שלום", " "]) {
    const r = await a.request("/api/search", { method: "POST", body: { query: q } });
    assert.ok(r.status === 200 || r.status === 400, `${JSON.stringify(q)}: ${r.status}`);
  }
});

test("bad bodies: malformed, doubled keys, deep nesting, invalid UTF-8, too large", async () => {
  const post = (body) => a.request("/api/search", { method: "POST", body, headers: { "content-type": "application/json" } });
  await error(await post('{"query": "x"'), 400);
  await error(await post('{"query": "x"} trailing'), 400);
  await error(await post('{"query": "x", "query": "y"}'), 400);
  await error(await post("[".repeat(10_000) + "]".repeat(10_000)), 400);
  await error(await post(Buffer.from([0x7b, 0x22, 0x71, 0xff, 0x22, 0x3a, 0x31, 0x7d])), 400);
  await error(await post(JSON.stringify({ query: "x".repeat(2_000_000) })), 413);
});

test("paths and methods", async () => {
  await error(await a.request("/api/nothing"), 404);
  const r = await a.request("/api/search");
  assert.ok(r.headers.get("allow")?.includes("POST"));
  await error(r, 405);
  await error(await a.request("/api/documents/00000000000000000000000000"), 404);
  await error(await a.request("/api/documents/..%2f..%2fadmin.key"), 404);
  for (const p of ["/../admin.key", "/..%2f..%2fcarrel.yaml", "/assets/../../carrel.yaml", "/%2e%2e/admin.key"]) {
    const out = await raw(`GET ${p} HTTP/1.1\r\nHost: ${new URL(a.url).host}\r\nConnection: close\r\n\r\n`);
    assert.ok(!out.includes("carrel_"), p);
    assert.ok([400, 404].includes(statuses(out)[0]), `${p}: ${out.slice(0, 60)}`);
  }
});

test("upload names cannot leave the folder", async () => {
  for (const path of ["../evil.md", "/etc/evil.md", "a/../../evil.md", ".hidden.md", "a\0b.md"]) {
    const r = await a.request(`/api/documents?path=${encodeURIComponent(path)}`, { method: "POST", body: new Uint8Array(Buffer.from("# x")), headers: { "content-type": "application/octet-stream" } });
    assert.ok(r.status >= 400 && r.status < 500, `${JSON.stringify(path)}: ${r.status}`);
  }
});

test("sessions: cookie, CSRF token for writes, end", async () => {
  await error(await a.request("/api/session", { method: "POST", key: null, body: { key: "carrel_wrong" } }), 401);
  const r = await a.request("/api/session", { method: "POST", key: null, body: { key: a.key } });
  assert.ok(r.ok, await r.clone().text());
  const set = r.headers.get("set-cookie");
  assert.match(set, /HttpOnly/i);
  assert.match(set, /SameSite=Strict/i);
  const cookie = set.split(";")[0];
  const by = (method, path, body, headers = {}) => a.request(path, { method, key: null, body, headers: { cookie, ...headers } });
  const s = await (await by("GET", "/api/session")).json();
  assert.ok(s.csrf.length >= 16);
  assert.equal((await by("GET", "/api/documents")).status, 200);
  await error(await by("POST", "/api/search", { query: "x" }), 403);
  assert.equal((await by("POST", "/api/search", { query: "holiday" }, { "x-csrf-token": s.csrf })).status, 200);
  await error(await by("POST", "/api/search", { query: "x" }, { "x-csrf-token": "0".repeat(s.csrf.length) }), 403);
  assert.ok((await by("DELETE", "/api/session", undefined, { "x-csrf-token": s.csrf })).ok);
  await error(await by("GET", "/api/documents"), 401);
});

test("metrics are Prometheus text", async () => {
  const text = await (await a.request("/metrics")).text();
  assert.match(text, /^# TYPE \w+ (counter|gauge|histogram)$/m);
  for (const line of text.split("\n").filter((l) => l !== "" && !l.startsWith("#"))) {
    assert.match(line, /^[a-zA-Z_:][a-zA-Z0-9_:]*(\{[a-zA-Z_]\w*="(\\.|[^"\\])*"(,[a-zA-Z_]\w*="(\\.|[^"\\])*")*\})? -?[0-9.eE+-]+(Inf|NaN)?$/);
  }
});

test("the page: strict policy, nothing sniffed, no outside host named", async () => {
  const r = await a.request("/", { key: null });
  assert.equal(r.status, 200);
  const html = await r.text();
  assert.match(r.headers.get("content-security-policy"), /default-src 'self'|default-src 'none'/);
  assert.doesNotMatch(r.headers.get("content-security-policy"), /unsafe-inline|unsafe-eval|https?:/);
  assert.equal(r.headers.get("x-content-type-options"), "nosniff");
  assert.doesNotMatch(html, /https?:\/\//);
});

test("requests that could be read in two ways are refused, and the connection closed", async () => {
  const host = `Host: ${new URL(a.url).host}\r\nAuthorization: Bearer ${a.key}\r\n`;
  const smuggled = "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n";
  const cases = {
    "both lengths": `POST /api/search HTTP/1.1\r\n${host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`,
    "two lengths": `POST /api/search HTTP/1.1\r\n${host}Content-Length: 0\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
    "bare CR": `POST /api/search HTTP/1.1\r\n${host}Dummy: x\rContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
    "space before colon": `POST /api/search HTTP/1.1\r\n${host}Content-Length : ${smuggled.length}\r\n\r\n${smuggled}`,
    "folded header": `GET /v1/models HTTP/1.1\r\n${host}X: a\r\n b\r\n\r\n`,
    "bad chunk size": `POST /api/search HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n`,
    "negative length": `POST /api/search HTTP/1.1\r\n${host}Content-Length: -1\r\n\r\n`,
    "unknown coding": `POST /api/search HTTP/1.1\r\n${host}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
    "NUL in a header": `GET /v1/models HTTP/1.1\r\n${host}X: a\0b\r\n\r\n`,
    "no host": `GET /v1/models HTTP/1.1\r\nAuthorization: Bearer ${a.key}\r\n\r\n`,
    "garbage": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03garbage\r\n\r\n",
    "huge header": `GET /v1/models HTTP/1.1\r\n${host}X: ${"a".repeat(200_000)}\r\n\r\n`,
    "many headers": `GET /v1/models HTTP/1.1\r\n${host}${"X: a\r\n".repeat(5000)}\r\n`,
  };
  for (const [name, text] of Object.entries(cases)) {
    const out = await raw(text);
    const got = statuses(out);
    assert.ok(got.length <= 1 && (got.length === 0 || (got[0] >= 400 && got[0] < 600)), `${name}: ${got} ${out.slice(0, 200)}`);
  }
  assert.equal((await a.request("/api/health", { key: null })).status, 200);
});

test("pipelined requests are answered in order", async () => {
  const { host } = new URL(a.url);
  const one = (p) => `GET ${p} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  const out = await raw(one("/api/health") + one("/api/documents") + one("/api/health"), { ms: 1000 });
  assert.deepEqual(statuses(out), [200, 401, 200]);
});

test("a client that sends its header drop by drop, or nothing at all, is let go", async () => {
  const { hostname, port } = new URL(a.url);
  const start = Date.now();
  await Promise.all(["GET / HT", ""].map((text) => new Promise((done) => {
    const s = connect(Number(port), hostname, () => text && s.write(text));
    const drip = setInterval(() => text && s.writable && s.write("T"), 300);
    s.on("error", () => {});
    s.on("data", () => {});
    s.on("close", () => {
      clearInterval(drip);
      done();
    });
  })));
  assert.ok(Date.now() - start < 10_000, `${Date.now() - start} ms`);
});

test("a client that goes away ends the work behind it, and the rest goes on", async () => {
  for (let i = 0; i < 20; i++) {
    const c = new AbortController();
    const p = chat({ ...question, stream: true }, { signal: c.signal }).then((r) => r.text()).catch(() => null);
    await sleep(i);
    c.abort();
    await p;
  }
  const text = await until("nothing is in flight", async () => {
    const t = await (await a.request("/metrics")).text();
    return t.length > 0 && t;
  });
  assert.ok(text.length > 0);
  assert.equal((await chat(question)).status, 200);
});

test("too many requests of one key: 429 with Retry-After", async () => {
  const b = await startAppliance({ config: "http:\n  requests_per_minute: 60\n" });
  try {
    let limited;
    for (let i = 0; i < 200 && !limited; i++) {
      const r = await b.request("/v1/models");
      if (r.status === 429) limited = r;
      else await r.arrayBuffer();
    }
    assert.ok(limited, "a limit was reached");
    assert.ok(Number(limited.headers.get("retry-after")) >= 1);
    assert.match((await limited.json()).error.message, /\w+/);
  } finally {
    await b.stop();
  }
});
