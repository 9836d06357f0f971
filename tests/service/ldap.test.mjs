// Signing in with a directory, against Debian's slapd: as an ordinary process on ports of its own.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { freePort, startAppliance, temporaryHome, until } from "./appliance.mjs";
import { Browser } from "./provider.mjs";

const SLAPD = "/usr/sbin/slapd";
const skip = existsSync(SLAPD) ? false : "slapd is not installed (scripts/packages.txt)";

const BASE = "dc=example,dc=org";
const person = (uid, cn, sn, password, more = "") => `dn: uid=${uid},ou=people,${BASE}\nobjectClass: inetOrgPerson\nuid: ${uid}\ncn: ${cn}\nsn: ${sn}\n${password ? `userPassword: ${password}\n` : ""}${more}\n`;
const group = (cn, ou, ...members) => `dn: cn=${cn},ou=${ou},${BASE}\nobjectClass: groupOfNames\ncn: ${cn}\n${members.map((m) => `member: ${m}\n`).join("")}\n`;
const uid = (u) => `uid=${u},ou=people,${BASE}`;
const tree = [
  `dn: ${BASE}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n`,
  ...["people", "groups", "clubs", "services"].map((ou) => `dn: ou=${ou},${BASE}\nobjectClass: organizationalUnit\nou: ${ou}\n`),
  `dn: cn=lookup,ou=services,${BASE}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: lookup\nuserPassword: look-me-up\n`,
  person("ada", "Ada Lovelace", "Lovelace", "engine"),
  person("grace", "Grace Hopper", "Hopper", "cobol"),
  person("eve", "Eve", "Eve", "apple"),
  person("nopw", "No Password", "P", ""),
  person("star*", "Star", "S", "star"),
  person("a(b)\\\\c", "Odd", "O", "odd"),
  person("twin", "Twin One", "T", "one"),
  `dn: uid=twin,ou=services,${BASE}\nobjectClass: inetOrgPerson\nuid: twin\ncn: Twin Two\nsn: T\nuserPassword: two\n`,
  group("staff", "groups", uid("ada"), uid("grace")),
  group("x-ray", "groups", `cn=staff,ou=groups,${BASE}`),
  group("hospital", "groups", `cn=x-ray,ou=groups,${BASE}`, `cn=circle,ou=groups,${BASE}`),
  group("circle", "groups", `cn=hospital,ou=groups,${BASE}`),
  group("boss", "clubs", uid("eve")), // whoever may found a club may call it that
]
  .map((x) => x.trimEnd())
  .join("\n\n");

let dir, home, plain, tls, slapd, uidOf;

async function startSlapd() {
  const conf = `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile ${dir}/pid
TLSCACertificateFile ${dir}/ca.pem
TLSCertificateFile ${dir}/host.pem
TLSCertificateKeyFile ${dir}/host.key
database mdb
maxsize 67108864
suffix "${BASE}"
rootdn "cn=root,${BASE}"
rootpw root
directory ${dir}/db
overlay memberof
memberof-refint true
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree="ou=groups,${BASE}" by dn.exact="cn=lookup,ou=services,${BASE}" read by users read by * none
access to * by users read by * auth
`;
  mkdirSync(join(dir, "db"));
  writeFileSync(join(dir, "slapd.conf"), conf);
  writeFileSync(join(dir, "tree.ldif"), `${tree}\n`);
  plain = await freePort();
  tls = await freePort();
  slapd = spawn(SLAPD, ["-d", "0", "-f", join(dir, "slapd.conf"), "-h", `ldap://127.0.0.1:${plain} ldaps://127.0.0.1:${tls}`], { stdio: "ignore" });
  const up = (port) => new Promise((done) => connect(port, "127.0.0.1").on("connect", function () { this.destroy(); done(true); }).on("error", () => done(false)));
  await until("slapd", async () => (await up(plain)) && up(tls));
  // over the wire, so that memberof sees the groups being made
  execFileSync("ldapadd", ["-x", "-H", `ldap://127.0.0.1:${plain}`, "-D", `cn=root,${BASE}`, "-w", "root", "-f", join(dir, "tree.ldif")], { stdio: "pipe" });
}

