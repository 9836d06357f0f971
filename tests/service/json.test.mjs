// Bad JSON on every endpoint that takes JSON: the table of routes says which there are. Always 400 in the endpoint's own
// shape of errors, never 500, and serve goes on.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { startServe } from "./serve_alone.mjs";

const source = readFileSync(join(dirname(fileURLToPath(import.meta.url)), "../../serve/routes.c"), "utf8");
const routes = [...source.matchAll(/\{VERB_(POST|PUT|PATCH),\s*"([^"]+)",([\s\S]*?)(ERRORS_[A-Z]+)/g)].map((m) => ({ method: m[1], path: m[2], errors: m[4] }));

const deep = (open, close, n) => open.repeat(n) + "1" + close.repeat(n);
// what is not JSON, or not as we take it: 400 everywhere
const bad = {
  "nothing": "",
  "cut": '{"a":',
  "a list": "[1]",
  "two values": "{}{}",
  "10,000 lists deep": `{"a":${deep("[", "]", 10_000)}}`,
  "10,000 objects deep": deep('{"a":', "}", 10_000),
  "a key twice": '{"query":"a","query":"b"}',
  "a key twice, further in": '{"a":{"b":1,"b":2}}',
  "a key twice, once escaped": '{"model":"a","m\\u006fdel":"b"}',
  "bytes that are not UTF-8": Buffer.from('{"query":"\xff\xfe"}', "latin1"),
  "overlong UTF-8": Buffer.from('{"query":"\xc0\xaf"}', "latin1"),
  "a surrogate in UTF-8": Buffer.from('{"query":"\xed\xa0\x80"}', "latin1"),
  "half a surrogate pair": '{"query":"\\ud800"}',
  "the other half": '{"query":"\\udc00 x"}',
  "NUL": '{"query":"a\\u0000b"}',
  "NUL in a key": '{"a\\u0000b":1}',
  "a raw NUL": '{"query":"a\0b"}',
  "a raw line end": '{"query":"a\nb"}',
  "a number beyond doubles": '{"top_k":1e999}',
  "an integer beyond 64 bits": `{"top_k":${"9".repeat(400)}}`,
  "NaN": '{"top_k":NaN}',
  "a comment": '{"a":1}//',
  "a BOM": "\ufeff{}",
  "single quotes": "{'a':1}",
  "a comma too many": '{"a":1,}',
};
// JSON all right, and sense nowhere: anything but a fault of ours
const odd = ["{}", '{"query":1e308,"model":[],"messages":{},"input":null}', '{"query":"x","top_k":-9223372036854775808}', '{"model":"carrel","messages":[[[]]],"input":[[[1e300]]]}', `{"${"k".repeat(60_000)}":1}`, `{"a":[${"{},".repeat(20_000)}{}]}`];

let s;
before(async () => (s = await startServe({ config: "http:\n  requests_per_minute: 0\n" })));
after(async () => assert.deepEqual(await s.stop(), { code: 0, signal: null }, s.log.slice(-3000)));

const message = {
  ERRORS_OPENAI: (e) => e.error.message && e.error.type && "param" in e.error && "code" in e.error && e.error.message,
  ERRORS_ANTHROPIC: (e) => e.type === "error" && e.error.message,
  ERRORS_OLLAMA: (e) => e.error,
  ERRORS_RPC: (e) => e.jsonrpc === "2.0" && e.error.message,
};

async function send(route, body) {
  const path = route.path.replace(/\{[^}]*\}/g, "0".repeat(26));
  const r = await fetch(s.url + path, { method: route.method, body, headers: { authorization: `Bearer ${s.key}`, "content-type": "application/json" }, signal: AbortSignal.timeout(20_000) });
  return { status: r.status, text: await r.text() };
}

test("every endpoint that takes JSON refuses what is none", async (t) => {
  assert.ok(routes.length > 20, String(routes.length));
  const wrong = [];
  let asked = 0;
  let json = 0;
  for (const route of routes) {
    // who takes no JSON (an upload, an act without words, a person's own affair) says so to good JSON and bad alike
    const probe = await send(route, '{"a":');
    if (!/JSON|json/.test(probe.text) || probe.status === 415) continue;
    json++;
    for (const [name, body] of Object.entries(bad)) {
      const r = await send(route, body);
      asked++;
      let said;
      try {
        said = message[route.errors](JSON.parse(r.text));
      } catch {
        said = null;
      }
      if (r.status !== 400 || typeof said !== "string") wrong.push(`${route.method} ${route.path}, ${name}: ${r.status} ${r.text.slice(0, 120)}`);
    }
  }
  t.diagnostic(`${asked} requests to ${json} of ${routes.length} endpoints`);
  assert.ok(json >= 20, `${json} endpoints take JSON`);
  assert.deepEqual(wrong, []);
});

test("odd JSON is nowhere a fault of ours", async () => {
  const wrong = [];
  for (const route of routes) {
    for (const body of odd) {
      const r = await send(route, body);
      if (r.status === 500 || r.status < 200) wrong.push(`${route.method} ${route.path}, ${body.slice(0, 40)}: ${r.status} ${r.text.slice(0, 120)}`);
    }
  }
  assert.deepEqual(wrong, []);
  assert.equal((await fetch(s.url + "/api/version")).status, 200);
});
