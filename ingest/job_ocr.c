/* The step between reading a document and cutting it, where pages of it are pictures: each of them
 * is a task of its own in the extractor pool, with its own limits, and the pages are put together
 * again in their order. What is installed is looked up first, on a lane. No more pages are in the
 * pool at once than there are workers, whatever the number of documents, and documents take turns:
 * other files find a place between any two pages. A page that cannot be read is told and left out.
 * A restart reads the document anew. */
#include <stdio.h>

#include "base/tessdata.h"
#include "ingest/job_internal.h"
#include "ingest/ocr_merge.h"
#include "ingest/queue.h"

#define PIXELS_MAX 50e6F /* of a page drawn for reading; about eight bytes each in the reader */
#define DPI_MIN 50U

struct page_task {
    struct ocr_reading *of;
    struct extraction *extraction; /* NULL: not running */
    size_t index;
    uint32_t page, dpi;
};

struct ocr_reading { /* in the job's arena */
    struct job *j;
    struct list link; /* in->reading while pages are to be started */
    struct page_task *tasks;
    struct ocr_page_blocks *pages;
    size_t n, next, running, done;
    size_t all;    /* pages that are pictures; more than n where ocr.max_pages is less */
    size_t failed; /* pages; `why` is that of the first that came back so */
    uint32_t failed_page;
    struct error why;
    bool picture;
    struct tessdata installed;
    char languages[TESSDATA_LIST], missing[TESSDATA_LIST];
};

/* ---- what is said of it ---- */

void job_reading(const struct job *j, char *out, size_t cap)
{
    const struct ocr_reading *r = j->reading;
    out[0] = '\0';
    if (r != NULL && j->phase == JOB_OCR) {
        (void)snprintf(out, cap, "reading page %zu of %zu", r->done + 1 < r->n ? r->done + 1 : r->n,
                       r->n);
    }
}

static void add_note(struct buf *b, const char *text)
{
    buf_z(b, b->len > 0 ? "; " : "");
    buf_z(b, text);
}

static enum status write_note(struct ocr_reading *r)
{
    struct job *j = r->j;
    struct buf b;
    char part[700];
    char names[400];
    buf_init(&b, 4096);
    if (r->failed > 0) {
        (void)snprintf(part, sizeof part, "page %u could not be read: %.300s", r->failed_page,
                       r->why.text);
        add_note(&b, part);
    }
    if (r->failed > 1) {
        (void)snprintf(part, sizeof part, "nor could %zu other pages", r->failed - 1);
        add_note(&b, part);
    }
    if (r->all > r->n) {
        (void)snprintf(part, sizeof part,
                       "only the first %zu of %zu pages that are pictures were read "
                       "(ocr.max_pages)",
                       r->n, r->all);
        add_note(&b, part);
    }
    if (r->missing[0] != '\0') {
        tessdata_packages(r->missing, names, sizeof names);
        (void)snprintf(part, sizeof part, "not installed for reading pictures:%s", names);
        add_note(&b, part);
    }
    struct str s = buf_view(&b);
    j->note = buf_status(&b) == STATUS_OK ? arena_strndup(&j->arena, s.ptr, s.len) : NULL;
    buf_deinit(&b);
    return j->note != NULL ? STATUS_OK : error_set(&j->err, STATUS_NO_MEMORY, "out of memory");
}

/* ---- the end ---- */

static void count_memory(struct job *j)
{
    struct ingest *in = j->t->in;
    in->extracted_bytes += j->arena.used - j->extracted;
    j->extracted = j->arena.used;
}

/* Nothing of it runs or is to be started any more. */
static void stop(struct ocr_reading *r)
{
    struct ingest *in = r->j->t->in;
    for (size_t i = 0; i < r->n; i++) {
        if (r->tasks[i].extraction != NULL) {
            extractor_cancel(r->tasks[i].extraction);
            r->tasks[i].extraction = NULL;
            in->pages_running--;
        }
    }
    r->running = 0;
    list_remove(&r->link);
    count_memory(r->j);
}

void job_ocr_cancel(struct job *j)
{
    if (j->reading != NULL) {
        stop(j->reading);
    }
}

