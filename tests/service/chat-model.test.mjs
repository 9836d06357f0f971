// generate with a GGUF model, as real processes: a small model with seeded weights answers. What it says is noise; that it
// is the same noise every time, whatever else is asked beside it, is what is tested.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { binDir, startAppliance, temporaryHome, until } from "./appliance.mjs";

const dir = mkdtempSync(join(tmpdir(), "carrel-chat-model-"));
const writer = resolve(binDir, "../tests/write-model");
const settings = (more = "") =>
  `http:\n  requests_per_minute: 0\ngenerate:\n  model: tiny\n  users: 3\n  queue: 2\n  context: 6144\n${more}`;
let a;

function model(name, ...args) {
  const path = join(dir, name);
  const r = spawnSync(writer, [path, ...args], { encoding: "utf8" });
  assert.equal(r.status, 0, r.stderr);
  return path;
}

function carrel(home, ...args) {
  const r = spawnSync(join(binDir, "carrel"), [...args, "--home", home], { encoding: "utf8" });
  return { code: r.status, out: r.stdout, err: r.stderr };
}

async function stocked(config, home = temporaryHome()) {
  const x = await startAppliance({ home, config });
  x.drop("falcon.md", "# Falcons\n\nThe falcon is the fastest bird. It dives at 320 kilometres an hour.\n");
  x.drop("owl.md", "# Owls\n\nThe owl hunts at night. It hears a mouse under the snow. Its feathers are soft, so that nobody hears it come, and it turns its head almost all the way around.\n");
  await x.settled({ n: 2 });
  return x;
}

const ready = (x) => until("the model is ready", async () => /carrel_generate_model_ready 1/.test(await metrics(x)));
const metrics = async (x) => (await x.request("/metrics")).text();
const gauge = async (x, name) => Number(new RegExp(`carrel_generate_model_${name}(?:\\{[^}]*\\})? (\\d+)`).exec(await metrics(x))?.[1]);

const ask = (question, more = {}) => ({ model: "carrel", messages: [{ role: "user", content: question }], max_tokens: 24, ...more });
/** An answer that ends only where it must: the token that ends a text (2) is forbidden. */
const endless = { max_tokens: 4000, temperature: 1, logit_bias: { 2: -100 } };
const answer = (x, question, more) => x.post("/v1/chat/completions", ask(question, more));
const words = (j) => j.choices[0].message.content;

before(async () => {
  const home = temporaryHome();
  const file = model("tiny.gguf", "title=tiny", "layers=4", "width=128", "feed_forward=256");
  const r = carrel(home, "model", "import", file, "--as", "chat", "--name", "tiny");
  assert.equal(r.code, 0, r.err);
  a = await stocked(settings(), home);
  await ready(a);
});

after(async () => {
  await a?.stop();
  rmSync(dir, { recursive: true, force: true });
});

