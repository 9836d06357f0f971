// Functions offered by a client and called by a GGUF model, as real processes. The model has seeded weights: what it says
// is noise, so calls come where the request forces them (tool_choice, or a grammar that writes the family's marks).
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { startAppliance, until } from "./appliance.mjs";
import { tinyHome } from "./tiny_model.mjs";

const dir = mkdtempSync(join(tmpdir(), "carrel-tool-calls-"));
let a;

before(async () => {
  a = await startAppliance({ home: tinyHome(dir), config: "http:\n  requests_per_minute: 0\ngenerate:\n  model: tiny\n  context: 6144\n" });
  a.drop("falcon.md", "# Falcons\n\nThe falcon is the fastest bird. It dives at 320 kilometres an hour.\n");
  await a.settled({ n: 1 });
  await until("the model is ready", async () => /carrel_generate_model_ready 1/.test(await (await a.request("/metrics")).text()));
});

after(async () => {
  await a?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const rain = {
  type: "function",
  function: {
    name: "rain",
    description: "How much rain",
    parameters: {
      type: "object",
      properties: { city: { enum: ["Bonn", "K\u00f6ln"] }, days: { type: "integer", minimum: 1, maximum: 9 } },
      required: ["city", "days"],
      additionalProperties: false,
      $schema: "http://json-schema.org/draft-07/schema#",
    },
    strict: false,
  },
};
const now = { type: "function", function: { name: "now" } };
const question = [{ role: "user", content: "How fast is the falcon?" }];
const body = (more) => ({ model: "carrel", messages: question, max_tokens: 200, tools: [rain, now], ...more });
const ask = (more) => a.post("/v1/chat/completions", body(more));
async function refused(more) {
  const r = await a.request("/v1/chat/completions", { method: "POST", body: body(more) });
  return { status: r.status, ...(await r.json()).error };
}

async function stream(more) {
  const r = await a.request("/v1/chat/completions", { method: "POST", body: body({ stream: true, stream_options: { include_usage: true }, ...more }) });
  assert.equal(r.status, 200);
  const lines = (await r.text()).split("\n\n").filter((l) => l.startsWith("data: {"));
  return lines.map((l) => JSON.parse(l.slice(6)));
}
const deltas = (events) => events.flatMap((e) => e.choices?.[0]?.delta?.tool_calls ?? []);

function checkCall(call, names) {
  assert.match(call.id, /^call_[0-9a-z]{26}$/);
  assert.equal(call.type, "function");
  assert.ok(names.includes(call.function.name), call.function.name);
  const args = JSON.parse(call.function.arguments);
  if (call.function.name === "rain") {
    assert.ok(["Bonn", "K\u00f6ln"].includes(args.city) && args.days >= 1 && args.days <= 9, call.function.arguments);
  } else {
    assert.deepEqual(args, {});
  }
}

test("an answer that must be a call is one of the functions offered, with arguments by its schema", async () => {
  const j = await ask({ tool_choice: "required" });
  const [choice] = j.choices;
  assert.equal(choice.finish_reason, "tool_calls", JSON.stringify(j));
  assert.equal(choice.message.content, null);
  assert.equal(choice.message.tool_calls.length, 1);
  checkCall(choice.message.tool_calls[0], ["rain", "now"]);
  assert.equal(j.carrel.engine, "local");
  assert.ok(j.usage.prompt_tokens > 1000 && j.usage.completion_tokens > 0); // declarations are in the prompt
  for (let seed = 1; seed < 6; seed++) {
    const named = await ask({ tool_choice: { type: "function", function: { name: "rain" } }, temperature: 1.5, seed });
    checkCall(named.choices[0].message.tool_calls[0], ["rain"]);
  }
});

test("streamed, a call comes as index, id and name first, then its arguments", async () => {
  const options = { tool_choice: { type: "function", function: { name: "rain" } }, temperature: 1, seed: 5 };
  const whole = (await ask(options)).choices[0].message.tool_calls[0];
  const events = await stream(options);
  const parts = deltas(events);
  assert.deepEqual([parts[0].index, parts[0].type, parts[0].function], [0, "function", { name: "rain", arguments: "" }]);
  assert.ok(parts[0].id.startsWith("call_"));
  assert.ok(parts.slice(1).every((p) => p.index === 0 && p.id === undefined && p.function.name === undefined));
  assert.equal(parts.map((p) => p.function.arguments).join(""), whole.function.arguments);
  assert.equal(events.map((e) => e.choices?.[0]?.delta?.content ?? "").join(""), "");
  assert.deepEqual(events.map((e) => e.choices?.[0]?.finish_reason).filter(Boolean), ["tool_calls"]);
  assert.ok(events.at(-1).usage.completion_tokens > 0);
});

/** The grammar makes the model write what a trained one would. */
const written = (text) => ({ grammar: `root ::= ${JSON.stringify(text)}` });
const call = (name, args) => `<tool_call>\n{"name": "${name}", "arguments": ${args}}\n</tool_call>`;

test("text and several calls are told apart; half a mark never leaves", async () => {
  const text = `Let me see <tool.\n${call("rain", '{"city":"Bonn","days":2}')}\n${call("now", "{}")}`;
  const j = await ask(written(text));
  assert.equal(j.choices[0].message.content, "Let me see <tool.\n");
  assert.deepEqual(j.choices[0].message.tool_calls.map((c) => [c.function.name, JSON.parse(c.function.arguments)]), [["rain", { city: "Bonn", days: 2 }], ["now", {}]]);
  assert.equal(j.choices[0].finish_reason, "tool_calls");
  const record = await a.get(`/api/answers/${j.carrel.answer_id}`);
  assert.deepEqual(record.calls, ["rain", "now"]);
  assert.ok(!JSON.stringify(record).includes("Bonn"), "arguments are not kept");
  const events = await stream(written(text));
  assert.equal(events.map((e) => e.choices?.[0]?.delta?.content ?? "").join(""), "Let me see <tool.\n");
  assert.deepEqual(deltas(events).filter((p) => p.id).map((p) => [p.index, p.function.name]), [[0, "rain"], [1, "now"]]);
  const one = await ask({ ...written(text), parallel_tool_calls: false });
  assert.equal(one.choices[0].message.tool_calls.length, 1);
});

/** Token 511 of the fixture opens a call: the bias makes the model write it wherever it may. */
const eager = { logit_bias: { 511: 100 }, parallel_tool_calls: false, temperature: 1.5 };

test("a strict function's arguments keep to its schema also where the model calls by itself", async () => {
  const strict = { ...rain, function: { ...rain.function, strict: true } };
  for (let seed = 1; seed < 5; seed++) {
    const j = await ask({ tools: [strict], ...eager, seed });
    assert.equal(j.choices[0].finish_reason, "tool_calls", JSON.stringify(j));
    checkCall(j.choices[0].message.tool_calls[0], ["rain"]);
  }
  const loose = await ask({ tools: [rain], ...eager, seed: 1, max_tokens: 20 });
  assert.equal(loose.choices[0].message.tool_calls, undefined); // noise, and so it is text
  assert.match(loose.choices[0].message.content, /^<tool_call>/);
  const several = await ask({ tools: [strict], ...eager, parallel_tool_calls: true, seed: 2, max_tokens: 400 });
  const calls = several.choices[0].message.tool_calls;
  assert.ok(calls.length > 1, "the answer goes on behind a call");
  for (const c of calls) checkCall(c, ["rain"]);
});

test("what is no call of a function that was offered is text, and the note says so", async () => {
  for (const text of [call("rm", "{}"), call("rain", "[1]"), "<tool_call>{\"name\": ", "<tool_call>no"]) {
    const j = await ask(written(text));
    assert.equal(j.choices[0].message.content, text);
    assert.equal(j.choices[0].finish_reason, "stop");
    assert.equal(j.choices[0].message.tool_calls, undefined);
    assert.match(j.carrel.note, /began as a call/);
    assert.equal((await a.get(`/api/answers/${j.carrel.answer_id}`)).calls, undefined);
  }
  const none = await ask({ ...written(call("now", "{}")), tool_choice: "none" });
  assert.equal(none.choices[0].message.content, call("now", "{}")); // nothing is offered, so nothing is called
  const cut = await ask({ tool_choice: "required", max_tokens: 3 });
  assert.deepEqual([cut.choices[0].finish_reason, cut.choices[0].message.content, cut.choices[0].message.tool_calls], ["length", "", undefined]);
  assert.match(cut.carrel.note, /cut off/);
});

/** As an n8n agent sends it: an empty list as content, an id among the arguments. */
const results = [
  ...question,
  { role: "assistant", content: [], tool_calls: [{ id: "call_1", type: "function", function: { name: "rain", arguments: '{"city":"Bonn","days":2,"id":"call_1"}' } }] },
  { role: "tool", content: "12 mm", tool_call_id: "call_1" },
];

test("results go into the prompt, with documents and without", async () => {
  const before = (await ask({ max_tokens: 4 })).usage.prompt_tokens;
  const after = await ask({ messages: results, max_tokens: 4 });
  assert.ok(after.usage.prompt_tokens > before + 60, `${after.usage.prompt_tokens} > ${before}`);
  const plain = await ask({ model: "tiny", messages: results, max_tokens: 4 });
  assert.equal(plain.carrel.engine, "local");
  assert.deepEqual(plain.citations, []);
  assert.equal(plain.model, "tiny");
  const few = await a.post("/v1/chat/completions", { model: "tiny", messages: question, max_tokens: 4 });
  assert.ok(few.usage.prompt_tokens < 200, "nothing but the conversation is in the prompt");
  const forced = await ask({ model: "tiny", messages: results, tool_choice: "required" });
  assert.equal(forced.choices[0].finish_reason, "tool_calls");
  assert.ok((await a.get("/v1/models")).data.some((m) => m.id === "tiny"));
});

test("without a passage the model can still call", async () => {
  const j = await ask({ messages: [{ role: "user", content: "zzqx?" }], carrel: { collections: ["nowhere"] }, tool_choice: "required" });
  assert.equal(j.choices[0].finish_reason, "tool_calls", JSON.stringify(j));
});

test("what cannot be is refused by name", async () => {
  const odd = { type: "function", function: { name: "odd", strict: true, parameters: { type: "object", properties: { x: { type: "array", uniqueItems: true } } } } };
  for (const [more, pattern] of [
    [{ tool_choice: { type: "function", function: { name: "rm" } } }, /rm/],
    [{ tools: [odd], tool_choice: "required" }, /odd.*uniqueItems/],
    [{ messages: [...question, results[2]] }, /result of a tool call that no message before has/],
    [{ messages: [...question, { ...results[1], tool_calls: [{ id: "call_1", type: "function", function: { name: "rain", arguments: "{" } }] }, results[2]] }, /no JSON/],
    [{ tools: [{ type: "web_search" }] }, /tools\[0\]/],
  ]) {
    const e = await refused(more);
    assert.equal(e.status, 400, JSON.stringify(e));
    assert.match(e.message, pattern);
  }
});