before(async () => {
  if (skip) return;
  dir = mkdtempSync(join(tmpdir(), "carrel-ldap-"));
  const ssl = (...args) => execFileSync("openssl", args, { cwd: dir, stdio: "pipe" });
  ssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Test CA");
  ssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "other.key", "-out", "other.pem", "-days", "2", "-subj", "/CN=Other CA");
  ssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "host.key", "-out", "host.csr", "-subj", "/CN=127.0.0.1");
  writeFileSync(join(dir, "ext"), "subjectAltName=IP:127.0.0.1\n");
  ssl("x509", "-req", "-in", "host.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "host.pem", "-days", "2", "-extfile", "ext");
  await startSlapd();
  home = temporaryHome();
  await (await startAppliance({ home })).stop({ keep: true });
  const { uid: user, gid } = statSync(join(home, "tenants")); // started by root it runs as another
  for (const [name, text] of [["lookup", "look-me-up\n"], ["ca.pem", readFileSync(join(dir, "ca.pem"))], ["other.pem", readFileSync(join(dir, "other.pem"))]]) {
    writeFileSync(join(home, name), text, { mode: 0o600 });
    chownSync(join(home, name), user, gid);
  }
});

after(() => {
  slapd?.kill("SIGKILL");
  for (const d of [dir, home && dirname(home)]) if (d) rmSync(d, { recursive: true, force: true });
});

const groupsConfig = `directory_groups:
  - name: "cn=boss, ou=groups, ${BASE}"
    role: admin
  - name: boss
    role: admin
  - name: CN=Staff,OU=Groups,DC=example,DC=org
    role: editor
    groups: [ward]
  - name: hospital
    groups: [house]
`;

/** An appliance with these lines of ldap:. */
async function appliance(ldap, fn) {
  const a = await startAppliance({ home, config: `http:\n  requests_per_minute: 0\nldap:\n${ldap.map((l) => `  ${l}\n`).join("")}${groupsConfig}` });
  a.signIn = async (user, password, b = new Browser()) => {
    const r = await b.go(`${a.url}/api/session/ldap`, { method: "POST", body: JSON.stringify({ user, password }), headers: { "content-type": "application/json" } });
    const body = await r.json();
    return { status: r.status, body, b, session: r.status === 201 ? await (await b.go(`${a.url}/api/session`)).json() : null };
  };
  try {
    await fn(a);
  } finally {
    await a.stop({ keep: true });
  }
}

const lookup = [`bind_dn: cn=lookup,ou=services,${BASE}`, "bind_password_file: lookup", `user_base: ${BASE}`, `group_base: ou=groups,${BASE}`];

