/* The models of a data directory: files brought in by `carrel model import`, each under one name
 * with the role it plays. Settings name a model by that name.
 *
 *   <home>/models/<sha256>.gguf   the file, read-only; its parts as <sha256>-00001-of-00003.gguf
 *   <home>/models/<sha256>.v1.packed  its weights as the kernels read them (pack_file.h); made anew
 *                                 when missing
 *   <home>/models/<name>.model    one line a fact ("role encoder"), written last
 *
 * The sum is that of all parts behind each other. Two names may share a file. Every call reads the
 * folder anew and blocks: not for a loop thread. Changes are made by one process at a time (a lock
 * file); readers need no lock, a name is there whole or not at all. */
#ifndef CARREL_MODEL_REGISTRY_H
#define CARREL_MODEL_REGISTRY_H

#include "base/hash.h"
#include "model/model.h"

#define REGISTRY_FOLDER "models"
#define REGISTRY_MAX 64 /* names of a data directory */
#define REGISTRY_NAME_CAP 65
#define REGISTRY_PREFIX_CAP 513
#define REGISTRY_PATH_CAP 1200

enum model_role { MODEL_CHAT, MODEL_ENCODER, MODEL_RERANKER };

struct model_record {
    char name[REGISTRY_NAME_CAP]; /* a-z 0-9 . _ - */
    enum model_role role;
    char sha256[SHA256_HEX_CAP];
    uint64_t bytes; /* of all parts */
    uint32_t parts;
    char architecture[32];
    char title[128]; /* what the file calls itself */
    uint32_t width, context;
    enum model_pooling pooling;
    char query_prefix[REGISTRY_PREFIX_CAP], passage_prefix[REGISTRY_PREFIX_CAP]; /* encoders */
    /* Encoders: "gguf-" and 16 hex digits of a sum over everything that decides the vectors: the
     * file, its pooling, the prefixes. Two encoders of one name make the same vectors. */
    char encoder[32];
    int64_t imported; /* Unix seconds */
};

struct registry_import {
    const char *home, *path;
    const char *name; /* NULL: made from what the file calls itself */
    enum model_role role;
    const char *query_prefix, *passage_prefix; /* NULL: the family's own */
    /* Bytes copied and summed; may be NULL. false stops: STATUS_CANCELLED, nothing is left. */
    bool (*on_progress)(uint64_t done, uint64_t total, void *data);
    void *data;
};

const char *model_role_name(enum model_role r);
bool model_role_parse(const char *text, enum model_role *out);
/* Can this model play that role? UNSUPPORTED says what is missing and which role it could play. */
enum status model_role_check(const struct model *m, enum model_role r,
                             struct error *err) MUST_CHECK;

/* Checks the file for the role, copies it, sums it, opens the copy, writes the record. A kill or a
 * full disk leaves no name and no half a file (what a kill leaves goes at the next import). The
 * same file again under the same name and role: fine, with the new prefixes. CONFLICT: the name
 * stands for another file, or another import runs. */
enum status registry_import(const struct registry_import *how, struct model_record *out,
                            struct error *err) MUST_CHECK;
/* By name. A record that is damaged is CORRUPT by name; no folder: none. */
enum status registry_list(const char *home, struct model_record out[REGISTRY_MAX], size_t *n,
                          struct error *err) MUST_CHECK;
/* The same; *out is the caller's to free. */
enum status registry_list_new(const char *home, struct model_record **out, size_t *n,
                              struct error *err) MUST_CHECK;
/* NOT_FOUND says which names there are. */
enum status registry_find(const char *home, const char *name, struct model_record *out,
                          struct error *err) MUST_CHECK;
/* By the name of its vectors ("gguf-..."). */
enum status registry_find_encoder(const char *home, const char *encoder, struct model_record *out,
                                  struct error *err) MUST_CHECK;
/* The file to open. */
enum status registry_path(const char *home, const struct model_record *r,
                          char out[REGISTRY_PATH_CAP], struct error *err) MUST_CHECK;
/* Opens it, after a look at the sizes; its packed weights are kept beside it. For the sums of all
 * bytes: registry_verify. */
enum status registry_open(const char *home, const struct model_record *r, struct model **out,
                          struct error *err) MUST_CHECK;
/* Writes the model's packed weights beside it (<sha256>.v<layout>.packed), over what is there;
 * other layouts' go. Opening makes them too, at the first use. */
enum status registry_pack(const char *home, const struct model_record *r,
                          bool (*on_progress)(uint64_t done, uint64_t total, void *data),
                          void *data, struct error *err) MUST_CHECK;
/* Of the packed weights' file; 0: there is none. */
uint64_t registry_packed_bytes(const char *home, const struct model_record *r);
/* Reads every byte of it. A damaged one is taken away, which CORRUPT says; none: fine. */
enum status registry_verify_packed(const char *home, const struct model_record *r,
                                   struct error *err) MUST_CHECK;
/* Reads every byte; CORRUPT: it is not the file that was imported. */
enum status registry_verify(const char *home, const struct model_record *r,
                            struct error *err) MUST_CHECK;
/* Takes the name away, and the file with all that was made of it when no other name uses it. Who
 * has it open keeps it. */
enum status registry_remove(const char *home, const char *name, struct error *err) MUST_CHECK;

#endif
