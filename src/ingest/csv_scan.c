/* RFC 4180 with the liberties that real files take: any of \n, \r\n and \r ends a record, a byte
 * order mark is skipped, blank lines are no records (unless there is one column), a quote inside an
 * unquoted field is text. The first record names the columns, always: guessing that it does not is
 * how headers become data. */
#include "ingest/parts.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NEWLINE_LF 1u
#define NEWLINE_CRLF 2u
#define NEWLINE_CR 4u

typedef struct Cursor {
    const char *at, *end;
    bool last;      /* no more bytes will come */
    uint64_t lines; /* newlines inside quotes of this record */
} Cursor;

typedef enum FieldEnd { FIELD_MORE, FIELD_RECORD, FIELD_CUT, FIELD_BAD } FieldEnd;

typedef struct CsvField {
    Str text; /* between the quotes, where there are any */
    bool quoted, doubled;
} CsvField;

char csv_delimiter(Str head) {
    static const char candidates[] = ",;\t|";
    size_t counts[4] = {0}, best = 0;
    bool quoted = false;
    for (size_t i = 0; i < head.len; i++) {
        char c = head.data[i];
        if (c == '"') quoted = !quoted;
        if (!quoted && (c == '\n' || c == '\r')) break;
        const char *found = quoted || !c ? NULL : strchr(candidates, c);
        if (found) counts[found - candidates]++;
    }
    for (size_t i = 1; i < COUNT(counts); i++)
        if (counts[i] > counts[best]) best = i;
    return candidates[best];
}

void csv_close(CsvScan *scan) {
    text_close(&scan->carry);
    text_close(&scan->warnings);
    arena_close(&scan->arena);
}

bool csv_mixed_newlines(const CsvScan *scan) {
    return (scan->newlines & (scan->newlines - 1)) != 0;
}

