// The client libraries that people have, against a whole appliance: OpenAI's, Anthropic's, Ollama's and LangChain's.
// What they are told is told by the libraries' own types: a field that one of them cannot do without fails here.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { startAppliance, until } from "../service/appliance.mjs";
import { tinyHome } from "../service/tiny_model.mjs";

const libraries = ["@anthropic-ai/sdk", "@langchain/core/messages", "@langchain/openai", "ollama", "openai", "@modelcontextprotocol/sdk/client/index.js", "@modelcontextprotocol/sdk/client/streamableHttp.js"];
const [{ default: Anthropic }, { HumanMessage }, { ChatOpenAI, OpenAIEmbeddings }, { Ollama }, { default: OpenAI }, { Client }, { StreamableHTTPClientTransport }] = await Promise.all(libraries.map((x) => import(x))).catch((e) => {
  console.log(`SKIP: the client libraries cannot be loaded (cd tests/clients && npm ci; node 20): ${e.message}`);
  process.exit(77);
});

const dir = mkdtempSync(join(tmpdir(), "carrel-clients-"));
const question = "When is the espresso machine descaled?";
const espresso = /descaled on the first Monday of every month/;
let a, openai, anthropic, ollama;

before(async () => {
  a = await startAppliance({ config: "http:\n  requests_per_minute: 0\n" });
  a.drop("kitchen/coffee.md", "# Kitchen\n\n## Coffee\n\nThe espresso machine is descaled on the first Monday of every month.\n");
  a.drop("birds.md", "# Falcons\n\nThe falcon is the fastest bird. It dives at 320 kilometres an hour.\n");
  await a.settled({ n: 2 });
  openai = new OpenAI({ baseURL: `${a.url}/v1`, apiKey: a.key });
  anthropic = new Anthropic({ baseURL: a.url, apiKey: a.key });
  ollama = new Ollama({ host: a.url, headers: { Authorization: `Bearer ${a.key}` } });
});

after(async () => {
  const end = await a?.stop();
  rmSync(dir, { recursive: true, force: true });
  assert.equal(end.code, 0, a.output.slice(-4000));
  assert.doesNotMatch(a.output, /AddressSanitizer|LeakSanitizer|runtime error/, a.output.slice(-6000));
});

const collect = async (stream) => {
  const out = [];
  for await (const x of stream) {
    out.push(x);
  }
  return out;
};

