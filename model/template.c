/* The families' forms, after the templates that their makers publish; where several circulate,
 * llama.cpp's llama-chat.cpp decided. */
#include "model/template_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[TEMPLATE_FAMILIES] = {
    [TEMPLATE_CHATML] = "chatml",
    [TEMPLATE_QWEN] = "qwen",
    [TEMPLATE_QWEN_THINKING] = "qwen-thinking",
    [TEMPLATE_LLAMA2] = "llama2",
    [TEMPLATE_LLAMA3] = "llama3",
    [TEMPLATE_MISTRAL_V1] = "mistral-v1",
    [TEMPLATE_MISTRAL_V3] = "mistral-v3",
    [TEMPLATE_MISTRAL_V3_TEKKEN] = "mistral-v3-tekken",
    [TEMPLATE_MISTRAL_V7] = "mistral-v7",
    [TEMPLATE_MISTRAL_V7_TEKKEN] = "mistral-v7-tekken",
    [TEMPLATE_GEMMA] = "gemma",
    [TEMPLATE_PHI3] = "phi3",
    [TEMPLATE_PHI4] = "phi4",
    [TEMPLATE_ZEPHYR] = "zephyr",
    [TEMPLATE_DEEPSEEK] = "deepseek",
    [TEMPLATE_DEEPSEEK2] = "deepseek2",
    [TEMPLATE_DEEPSEEK3] = "deepseek3",
};

const char *template_name(enum template_family f)
{
    return (unsigned)f < TEMPLATE_FAMILIES ? names[f] : "unknown";
}

bool template_parse(const char *name, enum template_family *out)
{
    for (unsigned f = 0; f < TEMPLATE_FAMILIES; f++) {
        if (strcmp(name, names[f]) == 0) {
            *out = (enum template_family)f;
            return true;
        }
    }
    return false;
}

/* ---- telling the family ---- */

static bool has(struct str s, const char *mark)
{
    return s.len > 0 && memmem(s.ptr, s.len, mark, strlen(mark)) != NULL;
}

static bool recognise_inst(struct str j, enum template_family *out)
{
    if (!has(j, "[INST]")) {
        return false;
    }
    if (has(j, "[SYSTEM_PROMPT]")) {
        bool spaced = has(j, "[SYSTEM_PROMPT] ");
        *out = spaced ? TEMPLATE_MISTRAL_V7 : TEMPLATE_MISTRAL_V7_TEKKEN;
    } else if (has(j, "<<SYS>>")) {
        *out = TEMPLATE_LLAMA2;
    } else if (has(j, "' [INST] ' + system_message") || has(j, "[AVAILABLE_TOOLS]")) {
        *out = has(j, " [INST]")      ? TEMPLATE_MISTRAL_V1
               : has(j, "\"[INST]\"") ? TEMPLATE_MISTRAL_V3_TEKKEN
                                      : TEMPLATE_MISTRAL_V3;
    } else {
        *out = TEMPLATE_MISTRAL_V1;
    }
    return true;
}

static bool recognise_im(struct str j, enum template_family *out)
{
    if (!has(j, "<|im_start|>")) {
        return false;
    }
    if (has(j, "<|im_sep|>")) {
        *out = TEMPLATE_PHI4;
    } else if (has(j, "<think>") || has(j, "enable_thinking")) {
        *out = TEMPLATE_QWEN_THINKING;
    } else {
        *out = has(j, "Qwen") || has(j, "<tool_call>") ? TEMPLATE_QWEN : TEMPLATE_CHATML;
    }
    return true;
}

bool template_recognise(struct str j, enum template_family *out)
{
    static const struct {
        enum template_family family;
        const char *marks[2]; /* all of them */
    } rows[] = {
        {TEMPLATE_LLAMA3, {"<|start_header_id|>", "<|end_header_id|>"}},
        {TEMPLATE_GEMMA, {"<start_of_turn>", "<start_of_turn>"}},
        {TEMPLATE_DEEPSEEK3, {"<｜Assistant｜>", "<｜User｜>"}},
        {TEMPLATE_PHI3, {"<|assistant|>", "<|end|>"}},
        {TEMPLATE_ZEPHYR, {"<|user|>", "eos_token"}},
        {TEMPLATE_ZEPHYR, {"<|user|>", "<|endoftext|>"}},
        {TEMPLATE_DEEPSEEK, {"### Instruction:", "<|EOT|>"}},
        {TEMPLATE_DEEPSEEK2, {"'Assistant: ' + message['content'] + eos_token", "'User: '"}},
    };
    if (recognise_im(j, out) || recognise_inst(j, out)) {
        return true;
    }
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (has(j, rows[i].marks[0]) && has(j, rows[i].marks[1])) {
            *out = rows[i].family;
            return true;
        }
    }
    return false;
}

