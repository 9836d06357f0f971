// A service that hears nothing (SIGSTOP: as if the line to it were cut): nobody waits for ever, whatever does not need it goes on,
// nothing is shown without its record, and once it hears again all is well without a restart.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { after, before, test } from "node:test";
import { startAppliance, until } from "../service/appliance.mjs";
import { Client, listener } from "./gateway_client.mjs";

const LONGEST_MS = 20_000;
let a, hook, client;

before(async () => {
  hook = await listener();
  a = await startAppliance({ config: `http:\n  requests_per_minute: 0\n  request_timeout: 8s\nsupervisor:\n  patience: 10m\naudit:\n  checkpoint: 300ms\nwebhooks:\n  allow_private: ["${hook.url}"]\n` });
  a.drop("visit.md", "# Visitors\n\nVisitors park their cars behind the solar tower.\n");
  await a.settled({ n: 1 });
  await a.post("/api/webhooks", { url: `${hook.url}/docs`, events: ["document.ingested"] });
  client = new Client(() => a, await a.post("/api/keys", { name: "customer", role: "reader" }), 11);
});
after(async () => {
  await a?.stop();
  hook?.close();
});

/** Lets a process of the appliance hear nothing; gives back what makes it hear again. */
function still(name) {
  const pids = readdirSync("/proc").filter((d) => /^\d+$/.test(d)).filter((pid) => {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0");
      return basename(words[0]) === `carrel-${name}` && words.includes(a.home);
    } catch {
      return false;
    }
  }).map(Number);
  assert.ok(pids.length > 0, `${name} runs`);
  for (const pid of pids) process.kill(pid, "SIGSTOP");
  return () => {
    for (const pid of pids) try { process.kill(pid, "SIGCONT"); } catch { /* it was ended meanwhile */ }
  };
}

const SHOWS = { search: ["/api/search", { query: "visitors" }], chat: ["/v1/chat/completions", { model: "carrel", messages: [{ role: "user", content: "Where do visitors park?" }] }] };
const GOES_ON = { retrieve: [], generate: ["search"], vectorstore: [], embed: ["search", "chat"], ingest: ["search", "chat"], egress: ["search", "chat"], sign: ["search", "chat"] };

/** Whether the audit's heads are being signed. */
const signed = async () => (await a.get("/api/status")).audit.signed;

/** The signer is waited for once; then records are written unsigned. */
async function unsigned() {
  await until("it is told that nothing is signed", async () => !(await signed()));
  for (let i = 0; i < 5; i++) assert.ok((await a.search("visitors")).length > 0);
  assert.equal(await signed(), false);
}

for (const [name, goes] of Object.entries(GOES_ON)) {
  test(`${name} hears nothing`, { timeout: 180_000 }, async (t) => {
    const again = still(name);
    const took = {};
    try {
      client.begin(2);
      await Promise.all(Object.entries(SHOWS).map(async ([what, [path, body]]) => {
        const began = Date.now();
        const r = await a.request(path, { method: "POST", body, signal: AbortSignal.timeout(LONGEST_MS) });
        const text = await r.text();
        took[what] = `${r.status} in ${Date.now() - began} ms`;
        if (r.status !== 200) assert.ok([503, 504].includes(r.status) && JSON.parse(text).error.message.length > 10, `${what}: ${r.status} ${text}`);
        if (goes.includes(what)) assert.equal(r.status, 200, `${what} goes on: ${text}`);
        assert.ok(r.status !== 200 || /solar tower/.test(text), text);
      }));
      assert.ok([200, 503].includes((await a.request("/api/health", { key: null })).status));
      if (name === "sign") await unsigned();
    } finally {
      again();
    }
    t.diagnostic(JSON.stringify(took));
    await until("all is answered again", async () => {
      const all = await Promise.all(Object.values(SHOWS).map(async ([path, body]) => (await a.request(path, { method: "POST", body })).text().catch(() => "")));
      return all.every((text) => /solar tower/.test(text));
    }, { every: 200 });
    await until("heads are signed", signed);
    await client.end();
    await client.compare(hook.took);
    client.audit();
    await client.books([]);
  });
}