describe("openai", () => {
  test("models, embeddings as base64, chat", async () => {
    const models = await collect(openai.models.list());
    assert.ok(models.some((m) => m.id === "carrel") && models.some((m) => m.id === "carrel-embed"));
    assert.equal((await openai.models.retrieve("carrel")).id, "carrel");
    const e = await openai.embeddings.create({ model: "carrel-embed", input: ["coffee", "birds"] });
    assert.equal(e.data.length, 2);
    assert.ok(e.data[1].embedding.length >= 8);
    assert.ok(Math.abs(e.data[0].embedding.reduce((s, x) => s + x * x, 0) - 1) < 1e-3);
    const chat = await openai.chat.completions.create({ model: "carrel", messages: [{ role: "user", content: question }], user: "somebody", store: true });
    assert.match(chat.choices[0].message.content, espresso);
    const chunks = await collect(await openai.chat.completions.create({ model: "carrel:kitchen", messages: [{ role: "user", content: question }], stream: true, stream_options: { include_usage: true } }));
    assert.match(chunks.map((c) => c.choices[0]?.delta.content ?? "").join(""), espresso);
    assert.ok(chunks.at(-1).usage);
  });

  test("a response: text, annotations with page and passage, usage, and kept", async () => {
    const r = await openai.responses.create({ model: "carrel", input: question, instructions: "be brief", metadata: { a: "b" }, include: ["file_search_call.results"] });
    assert.match(r.id, /^resp_/);
    assert.equal(r.status, "completed");
    assert.match(r.output_text, espresso);
    const [search, message] = r.output;
    assert.equal(search.type, "file_search_call");
    assert.deepEqual(search.queries, [question]);
    assert.ok(search.results.some((x) => x.filename === "coffee.md" && espresso.test(x.text)));
    const [note] = message.content[0].annotations;
    assert.equal(note.type, "file_citation");
    assert.equal(note.filename, "coffee.md");
    assert.match(note.hash, /^[0-9a-f]{64}$/);
    assert.equal(r.instructions, "be brief");
    assert.deepEqual(r.metadata, { a: "b" });
    assert.ok(r.usage.total_tokens >= 0);
    const kept = await openai.responses.retrieve(r.id);
    assert.equal(kept.id, r.id);
    assert.equal(kept.output_text ?? kept.output[1].content[0].text, r.output_text);
    const items = await collect(openai.responses.inputItems.list(r.id));
    assert.equal(items[0].content[0].text, question);
    await openai.responses.delete(r.id);
    await assert.rejects(openai.responses.retrieve(r.id), { status: 404 });
  });

  test("a response goes on from the one before; nobody else does", async () => {
    const first = await openai.responses.create({ model: "carrel", input: question });
    const next = await openai.responses.create({ model: "carrel", input: "At how many kilometres an hour does the falcon, the fastest bird, dive?", previous_response_id: first.id });
    assert.match(next.output_text, /320 kilometres/);
    assert.equal(next.previous_response_id, first.id);
    const third = await openai.responses.create({ model: "carrel", input: question, previous_response_id: next.id });
    assert.match(third.output_text, espresso);
    const created = await a.post("/api/keys", { name: "other", admin: false });
    const other = new OpenAI({ baseURL: `${a.url}/v1`, apiKey: created.key });
    await assert.rejects(other.responses.retrieve(first.id), { status: 404 });
    await assert.rejects(other.responses.create({ model: "carrel", input: "x y", previous_response_id: first.id }), { status: 404, code: "previous_response_not_found" });
    const unkept = await openai.responses.create({ model: "carrel", input: question, store: false });
    await assert.rejects(openai.responses.create({ model: "carrel", input: "x y", previous_response_id: unkept.id }), { status: 404 });
    await openai.responses.delete(first.id);
    await assert.rejects(openai.responses.create({ model: "carrel", input: "x y", previous_response_id: third.id }), { status: 404 });
  });

  test("a response as events, in the order that they are documented in", async () => {
    const events = await collect(await openai.responses.create({ model: "carrel", input: [{ role: "user", content: [{ type: "input_text", text: question }] }], stream: true }));
    assert.deepEqual(events.map((e) => e.sequence_number), events.map((_, i) => i));
    const types = events.map((e) => e.type);
    assert.deepEqual(types.slice(0, 7), ["response.created", "response.in_progress", "response.output_item.added", "response.file_search_call.in_progress", "response.file_search_call.searching", "response.file_search_call.completed", "response.output_item.done"]);
    assert.deepEqual(types.slice(7, 9), ["response.output_item.added", "response.content_part.added"]);
    assert.deepEqual(types.slice(-4), ["response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed"]);
    const text = events.filter((e) => e.type === "response.output_text.delta").map((e) => e.delta).join("");
    assert.match(text, espresso);
    const last = events.at(-1).response;
    assert.equal(last.output[1].content[0].text, text);
    assert.ok(events.some((e) => e.type === "response.output_text.annotation.added" && e.annotation.filename === "coffee.md"));
    const stream = openai.responses.stream({ model: "carrel", input: question });
    assert.match((await stream.finalResponse()).output_text, espresso);
  });

  test("file_search narrows to a collection; what is not known here is refused", async () => {
    const store = `vs_${Buffer.from("kitchen").toString("hex")}`;
    const r = await openai.responses.create({ model: "carrel", input: "How fast is the falcon?", tools: [{ type: "file_search", vector_store_ids: [store] }], include: ["file_search_call.results"] });
    assert.ok(r.output[0].results.every((x) => x.attributes.collection === "kitchen"));
    const bad = (more) => openai.responses.create({ model: "carrel", input: "x", ...more });
    await assert.rejects(bad({ tools: [{ type: "web_search" }] }), { status: 400, param: "tools" });
    await assert.rejects(bad({ background: true, stream: true }), { status: 400, param: "stream" });
    await assert.rejects(bad({ input: [] }), { status: 400, param: "input" });
    await assert.rejects(bad({ input: [{ role: "user", content: [{ type: "input_image", image_url: "x" }] }] }), { status: 400 });
    const pdf = { type: "input_file", filename: "a.pdf", file_data: "data:application/pdf;base64,JVBERi0=" };
    await assert.rejects(bad({ instructions: "Be brief.", input: [{ role: "user", content: [{ type: "input_text", text: "What is in it?" }, pdf] }] }), { status: 400, param: "input", message: /input\[0\]\.content\[1\]: input_file is not read here, only text: put the file in as a document/ });
    await assert.rejects(bad({ model: "gpt-5" }), { status: 404, code: "model_not_found" });
    await assert.rejects(bad({ previous_response_id: "nonsense" }), { status: 400, param: "previous_response_id" });
    await assert.rejects(bad({ tools: [{ type: "file_search", vector_store_ids: ["vs_zz"] }] }), { status: 400, param: "tools" });
    await assert.rejects(new OpenAI({ baseURL: `${a.url}/v1`, apiKey: "wrong" }).responses.create({ model: "carrel", input: "x" }), { status: 401 });
  });

  test("a conversation: made, filled, gone on from, its items paged and taken out", async () => {
    const c = await openai.conversations.create({ metadata: { topic: "coffee" }, items: [{ type: "message", role: "user", content: "We talk about the kitchen." }] });
    assert.deepEqual((await openai.conversations.retrieve(c.id)).metadata, { topic: "coffee" });
    const r = await openai.responses.create({ model: "carrel", input: question, conversation: c.id });
    assert.match(r.output_text, espresso);
    assert.equal(r.conversation.id, c.id);
    const put = await openai.conversations.items.create(c.id, { items: [{ type: "message", role: "user", content: [{ type: "input_text", text: "Thanks." }] }] });
    assert.equal(put.data.length, 1);
    const all = await collect(openai.conversations.items.list(c.id, { order: "asc", limit: 1 }));
    assert.deepEqual(all.map((i) => i.role), ["user", "user", "assistant", "user"], "every page is walked");
    assert.equal((await openai.conversations.items.retrieve(all[2].id, { conversation_id: c.id })).content[0].text, r.output_text);
    assert.equal((await openai.conversations.items.delete(all[0].id, { conversation_id: c.id })).id, c.id);
    assert.deepEqual((await openai.conversations.update(c.id, { metadata: { topic: "tea" } })).metadata, { topic: "tea" });
    assert.equal((await openai.conversations.delete(c.id)).deleted, true);
    await assert.rejects(openai.conversations.retrieve(c.id), { status: 404 });
    await assert.rejects(openai.responses.create({ model: "carrel", input: question, conversation: c.id }), { status: 404 });
  });

  test("a file in parts", async () => {
    const text = "The gate is painted in June.\n".repeat(2000);
    const upload = await openai.uploads.create({ filename: "gate.txt", bytes: text.length, mime_type: "text/plain", purpose: "assistants" });
    const parts = [];
    for (const half of [text.slice(0, 30000), text.slice(30000)]) parts.push((await openai.uploads.parts.create(upload.id, { data: new File([half], "part") })).id);
    await assert.rejects(openai.uploads.complete(upload.id, { part_ids: parts, md5: "0".repeat(32) }), { status: 400 });
    const done = await openai.uploads.complete(upload.id, { part_ids: parts, md5: createHash("md5").update(text).digest("hex") });
    assert.equal(done.status, "completed");
    assert.equal(await (await openai.files.content(done.file.id)).text(), text);
    await openai.files.delete(done.file.id);
    const other = await openai.uploads.create({ filename: "x.txt", bytes: 5, mime_type: "text/plain", purpose: "assistants" });
    assert.equal((await openai.uploads.cancel(other.id)).status, "cancelled");
  });

  test("files and vector stores: uploaded, polled, searched, a batch, taken out", async () => {
    const file = await openai.files.create({ file: new File(["The lift is inspected in May.\n"], "lift.txt"), purpose: "assistants" });
    assert.equal(file.filename, "lift.txt");
    assert.equal((await openai.files.retrieve(file.id)).bytes, file.bytes);
    assert.equal(await (await openai.files.content(file.id)).text(), "The lift is inspected in May.\n");
    const store = await openai.vectorStores.create({ name: "house", metadata: { a: "b" } });
    const one = await openai.vectorStores.files.createAndPoll(store.id, { file_id: file.id, attributes: { floor: 3 } });
    assert.deepEqual([one.status, one.attributes], ["completed", { floor: 3 }]);
    const two = await openai.vectorStores.files.uploadAndPoll(store.id, new File(["The stairs are swept on Mondays.\n"], "stairs.txt"));
    assert.equal(two.status, "completed");
    const found = await collect(await openai.vectorStores.search(store.id, { query: "When is the lift inspected?", filters: { type: "and", filters: [{ type: "gte", key: "floor", value: 3 }] }, max_num_results: 5 }));
    assert.deepEqual(found.map((x) => [x.file_id, x.filename]), [[file.id, "lift.txt"]]);
    assert.match(found[0].content[0].text, /in May/);
    assert.equal((await openai.vectorStores.files.update(one.id, { vector_store_id: store.id, attributes: { floor: 4 } })).attributes.floor, 4);
    const batch = await openai.vectorStores.fileBatches.uploadAndPoll(store.id, { files: [new File(["The cellar is dry.\n"], "cellar.txt"), new File(["The attic is cold.\n"], "attic.txt")] });
    assert.deepEqual([batch.status, batch.file_counts.completed], ["completed", 2]);
    assert.equal((await collect(openai.vectorStores.fileBatches.listFiles(batch.id, { vector_store_id: store.id }))).length, 2);
    const names = (await collect(openai.vectorStores.files.list(store.id, { limit: 2 }))).map((f) => f.carrel.path).sort();
    assert.deepEqual(names, ["house/attic.txt", "house/cellar.txt", "house/lift.txt", "house/stairs.txt"], "every page is walked");
    const text = await collect(await openai.vectorStores.files.content(two.id, { vector_store_id: store.id }));
    assert.match(text[0].text, /swept on Mondays/);
    const r = await openai.responses.create({ model: "carrel", input: "When is the lift inspected?", tools: [{ type: "file_search", vector_store_ids: [store.id] }], include: ["file_search_call.results"] });
    assert.match(r.output_text, /in May/);
    assert.ok((await collect(openai.vectorStores.list())).some((s) => s.id === store.id));
    assert.equal((await openai.vectorStores.update(store.id, { name: "the house" })).name, "the house");
    assert.equal((await openai.vectorStores.files.delete(two.id, { vector_store_id: store.id })).deleted, true);
    await assert.rejects(openai.vectorStores.files.retrieve(two.id, { vector_store_id: store.id }), { status: 404 });
    assert.equal((await openai.vectorStores.delete(store.id)).deleted, true);
    assert.equal((await openai.files.delete(file.id)).deleted, true);
    await assert.rejects(openai.files.retrieve(file.id), { status: 404 });
    await assert.rejects(openai.vectorStores.files.create(store.id, { file_id: "file-nothere" }), { status: 404 });
  });

  test("a response in the background is polled; several answers", async () => {
    let r = await openai.responses.create({ model: "carrel", input: question, background: true });
    assert.equal(r.status, "queued");
    for (; ["queued", "in_progress"].includes(r.status); r = await openai.responses.retrieve(r.id)) await new Promise((done) => setTimeout(done, 100));
    assert.equal(r.status, "completed");
    assert.match(r.output_text ?? r.output.at(-1).content[0].text, espresso);
    assert.equal((await openai.responses.cancel(r.id)).status, "completed");
    const chat = await openai.chat.completions.create({ model: "carrel", n: 2, messages: [{ role: "user", content: question }] });
    assert.deepEqual(chat.choices.map((c) => [c.index, espresso.test(c.message.content)]), [[0, true], [1, true]]);
    const stream = openai.chat.completions.stream({ model: "carrel", n: 2, messages: [{ role: "user", content: question }] });
    const final = await stream.finalChatCompletion();
    assert.equal(final.choices.length, 2);
    assert.ok(final.choices.every((c) => espresso.test(c.message.content)));
  });

  test("a client that leaves a stream leaves nothing behind", async () => {
    for (let i = 0; i < 5; i++) {
      const s = await openai.responses.create({ model: "carrel", input: question, stream: true });
      for await (const e of s) {
        if (e.type === "response.in_progress") {
          s.controller.abort();
          break;
        }
      }
    }
    assert.match((await openai.responses.create({ model: "carrel", input: question })).output_text, espresso);
  });
});

