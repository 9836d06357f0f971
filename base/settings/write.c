/* The commented default file and the reference page, both straight from the table. */
#include <string.h>

#include "base/settings/schema.h"

/* Help text folded to fit `width`, every line with the prefix. */
static void write_folded(struct buf *out, const char *prefix, const char *text, size_t width)
{
    while (*text != '\0') {
        size_t n = strlen(text);
        if (n > width) {
            n = width;
            while (n > 0 && text[n] != ' ') {
                n--;
            }
            n = n == 0 ? strlen(text) : n;
        }
        buf_printf(out, "%s%.*s\n", prefix, (int)n, text);
        text += n;
        text += strspn(text, " ");
    }
}

static size_t section_len(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot == NULL ? 0 : (size_t)(dot - path);
}

static bool in_section(const struct setting *row, const char *section)
{
    size_t n = section_len(row->path);

    return n == strlen(section) && memcmp(row->path, section, n) == 0;
}

static const char *last_name(const char *path)
{
    size_t n = section_len(path);

    return n == 0 ? path : path + n + 1;
}

static bool is_text(const struct setting *row)
{
    return row->type == SETTING_STRING || row->type == SETTING_PATH;
}

static void write_default_rows(struct buf *out, const char *section, const char *indent)
{
    char prefix[16];
    size_t n = strlen(indent);

    memcpy(prefix, indent, n);
    memcpy(prefix + n, "# ", 3);
    for (size_t i = 0; i < settings_schema_n; i++) {
        const struct setting *row = &settings_schema[i];
        if (!in_section(row, section)) {
            continue;
        }
        write_folded(out, prefix, row->help, 92);
        if (row->choices != NULL) {
            buf_printf(out, "%s# (%s)\n", indent, row->choices);
        }
        const char *quote = is_text(row) ? "\"" : "";
        buf_printf(out, "%s#%s: %s%s%s\n", indent, last_name(row->path), quote, row->fallback,
                   quote);
    }
}

static void write_default_list(struct buf *out, const struct setting_list *l)
{
    buf_char(out, '\n');
    write_folded(out, "# ", l->help, 92);
    buf_printf(out, "%s:\n", l->path);
    for (const char *p = l->example; *p != '\0';) {
        size_t n = strcspn(p, "\n");
        size_t indent = strspn(p, " ");
        buf_printf(out, "  %.*s#%.*s\n", (int)indent, p, (int)(n - indent), p + indent);
        p += n + (p[n] == '\n');
    }
}

void settings_write_default(struct buf *out)
{
    buf_z(out, "# Carrel's settings. Every line shows the default: remove the # before a name to "
               "change it,\n"
               "# then restart. `carrel config check` says whether the file is right.\n\n");
    write_default_rows(out, "", "");
    for (size_t i = 0; i < settings_sections_n; i++) {
        const struct setting_section *s = &settings_sections[i];
        bool inner = strchr(s->path, '.') != NULL;
        const char *indent = inner ? "  " : "";
        buf_printf(out, "\n%s# %s\n%s%s:\n", indent, s->help, indent, last_name(s->path));
        write_default_rows(out, s->path, inner ? "    " : "  ");
    }
    for (size_t i = 0; i < settings_lists_n; i++) {
        write_default_list(out, &settings_lists[i]);
    }
}

static void write_number(struct buf *out, const struct setting *row, double v)
{
    static const struct {
        enum setting_type type;
        double factor;
        const char *unit;
    } units[] = {
        {SETTING_SIZE, 1024.0 * 1024 * 1024, " GiB"},
        {SETTING_SIZE, 1024.0 * 1024, " MiB"},
        {SETTING_SIZE, 1024.0, " KiB"},
        {SETTING_DURATION, 3600000.0, " h"},
        {SETTING_DURATION, 60000.0, " m"},
        {SETTING_DURATION, 1000.0, " s"},
        {SETTING_DURATION, 1.0, " ms"},
    };

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (units[i].type == row->type && v >= units[i].factor) {
            buf_printf(out, "%.15g%s", v / units[i].factor, units[i].unit);
            return;
        }
    }
    buf_printf(out, "%.15g", v);
}

static void write_kind(struct buf *out, const struct setting *row)
{
    buf_z(out, setting_type_name(row->type));
    if (row->choices != NULL) {
        for (const char *p = row->choices; *p != '\0';) {
            size_t n = strcspn(p, "|");
            buf_printf(out, "%s `%.*s`", p == row->choices ? "" : ",", (int)n, p);
            p += n + (p[n] == '|');
        }
        return;
    }
    if (is_text(row) || row->type == SETTING_BOOL || row->type == SETTING_LIST) {
        buf_z(out, row->type == SETTING_LIST ? " texts" : "");
        return;
    }
    buf_z(out, ", ");
    write_number(out, row, row->min);
    buf_z(out, " to ");
    write_number(out, row, row->max);
}

#define TABLE_HEAD "| setting | kind | default | meaning |\n| --- | --- | --- | --- |\n"

static void write_reference_row(struct buf *out, const struct setting *row)
{
    buf_printf(out, "| `%s` | ", row->path);
    write_kind(out, row);
    buf_printf(out, " | `%s` | ", row->fallback[0] == '\0' ? "\"\"" : row->fallback);
    buf_printf(out, "%s |\n", row->help);
}

static void write_reference_rows(struct buf *out, const char *section)
{
    buf_z(out, TABLE_HEAD);
    for (size_t i = 0; i < settings_schema_n; i++) {
        if (in_section(&settings_schema[i], section)) {
            write_reference_row(out, &settings_schema[i]);
        }
    }
}

static void write_reference_list(struct buf *out, const struct setting_list *l)
{
    buf_printf(out, "\n## %s\n\n%s A list: each entry begins with `- name:`.\n\n```yaml\n%s:\n",
               l->path, l->help, l->path);
    for (const char *p = l->example; *p != '\0';) {
        size_t n = strcspn(p, "\n");
        buf_printf(out, "  %.*s\n", (int)n, p);
        p += n + (p[n] == '\n');
    }
    buf_z(out, "```\n\n" TABLE_HEAD);
    for (size_t i = 0; i < l->n_rows; i++) {
        write_reference_row(out, &l->rows[i]);
    }
}

void settings_write_reference(struct buf *out)
{
    buf_z(out, "# Settings\n\n"
               "<!-- Made by `carrel config reference`; change base/settings/schema.c, not this "
               "page. -->\n\n"
               "`carrel.yaml` in the data directory (`$CARREL_HOME`, else `~/.local/share/carrel`) "
               "holds what\n"
               "differs from the defaults below. `carrel up` writes it at the first start with "
               "every default\n"
               "as a comment. A name with a dot stands for a line inside a section: `http.port` is "
               "`port:`\n"
               "under `http:`. An unknown or repeated name, a value of the wrong kind or out of "
               "range stops\n"
               "the start with file and line; `carrel config check` tells beforehand. Anchors, "
               "aliases and\n"
               "tags are refused. Sizes are bytes, or with `KiB`, `MiB`, `GiB`; durations need "
               "`ms`, `s`, `m`\n"
               "or `h`. Relative file names count from the data directory. Changes take effect at "
               "the next\n"
               "start.\n\n");
    write_reference_rows(out, "");
    for (size_t i = 0; i < settings_sections_n; i++) {
        buf_printf(out, "\n## %s\n\n%s\n\n", settings_sections[i].path, settings_sections[i].help);
        write_reference_rows(out, settings_sections[i].path);
    }
    for (size_t i = 0; i < settings_lists_n; i++) {
        write_reference_list(out, &settings_lists[i]);
    }
}
