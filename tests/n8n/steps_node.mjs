// Each operation of our node, with what it should be given and with what it should not.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../service/appliance.mjs";
import { LONG } from "./n8n.mjs";
import { carrel, code, file, manual, text, workflow } from "./workflows.mjs";

const question = "How many weeks of parental leave at full pay?";

export default async ({ step, run, n, a, key }) => {
  await step("ask", async () => {
    const [r] = await run(workflow("ask", [manual, carrel({ resource: "answer", operation: "ask", question })]));
    assert.match(r.answer, /fourteen weeks/);
    assert.ok(r.id && JSON.stringify(r).includes("leave.txt"));
  });
  await step("search", async () => {
    const r = await run(workflow("search", [manual, carrel({ resource: "passage", operation: "search", query: "parental leave", limit: 3, options: { collection: "notes" } })]));
    assert.match(r[0].text, /fourteen weeks/);
    assert.equal(r[0].document.path, "notes/leave.txt");
  });
  const document = await step("ingest", async () => {
    const [r] = await run(workflow("ingest", [manual, text("note", "The canteen opens at noon."), file("canteen.txt"), carrel({ resource: "document", operation: "ingest", binaryProperty: "data", path: "notes/canteen.txt", wait: true })]));
    assert.equal(r.state, "ready");
    assert.equal(r.path, "notes/canteen.txt");
    return r.id;
  });
  await step("list, get and wait", async () => {
    const id = document ?? (await a.documents())[0].id; // alone, without the step before
    const w = workflow("list", [
      manual,
      { ...carrel({ resource: "document", operation: "getAll", returnAll: true, filters: { collection: "notes", state: "ready" } }), name: "List" },
      { ...carrel({ resource: "document", operation: "getAll", returnAll: false, limit: 2 }), name: "Two" },
      { ...carrel({ resource: "document", operation: "get", documentId: id }), name: "Get", executeOnce: true },
      { ...carrel({ resource: "document", operation: "wait", documentId: id }), name: "Wait" },
    ]);
    await n.import("workflow", [w]);
    const { by } = await n.executed(w.id);
    assert.ok(by.List.some((d) => d.json.path === "notes/leave.txt"));
    assert.equal(by.Two.length % 2, 0, "two for each item");
    for (const name of ["Get", "Wait"]) assert.equal(by[name][0].json.state, "ready");
  });
  await step("delete", async () => {
    const documentId = document ?? (await a.documents()).find((d) => d.path === "notes/parking.txt").id;
    const w = workflow("delete", [manual, carrel({ resource: "document", operation: "delete", documentId }), { ...carrel({ resource: "document", operation: "get", documentId }), name: "Again" }]);
    await n.import("workflow", [w]);
    await assert.rejects(n.execute(w.id), /no such|not there|not found/i);
  });
  await step("job: asked, fetched, cancelled", async () => {
    const [job] = await run(workflow("job", [manual, carrel({ resource: "answer", operation: "ask", question, asJob: true })]));
    await until("the job ends", async () => {
      // the connection from before n8n ran, which held this process up, may be gone
      const j = await a.request(`/api/jobs/${job.id}`, { key }).then((r) => r.json(), () => null);
      return j?.status === "completed";
    }, { timeout: LONG });
    const w = workflow("jobget", [manual, { ...carrel({ resource: "job", operation: "get", jobId: job.id }), name: "Get" }, { ...carrel({ resource: "job", operation: "cancel", jobId: job.id }), name: "Cancel" }]);
    await n.import("workflow", [w]);
    const { by } = await n.executed(w.id);
    assert.match(JSON.stringify(by.Get[0].json.result), /fourteen weeks/);
    assert.equal(by.Cancel.length, 1);
  });

  await step("wrong input: each error says what is wrong and what to do", async () => {
    const nobody = "0123456789abcdefghjkmnpqrs";
    const to = (id) => ({ carrelApi: { id, name: id } });
    const get = { resource: "document", operation: "get", documentId: nobody };
    const rows = [
      ["ask nothing", { resource: "answer", operation: "ask", question: " " }, /The question is empty/, /Fill in/],
      ["ask nowhere", { resource: "answer", operation: "ask", question, options: { collection: "no/where" } }, /collection|model/i],
      ["callback elsewhere", { resource: "answer", operation: "ask", question, asJob: true, options: { callbackUrl: "http://elsewhere.example/x" } }, /not one of the places/],
      ["search nothing", { resource: "passage", operation: "search", query: "={{ '' }}", limit: 3 }, /The query is empty/],
      ["search too many", { resource: "passage", operation: "search", query: "leave", limit: 100000 }, /top_k/],
      ["get by path", { resource: "document", operation: "get", documentId: "../keys" }, /not an ID/, /field "id"/],
      ["get none", get, /no such|not there|not found/i, /may not see it/],
      ["delete none", { resource: "document", operation: "delete", documentId: nobody }, /no such|not there|not found/i, /may not see it/],
      ["wait for none", { resource: "document", operation: "wait", documentId: nobody, timeout: 5 }, /There is no document/, /deleted/],
      ["ingest nothing", { resource: "document", operation: "ingest", binaryProperty: "data" }, /binary/i],
      ["job by name", { resource: "job", operation: "get", jobId: "my job" }, /not an ID/],
      ["job none", { resource: "job", operation: "get", jobId: nobody }, /no such|not there|not found/i],
      ["cancel none", { resource: "job", operation: "cancel", jobId: nobody }, /no such|not there|not found/i],
      ["list a state", { resource: "document", operation: "getAll", returnAll: true, filters: { state: "burnt" } }, /state/],
      ["wrong key", get, /key/i, /credential/, "wrongkey"],
      ["nobody there", get, /cannot be reached at http/, /Check the address/, "nobody"],
      ["a reader's key", { resource: "document", operation: "delete", documentId: nobody }, /scope|may not|role/i, /Scopes and groups/, "narrow"],
    ];
    const w = workflow(
      "wrong",
      [manual, ...rows.map(([name, parameters, , , credential]) => ({ ...carrel(parameters), name, onError: "continueRegularOutput", ...(credential && { credentials: to(credential) }) }))],
      { Begin: { main: [rows.map(([node]) => ({ node, type: "main", index: 0 }))] } },
    );
    await n.import("workflow", [w]);
    const { by } = await n.executed(w.id);
    const wrong = [];
    for (const [name, , error, message] of rows) {
      const json = by[name]?.[0]?.json ?? {};
      if (!error.test(json.error ?? "") || (message && !message.test(json.message ?? ""))) wrong.push(`${name}: ${JSON.stringify(json)}`);
    }
    assert.deepEqual(wrong, []);
    // without "continue" the workflow fails, and n8n shows the same words
    await assert.rejects(run(workflow("fails", [manual, carrel(get)])), /no such|not there|not found/i);
  });
  await step("several items: each answered, each paired with its own, one that fails beside them", async () => {
    const w = workflow("items", [
      manual,
      code("Items", 'return ["parental leave", "", "soup of the canteen"].map((query) => ({ json: { query } }));'),
      { ...carrel({ resource: "passage", operation: "search", query: "={{ $json.query }}", limit: 2 }), onError: "continueErrorOutput" },
      { name: "Good", type: "n8n-nodes-base.set", typeVersion: 3.4, parameters: { assignments: { assignments: [{ id: "1", name: "asked", value: "={{ $('Items').item.json.query }}", type: "string" }] }, includeOtherFields: true } },
      { name: "Bad", type: "n8n-nodes-base.noOp", parameters: {} },
    ]);
    w.connections.Carrel = { main: [[{ node: "Good", type: "main", index: 0 }], [{ node: "Bad", type: "main", index: 0 }]] };
    delete w.connections.Good;
    await n.import("workflow", [w]);
    const { by } = await n.executed(w.id);
    assert.deepEqual([...new Set(by.Good.map((i) => i.json.asked))], ["parental leave", "soup of the canteen"], "the pairs lead back to what was asked");
    assert.match(by.Good.find((i) => i.json.asked.startsWith("soup")).json.text, /Soup/);
    assert.deepEqual(by.Bad.map((i) => i.json.error), ["The query is empty"]);
  });
};

