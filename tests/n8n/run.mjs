// The acceptance test with a real n8n: every operation of our node, n8n's own OpenAI and Ollama nodes and its MCP client by `n8n execute`, the
// trigger and the example workflows with a server, against a running appliance. Too heavy for every run:
//
//   CARREL_BIN=build/release/bin node tests/n8n/run.mjs [name...]
//
// CARREL_N8N_CACHE names the folder that n8n is installed in (default ~/.cache/carrel-n8n). Ends with 77 where n8n
// cannot be installed, and says so.
import { createServer } from "node:http";
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { binDir, startAppliance, until } from "../service/appliance.mjs";
import { catcher, mailbox } from "./mail.mjs";
import { N8n, install, n8nVersion } from "./n8n.mjs";
import nodeSteps, { last } from "./steps_node.mjs";
import openaiSteps from "./steps_openai.mjs";
import otherSteps from "./steps_others.mjs";
import serverSteps from "./steps_server.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const only = process.argv.slice(2);
const PORT = Number(process.env.CARREL_N8N_PORT ?? 15678);

try {
  install();
} catch (e) {
  console.log(`SKIPPED: n8n could not be installed: ${String(e.message).slice(0, 400)}\n${String(e.stderr ?? "").slice(-800)}`);
  process.exit(77);
}

