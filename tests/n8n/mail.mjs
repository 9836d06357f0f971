// As much of a mail server as n8n's mail nodes need: a mailbox by IMAP (RFC 3501) into which a test puts messages, and a
// receiver by SMTP (RFC 5321) that keeps what it is given. On the loopback address, without encryption.
import { createServer } from "node:net";

const listen = (server) => new Promise((done) => server.listen(0, "127.0.0.1", () => done(server.address().port)));

/** Lines of a connection, one after another; literals ({n}) are not sent by the clients here. */
const lines = (socket, each) => {
  let left = "";
  socket.setEncoding("latin1");
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    left += chunk;
    for (let at; (at = left.indexOf("\r\n")) >= 0; ) {
      const line = left.slice(0, at);
      left = left.slice(at + 2);
      each(line);
    }
  });
};

export const mailbox = async () => {
  const messages = []; // {uid, source: Buffer, seen}
  const open = new Set();
  const log = [];
  const uids = (set) => {
    const last = messages.length;
    return messages.filter((m) =>
      set.split(",").some((part) => {
        const [from, to = from] = part.split(":").map((x) => (x === "*" ? last : Number(x)));
        return m.uid >= Math.min(from, to) && m.uid <= Math.max(from, to);
      }),
    );
  };
  const server = createServer((socket) => {
    const say = (text) => socket.write(`${text}\r\n`);
    let idle = null;
    const fetched = (m, what) => {
      const parts = [`UID ${m.uid}`];
      if (/FLAGS/i.test(what)) parts.push(`FLAGS (${m.seen ? "\\Seen" : ""})`);
      if (/INTERNALDATE/i.test(what)) parts.push('INTERNALDATE "01-Jan-2026 10:00:00 +0000"');
      if (/RFC822\.SIZE/i.test(what)) parts.push(`RFC822.SIZE ${m.source.length}`);
      const body = what.match(/BODY(?:\.PEEK)?\[([^\]]*)\](?:<(\d+)\.(\d+)>)?/i);
      if (body) {
        const from = Number(body[2] ?? 0);
        const piece = body[3] === undefined ? m.source : m.source.subarray(from, from + Number(body[3]));
        socket.write(`* ${m.uid} FETCH (${parts.join(" ")} BODY[${body[1]}]${body[2] === undefined ? "" : `<${from}>`} {${piece.length}}\r\n`);
        socket.write(piece);
        say(")");
      } else say(`* ${m.uid} FETCH (${parts.join(" ")})`);
    };
    const select = () => {
      open.add(conn);
      say("* FLAGS (\\Seen \\Deleted)");
      say("* OK [PERMANENTFLAGS (\\Seen \\Deleted)] ok");
      say(`* ${messages.length} EXISTS`);
      say("* 0 RECENT");
      say("* OK [UIDVALIDITY 1] ok");
      say(`* OK [UIDNEXT ${messages.length + 1}] ok`);
    };
    const conn = { arrived: () => say(`* ${messages.length} EXISTS`) };
    socket.on("close", () => open.delete(conn));
    say("* OK [CAPABILITY IMAP4rev1 IDLE] ready");
    lines(socket, (line) => {
      if (idle !== null) {
        say(`${idle} OK done`);
        idle = null;
        return;
      }
      const [, tag, verb, rest] = line.match(/^(\S+) ((?:UID )?\S+) ?(.*)$/i) ?? [null, "*", "BAD", ""];
      log.push(`${verb} ${/LOGIN/i.test(verb) ? "" : rest}`);
      switch (verb.toUpperCase()) {
        case "CAPABILITY":
          say("* CAPABILITY IMAP4rev1 IDLE");
          break;
        case "LIST":
        case "LSUB":
          say(rest.endsWith('""') ? '* LIST (\\Noselect) "/" ""' : '* LIST () "/" INBOX');
          break;
        case "SELECT":
        case "EXAMINE":
          select();
          return void say(`${tag} OK [READ-WRITE] open`);
        case "IDLE":
          idle = tag;
          return void say("+ idling");
        case "UID SEARCH":
          say(`* SEARCH${messages.filter((m) => !/UNSEEN/i.test(rest) || !m.seen).map((m) => ` ${m.uid}`).join("")}`);
          break;
        case "UID FETCH": {
          const [, set, what] = rest.match(/^(\S+) (.*)$/);
          for (const m of uids(set)) fetched(m, what);
          break;
        }
        case "UID STORE": {
          const [, set, what] = rest.match(/^(\S+) (.*)$/);
          for (const m of uids(set)) {
            if (/^\+FLAGS/i.test(what) && /\\Seen/i.test(what)) m.seen = true;
            fetched(m, "FLAGS");
          }
          break;
        }
        case "LOGOUT":
          say("* BYE");
          say(`${tag} OK bye`);
          return void socket.end();
        case "LOGIN":
        case "NOOP":
        case "CLOSE":
        case "UNSELECT":
          break;
        default:
          return void say(`${tag} BAD not known here`);
      }
      say(`${tag} OK done`);
    });
  });
  const port = await listen(server);
  const sockets = new Set();
  server.on("connection", (s) => sockets.add(s));
  return {
    port,
    messages,
    log,
    isOpen: () => open.size > 0,
    deliver: (source) => {
      messages.push({ uid: messages.length + 1, source: Buffer.from(source.replace(/\r?\n/g, "\r\n")), seen: false });
      for (const c of open) c.arrived();
    },
    close: () => {
      for (const s of sockets) s.destroy();
      server.close();
    },
  };
};

