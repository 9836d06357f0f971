// A client that works without a pause (asks, streams, uploads, administers, has jobs done) and writes down what it was told is done;
// and the comparison of that with what is there. For gateway.test.mjs.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createServer } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { binDir, until } from "../service/appliance.mjs";

const PATIENCE_MS = 20_000;

/** Numerical Recipes' generator: repeatable is all that is asked. */
export function random(seed) {
  let s = seed >>> 0;
  return (n) => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return Math.floor((s / 2 ** 32) * n);
  };
}

/** Who is told of documents: every delivery that it took, by what it says. */
export async function listener() {
  const took = new Map(); // path -> Set of delivery ids
  let held = null; // what waits for its reply
  const server = createServer((q, r) => {
    let body = "";
    q.on("data", (d) => (body += d)).on("end", () => {
      if (held) held.push(r);
      else r.writeHead(204).end();
      const said = JSON.parse(body);
      if (said.type === "document.ingested") took.set(said.data.path, (took.get(said.data.path) ?? new Set()).add(q.headers["webhook-id"]));
    });
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  /** From now on nobody is replied to, until what this gives back is called. */
  const hold = () => {
    const waiting = (held = []);
    return { waiting, release: () => { held = null; for (const r of waiting) r.writeHead(204).end(); } };
  };
  return { took, hold, url: `http://127.0.0.1:${server.address().port}`, close: () => (server.closeAllConnections(), server.close()) };
}

export class Client {
  /** at(): the appliance as it is now. customer: the key that asks, {id, key}. */
  constructor(at, customer, seed) {
    Object.assign(this, { at, customer, rnd: random(seed), n: 0, working: false, errors: new Map() });
    this.shown = new Set(); // words of questions of whose answers something was shown
    this.begun = new Set(); // words of all questions
    this.answers = new Map(); // word -> {answer, conversation}
    this.documents = new Map(); // path -> text
    this.files = new Set();
    this.responses = new Set();
    this.users = new Map(); // id -> disabled
    this.keys = new Map(); // id -> {key, revoked: true | false | "asked"}
    this.jobs = new Map(); // id -> status that was told
    this.charged = []; // when each request of the customer was answered
    this.sent = 0; // requests of the customer
  }

  begin(workers = 6) {
    this.working = true;
    const turns = [this.ask, this.stream, this.upload, this.administer, this.job, this.file, this.respond, this.search];
    const work = async () => {
      while (this.working) {
        const i = this.n++;
        try {
          await turns[i % turns.length].call(this, i);
        } catch (e) {
          if (e instanceof assert.AssertionError) throw e;
          this.errors.set(e.message, (this.errors.get(e.message) ?? 0) + 1);
          await sleep(30);
        }
      }
    };
    this.work = Promise.all(Array.from({ length: workers }, work));
    this.work.catch(() => (this.working = false));
  }

  async end() {
    this.working = false;
    await this.work;
  }

  /** The answer when it is whole. Refusals are plain (503, 429, ...) or it is an error of this test. */
  async call(method, path, body, key = this.at().key, headers = {}) {
    const r = await this.at().request(path, { method, body, key, headers, signal: AbortSignal.timeout(PATIENCE_MS) });
    const json = await r.json();
    if (r.status >= 400) {
      assert.ok([429, 502, 503, 504, 507].includes(r.status) || (r.status === 500 && /interrupted|ended/.test(json.error?.message)), `${method} ${path}: ${r.status} ${JSON.stringify(json)}`);
      assert.ok(json.error?.message?.length > 3, `${method} ${path}: ${r.status} says why: ${JSON.stringify(json)}`);
      throw new Error(`${r.status} ${json.error.code}`);
    }
    return json;
  }

  question(i) {
    const word = `ask${i}q`;
    this.begun.add(word);
    this.sent++;
    return { word, body: { model: "carrel", messages: [{ role: "user", content: `Where do visitors park their cars? ${word}` }], ...(this.rnd(2) ? { conversation: "new" } : {}) } };
  }

  told(word, reply) {
    this.shown.add(word);
    this.charged.push(Date.now());
    this.answers.set(word, { answer: reply.carrel.answer_id, conversation: reply.carrel.conversation });
  }

  async ask(i) {
    const { word, body } = this.question(i);
    this.told(word, await this.call("POST", "/v1/chat/completions", body, this.customer.key));
  }

  async stream(i) {
    const { word, body } = this.question(i);
    const r = await this.at().request("/v1/chat/completions", { method: "POST", body: { ...body, stream: true }, key: this.customer.key, signal: AbortSignal.timeout(PATIENCE_MS) });
    let text = "";
    let last = {};
    const leaves = this.rnd(5) === 0;
    for await (const piece of r.body.pipeThrough(new TextDecoderStream())) {
      text += piece;
      if (text.includes('"content":"')) {
        this.shown.add(word);
        if (leaves) return void (await r.body.cancel?.().catch(() => {}));
      }
    }
    if (!text.endsWith("data: [DONE]\n\n")) throw new Error("a stream ended before its end");
    for (const line of text.split("\n")) if (line.startsWith("data: {")) last = JSON.parse(line.slice(6)).carrel ? JSON.parse(line.slice(6)) : last;
    this.told(word, last);
  }

  async search(i) {
    this.sent++;
    await this.call("POST", "/api/search", { query: `Where do visitors park? ${i}` }, this.customer.key);
    this.charged.push(Date.now());
  }

  async upload(i) {
    const path = `up/paper-${i}.md`;
    const text = `# Paper ${i}\n\nIn the year ${i} the harbour of Port${i} was dredged.\n`;
    await this.call("POST", `/api/documents?path=${path}`, text);
    this.documents.set(path, text);
  }

  async administer(i) {
    const what = this.rnd(4);
    const keys = [...this.keys].filter(([, k]) => k.revoked === false);
    const users = [...this.users].filter(([, disabled]) => disabled === false);
    if (what === 1 && keys.length > 0) {
      const [id, k] = keys[this.rnd(keys.length)];
      k.revoked = "asked";
      await this.call("DELETE", `/api/keys/${id}`);
      k.revoked = true;
    } else if (what === 2) {
      const made = await this.call("POST", "/api/users", { name: `person-${i}`, role: "reader" });
      this.users.set(made.id, false);
    } else if (what === 3 && users.length > 0) {
      const [id] = users[this.rnd(users.length)];
      this.users.set(id, "asked");
      await this.call("POST", `/api/users/${id}`, { disabled: true });
      this.users.set(id, true);
    } else {
      const made = await this.call("POST", "/api/keys", { name: `key-${i}`, role: "reader" });
      this.keys.set(made.id, { key: made.key, revoked: false });
    }
  }

  async job(i) {
    const { word, body } = this.question(i);
    const { conversation, ...chat } = body;
    const made = await this.call("POST", "/api/jobs", { chat }, this.customer.key);
    this.jobs.set(made.id, { status: "queued", word });
    const now = await this.call("GET", `/api/jobs/${made.id}`, undefined, this.customer.key);
    this.jobs.set(made.id, { status: now.status, word });
    if (now.status === "completed") this.shown.add(word);
  }

  async file(i) {
    const form = new FormData();
    form.append("purpose", "assistants");
    form.append("file", new Blob([`Letter ${i} about the harbour.`]), `letter-${i}.txt`);
    this.files.add((await this.call("POST", "/v1/files", form)).id);
  }

  async respond(i) {
    const { word, body } = this.question(i);
    const r = await this.call("POST", "/v1/responses", { model: "carrel", input: body.messages[0].content }, this.customer.key);
    this.shown.add(word);
    this.charged.push(Date.now());
    this.responses.add(r.id);
  }

  /* ---- what was told is there ---- */

  async compare(took) {
    const { at } = this;
    const documents = await until("all that was uploaded is read", async () => {
      const list = (await at().get("/api/documents?limit=1000")).documents;
      const ready = new Set(list.filter((d) => d.state === "ready").map((d) => d.path));
      return [...this.documents.keys()].every((p) => ready.has(p)) && list;
    }).catch((e) => { throw new Error(`${e.message}\n${at().output.slice(-3000)}`); });
    const paths = documents.map((d) => d.path);
    assert.equal(new Set(paths).size, paths.length, "no document twice");
    for (const d of documents.filter((x) => this.documents.has(x.path)).slice(-30)) {
      const r = await at().request(`/api/documents/${d.id}/original`);
      assert.equal(await r.text(), this.documents.get(d.path), d.path);
    }
    const keys = new Map((await at().get("/api/keys")).keys.map((k) => [k.id, k]));
    let tried = 0;
    for (const [id, k] of this.keys) {
      if (k.revoked === "asked") continue;
      assert.equal(Boolean(keys.get(id)) && !keys.get(id).revoked, !k.revoked, `key ${id} is there: ${JSON.stringify(keys.get(id))}`);
      if (k.revoked && ++tried > 2) continue; // many wrong ones are slowed down
      const r = await at().request("/api/limits/mine", { key: k.key });
      await r.arrayBuffer();
      assert.equal(r.status, k.revoked ? 401 : 200, `key ${id}, revoked: ${k.revoked}`);
    }
    const users = new Map((await at().get("/api/users")).users.map((u) => [u.id, u]));
    for (const [id, disabled] of this.users) {
      assert.ok(users.has(id), `user ${id} is there`);
      if (disabled !== "asked") assert.equal(Boolean(users.get(id).disabled), disabled, `user ${id}`);
    }
    for (const id of this.files) assert.equal((await this.call("GET", `/v1/files/${id}`)).id, id);
    for (const id of this.responses) assert.equal((await this.call("GET", `/v1/responses/${id}`, undefined, this.customer.key)).status, "completed");
    for (const [word, { answer, conversation }] of this.answers) {
      const record = await this.call("GET", `/api/answers/${answer}`, undefined, this.customer.key);
      assert.ok(record.question.includes(word), `${word}: the record of its answer`);
      if (!conversation) continue;
      const kept = await this.call("GET", `/api/conversations/${conversation}`, undefined, this.customer.key);
      assert.equal(kept.exchanges.filter((x) => x.question.includes(word)).length, 1, `${word} is in its conversation once`);
    }
    await this.compareJobs();
    await until("the listener was told of every document", () => [...this.documents.keys()].every((p) => took.has(p))).catch((e) => {
      throw new Error(`${e.message}: ${[...this.documents.keys()].filter((p) => !took.has(p))}`);
    });
    for (const [path, ids] of took) assert.equal(ids.size, 1, `${path}: told of under one id`);
  }

  async compareJobs() {
    for (const [id, was] of this.jobs) {
      const now = await until(`job ${id} is over`, async () => {
        const j = await this.call("GET", `/api/jobs/${id}`, undefined, this.customer.key);
        return !["queued", "running"].includes(j.status) && j;
      });
      if (["completed", "failed"].includes(was.status)) assert.equal(now.status, was.status, `job ${id} is what it was told to be`);
      if (now.status === "completed") this.shown.add(was.word);
      else assert.ok(now.result.error.message.length > 10, `job ${id} says why`);
      was.status = now.status;
    }
  }

  /** The chain holds; whatever was shown has one record, with one end. */
  audit() {
    const carrel = (...args) => spawnSync(join(binDir, "carrel"), args, { encoding: "utf8", maxBuffer: 1 << 28 }).stdout;
    const { home } = this.at();
    const report = JSON.parse(carrel("audit", "verify", "--home", home, "--json"));
    assert.equal(report.verdict, "whole", JSON.stringify(report.findings));
    const all = carrel("audit", "export", "--home", home).trim().split("\n").map((l) => JSON.parse(l));
    const opens = new Map();
    const closes = new Map();
    for (const { record, text } of all) {
      if (record.type === "close") {
        assert.ok(!closes.has(record.call), `${record.call} ends once`);
        closes.set(record.call, record);
      } else if (["open", "act"].includes(record.type)) {
        assert.ok(!opens.has(record.call), `${record.call} begins once`);
        opens.set(record.call, { record, text });
      }
    }
    for (const call of closes.keys()) assert.ok(opens.has(call), `${call} ends and never began`);
    const of = new Map();
    for (const { record, text } of opens.values()) {
      const word = /ask\d+q/.exec(text?.question ?? "")?.[0];
      if (word) of.set(word, [...(of.get(word) ?? []), record.call]);
    }
    for (const [word, calls] of of) assert.equal(calls.length, 1, `${word} is in the audit once`);
    for (const word of this.shown) assert.ok(of.has(word), `${word} was answered and is not in the audit`);
    for (const word of this.answers.keys()) assert.match(closes.get(of.get(word)[0])?.outcome ?? "no end", /answered|refused/, word);
    let interrupted = 0;
    for (const call of opens.keys()) if (!closes.has(call)) interrupted++;
    return { opens: opens.size, interrupted, report };
  }

  /** Nobody pays twice; what a kill may take from the books is what was answered just before it (decisions/fair-use.md). */
  async books(kills) {
    const sure = this.charged.filter((t) => !kills.some((k) => t > k - 1500 && t < k + 3000)).length;
    let mine = { requests: 0 };
    await until("what is sure is entered", async () => {
      mine = (await this.at().get("/api/usage")).keys.find((k) => k.key === this.customer.id) ?? mine;
      return mine.requests >= sure;
    }).catch(() => {});
    assert.ok(mine.requests <= this.sent, `${mine.requests} requests are charged, ${this.sent} were made`);
    assert.ok(mine.requests >= sure, `${mine.requests} requests are charged, at least ${sure} must be`);
    return mine;
  }
}
