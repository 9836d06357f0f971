// An S3-compatible bucket and a WebDAV folder as sources: signatures and certificates are right, pages and folders are gone
// through, versions are compared, and what is hostile stays outside.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { after, before, test } from "node:test";
import { dirname, join } from "node:path";
import { startAppliance, temporaryHome, until } from "./appliance.mjs";
import { Remote } from "./remote.mjs";

let a, s3, dav, dir;
const source = async (name) => (await a.get("/api/sources")).sources.find((s) => s.name === name);
const paths = async () => (await a.documents()).map((d) => `${d.path} ${d.state}`).sort();
async function polled(name) {
  const { polls } = await a.post("/api/sources", { poll: name });
  return until(`${name} is looked at`, async () => {
    const s = await source(name);
    return s.polls >= polls && !["listing", "fetching"].includes(s.state) && s;
  });
}
async function comesTo(list) {
  let now;
  try {
    await until("documents", async () => JSON.stringify((now = await paths())) === JSON.stringify([...list].sort()));
  } catch {
    assert.deepEqual(now, [...list].sort());
  }
}
const secret = (name, text) => {
  const path = join(home, "keys", name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  chmodSync(path, 0o600);
  const { uid, gid } = statSync(join(home, "tenants")); // started by root it runs as another
  chownSync(path, uid, gid);
};
const home = temporaryHome();

before(async () => {
  dir = mkdtempSync(join(tmpdir(), "carrel-remote-"));
  const ssl = (...args) => execFileSync("openssl", args, { cwd: dir, stdio: "pipe" });
  ssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Test CA");
  ssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "host.key", "-out", "host.csr", "-subj", "/CN=127.0.0.1");
  writeFileSync(join(dir, "ext"), "subjectAltName=IP:127.0.0.1\n");
  ssl("x509", "-req", "-in", "host.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "host.pem", "-days", "2", "-extfile", "ext");
  s3 = await new Remote("s3", { key: { id: "AKTEST", secret: "s3cr3t/+key" } }).start();
  dav = await new Remote("webdav", { tls: { key: readFileSync(join(dir, "host.key")), cert: readFileSync(join(dir, "host.pem")) } }).start();
  dav.hooks = [(q, r) => q.headers.authorization !== `Basic ${Buffer.from("ada:p w").toString("base64")}` && (r.writeHead(401).end(), true)];
  s3.pageSize = 3;
  s3.put("in/2024/a b+c.md", "# Otter\n\nThe otter swims at dawn.");
  s3.put("in/2024/deep/ü&<x>.md", "# Badger\n\nThe badger digs a sett.");
  s3.put("in/2024/folder/", "");
  for (let i = 0; i < 5; i++) s3.put(`in/2024/n${i}.md`, `# Note ${i}\n\nNumber ${i} of the notes.`);
  s3.put("out/secret.md", "# Not\n\nOutside the prefix.");
  dav.put("r.md", "# Raven\n\nThe raven nests in the tower.");
  dav.put("sub dir/s.md", "# Swift\n\nThe swift never lands.");
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, "ca.pem"), readFileSync(join(dir, "ca.pem")));
  a = await startAppliance({
    home,
    config: `http:\n  requests_per_minute: 0\ningest:\n  settle_ms: 50\nsources:
  - {name: scans, kind: s3, url: "${s3.url}", bucket: bucket, prefix: in/2024/, folder: in/scans, credentials_file: keys/s3, interval: 1h, allow_private_address: true}
  - {name: share, kind: webdav, url: "${dav.url}/docs/", credentials_file: keys/dav, ca_file: ca.pem, interval: 1h, allow_private_address: true}
  - {name: untrusted, kind: webdav, url: "${dav.url}/docs/", interval: 1h, allow_private_address: true}\n`,
  });
  secret("s3", "access_key: AKTEST\nsecret_key: s3cr3t/+key\n");
  secret("dav", "# of the share\nuser: ada\npassword: p w\n");
  await polled("scans");
  await polled("share");
});
after(async () => {
  await a?.stop();
  await s3?.stop();
  await dav?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const bucket = ["in/scans/a b+c.md ready", "in/scans/deep/ü&<x>.md ready", ...[0, 1, 2, 3, 4].map((i) => `in/scans/n${i}.md ready`)];
const share = ["share/r.md ready", "share/sub dir/s.md ready"];

test("a bucket below a prefix, page by page, each request rightly signed; a WebDAV folder over TLS", { timeout: 180_000 }, async () => {
  await comesTo([...bucket, ...share]);
  assert.equal(s3.log.filter((l) => l.status === 403).length, 0);
  assert.ok(s3.log.filter((l) => l.url.includes("continuation-token")).length >= 2);
  assert.equal((await a.search("otter dawn"))[0].document.path, "in/scans/a b+c.md");
  assert.equal((await a.search("swift lands"))[0].document.path, "share/sub dir/s.md");
  assert.deepEqual([(await source("scans")).files, (await source("share")).files], [7, 2]);
});

test("a certificate of an unknown authority is refused", { timeout: 180_000 }, async () => {
  assert.match((await polled("untrusted")).error, /certificate is not trusted/);
  assert.ok(!existsSync(join(home, "watch/main/untrusted/r.md")));
});

test("what has not changed is not asked for; what has is fetched; what has gone goes", { timeout: 180_000 }, async () => {
  const gets = (r) => r.log.filter((l) => l.method === "GET" && l.url.includes(".md")).length;
  const before = [gets(s3), gets(dav)];
  await polled("scans");
  await polled("share");
  assert.deepEqual([gets(s3), gets(dav)], before);
  s3.put("in/2024/n0.md", "# Note 0\n\nThe pelican is here now.");
  s3.files.delete("in/2024/n4.md");
  dav.files.delete("sub dir/s.md");
  dav.put("new/t.md", "# Tern\n\nThe tern crosses oceans.");
  await polled("scans");
  await polled("share");
  assert.deepEqual([gets(s3), gets(dav)], [before[0] + 1, before[1] + 1]);
  await comesTo([...bucket.filter((p) => !p.includes("n4")), "share/r.md ready", "share/new/t.md ready"]);
  await until("the new text", async () => (await a.search("pelican")).length > 0);
});

test("a listing that ends in the middle deletes nothing", { timeout: 180_000 }, async () => {
  const was = await paths();
  s3.hooks = [(q, r) => q.url.includes("continuation-token") && (r.writeHead(500).end(), true)];
  assert.match((await polled("scans")).error, /HTTP 500/);
  s3.hooks = [(q, r) => q.url.includes("continuation-token") && (r.writeHead(200).end("<?xml version='1.0'?><ListBucketResult><Contents><Key>in/2024/z"), true)];
  assert.match((await polled("scans")).error, /cut off/);
  const bomb = `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">${"bcdefghij".split("").map((c, i) => `<!ENTITY ${c} "${`&${"abcdefghi"[i]};`.repeat(10)}">`).join("")}]><ListBucketResult><Contents><Key>&j;</Key></Contents></ListBucketResult>`;
  s3.hooks = [(q, r) => q.url.includes("list-type") && (r.writeHead(200).end(bomb), true)];
  assert.match((await polled("scans")).error, /document type/);
  s3.hooks = [(q, r) => q.url.includes("list-type") && (r.writeHead(200).end(`<ListBucketResult>${"<a>".repeat(100_000)}`), true)];
  assert.match((await polled("scans")).error, /nested too deeply/);
  s3.hooks = [];
  dav.hooks.push((q, r, name) => q.method === "PROPFIND" && name === "/docs/new/" && (r.writeHead(503).end(), true));
  assert.match((await polled("share")).error, /HTTP 503/);
  dav.hooks.pop();
  assert.deepEqual([(await polled("scans")).error, (await polled("share")).error], [null, null]);
  assert.deepEqual(await paths(), was);
});

test("keys in any bytes stay in the source's folder", { timeout: 180_000 }, async () => {
  const text = (n) => `# Odd ${n}\n\nThe odd name ${n}.`;
  s3.put("in/2024/../../etc/x.md", text(1));
  s3.put("in/2024/a\0b.md", text(2));
  s3.put(`in/2024/${"w".repeat(900)}.md`, text(3));
  s3.put("in/2024/N1.md", text(4)); // only capitals differ from n1.md
  s3.put("in/2024/.carrel.yaml", "readers: [nobody]\n");
  s3.put("in/2024//twice.md", text(5));
  s3.put("in/2024/n2.md/below.md", text(6)); // a file stands where its folder would be
  const s = await polled("scans");
  assert.equal(s.failed, 1, s.file_error);
  await until("they are read", async () => (await paths()).length === 8 + 5);
  const names = (await a.documents()).map((d) => d.path).filter((p) => p.startsWith("in/scans/"));
  for (const n of ["in/scans/%2E%2E/%2E%2E/etc/x.md", "in/scans/a%00b.md", "in/scans/%2F/twice.md"]) assert.ok(names.includes(n), `${n} in ${names.join()}`);
  assert.ok(names.some((n) => /^in\/scans\/w{120}%[0-9a-f]{16}\.md$/.test(n)));
  assert.ok(names.some((n) => /^in\/scans\/[Nn]1%[0-9a-f]{16}\.md$/.test(n)), names.join());
  assert.deepEqual(readdirSync(join(home, "watch/main")).sort(), ["in", "share", "untrusted"]);
  assert.ok(!existsSync(join(home, "watch/main/in/scans/.carrel.yaml")));
});

test("a folder and a person's own file at a file's place stay; the file gets another name", { timeout: 180_000 }, async () => {
  const mine = join(home, "watch/main/share/plan.md");
  writeFileSync(mine, "# Mine\n\nNobody fetched this plan.\n");
  dav.put("plan.md", "# Plan\n\nThe cormorant dries its wings.");
  dav.put("plan2.md", "# Plan\n\nThe dipper walks under water.");
  const share = await polled("share");
  assert.deepEqual([share.error, share.failed], [null, 0]);
  assert.match(readFileSync(mine, "utf8"), /Nobody fetched/);
  const own = () => readdirSync(join(home, "watch/main/share")).filter((n) => /^plan%[0-9a-f]{16}\.md$/.test(n));
  assert.equal(own().length, 1);
  assert.match(readFileSync(join(home, "watch/main/share", own()[0]), "utf8"), /cormorant/);
  dav.files.delete("plan.md");
  await polled("share");
  assert.deepEqual([own(), existsSync(mine)], [[], true]);

  s3.put("in/2024/deep", "The deep is a file, and a folder too."); // deep/ has been here since the beginning
  s3.put("in/2024/after.md", "# After\n\nThe gannet plunges.");
  const s = await polled("scans");
  assert.equal(s.error, null);
  assert.ok(readdirSync(join(home, "watch/main/in/scans")).some((n) => /^deep%[0-9a-f]{16}$/.test(n)));
  assert.ok(existsSync(join(home, "watch/main/in/scans/after.md")));

  rmSync(join(home, "watch/main/share/plan2.md")); // deleted here and changed there: the same name again
  dav.put("plan2.md", "# Plan\n\nThe dipper has a nest now.");
  await polled("share");
  assert.ok(existsSync(join(home, "watch/main/share/plan2.md")));
});

test("one file that the server cannot give does not keep the others waiting", { timeout: 180_000 }, async () => {
  const names = Array.from({ length: 12 }, (_, i) => `many/m${i}.md`);
  for (const n of names) dav.put(n, `# ${n}\n\nThe plover ${n}.`);
  let ill = (name) => name === "/docs/many/m3.md" || name === "/docs/many/m7.md";
  let asked = 0;
  dav.hooks.push((q, r, name) => q.method === "GET" && ill(name) && (asked++, r.writeHead(500).end(), true));
  assert.match((await polled("share")).error, /HTTP 500/);
  assert.deepEqual(readdirSync(join(home, "watch/main/share/many")).sort(), names.map((n) => n.slice(5)).filter((n) => n !== "m3.md" && n !== "m7.md").sort());
  ill = () => true;
  for (const n of names) dav.put(n, `# ${n}\n\nThe plover ${n} again.`);
  asked = 0;
  assert.match((await polled("share")).error, /HTTP 500/);
  assert.equal(asked, 5, "then it is the server");
  dav.hooks.pop();
  assert.deepEqual([(await polled("share")).error, (await source("share")).failed], [null, 0]);
});

test("a wrong key is told without the key; one that others can read is not used", { timeout: 180_000 }, async () => {
  secret("s3", "access_key: AKTEST\nsecret_key: wrong-but-secret\n");
  const s = await polled("scans");
  assert.match(s.error, /HTTP 403/);
  assert.equal(s.files, (await source("scans")).files);
  chmodSync(join(home, "keys/s3"), 0o644);
  assert.match((await polled("scans")).error, /others can read/);
  secret("s3", "access_key: AKTEST\nsecret_key: s3cr3t/+key\nwhat-is-this\n");
  assert.match((await polled("scans")).error, /has a line/);
  for (const word of ["wrong-but-secret", "s3cr3t", "p w\n", "what-is-this"]) assert.ok(!a.output.includes(word), `${word} is logged`);
});
