// Workflows as n8n has them, for tests.
import { dirname, join, resolve } from "node:path";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
/** Nodes one after another; ids of 16 characters, as n8n makes them. */
export const workflow = (id, nodes, links = null, more = {}) => ({
  id: id.padEnd(16, "0"),
  name: id,
  active: false,
  nodes: nodes.map((n, i) => ({ id: `${id}-${i}`, position: [i * 200, 0], parameters: {}, typeVersion: 1, ...n })),
  connections: links ?? Object.fromEntries(nodes.slice(0, -1).map((n, i) => [n.name, { main: [[{ node: nodes[i + 1].name, type: "main", index: 0 }]] }])),
  settings: { executionOrder: "v1" },
  ...more,
});
export const manual = { name: "Begin", type: "n8n-nodes-base.manualTrigger" };
export const carrelKey = { carrelApi: { id: "carrel", name: "Carrel API" } };
export const openaiKey = { openAiApi: { id: "openai", name: "OpenAI" } };
export const carrel = (parameters) => ({ name: "Carrel", type: "n8n-nodes-carrel.carrel", parameters, credentials: carrelKey });
export const text = (field, value) => ({
  name: "Text",
  type: "n8n-nodes-base.set",
  typeVersion: 3.4,
  parameters: { assignments: { assignments: [{ id: "1", name: field, value, type: "string" }] } },
});


export const code = (name, jsCode) => ({ name, type: "n8n-nodes-base.code", typeVersion: 2, parameters: { jsCode } });
export const file = (fileName) => ({ name: "File", type: "n8n-nodes-base.convertToFile", typeVersion: 1.1, parameters: { operation: "toText", sourceProperty: "note", options: { fileName } } });
export const tell = (url) => ({ name: "Tell", type: "n8n-nodes-base.httpRequest", typeVersion: 4.2, parameters: { method: "POST", url, sendBody: true, specifyBody: "json", jsonBody: "={{ JSON.stringify($json) }}" } });
/** One of the examples, as it is. */
export const example = (name) => ({ ...JSON.parse(readFileSync(join(root, `serve/n8n/workflows/${name}.json`), "utf8")), id: name.replace(/-/g, "").slice(0, 16).padEnd(16, "0") });
/** A node of type ai_… below another. */
export const below = (map) => Object.fromEntries(Object.entries(map).map(([from, [type, ...to]]) => [from, { [type]: [to.map((node) => ({ node, type, index: 0 }))] }]));