enum status template_of_file(const struct gguf *g, enum template_family *out, struct error *err)
{
    struct str jinja = STR("");
    if (!gguf_string(g, "tokenizer.chat_template", &jinja) || jinja.len == 0) {
        return error_set(err, STATUS_NOT_FOUND,
                         "the file has no chat template: choose one with generate.chat_template");
    }
    if (!template_recognise(jinja, out)) {
        return error_set(err, STATUS_UNSUPPORTED,
                         "the file's chat template is of no family known here: choose one with "
                         "generate.chat_template");
    }
    return STATUS_OK;
}

/* ---- pieces ---- */

void piece_put(struct template_pieces *p, enum template_kind kind, struct str text)
{
    if (p->failed || (text.len == 0 && kind != PIECE_END)) {
        return;
    }
    if (p->n == p->cap) {
        size_t cap = p->cap == 0 ? 32 : p->cap * 2;
        struct template_piece *grown = realloc(p->items, cap * sizeof *grown);
        if (grown == NULL) {
            p->failed = true;
            return;
        }
        p->items = grown;
        p->cap = cap;
    }
    p->items[p->n++] = (struct template_piece){.kind = kind, .text = text};
}

void piece_mark(struct template_pieces *p, const char *z)
{
    piece_put(p, PIECE_MARK, str_from(z));
}

void piece_words(struct template_pieces *p, const char *z)
{
    piece_put(p, PIECE_WORDS, str_from(z));
}

void piece_given(struct template_pieces *p, struct str s)
{
    piece_put(p, PIECE_GIVEN, s);
}

struct str piece_trimmed(struct str s)
{
    while (s.len > 0 && isspace((unsigned char)s.ptr[0])) {
        s = (struct str){s.ptr + 1, s.len - 1};
    }
    while (s.len > 0 && isspace((unsigned char)s.ptr[s.len - 1])) {
        s.len--;
    }
    return s;
}

void template_pieces_deinit(struct template_pieces *p)
{
    free(p->items);
    arena_reset(&p->made);
    *p = (struct template_pieces){0};
}

/* ---- families ---- */

static const char *role_name(enum template_role r)
{
    static const char *const roles[] = {"system", "user", "assistant"};
    return roles[r];
}

static void chatml(const struct template_message *m, size_t n, bool think, bool can_think,
                   struct template_pieces *p)
{
    for (size_t i = 0; i < n; i++) {
        piece_mark(p, "<|im_start|>");
        piece_words(p, role_name(m[i].role));
        piece_words(p, "\n");
        piece_given(p, m[i].content);
        piece_mark(p, "<|im_end|>");
        piece_words(p, "\n");
    }
    piece_mark(p, "<|im_start|>");
    piece_words(p, "assistant\n");
    if (can_think && !think) {
        piece_mark(p, "<think>");
        piece_words(p, "\n\n");
        piece_mark(p, "</think>");
        piece_words(p, "\n\n");
    }
}

static void llama2(const struct template_message *m, size_t n, struct template_pieces *p)
{
    bool inside = true;
    piece_mark(p, "[INST]");
    piece_words(p, " ");
    for (size_t i = 0; i < n; i++) {
        if (!inside) {
            piece_mark(p, "<s>");
            piece_mark(p, "[INST]");
            piece_words(p, " ");
            inside = true;
        }
        if (m[i].role == TEMPLATE_SYSTEM) {
            piece_mark(p, "<<SYS>>");
            piece_words(p, "\n");
            piece_given(p, m[i].content);
            piece_words(p, "\n");
            piece_mark(p, "<</SYS>>");
            piece_words(p, "\n\n");
        } else if (m[i].role == TEMPLATE_USER) {
            piece_given(p, piece_trimmed(m[i].content));
            piece_words(p, " ");
            piece_mark(p, "[/INST]");
        } else {
            piece_words(p, " ");
            piece_given(p, piece_trimmed(m[i].content));
            piece_words(p, " ");
            piece_put(p, PIECE_END, STR(""));
            inside = false;
        }
    }
}

static void llama3(const struct template_message *m, size_t n, struct template_pieces *p)
{
    for (size_t i = 0; i <= n; i++) {
        piece_mark(p, "<|start_header_id|>");
        piece_words(p, i < n ? role_name(m[i].role) : "assistant");
        piece_mark(p, "<|end_header_id|>");
        piece_words(p, "\n\n");
        if (i < n) {
            piece_given(p, piece_trimmed(m[i].content));
            piece_mark(p, "<|eot_id|>");
        }
    }
}

