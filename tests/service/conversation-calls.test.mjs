// Functions in a conversation that is kept: a response's calls, and what the client says they gave back, are items of it; the
// next response goes on from them; links and erasures know them.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { holding, startAppliance, until } from "./appliance.mjs";
import { tinyHome } from "./tiny_model.mjs";

const dir = mkdtempSync(join(tmpdir(), "carrel-conversation-calls-"));
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

const rain = { type: "function", name: "rain", parameters: { type: "object", properties: { city: { enum: ["Bonn"] } }, required: ["city"], additionalProperties: false } };
const now = { type: "function", name: "now", parameters: { type: "object", properties: {}, additionalProperties: false } };
const call = async (method, path, body) => {
  const r = await a.request(path, { method, body });
  return { status: r.status, body: await r.json() };
};
const make = async (body = {}) => {
  const { status, body: made } = await call("POST", "/v1/conversations", body);
  assert.equal(status, 200, JSON.stringify(made));
  return made.id;
};
const ask = async (conversation, input, more = {}) => {
  const { status, body } = await call("POST", "/v1/responses", { model: "carrel", input, conversation, tools: [rain, now], max_output_tokens: 60, ...more });
  assert.equal(status, 200, JSON.stringify(body));
  return body;
};
const must = { tool_choice: { type: "function", name: "rain" }, max_output_tokens: 200 };
const items = async (id) => (await call("GET", `/v1/conversations/${id}/items?order=asc&limit=100`)).body.data;
const kinds = (list) => list.map((i) => (i.type === "message" ? i.role : i.type));

test("a call, what it gave back, and the answer are items of the conversation, in order", { timeout: 60_000 }, async () => {
  const id = await make();
  const first = await ask(id, "How fast is the falcon in the rain?", must);
  const called = first.output.find((o) => o.type === "function_call");
  assert.deepEqual([called.name, JSON.parse(called.arguments)], ["rain", { city: "Bonn" }]);
  let kept = await items(id);
  assert.deepEqual(kinds(kept), ["user", "function_call"]);
  assert.deepEqual(kept[1], { ...called, status: "completed" }, "as the response told it, by its id");
  const second = await ask(id, [{ type: "function_call_output", call_id: called.call_id, output: "Twelve millimetres." }]);
  kept = await items(id);
  assert.deepEqual(kinds(kept), ["user", "function_call", "function_call_output", "assistant"]);
  assert.deepEqual([kept[2].call_id, kept[2].output], [called.call_id, "Twelve millimetres."]);
  assert.equal(kept[3].id, second.output.find((o) => o.type === "message").id);
  assert.deepEqual((await call("GET", `/v1/conversations/${id}/items/${kept[2].id}`)).body, kept[2]);
  // the model is given all of it: what was said before is in the prompt, as without a conversation
  const third = await ask(id, "And without rain?", { tools: undefined });
  const bare = (await call("POST", "/v1/responses", { model: "carrel", max_output_tokens: 60, input: [
    { role: "user", content: "How fast is the falcon in the rain?" }, { type: "function_call", call_id: called.call_id, name: "rain", arguments: called.arguments },
    { type: "function_call_output", call_id: called.call_id, output: "Twelve millimetres." }, { role: "assistant", content: kept[3].content[0].text }, { role: "user", content: "And without rain?" }] })).body;
  assert.deepEqual(third.output.at(-1).content[0].text, bare.output.at(-1).content[0].text);
  assert.equal(third.usage.input_tokens, bare.usage.input_tokens);
  // the page's view and the export have them; a link shows nothing that was said after a function gave something back
  const page = (await call("GET", `/api/conversations/${id.slice(5)}`)).body;
  assert.deepEqual(page.items.map((i) => [i.type, i.after, i.name]), [["function_call", 1, "rain"], ["function_call_output", 1, ""]]);
  const { token } = (await call("POST", `/api/conversations/${id.slice(5)}/shares`, {})).body;
  const shared = (await call("GET", `/api/shared/${token}`)).body;
  assert.deepEqual(shared.exchanges.map((e) => e.hidden), [false, true, true]);
  assert.doesNotMatch(JSON.stringify(shared), /millimetres|Bonn/);
  // an answer that is taken out takes its call, and what that gave back is not told without it
  assert.equal((await call("DELETE", `/v1/conversations/${id}/items/${kept[0].id}`)).status, 200);
  assert.deepEqual(kinds(await items(id)), ["function_call_output", "assistant", "user", "assistant"]);
  await ask(id, "Still there?");
});

