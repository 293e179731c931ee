/* Which format a body has, and the SELECT that reads its spooled file. */
#include "ingest/parts.h"

#include <string.h>

static const char *const words[] = {"auto", "csv", "tsv", "json", "ndjson", "parquet"};

bool format_read(Str word, Format *out, Err *err) {
    for (size_t i = 0; i < COUNT(words); i++)
        if (str_is(word, words[i])) return *out = (Format)i, true;
    if (word.len == 0) return *out = FORMAT_AUTO, true;
    return err_code(err, LH_INVALID, "bad_format",
                    "the format '%.*s' is not one of csv, tsv, json, ndjson, parquet, auto",
                    SHOW(word));
}

Format format_detect(Format wanted, Str head) {
    if (wanted != FORMAT_AUTO) return wanted;
    if (str_starts(head, STR("PAR1"))) return FORMAT_PARQUET;
    if (str_starts(head, STR("\xef\xbb\xbf"))) head = str_slice(head, 3, head.len);
    head = str_trim(head);
    return head.len && (head.data[0] == '{' || head.data[0] == '[') ? FORMAT_JSON : FORMAT_CSV;
}

static const char *type_for(const CsvColumn *column, TypeKind wanted) {
    static const struct {
        TypeKind kind;
        unsigned csv;
        const char *sql;
    } types[] = {
        {TYPE_STRING,      0,               "VARCHAR"                 },
        {TYPE_LONG,        CSV_INT,         "BIGINT"                  },
        {TYPE_DOUBLE,      CSV_REAL,        "DOUBLE"                  },
        {TYPE_BOOLEAN,     CSV_BOOLEAN,     "BOOLEAN"                 },
        {TYPE_DATE,        CSV_DATE,        "DATE"                    },
        {TYPE_TIMESTAMP,   CSV_TIMESTAMP,   "TIMESTAMP"               },
        {TYPE_INT,         0,               "INTEGER"                 },
        {TYPE_TIMESTAMPTZ, CSV_TIMESTAMPTZ, "TIMESTAMP WITH TIME ZONE"}
    };
    for (size_t i = 0; i < COUNT(types); i++) {
        bool holds = wanted == TYPE_STRING || !column->seen || column->kinds & types[i].csv;
        if (types[i].kind == wanted && holds) return types[i].sql;
    }
    return NULL;
}

void spool_prefer(Spool *spool, const Schema *existing) {
    for (size_t i = 0; i < spool->csv.column_count; i++) {
        CsvColumn *column = &spool->csv.columns[i];
        const Field *field = schema_find(existing, column->name);
        if (field) column->given = type_for(column, field->type.kind);
    }
}

/* Everything is told, nothing is sniffed: the scanner has seen the whole file. */
static void select_csv(const Spool *spool, Text *out) {
    const CsvScan *csv = &spool->csv;
    char delimiter[2] = {csv->delimiter, 0};
    text_add(out, STR(", auto_detect=false, header=true, quote='\"', escape='\"', nullstr='', "
                      "allow_quoted_nulls=false, null_padding=false, delim="));
    sql_quote_text(out, str_from(delimiter));
    text_print(out, ", strict_mode=%s, skip=%llu, max_line_size=%d, columns={",
               csv_mixed_newlines(csv) ? "false" : "true", (unsigned long long)csv->blank_lines,
               CSV_RECORD_SIZE_MAX + SPOOL_PIECE_SIZE);
    for (size_t i = 0; i < csv->column_count; i++) {
        if (i) text_add_byte(out, ',');
        sql_quote_text(out, csv->columns[i].name);
        text_print(out, ": '%s'", csv_type(&csv->columns[i]));
    }
    text_add_byte(out, '}');
}

/* The whole file is sampled, because a key or a type that comes late would be lost otherwise. */
static void select_json(const Spool *spool, Text *out) {
    text_print(out, ", format='%s', sample_size=-1, ignore_errors=false, maximum_object_size=%d",
               spool->format == FORMAT_NDJSON ? "newline_delimited" : "auto", CSV_RECORD_SIZE_MAX);
}

void spool_select(const Spool *spool, Text *out) {
    static const char *const readers[] = {NULL,        "read_csv",  "read_csv",
                                          "read_json", "read_json", "read_parquet"};
    text_print(out, "SELECT * FROM %s(", readers[spool->format]);
    sql_quote_text(out, str_from(spool->path));
    if (spool->format == FORMAT_CSV || spool->format == FORMAT_TSV) select_csv(spool, out);
    if (spool->format == FORMAT_JSON || spool->format == FORMAT_NDJSON) select_json(spool, out);
    text_add_byte(out, ')');
}

/* The message without our path, which means nothing to the client. */
static void hide_path(const Spool *spool, Err *err) {
    Str path = str_from(spool->path);
    size_t at;
    while (str_find(str_from(err->message), path, &at)) {
        Err copy = *err;
        err_code(err, copy.kind, copy.code, "%.*sthe body%s", (int)at, copy.message,
                 copy.message + at + path.len);
    }
}

bool spool_error(const Spool *spool, Err *err) {
    static const char *const codes[] = {NULL,       "bad_csv",  "bad_csv",
                                        "bad_json", "bad_json", "bad_parquet"};
    hide_path(spool, err);
    bool bodys = err->kind == LH_INVALID || err->kind == LH_CORRUPT ||
                 (err->kind == LH_OFFLINE && spool->format == FORMAT_PARQUET);
    if (bodys) {
        err->kind = LH_INVALID;
        err->code = codes[spool->format];
    }
    return false;
}
