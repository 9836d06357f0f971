// n8n's own OpenAI nodes with our address, and an agent that calls tools.
import assert from "node:assert/strict";
import { below, carrelKey, code, file, manual, openaiKey, text, workflow } from "./workflows.mjs";

const question = "How many weeks of parental leave at full pay?";
const lang = (name) => `@n8n/n8n-nodes-langchain.${name}`;
const model = (value, typeVersion, parameters = {}) => ({ name: "Model", type: lang("lmChatOpenAi"), typeVersion, parameters: { model: { __rl: true, mode: "id", value }, ...parameters }, credentials: openaiKey });
const after = (from, ...to) => ({ [from]: { main: [to.map((node) => ({ node, type: "main", index: 0 }))] } });
const openai = (name, parameters, typeVersion = 2) => ({ name, type: lang("openAi"), typeVersion, parameters, credentials: openaiKey });
const carrelModel = { __rl: true, mode: "id", value: "carrel" };

export default async ({ step, run, n, a, key, upstream }) => {
  const chain = (id, typeVersion, parameters = {}) =>
    workflow(id, [manual, { name: "Chain", type: lang("chainLlm"), typeVersion: 1.7, parameters: { promptType: "define", text: question } }, model("carrel:notes", typeVersion, parameters)], { ...after("Begin", "Chain"), ...below({ Model: ["ai_languageModel", "Chain"] }) });
  await step("OpenAI chat model 1.3 (responses)", async () => assert.match(JSON.stringify(await run(chain("chat13", 1.3))), /fourteen weeks/));
  await step("OpenAI chat model 1.3 (chat completions)", async () => assert.match(JSON.stringify(await run(chain("chat13c", 1.3, { responsesApiEnabled: false }))), /fourteen weeks/));
  await step("OpenAI chat model 1.2", async () => assert.match(JSON.stringify(await run(chain("chat12", 1.2))), /fourteen weeks/));
  const stores = await fetch(`${a.url}/v1/vector_stores`, { headers: { authorization: `Bearer ${key}` } }).then((r) => r.json());
  const notes = stores.data.find((s) => s.name === "notes").id;
  await step("OpenAI chat model 1.3 and node 2 with file search in a vector store of ours", async () => {
    const search = { fileSearch: { vectorStoreIds: JSON.stringify([notes]), maxResults: 3 } };
    assert.match(JSON.stringify(await run(chain("filesearch", 1.3, { builtInTools: search }))), /fourteen weeks/);
    const r = await run(workflow("filesearch2", [manual, openai("OpenAI", { resource: "text", operation: "response", modelId: carrelModel, responses: { values: [{ content: question }] }, simplify: false, builtInTools: search })]));
    assert.match(JSON.stringify(r), /fourteen weeks/);
    assert.match(JSON.stringify(r), /leave\.txt/);
  });
  await step("OpenAI node 2 (response), 1.8 (message)", async () => {
    const w = workflow("openai2", [
      manual,
      openai("Response", { resource: "text", operation: "response", modelId: carrelModel, responses: { values: [{ content: question }] } }),
      openai("Message", { resource: "text", operation: "message", modelId: carrelModel, messages: { values: [{ content: question }] } }, 1.8),
    ]);
    await n.import("workflow", [w]);
    const { by } = await n.executed(w.id);
    for (const name of ["Response", "Message"]) assert.match(JSON.stringify(by[name][0].json), /fourteen weeks/, name);
  });
  await step("OpenAI node: a file uploaded, listed, deleted", async () => {
    const w = workflow("files", [
      manual,
      text("note", "The espresso machine is descaled on Mondays."),
      file("descaling.txt"),
      openai("Upload", { resource: "file", operation: "upload", binaryPropertyName: "data", options: { purpose: "assistants" } }),
      openai("List", { resource: "file", operation: "list", options: { purpose: "assistants" } }),
      openai("Delete", { resource: "file", operation: "deleteFile", fileId: { __rl: true, mode: "id", value: "={{ $('Upload').first().json.id }}" } }),
    ]);
    await n.import("workflow", [w]);
    const { by } = await n.executed(w.id);
    assert.equal(by.Upload[0].json.filename, "descaling.txt");
    assert.ok(by.List.some((i) => i.json.id === by.Upload[0].json.id));
    assert.equal(by.Delete[0].json.deleted, true);
  });
  const conversations = (await fetch(`${a.url}/v1/conversations`, { method: "POST", body: "{}", headers: { authorization: `Bearer ${key}`, "content-type": "application/json" } })).status;
  if (conversations === 404 || conversations === 405) console.log("not there  OpenAI node: conversations (this build has no /v1/conversations)");
  else {
    await step("OpenAI node: a conversation made, changed, read, removed", async () => {
      const of = (operation, more) => openai(operation, { resource: "conversation", operation, conversationId: "={{ $('create').first().json.id }}", ...more });
      const w = workflow("conversation", [manual, openai("create", { resource: "conversation", operation: "create", messages: { values: [{ role: "user", content: question }] } }), of("update", { metadata: '{"topic":"leave"}' }), of("get", {}), of("remove", {})]);
      await n.import("workflow", [w]);
      const { by } = await n.executed(w.id);
      assert.equal(by.get[0].json.metadata.topic, "leave");
      assert.equal(by.remove[0].json.deleted, true);
    });
  }

  const embeddings = { name: "Embeddings", type: lang("embeddingsOpenAi"), typeVersion: 1.2, parameters: { model: "carrel-embed" }, credentials: openaiKey };
  const store = { memoryKey: { __rl: true, mode: "id", value: "acceptance" } };
  const insert = { name: "Store", type: lang("vectorStoreInMemory"), typeVersion: 1.3, parameters: { mode: "insert", embeddingBatchSize: 1000, ...store } };
  const loader = { name: "Loader", type: lang("documentDefaultDataLoader"), typeVersion: 1.1, parameters: {} };
  const find = { name: "Find", type: lang("vectorStoreInMemory"), typeVersion: 1.3, parameters: { mode: "load", prompt: "leave", topK: 1, ...store } };
  const links = { ...below({ Loader: ["ai_document", "Store"], Embeddings: ["ai_embedding", "Store", "Find"] }) };
  await step("embeddings into n8n's own vector store (base64)", async () => {
    const r = await run(workflow("embed", [manual, text("note", "Leave is fourteen weeks."), insert, loader, embeddings, find], { ...after("Begin", "Text"), ...after("Text", "Store"), ...after("Store", "Find"), ...links }));
    assert.match(JSON.stringify(r), /fourteen weeks/);
  });
  await step("embeddings of 700 texts, in batches of 512", async () => {
    const answers = async () => Number((await (await a.request("/metrics")).text()).match(/^carrel_serve_http_requests_total\{class="2xx"\} (\d+)/m)[1]);
    const before = await answers();
    const many = code("Many", 'return Array.from({ length: 700 }, (_, i) => ({ json: { note: i === 613 ? "Leave is fourteen weeks." : `Shelf ${i} holds boxes.` } }));');
    const r = await run(workflow("embedmany", [manual, many, insert, loader, embeddings, { ...find, executeOnce: true }], { ...after("Begin", "Many"), ...after("Many", "Store"), ...after("Store", "Find"), ...links }));
    assert.match(JSON.stringify(r[0]), /fourteen weeks/);
    assert.equal((await answers()) - before, 4, "two batches, what is looked for, and the figures themselves");
  });

  // ---- an agent: the model is a scripted one elsewhere, behind Carrel, so that it surely calls the tool ----
  const agent = (id, version, parameters = {}) =>
    workflow(
      id,
      [
        manual,
        { name: "Agent", type: lang("agent"), typeVersion: 3, parameters: { promptType: "define", text: "When do the herons arrive?", options: {} } },
        model("carrel:birds", version, parameters),
        { name: "Search_documents", type: "n8n-nodes-carrel.carrelTool", parameters: { resource: "passage", operation: "search", query: "={{ $fromAI('query', 'what to look for', 'string') }}", limit: 2, options: { collection: "notes" }, toolDescription: "Searches the documents" }, credentials: carrelKey },
      ],
      { ...after("Begin", "Agent"), ...below({ Model: ["ai_languageModel", "Agent"], Search_documents: ["ai_tool", "Agent"] }) },
    );
  for (const [name, version, parameters] of [["1.3 (responses)", 1.3], ["1.3 (chat completions)", 1.3, { responsesApiEnabled: false }], ["1.2", 1.2]]) {
    await step(`AI agent with our node as its tool, model ${name}`, async () => {
      upstream.calls.length = 0;
      const w = agent(`agent${version}${parameters ? "c" : ""}`.replace(".", ""), version, parameters);
      await n.import("workflow", [w]);
      const { by } = await n.executed(w.id);
      assert.match(by.Agent[0].json.output, /The tool said: .*fourteen weeks/s);
      assert.ok(upstream.calls.some((c) => c.tools?.some((t) => t.function.name === "Search_documents")), "the tool reached the model");
      assert.ok(upstream.calls.some((c) => c.messages.at(-1).role === "tool" || c.messages.some((m) => m.role === "tool")), "and so did what it found");
    });
  }
};
