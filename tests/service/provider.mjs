// A provider of OpenID Connect that does as it is told, also what no provider should do; and a browser with cookies.

import { createHash, generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { createServer, request } from "node:http";

const b64 = (x) => Buffer.from(x).toString("base64url");
const json = (x) => b64(JSON.stringify(x));

export function newKey(kid, kind = "RS256") {
  const pair = kind === "ES256" ? generateKeyPairSync("ec", { namedCurve: "P-256" }) : generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { kid, kind, ...pair, jwk: { ...pair.publicKey.export({ format: "jwk" }), kid, use: "sig" } };
}

export function signToken(key, claims, header = {}) {
  const input = `${json({ alg: key.kind, kid: key.kid, ...header })}.${json(claims)}`;
  const options = { RS256: {}, PS256: { padding: 6, saltLength: 32 }, ES256: { dsaEncoding: "ieee-p1363" } }[key.kind];
  return `${input}.${sign("sha256", Buffer.from(input), { key: key.privateKey, ...options }).toString("base64url")}`;
}

/** p.person: claims of who signs in; p.token(claims) may change the ID token; p.counts tells how often it was asked. */
export async function startProvider() {
  const p = {
    keys: [newKey("k1")],
    person: { sub: "u1", name: "Ada", groups: ["staff"] },
    counts: { discovery: 0, jwks: 0, token: 0, userinfo: 0 },
    codes: new Map(),
    claims: {},
    token: (claims) => signToken(p.keys[0], claims),
    metadata: {},
    userinfo: () => p.person,
    tokenReply: null,
  };
  const send = (res, status, body) => {
    res.writeHead(status, { "content-type": "application/json" });
    res.end(JSON.stringify(body));
  };
  const server = createServer((req, res) => {
    const url = new URL(req.url, p.issuer);
    let text = "";
    req.on("data", (d) => (text += d));
    req.on("end", () => {
      if (url.pathname === "/.well-known/openid-configuration") {
        p.counts.discovery++;
        return send(res, 200, {
          issuer: p.issuer,
          authorization_endpoint: `${p.issuer}/authorize?tier=gold`,
          token_endpoint: `${p.issuer}/token`,
          jwks_uri: `${p.issuer}/jwks`,
          userinfo_endpoint: `${p.issuer}/userinfo`,
          end_session_endpoint: `${p.issuer}/end`,
          code_challenge_methods_supported: ["plain", "S256"],
          authorization_response_iss_parameter_supported: true,
          ...p.metadata,
        });
      }
      if (url.pathname === "/authorize") {
        res.writeHead(302, { location: p.approve(url.href) }); // the person is signed in there already
        return res.end();
      }
      if (url.pathname === "/jwks") {
        p.counts.jwks++;
        return send(res, 200, { keys: p.keys.map((k) => k.jwk) });
      }
      if (url.pathname === "/token") {
        p.counts.token++;
        p.tokenRequest = { form: new URLSearchParams(text), authorization: req.headers.authorization };
        if (p.tokenReply) return send(res, p.tokenReply.status, p.tokenReply.body);
        const asked = p.codes.get(p.tokenRequest.form.get("code"));
        p.codes.delete(p.tokenRequest.form.get("code"));
        const proof = createHash("sha256").update(p.tokenRequest.form.get("code_verifier") ?? "").digest("base64url");
        if (!asked || proof !== asked.get("code_challenge")) return send(res, 400, { error: "invalid_grant" });
        const now = Math.floor(Date.now() / 1000);
        const claims = { iss: p.issuer, aud: asked.get("client_id"), iat: now, exp: now + 300, nonce: asked.get("nonce"), ...p.person, ...p.claims };
        return send(res, 200, { token_type: "Bearer", access_token: "at-1", id_token: p.token(claims) });
      }
      if (url.pathname === "/userinfo") {
        p.counts.userinfo++;
        return req.headers.authorization === "Bearer at-1" ? send(res, 200, p.userinfo()) : send(res, 401, {});
      }
      send(res, 404, {});
    });
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  p.issuer = `http://127.0.0.1:${server.address().port}`;
  /** What the provider does once the person has signed in: the address that the browser goes back to. */
  p.approve = (authorization, extra = {}) => {
    const asked = new URL(authorization).searchParams;
    const code = randomBytes(16).toString("hex");
    p.codes.set(code, asked);
    const back = new URL(asked.get("redirect_uri"));
    for (const [k, v] of Object.entries({ code, state: asked.get("state"), iss: p.issuer, ...extra })) if (v !== null) back.searchParams.set(k, v);
    return back.href;
  };
  p.stop = () => new Promise((done) => (server.closeAllConnections(), server.close(done)));
  return p;
}

/** As fetch, but headers such as Sec-Fetch-Mode go out as they are given. */
function send(url, { method, headers, body }) {
  const text = body instanceof URLSearchParams ? body.toString() : body;
  const form = body instanceof URLSearchParams ? { "content-type": "application/x-www-form-urlencoded" } : {};
  return new Promise((done, failed) => {
    const q = request(url, { method, headers: { ...form, ...headers, ...(text ? { "content-length": Buffer.byteLength(text) } : {}) }, timeout: 30_000 }, (res) => {
      const parts = [];
      res.on("data", (d) => parts.push(d));
      res.on("end", () => {
        const whole = Buffer.concat(parts).toString();
        done({
          status: res.statusCode,
          headers: { get: (n) => res.headers[n] ?? null, getSetCookie: () => res.headers["set-cookie"] ?? [] },
          text: async () => whole,
          json: async () => JSON.parse(whole),
        });
      });
    });
    q.on("timeout", () => q.destroy(new Error(`no answer: ${url}`)));
    q.on("error", failed);
    q.end(text);
  });
}

/** Keeps cookies of one host with their paths, follows nothing. */
export class Browser {
  cookies = new Map();
  attributes = new Map();

  async go(url, { method = "GET", headers = {}, body } = {}) {
    const path = new URL(url).pathname;
    const mine = [...this.cookies].filter(([n]) => path.startsWith(this.attributes.get(n).path)).map(([n, v]) => `${n}=${v}`);
    const r = await send(url, { method, body, headers: { ...(mine.length ? { cookie: mine.join("; ") } : {}), ...headers } });
    for (const line of r.headers.getSetCookie()) {
      const [pair, ...rest] = line.split("; ");
      const at = pair.indexOf("=");
      const attributes = Object.fromEntries(rest.map((x) => [x.split("=")[0].toLowerCase(), x.split("=")[1] ?? true]));
      if (attributes["max-age"] === "0") this.cookies.delete(pair.slice(0, at));
      else this.cookies.set(pair.slice(0, at), pair.slice(at + 1));
      this.attributes.set(pair.slice(0, at), attributes);
    }
    return r;
  }
}
