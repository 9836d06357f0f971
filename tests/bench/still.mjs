#!/usr/bin/env node
// What idle streams of answers cost serve: the growth of its resident memory by N chat streams that have begun and
// say nothing, plain and through TLS.
// Usage: still.mjs [--streams N]

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as tlsConnect } from "node:tls";
import { startStill } from "../service/serve_alone.mjs";
import { option } from "./corpus.mjs";

const n = option("streams", 1000);
const dir = mkdtempSync(join(tmpdir(), "carrel-still-"));
const [cert, key] = [join(dir, "c.pem"), join(dir, "k.pem")];
execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"], { stdio: "ignore" });

for (const secure of [false, true]) {
  const s = await startStill({ config: `log_level: warn\nhttp:\n  requests_per_minute: 0\n  max_connections: 4096\n  max_connections_per_address: 4096\n  max_requests_in_flight: 4096\n  max_requests_in_flight_per_address: 4096\n${secure ? `  tls_certificate: ${cert}\n  tls_key: ${key}\n` : ""}` });
  const rss = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${s.child.pid}/status`, "utf8"))[1]) / 1024;
  const body = JSON.stringify({ model: "carrel", stream: true, messages: [{ role: "user", content: "What does the agreement say of the notice period?" }] });
  const bytes = `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${s.key}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const open = () => new Promise((done, fail) => {
    const socket = secure ? tlsConnect({ port: s.port, host: "127.0.0.1", rejectUnauthorized: false }) : connect(s.port, "127.0.0.1");
    let text = "";
    socket.on(secure ? "secureConnect" : "connect", () => socket.write(bytes));
    socket.on("data", (d) => {
      text += d;
      if (text.includes("word")) done(socket);
    });
    socket.on("error", fail);
    socket.on("close", () => fail(new Error(text.slice(0, 300))));
  });
  const several = async (count) => {
    const list = [];
    while (list.length < count) list.push(...(await Promise.all(Array.from({ length: Math.min(50, count - list.length) }, open))));
    return list;
  };
  (await several(10)).forEach((x) => x.destroy());
  await sleep(3000);
  const before = rss();
  const streams = await several(n);
  await sleep(3000); // past the time after which a quiet server gives memory back
  const after = rss();
  streams.forEach((x) => x.destroy());
  await sleep(3500);
  console.log(`${n} idle streams, ${secure ? "TLS" : "plain"}: ${(after - before).toFixed(1)} MiB more resident memory (${(((after - before) * 1024) / n).toFixed(1)} KiB each), ${(rss() - before).toFixed(1)} MiB of it kept after they ended (aim: under 20 MiB); ${readdirSync(`/proc/${s.child.pid}/fd`).length} descriptors then`);
  await s.stop();
}
rmSync(dir, { recursive: true, force: true });
process.exit(0);
