/* sql: one statement, those of a script on standard input, or those typed at a prompt. */
#include "cli/commands.h"

#include <errno.h>
#include <unistd.h>

#define SCRIPT_SIZE_MAX (16u << 20)

static size_t skip_to(Str text, size_t from, Str stop) {
    size_t at;
    if (!str_find(str_slice(text, from, text.len), stop, &at)) return text.len;
    return from + at + stop.len;
}

bool sql_statement_end(Str text, size_t *at) {
    for (size_t i = 0; i < text.len;) {
        char c = text.data[i];
        if (c == ';') return *at = i, true;
        if (c == '\'' || c == '"')
            i = skip_to(text, i + 1, (Str){&text.data[i], 1}); /* '' is two strings: the same */
        else if (str_starts(str_slice(text, i, text.len), STR("--")))
            i = skip_to(text, i, STR("\n"));
        else if (str_starts(str_slice(text, i, text.len), STR("/*")))
            i = skip_to(text, i + 2, STR("*/"));
        else
            i++;
    }
    return false;
}

static void write_query(Text *out, const SqlValues *v, Str statement, const char *format) {
    JsonWriter w = {.out = out};
    jw_object(&w);
    jw_member_text(&w, "sql", statement);
    jw_member_text(&w, "format", str_from(format));
    if (v->limit) jw_member_int(&w, "limit", v->limit);
    if (v->timeout_ms) jw_member_int(&w, "timeout_ms", v->timeout_ms);
    jw_end(&w);
}

/* Numbers that no double holds come as text; their column's type says that they are numbers. */
static bool is_number_type(Str type) {
    static const char *const starts[] = {"BIGINT", "HUGEINT", "UBIGINT", "UHUGEINT", "DECIMAL"};
    for (size_t i = 0; i < COUNT(starts); i++)
        if (str_starts(type, str_from(starts[i])) && !str_ends(type, STR("]"))) return true;
    return false;
}

static void add_row(Table *table, const Json *columns, const Json *row) {
    for (size_t c = 0; c < columns->len; c++) {
        const Json *value = row->kind == JSON_ARRAY && c < row->len ? &row->items[c] : NULL;
        Str type = json_get_text(&columns->items[c], "type", (Str){0});
        if (value && value->kind == JSON_TEXT)
            table_cell(table, value->text, is_number_type(type) ? CELL_NUMBER : CELL_TEXT);
        else if (!value || value->kind == JSON_NULL)
            table_cell(table, STR("NULL"), CELL_NOTHING);
        else
            table_cell_json(table, value);
    }
}

static bool print_rows(Cli *cli, const Json *answer, Err *err) {
    const Json *columns = json_get(answer, "columns"), *rows = json_get(answer, "rows");
    Table *table = table_new(&cli->arena);
    if (!columns || columns->kind != JSON_ARRAY || !rows || rows->kind != JSON_ARRAY)
        return err_set(err, LH_CORRUPT, "the server's answer has no columns and rows");
    for (size_t c = 0; c < columns->len; c++)
        table_column(table, json_get_text(&columns->items[c], "name", (Str){0}));
    for (size_t i = 0; i < rows->len; i++) add_row(table, columns, &rows->items[i]);
    table_print(table, stdout);
    fflush(stdout);
    if (json_get_flag(answer, "truncated", false))
        fprintf(stderr, "lakehouse: only the first %zu rows; --limit N shows more\n", rows->len);
    else if (isatty(2))
        fprintf(stderr, "(%zu row%s, %lld ms)\n", rows->len, rows->len == 1 ? "" : "s",
                (long long)json_get_int(answer, "elapsed_ms", 0));
    return true;
}

/* Formats other than a table go through as they come, whatever their size. */
static bool pass_through(Cli *cli, Str body, Str format, Err *err) {
    bool binary = str_is(format, "arrow") || str_is(format, "parquet");
    if (binary && isatty(1))
        return err_set(err, LH_INVALID, "%.*s is not for a terminal: send it to a file",
                       SHOW(format));
    fflush(stdout);
    HttpCall call = {.method = "POST",
                     .url = STR("/query"),
                     .content_type = STR("application/json"),
                     .body = bytes_of(body)};
    if (!receive_file(cli, (Str){0}, call, err)) return false;
    return !str_is(format, "json") || fd_write(1, bytes_of(STR("\n")), err);
}

bool sql_run(Cli *cli, const SqlValues *v, Str statement, Err *err) {
    OWNED(text_close) Text body = {0};
    const Json *answer;
    Str format = cli->json ? STR("json") : v->format;
    bool table = str_is(format, "table");
    write_query(&body, v, statement, table ? "json" : arena_cstr(&cli->arena, format));
    if (!table) return pass_through(cli, text_str(&body), format, err);
    if (!session_send(cli, "POST", STR("/query"), text_str(&body), &answer, NULL, err))
        return false;
    return print_rows(cli, answer, err);
}

static bool read_script(Text *out, Err *err) {
    for (;;) {
        char *room = text_reserve(out, 65536);
        ssize_t n = read(0, room, 65536);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return err_errno(err, "cannot read standard input");
        if (n == 0) return true;
        out->len += (size_t)n;
        if (out->len > SCRIPT_SIZE_MAX)
            return err_set(err, LH_TOO_BIG, "a script has at most %u bytes", SCRIPT_SIZE_MAX);
    }
}

static bool run_all(Cli *cli, const SqlValues *v, Str script, Err *err) {
    while (str_trim(script).len) {
        size_t end = script.len;
        sql_statement_end(script, &end);
        Str statement = str_trim(str_slice(script, 0, end));
        if (statement.len && !sql_run(cli, v, statement, err)) return false;
        script = str_slice(script, end + 1, script.len);
    }
    return true;
}

bool cmd_sql(Cli *cli, const void *values, Err *err) {
    const SqlValues *v = values;
    OWNED(text_close) Text script = {0};
    if (v->statement.len) return run_all(cli, v, v->statement, err);
    if (isatty(0)) return sql_prompt(cli, v, err);
    return read_script(&script, err) && run_all(cli, v, text_str(&script), err);
}
