// The end of serve while answers are being written: those that can finish do, the rest are told.

import { test } from "node:test";
import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "./appliance.mjs";
import { quiet, startStill } from "./serve_alone.mjs";

const body = (more = {}) => JSON.stringify({ model: "carrel", stream: true, messages: [{ role: "user", content: "x?" }], ...more });

/** A stream by hand: resolves with all of its text when the connection ends; `begun` when the first word is there. */
function stream(s, { path = "/v1/chat/completions", ...more } = {}) {
  const socket = connect(s.port, "127.0.0.1");
  const b = body(more);
  let text = "";
  let first;
  const r = { socket, begun: new Promise((done) => (first = done)) };
  socket.write(`POST ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer ${s.key}\r\nContent-Type: application/json\r\nContent-Length: ${b.length}\r\n\r\n${b}`);
  socket.on("data", (d) => {
    text += d;
    if (text.includes("word")) first();
  });
  r.ended = new Promise((done) => {
    socket.on("error", () => done(text));
    socket.on("close", () => done(text));
  });
  return r;
}

test("a stop: short answers finish, long ones end with an error event of their dialect, nobody new comes in", async () => {
  const s = await startStill({ config: "http:\n  requests_per_minute: 0\n  shutdown_grace: 4s\n" });
  const short = stream(s, { max_tokens: 8 });
  const long = stream(s);
  const claude = stream(s, { path: "/v1/messages", max_tokens: 1000 });
  const idle = connect(s.port, "127.0.0.1");
  const idleEnded = new Promise((done) => idle.on("close", done));
  await Promise.all([short.begun, long.begun, claude.begun]);
  const exit = s.stop();
  let longEnded = false;
  void long.ended.then(() => (longEnded = true));
  await idleEnded;
  assert.ok(!longEnded, "an idle connection ends at once");
  await assert.rejects(fetch(s.url + "/api/health"), "the port is shut");
  const [a, b, c] = await Promise.all([short.ended, long.ended, claude.ended]);
  assert.match(a, /"finish_reason":"stop"/);
  assert.match(a, /data: \[DONE\]\r?\n/);
  assert.match(a, /\r\n0\r\n\r\n$/, "whole");
  assert.match(b, /"error":\{"message":"The appliance is being stopped: ask again shortly\."/);
  assert.doesNotMatch(b, /\[DONE\]/);
  assert.match(b, /\r\n0\r\n\r\n$/, "ended, not cut");
  assert.match(c, /event: error/);
  assert.deepEqual(await exit, { code: 0, signal: null }, s.log.slice(-3000));
});

test("a stream whose time is over says so", async () => {
  const s = await startStill({ config: "http:\n  requests_per_minute: 0\n  request_timeout: 2s\n" });
  try {
    const text = await stream(s).ended;
    assert.match(text, /"error":\{"message":"[^"]*took longer than allowed/);
    assert.match(text, /\r\n0\r\n\r\n$/);
    await quiet(s);
  } finally {
    assert.deepEqual(await s.stop(), { code: 0, signal: null }, s.log.slice(-3000));
  }
});

test("a reader that stops holds its own stream, and nobody else's", async () => {
  const s = await startStill({ config: "http:\n  requests_per_minute: 0\n  idle_timeout: 2s\n" });
  try {
    const slow = stream(s, { max_tokens: 5 });
    slow.socket.pause();
    const other = stream(s, { max_tokens: 5 });
    other.ended.then(() => {});
    await other.begun;
    await sleep(1500);
    assert.equal((await fetch(s.url + "/api/health")).status, 503);
    slow.socket.destroy();
    other.socket.destroy();
  } finally {
    assert.deepEqual(await s.stop(), { code: 0, signal: null }, s.log.slice(-3000));
  }
});

test("clients that leave while their call is being written down take nothing with them", async () => {
  const s = await startStill({ config: "http:\n  requests_per_minute: 0\n" });
  try {
    for (let i = 0; i < 300; i += 10) {
      await Promise.all(Array.from({ length: 10 }, async (_, j) => {
        const c = stream(s);
        await sleep(1 + ((i + j) % 30));
        c.socket.destroy();
      }));
    }
    assert.equal(s.child.exitCode, null, s.log.slice(-3000));
    await quiet(s);
    // one by one, each with the disk's word: what is left of it at the end has ten seconds
    await until("what was begun is written down", async () => {
      const st = statSync(join(s.home, "tenants/main/serve.db-wal"), { throwIfNoEntry: false });
      return st && Date.now() - st.mtimeMs > 1000;
    });
  } finally {
    assert.deepEqual(await s.stop(), { code: 0, signal: null }, s.log.slice(-3000));
  }
});
