// Scans and pictures through the running services: read in the sandbox, found by their words, and cited with boxes
// that stand over these words.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readlinkSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { deflateSync } from "node:zlib";
import { join } from "node:path";
import { pieces } from "../bench/extract_text.mjs";
import { binDir, startAppliance, until } from "./appliance.mjs";
import { makePdf, makeScan } from "./pdf.mjs";

const scratch = mkdtempSync(join(tmpdir(), "carrel-scan-"));
const DPI = 150, WIDTH = 1275, HEIGHT = 1650;

/** The page of a PDF as a picture, as pdftoppm's `kind` ("-jpeg", "-png", "-tiff"). */
function drawn(lines, kind, ending, { gray = true, turned = false, part = [] } = {}) {
  const pdf = join(scratch, "page.pdf");
  const page = makePdf([lines]);
  writeFileSync(pdf, turned ? Buffer.from(page.toString("latin1").replace("/MediaBox", "/Rotate 90 /MediaBox"), "latin1") : page);
  execFileSync("pdftoppm", [...(gray ? ["-gray"] : []), ...part, kind, "-r", String(DPI), "-singlefile", pdf, join(scratch, "page")]);
  return readFileSync(join(scratch, `page.${ending}`));
}
const scanned = (lines) => ({ jpeg: drawn(lines, "-jpeg", "jpg"), width: WIDTH, height: HEIGHT });

const ferry = ["The ferry to Vlieland leaves at seven in the morning.", "Tickets are sold on board by the purser."];
const lamp = ["The lighthouse keeper of Brandaris is called Okke Wartena.", "He has kept the light for thirty years."];
const mill = ["The miller of Hippolytushoef is called Sanne Quak.", "Flour is sold on Saturdays."];
const fax = ["The crane at Den Oever was repaired by Gerrit Bolt in April."];

let a;
before(async () => {
  a = await startAppliance({ config: "http:\n  requests_per_minute: 0\nocr:\n  languages: eng+tlh\nextract:\n  cpu_s: 5\n" });
});
after(async () => {
  await a?.stop();
  rmSync(scratch, { recursive: true, force: true });
});

/** The box of a word in the first page's text layer of a drawn page, in points: what OCR should find too. */
function truth(lines, word) {
  const pdf = join(scratch, "truth.pdf");
  writeFileSync(pdf, makePdf([lines]));
  const html = execFileSync("pdftotext", ["-bbox", pdf, "-"], { encoding: "utf8" });
  const m = html.match(new RegExp(`xMin="([\\d.]+)" yMin="([\\d.]+)" xMax="([\\d.]+)" yMax="([\\d.]+)">${word}<`));
  return { x0: +m[1], y0: +m[2], x1: +m[3], y1: +m[4] };
}

/** Some box lies on the word's: their middles are near, and neither is wider by half. */
function stands(boxes, page, want, scale) {
  return boxes.some((b) => {
    const at = { x: (b.x0 + b.x1) / 2 / scale, y: (b.y0 + b.y1) / 2 / scale, w: (b.x1 - b.x0) / scale };
    return b.page === page && Math.abs(at.x - (want.x0 + want.x1) / 2) < 4 && Math.abs(at.y - (want.y0 + want.y1) / 2) < 6 && Math.abs(at.w - (want.x1 - want.x0)) < 6;
  });
}

test("pages without text are read from their picture, others as they are", async () => {
  const text = makePdf([["This page has a layer of text and tells of the harbour at Oudeschild."]]);
  a.drop("plain.pdf", text);
  a.drop("scan.pdf", makeScan([scanned(ferry), scanned(["Nothing of interest stands on the second page of this document."]), scanned(lamp)]));
  a.drop("notice.png", drawn(mill, "-png", "png", { gray: false }));
  a.drop("fax.tiff", drawn(fax, "-tiff", "tif"));
  const list = await a.settled({ n: 4 });
  for (const d of list) assert.equal(d.state, "ready", `${d.path}: ${d.error}`);
  assert.equal(list.find((d) => d.path === "scan.pdf").pages, 3);
  assert.match(list.find((d) => d.path === "scan.pdf").note, /not installed for reading pictures: tesseract-ocr-tlh/);
  assert.equal(list.find((d) => d.path === "plain.pdf").note, undefined);

  const found = await a.search("who is the lighthouse keeper of Brandaris");
  const p = found.find((x) => x.document.path === "scan.pdf" && x.page === 3);
  assert.ok(p, "the scan is found");
  assert.match(p.text, /Okke Wartena/);
  const whole = await a.get(`/api/documents/${p.document.id}/text`);
  assert.equal([...whole.text].slice(p.start, p.end).join(""), p.text);
  for (const word of ["Brandaris", "Wartena."]) assert.ok(stands(p.boxes, 3, truth(lamp, word), 1), `a box over ${word} on page 3`);

  const png = (await a.search("who is the miller of Hippolytushoef")).find((x) => x.document.path === "notice.png");
  assert.ok(png, "the picture is found");
  for (const word of ["Hippolytushoef", "Quak."]) assert.ok(stands(png.boxes, 1, truth(mill, word), DPI / 72), `a box over ${word}, in pixels`);
  assert.ok((await a.search("who repaired the crane at Den Oever")).some((x) => x.document.path === "fax.tiff"));
});

