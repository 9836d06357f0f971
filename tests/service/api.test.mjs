// The HTTP API against the whole appliance: what OpenAI clients and n8n send, our own endpoints, citations,
// uploads, records, and parts that die in between.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { startAppliance, until } from "./appliance.mjs";
import { makePdf } from "./pdf.mjs";

let a;

before(async () => {
  a = await startAppliance({ config: "http:\n  requests_per_minute: 0\n" });
  a.drop("handbook.pdf", makePdf([[{ size: 20, text: "Handbook" }, "", "Welcome to the observatory."], [{ size: 16, text: "Leave" }, "", "Every employee is entitled to twenty-eight days of paid annual leave.", "Requests for leave are sent to the head of department."]], { title: "Staff handbook" }));
  a.drop("kitchen/coffee.md", "# Kitchen\n\n## Coffee\n\nThe espresso machine is descaled on the first Monday of every month.\n");
  a.drop("caf\u00e9.txt", "The caf\u00e9 on the corner sells cardamom buns on Fridays.\n");
  await a.settled({ n: 3 });
});

after(async () => {
  const end = await a?.stop();
  assert.equal(end.code, 0, a.output.slice(-4000));
  assert.doesNotMatch(a.output, /AddressSanitizer|LeakSanitizer|runtime error/, a.output.slice(-6000));
});

const chat = (body, more = {}) => a.request("/v1/chat/completions", { method: "POST", body: { model: "carrel", ...body }, ...more });
const user = (content) => [{ role: "user", content }];

async function events(response) {
  assert.match(response.headers.get("content-type"), /text\/event-stream/);
  const text = await response.text();
  const data = text.split("\n\n").filter((x) => x.startsWith("data: ")).map((x) => x.slice(6));
  return { done: data.at(-1) === "[DONE]", chunks: data.filter((x) => x !== "[DONE]").map((x) => JSON.parse(x)) };
}

test("typed queries: phrases, exclusions, fields; anything else is text", async () => {
  const names = async (query, more = {}) => {
    const r = await a.post("/api/search", { query, ...more });
    return [[...new Set(r.passages.map((p) => p.document.path))].sort().join(" "), r];
  };
  const everything = "leave espresso cardamom";
  assert.equal((await names(everything))[0], "caf\u00e9.txt handbook.pdf kitchen/coffee.md");
  assert.equal((await names(`${everything} type:pdf`))[0], "handbook.pdf");
  assert.equal((await names(`${everything} file:COFFEE`))[0], "kitchen/coffee.md");
  assert.equal((await names(`${everything} path:kitchen`))[0], "kitchen/coffee.md");
  assert.equal((await names(`${everything} collection:kitchen`))[0], "kitchen/coffee.md");
  assert.equal((await names(`${everything} -buns -descaled`))[0], "handbook.pdf");
  assert.equal((await names(`${everything} title:kitchen`))[0], "kitchen/coffee.md");
  assert.equal((await names(`${everything} after:2100`))[0], "");
  assert.equal((await names(`${everything} before:2100 label:public`))[0], "");
  const [found, r] = await names('"paid annual leave" -espresso type:pdf');
  assert.equal(found, "handbook.pdf");
  assert.deepEqual(r.interpreted, { text: "paid annual leave", phrases: ["paid annual leave"], excluded: ["espresso"], filters: ["type: pdf"] });
  const [relaxed, said] = await names('"leave annual"');
  assert.equal(relaxed, "handbook.pdf");
  assert.match(said.notes.join(), /side by side/);
  const [like, tried] = await names("cardamon");
  assert.equal(like, "caf\u00e9.txt");
  assert.deepEqual(tried.similar, [{ word: "cardamon", tried: ["cardamom"] }]);
  assert.match(tried.notes.join(), /cardamom/);
  assert.equal((await names("acrdamom"))[0], "caf\u00e9.txt");
  assert.equal((await names("zzyzx"))[0], "");
  for (const query of ['"', '-', 'title:', 'leave "', 'leave OR (NEAR/3 AND', "a:b:c leave", "12:30 leave", "https://example.com/leave?x=\"y\"", "\u0000 leave", "leave".padEnd(3000, ' -"x'), "* leave* ^leave"]) {
    const s = await a.request("/api/search", { method: "POST", body: { query } });
    assert.ok(s.status === 200 || query.includes("\u0000"), `${query}: ${s.status}`);
  }
});

