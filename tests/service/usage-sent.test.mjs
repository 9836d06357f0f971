// The books against what clients were sent: every way to ask a model, to its end, aborted, and failing; of a model here and
// of one elsewhere, whose count is told only at the end.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, test } from "node:test";
import { binDir, sameDay, startAppliance, temporaryHome, until } from "./appliance.mjs";

const dir = mkdtempSync(join(tmpdir(), "carrel-usage-sent-"));
/** The marks that Qwen 2.5's Jinja text is told by. */
const jinja = "{%- if tools %}<|im_start|>system You are Qwen <tools> {\\\"name\\\": <function-name>} <tool_call>";
let a, far, upstream;
const who = {};

const json = (name, path, body) => a.request(path, { method: "POST", key: who[name].key, body });
const say = (text) => [{ role: "user", content: text }];
/** What the key has used since `was`; without, what it has used. */
async function used(name, was, x = a) {
  const k = (await x.get("/api/usage")).keys.find((e) => e.key === who[name].id) ?? {};
  const now = Object.fromEntries(["requests", "prompt_tokens", "completion_tokens", "embedding_tokens", "cpu_us", "external_micro", "estimated_micro"].map((f) => [f, k[f] ?? 0]));
  return was ? Object.fromEntries(Object.entries(now).map(([f, n]) => [f, n - was[f]])) : now;
}
const events = (text) => text.split("\n").filter((l) => l.startsWith("data: ") && l !== "data: [DONE]").map((l) => JSON.parse(l.slice(6)));

/** Reads until something of the answer has come, then hangs up. */
async function abandon(x, key, path, body, enough = (text) => text.includes("data:")) {
  const stop = new AbortController();
  const r = await x.request(path, { method: "POST", key, body, signal: stop.signal });
  assert.equal(r.status, 200);
  let text = "";
  for await (const chunk of r.body) {
    text += Buffer.from(chunk).toString();
    if (enough(text)) break;
  }
  stop.abort();
  return text;
}

before(async () => {
  await sameDay();
  const file = join(dir, "tiny.gguf");
  assert.equal(spawnSync(resolve(binDir, "../tests/write-model"), [file, "title=tiny", "layers=4", "width=128", "feed_forward=256", "mark=<tool_call>", `template=${jinja}`]).status, 0);
  const home = temporaryHome();
  const r = spawnSync(join(binDir, "carrel"), ["model", "import", file, "--as", "chat", "--name", "tiny", "--home", home], { encoding: "utf8" });
  assert.equal(r.status, 0, r.stderr);
  a = await startAppliance({ home, config: "http:\n  requests_per_minute: 0\ngenerate:\n  model: tiny\n  users: 3\n  queue: 4\n  context: 6144\n" });
  a.drop("falcon.md", "# Falcons\n\nThe falcon is the fastest bird. It dives at 320 kilometres an hour.\n");
  const k = await a.post("/api/keys", { name: "ann", groups: ["law"] });
  who.ann = { id: k.id, key: k.key };
  await a.settled();
  await until("the model is ready", async () => /carrel_generate_model_ready 1/.test(await (await a.request("/metrics")).text()), { timeout: 30_000 });
});
after(async () => {
  await a?.stop();
  await far?.stop();
  upstream?.close();
  rmSync(dir, { recursive: true, force: true });
});

const plain = (more = {}) => ({ model: "tiny", messages: say("How fast does the falcon dive?"), max_tokens: 12, seed: 4, ...more });

