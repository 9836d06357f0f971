// What one client's address may have at once: connections, and requests in flight. More are told so, with the time after which
// to try again, plain and through TLS; another address does not notice.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { after, before, test } from "node:test";
import { connect as tlsConnect } from "node:tls";
import { until } from "./appliance.mjs";
import { startStill } from "./serve_alone.mjs";

const dir = mkdtempSync(join(tmpdir(), "carrel-address-"));
const [cert, key] = [join(dir, "c.pem"), join(dir, "k.pem")];
const servers = {};
before(async () => {
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost"], { stdio: "ignore" });
  for (const kind of ["plain", "tls"]) {
    servers[kind] = await startStill({
      config: `http:\n  requests_per_minute: 0\n  max_connections_per_address: 6\n  max_requests_in_flight_per_address: 3\n  trusted_proxies: [127.0.0.77]\n${kind === "tls" ? `  tls_certificate: ${cert}\n  tls_key: ${key}\n` : ""}`,
    });
  }
});
after(async () => {
  for (const s of Object.values(servers)) await s.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** A connection from an address of this machine; `text` is what has come. */
function open(kind, from = "127.0.0.1") {
  const to = { port: servers[kind].port, host: "127.0.0.1", localAddress: from };
  const socket = kind === "tls" ? tlsConnect({ ...to, rejectUnauthorized: false }) : connect(to);
  const c = { socket, text: "", ended: false };
  c.up = new Promise((done) => socket.once(kind === "tls" ? "secureConnect" : "connect", done).once("error", done));
  socket.on("data", (d) => (c.text += d.toString("latin1")));
  socket.on("error", () => {});
  socket.on("close", () => (c.ended = true));
  c.has = (what) => until(`${what} on a ${kind} connection from ${from}: ${c.text}`, async () => what.test(c.text), { every: 10 });
  return c;
}
const GET = "GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n";
/** Serve has noticed that all have left: asked from an address of its own. */
const gone = (kind) => until("all have left", async () => {
  const c = open(kind, "127.0.0.3");
  c.socket.write(`GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer ${servers[kind].key}\r\n\r\n`);
  await until("the figures", async () => c.ended);
  return /^carrel_serve_http_connections 1\r?$/m.test(c.text) && /^carrel_serve_http_requests_in_flight 1\r?$/m.test(c.text);
});
const stream = (kind, from, more = "") => {
  const body = JSON.stringify({ model: "carrel", stream: true, messages: [{ role: "user", content: "How long?" }] });
  const c = open(kind, from);
  c.socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n${more}Authorization: Bearer ${servers[kind].key}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  return c;
};

for (const kind of ["plain", "tls"]) {
  test(`${kind}: requests in flight of one address are 429 beyond the limit, and another's are not`, { timeout: 180_000 }, async () => {
    const held = [stream(kind), stream(kind), stream(kind)];
    for (const c of held) await c.has(/word/);
    const more = stream(kind);
    await more.has(/"code":"rate_limit_exceeded"/);
    assert.match(more.text, /^HTTP\/1\.1 429 /);
    assert.match(more.text, /\r\nRetry-After: 1\r\n/);
    assert.match(more.text, /rate_limit_error/);
    const other = stream(kind, "127.0.0.2");
    await other.has(/word/);
    held[0].socket.destroy();
    const ok = () => more.text.includes("HTTP/1.1 200 ");
    await until("the connection that was refused a request goes on", async () => ok() || (more.socket.write(GET), await sleep(100), ok()));
    for (const c of [...held, more, other]) c.socket.destroy();
    await gone(kind);
  });

  test(`${kind}: connections of one address are 503 beyond the limit, and another's are not`, { timeout: 180_000 }, async () => {
    const held = Array.from({ length: 6 }, () => open(kind));
    for (const c of held) await c.up;
    const more = open(kind);
    await more.up;
    more.socket.write(GET);
    await more.has(/\r\n\r\n\{"error"/);
    assert.match(more.text, /^HTTP\/1\.1 503 /);
    assert.match(more.text, /\r\nRetry-After: 1\r\n/);
    assert.match(more.text, /\r\nConnection: close\r\n/);
    const other = open(kind, "127.0.0.2");
    await other.up;
    other.socket.write(GET);
    await other.has(/HTTP\/1\.1 200 /);
    held[0].socket.destroy();
    more.socket.destroy();
    await until("there is room again", async () => {
      const again = open(kind);
      await again.up;
      again.socket.write(GET);
      await again.has(/HTTP\/1\.1 \d+ /);
      again.socket.destroy();
      return again.text.startsWith("HTTP/1.1 200 ");
    });
    for (const c of [...held, other]) c.socket.destroy();
    await gone(kind);
  });
}

test("behind a trusted proxy each client has its own share, an IPv6 network one, and the proxy all connections", { timeout: 180_000 }, async () => {
  const via = (client) => stream("plain", "127.0.0.77", `X-Forwarded-For: ${client}\r\n`);
  const held = ["192.0.2.1", "192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8::3"].map(via);
  for (const c of held) await c.has(/word/);
  for (const client of ["192.0.2.1", "2001:db8::99"]) {
    const more = via(client);
    await more.has(/HTTP\/1\.1 429 /);
    more.socket.destroy();
  }
  for (const client of ["192.0.2.2", "2001:db8:0:1::1"]) {
    const other = via(client);
    await other.has(/word/);
    held.push(other);
  }
  for (const c of held) c.socket.destroy();
  await gone("plain");
});

test("tls: who opens ever more connections is cut off without a word", { timeout: 180_000 }, async () => {
  const many = Array.from({ length: 40 }, () => open("tls"));
  await until("all but a few are cut", async () => many.filter((c) => !c.ended).length <= 6 + 16);
  for (const c of many) c.socket.destroy();
  await gone("tls");
});

test("nothing leaked", async () => {
  for (const s of Object.values(servers)) assert.equal((await s.stop()).code, 0, s.log.slice(-3000));
});
