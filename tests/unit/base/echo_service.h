/* The echo service of the RPC tests: run as a process of its own by test-... --server (see
 * rpc_test.c). */
#ifndef CARREL_TESTS_ECHO_SERVICE_H
#define CARREL_TESTS_ECHO_SERVICE_H

#include "base/rpc/rpc.h"
#include "echo.pb-c.h"

#define ECHO_METHOD(fn, wire, kind, callers, ms)                                                   \
    RPC_METHOD(echo, fn, wire, echo__echo_request, Echo__EchoRequest, echo__echo_reply,            \
               Echo__EchoReply, kind, callers, ms)

/* answers with what came, and with who asked */
ECHO_METHOD(echo, "echo.Echo", RPC_UNARY, FROM(RETRIEVE) | FROM(SERVE), 20000)
/* `replies` messages of `reply_bytes` */
ECHO_METHOD(down, "echo.Down", RPC_REPLY_STREAM, FROM(RETRIEVE), 20000)
/* counts messages and bytes; number 1 in the first message: pauses until echo.Stats with number 77
 */
ECHO_METHOD(up, "echo.Up", RPC_REQUEST_STREAM, FROM(RETRIEVE), 20000)
/* each message back */
ECHO_METHOD(both, "echo.Both", RPC_BOTH_STREAM, FROM(RETRIEVE), 20000)
/* never answers; ends when it is cancelled */
ECHO_METHOD(slow, "echo.Slow", RPC_UNARY, FROM(RETRIEVE), 20000)
ECHO_METHOD(stats, "echo.Stats", RPC_UNARY, FROM(RETRIEVE), 20000)
ECHO_METHOD(ingest_only, "echo.IngestOnly", RPC_UNARY, FROM(INGEST), 20000)

#define ECHO_HELLO_TIMEOUT_MS 800

/* Serves until SIGTERM; prints nothing. Writes one byte to descriptor 3 when it listens. folder
 * holds vectorstore.identity and, for "tls:", ca.crt, vectorstore.crt and vectorstore.key. */
int echo_service_run(const char *folder, const char *address);

#endif