test("a result that is deleted does not open what was said after it to a link", { timeout: 60_000 }, async () => {
  const id = await make();
  const called = (await ask(id, "How fast is the falcon in the rain?", must)).output.find((o) => o.type === "function_call");
  await ask(id, [{ type: "function_call_output", call_id: called.call_id, output: "Thirteen." }]);
  const result = (await items(id)).find((i) => i.type === "function_call_output");
  assert.equal((await call("DELETE", `/v1/conversations/${id}/items/${result.id}`)).status, 200);
  const { token } = (await call("POST", `/api/conversations/${id.slice(5)}/shares`, {})).body;
  assert.deepEqual((await call("GET", `/api/shared/${token}`)).body.exchanges.map((e) => e.hidden), [false, true]);
});

test("question, call and result in one input; calls of a client's own; streamed", { timeout: 60_000 }, async () => {
  const id = await make({ items: [{ role: "user", content: "Hello." }, { type: "function_call", call_id: "c1", name: "now", arguments: "{}" }, { type: "function_call_output", call_id: "c1", output: [{ type: "input_text", text: "Noon." }] }] });
  assert.deepEqual(kinds(await items(id)), ["user", "function_call", "function_call_output"]);
  await ask(id, [{ role: "user", content: "How fast is the falcon?" }, { type: "function_call", call_id: "c2", name: "rain", arguments: '{"city":"Bonn"}' }, { type: "function_call_output", call_id: "c2", output: "None." }]);
  assert.deepEqual(kinds(await items(id)).slice(3), ["user", "function_call", "function_call_output", "assistant"]);
  const r = await a.request("/v1/responses", { method: "POST", body: { model: "carrel", input: "And now?", conversation: id, tools: [rain], ...must, stream: true } });
  assert.match(await r.text(), /response.completed/);
  assert.deepEqual(kinds(await items(id)).slice(7), ["user", "function_call"]);
});

test("what is no message and no function is refused by its name", { timeout: 60_000 }, async () => {
  const id = await make();
  for (const [item, name] of [
    [{ type: "reasoning", summary: [] }, /"reasoning" are not kept/],
    [{ type: "computer_call", id: "x" }, /"computer_call" are not kept/],
    [{ role: "user", content: [{ type: "input_image", image_url: "x" }] }, /"input_image" are not kept/],
    [{ type: "function_call", name: "x", arguments: "{}" }, /call_id/],
    [{ type: "function_call", call_id: "c", arguments: "{}" }, /name/],
    [{ type: "function_call", call_id: "c", name: "x" }, /arguments/],
    [{ type: "function_call_output", call_id: "c", output: { a: 1 } }, /output/],
    [{ type: "function_call_output", call_id: "c".repeat(129), output: "" }, /call_id/],
  ]) {
    const { status, body } = await call("POST", `/v1/conversations/${id}/items`, { items: [item] });
    assert.equal(status, 400, JSON.stringify(item));
    assert.match(body.error.message, name);
  }
  const chat = await call("POST", "/v1/chat/completions", { model: "carrel", conversation: id.slice(5), messages: [{ role: "user", content: "How fast?" }], tools: [{ type: "function", function: { name: "now" } }] });
  assert.deepEqual([chat.status, chat.body.error.param], [400, "conversation"]);
  assert.match(chat.body.error.message, /\/v1\/responses/);
});

test("an erasure finds a person in arguments, names and results", { timeout: 60_000 }, async () => {
  const id = await make({ items: [
    { type: "function_call", call_id: "c1", name: "look_Quimby_up", arguments: "{}" }, { type: "function_call_output", call_id: "c1", output: "Quimby is in." },
    { type: "function_call", call_id: "c2", name: "look", arguments: '{"who":"Quimby"}' }, { type: "function_call_output", call_id: "c2", output: "Nobody." }] });
  const e = await a.post("/api/erasures", { subject: ["Quimby"] });
  await until("it is erased", async () => (await a.get(`/api/erasures/${e.id}`)).state === "done");
  assert.deepEqual((await items(id)).map((i) => i.output ?? i.name), ["Nobody."]);
  assert.deepEqual(holding(a.home, ["Quimby is in"]), []);
  await ask(id, "How fast is the falcon?");
});
