// Conversations as OpenAI's API has them, over those that are kept: made, described, filled, gone on from by responses, and
// nobody else's; what clients put in is shown by no link, and an erasure finds it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startAppliance, until } from "./appliance.mjs";

const question = "When is the espresso machine descaled?", answer = /first Monday of every month/;
let a, reader, other;
before(async () => {
  a = await startAppliance({ config: "http:\n  requests_per_minute: 0\n" });
  a.drop("coffee.md", "# Coffee\n\nThe espresso machine is descaled on the first Monday of every month.\n");
  a.drop("falcon.md", "# Falcons\n\nThe falcon is the fastest bird. It dives at 320 kilometres an hour.\n");
  await a.settled({ n: 2 });
  const key = async (name) => (await a.post("/api/keys", { name, role: "reader" })).key;
  [reader, other] = [await key("reader"), await key("other")];
});
after(async () => a?.stop());

const call = async (method, path, body, key = reader) => {
  const r = await a.request(path, { method, body, key });
  return { status: r.status, body: await r.json() };
};
const make = async (body = {}, key) => (await call("POST", "/v1/conversations", body, key)).body;
const items = async (id, query = "order=asc") => (await call("GET", `/v1/conversations/${id}/items?${query}`)).body.data;
const texts = (list) => list.map((i) => [i.role, i.content[0].text]);
const ask = (conversation, input = question, more = {}) => call("POST", "/v1/responses", { model: "carrel", input, conversation, ...more });

test("made, described, told, deleted; nobody else's", async () => {
  const c = await make({ metadata: { topic: "kitchen" }, items: [{ type: "message", role: "user", content: "Hello." }] });
  assert.match(c.id, /^conv_[0-9a-z]{26}$/);
  assert.deepEqual([c.object, c.metadata], ["conversation", { topic: "kitchen" }]);
  assert.deepEqual((await call("GET", `/v1/conversations/${c.id}`)).body, c);
  assert.deepEqual((await call("POST", `/v1/conversations/${c.id}`, { metadata: { topic: "tea" } })).body, { ...c, metadata: { topic: "tea" } });
  for (const [method, path, body] of [["GET", ""], ["POST", "", { metadata: {} }], ["DELETE", ""], ["GET", "/items"], ["POST", "/items", { items: [{ role: "user", content: "x" }] }], ["GET", "/items/msg_q_x"], ["DELETE", "/items/msg_i_x"]]) {
    assert.equal((await call(method, `/v1/conversations/${c.id}${path}`, body, other)).status, 404, `${method} ${path}`);
  }
  assert.equal((await call("POST", "/v1/responses", { model: "carrel", input: question, conversation: c.id }, other)).status, 404);
  for (const bad of [{ metadata: { a: 1 } }, { metadata: [] }, { items: "x" }, { items: [{ role: "tool", content: "x" }] }, { items: [{ role: "user", content: "" }] }, { items: [{ type: "function_call", name: "x" }] }, { items: [{ role: "user", content: [{ type: "input_image", image_url: "x" }] }] }, { items: Array(21).fill({ role: "user", content: "x" }) }]) {
    assert.equal((await call("POST", "/v1/conversations", bad)).status, 400, JSON.stringify(bad));
  }
  assert.deepEqual((await call("GET", "/api/conversations")).body.conversations, [], "nothing has been asked in it");
  assert.deepEqual((await call("DELETE", `/v1/conversations/${c.id}`)).body, { id: c.id, object: "conversation.deleted", deleted: true });
  assert.equal((await call("GET", `/v1/conversations/${c.id}`)).status, 404);
});

test("items: put in, paged in both orders, told alone, taken out", async () => {
  const c = await make();
  const put = await call("POST", `/v1/conversations/${c.id}/items`, { items: [{ role: "system", content: "Be brief." }, { role: "user", content: [{ type: "input_text", text: "One" }, { type: "input_text", text: "two" }] }, { role: "assistant", content: [{ type: "output_text", text: "Three." }] }] });
  assert.equal(put.status, 200, JSON.stringify(put.body));
  const all = await items(c.id);
  assert.deepEqual(put.body.data, all);
  assert.deepEqual(texts(all), [["system", "Be brief."], ["user", "One\ntwo"], ["assistant", "Three."]]);
  assert.deepEqual(all.map((i) => i.content[0].type), ["input_text", "input_text", "output_text"]);
  const page = (await call("GET", `/v1/conversations/${c.id}/items?limit=2`)).body;
  assert.deepEqual([page.data.map((i) => i.id), page.has_more, page.first_id], [[all[2].id, all[1].id], true, all[2].id]);
  assert.deepEqual(await items(c.id, `after=${page.last_id}`), [all[0]]);
  assert.deepEqual((await call("GET", `/v1/conversations/${c.id}/items/${all[1].id}`)).body, all[1]);
  assert.equal((await call("DELETE", `/v1/conversations/${c.id}/items/${all[1].id}`)).body.id, c.id);
  assert.deepEqual((await items(c.id)).map((i) => i.id), [all[0].id, all[2].id]);
  assert.equal((await call("GET", `/v1/conversations/${c.id}/items/${all[1].id}`)).status, 404);
});