/** A message with a file attached. */
export const message = ({ from, to, subject, text, files }) =>
  [
    `From: ${from}`,
    `To: ${to}`,
    `Subject: ${subject}`,
    `Message-ID: <${Date.now()}@example.org>`,
    "Date: Thu, 01 Jan 2026 10:00:00 +0000",
    "MIME-Version: 1.0",
    'Content-Type: multipart/mixed; boundary="=_part"',
    "",
    "--=_part",
    "Content-Type: text/plain; charset=utf-8",
    "",
    text,
    ...files.flatMap(({ name, type, content }) => [
      "--=_part",
      `Content-Type: ${type}; name="${name}"`,
      "Content-Transfer-Encoding: base64",
      `Content-Disposition: attachment; filename="${name}"`,
      "",
      Buffer.from(content).toString("base64").replace(/.{76}/g, "$&\n"),
    ]),
    "--=_part--",
    "",
  ].join("\n");

/** Takes any mail; `mails` has {from, to, subject, text}, the text decoded from quoted-printable or base64. */
export const catcher = async () => {
  const mails = [];
  const sockets = new Set();
  const server = createServer((socket) => {
    const say = (text) => socket.write(`${text}\r\n`);
    let data = null, mail = {};
    sockets.add(socket);
    say("220 catcher");
    lines(socket, (line) => {
      if (data !== null) {
        if (line !== ".") return void data.push(line.replace(/^\./, ""));
        mails.push({ ...mail, ...read(data) });
        data = null;
        return void say("250 kept");
      }
      const verb = line.split(/[ :]/)[0].toUpperCase();
      if (verb === "MAIL") mail = { from: line.match(/<(.*?)>/)[1], to: [] };
      if (verb === "RCPT") mail.to.push(line.match(/<(.*?)>/)[1]);
      if (verb === "DATA") {
        data = [];
        return void say("354 go on");
      }
      if (verb === "QUIT") {
        say("221 bye");
        return void socket.end();
      }
      say(verb === "EHLO" ? "250 catcher" : "250 ok");
    });
  });
  const read = (all) => {
    const end = all.indexOf("");
    const heads = all.slice(0, end).join("\n").replace(/\n[ \t]+/g, " ");
    const encoding = heads.match(/^content-transfer-encoding: *(\S+)/im)?.[1]?.toLowerCase() ?? "7bit";
    const body = all.slice(end + 1).join("\n");
    const bytes =
      encoding === "base64"
        ? Buffer.from(body, "base64")
        : Buffer.from(encoding === "quoted-printable" ? body.replace(/=\n/g, "").replace(/=([0-9A-F]{2})/g, (_, h) => String.fromCharCode(parseInt(h, 16))) : body, "latin1");
    return { subject: heads.match(/^subject: *(.*)$/im)?.[1] ?? "", text: bytes.toString("utf8") };
  };
  const port = await listen(server);
  return {
    port,
    mails,
    close: () => {
      for (const s of sockets) s.destroy();
      server.close();
    },
  };
};
