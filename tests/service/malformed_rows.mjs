// Requests written from the rules of RFC 9112 (HTTP/1.1) and RFC 9110 (HTTP's meaning), section by section.
//
// A row: the rule; the bytes; `want`, the statuses that must come back, in order, and no other (`either`: one of these);
// then the connection must end. `end: true`: the client ends it after the bytes. `slow: true`: too long to send byte by
// byte.
//
// NEXT is a request of its own behind the bytes in question: wherever two readers could disagree on where a request
// ends, its answer shows how many requests were seen.

export const NEXT = "GET /api/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const HOST = "Host: localhost\r\n";
const get = (more = "", target = "/api/version") => `GET ${target} HTTP/1.1\r\n${HOST}${more}\r\n`;
const post = (headers, body = "") => `POST /api/session HTTP/1.1\r\n${HOST}Content-Type: application/json\r\n${headers}\r\n${body}`;
const HIDDEN = "GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n"; // what a smuggler wants to have answered
// {} is not a session: 400 from the handler, but the connection goes on
const CL = (v, body = "{}") => post(`Content-Length: ${v}\r\n`, body);
const TE = (v, body = "2\r\n{}\r\n0\r\n\r\n") => post(`Transfer-Encoding: ${v}\r\n`, body);
const chunks = (body) => post("Transfer-Encoding: chunked\r\n", body);