test("a response goes on from it and is put into it", async () => {
  const c = await make({ items: [{ role: "user", content: "We talk about the kitchen." }] });
  const r = await ask(c.id, [{ role: "developer", content: "Be kind." }, { role: "user", content: question }]);
  assert.equal(r.status, 200, JSON.stringify(r.body));
  assert.deepEqual(r.body.conversation, { id: c.id });
  const said = await items(c.id);
  assert.deepEqual(said.map((i) => i.role), ["user", "developer", "user", "assistant"]);
  const text = r.body.output.find((o) => o.type === "message");
  assert.equal(said[3].id, text.id);
  assert.equal(said[3].content[0].text, text.content[0].text);
  assert.match(said[3].content[0].text, answer);
  assert.ok(said[3].content[0].annotations.some((x) => x.filename === "coffee.md"), JSON.stringify(said[3]));
  const next = await ask({ id: c.id }, "And how fast is the falcon?");
  assert.equal(next.status, 200, JSON.stringify(next.body));
  assert.equal((await items(c.id)).length, 6);
  // streamed, the same
  const s = await a.request("/v1/responses", { method: "POST", key: reader, body: { model: "carrel", input: question, conversation: c.id, stream: true } });
  assert.match(await s.text(), new RegExp(`"conversation":\\{"id":"${c.id}"\\}`));
  assert.equal((await items(c.id)).length, 8);
  // it is the conversation that the page shows and exports
  const kept = (await call("GET", `/api/conversations/${c.id.slice(5)}`)).body;
  assert.equal(kept.exchanges.length, 3);
  assert.deepEqual(kept.items.map((i) => [i.text, i.after]), [["We talk about the kitchen.", 0], ["Be kind.", 0]]);
  assert.equal((await call("GET", "/api/conversations")).body.conversations[0].title, question);
  // a link shows what was answered here, and nothing that was put in
  const share = (await call("POST", `/api/conversations/${c.id.slice(5)}/shares`, {})).body;
  const shown = await (await a.request(`/api/shared/${share.token}`, { key: other })).text();
  assert.match(shown, answer);
  assert.doesNotMatch(shown, /We talk about|Be kind/);
  // who takes an answer out takes its question, and the link to it
  assert.equal((await call("DELETE", `/v1/conversations/${c.id}/items/${said[3].id}`)).status, 200);
  assert.equal((await items(c.id)).length, 6);
  assert.equal((await a.request(`/api/shared/${share.token}`, { key: other })).status, 404);
});

test("what cannot go together is refused by name", async () => {
  const c = await make();
  const r = (await ask(c.id)).body;
  const { status, body } = await ask(c.id, question, { previous_response_id: r.id });
  assert.deepEqual([status, body.error.param], [400, "conversation"], JSON.stringify(body));
  assert.equal((await ask("conv_nothere")).status, 400);
  assert.equal((await ask(`conv_${"0".repeat(26)}`)).status, 404);
  assert.equal((await ask(c.id, [{ role: "assistant", content: "I never said this." }, { role: "user", content: question }])).status, 400);
});

test("an erasure finds what was put in; what followed an erased document goes", async () => {
  const c = await make({ metadata: { who: "Rosalinde" }, items: [{ role: "user", content: "I am a friend of Rosalinde." }, { role: "user", content: "Good day." }] });
  assert.equal((await ask(c.id)).status, 200); // made from what was there then
  a.drop("quark.md", "# Quark\n\nThe quark press is oiled in spring by Rosalinde.\n");
  await a.settled({ n: 3 });
  assert.match((await ask(c.id, "When is the quark press oiled?")).body.output.at(-1).content[0].text, /spring/);
  await call("POST", `/v1/conversations/${c.id}/items`, { items: [{ role: "user", content: "So, in spring." }] });
  const empty = await make();
  const e = await a.post("/api/erasures", { subject: ["Rosalinde"] });
  await until("it is erased", async () => (await a.get(`/api/erasures/${e.id}`)).state === "done");
  const left = await items(c.id);
  assert.deepEqual(left.map((i) => i.role), ["user", "user", "assistant"], JSON.stringify(left));
  assert.equal(left[0].content[0].text, "Good day.");
  assert.deepEqual((await call("GET", `/v1/conversations/${c.id}`)).body.metadata, {});
  assert.equal((await call("GET", `/v1/conversations/${empty.id}`)).status, 200, "one that is empty is not gone with it");
});

test("what clients put into one conversation is bounded, in bytes too", async () => {
  const c = await make();
  const much = { items: Array(7).fill({ role: "user", content: "x".repeat(256 * 1024) }) };
  for (let i = 0; i < 4; i++) assert.equal((await call("POST", `/v1/conversations/${c.id}/items`, much)).status, 200);
  const { status, body } = await call("POST", `/v1/conversations/${c.id}/items`, much);
  assert.deepEqual([status, body.error.code], [413, "too_large"], JSON.stringify(body).slice(0, 300));
  assert.equal((await call("POST", `/v1/conversations/${c.id}/items`, { items: [{ role: "user", content: "A little more." }] })).status, 200);
});

test("file_search whose stores are not a list is refused: it would search everything", async () => {
  const tools = (tool) => call("POST", "/v1/responses", { model: "carrel", input: question, tools: [tool] });
  for (const vector_store_ids of ["vs_6b", { 0: "vs_6b" }, 5, [5], ["kitchen"]]) {
    const { status, body } = await a.request("/v1/responses", { method: "POST", key: reader, body: { model: "carrel", input: question, tools: [{ type: "file_search", vector_store_ids }] } }).then(async (r) => ({ status: r.status, body: await r.json() }));
    assert.deepEqual([status, body.error?.param], [400, "tools"], JSON.stringify(vector_store_ids));
  }
  const { status, body } = await tools({ type: "file_search", vector_store_ids: [] });
  assert.equal(status, 200, JSON.stringify(body));
});
