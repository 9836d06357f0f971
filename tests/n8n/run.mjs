// The acceptance test with a real n8n: every operation of our node and n8n's own OpenAI nodes by `n8n execute`, the
// trigger and the example workflows with a server, against a running appliance. Too heavy for every run:
//
//   CARREL_BIN=build/release/bin node tests/n8n/run.mjs [name...]
//
// CARREL_N8N_CACHE names the folder that n8n is installed in (default ~/.cache/carrel-n8n). Ends with 77 where n8n
// cannot be installed, and says so.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { readFileSync, readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { startAppliance, until } from "../service/appliance.mjs";
import { N8n, install } from "./n8n.mjs";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
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

/** Nodes one after another; ids of 16 characters, as n8n makes them. */
const workflow = (id, nodes, links = null, more = {}) => ({
  id: id.padEnd(16, "0"),
  name: id,
  active: false,
  nodes: nodes.map((n, i) => ({ id: `${id}-${i}`, position: [i * 200, 0], parameters: {}, typeVersion: 1, ...n })),
  connections: links ?? Object.fromEntries(nodes.slice(0, -1).map((n, i) => [n.name, { main: [[{ node: nodes[i + 1].name, type: "main", index: 0 }]] }])),
  settings: { executionOrder: "v1" },
  ...more,
});
const manual = { name: "Begin", type: "n8n-nodes-base.manualTrigger" };
const carrelKey = { carrelApi: { id: "carrel0000000000", name: "Carrel" } };
const openaiKey = { openAiApi: { id: "openai0000000000", name: "OpenAI" } };
const carrel = (parameters) => ({ name: "Carrel", type: "n8n-nodes-carrel.carrel", parameters, credentials: carrelKey });
const text = (field, value) => ({
  name: "Text",
  type: "n8n-nodes-base.set",
  typeVersion: 3.4,
  parameters: { assignments: { assignments: [{ id: "1", name: field, value, type: "string" }] } },
});

const got = [];
const receiver = createServer((q, a) => {
  const parts = [];
  q.on("data", (p) => parts.push(p));
  q.on("end", () => {
    got.push({ path: q.url, body: Buffer.concat(parts).toString() });
    a.writeHead(200, { "content-type": "application/json" }).end("{}");
  });
});
await new Promise((done) => receiver.listen(0, "127.0.0.1", done));
const told = `http://127.0.0.1:${receiver.address().port}`;