test("health is up", async () => {
  const r = await a.request("/api/health", { key: null });
  assert.equal(r.status, 200);
  assert.deepEqual(await r.json(), { status: "ok" });
});

test("search: passages with document, page, range and reasons", async () => {
  const r = await a.post("/api/search", { query: "paid annual leave days", top_k: 3 });
  const p = r.passages[0];
  assert.equal(p.document.path, "handbook.pdf");
  assert.ok(p.page <= 2 && (p.page_end ?? p.page) === 2, "the passage reaches page 2");
  assert.match(p.text, /twenty-eight days/);
  assert.ok(p.boxes.length > 0 && p.boxes.every((b) => b.x1 > b.x0 && b.y1 > b.y0));
  assert.ok(p.score > 0 && p.score <= 1);
  assert.equal(p.why.text_rank, 1);
  assert.match(p.hash, /^[0-9a-f]{64}$/);
  assert.ok(p.end > p.start);
  const kitchen = await a.post("/api/search", { query: "espresso leave", collections: ["kitchen"] });
  assert.ok(kitchen.passages.length > 0);
  assert.ok(kitchen.passages.every((x) => x.document.path.startsWith("kitchen/")));
  assert.deepEqual((await a.post("/api/search", { query: "espresso", collections: ["nowhere"] })).passages, []);
  for (const mode of ["default", "bm25", "text"]) assert.ok((await a.post("/api/search", { query: "espresso", mode })).passages.length > 0, mode);
});

test("chat: one answer with citations", async () => {
  const r = await chat({ messages: user("How many days of annual leave does an employee get?") });
  assert.equal(r.status, 200);
  assert.ok(r.headers.get("x-request-id"));
  const j = await r.json();
  assert.equal(j.object, "chat.completion");
  assert.equal(j.model, "carrel");
  assert.match(j.id, /^chatcmpl-/);
  assert.equal(typeof j.created, "number");
  assert.equal(j.choices[0].message.role, "assistant");
  assert.match(j.choices[0].message.content, /twenty-eight days of paid annual leave/);
  assert.match(j.choices[0].message.content, /\[\d+\]/);
  assert.equal(j.choices[0].finish_reason, "stop");
  assert.equal(j.usage.total_tokens, j.usage.prompt_tokens + j.usage.completion_tokens);
  const c = j.citations[0];
  assert.equal(c.document.path, "handbook.pdf");
  assert.equal(c.page, 2);
  assert.ok(c.boxes.length > 0);
  assert.equal(j.carrel.engine, "extractive");
  assert.equal(j.carrel.route.verdict, "local");
  assert.equal(j.carrel.refused, false);
  const record = await a.get(`/api/answers/${j.carrel.answer_id}`);
  assert.equal(record.outcome, "answered");
  assert.equal(record.engine, "extractive");
  assert.match(record.question, /annual leave/);
  assert.ok(record.passages.some((p) => p.document === c.document.id && p.hash === c.hash));
  assert.ok(record.total_ms >= record.search_ms);
  assert.equal((await a.request("/api/answers/nothing")).status, 404);
});