test("what a client is told of its tokens is what the books have, in every dialect", { timeout: 180_000 }, async () => {
  const asks = {
    chat: ["/v1/chat/completions", plain(), async (r) => [(await r.json()).usage].map((u) => [u.prompt_tokens, u.completion_tokens])[0]],
    "chat with documents": ["/v1/chat/completions", plain({ model: "carrel" }), async (r) => [(await r.json()).usage].map((u) => [u.prompt_tokens, u.completion_tokens])[0]],
    "chat, streamed": ["/v1/chat/completions", plain({ stream: true, stream_options: { include_usage: true } }), async (r) => [events(await r.text()).at(-1).usage].map((u) => [u.prompt_tokens, u.completion_tokens])[0]],
    responses: ["/v1/responses", { model: "tiny", input: "How fast?", max_output_tokens: 12 }, async (r) => [(await r.json()).usage].map((u) => [u.input_tokens, u.output_tokens])[0]],
    "responses, streamed": ["/v1/responses", { model: "tiny", input: "How fast?", max_output_tokens: 12, stream: true }, async (r) => [events(await r.text()).at(-1).response.usage].map((u) => [u.input_tokens, u.output_tokens])[0]],
    messages: ["/v1/messages", { model: "tiny", max_tokens: 12, messages: say("How fast?") }, async (r) => [(await r.json()).usage].map((u) => [u.input_tokens, u.output_tokens])[0]],
    ollama: ["/api/chat", { model: "tiny", messages: say("How fast?"), stream: false, options: { num_predict: 12 } }, async (r) => [await r.json()].map((u) => [u.prompt_eval_count, u.eval_count])[0]],
    tools: ["/v1/chat/completions", plain({ max_tokens: 60, tool_choice: "required", tools: [{ type: "function", function: { name: "look", parameters: { type: "object", properties: { up: { type: "boolean" } }, required: ["up"], additionalProperties: false } } }] }), async (r) => [(await r.json()).usage].map((u) => [u.prompt_tokens, u.completion_tokens])[0]],
  };
  for (const [name, [path, body, read]] of Object.entries(asks)) {
    const was = await used("ann");
    const r = await json("ann", path, body);
    assert.equal(r.status, 200, `${name}: ${r.status === 200 ? "" : await r.clone().text()}`);
    const told = await read(r);
    const now = await used("ann", was);
    assert.ok(told[0] > 0 && told[1] > 0, `${name}: ${told}`);
    assert.deepEqual([now.requests, now.prompt_tokens, now.completion_tokens], [1, ...told], name);
    assert.ok(now.cpu_us > 0 && now.external_micro === 0, name);
  }
});

test("several answers to one question: each is written, the question is read once, and that is told and booked", { timeout: 180_000 }, async () => {
  const ask = async (more) => {
    const was = await used("ann");
    const r = await json("ann", "/v1/chat/completions", plain({ temperature: 1, ...more }));
    const u = more.stream ? events(await r.text()).at(-1).usage : (await r.json()).usage;
    const now = await used("ann", was);
    assert.deepEqual([now.requests, now.prompt_tokens, now.completion_tokens], [1, u.prompt_tokens, u.completion_tokens], JSON.stringify(more));
    return u;
  };
  for (const more of [{}, { stream: true, stream_options: { include_usage: true } }, { model: "carrel" }]) {
    const [one, three] = [await ask(more), await ask({ ...more, n: 3 })];
    assert.equal(three.prompt_tokens, one.prompt_tokens);
    assert.ok(three.completion_tokens > one.completion_tokens);
  }
});

test("a question of a conversation that is rewritten to be searched: that is told and booked too", { timeout: 180_000 }, async () => {
  const talk = (...before) => plain({ model: "carrel", messages: [...before, ...say("And how fast does it dive?")] });
  const was = await used("ann");
  const u = (await (await json("ann", "/v1/chat/completions", talk(...say("What is a falcon?"), { role: "assistant", content: "A bird." }))).json()).usage;
  const now = await used("ann", was);
  assert.deepEqual([now.requests, now.prompt_tokens, now.completion_tokens], [1, u.prompt_tokens, u.completion_tokens]);
});

test("embeddings, rerankings and Ollama's embeddings have the tokens that the client was told", { timeout: 180_000 }, async () => {
  for (const [path, body, read] of [
    ["/v1/embeddings", { model: "carrel-embed", input: ["one two three", "four"] }, (j) => j.usage.total_tokens],
    ["/api/embed", { model: "carrel-embed", input: ["one two three", "four"] }, (j) => j.prompt_eval_count],
    ["/v1/rerank", { query: "falcon", documents: ["the falcon dives", "owls"] }, (j) => j.usage?.total_tokens ?? j.meta?.tokens?.input_tokens],
  ]) {
    const was = await used("ann");
    const r = await json("ann", path, body);
    const j = await r.json();
    assert.equal(r.status, 200, JSON.stringify(j));
    const now = await used("ann", was);
    assert.ok(now.embedding_tokens > 0 && now.cpu_us > 0, path);
    if (read(j) !== undefined) assert.equal(now.embedding_tokens, read(j), path);
  }
});

test("who hangs up in the middle has used what was written until then, and a refused request nothing", { timeout: 180_000 }, async () => {
  const was = await used("ann");
  const text = await abandon(a, who.ann.key, "/v1/chat/completions", plain({ max_tokens: 4000, temperature: 1, logit_bias: { 2: -100 }, stream: true }), (t) => t.split("\n\n").length > 12);
  const now = await until("it is in the books", async () => ((n) => n.requests === 1 && n)(await used("ann", was)));
  const pieces = events(text.slice(0, text.lastIndexOf("\n\n"))).filter((e) => e.choices[0]?.delta?.content).length;
  assert.ok(now.prompt_tokens > 0 && now.cpu_us > 0);
  assert.ok(now.completion_tokens >= pieces && now.completion_tokens < 4000, `${now.completion_tokens} of ${pieces}`);
  const before = await used("ann");
  for (const bad of [plain({ model: "nothing-like-it" }), plain({ messages: [] }), plain({ max_tokens: -1 })]) assert.ok((await json("ann", "/v1/chat/completions", bad)).status >= 400);
  const bad = await used("ann", before);
  assert.deepEqual([bad.prompt_tokens, bad.completion_tokens, bad.external_micro], [0, 0, 0]);
});

