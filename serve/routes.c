/* Every address of the API: one row each. What is not here is a file of the page, or nothing. */
#include "serve/api.h"
#include "serve/service.h"

const struct route serve_routes[] = {
    {VERB_POST, "/v1/chat/completions", ACCESS_KEY, true, api_chat},
    {VERB_POST, "/v1/embeddings", ACCESS_KEY, true, api_embeddings},
    {VERB_GET, "/v1/models", ACCESS_KEY, false, api_models},
    {VERB_GET, "/v1/models/{id}", ACCESS_KEY, false, api_model},

    {VERB_POST, "/api/search", ACCESS_KEY, true, api_search},
    {VERB_POST, "/api/explain", ACCESS_KEY, true, api_explain},
    {VERB_GET, "/api/documents", ACCESS_KEY, false, api_documents_list},
    {VERB_POST, "/api/documents", ACCESS_ADMIN, true, api_documents_upload},
    {VERB_GET, "/api/documents/{id}", ACCESS_KEY, false, api_document_get},
    {VERB_DELETE, "/api/documents/{id}", ACCESS_ADMIN, true, api_document_delete},
    {VERB_GET, "/api/documents/{id}/text", ACCESS_KEY, false, api_document_text},
    {VERB_GET, "/api/documents/{id}/original", ACCESS_KEY, false, api_document_original},
    {VERB_GET, "/api/documents/{id}/pages/{n}.png", ACCESS_KEY, false, api_document_page},
    {VERB_GET, "/api/documents/{id}/versions", ACCESS_KEY, false, api_document_versions},
    {VERB_GET, "/api/facets", ACCESS_KEY, false, api_facets},
    {VERB_GET, "/api/progress", ACCESS_KEY, false, api_progress},
    {VERB_POST, "/api/progress", ACCESS_ADMIN, true, api_progress_pause},
    {VERB_GET, "/api/answers/{id}", ACCESS_KEY, false, api_answer},

    {VERB_GET, "/api/erasures", ACCESS_ADMIN, false, api_erasures_list},
    {VERB_POST, "/api/erasures", ACCESS_ADMIN, true, api_erasure_begin},
    {VERB_GET, "/api/erasures/{id}", ACCESS_ADMIN, false, api_erasure_get},
    {VERB_GET, "/api/encoders", ACCESS_ADMIN, false, api_encoders_list},
    {VERB_POST, "/api/encoders", ACCESS_ADMIN, true, api_encoder_promote},
    {VERB_DELETE, "/api/encoders", ACCESS_ADMIN, true, api_encoder_cancel},
    {VERB_POST, "/api/encoders/build", ACCESS_ADMIN, true, api_encoder_build},
    {VERB_DELETE, "/api/encoders/{name}", ACCESS_ADMIN, true, api_encoder_remove},
    {VERB_GET, "/api/holds", ACCESS_ADMIN, false, api_holds_list},
    {VERB_POST, "/api/holds", ACCESS_ADMIN, true, api_hold_add},
    {VERB_DELETE, "/api/holds/{id}", ACCESS_ADMIN, true, api_hold_remove},
    {VERB_POST, "/api/erasures/{id}/allow", ACCESS_ADMIN, true, api_erasure_allow},

    {VERB_POST, "/api/feedback", ACCESS_KEY, true, api_feedback},
    {VERB_GET, "/api/feedback", ACCESS_ADMIN, false, api_feedback_summary},
    {VERB_GET, "/api/eval", ACCESS_ADMIN, false, api_eval_get},
    {VERB_POST, "/api/eval", ACCESS_ADMIN, true, api_eval_start},
    {VERB_DELETE, "/api/eval", ACCESS_ADMIN, true, api_eval_stop},

    {VERB_GET, "/api/session", ACCESS_KEY, false, api_session_get},
    {VERB_POST, "/api/session", ACCESS_OPEN, false, api_session_open},
    {VERB_DELETE, "/api/session", ACCESS_KEY, true, api_session_close},

    {VERB_GET, "/api/keys", ACCESS_ADMIN, false, api_keys_list},
    {VERB_POST, "/api/keys", ACCESS_ADMIN, true, api_key_create},
    {VERB_DELETE, "/api/keys/{id}", ACCESS_ADMIN, true, api_key_revoke},
    {VERB_GET, "/api/tenants", ACCESS_ADMIN, false, api_tenants_list},
    {VERB_POST, "/api/tenants", ACCESS_ADMIN, true, api_tenant_create},

    {VERB_GET, "/api/status", ACCESS_ADMIN, false, api_status},
    {VERB_GET, "/metrics", ACCESS_ADMIN, false, api_metrics},
    {VERB_GET, "/api/health", ACCESS_OPEN, false, api_health},
};
const size_t serve_routes_n = sizeof serve_routes / sizeof serve_routes[0];
