// What lies in archives and mails: found inside, cited by its own path, and living with the file that holds it.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { renameSync, rmSync, writeFileSync, readdirSync, existsSync } from "node:fs";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { binDir, startAppliance, until } from "./appliance.mjs";
import { makePdf } from "./pdf.mjs";
import { makeZip } from "./zip.mjs";

const mail = (subject, body, attached) => {
  const parts = attached.map(([name, type, bytes]) =>
    `--b\r\nContent-Type: ${type}; name="${name}"\r\nContent-Disposition: attachment; filename="${name}"\r\n` +
    `Content-Transfer-Encoding: base64\r\n\r\n${Buffer.from(bytes).toString("base64").replace(/(.{76})/g, "$1\r\n")}\r\n`);
  return `From: ana@example.org\r\nTo: ben@example.org\r\nSubject: ${subject}\r\nMIME-Version: 1.0\r\n` +
    `Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n${body}\r\n${parts.join("")}--b--\r\n`;
};
const inner = makeZip([["deep.txt", "The walrus keeps the harmonica in the boathouse."]]);
const letter = makePdf([["The offer names a price of 4711 guilders for the zeppelin."]]);
const post = (more = []) => makeZip([
  ["letters/a.txt", "The hedgehog answered the letter from Lisbon."],
  ["inner.zip", inner],
  ["x.eml", mail("The offer", "Please find the offer attached.", [["offer.pdf", "application/pdf", letter]])],
  ...more,
]);
let a;

const exec = promisify(execFile);
const carrel = async (...args) => (await exec(join(binDir, "carrel"), [...args, "--home", a.home])).stdout;
const paths = async () => (await a.documents()).map((d) => d.path).sort();
const all = async () => Object.fromEntries((await a.documents()).map((d) => [d.path, d]));
const finds = async (query) => (await a.search(query))[0]?.document.path;
const ready = (n) => until(`${n} documents ready`, async () => {
  const list = await a.documents();
  return list.length === n && list.every((d) => d.state === "ready") && list;
}).catch(async (e) => {
  throw new Error(`${e.message}\n${JSON.stringify(await a.documents(), null, 1)}`);
});
const becomes = (list) => until(`documents ${list}`, async () => {
  const docs = await a.documents();
  return JSON.stringify(docs.map((d) => d.path).sort()) === JSON.stringify(list) && docs.every((d) => d.state === "ready");
}).catch(async (e) => {
  throw new Error(`${e.message}\n${JSON.stringify(await a.documents(), null, 1)}`);
});
const INSIDE = ["inner.zip", "inner.zip/deep.txt", "letters/a.txt", "x.eml", "x.eml/offer.pdf"];
const under = (zip, list = INSIDE) => [zip, ...list.map((p) => `${zip}/${p}`)].sort();
let ids;

before(async () => {
  a = await startAppliance();
});
after(async () => {
  await a?.stop();
});

test("a zip's files, those in a zip within it and what is attached to a mail within it are found", { timeout: 180_000 }, async () => {
  a.drop("2024/post.zip", post());
  await ready(6);
  assert.deepEqual(await paths(), under("2024/post.zip"));
  assert.equal(await finds("hedgehog letter from Lisbon"), "2024/post.zip/letters/a.txt");
  assert.equal(await finds("walrus harmonica boathouse"), "2024/post.zip/inner.zip/deep.txt");
  assert.equal(await finds("guilders zeppelin price"), "2024/post.zip/x.eml/offer.pdf");
  const docs = await all();
  ids = Object.fromEntries(Object.entries(docs).map(([p, d]) => [p, d.id]));
  for (const d of Object.values(docs)) assert.equal(d.collection, "2024");
  assert.equal(docs["2024/post.zip/x.eml/offer.pdf"].format, "pdf");
  assert.equal(docs["2024/post.zip"].parent ?? null, null);
  assert.deepEqual([docs["2024/post.zip"].members, docs["2024/post.zip"].members_done], [3, 3]);
  assert.equal(docs["2024/post.zip/letters/a.txt"].members, undefined);
  assert.equal(docs["2024/post.zip/x.eml/offer.pdf"].parent, ids["2024/post.zip/x.eml"]);
  const original = await a.request(`/api/documents/${ids["2024/post.zip/x.eml/offer.pdf"]}/original`);
  assert.deepEqual(Buffer.from(await original.arrayBuffer()), Buffer.from(letter));
  const only = (await a.search("guilders zeppelin price", { filter: { under: ["2024/post.zip/"] } }));
  assert.equal(only[0].document.path, "2024/post.zip/x.eml/offer.pdf");
});