test("an answer ends where the day's tokens do, says so, and the next is refused", { timeout: 60_000 }, async () => {
  const k = await a.post("/api/keys", { name: "cut", groups: ["law"] });
  const limit = (n) => a.post("/api/limits", { kind: "key", name: k.id, tokens_per_day: n });
  const ask = (more) => a.request("/v1/chat/completions", { method: "POST", key: k.key, body: plain({ temperature: 1, logit_bias: { 2: -100 }, max_tokens: 300, ...more }) });
  await limit(40);
  const r = await (await ask()).json();
  assert.deepEqual([r.usage.completion_tokens, r.choices[0].finish_reason], [40, "length"]);
  assert.match(r.carrel.note, /^the answer ends after 40 tokens: so many were left of/);
  assert.equal((await ask()).status, 429);
  // the room of an answer that begins is what others under way have left
  await limit(4000);
  const used = async () => (await a.get("/api/limits")).subjects.find((s) => s.name === k.id).used.tokens_today;
  const before = await used();
  const stop = new AbortController();
  const slow = await a.request("/v1/chat/completions", { method: "POST", key: k.key, signal: stop.signal, body: plain({ temperature: 1, logit_bias: { 2: -100 }, max_tokens: 3000, stream: true }) });
  const reader = slow.body.getReader();
  await reader.read();
  await until("what it writes counts while it writes", async () => (await used()) > before + 20, { every: 20 });
  await limit((await used()) + 1);
  const short = await ask();
  assert.ok([200, 429].includes(short.status)); // it writes on meanwhile
  if (short.status === 200) assert.equal((await short.json()).usage.completion_tokens, 1);
  stop.abort();
  const one = await ask({ n: 3, max_tokens: 2 });
  assert.equal(one.status, 429);
});

// ---- a model elsewhere

const TEXT = "On the first day of March they come. ";
let mode = "whole"; // what the upstream does
let asked = 0;
let most; // tokens that it was asked for
async function serveFar(req, res) {
  let body = "";
  for await (const chunk of req) body += chunk;
  asked = body.length;
  most = JSON.parse(body).max_tokens;
  const send = (o) => res.write(`data: ${JSON.stringify(o)}\n\n`);
  const piece = (text, reason = null) => send({ choices: [{ index: 0, delta: { content: text }, finish_reason: reason }] });
  if (mode === "refuses") return void res.writeHead(400).end("{}");
  res.writeHead(200, { "content-type": "text/event-stream" });
  if (mode === "silent") return void res.flushHeaders();
  for (let i = 0; i < 20; i++) piece(TEXT);
  if (mode === "breaks") return void setTimeout(() => res.destroy(), 200);
  if (mode === "hangs") return;
  piece("", "stop");
  if (mode === "whole") send({ choices: [], usage: { prompt_tokens: 700, completion_tokens: 90 } });
  res.end("data: [DONE]\n\n");
}

