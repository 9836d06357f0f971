// What needs n8n as a server: the trigger, the three examples, and jobs that wake a workflow that waits.
import assert from "node:assert/strict";
import { join } from "node:path";
import { until } from "../service/appliance.mjs";
import { message } from "./mail.mjs";
import { LONG } from "./n8n.mjs";
import { carrel, carrelKey, example, file, tell, text, workflow } from "./workflows.mjs";

const question = "How many weeks of parental leave at full pay?";

export default async ({ step, n, a, told, got, box, mails, here, PORT }) => {
  const ticket = example("ticket-answer"), mail = example("mail-to-carrel"), nightly = example("nightly-evaluation");
  const all = [ticket, mail, nightly];
  const at = (path) => `http://127.0.0.1:${PORT}/webhook/${path}`;
  const begin = (path) => ({ name: "Hook", type: "n8n-nodes-base.webhook", typeVersion: 2, webhookId: `6f1f1d3e-0000-4000-8000-${path.padEnd(12, "0").slice(0, 12)}`, parameters: { httpMethod: "POST", path, responseMode: "onReceived", options: {} } });
  const wait = { name: "Wait", type: "n8n-nodes-base.wait", typeVersion: 1.1, webhookId: "6f1f1d3e-0000-4000-8000-0000000000ab", parameters: { resume: "webhook", httpMethod: "POST", limitWaitTime: true, limitType: "afterTimeInterval", resumeAmount: 5, resumeUnit: "minutes", options: {} } };
  const callbackUrl = "={{ $execution.resumeUrl }}";

  await step("the examples are what n8n's node descriptions say", async () => {
    const said = await n.script(join(here, "check_workflows.cjs"), ...["ticket-answer", "mail-to-carrel", "nightly-evaluation"].map((f) => join(here, `../../serve/n8n/workflows/${f}.json`)));
    assert.match(said, /^0 issues$/m, said);
  });

  await step("the server, with the examples published", async () => {
    // what somebody who takes an example changes: Carrel's address, and here the hour, which is every minute
    for (const node of nightly.nodes) {
      if (node.parameters.url) node.parameters.url = node.parameters.url.replace("http://localhost:8642", a.url);
      if (node.type.endsWith("scheduleTrigger")) node.parameters.rule.interval = [{ field: "minutes", minutesInterval: 1 }];
    }
    const trigger = workflow("trigger", [{ name: "Trigger", type: "n8n-nodes-carrel.carrelTrigger", parameters: { events: ["document.ingested", "document.failed"] }, credentials: carrelKey, webhookId: "6f1f1d3e-0000-4000-8000-000000000001" }, tell(`${told}/told`)]);
    const askjob = workflow("askjob", [begin("askjob"), carrel({ resource: "answer", operation: "ask", question, asJob: true, options: { collection: "notes", callbackUrl } }), wait, tell(`${told}/asked`)]);
    const ingestjob = workflow("ingestjob", [begin("ingestjob"), text("note", "The sauna is open on Fridays."), file("sauna.txt"), carrel({ resource: "document", operation: "ingest", binaryProperty: "data", path: "notes/sauna.txt", asJob: true, jobOptions: { callbackUrl } }), { ...wait, webhookId: "6f1f1d3e-0000-4000-8000-0000000000ac" }, tell(`${told}/ingested`)]);
    all.push(trigger, askjob, ingestjob);
    await n.import("workflow", all);
    for (const one of all) {
      const p = await n.run(["publish:workflow", `--id=${one.id}`]);
      assert.equal(p.rc, 0, p.out + p.err);
    }
    await n.start();
  });

  await step("trigger", async () => {
    const hook = await until("n8n registers its webhook", async () => (await a.get("/api/webhooks").catch(() => ({ webhooks: [] }))).webhooks.find((x) => x.url.startsWith(`http://127.0.0.1:${PORT}/`)), { timeout: LONG });
    assert.deepEqual([...hook.events].sort(), ["document.failed", "document.ingested"]);
    await until("n8n answers at it", async () => (await fetch(hook.url, { method: "POST", body: "{}", headers: { "content-type": "application/json" } })).status === 401, { timeout: LONG });
    a.drop("notes/told.txt", "n8n is told of this.");
    const call = await until("the workflow ran", async () => got.find((g) => g.path === "/told" && g.body.includes("told.txt")), { timeout: LONG });
    const event = JSON.parse(call.body);
    assert.equal(event.type, "document.ingested");
    assert.equal(event.data.path, "notes/told.txt");
    const forged = await fetch(hook.url, { method: "POST", body: call.body, headers: { "content-type": "application/json", "webhook-id": "x", "webhook-timestamp": String(Math.floor(Date.now() / 1000)), "webhook-signature": "v1,AAAA" } });
    assert.equal(forged.status, 401, "a forged call starts nothing");
  });

  await step("example: a ticket is answered with its sources, or given to a person", async () => {
    const ask = (body) => fetch(at("carrel-ticket"), { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });
    const reply = await until("the ticket is answered", async () => {
      const r = await ask({ subject: "Leave", text: question });
      return r.ok && r.json();
    }, { timeout: LONG });
    assert.equal(reply.answered, true);
    assert.match(reply.answer, /fourteen weeks/);
    assert.ok(reply.sources.some((x) => x.includes("leave.txt")));
    assert.equal((await (await ask({ subject: "Quantum", text: "Chromodynamics of gluons?" })).json()).answered, false);
  });

  await step("example: what is attached to a mail can be found, and somebody is told by mail", async () => {
    await until("n8n has opened the mailbox", async () => box.isOpen(), { timeout: LONG });
    box.deliver(message({
      from: "Anna <anna@example.org>", to: "documents@example.org", subject: "Two files", text: "See the files.",
      files: [{ name: "sauna rules.txt", type: "text/plain", content: "The sauna is heated to ninety degrees on Thursdays." }, { name: "broken.docx", type: "application/vnd.openxmlformats-officedocument.wordprocessingml.document", content: "PK\x03\x04 this is no archive" }],
    }));
    const there = await until("the mail that says so", async () => mails.find((m) => m.subject.startsWith("Can be found")), { timeout: LONG });
    assert.equal(there.subject, "Can be found: mail/sauna rules.txt");
    assert.deepEqual(there.to, ["documents@example.org"]);
    assert.match(there.text, /came by mail and can be found now/);
    const failed = await until("the mail of the broken one", async () => mails.find((m) => m.subject === "Could not be read"), { timeout: LONG });
    assert.match(failed.text, /could not be read/);
    assert.doesNotMatch(there.text + failed.text, /undefined|\{\{/);
    assert.ok(box.messages[0].seen, "n8n has marked it as read");
    const found = await a.post("/api/search", { query: "How hot is the sauna?", collections: ["mail"] });
    assert.match(found.passages[0].text, /ninety degrees/);
  });

  for (const [path, answer, what] of [["askjob", "/asked", /fourteen weeks/], ["ingestjob", "/ingested", /"state":"ready"/]]) {
    await step(`${path}: 202, and the callback wakes the workflow that waits`, async () => {
      await until("n8n takes it", async () => (await fetch(at(path), { method: "POST", body: "{}", headers: { "content-type": "application/json" } })).ok, { timeout: LONG });
      const call = await until("the callback woke it", async () => got.find((g) => g.path === answer), { timeout: LONG }); // a callback that comes before n8n waits is tried again after 8, 32 and 128 s
      const { body, headers } = JSON.parse(call.body);
      assert.equal(body.data?.status ?? body.status, "completed", call.body);
      assert.match(JSON.stringify(body), what);
      assert.match(headers["webhook-signature"], /^v1,/);
      const job = await a.get(`/api/jobs/${body.data?.id ?? body.id}`).catch(() => null);
      assert.equal(job, null, "a job is its maker's alone");
    });
  }

  await step("example: the report on what was found comes by mail", async () => {
    const report = await until("the report", async () => mails.find((m) => m.subject.startsWith("Carrel: how well")), { timeout: LONG, every: 1000 });
    assert.match(report.text, /Over [1-9]\d* questions of your own/);
    for (const figure of ["ndcg_10", "recall_5", "recall_20", "mrr_10"]) assert.match(report.text, new RegExp(`${figure}: [01]\\.\\d{3} \\(the run before: `));
    const { runs } = await a.get("/api/eval");
    assert.match(report.text, new RegExp(`Over ${runs.at(-1).all.questions} questions`), "the figures are those of the run");
  });
};
