// Answers that are asked for now and fetched later: jobs, responses in the background, callbacks; and n answers to one question.
import assert from "node:assert/strict";
import { execFile, execFileSync, spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { binDir, startAppliance, until } from "./appliance.mjs";

const exec = promisify(execFile);
const question = "When is the espresso machine descaled?";
const answer = /first Monday of every month/;
const chat = { model: "carrel", messages: [{ role: "user", content: question }] };
const posted = [];
const standing = []; // answers that are not given yet
let a, reader, hook, port;

before(async () => {
  hook = createServer((req, res) => {
    let body = "";
    req.on("data", (d) => (body += d)).on("end", () => {
      posted.push({ path: req.url, headers: req.headers, body });
      if (req.url === "/stands") return void standing.push(res);
      res.writeHead(posted.filter((p) => p.path === "/flaky").length === 1 && req.url === "/flaky" ? 503 : 204).end();
    });
  });
  await new Promise((done) => hook.listen(0, "127.0.0.1", done));
  port = hook.address().port;
  a = await startAppliance({ config: `http:\n  requests_per_minute: 0\nwebhooks:\n  timeout: 60s\n  allow_private: ["http://127.0.0.1:${port}"]\n` });
  a.drop("kitchen/coffee.md", "# Coffee\n\nThe espresso machine is descaled on the first Monday of every month.\n");
  await a.settled({ n: 1 });
  reader = (await exec(join(binDir, "carrel"), ["key", "create", "reader", "--home", a.home])).stdout.trim();
});
after(async () => {
  await a?.stop();
  hook?.close();
});

const call = async (method, path, body, { key = a.key, headers = {} } = {}) => {
  const r = await a.request(path, { method, body, key, headers });
  return { status: r.status, headers: r.headers, body: await r.json() };
};
const ended = (id) => execFileSync("python3", ["-c", "import sqlite3, sys\nprint(sqlite3.connect(sys.argv[1], timeout=20).execute('SELECT ended_wall_ms FROM jobs WHERE id = ?', sys.argv[2:]).fetchone()[0] or '')", join(a.home, "tenants/main/serve.db"), id], { encoding: "utf8" }).trim() !== "";
const over = (id, key) => until(`job ${id} is over`, async () => {
  const j = (await call("GET", `/api/jobs/${id}`, undefined, { key })).body;
  return !["queued", "running"].includes(j.status) && j;
});

test("a chat as a job: 202, polled, its answer as it would have been; nobody else's", { timeout: 180_000 }, async () => {
  const made = await call("POST", "/api/jobs", { chat }, { key: reader });
  assert.equal(made.status, 202);
  assert.equal(made.headers.get("location"), `/api/jobs/${made.body.id}`);
  assert.ok(["queued", "running"].includes(made.body.status));
  const end = await over(made.body.id, reader);
  assert.deepEqual([end.status, end.http_status, end.kind, end.result.object], ["completed", 200, "chat", "chat.completion"]);
  assert.match(end.result.choices[0].message.content, answer);
  const record = await a.get(`/api/answers/${end.result.carrel.answer_id}`);
  assert.equal(record.outcome, "answered", "it is in the record like any other");
  const other = (await a.post("/api/keys", { name: "other", role: "reader" })).key;
  assert.equal((await call("GET", `/api/jobs/${made.body.id}`, undefined, { key: other })).status, 404);
  assert.deepEqual((await call("GET", "/api/jobs", undefined, { key: reader })).body.jobs.map((j) => j.id), [made.body.id]);
  assert.deepEqual((await call("DELETE", `/api/jobs/${made.body.id}`, undefined, { key: reader })).body.deleted, true);
  assert.equal((await call("GET", `/api/jobs/${made.body.id}`, undefined, { key: reader })).status, 404);
});

test("Prefer: respond-async makes a job of chat, responses, messages and an upload", { timeout: 180_000 }, async () => {
  const headers = { prefer: "respond-async" };
  const one = await call("POST", "/v1/chat/completions", { ...chat, stream: true }, { headers });
  assert.equal(one.status, 202);
  assert.equal(one.headers.get("preference-applied"), "respond-async");
  assert.match((await over(one.body.id)).result.choices[0].message.content, answer);
  const two = await call("POST", "/v1/messages", { model: "carrel", max_tokens: 200, messages: chat.messages }, { headers });
  assert.match((await over(two.body.id)).result.content[0].text, answer);
  const three = await a.request("/api/documents?path=later/tea.md", { method: "POST", body: "# Tea\n\nThe kettle is cleaned on Fridays.\n", headers });
  assert.equal(three.status, 202);
  const job = await three.json();
  const end = await over(job.id);
  assert.deepEqual([end.kind, end.status, end.result.ready, end.result.documents[0].state], ["ingest", "completed", true, "ready"]);
  const wrong = await call("POST", "/v1/chat/completions", { model: "gpt-5", messages: chat.messages }, { headers });
  assert.deepEqual([wrong.status, wrong.body.error.code], [404, "model_not_found"], "told at once");
  for (const bad of [{}, { chat: "x" }, { chat, callback_url: "http://169.254.169.254/" }, { chat, callback_url: "file:///etc/passwd" }]) {
    assert.equal((await call("POST", "/api/jobs", bad)).status, 400, JSON.stringify(bad));
  }
});

test("a job waits for documents, and of those its caller may not read it says what it says of none", { timeout: 180_000 }, async () => {
  writeFileSync(join(a.home, "access.yaml"), "access:\n  - path: board/**\n    readers: [board]\n");
  a.drop("board/plan.md", "# Plan\n\nThe board meets on Tuesday.\n");
  a.drop("board/broken.pdf", "%PDF-1.4 and nothing else");
  a.drop("kitchen/broken.pdf", "%PDF-1.4 and nothing else here");
  const found = await until("all are read or failed", async () => {
    const by = Object.fromEntries((await a.documents()).map((d) => [d.path, d]));
    return by["board/plan.md"]?.state === "ready" && by["board/broken.pdf"]?.state === "failed" && by["kitchen/broken.pdf"]?.state === "failed" && by;
  });
  assert.deepEqual(found["board/broken.pdf"].readers, ["board"], "who could read it is known of what never was read");
  const documents = ["board/plan.md", "board/broken.pdf", "kitchen/broken.pdf", "kitchen/coffee.md"].map((p) => found[p].id);
  const seen = async (key) => {
    const made = await call("POST", "/api/jobs", { ingest: { documents } }, { key });
    return (await over(made.body.id, key)).result.documents.map((d) => [d.state, Boolean(d.error)]);
  };
  const editor = async (more) => (await a.post("/api/keys", { name: "e", role: "editor", ...more })).key;
  assert.deepEqual(await seen(await editor({ groups: ["others"] })), [["deleted", false], ["deleted", false], ["failed", true], ["ready", false]]);
  assert.deepEqual(await seen(await editor({ groups: ["board"] })), [["ready", false], ["failed", true], ["failed", true], ["ready", false]]);
  assert.deepEqual(await seen(await editor({ groups: ["board"], collections: ["board"] })), [["ready", false], ["failed", true], ["deleted", false], ["deleted", false]]);
  assert.deepEqual(await seen(a.key), [["ready", false], ["failed", true], ["failed", true], ["ready", false]]);
});

test("a callback is posted, signed, and tried again", { timeout: 180_000 }, async () => {
  const url = `http://127.0.0.1:${port}/flaky`;
  const made = (await call("POST", "/api/jobs", { chat, callback_url: url })).body;
  await until("the callback came twice", async () => posted.length === 2);
  const { headers, body } = posted[1];
  assert.equal(headers["webhook-id"], made.id);
  const secret = Buffer.from(made.callback_secret.replace(/^whsec_/, ""), "base64");
  const mac = createHmac("sha256", secret).update(`${made.id}.${headers["webhook-timestamp"]}.${body}`).digest("base64");
  assert.equal(headers["webhook-signature"], `v1,${mac}`, "as webhooks are signed");
  assert.match(JSON.parse(body).result.choices[0].message.content, answer);
  await until("it is written down", async () => /delivered/.test((await call("GET", `/api/jobs/${made.id}`)).body.callback ?? ""));
});

test("a receiver that stands still takes a few places of what goes outside, not all; every callback comes", { timeout: 180_000 }, async () => {
  const before = standing.length;
  const made = [];
  for (let i = 0; i < 12; i++) made.push((await call("POST", "/api/jobs", { chat, callback_url: `http://127.0.0.1:${port}/stands` })).body.id);
  await Promise.all(made.map((id) => over(id)));
  await until("callbacks are under way", async () => standing.length - before === 8);
  await new Promise((done) => setTimeout(done, 2500)); // two ticks
  assert.equal(standing.length - before, 8);
  for (const res of standing.splice(0)) res.writeHead(204).end();
  await until("the others come", async () => {
    for (const res of standing.splice(0)) res.writeHead(204).end();
    return posted.filter((p) => p.path === "/stands").length === 12;
  });
  await until("all are written down", async () => (await call("GET", "/api/jobs")).body.jobs.filter((j) => made.includes(j.id)).every((j) => /delivered/.test(j.callback ?? "")));
});

test("a response in the background: queued, fetched by its id, gone on from, cancelled", { timeout: 180_000 }, async () => {
  const made = await call("POST", "/v1/responses", { model: "carrel", input: question, background: true }, { key: reader });
  assert.equal(made.status, 200);
  assert.deepEqual([made.body.status, made.body.background, made.body.output], ["queued", true, []]);
  const end = await until("the response is there", async () => {
    const r = (await call("GET", `/v1/responses/${made.body.id}`, undefined, { key: reader })).body;
    return !["queued", "in_progress"].includes(r.status) && r;
  });
  assert.deepEqual([end.id, end.status, end.background], [made.body.id, "completed", true]);
  assert.match(end.output.at(-1).content[0].text, answer);
  const next = await call("POST", "/v1/responses", { model: "carrel", input: question, previous_response_id: made.body.id }, { key: reader });
  assert.equal(next.status, 200);
  assert.equal((await call("GET", `/v1/responses/${made.body.id}`)).status, 404, "another's");
  assert.equal((await call("POST", `/v1/responses/${made.body.id}/cancel`, {}, { key: reader })).body.status, "completed");
  assert.equal((await call("POST", "/v1/responses", { model: "carrel", input: "x y", background: true, stream: true })).status, 400);
  assert.equal((await call("POST", "/v1/responses", { model: "carrel", input: "x y", background: true, store: false })).status, 400);
  const bad = await call("POST", "/v1/responses", { model: "gpt-5", input: "x y", background: true });
  assert.deepEqual([bad.status, bad.body.error.code], [404, "model_not_found"], "told at once");
});

test("a key that may not ask reads no answers of its owner's; a job ends with the rights of who asked", { timeout: 180_000 }, async () => {
  const anna = await a.post("/api/users", { name: "anna", role: "editor", password: "quiet river stones", must_change_password: false });
  const key = async (scopes) => (await a.post("/api/keys", { name: "anna's", owner: anna.id, scopes })).key;
  const asks = await key(["ask", "read"]), ingests = await key(["ingest"]);
  const made = (await call("POST", "/api/jobs", { chat }, { key: asks })).body;
  assert.equal((await over(made.id, asks)).status, "completed");
  assert.equal((await call("GET", `/api/jobs/${made.id}`, undefined, { key: ingests })).status, 404);
  assert.equal((await call("DELETE", `/api/jobs/${made.id}`, undefined, { key: ingests })).status, 404);
  assert.deepEqual((await call("GET", "/api/jobs", undefined, { key: ingests })).body.jobs, []);
  assert.equal((await call("GET", `/api/jobs/${made.id}`, undefined, { key: asks })).status, 200);

  assert.equal((await call("POST", "/api/progress", { paused: true })).status, 200);
  try {
    a.drop("kitchen/paused.md", "# Later\n\nThis is read when reading goes on.\n");
    const { id } = await until("it waits", async () => (await a.documents()).find((d) => d.path === "kitchen/paused.md"));
    const wait = async () => (await call("POST", "/api/jobs", { ingest: { documents: [id] } }, { key: asks })).body.id;
    const change = (body) => call("POST", `/api/users/${anna.id}`, body);
    for (const [less, more] of [[{ disabled: true }, { disabled: false }], [{ role: "auditor" }, { role: "editor" }]]) {
      const job = await wait();
      await until("it runs", async () => (await call("GET", `/api/jobs/${job}`, undefined, { key: asks })).body.status === "running");
      assert.equal((await change(less)).status, 200);
      await until("it is over", async () => ended(job)); // nobody who may look is let in meanwhile
      assert.equal((await change(more)).status, 200);
      const end = (await call("GET", `/api/jobs/${job}`, undefined, { key: asks })).body;
      assert.equal(end.status, "failed", JSON.stringify(less));
      assert.match(end.result.error.message, /may not any more/);
    }
  } finally {
    await call("POST", "/api/progress", { paused: false });
  }
});

test("n answers to one question, whole and as a stream", { timeout: 180_000 }, async () => {
  const whole = (await call("POST", "/v1/chat/completions", { ...chat, n: 3, seed: 1 })).body;
  assert.deepEqual(whole.choices.map((c) => [c.index, c.finish_reason]), [[0, "stop"], [1, "stop"], [2, "stop"]]);
  assert.ok(whole.choices.every((c) => answer.test(c.message.content)));
  const text = await (await a.request("/v1/chat/completions", { method: "POST", body: { ...chat, n: 2, stream: true, stream_options: { include_usage: true } } })).text();
  const chunks = text.split("\n\n").filter((l) => l.startsWith("data: {")).map((l) => JSON.parse(l.slice(6)));
  const said = ["", ""], ends = [0, 0], roles = [0, 0];
  for (const c of chunks.flatMap((x) => x.choices)) {
    said[c.index] += c.delta.content ?? "";
    ends[c.index] += c.finish_reason !== null;
    roles[c.index] += c.delta.role === "assistant";
  }
  assert.ok(said.every((s) => answer.test(s)));
  assert.deepEqual([ends, roles], [[1, 1], [1, 1]]);
  assert.ok(chunks.at(-1).usage);
  assert.equal((await call("POST", "/v1/chat/completions", { ...chat, n: 9 })).status, 400);
});

test("a job that was under way when serve ended is told as interrupted; a document that is erased takes results along", { timeout: 180_000 }, async () => {
  const done = (await call("POST", "/api/jobs", { chat })).body;
  await over(done.id);
  const id = (await a.documents()).find((d) => d.path === "kitchen/coffee.md").id;
  const waits = (await call("POST", "/api/jobs", { ingest: { documents: [id] } })).body;
  assert.equal((await over(waits.id)).result.ready, true);
  await exec(join(binDir, "carrel"), ["erase", "--document", id, "--yes", "--home", a.home]);
  assert.equal((await call("GET", `/api/jobs/${done.id}`)).status, 404);

  await a.post("/api/progress", { paused: true });
  a.drop("kitchen/later.md", "# Later\n\nNot read yet.\n");
  const late = await until("it waits", async () => (await a.documents()).find((d) => d.path === "kitchen/later.md"));
  const stays = (await call("POST", "/api/jobs", { ingest: { documents: [late.id] } })).body;
  const cancelled = (await call("POST", "/api/jobs", { ingest: { documents: [late.id] } })).body;
  await until("it runs", async () => (await call("GET", `/api/jobs/${cancelled.id}`)).body.status === "running");
  assert.equal((await call("DELETE", `/api/jobs/${cancelled.id}`)).body.status, "cancelled");
  assert.equal((await over(cancelled.id)).status, "cancelled");
  const { home, key } = a;
  await a.stop({ keep: true });
  a = await startAppliance({ home, config: null });
  a.key ??= key;
  const end = (await call("GET", `/api/jobs/${stays.id}`)).body;
  assert.deepEqual([end.status, end.result.error.code], ["failed", "interrupted"]);
});

test("jobs that wait take no places of requests; a client that leaves while its answer's record is written harms nothing", { timeout: 180_000 }, async () => {
  const b = await startAppliance({ config: "http:\n  requests_per_minute: 0\n  max_requests_in_flight: 3\n" });
  try {
    b.drop("kitchen/coffee.md", `# Coffee\n\n${"The espresso machine is descaled on the first Monday of every month.\n\n".repeat(40)}`);
    await b.settled({ n: 1 });
    await b.post("/api/progress", { paused: true });
    b.drop("kitchen/later.md", "# Later\n\nNot read yet.\n");
    const late = await until("it waits", async () => (await b.documents()).find((d) => d.path === "kitchen/later.md"));
    for (let i = 0; i < 5; i++) await b.post("/api/jobs", { ingest: { documents: [late.id] } });
    await until("they wait", async () => (await b.get("/api/jobs")).jobs.filter((j) => j.status === "running").length === 5);
    assert.equal((await b.search("espresso")).length > 0, true, "what waits in the background keeps nobody out");

    // Another process holds the audit's texts, so that "open" stays under way while the whole answer comes and the client goes.
    const payload = join(b.home, "tenants/main/payload.db");
    const hold = spawn("python3", ["-c", `import sqlite3, sys
d = sqlite3.connect(sys.argv[1], isolation_level=None)
d.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
d.execute("ROLLBACK")`, payload], { stdio: ["pipe", "pipe", "inherit"] });
    const closed = new Promise((done) => hold.once("close", done));
    await new Promise((done, fail) => hold.once("error", fail).stdout.once("data", done));
    const gone = new AbortController();
    const asked = b.request("/v1/chat/completions", { method: "POST", body: { ...chat, stream: true }, signal: gone.signal }).catch((e) => e.name);
    await new Promise((done) => setTimeout(done, 700));
    gone.abort();
    assert.equal(await asked, "AbortError", "nothing was answered before the record was durable");
    hold.stdin.end("\n");
    await closed;
    for (let i = 0; i < 20; i++) assert.equal((await b.request("/api/health", { key: null })).status, 200);
    await until("each record has its end", async () => /^whole:.*\n.* 0 interrupted, 0 not closed yet/.test((await exec(join(binDir, "carrel"), ["audit", "verify", "--home", b.home])).stdout));
    assert.equal((await b.search("espresso")).length > 0, true);
    assert.doesNotMatch(b.output, /AddressSanitizer|serve ended by itself/);
  } finally {
    await b.stop();
  }
});

test("what is wrong with a body is told at once, not by a job that fails", { timeout: 180_000 }, async () => {
  const before = (await call("GET", "/api/jobs")).body.jobs.length;
  const later = { Prefer: "respond-async" };
  const bad = [
    ["/v1/chat/completions", { ...chat, temperature: 9 }, "temperature", 400],
    ["/v1/chat/completions", { ...chat, model: "nowhere" }, "model", 404],
    ["/v1/chat/completions", { model: "carrel" }, "messages", 400],
    ["/v1/responses", { model: "carrel", input: question, prompt: { id: "x" } }, "prompt", 400],
    ["/v1/responses", { model: "carrel", input: [] }, "input", 400],
    ["/v1/responses", { model: "carrel", input: [], background: true }, "input", 400],
  ];
  for (const [path, body, param, status] of bad) {
    const r = await call("POST", path, body, { headers: later });
    assert.deepEqual([r.status, r.body.error.param], [status, param], `${path} ${JSON.stringify(body)}`);
  }
  const m = await call("POST", "/v1/messages", { model: "carrel", messages: chat.messages }, { headers: later });
  assert.deepEqual([m.status, m.body.type], [400, "error"]);
  for (const body of [{ chat: { ...chat, top_p: 7 } }, { ingest: { documents: [] } }, { ingest: { documents: ["x"] } }]) assert.equal((await call("POST", "/api/jobs", body)).status, 400, JSON.stringify(body));
  assert.equal((await call("GET", "/api/jobs")).body.jobs.length, before, "there is no job of them");
});

test("a job waits while a rate limit is in its way", { timeout: 180_000 }, async () => {
  const { id, key } = await a.post("/api/keys", { name: "slow", role: "reader" });
  await a.post("/api/limits", { kind: "key", name: id, requests_per_minute: 30 });
  for (let left = 30; left > 1;) { // one more, every two seconds
    const r = await a.request("/api/limits/mine", { key });
    assert.equal(r.status, 200);
    left = Number(r.headers.get("x-ratelimit-remaining-requests"));
  }
  const made = await call("POST", "/api/jobs", { chat }, { key });
  assert.equal(made.status, 202, JSON.stringify(made.body));
  await until("the job is over", async () => ended(made.body.id), { every: 500 }); // to ask takes requests of the key's
  const end = await until("there is one to ask with", async () => ((r) => r.status === 200 && r)(await call("GET", `/api/jobs/${made.body.id}`, undefined, { key })), { every: 3000 });
  assert.deepEqual([end.body.status, end.body.http_status], ["completed", 200], JSON.stringify(end.body).slice(0, 500));
});