static void nothing_found(struct ocr_reading *r)
{
    struct job *j = r->j;
    if (r->failed > 0) {
        j->err = r->why;
        if (r->n > 1) {
            (void)error_prefix(&j->err, "page %u could not be read", r->failed_page);
        }
    } else {
        (void)error_set(&j->err, STATUS_UNSUPPORTED,
                        r->n == 1 ? "no text was found in its picture"
                                  : "no text was found in the pictures of its pages");
    }
    job_remove(j);
}

static void finish(struct ocr_reading *r)
{
    struct job *j = r->j;
    enum status s = ocr_merge(j->blocks, j->n_blocks, r->pages, r->n, &j->arena, &j->blocks,
                              &j->n_blocks, &j->err);
    if (s == STATUS_OK) {
        s = write_note(r);
    }
    count_memory(j);
    if (s != STATUS_OK) {
        job_remove(j);
    } else if (j->n_blocks == 0) {
        nothing_found(r);
    } else {
        job_chunk(j);
    }
}

/* ---- pages ---- */

/* Not the page's fault: the whole document is tried again. */
static bool may_pass(enum status code)
{
    return code == STATUS_DISK_FULL || (status_retryable(code) && code != STATUS_DEADLINE);
}

static void give_up(struct ocr_reading *r, const struct error *err)
{
    struct job *j = r->j;
    stop(r);
    j->err = *err;
    if (err->code == STATUS_DISK_FULL) {
        queue_hold(j->t->queue, HOLD_DISK_FULL,
                   "the disk is full: free some space, the queue then goes on");
        job_finish(j, OUTCOME_HELD);
    } else {
        job_retry_counted(j);
    }
}

static void on_page(const struct error *err, const struct extracted *out, void *data)
{
    struct page_task *task = data;
    struct ocr_reading *r = task->of;
    struct job *j = r->j;
    struct ingest *in = j->t->in;
    struct ocr_page_blocks *page = &r->pages[task->index];
    bool failed = err != NULL && err->code != STATUS_OK;
    task->extraction = NULL;
    in->pages_running--;
    r->running--;
    r->done++;
    count_memory(j);
    if (failed && may_pass(err->code)) {
        give_up(r, err);
        job_ocr_next(in);
        return;
    }
    if (failed) {
        if (r->failed++ == 0) {
            r->failed_page = task->page;
            r->why = *err;
        }
    } else {
        page->blocks = out->blocks;
        page->n = out->n_blocks;
    }
    bool last = r->done == r->n;
    job_ocr_next(in);
    if (last) {
        finish(r);
        job_extract_next(in);
    }
}

static enum status start_page(struct ocr_reading *r, struct page_task *task, struct error *err)
{
    struct job *j = r->j;
    struct ingest *in = j->t->in;
    const struct ocr_request q = {
        .page = task->page,
        .dpi = task->dpi,
        .min_confidence = (uint32_t)in->settings->ocr.min_confidence,
        .picture = r->picture,
        .languages = r->languages,
    };
    int fd = -1;
    enum status s = snapshot_reopen(j->snap.fd, &fd, err);
    if (s == STATUS_OK) {
        task->extraction = extractor_ocr(in->pool, fd, &q, &j->arena, on_page, task, err);
        s = task->extraction == NULL ? err->code : STATUS_OK;
        extraction_for(task->extraction, &j->effort);
    }
    if (s == STATUS_OK) {
        in->pages_running++;
        r->running++;
    }
    return s;
}

void job_ocr_next(struct ingest *in)
{
    while (in->pages_running < in->pages_max && !list_empty(&in->reading)) {
        struct ocr_reading *r = list_entry(in->reading.next, struct ocr_reading, link);
        struct error err = {.code = STATUS_OK};
        list_remove(&r->link);
        if (start_page(r, &r->tasks[r->next], &err) != STATUS_OK) {
            give_up(r, &err);
        } else if (++r->next < r->n) {
            list_push(&in->reading, &r->link); /* the next document's turn */
        }
    }
}

/* ---- the beginning ---- */

