// A carrel-serve alone with a key of every role, and calls as anybody: for roles.test.mjs and signin.test.mjs.

import assert from "node:assert/strict";
import { request } from "node:http";
import { startServe } from "./serve_alone.mjs";

export const ROLES = ["admin", "manager", "editor", "reader", "auditor", "service"];
export const PEOPLE = ROLES.filter((r) => r !== "service");
export const GROUP = ["ward-3"];
export const keys = {};

let s;
export async function begin({ config = "http:\n  requests_per_minute: 0\n" } = {}) {
  s = await startServe({ config });
  for (const role of ROLES) keys[role] = (await made({ name: `k-${role}`, role, groups: GROUP })).key;
  return s;
}

// Every call comes from another address of this machine, unless it says from where: addresses are limited too.
let nextAddress = 0;
const anyAddress = () => {
  nextAddress++;
  return `127.${1 + (nextAddress >> 16)}.${(nextAddress >> 8) & 255}.${nextAddress & 255}`;
};

export function call(verb, path, { key, cookie, csrf, body, headers = {}, from = anyAddress() } = {}) {
  const h = { ...headers, connection: "close" };
  if (key) h.authorization = `Bearer ${key}`;
  if (cookie) h.cookie = cookie;
  if (csrf) h["x-csrf-token"] = csrf;
  const writes = verb !== "GET" && verb !== "DELETE";
  const text = writes ? JSON.stringify(body ?? {}) : "";
  if (writes) Object.assign(h, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  return new Promise((done, fail) => {
    const q = request({ host: "127.0.0.1", port: s.port, localAddress: from, method: verb, path, headers: h }, (r) => {
      const pieces = [];
      r.on("data", (d) => pieces.push(d));
      r.on("error", fail);
      r.on("end", () => {
        const got = Buffer.concat(pieces).toString();
        let json = null;
        try {
          json = JSON.parse(got);
        } catch {
          // not JSON
        }
        const flags = r.headers["set-cookie"]?.[0] ?? "";
        done({ status: r.statusCode, json, text: got, code: json?.error?.code, headers: r.headers, cookie: flags.split(";")[0], flags });
      });
    });
    q.on("error", fail);
    q.end(text);
  });
}

export async function made(body) {
  const r = await call("POST", "/api/keys", { key: s.key, body });
  assert.equal(r.status, 201, r.text);
  return r.json;
}

export async function person(name, role, more = {}) {
  const r = await call("POST", "/api/users", { key: s.key, body: { name, role, groups: GROUP, password: "quiet river stones", must_change_password: false, ...more } });
  assert.equal(r.status, 201, r.text);
  return r.json;
}

export async function signIn(name, password = "quiet river stones", more = {}) {
  const r = await call("POST", "/api/session", { body: { name, password, ...more }, headers: more.cookie ? { cookie: more.cookie } : {} });
  return { ...r, csrf: r.json?.csrf };
}
