// Names and texts that would drive a terminal or forge a line: the command line shows them as what they are.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { binDir, startAppliance } from "./appliance.mjs";

const FORGED = "root  admin  forged";
/* A title and colours by ESC, a clear by C1, a text turned round, rubbed out, and another line. */
const EVIL = `e\u001b]0;owned\u0007\u001b[31m\u009b2J\u202egnp\u2066\u007f\r\n${FORGED}`;
/* What names may hold that are refused where they have controls of ASCII. */
const SOFT = `s\u009b2J\u202egnp\u2066\u200f\u2028${FORGED}`;
let a, id;

const run = (args) =>
  new Promise((done) => {
    const env = { ...process.env, CARREL_HOME: a.home, CARREL_PORT: "", CARREL_KEY: "", NO_COLOR: "1" };
    execFile(join(binDir, "carrel"), args, { env, maxBuffer: 1 << 24 }, (error, stdout, stderr) => done({ code: error ? error.code : 0, stdout, stderr }));
  });

before(async () => {
  a = await startAppliance({ config: 'http:\n  requests_per_minute: 0\nwebhooks:\n  allow: ["https://hooks.example.invalid"]\n' });
  a.drop(`${EVIL.replaceAll("/", "")}/${EVIL}.md`, `# ${EVIL}\n\nThe wombat sleeps by day. ${EVIL}\n`);
  a.drop(`broken-${EVIL}.pdf`, "%PDF-1.4 and nothing else");
  id = (await a.settled({ n: 2 })).find((d) => d.state === "ready").id;
});
after(async () => a?.stop());

/** Tried, and said how it went; a name that is refused is fine. */
const made = async (path, body) => {
  const r = await a.request(path, { method: "POST", body });
  const json = await r.json();
  assert.ok(r.status < 500, `${path}: ${r.status}`);
  return { ok: r.status < 300, ...json };
};

test("no command lets names and texts of others drive the terminal or forge lines", { timeout: 180_000 }, async (t) => {
  const taken = [];
  for (const name of [SOFT, EVIL]) {
    const all = {
      key: await made("/api/keys", { name, groups: [name] }),
      held: await made("/api/keys", { name: "held", collections: [name] }),
      user: await made("/api/users", { name, role: "reader", groups: [name] }),
      hook: await made("/api/webhooks", { name, url: "https://hooks.example.invalid/x", events: ["ping"] }),
      hold: await made("/api/holds", { document: id, reason: name }),
      store: await made("/v1/vector_stores", { name }),
    };
    all.team = await made("/api/limits", { kind: "key", name: all.key.id ?? "x", team: name });
    all.budget = await made("/api/limits", { kind: "team", name, requests_per_minute: 5 });
    taken.push(...Object.keys(all).filter((k) => all[k].ok));
  }
  await a.post("/api/search", { query: `wombat ${EVIL}` });
  await a.post("/v1/chat/completions", { model: "carrel", messages: [{ role: "user", content: `When does the wombat sleep? ${EVIL}` }] });
  t.diagnostic(`taken: ${taken}`);
  const copy = join(a.home, "../copy");
  const commands = [
    ["docs"], ["docs", id], ["search", "wombat"], ["search", `wombat ${EVIL}`], ["ask", "When does the wombat sleep?"], ["explain", "wombat"], ["explain", "wombat", "--document", id],
    ["key", "list"], ["user", "list"], ["user", "disable", EVIL], ["user", "disable", SOFT], ["tenant", "list"], ["tenant", "create", EVIL], ["hold", "list"], ["queue"], ["sources"], ["quarantine"], ["usage"], ["limits"], ["limits", "show", "team", EVIL],
    ["webhook", "list"], ["audit", "show"], ["audit", "tail"], ["audit", "verify"], ["audit", "head"], ["status"], ["doctor"], ["verify"], ["encoder"], ["model"], ["backup", copy], ["backup", "list", copy], ["backup", "check", copy],
    ["erase", "--document", id, "--dry-run"], ["erase", "--subject", EVIL, "--dry-run"], ["erase", "--path", EVIL, "--dry-run"],
    ["config", "check"], [EVIL], ["docs", `--${EVIL}`], ["key", EVIL], ["search", "x", "--collection", EVIL], ["search", "x", "--home", EVIL],
  ];
  for (const args of commands) {
    const r = await run(args);
    const what = `carrel ${args.map((x) => (x === EVIL ? "EVIL" : x)).join(" ")}`;

    for (const [stream, text] of [["stdout", r.stdout], ["stderr", r.stderr]]) {
      const at = text.search(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/u);
      assert.equal(at, -1, `${what} (${stream}): ${JSON.stringify(text.slice(Math.max(0, at - 120), at + 120))}`);
      for (const line of text.split("\n")) assert.ok(!line.startsWith(FORGED), `${what} (${stream}) has a forged line: ${JSON.stringify(text.slice(0, 2000))}`);
    }
    assert.ok(r.code < 5, `${what}: ${r.code}`);
  }
});

test("nor does the log of carrel up", () => {
  const at = a.output.search(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e]/u);
  assert.equal(at, -1, JSON.stringify(a.output.slice(Math.max(0, at - 200), at + 200)));
  for (const line of a.output.split("\n")) assert.ok(!line.startsWith(FORGED), line);
});
