// One tenant floods while another works quietly: what a soak does, and what is counted at its end.
//
// Every request that is sent carries a mark in its query string, and every answer tells its X-Request-Id, which is the
// call's name in the audit. So each of them can be looked for in the audit: opened once and closed once, or, where the
// client broke it off before serve had read it, not there at all. serve's own log says which requests it has seen: each
// of them must be there too.

import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, readdirSync, lstatSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { binDir, startAppliance, until } from "./appliance.mjs";

/** Answers as they come off a connection, one after another: {status, id, whole}. */
class Answers {
  constructor() {
    this.text = "";
    this.list = [];
    this.body = null; // of the answer being read: bytes left, or "chunks"
  }
  take(more) {
    this.text += more;
    for (;;) {
      if (this.body === null) {
        const end = this.text.indexOf("\r\n\r\n");
        if (end < 0) return;
        const head = this.text.slice(0, end);
        this.text = this.text.slice(end + 4);
        const status = Number(head.slice(9, 12));
        if (status === 100) continue;
        this.list.push({ status, id: /^x-request-id: (\S+)/im.exec(head)?.[1], retry: /^retry-after: (\d+)/im.exec(head)?.[1], whole: false });
        this.body = /^transfer-encoding: chunked/im.test(head) ? "chunks" : Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? 0);
      }
      if (this.body === "chunks") {
        const line = this.text.indexOf("\r\n");
        if (line < 0) return;
        const n = parseInt(this.text.slice(0, line), 16);
        if (this.text.length < line + 4 + n) return;
        this.text = this.text.slice(line + 4 + n);
        if (n > 0) continue;
      } else {
        if (this.text.length < this.body) return;
        this.text = this.text.slice(this.body);
      }
      this.body = null;
      this.list.at(-1).whole = true;
    }
  }
}

const half = (list, from, to, of) => {
  const l = list.slice(Math.floor(list.length * from), Math.floor(list.length * to)).map(of).sort((x, y) => x - y);
  return l[l.length >> 1] ?? 0;
};

/** The process of each service, and the supervisor's. */
function processes(supervisor) {
  const out = { supervisor };
  for (const pid of readdirSync("/proc").filter((d) => /^\d+$/.test(d))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      const name = /carrel-([a-z]+)/.exec(readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0")[0])?.[1];
      if (name && (parent === supervisor || Object.values(out).includes(parent))) out[name] = Number(pid);
    } catch {
      // it ended meanwhile
    }
  }
  return out;
}

/** Files below the home that a request might leave behind; the audit grows, and a store is compacted as it likes. */
function files(home) {
  const out = [];
  const walk = (dir) => {
    for (const name of readdirSync(dir)) {
      const path = join(dir, name);
      const st = lstatSync(path, { throwIfNoEntry: false });
      if (st?.isDirectory()) walk(path);
      else if (st && !/\/audit\/|\/(store|index|segments)\/|-(wal|shm|journal)$/.test(path)) out.push(path.slice(home.length + 1));
    }
  };
  walk(home);
  return out.sort();
}

/**
 * seconds: how long; turn: seconds between the flood's coming and going; rest: seconds until what is idle has ended;
 * list: sections (corpus.mjs) and asked: questions about them. Gives what was measured and counted; `wrong` says in words
 * what does not hold.
 */