test("a model elsewhere is charged by its own count, and by a careful guess where nobody heard it", { timeout: 180_000 }, async () => {
  upstream = createServer((req, res) => void serveFar(req, res).catch(() => res.destroy()));
  await new Promise((done) => upstream.listen(0, "127.0.0.1", done));
  far = await startAppliance({
    config: `http:\n  requests_per_minute: 0\nprices:\n  external_prompt_million: 1000\n  external_completion_million: 2000\ngenerate:\n  upstream:\n    url: http://127.0.0.1:${upstream.address().port}/v1\n    model: far\n    may_receive: [public]\n    allow_private_address: true\n    max_retries: 0\n`,
  });
  writeFileSync(join(far.home, "access.yaml"), 'access:\n  - path: "birds/**"\n    readers: [everyone]\n    label: public\n');
  far.drop("birds/herons.md", "# Herons\n\nThe herons arrive on the first day of March and leave in October.");
  const k = await far.post("/api/keys", { name: "far", groups: ["law"] });
  who.far = { id: k.id, key: k.key };
  await far.settled();
  const body = { model: "carrel", messages: say("When do the herons arrive?") };
  const ask = (more) => far.request("/v1/chat/completions", { method: "POST", key: k.key, body: { ...body, ...more } });
  await until("the rule is known", async () => (await (await ask()).json()).carrel?.engine === "upstream", { every: 300 });
  const micro = (p, c) => p * 1000 + c * 2000;
  const during = async (what, go) => {
    mode = what;
    const was = await used("far", undefined, far);
    await go();
    return until(`${what}: it is in the books`, async () => ((n) => n.requests === 1 && n)(await used("far", was, far)));
  };
  const whole = await during("whole", async () => (await ask()).text());
  assert.deepEqual([whole.prompt_tokens, whole.completion_tokens, whole.external_micro, whole.estimated_micro], [700, 90, micro(700, 90), 0]);
  // asked once for each answer, it bills each; the client is told so
  let told;
  const two = await during("whole", async () => (told = (await (await ask({ n: 2 })).json()).usage));
  assert.deepEqual([told.prompt_tokens, told.completion_tokens], [1400, 180]);
  assert.deepEqual([two.prompt_tokens, two.completion_tokens, two.external_micro], [1400, 180, micro(1400, 180)]);
  // it never tells its count
  const wordless = await during("wordless", async () => (await ask()).text());
  const least = Math.ceil((20 * TEXT.length) / 4); // four bytes a token is usual
  assert.ok(wordless.completion_tokens >= least && wordless.completion_tokens < 4 * least, JSON.stringify(wordless));
  assert.ok(wordless.prompt_tokens >= asked / 4 && wordless.prompt_tokens < asked, JSON.stringify(wordless));
  assert.equal(wordless.estimated_micro, micro(wordless.prompt_tokens, wordless.completion_tokens));
  assert.equal(wordless.external_micro, wordless.estimated_micro);
  // the reader leaves while it writes, or before its first word
  const left = await during("hangs", () => abandon(far, k.key, "/v1/chat/completions", { ...body, stream: true }, (t) => t.includes("March")));
  assert.ok(left.completion_tokens > 0 && left.prompt_tokens >= asked / 4, JSON.stringify(left));
  assert.equal(left.estimated_micro, left.external_micro);
  const early = await during("silent", async () => {
    const stop = new AbortController();
    asked = 0;
    const r = far.request("/v1/chat/completions", { method: "POST", key: k.key, body, signal: stop.signal }).catch(() => null);
    await until("it was asked", async () => asked > 0, { every: 50 });
    await sleep(200);
    stop.abort();
    await r;
  });
  assert.ok(early.prompt_tokens >= asked / 4 && early.completion_tokens === 0, JSON.stringify(early));
  assert.ok(early.estimated_micro > 0);
  // it breaks off: what it had written counts; it refuses: nothing does
  const broken = await during("breaks", async () => (await ask({ stream: true })).text().catch(() => ""));
  assert.ok(broken.completion_tokens >= least && broken.estimated_micro > 0, JSON.stringify(broken));
  const refused = await during("refuses", async () => (await ask()).text());
  assert.deepEqual([refused.external_micro, refused.estimated_micro], [0, 0], JSON.stringify(refused));
  // the answer is as long as the month's money, and then the day's tokens, last
  mode = "whole";
  const spent = async () => (await used("far", undefined, far)).external_micro;
  const limit = (more) => far.post("/api/limits", { kind: "key", name: k.id, ...more });
  const cost = (await far.get("/api/usage")).keys.find((e) => e.key === k.id).cost_micro;
  await limit({ budget_per_month: cost / 1e6 + 1 });
  assert.equal((await ask({ max_tokens: 20 })).status, 200);
  assert.equal(most, 20);
  const was = await spent();
  assert.equal((await ask({ n: 2 })).status, 200);
  assert.equal(most, 1); // the second answer: the first took more than what was left, but it was let in
  assert.equal(await spent(), was + 2 * micro(700, 90));
  assert.equal((await ask()).status, 402);
  // so it is where the first is only guessed, which is more than what was left
  mode = "wordless";
  await limit({ budget_per_month: (await far.get("/api/usage")).keys.find((e) => e.key === k.id).cost_micro / 1e6 + 0.05 });
  const guessed = await used("far", undefined, far);
  assert.equal((await ask({ n: 2 })).status, 200);
  assert.equal(most, 1);
  const more = await used("far", guessed, far);
  await limit({ reset: true });
  const r = await far.get("/api/usage");
  assert.equal(r.totals.estimated_micro, wordless.estimated_micro + left.estimated_micro + early.estimated_micro + broken.estimated_micro + more.estimated_micro);
  assert.ok(r.totals.estimated_micro < r.totals.external_micro);
});
