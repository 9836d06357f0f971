// A real n8n in a cache folder, with our node installed as a package: to install, to run a workflow in a process of its
// own, and to run as a server. Nothing of it lies in the tree; docs/n8n.md says what this is for.
import { execFileSync, spawn } from "node:child_process";
import { closeSync, cpSync, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
export const cache = process.env.CARREL_N8N_CACHE ?? join(homedir(), ".cache/carrel-n8n");
const node24 = join(cache, "node24/node_modules/node/bin");
const bin = join(cache, "node_modules/.bin/n8n");

/** How long anything is waited for: what is waited for is a condition, and a busy machine takes its time. */
export const LONG = 600_000;

// Newer ones asked for versions that the registry did not have.
export const n8nVersion = "2.41.1";
const wanted = {
  name: "carrel-n8n-acceptance",
  private: true,
  dependencies: { n8n: n8nVersion },
  overrides: { linkedom: "0.18.9", "@langchain/langgraph-checkpoint": "1.1.5", "@langchain/protocol": "0.0.19" },
};

const npm = (cwd, ...args) =>
  execFileSync("npm", [...args, "--no-audit", "--no-fund"], { cwd, stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, PATH: `${node24}:${process.env.PATH}` }, timeout: 30 * 60_000 });

/** About four minutes and 2.2 GB the first time. Throws where it cannot be had. */
export const install = () => {
  if (!existsSync(join(node24, "node"))) {
    mkdirSync(join(cache, "node24"), { recursive: true });
    writeFileSync(join(cache, "node24/package.json"), '{"private":true}');
    npm(join(cache, "node24"), "install", "node@24");
  }
  if (!existsSync(bin) || !existsSync(join(cache, "node_modules/sqlite3/build/Release/node_sqlite3.node"))) { // or broken off
    writeFileSync(join(cache, "package.json"), JSON.stringify(wanted));
    npm(cache, "install", "--legacy-peer-deps", "--ignore-scripts");
    npm(cache, "rebuild", "sqlite3", ...(existsSync("/usr/include/node/node.h") ? ["--nodedir=/usr"] : []));
  }
  const ours = join(root, "serve/n8n");
  const sources = ["credentials", "nodes/Carrel", "nodes/CarrelTrigger"].flatMap((d) => readdirSync(join(ours, d)).map((f) => join(ours, d, f)));
  const built = join(ours, "dist/nodes/Carrel/Carrel.node.js");
  if (!existsSync(built) || sources.some((f) => statSync(f).mtimeMs > statSync(built).mtimeMs)) {
    if (!existsSync(join(ours, "node_modules/.bin/n8n-node"))) npm(ours, "ci", "--ignore-scripts", "--legacy-peer-deps");
    npm(ours, "run", "build");
  }
};

export class N8n {
  constructor(port) {
    this.port = port;
    this.runs = 0;
    this.folder = mkdtempSync(join(tmpdir(), "carrel-n8n-"));
    const nodes = join(this.folder, ".n8n/nodes");
    const ours = join(nodes, "node_modules/n8n-nodes-carrel");
    mkdirSync(ours, { recursive: true });
    const { version } = JSON.parse(readFileSync(join(root, "serve/n8n/package.json"), "utf8"));
    writeFileSync(join(nodes, "package.json"), JSON.stringify({ name: "installed-nodes", private: true, dependencies: { "n8n-nodes-carrel": version } }));
    for (const f of ["package.json", "dist"]) cpSync(join(root, "serve/n8n", f), join(ours, f), { recursive: true });
    this.env = {
      ...process.env,
      PATH: `${node24}:${process.env.PATH}`,
      N8N_USER_FOLDER: this.folder,
      N8N_ENCRYPTION_KEY: "carrel-acceptance",
      N8N_DIAGNOSTICS_ENABLED: "false",
      N8N_VERSION_NOTIFICATIONS_ENABLED: "false",
      N8N_TEMPLATES_ENABLED: "false",
      N8N_DISABLED_MODULES: "mcp-registry,insights",
      N8N_PERSONALIZATION_ENABLED: "false",
      N8N_LISTEN_ADDRESS: "127.0.0.1",
      N8N_PORT: String(port),
      N8N_RUNNERS_BROKER_PORT: String(port + 1),
      WEBHOOK_URL: `http://127.0.0.1:${port}/`,
      N8N_BLOCK_ENV_ACCESS_IN_NODE: "false",
      N8N_COMMUNITY_PACKAGES_ALLOW_TOOL_USAGE: "true",
      GENERIC_TIMEZONE: "UTC",
    };
  }