export async function flood({ seconds, turn = 20, flooders = 16, list, asked, rest = 6, memory = true, env = {}, say = () => {} }) {
  const a = await startAppliance({
    config: `log_level: info\nhttp:\n  requests_per_minute: 0\n  max_connections_per_address: 400\n  max_requests_in_flight: 200\n  max_requests_in_flight_per_address: 200\n  idle_timeout: ${rest - 1}s\n`,
    env,
  });
  const recorded = ["/api/search", "/v1/chat/completions", "/api/documents/{id}/original"];
  const seen = new Map(); // what serve's log tells: id -> route, of calls that came past the door; the log tells only so many a second
  for (const stream of [a.child.stdout, a.child.stderr]) {
    let cut = "";
    stream.on("data", (d) => {
      const lines = (cut + d).split("\n");
      cut = lines.pop();
      for (const l of lines) {
        const m = /svc=serve msg=request req=(\S+) route=(\S+) status=(\d+) .* tenant=(\S*)/.exec(l);
        if (m && recorded.includes(m[2]) && m[4]) seen.set(m[1], { status: Number(m[3]), tenant: m[4] });
      }
    });
  }
  const port = Number(new URL(a.url).port);
  await a.post("/api/tenants", { tenant: "flood" });
  const keys = { main: a.key, flood: (await a.post("/api/keys", { name: "flood", tenant: "flood", role: "admin" })).key };
  const written = Math.ceil(list.length / 50);
  for (let i = 0; i < list.length; i += 50) {
    const text = list.slice(i, i + 50).map((s) => `## ${s.heading}\n\n${s.text}\n`).join("\n");
    a.drop(`bench/${i}.md`, text);
    a.drop(`../flood/${i}.md`, text);
  }
  await a.settled({ n: written });
  const others = await until("the other tenant's are there", async () => {
    const r = await a.request("/api/documents", { key: keys.flood });
    const d = r.ok ? (await r.json()).documents : [];
    return d.length >= written && d.every((x) => x.state === "ready") && d;
  }, { timeout: 300_000 });
  await sleep(1000);

  // ---- sending
  const sent = []; // {tenant, kind, mark, status, id, whole}; status 0: nothing came back
  const counts = {};
  let over = false;
  let flooding = false;
  const pick = () => asked[Math.floor(Math.random() * asked.length)];
  function line(tenant, kind, path, body, { length, verb = "POST" } = {}) {
    const entry = { tenant, kind, mark: `${kind}.${sent.length}`, status: 0, whole: false };
    sent.push(entry);
    counts[kind] = (counts[kind] ?? 0) + 1;
    const text = typeof body === "string" ? body : body === undefined ? "" : JSON.stringify(body);
    const type = typeof body === "string" ? "text/plain" : "application/json";
    entry.bytes = `${verb} ${path}${path.includes("?") ? "&" : "?"}mark=${entry.mark} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${keys[tenant]}\r\nContent-Type: ${type}\r\nContent-Length: ${length ?? Buffer.byteLength(text)}\r\n\r\n${text}`;
    return entry;
  }
  /** One connection: what is written, and what happens to it. Resolves when it is closed. */
  function talk(entries, { cutAfter, cutIn, onFirst, drip } = {}) {
    return new Promise((done) => {
      const socket = connect(port, "127.0.0.1");
      const answers = new Answers();
      const bytes = entries.map((e) => e.bytes).join("");
      let first = true;
      socket.setNoDelay(true);
      socket.setTimeout(60_000, () => socket.destroy());
      socket.on("error", () => {});
      socket.on("close", () => {
        answers.list.forEach((r, i) => Object.assign(entries[i] ?? {}, r));
        entries.forEach((e) => delete e.bytes);
        done();
      });
      socket.on("data", (d) => {
        answers.take(d.toString("latin1"));
        if (first && onFirst) onFirst(socket);
        first = false;
        if (answers.list.length === entries.length && answers.list.at(-1).whole) socket.end();
      });
      socket.on("connect", async () => {
        if (drip) {
          const step = Math.ceil(bytes.length / drip);
          for (let i = 0; i < bytes.length && !socket.destroyed; i += step) {
            socket.write(bytes.slice(i, i + step), "latin1");
            await sleep(30);
          }
        } else socket.write(cutAfter ? bytes.slice(0, cutAfter) : bytes, "latin1");
        if (cutAfter || cutIn !== undefined) setTimeout(() => socket.resetAndDestroy(), cutIn ?? 1 + Math.random() * 20);
      });
    });
  }
  const search = (kind, tenant = "flood") => line(tenant, kind, "/api/search", { query: pick() });
  const chat = (kind, tenant = "flood") => line(tenant, kind, "/v1/chat/completions", { model: "carrel", stream: true, messages: [{ role: "user", content: pick() }] });
  const original = () => line("flood", "file_left", `/api/documents/${others[Math.floor(Math.random() * others.length)].id}/original`, undefined, { verb: "GET" });
  const kinds = [
    [60, () => talk([search("search")])],
    [6, () => talk([search("broken_sending")], { cutAfter: 20 + Math.floor(Math.random() * 300) })],
    [6, () => talk([search("broken_waiting")], { cutIn: Math.random() * 40 })],
    [4, () => talk([search("dripped")], { drip: 6 })],
    [5, () => talk([1, 2, 3, 4].map(() => search("pipelined")))],
    [3, () => talk([1, 2, 3, 4].map(() => search("pipelined_broken")), { onFirst: (s) => s.resetAndDestroy() })],
    [4, () => talk([chat("chat_left")], { onFirst: (s) => s.destroy() })],
    [3, () => talk([chat("chat_broken_waiting")], { cutIn: Math.random() * 60 })],
    [3, () => talk([chat("chat_slow")], { onFirst: (s) => { s.pause(); setTimeout(() => s.resume(), 400); } })],
    [2, () => talk([chat("chat_unread")], { onFirst: (s) => { s.pause(); setTimeout(() => s.destroy(), 300); } })],
    [2, () => talk([line("flood", "upload_broken", `/api/documents?path=never-${sent.length}.txt`, "w ".repeat(50_000), { length: 300_000 })], { cutIn: 20 + Math.random() * 60 })],
    [2, () => talk([original()], { onFirst: (s) => s.resetAndDestroy() })],
  ];
  const total = kinds.reduce((n, [w]) => n + w, 0);
  async function flooder() {
    while (!over) {
      if (!flooding) {
        await sleep(20);
        continue;
      }
      let x = Math.random() * total;
      await kinds.find(([w]) => (x -= w) < 0)[1]();
    }
  }
  const ms = { alone: [], flooded: [] };
  async function quiet(began) {
    for (let n = 1; !over; n++) {
      const now = Math.floor((performance.now() - began) / 1000 / turn);
      const e = n % 25 === 0 ? chat("quiet_chat", "main") : search("quiet", "main");
      const t = performance.now();
      await talk([e]);
      const settled = (performance.now() - began) / 1000 % turn > turn / 20;
      if (now >= 2 && settled && e.kind === "quiet") ms[flooding ? "flooded" : "alone"].push(performance.now() - t);
      await sleep(20);
    }
  }

  // ---- the run: everything once for warmth, then turns; the flood is on in three of four
  const pids = processes(a.child.pid);
  const look = () => Object.fromEntries(Object.entries(pids).map(([n, pid]) => [n, { rss: Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))[1]) / 1024, fds: readdirSync(`/proc/${pid}/fd`).length }]));
  const still = async () => {
    await until("nothing is in flight", async () => /carrel_serve_http_requests_in_flight 1\n/.test(await (await a.request("/metrics")).text()), { timeout: 30_000 });
    await sleep(rest * 1000); // idle connections between services and to clients end
    return { look: look(), files: files(a.home) };
  };
  for (const [, go] of kinds) await go();
  await Promise.all(Array.from({ length: flooders }, () => Promise.all(kinds.map(([, go]) => go()))));
  const before = await still();
  const samples = [];
  const began = performance.now();
  const work = [quiet(began), ...Array.from({ length: flooders }, flooder)];
  while (performance.now() - began < seconds * 1000) {
    flooding = Math.floor((performance.now() - began) / 1000 / turn) % 4 !== 0;
    await sleep(Math.min(500, turn * 50));
    samples.push(look());
    say(counts);
  }
  over = true;
  await Promise.all(work);
  const after = await still();

  // ---- what does not hold
  const wrong = [];
  const inFlight = /carrel_serve_http_requests_in_flight (\d+)/.exec(await (await a.request("/metrics")).text())[1];
  if (inFlight !== "1") wrong.push(`${inFlight} requests in flight when one was asking`);
  const grown = {};
  for (const n of Object.keys(pids)) {
    const most = Math.max(before.look[n].fds, ...samples.slice(0, samples.length >> 1).map((s) => s[n].fds));
    const g = { rss: [before.look[n].rss, half(samples, 0.25, 0.5, (s) => s[n].rss), half(samples, 0.75, 1, (s) => s[n].rss), after.look[n].rss], fds: [before.look[n].fds, most, after.look[n].fds] };
    grown[n] = g;
    // connections of clients are among a serve's most; all of them have ended by now
    if (g.fds[2] > (n === "serve" ? g.fds[0] : most) + 2) wrong.push(`${n}: ${g.fds[0]} descriptors before, at most ${most} in the first half, ${g.fds[2]} after`);
    if (memory && g.rss[2] > g.rss[1] * 1.12 + 8) wrong.push(`${n}: ${g.rss[1].toFixed(1)} MiB in the second quarter, ${g.rss[2].toFixed(1)} in the last`);
  }
  const left = after.files.filter((f) => !before.files.includes(f));
  if (left.length > 0) wrong.push(`files left behind: ${left.slice(0, 10).join(", ")}${left.length > 10 ? `, ${left.length} in all` : ""}`);
  const audit = await compareWithAudit(a, sent, seen, wrong);
  const end = await a.stop({ keep: true });
  if (end.code !== 0) wrong.push(`the appliance ended with ${JSON.stringify(end)}`);
  const noise = /^.*(AddressSanitizer|LeakSanitizer|runtime error).*$/m.exec(a.output);
  if (noise) wrong.push(noise[0]);
  execFileSync("rm", ["-rf", join(a.home, "..")]);
  return { ms, counts, sent, grown, audit, wrong, output: a.output };
}