test("rerank, as Cohere's and Jina's clients ask for it", async () => {
  const ask = async (body) => {
    const r = await a.request("/v1/rerank", { method: "POST", body });
    return { status: r.status, ...(await r.json()) };
  };
  const documents = ["The harbour was closed.", { text: "espresso machine descaled on monday" }, ""];
  const r = await ask({ model: "carrel-rerank", query: "espresso machine descaled", documents, return_documents: true });
  assert.equal(r.status, 200, JSON.stringify(r));
  assert.deepEqual(r.results.map((x) => x.index).sort(), [0, 1, 2]);
  assert.equal(r.results[0].index, 1);
  assert.equal(r.results[0].document.text, documents[1].text);
  assert.match(r.model, /^carrel-/);
  assert.equal((await ask({ query: "espresso", documents, top_n: 1 })).results.length, 1);
  assert.equal((await ask({ query: "x", documents: [] })).error.param, "documents");
  assert.equal((await ask({ documents })).error.param, "query");
  assert.equal((await ask({ model: "rerank-v3", query: "x", documents })).status, 404);
});

describe("anthropic", () => {
  const ask = (more) => anthropic.messages.create({ model: "carrel", max_tokens: 500, messages: [{ role: "user", content: question }], ...more });

  test("a message with citations", async () => {
    const m = await ask({ system: [{ type: "text", text: "be brief" }], metadata: { user_id: "x" } });
    assert.match(m.id, /^msg_/);
    assert.equal(m.role, "assistant");
    assert.equal(m.stop_reason, "end_turn");
    assert.match(m.content[0].text, espresso);
    assert.match(m.content[0].citations[0].cited_text, espresso);
    assert.ok(m.usage.output_tokens >= 0);
  });

  test("streamed", async () => {
    const stream = anthropic.messages.stream({ model: "carrel", max_tokens: 500, messages: [{ role: "user", content: question }] });
    const types = [];
    stream.on("streamEvent", (e) => types.push(e.type));
    const m = await stream.finalMessage();
    assert.match(m.content[0].text, espresso);
    assert.equal(m.content[0].citations.length > 0, true);
    assert.equal(types[0], "message_start");
    assert.deepEqual(types.slice(-3), ["content_block_stop", "message_delta", "message_stop"]);
  });

  test("errors in its own shape", async () => {
    await assert.rejects(ask({ model: "claude-x" }), (e) => e.status === 404 && e.error.error.type === "not_found_error");
    await assert.rejects(ask({ messages: [] }), (e) => e.status === 400 && e.error.error.type === "invalid_request_error");
    await assert.rejects(ask({ messages: [{ role: "user", content: [{ type: "image", source: {} }] }] }), { status: 400 });
    await assert.rejects(new Anthropic({ baseURL: a.url, apiKey: "wrong" }).messages.create({ model: "carrel", max_tokens: 5, messages: [{ role: "user", content: "x" }] }), (e) => e.status === 401 && e.error.error.type === "authentication_error");
  });
});