/* lead and trail: the spaces before [/INST] and after [INST] that the tokenizers' generations
 * differ by. */
static void mistral(const struct template_message *m, size_t n, const char *lead, const char *trail,
                    struct template_pieces *p)
{
    bool inside = false;
    for (size_t i = 0; i < n; i++) {
        if (!inside) {
            piece_words(p, lead);
            piece_mark(p, "[INST]");
            piece_words(p, trail);
            inside = true;
        }
        piece_given(p, m[i].role == TEMPLATE_ASSISTANT ? STR("") : m[i].content);
        if (m[i].role == TEMPLATE_SYSTEM) {
            piece_words(p, "\n\n");
        } else if (m[i].role == TEMPLATE_USER) {
            piece_words(p, lead);
            piece_mark(p, "[/INST]");
        } else {
            piece_words(p, trail);
            piece_given(p, piece_trimmed(m[i].content));
            piece_put(p, PIECE_END, STR(""));
            inside = false;
        }
    }
}

static void mistral7(const struct template_message *m, size_t n, const char *space,
                     struct template_pieces *p)
{
    for (size_t i = 0; i < n; i++) {
        bool system = m[i].role == TEMPLATE_SYSTEM;
        if (m[i].role == TEMPLATE_ASSISTANT) {
            piece_words(p, space);
            piece_given(p, m[i].content);
            piece_put(p, PIECE_END, STR(""));
            continue;
        }
        piece_mark(p, system ? "[SYSTEM_PROMPT]" : "[INST]");
        piece_words(p, space);
        piece_given(p, m[i].content);
        piece_mark(p, system ? "[/SYSTEM_PROMPT]" : "[/INST]");
    }
}

/* No system role: it stands before the first question. */
static void gemma(const struct template_message *m, size_t n, struct template_pieces *p)
{
    struct str system = STR("");
    for (size_t i = 0; i < n; i++) {
        if (m[i].role == TEMPLATE_SYSTEM) {
            system = piece_trimmed(m[i].content);
            continue;
        }
        piece_mark(p, "<start_of_turn>");
        piece_words(p, m[i].role == TEMPLATE_USER ? "user\n" : "model\n");
        if (system.len > 0 && m[i].role == TEMPLATE_USER) {
            piece_given(p, system);
            piece_words(p, "\n\n");
            system = STR("");
        }
        piece_given(p, piece_trimmed(m[i].content));
        piece_mark(p, "<end_of_turn>");
        piece_words(p, "\n");
    }
    piece_mark(p, "<start_of_turn>");
    piece_words(p, "model\n");
}

static void role_mark(enum template_role r, struct template_pieces *p)
{
    static const char *const marks[] = {"<|system|>", "<|user|>", "<|assistant|>"};
    piece_mark(p, marks[r]);
    piece_words(p, "\n");
}

static void phi3(const struct template_message *m, size_t n, struct template_pieces *p)
{
    for (size_t i = 0; i < n; i++) {
        role_mark(m[i].role, p);
        piece_given(p, m[i].content);
        piece_mark(p, "<|end|>");
        piece_words(p, "\n");
    }
    role_mark(TEMPLATE_ASSISTANT, p);
}

static void zephyr(const struct template_message *m, size_t n, struct template_pieces *p)
{
    for (size_t i = 0; i < n; i++) {
        role_mark(m[i].role, p);
        piece_given(p, m[i].content);
        piece_put(p, PIECE_END, STR(""));
        piece_words(p, "\n");
    }
    role_mark(TEMPLATE_ASSISTANT, p);
}

static void phi4(const struct template_message *m, size_t n, struct template_pieces *p)
{
    for (size_t i = 0; i <= n; i++) {
        piece_mark(p, "<|im_start|>");
        piece_words(p, i < n ? role_name(m[i].role) : "assistant");
        piece_mark(p, "<|im_sep|>");
        if (i < n) {
            piece_given(p, m[i].content);
            piece_mark(p, "<|im_end|>");
        }
    }
}

static void deepseek(const struct template_message *m, size_t n, struct template_pieces *p)
{
    for (size_t i = 0; i < n; i++) {
        if (m[i].role == TEMPLATE_USER) {
            piece_mark(p, "### Instruction:");
            piece_words(p, "\n");
        } else if (m[i].role == TEMPLATE_ASSISTANT) {
            piece_mark(p, "### Response:");
            piece_words(p, "\n");
        }
        piece_given(p, m[i].content);
        piece_words(p, m[i].role == TEMPLATE_SYSTEM ? "" : "\n");
        if (m[i].role == TEMPLATE_ASSISTANT) {
            piece_mark(p, "<|EOT|>");
            piece_words(p, "\n");
        }
    }
    piece_mark(p, "### Response:");
    piece_words(p, "\n");
}