const a = await startAppliance({ config: `http:\n  requests_per_minute: 0\nwebhooks:\n  allow: ["http://127.0.0.1:${PORT}", "${told}"]\n` });
const n = new N8n(PORT);
try {
  a.drop("notes/leave.txt", "Parental leave is fourteen weeks at full pay. Parental leave begins on the day of birth.");
  a.drop("notes/canteen-menu.txt", "The menu of the canteen changes on Mondays. Soup is served every day.");
  a.drop("notes/parking.txt", "Parking permits are given out at the gate in the morning.");
  await a.settled({ n: 3 });
  const key = (await a.post("/api/keys", { name: "n8n", role: "service" })).key;
  n.import("credentials", [
    { id: carrelKey.carrelApi.id, name: "Carrel", type: "carrelApi", data: { url: a.url, apiKey: key } },
    { id: openaiKey.openAiApi.id, name: "OpenAI", type: "openAiApi", data: { apiKey: key, url: `${a.url}/v1` } },
  ]);
  const run = (w) => {
    n.import("workflow", [w]);
    return n.execute(w.id);
  };

  // ---- our node ----
  await step("ask", () => {
    const [r] = run(workflow("ask", [manual, carrel({ resource: "answer", operation: "ask", question: "How many weeks of parental leave at full pay?" })]));
    assert.match(r.answer, /fourteen weeks/);
    assert.ok(r.id && JSON.stringify(r).includes("leave.txt"));
  });
  await step("search", () => {
    const r = run(workflow("search", [manual, carrel({ resource: "passage", operation: "search", query: "parental leave", limit: 3, options: { collection: "notes" } })]));
    assert.match(r[0].text, /fourteen weeks/);
    assert.equal(r[0].document.path, "notes/leave.txt");
  });
  const document = await step("ingest", () => {
    const [r] = run(
      workflow("ingest", [
        manual,
        text("note", "The canteen opens at noon."),
        { name: "File", type: "n8n-nodes-base.convertToFile", typeVersion: 1.1, parameters: { operation: "toText", sourceProperty: "note", options: { fileName: "canteen.txt" } } },
        carrel({ resource: "document", operation: "ingest", binaryProperty: "data", path: "notes/canteen.txt", wait: true }),
      ]),
    );
    assert.equal(r.state, "ready");
    assert.equal(r.path, "notes/canteen.txt");
    return r.id;
  });
  await step("list", () => {
    const r = run(workflow("list", [manual, carrel({ resource: "document", operation: "getAll", returnAll: true, filters: { collection: "notes", state: "ready" } })]));
    assert.ok(r.some((d) => d.path === "notes/leave.txt"));
  });
  await step("get and wait", () => {
    for (const operation of ["get", "wait"]) {
      const [r] = run(workflow(operation, [manual, carrel({ resource: "document", operation, documentId: document ?? "none" })]));
      assert.equal(r.state, "ready");
    }
  });
  await step("delete", () => {
    const [r] = run(workflow("delete", [manual, carrel({ resource: "document", operation: "delete", documentId: document ?? "none" })]));
    assert.equal(r.deleted, true);
    assert.throws(() => run(workflow("deleteagain", [manual, carrel({ resource: "document", operation: "get", documentId: document ?? "none" })])), /rc 1/);
  });
  await step("job", async () => {
    const [job] = run(workflow("job", [manual, carrel({ resource: "answer", operation: "ask", question: "How many weeks of parental leave at full pay?", asJob: true })]));
    const done = await until("the job ends", async () => {
      // the connection from before n8n ran, which held this process up, may be gone
      const j = await a.request(`/api/jobs/${job.id}`, { key }).then((r) => r.json(), () => null);
      return j?.status === "completed";
    });
    assert.ok(done);
    const [r] = run(workflow("jobget", [manual, carrel({ resource: "job", operation: "get", jobId: job.id })]));
    assert.match(JSON.stringify(r.result), /fourteen weeks/);
    run(workflow("jobcancel", [manual, carrel({ resource: "job", operation: "cancel", jobId: job.id })]));
  });
  await step("errors are told, and may be gone on from", () => {
    const bad = carrel({ resource: "document", operation: "get", documentId: "../keys" });
    assert.throws(() => run(workflow("bad", [manual, bad])), /not an ID/);
    const [r] = run(workflow("badgoes", [manual, { ...bad, onError: "continueRegularOutput" }]));
    assert.match(r.error, /not an ID/);
  });

  // ---- n8n's own OpenAI nodes ----
  const chain = (id, typeVersion, parameters = {}) =>
    workflow(
      id,
      [
        manual,
        { name: "Chain", type: "@n8n/n8n-nodes-langchain.chainLlm", typeVersion: 1.7, parameters: { promptType: "define", text: "How many weeks of parental leave at full pay?" } },
        { name: "Model", type: "@n8n/n8n-nodes-langchain.lmChatOpenAi", typeVersion, parameters: { model: { __rl: true, mode: "id", value: "carrel" }, ...parameters }, credentials: openaiKey },
      ],
      { Begin: { main: [[{ node: "Chain", type: "main", index: 0 }]] }, Model: { ai_languageModel: [[{ node: "Chain", type: "ai_languageModel", index: 0 }]] } },
    );
  await step("OpenAI chat model 1.3 (responses)", () => assert.match(JSON.stringify(run(chain("chat13", 1.3))), /fourteen weeks/));
  await step("OpenAI chat model 1.3 (chat completions)", () => assert.match(JSON.stringify(run(chain("chat13c", 1.3, { responsesApiEnabled: false }))), /fourteen weeks/));
  await step("OpenAI chat model 1.2", () => assert.match(JSON.stringify(run(chain("chat12", 1.2))), /fourteen weeks/));
  await step("OpenAI node 2 (response)", () => {
    const r = run(workflow("openai2", [manual, { name: "OpenAI", type: "@n8n/n8n-nodes-langchain.openAi", typeVersion: 2, parameters: { resource: "text", operation: "response", modelId: { __rl: true, mode: "id", value: "carrel" }, responses: { values: [{ content: "How many weeks of parental leave at full pay?" }] } }, credentials: openaiKey }]));
    assert.match(JSON.stringify(r), /fourteen weeks/);
  });
  await step("embeddings (base64)", () => {
    const store = { memoryKey: { __rl: true, mode: "id", value: "acceptance" } };
    const embeddings = { name: "Embeddings", type: "@n8n/n8n-nodes-langchain.embeddingsOpenAi", typeVersion: 1.2, parameters: { model: "carrel-embed" }, credentials: openaiKey };
    const r = run(
      workflow(
        "embed",
        [
          manual,
          text("note", "Leave is fourteen weeks."),
          { name: "Store", type: "@n8n/n8n-nodes-langchain.vectorStoreInMemory", typeVersion: 1.3, parameters: { mode: "insert", ...store } },
          { name: "Loader", type: "@n8n/n8n-nodes-langchain.documentDefaultDataLoader", typeVersion: 1.1, parameters: {} },
          embeddings,
          { name: "Find", type: "@n8n/n8n-nodes-langchain.vectorStoreInMemory", typeVersion: 1.3, parameters: { mode: "load", prompt: "leave", topK: 1, ...store } },
        ],
        {
          Begin: { main: [[{ node: "Text", type: "main", index: 0 }]] },
          Text: { main: [[{ node: "Store", type: "main", index: 0 }]] },
          Store: { main: [[{ node: "Find", type: "main", index: 0 }]] },
          Loader: { ai_document: [[{ node: "Store", type: "ai_document", index: 0 }]] },
          Embeddings: { ai_embedding: [[{ node: "Store", type: "ai_embedding", index: 0 }, { node: "Find", type: "ai_embedding", index: 0 }]] },
        },
      ),
    );
    assert.match(JSON.stringify(r), /fourteen weeks/);
  });

  // ---- the example workflows: n8n takes them as they are ----
  await step("example workflows are imported", () => {
    const dir = join(root, "serve/n8n/workflows");
    const files = readdirSync(dir).filter((f) => f.endsWith(".json"));
    assert.equal(files.length, 3);
    n.import("workflow", files.map((f, i) => ({ ...JSON.parse(readFileSync(join(dir, f), "utf8")), id: `example${i}`.padEnd(16, "0") })));
  });

  // ---- the trigger, with a server ----
  await step("trigger", async () => {
    const w = workflow("trigger", [
      { name: "Trigger", type: "n8n-nodes-carrel.carrelTrigger", parameters: { events: ["document.ingested", "document.failed"] }, credentials: carrelKey, webhookId: "6f1f1d3e-0000-4000-8000-000000000001" },
      { name: "Tell", type: "n8n-nodes-base.httpRequest", typeVersion: 4.2, parameters: { method: "POST", url: `${told}/told`, sendBody: true, specifyBody: "json", jsonBody: "={{ JSON.stringify($json) }}" } },
    ]);
    const ticket = JSON.parse(readFileSync(join(root, "serve/n8n/workflows/ticket-answer.json"), "utf8"));
    ticket.id = "ticket0000000000";
    for (const node of ticket.nodes) if (node.credentials?.carrelApi) node.credentials = carrelKey;
    n.import("workflow", [w, ticket]);
    for (const one of [w, ticket]) {
      const p = n.run(["publish:workflow", `--id=${one.id}`]);
      assert.equal(p.rc, 0, p.out + p.err);
    }
    await n.start();
    const hook = await until("n8n registers its webhook", async () => (await a.get("/api/webhooks").catch(() => ({ webhooks: [] }))).webhooks.find((x) => x.url.startsWith(`http://127.0.0.1:${PORT}/`)), { timeout: 60_000 });
    assert.deepEqual([...hook.events].sort(), ["document.failed", "document.ingested"]);
    await until("n8n answers at it", async () => (await fetch(hook.url, { method: "POST", body: "{}", headers: { "content-type": "application/json" } })).status === 401, { timeout: 60_000 });
    a.drop("notes/told.txt", "n8n is told of this.");
    const call = await until("the workflow ran", async () => got.find((g) => g.path === "/told"), { timeout: 60_000 });
    const event = JSON.parse(call.body);
    assert.equal(event.type, "document.ingested");
    assert.equal(event.data.path, "notes/told.txt");
    const forged = await fetch(hook.url, { method: "POST", body: call.body, headers: { "content-type": "application/json", "webhook-id": "x", "webhook-timestamp": String(Math.floor(Date.now() / 1000)), "webhook-signature": "v1,AAAA" } });
    assert.equal(forged.status, 401, "a forged call starts nothing");
    // the example, as it is but for the credential
    const ask = (body) => fetch(`http://127.0.0.1:${PORT}/webhook/carrel-ticket`, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });
    const reply = await until("the ticket is answered", async () => {
      const r = await ask({ subject: "Leave", text: "How many weeks of parental leave at full pay?" });
      return r.ok && r.json();
    }, { timeout: 60_000 });
    assert.equal(reply.answered, true);
    assert.match(reply.answer, /fourteen weeks/);
    assert.ok(reply.sources.some((x) => x.includes("leave.txt")));
    assert.equal((await (await ask({ subject: "Quantum", text: "Chromodynamics of gluons?" })).json()).answered, false);
  });
} finally {
  if (process.env.CARREL_N8N_KEEP) console.log(n.folder);
  await n.stop();
  await a.stop();
  receiver.close();
}
const failed = results.filter((r) => r[1] !== "ok").length;
console.log(`${results.length - failed} of ${results.length} hold`);
process.exit(failed === 0 ? 0 : 1);