test("the model answers, is named everywhere, and counts its tokens", async () => {
  const j = await answer(a, "How fast is the falcon?");
  assert.equal(j.carrel.engine, "local", JSON.stringify(j.carrel));
  assert.match(j.carrel.model, /^tiny \(sha256 [0-9a-f]{12}, (scalar|avx2|avx512)\)$/);
  assert.equal(j.carrel.route.verdict, "local");
  assert.ok(j.usage.prompt_tokens > 500 && j.usage.completion_tokens > 0 && j.usage.completion_tokens <= 24);
  assert.equal(j.usage.total_tokens, j.usage.prompt_tokens + j.usage.completion_tokens);
  assert.ok(["stop", "length"].includes(j.choices[0].finish_reason));
  const chat = (await a.get("/v1/models")).data.find((m) => m.id === "carrel");
  assert.equal(chat.answers, "local");
  const engine = chat.engines.find((e) => e.name === "local");
  assert.ok(engine.ready && engine.model === j.carrel.model, JSON.stringify(engine));
  assert.match(engine.detail, /^llama, chatml template, 3 users at 6144 tokens/);
  const reader = await a.post("/api/keys", { name: "reader", groups: ["staff"] });
  const told = (await (await a.request("/v1/models/carrel", { key: reader.key })).json()).engines;
  assert.ok(told.length > 0 && told.every((e) => e.detail === undefined)); // addresses and errors are the operators'
  assert.match(carrel(a.home, "ask", "How fast is the falcon?").out, /\(written by tiny \(sha256 .*, on this machine\)/);
  assert.match(carrel(a.home, "status").out, /generate .*tiny \(sha256 /);
});

test("a model whose template knows no tools says so by name; a client that offers none is not concerned", async () => {
  const tools = [{ type: "function", function: { name: "now" } }];
  for (const model of ["carrel", "tiny"]) {
    const r = await a.request("/v1/chat/completions", { method: "POST", body: ask("How fast is the falcon?", { model, tools }) });
    assert.equal(r.status, 400);
    assert.match((await r.json()).error.message, /the chat template of tiny \(chatml\) has no section for tools/);
  }
  const none = await answer(a, "How fast is the falcon?", { tools, tool_choice: "none" });
  assert.equal(none.carrel.engine, "local");
});

test("a conversation that is longer than the context is refused with the counts", async () => {
  const turn = (n) => [{ role: "user", content: `${n} ${"owl ".repeat(800)}` }, { role: "assistant", content: "Yes." }];
  const messages = [...turn(1), ...turn(2), { role: "user", content: "How fast is the falcon?" }];
  for (const stream of [false, true]) {
    const r = await a.request("/v1/chat/completions", { method: "POST", body: { model: "tiny", messages, stream } });
    assert.equal(r.status, 400);
    const { error } = await r.json();
    assert.equal(error.code, "context_length_exceeded");
    assert.match(error.message, /the conversation has \d{4} tokens, and an answer needs 1024: the model's context is 6144/);
  }
  const fits = await a.post("/v1/chat/completions", { model: "tiny", messages: messages.slice(2), max_tokens: 4 });
  assert.equal(fits.carrel.note, undefined);
  // with documents the question comes first: what cannot be read is quoted, and said
  const grounded = await answer(a, "How fast is the falcon?", { messages: [...messages.slice(0, 4), { role: "user", content: "owl ".repeat(480) }] });
  assert.ok(grounded.carrel.engine === "local" || /tokens/.test(grounded.carrel.note), JSON.stringify(grounded.carrel));
});

test("two at once get the tokens that each gets alone; a seed repeats, another seed differs", async () => {
  const asked = [
    ["How fast is the falcon?", { temperature: 0.9, seed: 7 }],
    ["When does the owl hunt?", { temperature: 1.2, top_p: 0.9, seed: 8, presence_penalty: 0.5 }],
    ["What does the owl hear?", {}],
  ];
  const alone = [];
  for (const [q, o] of asked) alone.push(words(await answer(a, q, { ...o, max_tokens: 40 })));
  const beside = await Promise.all(asked.map(([q, o]) => answer(a, q, { ...o, max_tokens: 40 })));
  assert.deepEqual(beside.map(words), alone);
  assert.ok(alone.every((t) => t.length > 10 && !t.includes("\u0000")));
  assert.notEqual(words(await answer(a, asked[0][0], { temperature: 0.9, seed: 70, max_tokens: 40 })), alone[0]);
  const shared = await gauge(a, "tokens_shared_total");
  assert.ok(shared > 500, `what begins the same is not computed again (${shared} tokens)`);
});

/** Reads a stream's events until `enough` says so or it ends. */
async function stream(x, question, more = {}, enough = () => false) {
  const stop = new AbortController();
  const r = await x.request("/v1/chat/completions", { method: "POST", signal: stop.signal, body: ask(question, { stream: true, stream_options: { include_usage: true }, ...more }) });
  if (!r.ok) return { status: r.status, retry: r.headers.get("retry-after"), body: await r.json() };
  const events = [];
  let rest = "";
  const text = new TextDecoder("utf-8", { fatal: true });
  try {
    for await (const chunk of r.body) {
      rest += text.decode(chunk, { stream: true });
      for (let at = rest.indexOf("\n\n"); at >= 0; at = rest.indexOf("\n\n")) {
        const line = rest.slice(0, at).replace(/^data: /, "");
        rest = rest.slice(at + 2);
        if (line.startsWith("{")) events.push(JSON.parse(line));
      }
      if (enough(events)) {
        stop.abort();
        break;
      }
    }
  } catch (e) {
    if (!stop.signal.aborted) return { status: 200, events, broken: e };
  }
  return { status: 200, events };
}
const said = (events) => events.map((e) => e.choices?.[0]?.delta?.content ?? "").join("");

test("streaming says the same as a whole answer, in whole characters, and the usage", async () => {
  const whole = await answer(a, "How fast is the falcon?", { max_tokens: 60 });
  const { events } = await stream(a, "How fast is the falcon?", { max_tokens: 60 });
  assert.equal(said(events), words(whole));
  assert.deepEqual(events.at(-1).usage, whole.usage);
});

test("stop strings and limits end an answer; options out of range are refused by name", async () => {
  const whole = words(await answer(a, "How fast is the falcon?", { max_tokens: 60 }));
  const stop = whole.slice(12, 15);
  const cut = await answer(a, "How fast is the falcon?", { max_tokens: 60, stop: [stop] });
  assert.equal(words(cut), whole.slice(0, whole.indexOf(stop)));
  assert.equal(cut.choices[0].finish_reason, "stop");
  const short = await answer(a, "How fast is the falcon?", { max_tokens: 3 });
  assert.equal(short.choices[0].finish_reason, "length");
  assert.equal(short.usage.completion_tokens, 3);
  // token 300 is written "w300" in the fixture's vocabulary: forced, and nothing else
  const forced = await answer(a, "How fast is the falcon?", { max_tokens: 3, logit_bias: { 300: 100 } });
  assert.equal(words(forced), "w300w300w300");
  for (const [field, value] of [["presence_penalty", 9], ["logit_bias", { owl: 1 }], ["logit_bias", { 100000: 1 }], ["min_p", 2]]) {
    const r = await a.request("/v1/chat/completions", { method: "POST", body: ask("How fast is the falcon?", { [field]: value }) });
    assert.equal(r.status, 400, field);
    assert.match((await r.json()).error.message, new RegExp(field));
  }
});

test("log probabilities come with each token, in the whole answer and in the stream", async () => {
  const options = { max_tokens: 12, logprobs: true, top_logprobs: 3 };
  const j = await answer(a, "How fast is the falcon?", options);
  const content = j.choices[0].logprobs.content;
  assert.ok(content.length === j.usage.completion_tokens || content.length === j.usage.completion_tokens - 1);
  for (const t of content) {
    assert.equal(t.top_logprobs.length, 3);
    assert.ok(t.logprob <= 0 && Math.abs(t.logprob - t.top_logprobs[0].logprob) < 1e-6, "temperature 0 takes the likeliest");
    assert.ok(t.top_logprobs[0].logprob >= t.top_logprobs[1].logprob);
  }
  assert.equal(Buffer.from(content.flatMap((t) => t.bytes)).toString().trimStart(), words(j).trimStart());
  const { events } = await stream(a, "How fast is the falcon?", options);
  assert.deepEqual(events.find((e) => e.choices?.[0]?.finish_reason).choices[0].logprobs.content, content);
  assert.equal((await answer(a, "How fast is the falcon?")).choices[0].logprobs, null);
  const many = await a.request("/v1/chat/completions", { method: "POST", body: ask("How fast is the falcon?", { ...options, max_tokens: 4000, top_logprobs: 20 }) });
  assert.equal(many.status, 400);
  assert.match((await many.json()).error.message, /max_tokens or top_logprobs/);
});

test("an answer keeps to the form asked for", async () => {
  const schema = { type: "object", properties: { animal: { enum: ["falcon", "owl"] }, speed: { type: "integer", minimum: 0, maximum: 999 } }, required: ["animal", "speed"], additionalProperties: false };
  const form = { type: "json_schema", json_schema: { name: "answer", schema } };
  for (const seed of [1, 2, 3]) {
    const j = await answer(a, "How fast is the falcon?", { max_tokens: 200, temperature: 1.5, seed, response_format: form });
    const value = JSON.parse(words(j));
    assert.deepEqual(Object.keys(value), ["animal", "speed"]);
    assert.ok(["falcon", "owl"].includes(value.animal) && Number.isInteger(value.speed), words(j));
    assert.equal(j.choices[0].finish_reason, "stop");
    assert.deepEqual(j.citations, []);
  }
  for (const bad of [{ grammar: 5 }, { grammar: 'root ::= "x"', response_format: { type: "json_object" } }]) {
    const r = await a.request("/v1/chat/completions", { method: "POST", body: { model: "carrel", messages: [{ role: "user", content: "?" }], ...bad } });
    assert.equal(r.status, 400, JSON.stringify(bad));
  }
  const g = await answer(a, "How fast is the falcon?", { max_tokens: 50, grammar: 'root ::= "yes" | "no"' });
  assert.ok(["yes", "no"].includes(words(g)));
  const bad = await a.request("/v1/chat/completions", { method: "POST", body: ask("How fast is the falcon?", { response_format: { type: "json_schema", json_schema: { name: "x", schema: { type: "animal" } } } }) });
  assert.equal(bad.status, 400, await bad.clone().text());
});

test("a follow-up is read by the model, and an evaluation has questions of the model's", async () => {
  const before = await gauge(a, "tokens_written_total");
  const j = await a.post("/v1/chat/completions", { model: "carrel", max_tokens: 1, messages: [
    { role: "user", content: "How fast is the falcon?" }, { role: "assistant", content: "320." }, { role: "user", content: "And when does the owl hunt?" }] });
  assert.equal(j.carrel.engine, "local");
  assert.ok((await gauge(a, "tokens_written_total")) > before + 10, "the question was rewritten first");
  const asked = await gauge(a, "tokens_written_total");
  await a.post("/api/eval", {});
  await until("the evaluation to end", async () => !(await a.get("/api/eval")).running);
  const more = (await gauge(a, "tokens_written_total")) - asked;
  assert.ok(more > 5, `a question a document (${more} tokens)`);
  assert.ok((await a.get("/api/eval")).runs[0].all.questions > 0);
});

test("who leaves gives the pages back at once; a full queue says 429 and when to come again", async () => {
  await until("idle", async () => (await gauge(a, "active")) === 0);
  const long = endless;
  const gone = [];
  for (let i = 0; i < 5; i++) gone.push(stream(a, `How fast is the falcon, ${i}?`, { ...long, seed: i }, () => leave));
  let leave = false;
  await until("three at work, two waiting", async () => (await gauge(a, "active")) === 3 && (await gauge(a, "waiting")) === 2);
  const full = await stream(a, "And the owl?", long);
  assert.equal(full.status, 429, JSON.stringify(full));
  assert.ok(Number(full.retry) > 0);
  assert.match(full.body.error.message, /answers are being written and 2 wait/);
  const [waits, dropped] = await Promise.all([1, 2].map((seed) => a.post("/api/jobs", { chat: ask("And the owl?", { seed }) })));
  const job = (j) => a.get(`/api/jobs/${j.id}`);
  const taken = async () => (await gauge(a, "pages")) - (await gauge(a, "pages_free"));
  await until("their worst case is reserved", async () => (await taken()) > 3 * (3000 / 16));
  const held = await taken();
  await new Promise((done) => setTimeout(done, 2500));
  for (const j of [waits, dropped]) assert.equal((await job(j)).status, "running", "a job waits for its place");
  assert.equal((await a.request(`/api/jobs/${dropped.id}`, { method: "DELETE" })).status, 200);
  assert.equal((await job(dropped)).status, "cancelled");
  leave = true;
  await until("all pages but the kept ones are free", async () => (await gauge(a, "active")) === 0 && (await gauge(a, "waiting")) === 0);
  await until("pages are free", async () => (await taken()) <= (await gauge(a, "pages_kept")) && (await taken()) < held - 500);
  await Promise.allSettled(gone);
  const done = await until("the job has its answer", async () => ((x) => x.status !== "running" && x)(await job(waits)));
  assert.deepEqual([done.status, done.http_status, done.result.carrel.engine], ["completed", 200, "local"]);
  await until("each record has its end", async () => / 0 interrupted, 0 not closed yet/.test(carrel(a.home, "audit", "verify").out));
});

test("what an answer cost is in the books, also that of one whose reader left in the middle", { timeout: 180_000 }, async () => {
  const used = async () => (await a.get("/api/usage")).models.find((m) => m.model === "tiny");
  await answer(a, "How fast is the falcon?");
  const before = await used();
  const one = await answer(a, "What does the owl hear?");
  const whole = await used();
  assert.deepEqual([whole.requests - before.requests, whole.prompt_tokens - before.prompt_tokens, whole.completion_tokens - before.completion_tokens], [1, one.usage.prompt_tokens, one.usage.completion_tokens]);
  assert.ok(whole.cpu_us > before.cpu_us);
  assert.equal(whole.gpu_us, 0);
  const leave = new AbortController();
  const r = await a.request("/v1/chat/completions", { method: "POST", body: ask("What does the owl hear?", { stream: true, ...endless }), signal: leave.signal });
  const reader = r.body.getReader();
  for (let n = 0; n < 6; n++) await reader.read();
  leave.abort();
  await until("it is entered", async () => (await used()).requests === whole.requests + 1);
  const left = await used();
  assert.ok(left.completion_tokens > whole.completion_tokens && left.prompt_tokens > whole.prompt_tokens && left.cpu_us > whole.cpu_us);
});

test("memory stays within the plan", async () => {
  const info = JSON.parse(carrel(a.home, "model", "plan", join(dir, "tiny.gguf"), "--context", "6144", "--users", "3", "--json").out);
  const resident = Number(/carrel_generate_resident_bytes (\d+)/.exec(await metrics(a))[1]);
  assert.ok(info.total > info.weights && info.keys_values > 0);
  const itself = 400e6; // what the process has without a model, under AddressSanitizer and its shadow
  assert.ok(resident < info.total + itself, `${resident} bytes resident, planned ${info.total}`);
});

test("generate is killed in the middle of an answer: the stream says so, and the next answer comes from the same model", async () => {
  const status = JSON.parse(carrel(a.home, "status", "--json").out);
  const pid = status.services.find((s) => s.name === "generate").pid;
  const first = words(await answer(a, "How fast is the falcon?", { max_tokens: 40 }));
  const r = await stream(a, "How fast is the falcon?", endless, (events) => {
    if (said(events).length > 40) process.kill(pid, "SIGKILL");
    return false;
  });
  assert.ok(r.broken || r.events.some((e) => e.error), "an error ends the stream");
  await ready(a);
  assert.equal(words(await answer(a, "How fast is the falcon?", { max_tokens: 40 })), first);
});

test("an answer that takes too long ends", async () => {
  const home = temporaryHome();
  assert.equal(carrel(home, "model", "import", join(dir, "tiny.gguf"), "--as", "chat", "--name", "tiny").code, 0);
  const x = await stocked(settings("  answer_timeout: 1s\n"), home);
  try {
    await ready(x);
    const r = await x.request("/v1/chat/completions", { method: "POST", body: ask("How fast is the falcon?", endless) });
    const j = await r.json();
    if (r.status === 200) {
      // what was said in time counts
      assert.equal(j.choices[0].finish_reason, "length");
    } else {
      assert.equal(r.status, 504, JSON.stringify(j));
      assert.match(j.error.message, /in the time allowed/);
    }
    await until("idle", async () => (await gauge(x, "active")) === 0);
  } finally {
    await x.stop();
  }
});

test("a damaged or missing model is refused by name, and answers are quoted, visibly", async () => {
  const home = temporaryHome();
  assert.equal(carrel(home, "model", "import", join(dir, "tiny.gguf"), "--as", "chat", "--name", "tiny").code, 0);
  const x = await stocked(settings(), home);
  try {
    await ready(x);
  } finally {
    await x.stop({ keep: true });
  }
  const record = readFileSync(join(home, "models/tiny.model"), "utf8");
  writeFileSync(join(home, "models/tiny.model"), record.replace(/sha256 [0-9a-f]{8}/, "sha256 00000000"));
  const y = await startAppliance({ home, config: settings() });
  try {
    const j = await answer(y, "How fast is the falcon?");
    assert.equal(j.carrel.engine, "extractive");
    assert.match(j.carrel.note, /generate\.model tiny/);
    assert.match(words(j), /falcon is the fastest bird/);
    assert.match(carrel(home, "status").out, /generate .*generate\.model tiny/);
  } finally {
    await y.stop();
  }
});

test("passages that do not fit into the context are left out, and the note says so", async () => {
  const home = temporaryHome();
  assert.equal(carrel(home, "model", "import", join(dir, "tiny.gguf"), "--as", "chat", "--name", "tiny").code, 0);
  const x = await stocked(settings("  long_conversation: shorten\n").replace("context: 6144", "context: 1900"), home);
  try {
    for (const n of ["one", "two", "three"]) {
      x.drop(`${n}.md`, `# Falcons ${n}\n\nThe falcon of ${n} is fast. ${`It dives ${n} times a day over the ${n} hills. `.repeat(12)}\n`);
    }
    await x.settled({ n: 5 });
    await ready(x);
    const j = await answer(x, "How fast is the falcon?");
    assert.equal(j.carrel.engine, "local");
    assert.match(j.carrel.note, /^only \d of \d passages fit into the model's context$/);
    // ... and so are the oldest turns of a conversation, where the setting says so: as if they had not been
    const turn = (n) => [{ role: "user", content: `${n} ${"owl ".repeat(100)}` }, { role: "assistant", content: "Yes." }];
    const talk = (...messages) => x.post("/v1/chat/completions", { model: "tiny", messages: [{ role: "system", content: "Be brief." }, ...messages, { role: "user", content: "Why?" }], max_tokens: 20 });
    const long = await talk(...turn(1), ...turn(2), ...turn(3), ...turn(4));
    assert.match(long.carrel.note, /^the oldest 2 turns were left out: the model's context is 1900 tokens$/);
    const short = await talk(...turn(3), ...turn(4));
    assert.deepEqual([words(long), long.usage], [words(short), short.usage]);
    const r = await x.request("/v1/chat/completions", { method: "POST", body: { model: "tiny", messages: [{ role: "user", content: "owl ".repeat(480) }] } });
    assert.equal((await r.json()).error.code, "context_length_exceeded"); // the question itself is never cut
    assert.ok(j.usage.prompt_tokens + 24 <= 1900);
  } finally {
    await x.stop();
  }
});

test("a model without a template it is known by is refused with the setting that chooses one", async () => {
  const home = temporaryHome();
  const file = model("plain.gguf", "title=plain", "template={{ messages }}");
  assert.equal(carrel(home, "model", "import", file, "--as", "chat", "--name", "tiny").code, 0);
  const x = await stocked(settings(), home);
  try {
    const j = await answer(x, "How fast is the falcon?");
    assert.match(j.carrel.note, /generate\.chat_template/);
    assert.equal(j.carrel.engine, "extractive");
  } finally {
    await x.stop({ keep: true });
  }
  const y = await startAppliance({ home, config: settings("  chat_template: llama3\n") });
  try {
    await ready(y);
    assert.equal((await answer(y, "How fast is the falcon?")).carrel.engine, "local");
  } finally {
    await y.stop();
  }
});