static void warn(CsvScan *scan, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void warn(CsvScan *scan, const char *format, ...) {
    va_list args;
    va_start(args, format);
    Str text = arena_vprint(&scan->arena, format, args);
    va_end(args);
    if (scan->warnings.len) text_add_byte(&scan->warnings, ',');
    json_escape(&scan->warnings, text);
}

/* What follows a field: the delimiter, a newline or the end. */
static FieldEnd end_field(CsvScan *scan, Cursor *c) {
    if (c->at == c->end) return c->last ? FIELD_RECORD : FIELD_CUT;
    if (*c->at == scan->delimiter) return c->at++, FIELD_MORE;
    if (*c->at == '\n') {
        scan->newlines |= NEWLINE_LF;
        return c->at++, FIELD_RECORD;
    }
    if (*c->at != '\r') return FIELD_BAD;
    if (c->at + 1 == c->end && !c->last) return FIELD_CUT;
    bool pair = c->at + 1 < c->end && c->at[1] == '\n';
    scan->newlines |= pair ? NEWLINE_CRLF : NEWLINE_CR;
    c->at += pair ? 2 : 1;
    return FIELD_RECORD;
}

static FieldEnd quoted_field(CsvScan *scan, Cursor *c, CsvField *field) {
    const char *from = ++c->at;
    for (;;) {
        const char *quote = memchr(c->at, '"', (size_t)(c->end - c->at));
        if (!quote) return c->at = c->end, c->last ? FIELD_BAD : FIELD_CUT;
        c->at = quote + 1;
        if (c->at == c->end && !c->last) return FIELD_CUT;
        if (c->at == c->end || *c->at != '"') break;
        field->doubled = true;
        c->at++;
    }
    field->quoted = true;
    field->text = (Str){from, (size_t)(c->at - 1 - from)};
    for (size_t i = 0; i < field->text.len; i++) c->lines += field->text.data[i] == '\n';
    return end_field(scan, c);
}

static FieldEnd next_field(CsvScan *scan, Cursor *c, CsvField *field) {
    *field = (CsvField){0};
    if (c->at < c->end && *c->at == '"') return quoted_field(scan, c, field);
    const char *from = c->at, *p = from;
    while (p < c->end && !scan->stops[(unsigned char)*p]) p++; /* one test a byte */
    c->at = p;
    field->text = (Str){from, (size_t)(p - from)};
    return end_field(scan, c);
}

static bool bad_quote(CsvScan *scan, const Cursor *c, Err *err) {
    if (c->at == c->end)
        return err_code(err, LH_INVALID, "bad_quote",
                        "line %llu: a quote is opened and never closed",
                        (unsigned long long)scan->line);
    return err_code(err, LH_INVALID, "bad_quote",
                    "line %llu: a closing quote must be followed by the delimiter or a newline",
                    (unsigned long long)(scan->line + c->lines));
}

static Str unquote(CsvScan *scan, const CsvField *field) {
    char *name = arena_alloc(&scan->arena, field->text.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < field->text.len; i++) {
        name[len++] = field->text.data[i];
        if (field->doubled && field->text.data[i] == '"') i++;
    }
    return str_trim((Str){name, len});
}

static bool add_column(CsvScan *scan, const CsvField *field, size_t *cap, Err *err) {
    if (scan->column_count == CATALOG_COLUMNS_MAX)
        return err_code(err, LH_INVALID, "too_many_columns",
                        "line %llu: the header has more than %d columns",
                        (unsigned long long)scan->line, CATALOG_COLUMNS_MAX);
    Str name = unquote(scan, field);
    size_t number = scan->column_count + 1;
    if (name.len > COLUMN_NAME_MAX)
        return err_code(err, LH_INVALID, "bad_column_name",
                        "line %llu: the name of column %zu has %zu bytes, at most %d",
                        (unsigned long long)scan->line, number, name.len, COLUMN_NAME_MAX);
    if (name.len == 0) {
        name = arena_print(&scan->arena, "column_%zu", number);
        warn(scan, "column %zu has no name and is called '%.*s'", number, SHOW(name));
    } else if (csv_kinds(name, CSV_ALL))
        warn(scan, "the first line names the columns; column %zu is now called '%.*s'", number,
             SHOW(name));
    if (scan->column_count == *cap) {
        *cap = *cap ? *cap * 2 : 16;
        CsvColumn *larger = arena_array(&scan->arena, CsvColumn, *cap);
        if (scan->columns) memcpy(larger, scan->columns, scan->column_count * sizeof *larger);
        scan->columns = larger;
    }
    scan->columns[scan->column_count++] = (CsvColumn){.name = name, .kinds = CSV_ALL};
    return true;
}

static int by_name(const void *a, const void *b) {
    const CsvColumn *x = *(const CsvColumn *const *)a, *y = *(const CsvColumn *const *)b;
    size_t len = MIN(x->name.len, y->name.len);
    int order = strncasecmp(x->name.data, y->name.data, len);
    if (order == 0) order = (x->name.len > y->name.len) - (x->name.len < y->name.len);
    return order ? order : (x > y) - (x < y);
}

static bool check_names(CsvScan *scan, Err *err) {
    const CsvColumn **sorted = arena_array(&scan->arena, const CsvColumn *, scan->column_count);
    for (size_t i = 0; i < scan->column_count; i++) sorted[i] = &scan->columns[i];
    qsort(sorted, scan->column_count, sizeof *sorted, by_name);
    for (size_t i = 1; i < scan->column_count; i++)
        if (str_equal_nocase(sorted[i - 1]->name, sorted[i]->name))
            return err_code(err, LH_INVALID, "duplicate_column",
                            "line %llu: columns %zu and %zu are both called '%.*s'",
                            (unsigned long long)scan->line,
                            (size_t)(sorted[i - 1] - scan->columns) + 1,
                            (size_t)(sorted[i] - scan->columns) + 1, SHOW(sorted[i]->name));
    return true;
}

/* *done false: the record's end has not come yet. */
static bool read_header(CsvScan *scan, Cursor *c, bool *done, Err *err) {
    CsvField field;
    size_t cap = 0;
    FieldEnd end;
    do {
        end = next_field(scan, c, &field);
        if (end == FIELD_BAD) return bad_quote(scan, c, err);
        if (end == FIELD_CUT) {
            scan->columns = NULL;
            scan->column_count = 0;
            text_clear(&scan->warnings);
            return *done = false, true;
        }
        if (!add_column(scan, &field, &cap, err)) return false;
    } while (end == FIELD_MORE);
    *done = true;
    return check_names(scan, err);
}

static void note_value(CsvColumn *column, const CsvField *field) {
    if (field->text.len == 0 && !field->quoted) return; /* NULL */
    column->seen = true;
    if (column->kinds) column->kinds = csv_kinds(field->text, column->kinds);
}

static bool ragged(const CsvScan *scan, size_t count, Err *err) {
    return err_code(err, LH_INVALID, "ragged_row", "line %llu has %zu field%s, the header has %zu",
                    (unsigned long long)scan->line, count, count == 1 ? "" : "s",
                    scan->column_count);
}

static bool read_row(CsvScan *scan, Cursor *c, bool *done, Err *err) {
    CsvField field;
    FieldEnd end;
    size_t count = 0;
    do {
        end = next_field(scan, c, &field);
        if (end == FIELD_BAD) return bad_quote(scan, c, err);
        if (end == FIELD_CUT) return *done = false, true;
        if (count < scan->column_count) note_value(&scan->columns[count], &field);
        count++;
    } while (end == FIELD_MORE);
    *done = true;
    if (count != scan->column_count) return ragged(scan, count, err);
    scan->rows++;
    return true;
}

/* A newline where a record could begin. */
static bool skip_blank(CsvScan *scan, Cursor *c) {
    bool blank = c->at < c->end && (*c->at == '\n' || *c->at == '\r') &&
                 (!scan->columns || scan->column_count > 1);
    if (!blank) return false;
    if (end_field(scan, c) == FIELD_CUT) return false;
    scan->line++;
    scan->blank_lines += scan->columns == NULL;
    return true;
}

static bool scan_records(CsvScan *scan, Bytes data, bool last, size_t *used, Err *err) {
    Cursor c = {(const char *)data.data, (const char *)data.data + data.size, last, 0};
    while (c.at < c.end) {
        if (skip_blank(scan, &c)) continue;
        const char *from = c.at;
        bool done = false;
        c.lines = 0;
        bool ok =
            scan->columns ? read_row(scan, &c, &done, err) : read_header(scan, &c, &done, err);
        if (!ok) return false;
        if (!done) {
            c.at = from;
            break;
        }
        scan->line += 1 + c.lines;
    }
    *used = (size_t)(c.at - (const char *)data.data);
    return true;
}

static Bytes skip_mark(Bytes piece) {
    bool mark = piece.size >= 3 && memcmp(piece.data, "\xef\xbb\xbf", 3) == 0;
    return mark ? (Bytes){piece.data + 3, piece.size - 3} : piece;
}

static void keep(CsvScan *scan, Bytes rest) {
    if (scan->carry.len == 0) return text_add(&scan->carry, str_of(rest));
    memmove(scan->carry.data, rest.data, rest.size);
    scan->carry.len = rest.size;
}

bool csv_scan(CsvScan *scan, Bytes piece, bool last, Err *err) {
    scan->stops[(unsigned char)scan->delimiter] = scan->stops['\n'] = scan->stops['\r'] = true;
    size_t used = 0;
    if (!piece.data) piece.data = (const uint8_t *)""; /* the end may come as nothing at all */
    if (scan->carry.len) {
        text_add(&scan->carry, str_of(piece));
        piece = text_bytes(&scan->carry);
    }
    if (scan->line == 0) {
        if (piece.size < 3 && !last) return keep(scan, piece), true;
        piece = skip_mark(piece);
        scan->line = 1;
    }
    if (!scan_records(scan, piece, last, &used, err)) return false;
    if (piece.size - used > CSV_RECORD_SIZE_MAX)
        return err_code(err, LH_TOO_BIG, "record_too_long",
                        "line %llu: a row may have at most %d bytes; is a quote left open?",
                        (unsigned long long)scan->line, CSV_RECORD_SIZE_MAX);
    keep(scan, (Bytes){piece.data + used, piece.size - used});
    return true;
}
