/* Up to PII_SAMPLE_ROWS rows in strides over the whole file. Ranges of row numbers let DuckDB skip
 * the row groups between them: 20 to 60 ms, where a reservoir sample reads everything. */
#include "ingest/parts.h"

#include <string.h>

#define STRIDES_MAX 8
#define STRIDE_SPACING 400000 /* a stride more for each so many rows */

static bool is_looked_at(const Field *field) {
    return field->type.kind == TYPE_STRING || field->type.kind == TYPE_LONG ||
           field->type.kind == TYPE_INT;
}

static void select_sample(Text *sql, const Schema *schema, const char *path, int64_t rows) {
    bool first = true;
    text_add(sql, STR("SELECT "));
    for (size_t i = 0; i < schema->len; i++) {
        if (!is_looked_at(&schema->fields[i])) continue;
        if (!first) text_add(sql, STR(", "));
        sql_quote_name(sql, schema->fields[i].name);
        text_add(sql, STR("::VARCHAR"));
        first = false;
    }
    text_add(sql, STR(" FROM read_parquet("));
    sql_quote_text(sql, str_from(path));
    if (rows <= PII_SAMPLE_ROWS) return text_add_byte(sql, ')');
    text_add(sql, STR(", file_row_number=true) WHERE "));
    int64_t strides = MIN(1 + rows / STRIDE_SPACING, STRIDES_MAX),
            length = PII_SAMPLE_ROWS / strides;
    for (int64_t i = 0; i < strides; i++) {
        int64_t from = strides == 1 ? 0 : (rows - length) / (strides - 1) * i;
        text_print(sql, "%sfile_row_number BETWEEN %lld AND %lld", i ? " OR " : "", (long long)from,
                   (long long)(from + length - 1));
    }
}

static bool read_sample(Engine *engine, Str sql, PiiColumn **columns, size_t count, Err *err) {
    OWNED(rows_close) Rows *rows = NULL;
    size_t len;
    if (!engine_run(engine, sql, NULL, NULL, &rows, err)) return false;
    for (;;) {
        if (!rows_next(rows, &len, err)) return false;
        if (len == 0) return true;
        for (size_t c = 0; c < count; c++)
            for (size_t r = 0; r < len; r++)
                if (!rows_is_null(rows, c, r)) pii_add(columns[c], rows_text(rows, c, r));
    }
}

bool pii_sample(Engine *engine, const Schema *schema, const char *path, int64_t rows, Arena *arena,
                PiiFound **out, size_t *count, Err *err) {
    OWNED(text_close) Text sql = {0};
    PiiColumn **columns = arena_array(arena, PiiColumn *, schema->len);
    PiiFound *found = arena_array(arena, PiiFound, schema->len);
    size_t looked_at = 0, len = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < schema->len; i++) {
        if (!is_looked_at(&schema->fields[i])) continue;
        found[looked_at].column = schema->fields[i].name;
        ok = pii_open(schema->fields[i].name, &columns[looked_at], err);
        looked_at += ok;
    }
    if (ok && looked_at && rows > 0) {
        select_sample(&sql, schema, path, rows);
        ok = read_sample(engine, text_str(&sql), columns, looked_at, err);
    }
    for (size_t i = 0; i < looked_at; i++) {
        PiiVerdict verdict = pii_verdict(columns[i]);
        if (verdict.kind) found[len++] = (PiiFound){found[i].column, verdict};
        pii_close(&columns[i]);
    }
    *out = found;
    *count = len;
    return ok || err_while(err, "sampling for personal data");
}