test("a page that lies on its side is read, and its boxes stand upright on it", async () => {
  const tides = ["The tide table of Harlingen", ...Array.from({ length: 14 }, (_, i) => `On day ${i + 2} of the month high water comes later than on the day before it.`), "The warden of the sluice is Femke Hiemstra."];
  a.drop("turned.png", drawn(tides, "-png", "png", { turned: true }));
  await a.settled({ n: 5 });
  const p = (await a.search("who is the warden of the sluice")).find((x) => x.document.path === "turned.png");
  assert.match(p.text, /Femke Hiemstra/);
  const upright = p.boxes.filter((b) => b.y1 - b.y0 > b.x1 - b.x0).length;
  assert.ok(upright > p.boxes.length * 0.7, `${upright} of ${p.boxes.length} boxes are higher than wide`);
});

test("the answer cites the page", async () => {
  const answer = await a.post("/v1/chat/completions", { model: "carrel", messages: [{ role: "user", content: "Who is the lighthouse keeper of Brandaris?" }] });
  const cited = answer.citations.find((c) => c.document.path === "scan.pdf");
  assert.ok(cited, JSON.stringify(answer).slice(0, 600));
  assert.match(cited.text, /Okke Wartena/);
  assert.equal(cited.page, 3);
});

test("a picture's own picture is drawn in the sandbox, and its size is that of its boxes", async () => {
  for (const path of ["notice.png", "fax.tiff"]) {
    const d = (await a.documents()).find((x) => x.path === path);
    const r = await a.request(`/api/documents/${d.id}/pages/1.png`);
    assert.equal(r.status, 200, r.status === 200 ? "" : await r.text());
    assert.equal(Number(r.headers.get("x-page-width-points")), WIDTH);
    assert.equal(Number(r.headers.get("x-page-height-points")), HEIGHT);
    const png = Buffer.from(await r.arrayBuffer());
    assert.equal(png.toString("latin1", 1, 4), "PNG");
    assert.equal(png.readUInt32BE(20), 1600);
    assert.equal((await a.request(`/api/documents/${d.id}/pages/2.png`)).status, 404);
  }
});

test("what cannot be read says why", async () => {
  const bomb = Buffer.from(drawn(ferry, "-png", "png"));
  bomb.writeUInt32BE(60000, 16);
  bomb.writeUInt32BE(60000, 20);
  a.drop("bomb.png", bomb);
  a.drop("cut.jpg", drawn(ferry, "-jpeg", "jpg").subarray(0, 300));
  a.drop("blank.png", drawn([" "], "-png", "png"));
  const broken = scanned(ferry);
  broken.jpeg = broken.jpeg.subarray(0, 200);
  a.drop("half.pdf", makeScan([scanned(lamp), broken]));
  // an image that says to be of 60,000 x 60,000 points, in a few bytes: drawing it takes half a minute
  const bombs = makeScan([scanned(lamp), { jpeg: deflateSync(Buffer.alloc(1000)), width: 60000, height: 60000 }]);
  a.drop("bombs.pdf", Buffer.from(bombs.toString("latin1").replace(/(60000 [^>]*)\/DCTDecode/, "$1/FlateDecode"), "latin1"));
  const list = await until("all settled", async () => {
    const l = await a.documents();
    return ["bomb.png", "cut.jpg", "blank.png", "half.pdf", "bombs.pdf"].every((n) => l.some((d) => d.path === n && ["ready", "failed"].includes(d.state))) && l;
  });
  const of = (n) => list.find((d) => d.path === n);
  assert.match(of("bomb.png").error, /60000 x 60000 points large/);
  assert.match(of("cut.jpg").error, /damaged/);
  assert.match(of("blank.png").error, /no text was found/);
  assert.equal(of("half.pdf").state, "ready"); // the page that is whole stays
  assert.equal(of("bombs.pdf").state, "ready");
  assert.match(of("bombs.pdf").note, /^page 2 could not be read: .*processor time/);
});