const results = [];
const step = async (name, fn) => {
  if (only.length > 0 && !only.some((o) => name.includes(o))) return undefined;
  const began = Date.now();
  try {
    const value = await fn();
    results.push([name, "ok", Date.now() - began]);
    console.log(`ok      ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
    return value;
  } catch (e) {
    results.push([name, "FAILED", Date.now() - began]);
    console.log(`FAILED  ${name}: ${e.stack.slice(0, 3000)}`);
    return undefined;
  }
};

const got = [];
const files = new Map(); // what the receiver gives out
const receiver = createServer((q, a) => {
  const parts = [];
  q.on("data", (p) => parts.push(p));
  q.on("end", () => {
    if (q.method === "GET" && files.has(q.url)) return void a.writeHead(200, { "content-type": "text/plain" }).end(files.get(q.url));
    got.push({ path: q.url, body: Buffer.concat(parts).toString() });
    a.writeHead(200, { "content-type": "application/json" }).end("{}");
  });
});
await new Promise((done) => receiver.listen(0, "127.0.0.1", done));
const told = `http://127.0.0.1:${receiver.address().port}`;


// A model elsewhere, for the agent: it calls the tool that it is offered, then says what the tool said.
const upstream = { calls: [] };
const far = createServer((q, r) => {
  const parts = [];
  q.on("data", (p) => parts.push(p)).on("end", () => {
    const asked = JSON.parse(Buffer.concat(parts).toString());
    upstream.calls.push(asked);
    const tool = asked.messages.findLast((m) => m.role === "tool");
    r.writeHead(200, { "content-type": "text/event-stream" });
    const send = (o) => r.write(`data: ${JSON.stringify(o)}\n\n`);
    const call = asked.tools?.[0]?.function.name;
    if (call && !tool) {
      send({ choices: [{ index: 0, delta: { role: "assistant", tool_calls: [{ index: 0, id: "call_1", type: "function", function: { name: call, arguments: '{"query":"parental leave at full pay"}' } }] } }] });
      send({ choices: [{ index: 0, delta: {}, finish_reason: "tool_calls" }] });
    } else {
      send({ choices: [{ index: 0, delta: { content: tool ? `The tool said: ${typeof tool.content === "string" ? tool.content : JSON.stringify(tool.content)}` : "On the first day of March [1]." } }] });
      send({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] });
    }
    send({ choices: [], usage: { prompt_tokens: 70, completion_tokens: 9 } });
    r.end("data: [DONE]\n\n");
  });
});
await new Promise((done) => far.listen(0, "127.0.0.1", done));
const box = await mailbox(), out = await catcher();

const a = await startAppliance({
  config: `http:
  requests_per_minute: 0
webhooks:
  allow: ["http://127.0.0.1:${PORT}", "${told}"]
generate:
  upstream:
    url: http://127.0.0.1:${far.address().port}/v1
    model: far
    may_receive: [public]
    allow_private_address: true
`,
});
const n = new N8n(PORT);
try {
  writeFileSync(join(a.home, "access.yaml"), 'access:\n  - path: "birds/**"\n    readers: [everyone]\n    label: public\n');
  a.drop("notes/leave.txt", "Parental leave is fourteen weeks at full pay. Parental leave begins on the day of birth.");
  a.drop("notes/canteen-menu.txt", "The menu of the canteen changes on Mondays. Soup is served every day.");
  a.drop("notes/parking.txt", "Parking permits are given out at the gate in the morning.");
  a.drop("birds/herons.md", "# Herons\n\nThe herons arrive on the first day of March and leave in October.\n");
  await a.settled({ n: 4 });
  const key = (await a.post("/api/keys", { name: "n8n", role: "service" })).key;
  const narrow = (await a.post("/api/keys", { name: "narrow", role: "service", scopes: ["ask", "read"] })).key;
  const herons = () => a.request("/v1/chat/completions", { method: "POST", key, body: { model: "carrel:birds", messages: [{ role: "user", content: "When do the herons arrive?" }] } }).then((r) => r.json());
  await until("the rule is known", async () => (await herons()).carrel?.engine === "upstream", { every: 300 });
  const carrelApi = (id, name, apiKey, url = a.url) => ({ id, name, type: "carrelApi", data: { url, apiKey } });
  // the ids that the examples have, so that they run as they are
  await n.import("credentials", [
    carrelApi("carrel", "Carrel API", key),
    carrelApi("carrel-admin", "Carrel API (administrator)", a.key),
    carrelApi("wrongkey", "Wrong", `${key}x`),
    carrelApi("narrow", "Narrow", narrow),
    carrelApi("nobody", "Nobody", key, "http://127.0.0.1:9"),
    { id: "openai", name: "OpenAI", type: "openAiApi", data: { apiKey: key, url: `${a.url}/v1` } },
    { id: "ollama", name: "Ollama", type: "ollamaApi", data: { baseUrl: a.url, apiKey: key } },
    { id: "bearer", name: "Carrel", type: "httpBearerAuth", data: { token: key } },
    { id: "imap", name: "IMAP", type: "imap", data: { user: "documents", password: "x", host: "127.0.0.1", port: box.port, secure: false, allowUnauthorizedCerts: false } },
    { id: "smtp", name: "SMTP", type: "smtp", data: { user: "", password: "", host: "127.0.0.1", port: out.port, secure: false, disableStartTls: true } },
  ]);
  const run = async (w) => {
    await n.import("workflow", [w]);
    return n.execute(w.id);
  };

  const context = { step, run, n, a, key, told, got, files, box, mails: out.mails, upstream, here, PORT };
  await nodeSteps(context);
  await openaiSteps(context);
  await otherSteps(context);
  await serverSteps(context);
  await n.halt();
  await last(context);
} finally {
  if (process.env.CARREL_N8N_KEEP) console.log(n.folder);
  await n.stop();
  await a.stop();
  for (const s of [receiver, far]) {
    s.closeAllConnections();
    s.close();
  }
  box.close();
  out.close();
}
const failed = results.filter((r) => r[1] !== "ok").length;
console.log(`\nn8n ${n8nVersion} against ${binDir}`);
for (const [name, outcome, ms] of results) console.log(`${outcome.padEnd(7)} ${(ms / 1000).toFixed(1).padStart(6)} s  ${name}`);
console.log(`${results.length - failed} of ${results.length} hold`);
process.exit(failed === 0 && results.length > 0 ? 0 : 1);
