/* A server of the Model Context Protocol (modelcontextprotocol.io, revisions 2024-11-05 to
 * 2025-11-25) over its streamable HTTP: every call is a POST and is answered by one JSON object; no
 * sessions, no stream of the server's own. mcp.c speaks the protocol, mcp_tools.c has the tools.
 * What a tool may see is what the caller may. Loop thread. */
#ifndef CARREL_SERVE_MCP_H
#define CARREL_SERVE_MCP_H

#include "serve/http/jsonw.h"
#include "serve/request.h"

struct mcp_tool {
    const char *name, *title, *description;
    const char *schema; /* of its arguments, JSON */
    unsigned scopes;    /* one of which a key needs */
    /* Answers by mcp_begin .. mcp_end, or by an error. */
    void (*call)(struct request *q, const struct json *arguments);
};

extern const struct mcp_tool mcp_tools[];
extern const size_t mcp_tools_n;

/* The result of a tool: what is written to text is its content, w its structuredContent, an open
 * object. false: reply is NULL, and the error was told. */
bool mcp_begin(struct request *q, const void *reply, const struct error *err, struct jsonw *w,
               struct buf *text);
void mcp_end(struct request *q, struct jsonw *w, struct buf *text); /* takes text */

#endif