test("chat: streamed", async () => {
  const r = await chat({ messages: user("When is the espresso machine descaled?"), stream: true, stream_options: { include_usage: true } });
  assert.equal(r.status, 200);
  const { chunks, done } = await events(r);
  assert.ok(done);
  assert.ok(chunks.every((c) => c.object === "chat.completion.chunk" && c.id === chunks[0].id));
  assert.equal(chunks[0].choices[0].delta.role, "assistant");
  assert.ok(chunks[0].citations.length > 0);
  assert.ok(chunks[0].carrel.answer_id);
  const text = chunks.map((c) => c.choices[0]?.delta?.content ?? "").join("");
  assert.match(text, /first Monday/);
  const last = chunks.find((c) => c.choices[0]?.finish_reason);
  assert.equal(last.choices[0].finish_reason, "stop");
  assert.ok(last.citations.some((c) => c.document.path === "kitchen/coffee.md"));
  assert.ok(last.carrel);
  const usage = chunks.at(-1);
  assert.deepEqual(usage.choices, []);
  assert.ok(usage.usage.total_tokens >= 0);
  assert.ok(chunks.slice(0, -1).every((c) => c.usage === null), "as OpenAI has it");
});

test("chat: a collection as model; nothing to say; parts, null content, tools and unknown fields", async () => {
  const other = await (await chat({ model: "carrel:kitchen", messages: user("When is the espresso machine descaled?") })).json();
  assert.ok(other.citations.every((c) => c.document.path.startsWith("kitchen/")));
  const refused = await (await chat({ messages: user("Which quarterback won the championship in Cincinnati?") })).json();
  assert.match(refused.choices[0].message.content, /nothing in these documents/i);
  assert.deepEqual(refused.citations, []);
  assert.equal(refused.carrel.refused, true);
  assert.equal(refused.choices[0].finish_reason, "stop");
  const r = await chat({
    messages: [
      { role: "system", content: "Be brief." },
      { role: "user", content: [{ type: "text", text: "Tell me about the espresso machine." }] },
      { role: "assistant", content: [], tool_calls: [{ id: "x", type: "function", function: { name: "f", arguments: "{}" } }] },
      { role: "tool", tool_call_id: "x", content: "result" },
      { role: "assistant", content: null },
      { role: "user", content: "When is it descaled?" },
    ],
    tools: [{ type: "function", function: { name: "f", parameters: {} } }],
    response_format: { type: "text" }, n: 1, user: "me", made_up: { by: ["somebody"] }, temperature: 0.2, max_completion_tokens: 500, stop: ["ZZZ"], seed: 4,
  });
  assert.equal(r.status, 200, await r.clone().text());
  assert.match((await r.json()).choices[0].message.content, /\w/);
  // quoted sentences call nothing: no effect where that may be, and said where it must not
  const tools = [{ type: "function", function: { name: "f" } }];
  const forced = await chat({ messages: user("When is the espresso machine descaled?"), tools, tool_choice: "required" });
  assert.equal(forced.status, 400);
  assert.match((await forced.json()).error.message, /nobody can call a tool: no upstream is configured/);
  const offered = await (await chat({ messages: user("When is the espresso machine descaled?"), tools })).json();
  assert.equal(offered.carrel.engine, "extractive");
  assert.equal(offered.choices[0].message.tool_calls, undefined);
  const unknown = await chat({ model: "gpt-4o", messages: user("x") });
  assert.equal(unknown.status, 404);
  assert.equal((await unknown.json()).error.code, "model_not_found");
});

test("chat: a client that leaves cancels the work, and the record says so or that it was done", async () => {
  for (let i = 0; i < 10; i++) {
    const abort = new AbortController();
    const going = chat({ messages: user("How many days of annual leave?"), stream: true }, { signal: abort.signal }).then((r) => r.text()).catch(() => null);
    await sleep(i);
    abort.abort();
    await going;
  }
  const fine = await chat({ messages: user("How many days of annual leave?") });
  assert.equal(fine.status, 200);
});