test("one of them cannot be deleted by itself, and says why", { timeout: 180_000 }, async () => {
  const r = await a.request(`/api/documents/${ids["2024/post.zip/letters/a.txt"]}`, { method: "DELETE" });
  const text = await r.text();
  assert.ok(r.status >= 400 && r.status < 500, `${r.status} ${text}`);
  assert.match(text, /2024\/post\.zip/);
  assert.equal((await a.documents()).length, 6);
});

test("nothing can be uploaded into an archive", { timeout: 180_000 }, async () => {
  const r = await a.request("/api/documents?path=2024/post.zip/new.txt&replace=true", { method: "POST", body: "text" });
  assert.equal(r.status, 403);
  assert.match(await r.text(), /through a link or a file/);
});

test("renamed, they go along and keep their ids", { timeout: 180_000 }, async () => {
  renameSync(join(a.watch, "2024/post.zip"), join(a.watch, "2024/mail.zip"));
  await becomes(under("2024/mail.zip"));
  const docs = await all();
  for (const [p, id] of Object.entries(ids)) assert.equal(docs[p.replace("post.zip", "mail.zip")].id, id, p);
  assert.equal(await finds("guilders zeppelin price"), "2024/mail.zip/x.eml/offer.pdf");
  renameSync(join(a.watch, "2024"), join(a.watch, "2025"));
  await becomes(under("2025/mail.zip"));
  const moved = await all();
  for (const [p, id] of Object.entries(ids)) assert.equal(moved[p.replace("2024/post.zip", "2025/mail.zip")].id, id, p);
  assert.equal(moved["2025/mail.zip/x.eml/offer.pdf"].collection, "2025");
});

test("replaced, what is the same stays, what changed is read anew, what is missing goes", { timeout: 180_000 }, async () => {
  a.drop("2025/mail.zip", makeZip([
    ["letters/a.txt", "The hedgehog moved to Porto instead."],
    ["inner.zip", inner],
    ["new.txt", "A newcomer: the pelican."],
  ]));
  await becomes(under("2025/mail.zip", ["inner.zip", "inner.zip/deep.txt", "letters/a.txt", "new.txt"]));
  const docs = await all();
  for (const p of ["inner.zip", "inner.zip/deep.txt", "letters/a.txt"]) {
    assert.equal(docs[`2025/mail.zip/${p}`].id, ids[`2024/post.zip/${p}`], p);
  }
  assert.equal(await finds("hedgehog Porto"), "2025/mail.zip/letters/a.txt");
  assert.deepEqual((await a.search("guilders zeppelin")).filter((p) => p.document.path.includes("offer")), []);
});

test("a copy of it has documents of its own; deleted, they go with it", { timeout: 180_000 }, async () => {
  a.drop("copy/mail.zip", makeZip([["inner.zip", inner]]));
  await until("the copy's documents", async () => (await a.documents()).filter((d) => d.path.startsWith("copy/") && d.state === "ready").length === 3);
  rmSync(join(a.watch, "copy/mail.zip"));
  await until("they are gone", async () => (await paths()).every((p) => !p.startsWith("copy/")));
  assert.equal(await finds("walrus harmonica boathouse"), "2025/mail.zip/inner.zip/deep.txt");
});

test("what lay in a file goes when the file becomes another in which nothing lies", { timeout: 180_000 }, async () => {
  const bare = mail("The weather", "The lapwing tells of rain in Groningen.", []);
  const here = async () => (await a.documents()).filter((d) => d.path.startsWith("swap/"));
  const are = (list) => until(`documents ${list}`, async () => {
    const docs = await here();
    return JSON.stringify(docs.map((d) => d.path).sort()) === JSON.stringify(list) && docs.every((d) => d.state === "ready");
  }).catch(async (e) => {
    throw new Error(`${e.message}\n${JSON.stringify(await here(), null, 1)}`);
  });
  a.drop("swap/bare.eml", bare);
  a.drop("swap/x.eml", mail("The bill", "The bill is attached.", [["bill.txt", "text/plain", "The marabou owes nine florins."]]));
  a.drop("swap/y.eml", mail("The count", "The count is attached.", [["z.txt", "text/plain", "The jackdaw counts eleven farthings."]]));
  await are(["swap/bare.eml", "swap/x.eml", "swap/x.eml/bill.txt", "swap/y.eml", "swap/y.eml/z.txt"]);
  assert.equal(await finds("marabou florins"), "swap/x.eml/bill.txt");
  a.drop("swap/x.eml", bare); // content that is known, and known to hold nothing
  renameSync(join(a.watch, "swap/y.eml"), join(a.watch, "swap/y.txt")); // the same content, read as text
  await are(["swap/bare.eml", "swap/x.eml", "swap/y.txt"]);
  assert.deepEqual((await a.search("marabou florins")).filter((p) => p.document.path.includes("bill")), []);
  assert.deepEqual((await a.search("jackdaw farthings")).filter((p) => p.document.path.includes("z.txt")), []);
  rmSync(join(a.watch, "swap"), { recursive: true });
  await until("they are gone", async () => (await here()).length === 0);
});

