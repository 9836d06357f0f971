/* Every address of the API: one row each, with who may call it (docs/decisions/identity.md). What
 * is not here is a file of the page, or nothing. */
#include "serve/api.h"
#include "serve/roles.h"
#include "serve/service.h"

/* Managers and editors do what readers do, and more. Machines do what people do wherever a scope
 * says what their key may, except for what only administrators do. */
#define ADMINS ROLE_BIT(ROLE_ADMIN)
#define MANAGERS (ADMINS | ROLE_BIT(ROLE_MANAGER) | ROLE_BIT(ROLE_SERVICE))
#define TEAMS (ADMINS | ROLE_BIT(ROLE_MANAGER)) /* who looks after users and keys */
#define EDITORS (MANAGERS | ROLE_BIT(ROLE_EDITOR))
#define READERS (EDITORS | ROLE_BIT(ROLE_READER))
#define WATCHERS (ADMINS | ROLE_BIT(ROLE_SERVICE))

const struct route serve_routes[] = {
    {VERB_POST, "/v1/chat/completions", READERS, SCOPE_ASK, true, api_chat, ERRORS_OPENAI, NULL},
    {VERB_POST, "/v1/responses", READERS, SCOPE_ASK, true, api_responses, ERRORS_OPENAI, NULL},
    {VERB_GET, "/v1/responses/{id}", READERS, SCOPE_ASK, false, api_response_get, ERRORS_OPENAI,
     NULL},
    {VERB_DELETE, "/v1/responses/{id}", READERS, SCOPE_ASK, true, api_response_delete,
     ERRORS_OPENAI, NULL},
    {VERB_GET, "/v1/responses/{id}/input_items", READERS, SCOPE_ASK, false, api_response_items,
     ERRORS_OPENAI, NULL},
    {VERB_POST, "/v1/messages", READERS, SCOPE_ASK, true, api_messages, ERRORS_ANTHROPIC, NULL},
    {VERB_POST, "/api/chat", READERS, SCOPE_ASK, true, api_ollama_chat, ERRORS_OLLAMA, NULL},
    {VERB_POST, "/api/generate", READERS, SCOPE_ASK, true, api_ollama_generate, ERRORS_OLLAMA,
     NULL},
    {VERB_POST, "/api/embed", READERS, SCOPE_ASK, true, api_ollama_embed, ERRORS_OLLAMA, NULL},
    {VERB_POST, "/api/show", READERS, SCOPES_NONE, true, api_ollama_show, ERRORS_OLLAMA, NULL},
    {VERB_GET, "/api/tags", READERS, SCOPES_NONE, false, api_ollama_tags, ERRORS_OLLAMA, NULL},
    {VERB_GET, "/api/ps", READERS, SCOPES_NONE, false, api_ollama_ps, ERRORS_OLLAMA, NULL},
    {VERB_GET, "/api/version", ROLES_OPEN, SCOPES_NONE, false, api_ollama_version, ERRORS_OLLAMA,
     NULL},
    {VERB_POST, "/mcp", READERS, SCOPE_ASK | SCOPE_SEARCH | SCOPE_READ, true, api_mcp, ERRORS_RPC,
     NULL},
    {VERB_POST, "/v1/embeddings", READERS, SCOPE_ASK, true, api_embeddings, ERRORS_OPENAI, NULL},
    {VERB_POST, "/v1/rerank", READERS, SCOPE_ASK, true, api_rerank, ERRORS_OPENAI, NULL},
    {VERB_GET, "/v1/models", READERS, SCOPES_NONE, false, api_models, ERRORS_OPENAI, NULL},
    {VERB_GET, "/v1/models/{id}", READERS, SCOPES_NONE, false, api_model, ERRORS_OPENAI, NULL},

    {VERB_POST, "/api/search", READERS, SCOPE_SEARCH, true, api_search, ERRORS_OPENAI, NULL},
    {VERB_POST, "/api/explain", READERS, SCOPE_SEARCH, true, api_explain, ERRORS_OPENAI, NULL},
    {VERB_GET, "/api/documents", READERS, SCOPE_READ, false, api_documents_list, ERRORS_OPENAI,
     NULL},
    {VERB_POST, "/api/documents", EDITORS, SCOPE_INGEST, true, api_documents_upload, ERRORS_OPENAI,
     "document.add"},
    {VERB_GET, "/api/documents/{id}", READERS, SCOPE_READ, false, api_document_get, ERRORS_OPENAI,
     NULL},
    {VERB_DELETE, "/api/documents/{id}", EDITORS, SCOPE_MANAGE, true, api_document_delete,
     ERRORS_OPENAI, "document.delete"},
    {VERB_GET, "/api/documents/{id}/text", READERS, SCOPE_READ, false, api_document_text,
     ERRORS_OPENAI, NULL},
    {VERB_GET, "/api/documents/{id}/original", READERS, SCOPE_READ, false, api_document_original,
     ERRORS_OPENAI, NULL},
    {VERB_GET, "/api/documents/{id}/pages/{n}.png", READERS, SCOPE_READ, false, api_document_page,
     ERRORS_OPENAI, NULL},
    {VERB_GET, "/api/documents/{id}/versions", READERS, SCOPE_READ, false, api_document_versions,
     ERRORS_OPENAI, NULL},
    {VERB_GET, "/api/facets", READERS, SCOPE_READ, false, api_facets, ERRORS_OPENAI, NULL},
    {VERB_GET, "/api/sources", MANAGERS, SCOPE_MANAGE, false, api_sources_list, ERRORS_OPENAI,
     NULL},
    {VERB_POST, "/api/sources", MANAGERS, SCOPE_MANAGE, true, api_sources_poll, ERRORS_OPENAI,
     "source.poll"},
    {VERB_GET, "/api/progress", READERS, SCOPE_READ | SCOPE_MONITOR, false, api_progress,
     ERRORS_OPENAI, NULL},
    {VERB_POST, "/api/progress", MANAGERS, SCOPE_MANAGE, true, api_progress_pause, ERRORS_OPENAI,
     "ingest.pause"},
    {VERB_GET, "/api/answers/{id}", READERS, SCOPE_READ, false, api_answer, ERRORS_OPENAI, NULL},

    {VERB_GET, "/api/erasures", ADMINS, SCOPE_ADMIN, false, api_erasures_list, ERRORS_OPENAI, NULL},
    {VERB_POST, "/api/erasures", ADMINS, SCOPE_ADMIN, true, api_erasure_begin, ERRORS_OPENAI,
     "erasure.begin"},
    {VERB_GET, "/api/erasures/{id}", ADMINS, SCOPE_ADMIN, false, api_erasure_get, ERRORS_OPENAI,
     NULL},
    {VERB_GET, "/api/encoders", ADMINS, SCOPE_ADMIN, false, api_encoders_list, ERRORS_OPENAI, NULL},
    {VERB_POST, "/api/encoders", ADMINS, SCOPE_ADMIN, true, api_encoder_promote, ERRORS_OPENAI,
     "encoder.promote"},
    {VERB_DELETE, "/api/encoders", ADMINS, SCOPE_ADMIN, true, api_encoder_cancel, ERRORS_OPENAI,
     "encoder.cancel"},
    {VERB_POST, "/api/encoders/build", ADMINS, SCOPE_ADMIN, true, api_encoder_build, ERRORS_OPENAI,
     "encoder.build"},
    {VERB_DELETE, "/api/encoders/{name}", ADMINS, SCOPE_ADMIN, true, api_encoder_remove,
     ERRORS_OPENAI, "encoder.remove"},
    {VERB_GET, "/api/quarantine", ADMINS, SCOPE_ADMIN, false, api_quarantine_list, ERRORS_OPENAI,
     NULL},
    {VERB_POST, "/api/quarantine/{id}/release", ADMINS, SCOPE_ADMIN, true, api_quarantine_release,
     ERRORS_OPENAI, "quarantine.release"},
    {VERB_GET, "/api/holds", ADMINS, SCOPE_ADMIN, false, api_holds_list, ERRORS_OPENAI, NULL},
    {VERB_POST, "/api/holds", ADMINS, SCOPE_ADMIN, true, api_hold_add, ERRORS_OPENAI, "hold.add"},
    {VERB_DELETE, "/api/holds/{id}", ADMINS, SCOPE_ADMIN, true, api_hold_remove, ERRORS_OPENAI,
     "hold.remove"},
    {VERB_POST, "/api/erasures/{id}/allow", ADMINS, SCOPE_ADMIN, true, api_erasure_allow,
     ERRORS_OPENAI, "erasure.allow"},

    {VERB_POST, "/api/feedback", READERS, SCOPE_ASK, true, api_feedback, ERRORS_OPENAI, NULL},
    {VERB_GET, "/api/feedback", MANAGERS, SCOPE_MANAGE, false, api_feedback_summary, ERRORS_OPENAI,
     NULL},
    {VERB_GET, "/api/eval", ADMINS, SCOPE_ADMIN, false, api_eval_get, ERRORS_OPENAI, NULL},
    {VERB_POST, "/api/eval", ADMINS, SCOPE_ADMIN, true, api_eval_start, ERRORS_OPENAI,
     "eval.start"},
    {VERB_DELETE, "/api/eval", ADMINS, SCOPE_ADMIN, true, api_eval_stop, ERRORS_OPENAI,
     "eval.stop"},

    {VERB_GET, "/api/session", ROLES_ALL, SCOPES_NONE, false, api_session_get, ERRORS_OPENAI, NULL},
    {VERB_POST, "/api/session", ROLES_OPEN, SCOPES_NONE, false, api_session_open, ERRORS_OPENAI,
     "session.open"},
    {VERB_DELETE, "/api/session", ROLES_ALL, SCOPES_NONE, true, api_session_close, ERRORS_OPENAI,
     "session.close"},

    {VERB_GET, "/api/keys", TEAMS, SCOPE_ADMIN, false, api_keys_list, ERRORS_OPENAI, NULL},
    {VERB_POST, "/api/keys", TEAMS, SCOPE_ADMIN, true, api_key_create, ERRORS_OPENAI, "key.create"},
    {VERB_DELETE, "/api/keys/{id}", TEAMS, SCOPE_ADMIN, true, api_key_revoke, ERRORS_OPENAI,
     "key.revoke"},
    {VERB_GET, "/api/tenants", ADMINS, SCOPE_ADMIN, false, api_tenants_list, ERRORS_OPENAI, NULL},
    {VERB_POST, "/api/tenants", ADMINS, SCOPE_ADMIN, true, api_tenant_create, ERRORS_OPENAI,
     "tenant.create"},

    {VERB_GET, "/api/status", WATCHERS, SCOPE_MONITOR, false, api_status, ERRORS_OPENAI, NULL},
    {VERB_GET, "/metrics", WATCHERS, SCOPE_MONITOR, false, api_metrics, ERRORS_OPENAI, NULL},
    {VERB_GET, "/api/health", ROLES_OPEN, SCOPES_NONE, false, api_health, ERRORS_OPENAI, NULL},
};
const size_t serve_routes_n = sizeof serve_routes / sizeof serve_routes[0];