test("pictures cut and bent end with text or with a reason", async () => {
  const part = ["-x", "100", "-y", "140", "-W", "760", "-H", "70"];
  const cases = [["-png", "png"], ["-jpeg", "jpg"], ["-tiff", "tif"]].flatMap(([kind, ending]) => {
    const whole = drawn(ferry, kind, ending, { part });
    const bent = (at, bit) => {
      const b = Buffer.from(whole);
      b[at] ^= 1 << bit;
      return b;
    };
    return [4, 15].map((n) => whole.subarray(0, (whole.length * n) / 16)).concat([8, 20, 45].map((at) => bent(at, at % 8)), [3, 9].map((n) => bent(Math.floor((whole.length * n) / 10), n % 8)));
  });
  const modes = [["--ocr", "1", "--picture", "--languages", "eng"], ["--render", "1", "--picture"]];
  const runs = cases.flatMap((bytes, i) => modes.map((mode) => ({ bytes, mode, name: `case ${i} ${mode[0]}` })));
  const seen = new Set();
  const next = async () => {
    for (let r = runs.pop(); r !== undefined; r = runs.pop()) {
      const child = spawn(join(binDir, "carrel-extract"), [...r.mode, "--memory-mb", "512", "--cpu-s", "20"], { stdio: ["pipe", "pipe", "pipe"], env: {} }); // as ingest starts it: without a sanitizer's options
      const out = [];
      child.stdout.on("data", (d) => out.push(d));
      child.stdin.on("error", () => undefined); // it need not read all
      child.stdin.end(r.bytes);
      const code = await new Promise((done) => child.on("close", (c, signal) => done(signal ?? c)));
      assert.equal(code, 0, r.name);
      const got = pieces(Buffer.concat(out));
      assert.notEqual(got.done, got.failure !== null, `${r.name}: ${got.failure}`);
      seen.add(got.failure ?? "read");
    }
  };
  await Promise.all([next(), next()]);
  assert.ok(seen.has("read"));
  for (const why of seen) assert.match(why, /^read$|damaged|no picture of a kind|points large|empty/);
});

test("what reads the picture is shut in, before it has read a byte of it", async () => {
  // its standard input stays open and empty, so that it can be looked at for as long as that takes
  const child = spawn(join(binDir, "carrel-extract"), ["--ocr", "1", "--picture", "--languages", "eng"], { stdio: ["pipe", "pipe", "inherit"] });
  try {
    const reader = await until("tesseract has started", async () => {
      const pids = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim().split(" ").filter(Boolean);
      return pids.find((p) => readFileSync(`/proc/${p}/comm`, "utf8").trim() === "tesseract");
    });
    for (const pid of [child.pid, reader]) {
      const status = await until("it is sealed", async () => {
        const s = Object.fromEntries(readFileSync(`/proc/${pid}/status`, "utf8").split("\n").map((l) => l.split(":\t")));
        return s.Seccomp === "2" && s;
      });
      assert.equal(status.NoNewPrivs, "1");
      assert.equal(status.CapEff, "0000000000000000");
      assert.ok(!status.Uid.split("\t").includes("0"), status.Uid);
      assert.equal(status.Threads, "1");
    }
    const limits = readFileSync(`/proc/${reader}/limits`, "utf8");
    assert.match(limits, /Max address space +536870912 /);
    assert.match(limits, /Max cpu time +60 /);
    const fds = readdirSync(`/proc/${reader}/fd`).filter((n) => {
      try {
        return !readlinkSync(`/proc/${reader}/fd/${n}`).startsWith("/usr/");
      } catch {
        return false;
      }
    });
    assert.deepEqual(fds, ["0", "1", "2"]);
    assert.equal(readFileSync(`/proc/${reader}/environ`, "latin1"), "OMP_THREAD_LIMIT=1\0");
  } finally {
    child.kill("SIGKILL");
  }
  await until("it dies with its parent", async () => child.signalCode !== null);
});

test("doctor says what pictures are read as", () => {
  const r = spawnSync(join(binDir, "carrel"), ["doctor", "--home", a.home], { encoding: "utf8" });
  assert.match(r.stdout, /tesseract is there and reads pictures as eng/);
  assert.match(r.stdout, /ocr.languages names what is not installed: tlh/);
});
