// Evaluation over a whole appliance: a run, its history, a comparison, stopping, and who may.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { binDir, startAppliance, until } from "./appliance.mjs";

const execute = promisify(execFile);
const subjects = ["parental leave", "travel expenses", "fire drills", "visitor badges", "server backups", "coffee machines", "bicycle storage",
  "meeting rooms", "annual audits", "supplier contracts", "data protection", "office plants", "lift maintenance", "key handover", "waste sorting"];
const places = ["north tower", "harbour site"];
let a;

function text(subject, place) {
  return `# Rules for ${subject} at the ${place}\n\nThese rules describe how ${subject} are organised by the team at the ${place}.\n\n` +
    `## Applying for ${subject} in advance\n\nA ${subject} coordinator means the person who handles ${subject} at the ${place}. ` +
    `Requests are answered within three working days by the coordinator of the ${place}.\n\n` +
    `## Common questions\n\nWho pays when ${subject} at the ${place} become more expensive than planned? The department that asked for it does.\n`;
}

before(async () => {
  a = await startAppliance();
  for (const s of subjects) for (const p of places) a.drop(`${p.replace(" ", "-")}/${s.replace(" ", "-")}.md`, text(s, p));
  await a.settled({ n: subjects.length * places.length });
});
after(() => a?.stop());

async function finished() {
  return until("the evaluation to end", async () => {
    const s = await a.get("/api/eval");
    return !s.running && s;
  });
}

test("a run measures, is kept, and the next one asks the same", async () => {
  assert.deepEqual((await a.get("/api/eval")).runs, []);
  const started = await a.post("/api/eval", {});
  assert.equal(started.running, true);
  const s = await finished();
  assert.equal(s.failed, undefined);
  assert.equal(s.runs.length, 1);
  const all = s.runs[0].all;
  assert.equal(s.runs[0].documents, 30);
  assert.ok(all.questions >= 60, `only ${all.questions} questions`);
  for (const m of ["recall_5", "recall_20", "ndcg_10", "mrr_10"]) {
    assert.ok(all[m].low <= all[m].mean && all[m].mean <= all[m].high, JSON.stringify(all[m]));
  }
  assert.ok(all.recall_5.mean <= all.recall_20.mean);
  assert.ok(all.ndcg_10.mean > 0.5, JSON.stringify(all.ndcg_10)); // it is found, mostly
  assert.ok(all.ndcg_10.mean < 1); // and the questions are not the text itself
  assert.deepEqual(s.runs[0].collections.map((c) => c.collection).sort(), ["harbour-site", "north-tower"]);
  assert.equal(s.runs[0].collections.reduce((n, c) => n + c.questions, 0), all.questions);

  await a.post("/api/eval", {});
  const again = await finished();
  assert.equal(again.runs.length, 2);
  assert.deepEqual(again.runs[0].all, again.runs[1].all); // nothing changed, so nothing differs
  const d = await a.get(`/api/eval?a=${again.runs[1].id}&b=${again.runs[0].id}`);
  assert.equal(d.difference.questions, all.questions);
  assert.deepEqual(d.difference.ndcg_10, { mean: 0, low: 0, high: 0 });
});

test("configurations are compared on the same questions", async () => {
  await a.post("/api/eval", { configurations: [{ mode: "bm25" }, { mode: "default" }], questions: 40 });
  const s = await finished();
  assert.equal(s.failed, undefined);
  const [ranked, plain] = s.runs;
  assert.equal(plain.mode, "bm25");
  assert.equal(ranked.mode, "default");
  const d = (await a.get(`/api/eval?a=${plain.id}&b=${ranked.id}`)).difference;
  assert.equal(d.questions, 40);
  assert.ok(Math.abs(d.ndcg_10.mean - (ranked.all.ndcg_10.mean - plain.all.ndcg_10.mean)) < 1e-5);
  await a.post("/api/eval", { configurations: [{ mode: "bm25" }, { encoder: "no-such-encoder" }] });
  const none = await finished();
  assert.match(none.failed, /no-such-encoder/); // not measured without its vectors
  assert.equal(none.runs.length, s.runs.length);
  const r = await a.request("/api/eval?a=1&b=999");
  assert.equal(r.status, 404);
  await a.post("/api/eval", { configurations: [{ mode: "fused" }, { mode: "default" }], questions: 40 });
  const [reranked, fused] = (await finished()).runs;
  assert.equal(fused.mode, "fused");
  assert.deepEqual(fused.all, reranked.all); // there is no reranker
  assert.equal((await a.request("/api/eval", {
    method: "POST", headers: { "content-type": "application/json" }, body: '{"configurations":[{"mode":"best"}]}',
  })).status, 400);
});

