// Every field that says how an answer is written has its effect, in each API under the name it has there; what is a hint is
// taken; what would be missed is refused by name. A small model with seeded weights answers (docs/decisions/openai.md has the table).
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { binDir, startAppliance, temporaryHome, until } from "./appliance.mjs";

const dir = mkdtempSync(join(tmpdir(), "carrel-sampling-"));
const question = "How fast is the falcon?";
let a, greedy;

before(async () => {
  const home = temporaryHome(), file = join(dir, "tiny.gguf");
  const run = (bin, ...args) => {
    const r = spawnSync(bin, args, { encoding: "utf8" });
    assert.equal(r.status, 0, r.stderr);
  };
  run(resolve(binDir, "../tests/write-model"), file, "title=tiny", "layers=4", "width=128", "feed_forward=256");
  run(join(binDir, "carrel"), "model", "import", file, "--as", "chat", "--name", "tiny", "--home", home);
  a = await startAppliance({ home, config: "http:\n  requests_per_minute: 0\ngenerate:\n  model: tiny\n  users: 3\n  context: 2048\n" });
  await until("the model is ready", async () => /carrel_generate_model_ready 1/.test(await (await a.request("/metrics")).text()));
  greedy = (await chat()).text;
});

after(async () => {
  await a?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const user = [{ role: "user", content: question }];
async function chat(more = {}) {
  const j = await a.post("/v1/chat/completions", { model: "tiny", messages: user, max_tokens: 24, ...more });
  return { text: j.choices[0].message.content, why: j.choices[0].finish_reason, j };
}
async function responses(more = {}) {
  const j = await a.post("/v1/responses", { model: "tiny", input: question, max_output_tokens: 24, store: false, ...more });
  return { text: j.output.find((o) => o.type === "message").content[0].text, j };
}
async function messages(more = {}) {
  const j = await a.post("/v1/messages", { model: "tiny", messages: user, max_tokens: 24, ...more });
  return { text: j.content[0].text, j };
}
async function ollama(options = {}, more = {}) {
  const j = await a.post("/api/chat", { model: "tiny", messages: user, stream: false, options: { temperature: 0, num_predict: 24, ...options }, ...more });
  return { text: j.message.content, j };
}
async function refused(path, body, param, said) {
  const r = await a.request(path, { method: "POST", body });
  const j = await r.json();
  assert.equal(r.status, 400, JSON.stringify(body));
  assert.match(typeof j.error === "string" ? j.error : j.error.message, said);
  if (param) assert.equal(j.error.param, param);
}

test("one question is the same words in all four APIs where nothing is drawn", async () => {
  assert.ok(greedy.length > 10);
  for (const ask of [responses, messages, ollama]) assert.equal((await ask()).text, greedy);
});

test("temperature and seed: drawn, the same again, another with another seed", async () => {
  const one = (await chat({ temperature: 1.2, seed: 1 })).text;
  assert.notEqual(one, greedy);
  assert.equal((await chat({ temperature: 1.2, seed: 1 })).text, one);
  assert.notEqual((await chat({ temperature: 1.2, seed: 2 })).text, one);
  assert.equal((await responses({ temperature: 1.2, seed: 1 })).text, one);
  assert.equal((await ollama({ temperature: 1.2, seed: 1 })).text, one);
  assert.equal((await messages({ temperature: 1 })).text, (await chat({ temperature: 1 })).text);
  assert.match((await chat({ seed: 1 })).j.system_fingerprint, /^tiny \(sha256 /);
});

test("top_p, top_k and min_p narrow what is drawn from, to the likeliest alone", async () => {
  const wild = { temperature: 1.5, seed: 3 };
  const free = (await chat(wild)).text;
  assert.notEqual(free, greedy);
  for (const narrow of [{ top_p: 0.000001 }, { top_k: 1 }, { min_p: 1 }]) {
    assert.equal((await chat({ ...wild, ...narrow })).text, greedy, JSON.stringify(narrow));
    assert.equal((await responses({ ...wild, ...narrow })).text, greedy, JSON.stringify(narrow));
    assert.equal((await ollama({ ...wild, ...narrow })).text, greedy, JSON.stringify(narrow));
  }
  assert.equal((await messages({ temperature: 1, top_k: 1 })).text, greedy);
  assert.equal((await messages({ temperature: 1, top_p: 0.000001 })).text, greedy);
  assert.equal((await chat({ ...wild, top_k: -1 })).text, free);
});

test("penalties: what was said is not said again", async () => {
  // of four tokens that are raised alike one is the likeliest, again and again
  const logit_bias = { 300: 60, 301: 60, 302: 60, 303: 60 };
  const words = (t) => t.match(/w\d+/g);
  const kinds = (t) => new Set(words(t)).size;
  const base = await chat({ logit_bias });
  assert.ok(words(base.text).every((w) => ["w300", "w301", "w302", "w303"].includes(w)), base.text);
  for (const field of ["presence_penalty", "frequency_penalty"]) {
    const one = (await chat({ logit_bias, [field]: 2 })).text;
    assert.ok(one !== base.text && kinds(one) >= kinds(base.text), `${field}: ${base.text} ${one}`);
    assert.equal((await responses({ logit_bias, [field]: 2 })).text, one);
    assert.notEqual((await ollama({ [field]: 2 })).text, greedy);
  }
  const repetition = (await chat({ repetition_penalty: 1.5 })).text;
  assert.notEqual(repetition, greedy);
  assert.equal((await responses({ repetition_penalty: 1.5 })).text, repetition);
  assert.equal((await ollama({ repeat_penalty: 1.5 })).text, repetition);
});

test("stop strings end an answer, and who can say which one does", async () => {
  const stop = greedy.slice(8, 12), cut = greedy.slice(0, greedy.indexOf(stop));
  const many = ["never 1", "never 2", "never 3", stop];
  for (const one of [stop, [stop], many]) {
    const r = await chat({ stop: one });
    assert.deepEqual([r.text, r.why], [cut, "stop"]);
  }
  assert.equal((await responses({ stop: many })).text, cut);
  assert.equal((await ollama({ stop: [stop] })).text, cut);
  const m = await messages({ stop_sequences: many });
  assert.deepEqual([m.text, m.j.stop_reason, m.j.stop_sequence], [cut, "stop_sequence", stop]);
  const r = await a.request("/v1/messages", { method: "POST", body: { model: "tiny", messages: user, max_tokens: 24, stop_sequences: many, stream: true } });
  const last = (await r.text()).split("\n").filter((l) => l.startsWith("data: ")).map((l) => JSON.parse(l.slice(6))).find((e) => e.type === "message_delta");
  assert.deepEqual(last.delta, { stop_reason: "stop_sequence", stop_sequence: stop });
  assert.deepEqual([(await messages()).j.stop_reason, (await messages()).j.stop_sequence], ["max_tokens", null]);
});

test("how long: max_tokens by each of its names", async () => {
  for (const field of ["max_tokens", "max_completion_tokens"]) {
    const r = await chat({ max_tokens: undefined, [field]: 3 });
    assert.deepEqual([r.why, r.j.usage.completion_tokens], ["length", 3]);
  }
  const r = await responses({ max_output_tokens: 3 });
  assert.deepEqual([r.j.status, r.j.incomplete_details.reason, r.j.usage.output_tokens], ["incomplete", "max_output_tokens", 3]);
  assert.equal((await messages({ max_tokens: 3 })).j.usage.output_tokens, 3);
  const o = await ollama({ num_predict: 3 });
  assert.deepEqual([o.j.done_reason, o.j.eval_count], ["length", 3]);
});

test("n answers, log probabilities, a form, usage in a stream", async () => {
  const { j } = await chat({ n: 3, temperature: 1.2, seed: 1 });
  assert.equal(new Set(j.choices.map((c) => c.message.content)).size, 3);
  const p = await chat({ logprobs: true, top_logprobs: 2, max_tokens: 4 });
  assert.ok(p.j.choices[0].logprobs.content.length >= 3 && p.j.choices[0].logprobs.content.every((t) => t.top_logprobs.length === 2));
  const rp = await responses({ include: ["message.output_text.logprobs"], top_logprobs: 2, max_output_tokens: 4 });
  const list = rp.j.output.find((o) => o.type === "message").content[0].logprobs;
  assert.deepEqual(list, p.j.choices[0].logprobs.content);
  assert.deepEqual((await ollama({ num_predict: 4 }, { logprobs: true, top_logprobs: 2 })).j.logprobs, list);
  const schema = { type: "object", properties: { fast: { type: "boolean" } }, required: ["fast"], additionalProperties: false };
  const forms = [
    (await chat({ max_tokens: 200, temperature: 1.5, seed: 1, response_format: { type: "json_schema", json_schema: { name: "x", schema } } })).text,
    (await responses({ max_output_tokens: 200, temperature: 1.5, seed: 1, text: { format: { type: "json_schema", name: "x", schema } } })).text,
    (await ollama({ num_predict: 200, temperature: 1.5, seed: 1 }, { format: schema })).text,
  ];
  for (const text of forms) assert.equal(typeof JSON.parse(text).fast, "boolean");
  const r = await a.request("/v1/chat/completions", { method: "POST", body: { model: "tiny", messages: user, max_tokens: 4, stream: true, stream_options: { include_usage: true } } });
  const chunks = (await r.text()).split("\n").filter((l) => l.startsWith("data: {")).map((l) => JSON.parse(l.slice(6)));
  assert.equal(chunks.at(-1).usage.completion_tokens, 4);
  assert.ok(chunks.slice(0, -1).every((c) => c.usage === null));
});

test("truncation auto lets the oldest turns go; disabled, and nothing said, refuse", async () => {
  const turn = (n) => [{ role: "user", content: `${n} ${"owl ".repeat(140)}` }, { role: "assistant", content: "Yes." }];
  const input = [...turn(1), ...turn(2), ...turn(3), ...turn(4), ...user];
  for (const more of [{}, { truncation: "disabled" }]) await refused("/v1/responses", { model: "tiny", input, ...more }, "messages", /the model's context is 2048/);
  const { j } = await responses({ input, truncation: "auto" });
  assert.match(j.carrel.note, /^the oldest \d turns? w/);
  assert.equal(j.truncation, "auto");
  await refused("/v1/responses", { model: "tiny", input, truncation: "some" }, "truncation", /auto or disabled/);
});

test("hints and the asker's own notes are taken, and change nothing", async () => {
  const hints = { user: "u1", metadata: { a: "b" }, service_tier: "auto", reasoning_effort: "low", prediction: { type: "content", content: "x" }, modalities: ["text"], verbosity: "low", safety_identifier: "s", prompt_cache_key: "k", store: false, unknown_field: { x: [1] } };
  assert.equal((await chat(hints)).text, greedy);
  assert.equal((await responses({ ...hints, reasoning: { effort: "low" }, max_tool_calls: 3 })).text, greedy);
  assert.equal((await messages({ metadata: { user_id: "u1" }, thinking: { type: "disabled" }, service_tier: "auto" })).text, greedy);
  assert.equal((await ollama({ num_ctx: 512, mirostat: 1, num_gpu: 1 }, { keep_alive: "5m", think: false })).text, greedy);
});

test("what would be missed is refused by name", async () => {
  const path = "/v1/chat/completions", body = { model: "tiny", messages: user };
  await refused(path, { ...body, modalities: ["text", "audio"], audio: { voice: "x", format: "wav" } }, "modalities", /text here/);
  await refused(path, { ...body, functions: [{ name: "now", parameters: {} }] }, "functions", /"tools"/);
  await refused(path, { ...body, web_search_options: {} }, "web_search_options", /web is not searched/);
  await refused("/v1/responses", { model: "tiny", input: question, prompt: { id: "pmpt_1" } }, "prompt", /instructions/);
  await refused("/api/generate", { model: "tiny", prompt: "x", raw: true }, null, /raw prompts/);
  await refused("/api/generate", { model: "tiny", prompt: "x", suffix: "y" }, null, /suffix is not taken/);
});
