/* The handlers of routes.c, one file a resource. Each answers exactly once, now or later. */
#ifndef CARREL_SERVE_API_H
#define CARREL_SERVE_API_H

#include <stdbool.h>
#include <stddef.h>

struct request;

void api_chat(struct request *q);      /* chat_completions.c */
void api_responses(struct request *q); /* api_responses.c */
void api_response_get(struct request *q);
void api_response_items(struct request *q);
void api_response_delete(struct request *q);
void api_messages(struct request *q);    /* chat_messages.c */
void api_ollama_chat(struct request *q); /* chat_ollama.c */
void api_ollama_generate(struct request *q);
void api_ollama_tags(struct request *q); /* api_models.c */
void api_ollama_ps(struct request *q);
void api_ollama_show(struct request *q);
void api_ollama_version(struct request *q);
void api_ollama_embed(struct request *q); /* api_embeddings.c */
void api_rerank(struct request *q);       /* api_rerank.c */
void api_mcp(struct request *q);          /* mcp.c */
void api_embeddings(struct request *q);   /* api_embeddings.c */
void api_models(struct request *q);       /* api_models.c */
void api_model(struct request *q);
void api_search(struct request *q);         /* api_search.c */
void api_documents_list(struct request *q); /* api_documents.c */
void api_document_get(struct request *q);
void api_document_delete(struct request *q);
void api_progress(struct request *q);
void api_progress_pause(struct request *q);
void api_sources_list(struct request *q);
void api_sources_poll(struct request *q);
/* What GET of the document at a path (q->op) shows the caller; no route's. */
void api_document_at(struct request *q);
void api_documents_upload(struct request *q); /* api_upload.c */
void api_document_text(struct request *q);    /* api_content.c */
void api_document_original(struct request *q);
void api_document_page(struct request *q);
void api_answer(struct request *q);      /* api_answers.c */
void api_session_get(struct request *q); /* api_session.c */
void api_session_open(struct request *q);
void api_session_ldap(struct request *q); /* api_ldap.c */
void api_session_ways(struct request *q); /* api_ways.c */
void api_oidc_start(struct request *q);   /* api_oidc.c */
void api_oidc_callback(struct request *q);
void api_oidc_logout(struct request *q);
void api_session_close(struct request *q);
void api_feedback(struct request *q); /* api_feedback.c */
void api_feedback_summary(struct request *q);
void api_eval_get(struct request *q); /* api_eval.c */
void api_eval_start(struct request *q);
void api_eval_stop(struct request *q);
void api_erasures_list(struct request *q); /* api_erasures.c */
void api_erasure_begin(struct request *q);
void api_erasure_get(struct request *q);
void api_erasure_allow(struct request *q);
void api_encoders_list(struct request *q); /* api_encoders.c */
void api_encoder_promote(struct request *q);
void api_encoder_build(struct request *q);
void api_encoder_cancel(struct request *q);
void api_encoder_remove(struct request *q);
void api_quarantine_list(struct request *q); /* api_quarantine.c */
void api_quarantine_release(struct request *q);
void api_holds_list(struct request *q); /* api_holds.c */
void api_hold_add(struct request *q);
void api_hold_remove(struct request *q);
void api_status(struct request *q); /* api_admin.c */
void api_metrics(struct request *q);
void api_health(struct request *q);
void api_password_change(struct request *q); /* api_account.c */
void api_totp_begin(struct request *q);
void api_totp_confirm(struct request *q);
void api_totp_remove(struct request *q);
void api_users_list(struct request *q); /* api_users.c */
void api_user_create(struct request *q);
void api_user_change(struct request *q);
void api_user_remove(struct request *q);
void api_user_password(struct request *q);
void api_user_totp_reset(struct request *q);
void api_keys_list(struct request *q); /* api_keys.c */
void api_key_create(struct request *q);
void api_key_revoke(struct request *q);
void api_explain(struct request *q);
struct json;
void api_job_create(struct request *q); /* api_jobs.c */
void api_jobs_list(struct request *q);
void api_job_get(struct request *q);
void api_job_cancel(struct request *q);
void api_response_cancel(struct request *q);
/* The caller prefers a job ("Prefer: respond-async"): true, and it is answered. */
bool api_job_instead(struct request *q);
/* A job that waits until these documents are read. */
void api_job_documents(struct request *q, const char *const *ids, size_t n);
/* The response as a job; and what is known of one that is not kept as a turn. */
void api_response_background(struct request *q, const struct json *body);
void api_response_job(struct request *q, const char *id);
void api_files_list(struct request *q); /* api_files*.c */
void api_file_create(struct request *q);
/* What is wrong with a body is told at once where its answer comes later; false: it was. */
bool api_chat_check(struct request *q, const struct json *body);
bool api_messages_check(struct request *q, const struct json *body);
bool api_responses_check(struct request *q, const struct json *body);
/* api_v1_conversations.c */
void api_v1_conversation_create(struct request *q);
void api_v1_conversation_get(struct request *q);
void api_v1_conversation_change(struct request *q);
void api_v1_conversation_delete(struct request *q);
void api_v1_conversation_items(struct request *q);
void api_v1_conversation_add(struct request *q);
void api_v1_conversation_item(struct request *q);
void api_v1_conversation_drop(struct request *q);
/* api_uploads.c; parts: api_files_create.c */
void api_upload_create(struct request *q);
void api_upload_part(struct request *q);
void api_upload_complete(struct request *q);
void api_upload_cancel(struct request *q);
void api_file_get(struct request *q);
void api_file_content(struct request *q);
void api_file_delete(struct request *q);
void api_vector_stores_list(struct request *q); /* api_vector_store*.c */
void api_vector_store_create(struct request *q);
void api_vector_store_get(struct request *q);
void api_vector_store_change(struct request *q);
void api_vector_store_delete(struct request *q);
void api_vector_store_search(struct request *q);
void api_vector_store_files(struct request *q);
void api_vector_store_attach(struct request *q);
void api_vector_store_file_get(struct request *q);
void api_vector_store_file_change(struct request *q);
void api_vector_store_file_delete(struct request *q);
void api_vector_store_file_content(struct request *q);
void api_vector_store_batch_create(struct request *q);
void api_vector_store_batch_get(struct request *q);
void api_vector_store_batch_cancel(struct request *q);
void api_vector_store_batch_files(struct request *q);
void api_facets(struct request *q); /* api_facets.c */
void api_document_versions(struct request *q);
void api_audit_list(struct request *q); /* audit/api_audit.c */
void api_audit_head(struct request *q);
void api_audit_verify(struct request *q);
void api_audit_export(struct request *q);
void api_usage(struct request *q);       /* api_usage.c */
void api_limits_list(struct request *q); /* api_limits.c */
void api_limits_mine(struct request *q);
void api_limits_set(struct request *q);
void api_webhooks_list(struct request *q); /* api_webhooks.c */
void api_webhook_add(struct request *q);
void api_webhook_get(struct request *q);
void api_webhook_change(struct request *q);
void api_webhook_remove(struct request *q);
void api_webhook_test(struct request *q);
void api_webhook_secret(struct request *q);
void api_webhook_again(struct request *q);
void api_webhook_log(struct request *q);
void api_tenants_list(struct request *q);
void api_tenant_create(struct request *q);
void api_conversations_list(struct request *q); /* api_conversations.c */
void api_conversations_erase(struct request *q);
void api_user_conversations_erase(struct request *q);
void api_conversations_export(struct request *q);
void api_conversation_get(struct request *q);
void api_conversation_rename(struct request *q);
void api_conversation_delete(struct request *q);
void api_conversation_export(struct request *q);
void api_shares_list(struct request *q);
void api_share_create(struct request *q);
void api_share_delete(struct request *q);
void api_shared(struct request *q);  /* api_shared.c */
void api_openapi(struct request *q); /* api_openapi.c */

#endif
