// Servers for the tests of sources: a listing of links, WebDAV, and an S3-compatible one that checks signatures by itself.
import { createHash, createHmac } from "node:crypto";
import http from "node:http";
import https from "node:https";

const sha = (x) => createHash("sha256").update(x).digest("hex");
const hmac = (key, x) => createHmac("sha256", key).update(x).digest();
const xml = (s) => s.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const quote = (s) => s.split("/").map((x) => encodeURIComponent(x).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)).join("/");

/** Files by name, requests as they came, and `hooks`: (request, response, name) => true when it has answered. */
export class Remote {
  constructor(kind, { tls, key } = {}) {
    this.kind = kind;
    this.key = key; // { id, secret } of S3
    this.files = new Map();
    this.log = [];
    this.hooks = [];
    const answer = (q, r) => this.answer(q, r).catch((e) => r.destroy(e));
    this.server = tls ? https.createServer(tls, answer) : http.createServer(answer);
  }
  async start() {
    await new Promise((done) => this.server.listen(0, "127.0.0.1", done));
    this.port = this.server.address().port;
    this.url = `${this.server instanceof https.Server ? "https" : "http"}://127.0.0.1:${this.port}`;
    return this;
  }
  async stop() {
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }
  put(name, body) {
    this.files.set(name, { body: Buffer.from(body), etag: `"${sha(body).slice(0, 12)}"` });
  }
  count(method, status, part = "") {
    return this.log.filter((l) => l.method === method && l.status === status && l.url.includes(part)).length;
  }
  async answer(q, r) {
    const entry = { method: q.method, url: q.url, status: 0 };
    this.log.push(entry);
    r.on("finish", () => (entry.status = r.statusCode));
    for await (const piece of q) void piece;
    const raw = q.url.split("?")[0];
    const name = decodeURIComponent(raw);
    for (const hook of this.hooks) if (await hook(q, r, name)) return;
    if (this.kind === "s3") return this.s3(q, r, raw, name);
    if (this.kind === "webdav" && q.method === "PROPFIND") return this.dav(q, r, name);
    if (name.endsWith("/")) return this.page(r, name);
    this.file(q, r, name.slice("/docs/".length));
  }
  file(q, r, name) {
    const f = this.files.get(name);
    if (!f) return void r.writeHead(404).end("no");
    if (q.headers["if-none-match"] === f.etag) return void r.writeHead(304, { etag: f.etag }).end();
    r.writeHead(200, { etag: f.etag, "content-length": f.body.length, "last-modified": "Tue, 04 Mar 2025 10:15:00 GMT" }).end(f.body);
  }
  /** What lies in a folder: [names of files, names of folders]. */
  inside(folder) {
    const files = [], folders = new Set();
    for (const name of this.files.keys()) {
      if (!name.startsWith(folder)) continue;
      const rest = name.slice(folder.length);
      if (rest.includes("/")) folders.add(rest.slice(0, rest.indexOf("/")));
      else files.push(rest);
    }
    return [files, [...folders]];
  }
  page(r, path) {
    const [files, folders] = this.inside(path.slice("/docs/".length));
    const links = [...folders.map((f) => `${quote(f)}/`), ...files.map(quote)].map((h) => `<a href="${h}">${xml(h)}</a> 04-Mar-2025 10:15 17`);
    r.writeHead(200, { "content-type": "text/html" }).end(`<html><head><title>Index of ${path}</title></head><body><h1>Index</h1><pre><a href="../">../</a>\n<a href="?C=M;O=A">M</a>\n${links.join("\n")}</pre></body></html>`);
  }
  dav(q, r, path) {
    if (q.headers.depth !== "1") return void r.writeHead(403).end();
    if (!path.endsWith("/")) return void r.writeHead(301, { location: `${quote(path)}/` }).end();
    const [files, folders] = this.inside(path.slice("/docs/".length));
    const one = (href, props) => `<d:response><d:href>${xml(href)}</d:href><d:propstat><d:prop>${props}</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`;
    const folder = "<d:resourcetype><d:collection/></d:resourcetype>";
    const rows = [one(quote(path), folder), ...folders.map((f) => one(`${quote(path + f)}/`, folder))];
    for (const name of files) {
      const f = this.files.get((path + name).slice("/docs/".length));
      rows.push(one(quote(path + name), `<d:resourcetype/><d:getetag>${xml(f.etag)}</d:getetag><d:getcontentlength>${f.body.length}</d:getcontentlength>`));
    }
    r.writeHead(207, { "content-type": "application/xml" }).end(`<?xml version="1.0"?><d:multistatus xmlns:d="DAV:">${rows.join("")}</d:multistatus>`);
  }
  /** The signature as the service works it out from what came over the wire. */
  signed(q) {
    const m = /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(q.headers.authorization ?? "");
    if (!m || m[1] !== this.key.id || !q.headers["x-amz-date"].startsWith(m[2])) return false;
    if (Math.abs(Date.parse(q.headers["x-amz-date"].replace(/^(....)(..)(..T..)(..)(..Z)$/, "$1-$2-$3:$4:$5")) - Date.now()) > 300_000) return false;
    const [path, query = ""] = q.url.split("?");
    const names = m[4].split(";");
    if (!names.includes("host") || !names.includes("x-amz-date")) return false;
    const sorted = query.split("&").filter((x) => x !== "").map((x) => x.split("=")).sort(([a], [b]) => (a < b ? -1 : 1)).map(([k, v = ""]) => `${k}=${v}`).join("&");
    const request = [q.method, path, sorted, ...names.map((n) => `${n}:${q.headers[n].trim()}`), "", m[4], q.headers["x-amz-content-sha256"]].join("\n");
    const text = ["AWS4-HMAC-SHA256", q.headers["x-amz-date"], `${m[2]}/${m[3]}/s3/aws4_request`, sha(request)].join("\n");
    const key = ["aws4_request"].reduce(hmac, hmac(hmac(hmac(`AWS4${this.key.secret}`, m[2]), m[3]), "s3"));
    return m[3] === (this.region ?? "us-east-1") && hmac(key, text).toString("hex") === m[5];
  }
  s3(q, r, raw, name) {
    if (!this.signed(q)) return void r.writeHead(403, { "content-type": "application/xml" }).end("<Error><Code>SignatureDoesNotMatch</Code></Error>");
    if (name.startsWith("/bucket/")) return this.file(q, r, name.slice("/bucket/".length));
    const p = new URLSearchParams(q.url.split("?")[1]);
    if (raw !== "/bucket" && raw !== "/bucket/") return void r.writeHead(404).end();
    if (p.get("list-type") !== "2") return void r.writeHead(400).end();
    const all = [...this.files.keys()].filter((k) => k.startsWith(p.get("prefix") ?? "")).sort();
    const from = Number(p.get("continuation-token")?.slice(2) ?? 0);
    const page = all.slice(from, from + (this.pageSize ?? 1000));
    const more = from + page.length < all.length;
    const encode = (k) => (p.get("encoding-type") === "url" ? quote(k).replaceAll("%20", "+") : xml(k));
    const rows = page.map((k) => `<Contents><Key>${encode(k)}</Key><ETag>${xml(this.files.get(k).etag)}</ETag><Size>${this.files.get(k).body.length}</Size></Contents>`);
    r.writeHead(200, { "content-type": "application/xml" }).end(
      `<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name><IsTruncated>${more}</IsTruncated>${more ? `<NextContinuationToken>t/${from + page.length}</NextContinuationToken>` : ""}${rows.join("")}${p.get("encoding-type") === "url" ? "<EncodingType>url</EncodingType>" : ""}</ListBucketResult>`);
  }
}
