// carrel-serve by itself, with no other service behind it: what the HTTP layer and the doors do.
//
// The supervisor hands a service its identity on descriptor 3 (base/rpc/peer.h); here we make one.

import { spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { binDir, temporaryHome, until } from "./appliance.mjs";

const PEERS = ["supervisor", "cli", "vectorstore", "embed", "retrieve", "generate", "ingest", "serve", "egress"];

/** Key pairs for everybody: gives a peer's identity as the supervisor hands it over. */
export function identities() {
  const keys = PEERS.map(() => generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" }));
  const publics = keys.map((k) => Buffer.from(k.x, "base64url"));
  return (peer) => {
    const i = PEERS.indexOf(peer);
    const self = Buffer.alloc(4);
    self.writeUInt32LE(i);
    return Buffer.concat([Buffer.from("CARRELI1"), self, Buffer.from(keys[i].d, "base64url"), publics[i], ...publics]);
  };
}

export async function startServe({ config = "", args = [], expectFailure = false, identity = identities() } = {}) {
  const home = temporaryHome("carrel-serve-");
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, "carrel.yaml"), config);
  const child = spawn(join(binDir, "carrel-serve"), ["--home", home, ...args], {
    env: { ...process.env, CARREL_PORT: "0" },
    stdio: ["ignore", "ignore", "pipe", "pipe"],
  });
  const s = { home, child, log: "" };
  child.stderr.on("data", (d) => (s.log = (s.log + d).slice(-200_000)));
  s.exited = new Promise((done) => child.once("exit", (code, signal) => done({ code, signal })));
  child.stdio[3].end(identity("serve"));
  s.stop = async () => {
    child.kill("SIGTERM");
    const end = await Promise.race([s.exited, sleep(60_000, null, { ref: false })]);
    if (end === null) child.kill("SIGKILL");
    rmSync(dirname(home), { recursive: true, force: true });
    return end;
  };
  if (expectFailure) return s;
  const portFile = join(home, "run/serve.port");
  await until("serve.port", () => {
    if (child.exitCode !== null) throw new Error(`carrel-serve ended with ${child.exitCode}\n${s.log}`);
    return existsSync(portFile);
  }, { every: 20 });
  s.port = Number(readFileSync(portFile, "utf8"));
  s.url = `http://127.0.0.1:${s.port}`;
  s.key = readFileSync(join(home, "admin.key"), "utf8").trim();
  return s;
}

/** Sends bytes (one write an element; a number is a pause in ms) and gives what came back until the end, or `wait` ms: only those who
 *  expect no end give a shorter one. */
export function raw(port, pieces, { wait = 60_000, keepOpen = false } = {}) {
  return new Promise((done, fail) => {
    const socket = connect(port, "127.0.0.1");
    let text = "";
    let ended = false;
    const finish = () => {
      clearTimeout(timer);
      socket.destroy();
      done({ text, ended, status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0), statuses: [...text.matchAll(/HTTP\/1\.1 (\d+) /g)].map((m) => Number(m[1])) });
    };
    const timer = setTimeout(finish, wait);
    socket.setNoDelay(true);
    socket.on("data", (d) => (text += d.toString("latin1")));
    socket.on("error", () => {
      ended = true;
      finish();
    });
    socket.on("end", () => {
      ended = true;
      if (!keepOpen) finish();
    });
    socket.on("connect", async () => {
      try {
        for (const p of [].concat(pieces)) {
          if (socket.destroyed) break;
          if (typeof p === "number") await sleep(p);
          else socket.write(typeof p === "string" ? Buffer.from(p, "latin1") : p);
        }
      } catch (e) {
        fail(e);
      }
    });
  });
}

/** Waits until serve has no request but the one that asks for this; how many connections there are then. */
export async function quiet(s, more = () => true) {
  return until("no other request is in flight", async () => {
    const text = await (await fetch(`${s.url}/metrics`, { headers: { authorization: `Bearer ${s.key}`, connection: "close" } })).text();
    const connections = Number(/^carrel_serve_http_connections (\d+)$/m.exec(text)[1]);
    return /^carrel_serve_http_requests_in_flight 1$/m.test(text) && more(connections) && connections;
  });
}

/** Serve with a stand-in for retrieve and generate behind it (still_answers.c): streams that stay open. */
export async function startStill(options = {}) {
  const identity = identities();
  const s = await startServe({ ...options, identity });
  const still = spawn(join(binDir, "still-answers"), [s.home], { stdio: ["ignore", "ignore", "inherit", "pipe"] });
  still.stdio[3].end(Buffer.concat([identity("retrieve"), identity("generate")]));
  await until("generate's socket", () => existsSync(join(s.home, "run/generate.sock")), { every: 20 });
  const stop = s.stop;
  s.stop = async () => {
    const end = await stop();
    still.kill("SIGKILL");
    return end;
  };
  return s;
}