describe("ollama", () => {
  test("list, show, version, embed", async () => {
    const { models } = await ollama.list();
    assert.ok(models.some((m) => m.name === "carrel"));
    assert.deepEqual((await ollama.show({ model: "carrel" })).capabilities, ["completion"]);
    assert.deepEqual((await ollama.show({ model: "carrel-embed:latest" })).capabilities, ["embedding"]);
    assert.match((await ollama.version()).version, /^\d/);
    const e = await ollama.embed({ model: "carrel-embed", input: ["coffee", "birds"] });
    assert.equal(e.embeddings.length, 2);
    assert.deepEqual((await ollama.ps()).models, []);
  });

  test("chat whole and in lines, generate", async () => {
    const whole = await ollama.chat({ model: "carrel:latest", messages: [{ role: "user", content: question }], options: { temperature: 0, num_predict: -1 } });
    assert.match(whole.message.content, espresso);
    assert.equal(whole.done, true);
    assert.equal(whole.done_reason, "stop");
    const lines = await collect(await ollama.chat({ model: "carrel", messages: [{ role: "user", content: question }], stream: true }));
    assert.match(lines.map((l) => l.message.content).join(""), espresso);
    assert.ok(lines.at(-1).done && lines.at(-1).total_duration >= 0);
    const g = await ollama.generate({ model: "carrel", prompt: question, system: "be brief" });
    assert.match(g.response, espresso);
    await assert.rejects(ollama.chat({ model: "nope", messages: [{ role: "user", content: "x" }] }), { status_code: 404 });
    await assert.rejects(ollama.chat({ model: "carrel", messages: [{ role: "user", content: "x", images: ["aGk="] }] }), { status_code: 400 });
  });
});