export const rows = [
  // ---- RFC 9112, 2.2: message parsing
  { rule: "2.2 one empty line before the request line is passed over", bytes: "\r\n" + NEXT, want: [200] },
  { rule: "2.2 a second one is not", bytes: "\r\n\r\n" + NEXT, want: [400] },
  { rule: "2.2 an empty line of LF alone", bytes: "\n" + NEXT, want: [400] },
  { rule: "2.2 LF alone ends no line", bytes: "GET /api/version HTTP/1.1\nHost: localhost\n\n", want: [400] },
  { rule: "2.2 LF alone ends no field", bytes: "GET /api/version HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n", want: [400] },
  { rule: "2.2 LF alone ends no head", bytes: "GET /api/version HTTP/1.1\r\nHost: localhost\r\n\n", want: [400] },
  { rule: "2.2 a bare CR in the request line", bytes: "GET /api/version\rHTTP/1.1\r\n" + HOST + "\r\n", want: [400] },
  { rule: "2.2 a bare CR after the version", bytes: "GET /api/version HTTP/1.1\rX: y\r\n" + HOST + "\r\n", want: [400] },
  { rule: "2.2 a bare CR in a field's name", bytes: get("X\rY: z\r\n"), want: [400] },
  { rule: "2.2 a bare CR in a field's value", bytes: post("X: y\rTransfer-Encoding: chunked\r\n", "0\r\n\r\n" + HIDDEN), want: [400] },
  { rule: "2.2 a bare CR before the end", bytes: "GET /api/version HTTP/1.1\r\nHost: localhost\r\n\rX", want: [400] },
  { rule: "2.2 CR CR LF", bytes: "GET /api/version HTTP/1.1\r\nHost: localhost\r\r\n\r\n", want: [400] },
  { rule: "2.2 space before the first field", bytes: "GET /api/version HTTP/1.1\r\n Host: localhost\r\n\r\n", want: [400] },
  { rule: "2.2 a tab before the first field", bytes: "GET /api/version HTTP/1.1\r\n\tX: y\r\n" + HOST + "\r\n", want: [400] },
  { rule: "2.2 what is not HTTP: TLS", bytes: "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", want: [400] },
  { rule: "2.2 what is not HTTP: SOCKS", bytes: "\x05\x01\x00", want: [400] },
  { rule: "2.2 what is not HTTP: a proxy's preamble", bytes: "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + NEXT, want: [400] },
  { rule: "2.2 what is not HTTP: bytes above ASCII", bytes: "\xff\xfe\xfd\r\n\r\n", want: [400] },
  // ---- 2.3: version
  { rule: "2.3 HTTP/2's preface", bytes: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", want: [505] },
  { rule: "2.3 HTTP/3.0", bytes: "GET /api/version HTTP/3.0\r\n" + HOST + "\r\n", want: [505] },
  { rule: "2.3 HTTP/1.2 is refused, not guessed", bytes: "GET /api/version HTTP/1.2\r\n" + HOST + "\r\n", want: [505] },
  { rule: "2.3 case counts", bytes: "GET /api/version http/1.1\r\n" + HOST + "\r\n", want: [400] },
  { rule: "2.3 one digit each", bytes: "GET /api/version HTTP/1.10\r\n" + HOST + "\r\n", want: [400] },
  { rule: "2.3 no leading zero", bytes: "GET /api/version HTTP/01.1\r\n" + HOST + "\r\n", either: [505, 400] },
  { rule: "2.3 HTTP/0.9", bytes: "GET /api/version\r\n", want: [400] },
  { rule: "2.3 no name", bytes: "GET /api/version /1.1\r\n" + HOST + "\r\n", want: [400] },
  { rule: "2.3 another name", bytes: "GET /api/version ICAP/1.0\r\n" + HOST + "\r\n", want: [400] },
  // ---- 3: the request line
  { rule: "3 two spaces after the method", bytes: "GET  /api/version HTTP/1.1\r\n" + HOST + "\r\n", want: [400] },
  { rule: "3 two spaces after the target", bytes: "GET /api/version  HTTP/1.1\r\n" + HOST + "\r\n", want: [400] },
  { rule: "3 a tab for a space", bytes: "GET\t/api/version HTTP/1.1\r\n" + HOST + "\r\n", want: [400] },
  { rule: "3 a space at the end", bytes: "GET /api/version HTTP/1.1 \r\n" + HOST + "\r\n", want: [400] },
  { rule: "3 a space at the start", bytes: " GET /api/version HTTP/1.1\r\n" + HOST + "\r\n", want: [400] },
  { rule: "3 NUL", bytes: "GET /api/\0version HTTP/1.1\r\n" + HOST + "\r\n", want: [400] },
  { rule: "3.1 a method nobody knows", bytes: "BREW /api/version HTTP/1.1\r\n" + HOST + "\r\n", want: [501] },
  { rule: "3.1 methods are case-sensitive", bytes: "get /api/version HTTP/1.1\r\n" + HOST + "\r\n", want: [501] },
  { rule: "3.1 a long method", bytes: "G".repeat(100) + " / HTTP/1.1\r\n" + HOST + "\r\n", want: [501] },
  { rule: "3.1 not a token", bytes: "GE(T /api/version HTTP/1.1\r\n" + HOST + "\r\n", want: [400] },
  { rule: "3.1 TRACE shows nobody their headers", bytes: "TRACE /api/version HTTP/1.1\r\n" + HOST + "\r\n", want: [501] },
  { rule: "3.1 nor is anything tunnelled", bytes: "CONNECT localhost:22 HTTP/1.1\r\n" + HOST + "\r\n", want: [501] },
  // ---- 3.2: the target
  { rule: "3.2 a space in it", bytes: get("", "/api/version x"), want: [400] },
  { rule: "3.2 a byte above ASCII", bytes: get("", "/api/\xc3\xa9"), want: [400] },
  { rule: "3.2 a control character", bytes: get("", "/api/\x01"), want: [400] },
  { rule: "3.2 longer than allowed", bytes: get("", "/" + "a".repeat(9000)), want: [414] },
  { rule: "3.2.1 origin-form must begin with a slash", bytes: get("", "api/version"), want: [400] },
  { rule: "3.2.1 no fragment", bytes: get("", "/api/version#x"), want: [400] },
  { rule: "3.2.1 empty", bytes: "GET  HTTP/1.1\r\n" + HOST + "\r\n", want: [400] },
  { rule: "3.2.2 absolute-form is understood", bytes: get("Connection: close\r\n", "http://localhost/api/version"), want: [200] },
  { rule: "3.2.2 its authority counts, not Host", bytes: "GET http://localhost/api/version HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", want: [200] },
  { rule: "3.2.2 also the other way round", bytes: get("Connection: close\r\n", "http://evil.example/api/version"), want: [421] },
  { rule: "9110 4.2.4 no user in it", bytes: get("", "http://localhost@evil.example/api/version"), want: [400] },
  { rule: "9110 4.2.1 no empty host", bytes: get("", "http:///api/version"), want: [400] },
  { rule: "3.2.2 another scheme", bytes: get("", "ftp://localhost/api/version"), want: [400] },
  { rule: "3.2.3 authority-form is for CONNECT", bytes: get("", "localhost:80"), want: [400] },
  { rule: "3.2.4 asterisk-form is for OPTIONS", bytes: get("", "*"), want: [400] },
  { rule: "3.2.4 OPTIONS *", bytes: "OPTIONS * HTTP/1.1\r\n" + HOST + "Connection: close\r\n\r\n", want: [204] },
  // ---- 3.2: Host
  { rule: "3.2 no Host", bytes: "GET /api/version HTTP/1.1\r\n\r\n", want: [400] },
  { rule: "3.2 two", bytes: get("Host: localhost\r\n"), want: [400] },
  { rule: "3.2 two, also with absolute-form", bytes: get("host: other\r\n", "http://localhost/api/version"), want: [400] },
  ...["a b", "a,b", "a/b", "a\\b", "user@localhost", "localhost:x", "localhost:80:80", "localhost:123456", "[::1", "[::1]x", "::1]", "[x]", "a?b", "a#b", "<x>", "\"x\"", "\xe4.example", ":80"].map((h) => ({ rule: `3.2 Host: ${h} is no host`, bytes: `GET /api/version HTTP/1.1\r\nHost: ${h}\r\n\r\n`, want: [400] })),
  ...["localhost:1", "LOCALHOST", "127.0.0.1:80", "[::1]:80", "localhost:", ""].map((h) => ({ rule: `3.2 Host: ${h} is one`, bytes: `GET /api/version HTTP/1.1\r\nHost: ${h}\r\nConnection: close\r\n\r\n`, want: [200] })),
  { rule: "3.2 HTTP/1.0 needs none", bytes: "GET /api/version HTTP/1.0\r\n\r\n", want: [200] },
  // ---- 5: fields
  { rule: "5 no colon", bytes: get("Nothing\r\n"), want: [400] },
  { rule: "5 no name", bytes: get(": x\r\n"), want: [400] },
  { rule: "5.1 a space before the colon", bytes: post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n" + HIDDEN), want: [400] },
  { rule: "5.1 a tab before the colon", bytes: post("Content-Length\t: 0\r\n", HIDDEN), want: [400] },
  { rule: "5.1 white space around a value is not part of it", bytes: post("Content-Length:   2  \r\n", "{}" + NEXT), want: [400, 200] },
  { rule: "5.1 none is needed either", bytes: post("Content-Length:2\r\n", "{}" + NEXT), want: [400, 200] },
  ...['"', "(", ")", ",", "/", "<", "=", ">", "?", "@", "[", "\\", "]", "{", "}", "\x7f", "\x80", "\0"].map((c) => ({ rule: `5.1 ${JSON.stringify(c)} in a name`, bytes: get(`X${c}Y: z\r\n`), want: [400] })),
  ...["\0", "\x01", "\x08", "\x0b", "\x0c", "\x1b", "\x7f"].map((c) => ({ rule: `5.5 ${JSON.stringify(c)} in a value`, bytes: get(`X: y${c}z\r\n`), want: [400] })),
  { rule: "5.5 bytes above ASCII in a value are old, and opaque", bytes: get("X: \xe9\r\nConnection: close\r\n"), want: [200] },
  { rule: "5.2 a folded line", bytes: get("X: y\r\n z\r\n"), want: [400] },
  { rule: "5.2 folded by a tab", bytes: post("X: y\r\n\tTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), want: [400] },
  { rule: "5.2 folded to nothing", bytes: get("X: y\r\n \r\n"), want: [400] },
  { rule: "5.4 more fields than allowed", bytes: get("X: y\r\n".repeat(150)), want: [431] },
  { rule: "5.4 more bytes than allowed", bytes: get(`X: ${"y".repeat(40_000)}\r\n`), want: [431], slow: true },
  { rule: "5.4 a name longer than allowed", bytes: get(`${"x".repeat(40_000)}: y\r\n`), want: [431], slow: true },
  // ---- 6.1: Transfer-Encoding
  { rule: "6.1 with Content-Length", bytes: post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" + HIDDEN), want: [400] },
  { rule: "6.1 with Content-Length, the other order", bytes: post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n" + HIDDEN), want: [400] },
  { rule: "6.1 with Content-Length 0", bytes: post("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "0\r\n\r\n"), want: [400] },
  { rule: "6.1 in HTTP/1.0", bytes: "POST /api/session HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN, want: [400] },
  { rule: "6.1 names have no case", bytes: TE("CHUNKED") + NEXT, want: [400, 200] },
  { rule: "6.1 a coding that is not understood, chunked last", bytes: TE("gzip, chunked"), want: [501] },
  ...["identity", "gzip", "chunked, gzip", "chunked, chunked", "chunked;q=1", "xchunked", "chunkedx", "x chunked", '"chunked"', "chunked,", ",chunked", "", "chun ked", "\xa0chunked", "chunked\xa0"].map((v) => ({ rule: `6.3 Transfer-Encoding: ${JSON.stringify(v)}`, bytes: TE(v, "0\r\n\r\n" + HIDDEN), want: [400] })),
  { rule: "6.1 twice", bytes: post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), want: [400] },
  { rule: "6.1 twice, one of them hidden", bytes: post("Transfer-Encoding: chunked\r\nTransfer-encoding: identity\r\n", "0\r\n\r\n"), want: [400] },
  { rule: "6.1 an underscore makes another name", bytes: post("Transfer_Encoding: chunked\r\nContent-Length: 2\r\n", "{}" + NEXT), want: [400, 200] },
  // ---- 6.2: Content-Length
  ...["+2", "-2", "0x2", "2.0", "2e0", "2 2", "2,2", "2, 2", "2;", "", "a", "٢", "18446744073709551618", "9999999999999999999999"].map((v) => ({ rule: `6.2 Content-Length: ${JSON.stringify(v)}`, bytes: Buffer.from(CL(v, "{}" + HIDDEN)).toString("latin1"), want: [400] })),
  { rule: "6.3 twice the same", bytes: post("Content-Length: 2\r\nContent-Length: 2\r\n", "{}"), want: [400] },
  { rule: "6.3 twice, different", bytes: post("Content-Length: 0\r\ncontent-length: 44\r\n", HIDDEN), want: [400] },
  { rule: "6.2 leading zeros are a number", bytes: CL("002") + NEXT, want: [400, 200] },
  { rule: "6.2 beyond the limit", bytes: CL("99999999"), want: [413] },
  // ---- 6.3: the length of a body
  { rule: "6.3 neither: there is none", bytes: post("") + NEXT, want: [400, 200] },
  { rule: "6.3 exactly as long as said", bytes: CL("2") + NEXT, want: [400, 200] },
  { rule: "6.3 a GET's body is a body, not a request", bytes: get(`Content-Length: ${HIDDEN.length}\r\n`) + HIDDEN + NEXT, want: [200, 200] },
  { rule: "6.3 a refused one's too", bytes: `GET /api/none HTTP/1.1\r\n${HOST}Content-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}${NEXT}`, want: [404, 200] },
  { rule: "6.3 chunked likewise", bytes: get("Transfer-Encoding: chunked\r\n") + `${HIDDEN.length.toString(16)}\r\n${HIDDEN}\r\n0\r\n\r\n` + NEXT, want: [200, 200] },
  // ---- 7.1: chunks
  { rule: "7.1 chunks", bytes: chunks("1\r\n{\r\n1\r\n}\r\n0\r\n\r\n") + NEXT, want: [400, 200] },
  { rule: "7.1 sizes in either case, with zeros", bytes: chunks("00A\r\n{       }\n\r\n000\r\n\r\n") + NEXT, want: [400, 200] },
  { rule: "7.1.1 an extension is passed over", bytes: chunks("2;a=\"b;c\"\r\n{}\r\n0;x\r\n\r\n") + NEXT, want: [400, 200] },
  { rule: "7.1.1 several are refused", bytes: chunks("2;a=b;c=d\r\n{}\r\n0\r\n\r\n"), want: [400] },
  ...["zz", "0x2", "+2", "-2", " 2", "2 ", "", "2,", "2\t", "2_", "g"].map((n) => ({ rule: `7.1 a chunk of size ${JSON.stringify(n)}`, bytes: chunks(`${n}\r\n{}\r\n0\r\n\r\n`), want: [400] })),
  { rule: "7.1 a size that overflows to 2", bytes: chunks("10000000000000002\r\n{}\r\n0\r\n\r\n"), want: [400] },
  { rule: "7.1 a size beyond all limits", bytes: chunks("fffffffffffffff\r\n" + "x".repeat(70_000)), slow: true, want: [413] },
  { rule: "7.1 a size with LF alone", bytes: chunks("2\n{}\r\n0\r\n\r\n"), want: [400] },
  { rule: "7.1 a size with CR alone", bytes: chunks("2\r{}\r\n0\r\n\r\n"), want: [400] },
  { rule: "7.1 longer than its size", bytes: chunks("1\r\n{}\r\n0\r\n\r\n"), want: [400] },
  { rule: "7.1 shorter than its size", bytes: chunks("3\r\n{}\r\n0\r\n\r\n"), want: [400] },
  { rule: "7.1 no line end after the data", bytes: chunks("2\r\n{}0\r\n\r\n"), want: [400] },
  { rule: "7.1 LF alone after the data", bytes: chunks("2\r\n{}\n0\r\n\r\n"), want: [400] },
  { rule: "7.1 LF alone in an extension", bytes: chunks("2;a\nb\r\n{}\r\n0\r\n\r\n"), want: [400] },
  { rule: "7.1 CR alone in an extension", bytes: chunks("2;a\rb\r\n{}\r\n0\r\n\r\n"), want: [400] },
  { rule: "7.1.1 an extension without an end", bytes: chunks(`2;${"x".repeat(1000)}\r\n{}\r\n0\r\n\r\n`), want: [400] },
  { rule: "7.1 LF alone after the last chunk", bytes: chunks("2\r\n{}\r\n0\r\n\n"), want: [400] },
  { rule: "7.1.2 trailers are refused", bytes: chunks("0\r\nX: y\r\n\r\n"), want: [400] },
  { rule: "7.1.2 above all those that change the framing", bytes: chunks("0\r\nContent-Length: 44\r\n\r\n" + HIDDEN), want: [400] },
  // ---- 8: messages that break off
  { rule: "8 a head that breaks off", bytes: "GET /api/version HTTP/1.1\r\nHost: loc", end: true, want: [] },
  { rule: "8 a body that breaks off", bytes: CL("20"), end: true, want: [] },
  { rule: "8 chunks that break off", bytes: chunks("2\r\n{}\r\n"), end: true, want: [] },
  // ---- 9: connections
  { rule: "9.3 it persists", bytes: get() + get() + NEXT, want: [200, 200, 200] },
  { rule: "9.3.2 pipelined: answered in order", bytes: get() + get("", "/api/none") + get("", "/v1/models") + NEXT, want: [200, 404, 401, 200] },
  { rule: "9.3 HTTP/1.0 does not", bytes: "GET /api/version HTTP/1.0\r\n\r\n" + NEXT, want: [200] },
  { rule: "9.3 unless it asks", bytes: "GET /api/version HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + NEXT, want: [200, 200] },
  { rule: "9.6 nothing is heard after close", bytes: get("Connection: close\r\n") + HIDDEN, want: [200] },
  { rule: "9.6 also in a list", bytes: get("Connection: x, Close\r\n") + HIDDEN, want: [200] },
  { rule: "9.6 nor after a refusal", bytes: "GET / HTTP/1.1\r\nHost : x\r\n\r\n" + HIDDEN, want: [400] },
  // ---- RFC 9110
  { rule: "9110 7.8 an upgrade nobody offers is passed over", bytes: get("Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"), want: [200] },
  { rule: "9110 10.1.1 another expectation", bytes: post("Expect: tea\r\nContent-Length: 2\r\n", "{}"), want: [417] },
  { rule: "9110 10.1.1 100-continue means nothing in HTTP/1.0", bytes: "POST /api/session HTTP/1.0\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}", want: [400] },
  { rule: "9110 9.3.2 HEAD has no body", bytes: `HEAD /api/version HTTP/1.1\r\n${HOST}\r\n` + NEXT, want: [200, 200] },
  { rule: "9110 15.5.6 405", bytes: `PATCH /api/version HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`, want: [405] },
];