static void deepseek2(const struct template_message *m, size_t n, struct template_pieces *p)
{
    for (size_t i = 0; i < n; i++) {
        if (m[i].role != TEMPLATE_SYSTEM) {
            piece_mark(p, m[i].role == TEMPLATE_USER ? "User: " : "Assistant: ");
        }
        piece_given(p, m[i].content);
        if (m[i].role == TEMPLATE_ASSISTANT) {
            piece_put(p, PIECE_END, STR(""));
        } else {
            piece_words(p, "\n\n");
        }
    }
    piece_mark(p, "Assistant:");
}

static void deepseek3(const struct template_message *m, size_t n, struct template_pieces *p)
{
    for (size_t i = 0; i < n; i++) {
        if (m[i].role != TEMPLATE_SYSTEM) {
            piece_mark(p, m[i].role == TEMPLATE_USER ? "<｜User｜>" : "<｜Assistant｜>");
        }
        piece_given(p, m[i].content);
        if (m[i].role == TEMPLATE_SYSTEM) {
            piece_words(p, "\n\n");
        } else if (m[i].role == TEMPLATE_ASSISTANT) {
            piece_put(p, PIECE_END, STR(""));
        }
    }
    piece_mark(p, "<｜Assistant｜>");
}

static void render(enum template_family f, const struct template_message *m, size_t n, bool think,
                   struct template_pieces *p)
{
    switch (f) {
    case TEMPLATE_CHATML:
    case TEMPLATE_QWEN:
    case TEMPLATE_QWEN_THINKING:
        chatml(m, n, think, f == TEMPLATE_QWEN_THINKING, p);
        break;
    case TEMPLATE_LLAMA2:
        llama2(m, n, p);
        break;
    case TEMPLATE_LLAMA3:
        llama3(m, n, p);
        break;
    case TEMPLATE_MISTRAL_V1:
        mistral(m, n, " ", " ", p);
        break;
    case TEMPLATE_MISTRAL_V3:
        mistral(m, n, "", " ", p);
        break;
    case TEMPLATE_MISTRAL_V3_TEKKEN:
        mistral(m, n, "", "", p);
        break;
    case TEMPLATE_MISTRAL_V7:
        mistral7(m, n, " ", p);
        break;
    case TEMPLATE_MISTRAL_V7_TEKKEN:
        mistral7(m, n, "", p);
        break;
    case TEMPLATE_GEMMA:
        gemma(m, n, p);
        break;
    case TEMPLATE_PHI3:
        phi3(m, n, p);
        break;
    case TEMPLATE_PHI4:
        phi4(m, n, p);
        break;
    case TEMPLATE_ZEPHYR:
        zephyr(m, n, p);
        break;
    case TEMPLATE_DEEPSEEK:
        deepseek(m, n, p);
        break;
    case TEMPLATE_DEEPSEEK2:
        deepseek2(m, n, p);
        break;
    case TEMPLATE_DEEPSEEK3:
    case TEMPLATE_FAMILIES:
        deepseek3(m, n, p);
        break;
    }
}

enum status template_render(enum template_family f, const struct template_message *m, size_t n,
                            bool thinking, struct template_pieces *out, struct error *err)
{
    *out = (struct template_pieces){0};
    arena_init(&out->made, TEMPLATE_MADE_MAX);
    if (n == 0 || n > TEMPLATE_MESSAGES_MAX || (unsigned)f >= TEMPLATE_FAMILIES) {
        return error_set(err, STATUS_INVALID, "a conversation has 1 to %u messages",
                         TEMPLATE_MESSAGES_MAX);
    }
    for (size_t i = 1; i < n; i++) {
        if (m[i].role == TEMPLATE_SYSTEM) {
            return error_set(err, STATUS_INVALID, "message %zu: only the first may be the system's",
                             i + 1);
        }
    }
    if (m[n - 1].role != TEMPLATE_USER) {
        return error_set(err, STATUS_INVALID, "the last message must be the user's");
    }
    render(f, m, n, thinking, out);
    if (out->failed) {
        template_pieces_deinit(out);
        return error_set(err, STATUS_NO_MEMORY, "out of memory");
    }
    return STATUS_OK;
}

void template_text(const struct template_pieces *p, struct buf *out)
{
    for (size_t i = 0; i < p->n; i++) {
        buf_str(out, p->items[i].kind == PIECE_END ? STR("</s>") : p->items[i].text);
    }
}