  /** Beside the test, whose own servers answer meanwhile. What it says goes into files: n8n ends without waiting for a pipe. */
  run(args, { command = bin, timeout = LONG } = {}) {
    const names = ["out", "err"].map((what) => join(this.folder, `${++this.runs}.${what}`));
    const [out, err] = names.map((name) => openSync(name, "w"));
    return new Promise((done) => {
      const child = spawn(command, args, { env: this.env, cwd: this.folder, timeout, stdio: ["ignore", out, err] });
      const end = (rc) => {
        for (const fd of [out, err]) closeSync(fd);
        const [said, wrong] = names.map((name) => readFileSync(name, "utf8"));
        for (const name of names) rmSync(name);
        done({ rc, out: said, err: wrong });
      };
      child.once("error", () => end(-1));
      child.once("exit", (code) => end(code ?? -1));
    });
  }

  async import(kind, list) {
    const file = join(this.folder, `${kind}.json`);
    writeFileSync(file, JSON.stringify(list));
    const r = await this.run([`import:${kind}`, `--input=${file}`]);
    if (r.rc !== 0) throw new Error(`import:${kind}: ${r.out}\n${r.err}`);
  }

  /** Every node's items (with json, binary, pairedItem) by its name, and the last one's; or throws what went wrong. */
  async executed(id) {
    const r = await this.run(["execute", `--id=${id}`, "--rawOutput"]);
    const from = r.out.search(/^\{/m); // behind what n8n logs
    const text = r.out.slice(Math.max(from, 0));
    let run;
    try {
      run = JSON.parse(text.slice(0, text.lastIndexOf("}") + 1));
    } catch {
      throw new Error(`${id}: rc ${r.rc}: ${r.out.slice(-2000)}\n${r.err.slice(-1000)}`);
    }
    const { resultData } = run.data;
    if (r.rc !== 0 || resultData.error) throw new Error(`${id}: rc ${r.rc}: ${JSON.stringify(resultData.error ?? {}).slice(0, 1500)}`);
    const items = (run) => (run?.data?.main ?? run?.data?.ai_embedding ?? []).flat();
    const by = Object.fromEntries(Object.entries(resultData.runData).map(([name, runs]) => [name, items(runs.at(-1))]));
    return { by, last: by[resultData.lastNodeExecuted] };
  }

  /** The last node's items. */
  async execute(id) {
    return (await this.executed(id)).last.map((item) => item.json);
  }

  /** A script of ours in n8n's own modules. */
  async script(file, ...args) {
    const r = await this.run([file, cache, ...args], { command: join(node24, "node") });
    if (r.rc !== 0) throw new Error(`${r.out}\n${r.err}`.slice(-3000));
    return r.out;
  }

  async start() {
    const log = openSync(join(this.folder, "server.log"), "w");
    this.server = spawn(bin, ["start"], { env: this.env, cwd: this.folder, stdio: ["ignore", log, log] });
    for (let i = 0; i < LONG / 500; i++) {
      const ok = await fetch(`http://127.0.0.1:${this.port}/healthz/readiness`).then((r) => r.ok, () => false);
      if (ok) return;
      if (this.server.exitCode !== null || this.server.signalCode !== null) break;
      await sleep(500);
    }
    throw new Error(`n8n did not start:\n${this.log().slice(-3000)}`);
  }

  log() {
    return readFileSync(join(this.folder, "server.log"), "utf8");
  }

  /** The server; workflows can be run by themselves again (they need its broker's port). */
  async halt() {
    if (this.server && this.server.exitCode === null && this.server.signalCode === null) {
      const gone = new Promise((done) => this.server.once("exit", done));
      this.server.kill("SIGTERM");
      await Promise.race([gone, sleep(60_000, null, { ref: false })]);
      if (this.server.exitCode === null && this.server.signalCode === null) {
        this.server.kill("SIGKILL");
        await gone;
      }
    }
    this.server = undefined;
  }

  async stop() {
    await this.halt();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