async function records(home, tenant) {
  const child = spawn(join(binDir, "carrel"), ["audit", "export", "--tenant", tenant, "--home", home], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit");
  const calls = new Map();
  for await (const l of createInterface({ input: child.stdout })) {
    const { record, text } = JSON.parse(l);
    if (!record.call || !["open", "act", "close"].includes(record.type)) continue;
    const c = calls.get(record.call) ?? { opens: 0, closes: 0 };
    calls.set(record.call, c);
    if (record.type === "close") {
      c.closes++;
      c.outcome = record.outcome;
    } else {
      c.opens++;
      c.what = record.what;
      c.mark = /(?:^|&)mark=([^&]*)/.exec(text?.query ?? "")?.[1];
    }
  }
  const [code] = await ended;
  if (code !== 0) throw new Error(`carrel audit export ended with ${code}`);
  return calls;
}

/** Each request that was sent, and each that serve has seen, beside the records of its tenant. */
async function compareWithAudit(a, sent, seen, wrong) {
  const tell = (text) => wrong.length < 60 && wrong.push(text);
  const out = {};
  const all = new Map();
  for (const tenant of ["main", "flood"]) {
    const calls = await records(a.home, tenant);
    const byMark = new Map();
    const n = { sent: 0, answered: 0, opened: 0, closed: 0, cancelled: 0, brokenBefore: 0, refused: 0 };
    for (const [call, c] of calls) {
      all.set(call, c);
      n.opened += c.opens;
      n.closed += c.closes;
      n.cancelled += c.outcome === "cancelled";
      if (c.opens !== 1 || c.closes !== 1) tell(`${tenant}: call ${call} (${c.what}, ${c.mark}) was opened ${c.opens} times and closed ${c.closes} times`);
      if (c.mark !== undefined && byMark.has(c.mark)) tell(`${tenant}: ${c.mark} is there as ${byMark.get(c.mark).call} and as ${call}`);
      if (c.mark !== undefined) byMark.set(c.mark, { call, ...c });
    }
    for (const e of sent.filter((x) => x.tenant === tenant)) {
      const r = byMark.get(e.mark);
      n.sent++;
      n.answered += e.whole;
      byMark.delete(e.mark);
      if (!r) {
        const door = e.status === 429 || e.status === 503;
        if (door) n.refused++;
        else if (e.status !== 0) tell(`${tenant}: ${e.mark} was answered ${e.status} as ${e.id}, and is not in the audit`);
        else n.brokenBefore++;
      } else {
        if (e.id && r.call !== e.id) tell(`${tenant}: ${e.mark} was answered as ${e.id}, and recorded as ${r.call}`);
        if (e.whole && e.status === 200 && r.outcome === "cancelled") tell(`${tenant}: ${e.mark} was answered whole, and recorded as cancelled`);
      }
    }
    for (const mark of byMark.keys()) tell(`${tenant}: ${mark} is in the audit, and was never sent`);
    const verify = JSON.parse(spawnSync(join(binDir, "carrel"), ["audit", "verify", "--json", "--tenant", tenant, "--home", a.home]).stdout);
    if (verify.verdict !== "whole") tell(`${tenant}: verify says ${verify.verdict}: ${JSON.stringify(verify.findings)}`);
    if (verify.unfinished !== 0) tell(`${tenant}: verify counts ${verify.unfinished} interrupted`);
    out[tenant] = n;
  }
  let told = 0;
  for (const [id, s] of seen) {
    if (s.status === 429 || s.status === 503 || all.has(id)) told += all.has(id);
    else tell(`serve's log has ${id} (${s.tenant}, ${s.status}), and the audit has not`);
  }
  out.logged = seen.size;
  out.loggedAndRecorded = told;
  return out;
}