test("kill -9 in the middle loses nothing and leaves nothing behind", { timeout: 180_000 }, async () => {
  const many = Array.from({ length: 150 }, (_, i) => [`n/${i}.txt`, `Number ${i} of the platypus files, with a tale of its own ${i * 7919}.`]);
  a.drop("big/many.zip", makeZip([...many, ["inner.zip", inner]]));
  await until("some are ready", async () => (await a.documents()).filter((d) => d.path.startsWith("big/") && d.state === "ready").length > 10, { every: 10 });
  await a.kill();
  const config = null;
  a = await startAppliance({ home: a.home, config });
  await until("all are ready", async () => {
    const list = (await a.documents()).filter((d) => d.path.startsWith("big/"));
    return list.length === 153 && list.every((d) => d.state === "ready");
  }, { timeout: 90_000 }).catch(async (e) => {
    throw new Error(`${e.message}\n${JSON.stringify((await a.documents()).filter((d) => d.state !== "ready").slice(0, 4), null, 1)}\n${a.output.slice(-2000)}`);
  });
  const tmp = join(a.home, "tmp");
  assert.deepEqual(existsSync(tmp) ? readdirSync(tmp).filter((n) => n.startsWith("original")) : [], []);
  await a.request(`/api/documents/${(await all())["big/many.zip"].id}`, { method: "DELETE" });
  await until("they are gone", async () => (await paths()).every((p) => !p.startsWith("big/")));
});

test("who may not read the archive may not read what lies in it", { timeout: 180_000 }, async () => {
  const key = (await carrel("key", "create", "guest")).trim();
  const seen = async () => (await (await a.request("/api/search", { key, method: "POST", body: { query: "okapi" } })).json())
    .passages.map((p) => p.document.path).sort();
  a.drop("rights/x.zip", makeZip([["a.txt", "The okapi in the open."], ["pay/b.txt", "The okapi on the payroll."],
    ["in.zip", makeZip([["c.txt", "The okapi two archives deep."]])]]));
  await until("it is read", async () => (await seen()).length === 3).catch(async (e) => {
    throw new Error(`${e.message}: ${await seen()}`);
  });
  const rules = async (text, expected) => {
    writeFileSync(join(a.home, "access.yaml"), text);
    let now;
    await until(`guest finds ${expected}`, async () => JSON.stringify(now = await seen()) === JSON.stringify(expected))
      .catch((e) => { throw new Error(`${e.message}: ${now}`); });
  };
  await rules("access:\n  - path: 'rights/*.zip'\n    readers: [hr]\n", []);
  await rules("access:\n  - path: 'rights/*.zip/in.zip'\n    readers: [hr]\n", ["rights/x.zip/a.txt", "rights/x.zip/pay/b.txt"]);
  await rules("access:\n  - path: '**/pay/**'\n    readers: [hr]\n  - path: 'rights/x.zip/a.txt'\n    readers: [everyone]\n",
    ["rights/x.zip/a.txt", "rights/x.zip/in.zip/c.txt"]);
  await rules("access: []\n", ["rights/x.zip/a.txt", "rights/x.zip/in.zip/c.txt", "rights/x.zip/pay/b.txt"]);
});

test("erased is the file with all that lies in it; one of them alone is refused", { timeout: 180_000 }, async () => {
  const path = "rights/x.zip";
  const refused = await carrel("erase", "--path", `${path}/a.txt`, "--yes").catch((e) => e);
  assert.match(`${refused.stderr}${refused.stdout}`, /rights\/x\.zip/);
  assert.ok(existsSync(join(a.watch, path)));
  const hold = (await carrel("hold", "add", "--path", `${path}/a.txt`, "--reason", "a lawsuit").catch((e) => e));
  const held = await carrel("erase", "--path", path, "--yes").catch((e) => e);
  assert.match(`${held.stderr}${held.stdout}`, /hold|lawsuit/, JSON.stringify(hold));
  const id = /[a-z0-9]{20,}/.exec(`${hold}`)[0];
  await carrel("hold", "remove", id);
  await carrel("erase", "--path", path, "--yes");
  assert.ok(!existsSync(join(a.watch, path)));
  assert.deepEqual((await paths()).filter((p) => p.startsWith("rights/")), []);
  assert.deepEqual((await a.search("okapi payroll")).filter((p) => p.document.path.startsWith("rights")), []);
  a.drop("rights/again.zip", makeZip([["other.txt", "The okapi on the payroll."]]));
  await until("its content is refused", async () => (await all())["rights/again.zip/other.txt"]?.state === "failed");
  assert.match((await all())["rights/again.zip/other.txt"].error, /erased/);
});