describe("langchain", () => {
  const options = () => ({ apiKey: a.key, configuration: { baseURL: `${a.url}/v1` } });

  test("chat completions, responses, embeddings", async () => {
    for (const useResponsesApi of [false, true]) {
      const model = new ChatOpenAI({ model: "carrel", useResponsesApi, ...options() });
      const m = await model.invoke([new HumanMessage(question)]);
      assert.match(m.text, espresso);
      let text = "";
      for await (const piece of await model.stream([new HumanMessage(question)])) {
        text += piece.text;
      }
      assert.match(text, espresso);
    }
    const vectors = await new OpenAIEmbeddings({ model: "carrel-embed", ...options() }).embedDocuments(["coffee", "birds"]);
    assert.equal(vectors.length, 2);
    assert.ok(vectors[0].length > 0);
  });
});

describe("model context protocol", () => {
  const connect = async (key) => {
    const client = new Client({ name: "test", version: "0" });
    await client.connect(new StreamableHTTPClientTransport(new URL(`${a.url}/mcp`), { requestInit: { headers: { Authorization: `Bearer ${key}` } } }));
    return client;
  };

  test("tools are listed, found passages read, a question answered", async () => {
    const client = await connect(a.key);
    assert.equal(client.getServerVersion().name, "carrel");
    const { tools } = await client.listTools();
    assert.deepEqual(tools.map((t) => t.name), ["search", "read_passage", "list_collections", "ask"]);
    assert.ok(tools.every((t) => t.inputSchema.type === "object" && t.annotations.readOnlyHint));
    const call = (name, args) => client.callTool({ name, arguments: args });
    const found = await call("search", { query: question, top_k: 3 });
    assert.match(found.content[0].text, /^\[1\] kitchen\/coffee\.md, /);
    const [first] = found.structuredContent.passages;
    assert.match(first.text, espresso);
    const read = await call("read_passage", { passage: first.passage, around: 2 });
    assert.match(read.content[0].text, espresso);
    const { structuredContent: list } = await call("list_collections", {});
    assert.deepEqual(list.collections.map((c) => c.name).sort(), ["default", "kitchen"]);
    const answer = await call("ask", { question });
    assert.match(answer.content[0].text, espresso);
    assert.match(answer.content[0].text, /\[1\] kitchen\/coffee\.md/);
    assert.ok(answer.structuredContent.carrel.answer_id);
    const none = await call("ask", { question, collection: "default" });
    assert.doesNotMatch(none.content[0].text, espresso);
    await client.close();
  });

  test("what goes wrong is told to the agent; the protocol's own errors as such", async () => {
    const client = await connect(a.key);
    const call = (name, args) => client.callTool({ name, arguments: args });
    for (const [name, args, says] of [["search", {}, /query/], ["search", { query: "x", top_k: 9999 }, /top_k/], ["read_passage", { passage: "zz" }, /passage/], ["read_passage", { passage: "00ff" }, /no such passage|passage/], ["ask", {}, /question/]]) {
      const r = await call(name, args);
      assert.equal(r.isError, true, JSON.stringify([name, args, r]));
      assert.match(r.content[0].text, says);
    }
    await assert.rejects(call("delete_everything", {}), /no tool of this name/);
    await client.close();
    await assert.rejects(connect("wrong"), (e) => /401|nauthorized|not known/.test(`${e.code} ${e.message}`));
    const raw = (body, headers = {}) => a.request("/mcp", { method: "POST", body, headers });
    assert.equal((await raw({ jsonrpc: "2.0", method: "notifications/initialized" })).status, 202);
    assert.equal((await (await raw({ jsonrpc: "2.0", id: "a", method: "resources/list" })).json()).error.code, -32601);
    assert.equal((await raw({ id: 1, method: "ping" })).status, 400);
    assert.equal((await raw({ jsonrpc: "2.0", id: 1, method: "ping" }, { "MCP-Protocol-Version": "1999-01-01" })).status, 400);
    assert.equal((await a.request("/mcp")).status, 405);
  });
});