test("embeddings: float and base64 are the same numbers; batches keep their order", async () => {
  const float = await a.post("/v1/embeddings", { model: "carrel-embed", input: ["annual leave", "espresso machine"], encoding_format: "float" });
  assert.equal(float.object, "list");
  assert.deepEqual(float.data.map((d) => d.index), [0, 1]);
  assert.ok(float.data[0].embedding.length >= 8);
  const b64 = await a.post("/v1/embeddings", { model: "carrel-embed", input: "annual leave", encoding_format: "base64" });
  const bytes = Buffer.from(b64.data[0].embedding, "base64");
  const numbers = Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));
  assert.equal(numbers.length, float.data[0].embedding.length);
  numbers.forEach((x, i) => assert.ok(Math.abs(x - float.data[0].embedding[i]) < 1e-6));
  assert.ok(Math.abs(Math.hypot(...numbers) - 1) < 1e-3);
  const many = await a.post("/v1/embeddings", { model: "carrel-embed", input: Array.from({ length: 600 }, (_, i) => (i === 599 ? "annual leave" : `word${i} leave`)) });
  assert.equal(many.data.length, 600);
  many.data[599].embedding.forEach((x, i) => assert.ok(Math.abs(x - numbers[i]) < 1e-5));
  const short = await a.post("/v1/embeddings", { model: "carrel-embed", input: "annual leave", dimensions: 8 });
  assert.equal(short.data[0].embedding.length, 8);
  for (const [input, more] of [[[1, 2, 3], {}], [[[1, 2]], {}], ["x", { encoding_format: "hex" }], [[], {}], [{}, {}]]) {
    assert.equal((await a.request("/v1/embeddings", { method: "POST", body: { model: "carrel-embed", input, ...more } })).status, 400);
  }
  assert.equal((await a.request("/v1/embeddings", { method: "POST", body: { model: "text-embedding-3-small", input: "x" } })).status, 404);
});

test("models", async () => {
  const list = await a.get("/v1/models");
  assert.equal(list.object, "list");
  assert.ok(list.data.every((m) => m.object === "model" && Number.isInteger(m.created)));
  for (const id of ["carrel", "carrel-embed"]) {
    assert.ok(list.data.some((m) => m.id === id), id);
    assert.equal((await a.get(`/v1/models/${id}`)).id, id);
  }
  assert.equal((await a.request("/v1/models/gpt-4o")).status, 404);
});

test("documents: list, filters, one, text, original, page", async () => {
  const all = (await a.get("/api/documents")).documents;
  assert.deepEqual(all.map((d) => d.path).sort(), ["caf\u00e9.txt", "handbook.pdf", "kitchen/coffee.md"]);
  assert.ok(all.every((d) => d.state === "ready" && d.chunks > 0 && d.error === null));
  assert.deepEqual((await a.get("/api/documents?collection=kitchen")).documents.map((d) => d.path), ["kitchen/coffee.md"]);
  assert.deepEqual((await a.get("/api/documents?state=failed")).documents, []);
  const first = (await a.get("/api/documents?limit=2")).documents;
  const rest = (await a.get(`/api/documents?after=${first[1].id}`)).documents;
  assert.equal(new Set([...first, ...rest].map((d) => d.id)).size, 3);
  assert.equal((await a.request("/api/documents?state=great")).status, 400);
  const pdf = all.find((d) => d.path === "handbook.pdf");
  assert.equal((await a.get(`/api/documents/${pdf.id}`)).path, "handbook.pdf");
  assert.equal((await a.request("/api/documents/0000000000000000000000000z")).status, 404);
  const text = await a.get(`/api/documents/${pdf.id}/text`);
  assert.match(text.text, /observatory/);
  assert.ok(text.chunks.length > 0);
  const hit = (await a.post("/api/search", { query: "caf\u00e9 cardamom buns" })).passages[0];
  const whole = await a.get(`/api/documents/${hit.document.id}/text`);
  assert.equal([...whole.text].slice(hit.start, hit.end).join(""), hit.text);
  const original = await a.request(`/api/documents/${pdf.id}/original`);
  assert.equal(original.headers.get("content-type"), "application/pdf");
  assert.match(original.headers.get("content-disposition"), /^attachment; filename="handbook.pdf"/);
  assert.match(original.headers.get("content-security-policy"), /sandbox/);
  assert.ok(Buffer.from(await original.arrayBuffer()).subarray(0, 5).equals(Buffer.from("%PDF-")));
  const page = await a.request(`/api/documents/${pdf.id}/pages/2.png`);
  assert.equal(page.status, 200, await page.clone().text());
  assert.equal(page.headers.get("content-type"), "image/png");
  assert.ok(Number(page.headers.get("x-page-width-points")) > 100);
  const again = await a.request(`/api/documents/${pdf.id}/pages/2.png`, { headers: { "if-none-match": page.headers.get("etag") } });
  assert.equal(again.status, 304);
  const past = await a.request(`/api/documents/${pdf.id}/pages/99.png`);
  assert.equal(past.status, 404);
  assert.match((await past.json()).error.message, /pages, not 99/);
});

