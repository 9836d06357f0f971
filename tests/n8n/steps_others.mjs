// n8n's nodes for Ollama, with our address, and its MCP client as an agent's tools.
import assert from "node:assert/strict";
import { below, manual, openaiKey, text, workflow } from "./workflows.mjs";

const question = "How many weeks of parental leave at full pay?";
const lang = (name) => `@n8n/n8n-nodes-langchain.${name}`;
const ollamaKey = { ollamaApi: { id: "ollama", name: "Ollama" } };
const after = (from, ...to) => ({ [from]: { main: [to.map((node) => ({ node, type: "main", index: 0 }))] } });

export default async ({ step, run, n, a, upstream }) => {
  await step("Ollama chat model (a stream of lines)", async () => {
    const r = await run(
      workflow(
        "ollamachat",
        [manual, { name: "Chain", type: lang("chainLlm"), typeVersion: 1.7, parameters: { promptType: "define", text: question } }, { name: "Model", type: lang("lmChatOllama"), typeVersion: 1, parameters: { model: "carrel:notes", options: {} }, credentials: ollamaKey }],
        { ...after("Begin", "Chain"), ...below({ Model: ["ai_languageModel", "Chain"] }) },
      ),
    );
    assert.match(JSON.stringify(r), /fourteen weeks/);
  });

  await step("Embeddings Ollama into n8n's own vector store", async () => {
    const store = { memoryKey: { __rl: true, mode: "id", value: "ollama" } };
    const nodes = [
      manual,
      text("note", "Leave is fourteen weeks."),
      { name: "Store", type: lang("vectorStoreInMemory"), typeVersion: 1.3, parameters: { mode: "insert", ...store } },
      { name: "Loader", type: lang("documentDefaultDataLoader"), typeVersion: 1.1, parameters: {} },
      { name: "Embeddings", type: lang("embeddingsOllama"), typeVersion: 1, parameters: { model: "carrel-embed" }, credentials: ollamaKey },
      { name: "Find", type: lang("vectorStoreInMemory"), typeVersion: 1.3, parameters: { mode: "load", prompt: "leave", topK: 1, ...store } },
    ];
    const links = { ...after("Begin", "Text"), ...after("Text", "Store"), ...after("Store", "Find"), ...below({ Loader: ["ai_document", "Store"], Embeddings: ["ai_embedding", "Store", "Find"] }) };
    assert.match(JSON.stringify(await run(workflow("ollamaembed", nodes, links))), /fourteen weeks/);
  });

  await step("AI agent with our MCP server's search as its tool", async () => {
    upstream.calls.length = 0;
    const w = workflow(
      "mcpagent",
      [
        manual,
        { name: "Agent", type: lang("agent"), typeVersion: 3, parameters: { promptType: "define", text: "When do the herons arrive?", options: {} } },
        { name: "Model", type: lang("lmChatOpenAi"), typeVersion: 1.3, parameters: { model: { __rl: true, mode: "id", value: "carrel:birds" } }, credentials: openaiKey },
        { name: "Carrel", type: lang("mcpClientTool"), typeVersion: 1.4, parameters: { endpointUrl: `${a.url}/mcp`, serverTransport: "httpStreamable", authentication: "bearerAuth", include: "selected", includeTools: ["search"] }, credentials: { httpBearerAuth: { id: "bearer", name: "Carrel" } } },
      ],
      { ...after("Begin", "Agent"), ...below({ Model: ["ai_languageModel", "Agent"], Carrel: ["ai_tool", "Agent"] }) },
    );
    await n.import("workflow", [w]);
    const { by } = await n.executed(w.id);
    assert.match(by.Agent[0].json.output, /The tool said: .*fourteen weeks/s);
    assert.deepEqual([...new Set(upstream.calls.flatMap((c) => c.tools?.map((t) => t.function.name) ?? []))].length, 1, "the one tool that was chosen");
  });
};