/* As fine as configured, and no finer than can be held. */
static uint32_t page_dpi(const struct settings *st, const Ex__UnreadPage *u)
{
    uint32_t dpi = (uint32_t)st->ocr.dpi;
    while (dpi > DPI_MIN) {
        float scale = (float)dpi / 72;
        if (u->width * scale * (u->height * scale) <= PIXELS_MAX) {
            break;
        }
        dpi = dpi * 9 / 10;
    }
    return dpi;
}

static bool make_tasks(struct ocr_reading *r, const struct extracted *out)
{
    struct job *j = r->j;
    const struct settings *st = j->t->in->settings;
    size_t most = (size_t)st->ocr.max_pages;
    r->all = out->n_unread;
    r->n = r->all < most ? r->all : most;
    r->tasks = arena_array(&j->arena, r->n + 1, sizeof *r->tasks);
    r->pages = arena_array(&j->arena, r->n + 1, sizeof *r->pages);
    for (size_t i = 0; r->tasks != NULL && r->pages != NULL && i < r->n; i++) {
        const Ex__UnreadPage *u = out->unread[i];
        r->pages[i].page = u->page;
        r->tasks[i] = (struct page_task){
            .of = r, .index = i, .page = u->page, .dpi = r->picture ? 0 : page_dpi(st, u)};
        r->tasks[i].dpi = r->tasks[i].dpi == 0 ? 72 : r->tasks[i].dpi;
    }
    return r->tasks != NULL && r->pages != NULL;
}

/* It cannot be read as a picture: what its own text says is all there is. */
static void without(struct job *j, const char *why)
{
    if (j->n_blocks == 0) {
        (void)error_set(&j->err, STATUS_UNSUPPORTED, "its text is in pictures: %s", why);
        job_remove(j);
        return;
    }
    j->note = arena_printf(&j->arena, "%zu of its pages are pictures: %s", j->reading->all, why);
    job_chunk(j);
}

static void look_done(void *data)
{
    struct job *j = data;
    struct ocr_reading *r = j->reading;
    const char *wanted = j->t->in->settings->ocr.languages;
    const char *first = disk_view_language(&j->folders);
    char why[500];
    char names[300];
    j->in_lane = false;
    if (j->cancelled) {
        job_finish(j, OUTCOME_HELD);
        return;
    }
    if (first == NULL && j->info != NULL) {
        first = j->info->language;
    }
    tessdata_choose(&r->installed, wanted, first, r->languages, r->missing);
    if (!r->installed.program) {
        without(j, "install tesseract-ocr, and for each language its package, such as "
                   "tesseract-ocr-deu; then touch the file to have them read");
    } else if (r->languages[0] == '\0') {
        tessdata_packages(r->missing[0] == '\0' ? "eng" : r->missing, names, sizeof names);
        (void)snprintf(why, sizeof why, "install%s, then touch the file to have them read", names);
        without(j, why);
    } else {
        list_push(&j->t->in->reading, &r->link);
        job_ocr_next(j->t->in);
    }
}

static void look_work(void *data)
{
    struct job *j = data;
    tessdata_look(&j->reading->installed);
}

void job_ocr(struct job *j, const struct extracted *out)
{
    struct ingest *in = j->t->in;
    struct ocr_reading *r = arena_alloc(&j->arena, sizeof *r);
    j->phase = JOB_OCR;
    j->reading = r;
    if (r == NULL) {
        (void)error_set(&j->err, STATUS_NO_MEMORY, "out of memory");
        job_retry_counted(j);
        return;
    }
    r->j = j;
    r->picture = strcmp(j->format, "image") == 0;
    list_init(&r->link);
    if (!make_tasks(r, out)) {
        (void)error_set(&j->err, STATUS_TOO_LARGE, "it has too many pages for the memory allowed");
        job_remove(j);
    } else if (!in->settings->ocr.enabled && j->n_blocks > 0) {
        job_chunk(j); /* as somebody wanted it */
    } else if (!in->settings->ocr.enabled) {
        without(j, "reading them is turned off (ocr.enabled)");
    } else {
        j->in_lane = true;
        if (lane_submit_for(&in->work, &j->effort, look_work, look_done, j, &j->err) != STATUS_OK) {
            j->in_lane = false;
            job_finish(j, OUTCOME_HELD);
        }
    }
}