test("a lost journal finds them again, each once", { timeout: 180_000 }, async () => {
  const before = await all();
  await a.stop({ keep: true });
  for (const f of readdirSync(join(a.home, "tenants/main"))) {
    if (f.startsWith("ingest.db")) rmSync(join(a.home, "tenants/main", f));
  }
  a = await startAppliance({ home: a.home, config: null });
  const ok = Object.keys(before).filter((p) => before[p].state === "ready").sort();
  await until("all are ready again", async () => {
    const docs = await a.documents().catch(() => []);
    return ok.every((p) => docs.filter((d) => d.path === p && d.state === "ready").length === 1);
  }).catch(async (e) => { throw new Error(`${e.message} ${JSON.stringify(await a.documents(), null, 1)}`); });
  const docs = await all();
  assert.equal(docs["2025/mail.zip/inner.zip/deep.txt"].parent, docs["2025/mail.zip/inner.zip"].id);
});

test("a backup has them, and a restored one does not read them again", { timeout: 180_000 }, async () => {
  const target = join(a.home, "../backup");
  const home = join(a.home, "../restored");
  const before = await all();
  await carrel("backup", target, "--with-watch");
  await a.stop({ keep: true });
  await exec(join(binDir, "carrel"), ["restore", target, "--into", home]);
  const b = await startAppliance({ home, config: null });
  try {
    await b.settled({ n: Object.keys(before).length });
    for (const d of await b.documents()) {
      assert.equal(d.id, before[d.path]?.id, d.path);
      if (d.parent) assert.equal(d.changed, before[d.path].changed, `${d.path} was not touched`);
    }
    const verified = JSON.parse((await exec(join(binDir, "carrel"), ["verify", "--home", home, "--json"])).stdout);
    assert.equal(verified.problems, 0);
  } finally {
    await b.stop({ keep: true });
  }
  a = await startAppliance({ home: a.home, config: null });
});

test("hostile ones end, and say what was left out", { timeout: 180_000 }, async () => {
  const bad = makeZip([
    ["../../escape.txt", "The lemur climbed out of the archive."],
    ["/abs.txt", "The lemur stood at the root."],
    [".carrelignore", "*"],
    [".hidden/x.txt", "Hidden lemur."],
    ["a.txt", "First lemur."],
    ["a.txt", "Second lemur."],
    ["empty.txt", ""],
  ]);
  a.drop("bad/names.zip", bad);
  a.drop("bad/notes.txt.gz", gzipSync("A lonely lemur in a compressed note."));
  a.drop("bad/broken.zip", post().subarray(0, 300));
  let nest = makeZip([["core.txt", "The lemur at the core."]]);
  for (let i = 0; i < 6; i++) nest = makeZip([[`level${i}.zip`, nest]]);
  a.drop("bad/nest.zip", nest);
  await until("they have settled", async () => {
    const list = (await a.documents()).filter((d) => d.path.startsWith("bad/"));
    return list.length >= 14 && list.every((d) => d.state === "ready" || d.state === "failed");
  }).catch(async (e) => {
    throw new Error(`${e.message}\n${JSON.stringify((await a.documents()).filter((d) => d.path.startsWith("bad/")), null, 1)}`);
  });
  const got = (await paths()).filter((p) => p.startsWith("bad/names.zip"));
  assert.deepEqual(got, ["", "/a (2).txt", "/a.txt", "/abs.txt", "/escape.txt"].map((p) => `bad/names.zip${p}`));
  assert.equal(await finds("lonely lemur compressed note"), "bad/notes.txt.gz/notes.txt");
  const docs = await all();
  const deepest = Object.keys(docs).filter((p) => p.startsWith("bad/nest.zip")).sort((x, y) => y.length - x.length)[0];
  assert.equal(deepest.split("/").length, 6);
  assert.match(docs[deepest].note, /this deep/);
  assert.match(docs["bad/broken.zip"].note ?? docs["bad/broken.zip"].error, /./);
});