/** Last of all: many notes of three words, and one line 300,000 times, change what the encoder that is made of the documents knows. */
export const last = async ({ step, n, a, key, told, files }) => {
  await step("a large file goes through as a stream; waiting ends at its timeout", async () => {
    const line = "The archive keeps what nobody asks for any more, in boxes that nobody opens. ";
    files.set("/large.txt", Buffer.from(line.repeat(Math.ceil((24 << 20) / line.length))));
    const w = workflow("large", [
      manual,
      { name: "Fetch", type: "n8n-nodes-base.httpRequest", typeVersion: 4.2, parameters: { url: `${told}/large.txt`, options: { response: { response: { responseFormat: "file" } } } } },
      { ...carrel({ resource: "document", operation: "ingest", path: "archive/large.txt", wait: true, timeout: 1 }), onError: "continueRegularOutput" },
    ]);
    await n.import("workflow", [w]);
    const { by } = await n.executed(w.id);
    assert.ok(by.Fetch[0].binary.data.id, "n8n keeps files outside its memory, unless told otherwise");
    assert.match(by.Carrel[0].json.error, /is not ready after 1 s/);
    assert.match(by.Carrel[0].json.message, /Raise the timeout/);
    const d = await until("it is known", async () => (await a.documents()).find((x) => x.path === "archive/large.txt"), { timeout: LONG });
    assert.equal(d.size, files.get("/large.txt").length);
    assert.ok(readFileSync(join(a.watch, "archive/large.txt")).equals(files.get("/large.txt")), "byte for byte");
    assert.ok((await (await a.request("/api/jobs", { key })).json()).jobs.every((j) => j.kind !== "ingest" || !["queued", "running"].includes(j.status)), "no job is left behind");
    assert.equal((await a.request(`/api/documents/${d.id}`, { method: "DELETE" })).status, 200);
    files.delete("/large.txt");
  });
  await step("a list of more than one page", async () => {
    for (let i = 0; i < 620; i++) a.drop(`many/sheet-${i}.txt`, `Sheet number ${i}.`);
    await until("they are there", async () => (await a.get("/api/documents?collection=many&limit=700")).documents.filter((d) => d.state === "ready").length === 620, { timeout: LONG, every: 1000 });
    const w = workflow("many", [
      manual,
      { ...carrel({ resource: "document", operation: "getAll", returnAll: true, filters: { collection: "many" } }), name: "All" },
      { ...carrel({ resource: "document", operation: "getAll", returnAll: false, limit: 510, filters: { collection: "many" } }), name: "Some", executeOnce: true },
    ]);
    await n.import("workflow", [w]);
    const { by } = await n.executed(w.id);
    assert.equal(new Set(by.All.map((i) => i.json.path)).size, 620);
    assert.equal(new Set(by.Some.map((i) => i.json.path)).size, 510);
  });
};