describe("a directory", { skip }, () => {
  test("by an account that looks people up, StartTLS and memberOf", () =>
    appliance([`url: ldap://127.0.0.1:${plain}`, "ca_file: ca.pem", "name: the house directory", "nested: 4", ...lookup], async (a) => {
      assert.equal((await (await fetch(`${a.url}/api/session/ways`)).json()).ldap.name, "the house directory");
      const ada = await a.signIn("ada", "engine");
      assert.equal(ada.status, 201, JSON.stringify(ada.body));
      assert.equal(ada.session.user, "Ada Lovelace");
      assert.equal(ada.session.role, "editor");
      uidOf = ada.session.user_id;
      assert.equal((await a.signIn("ADA", "engine")).session.user_id, uidOf); // the same person by any spelling
      const users = await (await ada.b.go(`${a.url}/api/session`)).json();
      assert.equal(users.tenant, "main");

      for (const [user, password] of [["ada", "wrong"], ["ada", "ENGINE"], ["nobody", "x"], ["nopw", "x"]]) {
        const r = await a.signIn(user, password);
        assert.deepEqual([r.status, r.body.error.code, r.body.error.message], [401, "wrong_password", "The name or the password is wrong."], user);
      }
      // an empty password is nobody's, which a directory says yes to
      for (const password of ["", undefined]) assert.ok([400, 401].includes((await a.signIn("ada", password)).status));
      assert.equal((await a.signIn("ada", "\u0000engine").catch(() => ({ status: 400 }))).status, 400);
      // a name is a name, whatever it holds
      for (const user of ["*", "a*", "ada)(uid=*", "*)(objectClass=*", "ada)(|(uid=*)", "\\61da", "", " ada", "x".repeat(200)]) assert.equal((await a.signIn(user, "engine")).status, 401, user);
      assert.equal((await a.signIn("star*", "star")).status, 403); // found; in no group
      assert.equal((await a.signIn("a(b)\\c", "odd")).status, 403);
      assert.equal((await a.signIn("twin", "one")).status, 403); // two of that name: neither
      // a group of the same short name elsewhere gives nothing
      assert.equal((await a.signIn("eve", "apple")).status, 403);
      await until("the reason is in the log", () => /none of his groups gives a role/.test(a.output));
      for (const secret of ["engine", "look-me-up", "ENGINE"]) assert.ok(!a.output.includes(secret), secret);

      // another site
      const r = await fetch(`${a.url}/api/session/ldap`, { method: "POST", body: "{}", headers: { "content-type": "application/json", "sec-fetch-site": "cross-site" } });
      assert.equal(r.status, 403);
      // one name is not tried without end
      let tried = 0;
      for (let i = 0; i < 8; i++) tried += (await a.signIn("grace", `guess${i}`)).status === 401 ? 1 : 0;
      assert.equal(tried, 5);
      const late = await a.signIn("Grace", "cobol");
      assert.equal(late.status, 429);
      // nor many names from one address: what is refused is not looked at, be it right
      await until("ada is refused", async () => { // as long as they go on: a guess is given back every two seconds
        const many = await Promise.all(Array.from({ length: 40 }, (_, i) => a.signIn(`nobody${i}`, "guess")));
        return many.some((r) => r.status === 429) && (await a.signIn("ada", "engine")).status === 429;
      });
    }));

  test("groups by search, nested, over LDAPS", () =>
    appliance([`url: ldaps://127.0.0.1:${tls}`, "ca_file: ca.pem", "groups_by: search", "nested: 8", ...lookup], async (a) => {
      a.drop("house/x.md", "# Otters\n\nThe otter of the house swims at dawn.\n");
      writeFileSync(join(a.home, "access.yaml"), "access:\n  - path: house/\n    readers: [house]\n");
      const grace = await a.signIn("grace", "cobol");
      assert.equal(grace.status, 201, JSON.stringify(grace.body));
      assert.equal(grace.session.role, "editor");
      const search = async (b, csrf) => (await (await b.go(`${a.url}/api/search`, { method: "POST", body: JSON.stringify({ query: "otter" }), headers: { "content-type": "application/json", "x-csrf-token": csrf } })).json()).passages;
      // staff is in x-ray is in hospital, which gives the readers' group
      await until("the passage", async () => (await search(grace.b, grace.session.csrf))?.length === 1);
    }));

  test("everybody's name is alike: no other account is needed", () =>
    appliance([`url: ldaps://127.0.0.1:${tls}`, "ca_file: ca.pem", `bind_template: uid=%u,ou=people,${BASE}`, "groups_by: search", `group_base: ou=groups,${BASE}`], async (a) => {
      assert.equal((await a.signIn("ada", "engine")).session.role, "editor");
      assert.equal((await a.signIn("ada", "no")).status, 401);
      assert.equal((await a.signIn("ada,ou=people", "engine")).status, 401);
      assert.equal((await a.signIn("twin,ou=services,dc=example,dc=org", "two")).status, 401);
      assert.equal((await a.signIn("a(b)\\c", "odd")).status, 403);
    }));

  test("a directory that cannot prove itself gets no password", () =>
    appliance([`url: ldap://127.0.0.1:${plain}`, "ca_file: other.pem", ...lookup], async (a) => {
      const r = await a.signIn("ada", "engine");
      assert.deepEqual([r.status, r.body.error.code], [503, "directory"]);
      await until("the reason is in the log", () => /no TLS/.test(a.output));
    }));

  test("one that says nothing is given up in time", async () => {
    const open = new Set();
    const mute = createServer((s) => (open.add(s), s.on("error", () => {}))).listen(0, "127.0.0.1");
    await until("listening", () => mute.listening);
    try {
      await appliance([`url: ldap://127.0.0.1:${mute.address().port}`, "timeout: 500ms", ...lookup], async (a) => {
        const start = Date.now();
        assert.equal((await a.signIn("ada", "engine")).status, 503);
        assert.ok(Date.now() - start < 8000);
        assert.equal((await a.request("/api/health", { key: null })).status, 200);
      });
    } finally {
      for (const s of open) s.destroy();
      mute.close();
    }
  });
});