test("uploads: raw, forms with several files, names, replacing, deletion", async () => {
  const put = (path, body) => a.request(`/api/documents?path=${encodeURIComponent(path)}`, { method: "POST", body });
  const raw = await put("up/one.md", "# One\n\nThe walrus plays the bassoon.\n");
  assert.equal(raw.status, 201, await raw.clone().text());
  assert.equal((await raw.json()).documents[0].path, "up/one.md");
  const twice = await put("up/one.md", "# One\n\nother\n");
  assert.equal(twice.status, 409);
  const replaced = await a.request("/api/documents?path=up/one.md&replace=true", { method: "POST", body: "# One\n\nThe walrus plays the oboe now.\n" });
  assert.equal(replaced.status, 201, await replaced.clone().text());
  for (const bad of ["../x.md", "/etc/x.md", "a/../../x.md", ".hidden.md", "a//b.md", ""]) {
    const r = await put(bad, "x");
    assert.ok(r.status === 400, `${bad}: ${r.status}`);
    await r.text();
  }
  const form = new FormData();
  form.append("collection", "forms");
  form.append("file", new Blob(["# A\n\nThe heron reads newspapers.\n"]), "a.md");
  form.append("purpose", "assistants");
  form.append("file", new Blob(["x".repeat(300_000) + "\n\nThe stork writes letters.\n"]), "C:\\fake\\b.txt");
  const r = await a.request("/api/documents", { method: "POST", body: form });
  assert.equal(r.status, 201, await r.clone().text());
  const made = (await r.json()).documents;
  assert.deepEqual(made.map((d) => d.path), ["forms/a.md", "forms/b.txt"]);
  await until("uploads are searchable", async () => (await a.search("heron newspapers")).some((p) => p.text.includes("heron")));
  const gone = await a.request(`/api/documents/${made[0].id}`, { method: "DELETE" });
  assert.equal(gone.status, 200);
  assert.equal((await gone.json()).deleted, true);
  assert.ok(!(await a.search("heron newspapers")).some((p) => p.text.includes("heron")));
  const empty = new FormData();
  empty.append("collection", "forms");
  assert.equal((await a.request("/api/documents", { method: "POST", body: empty })).status, 400);
});

test("an upload that breaks off leaves no document", async () => {
  const url = new URL(a.url);
  const socket = connect(Number(url.port), url.hostname);
  await new Promise((done) => socket.once("connect", done));
  socket.write(`POST /api/documents?path=broken.txt HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${a.key}\r\nContent-Length: 100000\r\n\r\nhalf of it`);
  await sleep(200);
  socket.destroy();
  await sleep(800);
  assert.ok(!(await a.documents()).some((d) => d.path === "broken.txt"));
  assert.ok(!readdirSync(a.watch).some((n) => n === "broken.txt"));
});

