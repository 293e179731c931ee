/* A result as JSON, NDJSON or CSV, in pieces: memory is one batch and one piece, whatever the
 * result's size. */
#include "query/engine.h"

#define PIECE_SIZE (64 * 1024)

typedef struct Writer {
    Rows *rows;
    Text names; /* NDJSON: "name": of each column, escaped once */
    size_t *name_ends;
    Text out;
    RowsSink *sink;
    void *context;
} Writer;

static bool flush(Writer *w, size_t above, Err *err) {
    if (w->out.len <= above) return true;
    bool ok = w->sink(w->context, text_bytes(&w->out), err);
    text_clear(&w->out);
    return ok;
}

static void write_json_head(Writer *w) {
    JsonWriter json = {.out = &w->out};
    jw_object(&json);
    jw_name(&json, "columns");
    jw_array(&json);
    for (size_t i = 0; i < w->rows->column_count; i++) {
        jw_object(&json);
        jw_member_text(&json, "name", w->rows->columns[i].name);
        jw_member_text(&json, "type", w->rows->columns[i].sql);
        jw_end(&json);
    }
    jw_end(&json);
    text_add(&w->out, STR(",\"rows\":["));
}

static void write_csv_head(Writer *w) {
    for (size_t i = 0; i < w->rows->column_count; i++) {
        if (i) text_add_byte(&w->out, ',');
        write_csv_text(&w->out, w->rows->columns[i].name);
    }
    text_add(&w->out, STR("\r\n"));
}

static void write_names(Writer *w) {
    w->name_ends = arena_array(&w->rows->arena, size_t, w->rows->column_count);
    for (size_t i = 0; i < w->rows->column_count; i++) {
        json_escape(&w->names, w->rows->columns[i].name);
        text_add_byte(&w->names, ':');
        w->name_ends[i] = w->names.len;
    }
}

static void write_json_row(Writer *w, size_t row, bool first) {
    text_add(&w->out, first ? STR("[") : STR(",["));
    for (size_t i = 0; i < w->rows->column_count; i++) {
        if (i) text_add_byte(&w->out, ',');
        cell_write_json(&w->out, &w->rows->columns[i], row);
    }
    text_add_byte(&w->out, ']');
}

static void write_ndjson_row(Writer *w, size_t row) {
    size_t from = 0;
    text_add_byte(&w->out, '{');
    for (size_t i = 0; i < w->rows->column_count; i++) {
        if (i) text_add_byte(&w->out, ',');
        text_add(&w->out, str_slice(text_str(&w->names), from, w->name_ends[i]));
        cell_write_json(&w->out, &w->rows->columns[i], row);
        from = w->name_ends[i];
    }
    text_add(&w->out, STR("}\n"));
}

static void write_csv_row(Writer *w, size_t row) {
    for (size_t i = 0; i < w->rows->column_count; i++) {
        if (i) text_add_byte(&w->out, ',');
        cell_write_csv(&w->out, &w->rows->columns[i], row);
    }
    text_add(&w->out, STR("\r\n"));
}

static bool write_row(Writer *w, RowsFormat format, size_t row, bool first, Err *err) {
    if (format == ROWS_JSON) write_json_row(w, row, first);
    if (format == ROWS_NDJSON) write_ndjson_row(w, row);
    if (format == ROWS_CSV) write_csv_row(w, row);
    return flush(w, PIECE_SIZE, err);
}

static bool write_all(Writer *w, RowsFormat format, int64_t limit, RowsWritten *done, Err *err) {
    size_t count;
    if (format == ROWS_JSON) write_json_head(w);
    if (format == ROWS_NDJSON) write_names(w);
    if (format == ROWS_CSV) write_csv_head(w);
    for (;;) {
        if (!rows_next(w->rows, &count, err)) return false;
        if (count == 0) break;
        for (size_t row = 0; row < count; row++) {
            if (limit > 0 && done->rows == limit) {
                done->truncated = true;
                break;
            }
            if (!write_row(w, format, row, done->rows == 0, err)) return false;
            done->rows++;
        }
        if (done->truncated) break;
    }
    if (format == ROWS_JSON) text_add_byte(&w->out, ']');
    return flush(w, 0, err);
}

bool rows_write(Rows *rows, RowsFormat format, int64_t limit, RowsSink *sink, void *context,
                RowsWritten *out, Err *err) {
    if (format == ROWS_ARROW) return rows_write_arrow(rows, limit, sink, context, out, err);
    Writer writer = {.rows = rows, .sink = sink, .context = context};
    RowsWritten done = {0};
    bool ok = write_all(&writer, format, limit, &done, err);
    text_close(&writer.names);
    text_close(&writer.out);
    if (ok) *out = done;
    return ok;
}