/* The model has seeded weights: what it says is noise, so it is made to call. */
describe("functions", () => {
  const parameters = { type: "object", properties: { city: { enum: ["Bonn", "Ulm"] } }, required: ["city"], additionalProperties: false };
  let b;

  before(async () => {
    b = await startAppliance({ home: tinyHome(dir), config: "http:\n  requests_per_minute: 0\ngenerate:\n  model: tiny\n  context: 6144\n" });
    await until("the model is ready", async () => /carrel_generate_model_ready 1/.test(await (await b.request("/metrics")).text()));
  });

  after(async () => {
    const end = await b?.stop();
    assert.equal(end.code, 0, b.output.slice(-4000));
  });

  test("openai responses: called, answered, streamed", async () => {
    const client = new OpenAI({ baseURL: `${b.url}/v1`, apiKey: b.key });
    const tools = [{ type: "function", name: "rain", description: "How much rain", parameters, strict: true }];
    const first = await client.responses.create({ model: "tiny", input: "Rain?", tools, tool_choice: "required", max_output_tokens: 200 });
    const call = first.output.find((x) => x.type === "function_call");
    assert.equal(call.name, "rain");
    assert.ok(["Bonn", "Ulm"].includes(JSON.parse(call.arguments).city));
    const second = await client.responses.create({ model: "tiny", input: [{ role: "user", content: "Rain?" }, call, { type: "function_call_output", call_id: call.call_id, output: "3 mm" }], tools, tool_choice: "none", max_output_tokens: 8 });
    assert.equal(second.status, "incomplete");
    assert.equal(second.incomplete_details.reason, "max_output_tokens");
    const kept = await client.responses.create({ model: "tiny", previous_response_id: first.id, input: [{ type: "function_call_output", call_id: call.call_id, output: "3 mm" }], tools, tool_choice: "none", max_output_tokens: 8 });
    assert.equal(kept.previous_response_id, first.id);
    const events = await collect(await client.responses.create({ model: "tiny", input: "Rain?", tools, tool_choice: { type: "function", name: "rain" }, max_output_tokens: 200, stream: true }));
    const done = events.find((e) => e.type === "response.function_call_arguments.done");
    assert.equal(events.filter((e) => e.type === "response.function_call_arguments.delta").map((e) => e.delta).join(""), done.arguments);
    assert.equal(events.at(-1).type, "response.completed");
  });

  test("openai responses: held to a schema", async () => {
    const client = new OpenAI({ baseURL: `${b.url}/v1`, apiKey: b.key });
    const r = await client.responses.create({ model: "tiny", input: "Where?", text: { format: { type: "json_schema", name: "place", schema: parameters, strict: true } }, max_output_tokens: 100 });
    assert.ok(["Bonn", "Ulm"].includes(JSON.parse(r.output_text).city), r.output_text);
  });

  test("anthropic: used, answered, streamed", async () => {
    const client = new Anthropic({ baseURL: b.url, apiKey: b.key });
    const tools = [{ name: "rain", description: "How much rain", input_schema: parameters }];
    const ask = { model: "tiny", max_tokens: 200, tools, tool_choice: { type: "any" }, messages: [{ role: "user", content: "Rain?" }] };
    const m = await client.messages.create(ask);
    assert.equal(m.stop_reason, "tool_use");
    const use = m.content.find((x) => x.type === "tool_use");
    assert.ok(["Bonn", "Ulm"].includes(use.input.city));
    const next = await client.messages.create({ ...ask, max_tokens: 8, tool_choice: { type: "none" }, messages: [...ask.messages, { role: "assistant", content: m.content }, { role: "user", content: [{ type: "tool_result", tool_use_id: use.id, content: [{ type: "text", text: "3 mm" }] }] }] });
    assert.equal(next.stop_reason, "max_tokens");
    const final = await client.messages.stream(ask).finalMessage();
    assert.ok(["Bonn", "Ulm"].includes(final.content.find((x) => x.type === "tool_use").input.city));
  });

  test("ollama: tool calls, format", async () => {
    const client = new Ollama({ host: b.url, headers: { Authorization: `Bearer ${b.key}` } });
    const j = await client.chat({ model: "tiny", messages: [{ role: "user", content: "Where?" }], format: parameters, options: { num_predict: 100 } });
    assert.ok(["Bonn", "Ulm"].includes(JSON.parse(j.message.content).city), j.message.content);
    const r = await client.chat({ model: "tiny", messages: [{ role: "user", content: "Rain?" }, { role: "assistant", content: "", tool_calls: [{ function: { name: "rain", arguments: { city: "Ulm" } } }] }, { role: "tool", content: "3 mm", tool_name: "rain" }], tools: [{ type: "function", function: { name: "rain", parameters } }], options: { num_predict: 8 } });
    assert.equal(r.done_reason, "length");
  });
});