test("a reader that stands still holds up nobody and takes no memory; then it gets all", async () => {
  const size = 24_000_000;
  const html = `<html><body><p>The lighthouse keeper counts ships.</p><!--${"x".repeat(size)}--></body></html>`;
  a.drop("big.html", html);
  const big = await until("big.html is ready", async () => (await a.documents()).find((d) => d.path === "big.html" && d.state === "ready"));
  const connections = async () => Number(/carrel_serve_http_connections (\d+)/.exec(await (await a.request("/metrics")).text())[1]);
  const url = new URL(a.url);
  const readers = await Promise.all(Array.from({ length: 4 }, async () => {
    const socket = connect(Number(url.port), url.hostname);
    await new Promise((done) => socket.once("connect", done));
    socket.pause();
    socket.write(`GET /api/documents/${big.id}/original HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${a.key}\r\nConnection: close\r\n\r\n`);
    return socket;
  }));
  await sleep(1500);
  await until("all four are there", async () => (await connections()) >= 4);
  assert.ok((await a.search("annual leave")).length > 0);
  const memory = readdirSync("/proc").filter((p) => /^\d+$/.test(p)).map((p) => {
    try {
      const line = readFileSync(`/proc/${p}/cmdline`, "utf8");
      return line.includes("carrel-serve\0") && line.includes(a.home) ? Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${p}/status`, "utf8"))[1]) : 0;
    } catch {
      return 0;
    }
  });
  assert.ok(Math.max(...memory) < 400_000, `peak of serve: ${Math.max(...memory)} KiB`);
  readers[3].destroy();
  const got = await Promise.all(readers.slice(0, 3).map((socket) => new Promise((done) => {
    let n = 0;
    socket.on("data", (d) => (n += d.length));
    socket.on("close", () => done(n));
    socket.resume();
  })));
  for (const n of got) assert.ok(n > html.length && n < html.length + 2000, `${n} of ${html.length}`);
});

test("progress, status, metrics", async () => {
  const p = await a.get("/api/progress");
  assert.ok(p.ready >= 3);
  const s = await a.get("/api/status");
  assert.equal(s.status, "ok");
  assert.deepEqual(s.services.map((x) => x.name).sort(), ["embed", "generate", "ingest", "retrieve", "vectorstore"]);
  const metrics = await (await a.request("/metrics")).text();
  const families = [...metrics.matchAll(/^# TYPE (\S+)/gm)].map((m) => m[1]);
  assert.equal(new Set(families).size, families.length, "each family once");
  for (const line of metrics.split("\n")) assert.match(line, /^(#.*|[a-zA-Z_:][\w:]*(\{[^}]*\})? -?[\d.eE+-]+(Inf|NaN)?|)$/, line);
});

test("the key is nowhere in the log", () => {
  assert.ok(!a.output.split("\n").some((l) => l.startsWith("t=") && l.includes(a.key)));
});

// Last: parts die. The supervisor brings them back.
function kill(name) {
  const pids = execFileSync("pgrep", ["-f", `carrel-${name} --home ${a.home}`], { encoding: "utf8" }).trim().split("\n").map(Number);
  for (const pid of pids) if (readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(`carrel-${name}\0`)) process.kill(pid, "SIGSTOP");
  return () => pids.forEach((pid) => { try { process.kill(pid, "SIGKILL"); } catch { /* gone */ } });
}

test("generate dies: chat says so, search goes on, and it comes back", async () => {
  const finish = kill("generate");
  finish();
  const r = await chat({ messages: user("How many days of annual leave?") });
  if (r.status !== 200) {
    assert.ok([503, 504].includes(r.status), String(r.status));
    assert.match((await r.json()).error.message, /\w/);
  }
  assert.ok((await a.search("annual leave")).length > 0);
  await until("chat works again", async () => (await chat({ messages: user("How many days of annual leave?") })).status === 200, { every: 200 });
});

test("ingest dies: what is ready is still listed, and search goes on", async () => {
  kill("ingest")();
  const list = await a.get("/api/documents");
  assert.ok(list.documents.some((d) => d.path === "handbook.pdf" && d.state === "ready"));
  assert.ok((await a.search("annual leave")).length > 0);
  await until("ingest is back", async () => (await a.request("/api/progress")).status === 200, { timeout: 30_000, every: 200 });
});