test("the command line runs, compares and shows the history", async () => {
  const carrel = (...args) => execute(join(binDir, "carrel"), [...args, "--home", a.home]);
  const run = await carrel("eval", "--json");
  assert.equal(JSON.parse(run.stdout).running, false);
  assert.match((await carrel("eval", "history")).stdout, /nDCG@10 from 0 to 1.*[▁▂▃▄▅▆▇█]/);
  assert.match((await carrel("eval", "compare", "bm25", "default")).stdout, /difference +\d+ +[+-]0\.\d{3} \[/);
  await assert.rejects(carrel("eval", "compare", "bm25"), (e) => e.code === 2);
});

test("a vanished document takes its questions with it; figures hold no text", async () => {
  const before = (await a.get("/api/eval")).runs[0];
  const doc = (await a.documents()).find((d) => d.path.includes("office-plants"));
  assert.equal((await a.request(`/api/documents/${doc.id}`, { method: "DELETE" })).status, 200);
  await a.post("/api/eval", {});
  const s = await finished();
  assert.equal(s.runs[0].documents, 29);
  assert.ok(s.runs[0].all.questions <= before.all.questions);
  const files = readdirSync(join(a.home, "tenants"), { recursive: true }).filter((f) => f.includes("eval.db"));
  assert.ok(files.length >= 1);
  const file = files.map((f) => readFileSync(join(a.home, "tenants", f)).toString("latin1")).join("");
  for (const word of ["office plants", "coordinator", "Rules for"]) assert.ok(!file.includes(word), word);
});

test("one at a time, stopped on demand, for administrators only", async () => {
  await a.post("/api/eval", { questions: 1000, configurations: [{}, { mode: "text" }, { mode: "bm25" }, { mode: "fused" }] });
  const second = await a.request("/api/eval", { method: "POST", body: {} });
  assert.equal(second.status, 429);
  assert.equal((await a.request("/api/eval", { method: "DELETE" })).status, 200);
  const s = await finished();
  assert.match(s.failed, /stopped/);

  const k = await a.post("/api/keys", { name: "reader", groups: ["staff"] });
  for (const method of ["GET", "DELETE"]) assert.equal((await a.request("/api/eval", { method, key: k.key })).status, 403);
  assert.equal((await a.request("/api/eval", { method: "POST", body: {}, key: k.key })).status, 403);
});

test("thumbs are the asker's own, and a liked answer becomes a question", async () => {
  const ask = async (key) => {
    const r = await a.request("/v1/chat/completions", { method: "POST", key, body: { model: "carrel", messages: [{ role: "user", content: "Who answers requests for bicycle storage at the harbour site?" }] } });
    assert.equal(r.status, 200);
    const j = await r.json();
    return { ...j.carrel, citations: j.citations };
  };
  const say = (body, key = a.key) => a.request("/api/feedback", { method: "POST", key, body });
  const mine = await ask(a.key);
  assert.ok(mine.citations.length > 0);
  const k = await a.post("/api/keys", { name: "other", groups: ["staff"] });
  assert.equal((await say({ answer: mine.answer_id, verdict: "up" }, k.key)).status, 404);
  assert.equal((await say({ answer: mine.answer_id, verdict: "up", passage: 999 })).status, 404);
  for (const bad of [{ verdict: "up" }, { answer: mine.answer_id, verdict: "great" }, { answer: mine.answer_id, verdict: "up", passage: 0 }, { answer: mine.answer_id, verdict: "up", comment: "x".repeat(1001) }]) {
    assert.equal((await say(bad)).status, 400, JSON.stringify(bad));
  }
  await a.post("/api/eval", { questions: 100 });
  const before = (await finished()).runs[0];
  const r = await say({ answer: mine.answer_id, verdict: "up", comment: "just right" });
  assert.deepEqual(await r.json(), { verdict: "up" });
  const of = (run) => run.all.questions - run.collections.reduce((n, c) => n + c.questions, 0); // people's have no collection
  assert.equal(of(before), 0);
  await a.post("/api/eval", { questions: 100 });
  assert.equal(of((await finished()).runs[0]), 1);
  assert.equal((await say({ answer: mine.answer_id, verdict: "none" })).status, 200);
  await a.post("/api/eval", { questions: 100 });
  assert.equal(of((await finished()).runs[0]), 0);

  // erasing what it cites takes the answer, the thumb and the comment along
  assert.equal((await say({ answer: mine.answer_id, verdict: "up", comment: "peculiarremark" })).status, 200);
  const erasure = await a.post("/api/erasures", { documents: mine.citations.map((c) => c.document.id) });
  await until("the erasure to end", async () => (await a.get(`/api/erasures/${erasure.id}`)).state === "done");
  const files = readdirSync(join(a.home, "tenants"), { recursive: true }).filter((f) => f.includes("serve.db"));
  for (const f of files) assert.ok(!readFileSync(join(a.home, "tenants", f)).includes("peculiarremark"), f);
  assert.equal((await say({ answer: mine.answer_id, verdict: "up" })).status, 404);
});

test("an administrator sees thumbs and the questions that found nothing", async () => {
  const ask = async (content) => (await a.post("/v1/chat/completions", { model: "carrel", messages: [{ role: "user", content }] })).carrel;
  const before = await a.get("/api/feedback");
  const good = await ask("Who answers requests for fire drills at the north tower?");
  for (let i = 0; i < 2; i++) assert.equal((await ask("Which quarterback won in Cincinnati?")).refused, true);
  await a.post("/api/feedback", { answer: good.answer_id, verdict: "down", comment: "wrong tower" });
  await a.post("/api/feedback", { answer: good.answer_id, verdict: "up", passage: 1 });
  const s = await a.get("/api/feedback?days=7");
  assert.equal(s.answers, before.answers + 3);
  assert.equal(s.refused, before.refused + 2);
  assert.equal(s.disliked, before.disliked + 1);
  assert.equal(s.passages_liked, before.passages_liked + 1);
  assert.equal(s.unanswered[0].question, "Which quarterback won in Cincinnati?");
  assert.equal(s.unanswered[0].times, 2);
  assert.deepEqual([s.comments[0].comment, s.comments[0].verdict, s.comments[0].answer], ["wrong tower", "down", good.answer_id]);
  assert.equal((await a.get(`/api/answers/${s.unanswered[0].answer}`)).outcome, "refused");
  const k = await a.post("/api/keys", { name: "curious", groups: ["staff"] });
  assert.equal((await a.request("/api/feedback", { key: k.key })).status, 403);
  for (const q of ["days=0", "days=x", "days=9999"]) assert.equal((await a.request(`/api/feedback?${q}`)).status, 400, q);
});

test("bad requests are told what is wrong", async () => {
  for (const body of [{ questions: 5 }, { configurations: {} }, { configurations: [{ mode: "best" }] }, { configurations: [1] }, { configurations: [{}, {}, {}, {}, {}] }]) {
    const r = await a.request("/api/eval", { method: "POST", body });
    assert.equal(r.status, 400, JSON.stringify(body));
  }
  for (const q of ["a=x", "b=-1", "history=101"]) assert.equal((await a.request(`/api/eval?${q}`)).status, 400, q);
});
