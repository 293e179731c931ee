/* index ..., search. */
#include "cli/commands.h"

#define INDEX_COLUMNS                                                                              \
    "index,dataset,vector_backend,backend,bucket,rows,dimensions,bytes,memory_bytes,stale,model"

#define SNIPPET_MAX 90 /* bytes of a hit's text in the table */

static void member_if(JsonWriter *w, const char *name, Str value) {
    if (value.len) jw_member_text(w, name, value);
}

static void write_chunk(JsonWriter *w, const IndexValues *v) {
    if (!v->chunk_size && !v->chunk_overlap) return;
    jw_name(w, "chunk");
    jw_object(w);
    if (v->chunk_size) jw_member_int(w, "size", v->chunk_size);
    if (v->chunk_overlap) jw_member_int(w, "overlap", v->chunk_overlap);
    jw_end(w);
}

static void write_index(Text *out, const IndexValues *v) {
    JsonWriter w = {.out = out};
    jw_object(&w);
    member_if(&w, "index", v->index);
    member_if(&w, "dataset", v->dataset);
    member_if(&w, "id_column", v->id_column);
    member_if(&w, "text_column", v->text_column);
    member_if(&w, "vector_column", v->vector_column);
    member_if(&w, "model", v->model);
    member_if(&w, "bucket", v->bucket);
    member_if(&w, "vector_backend", v->vector_backend);
    member_if(&w, "lance_version", v->lance_version);
    member_if(&w, "metric", v->metric);
    write_chunk(&w, v);
    if (v->embed_pii) jw_member_flag(&w, "embed_pii", true);
    jw_end(&w);
}

bool run_job(Cli *cli, const char *method, Str path, Str body, const Section *sections, Err *err) {
    const Json *answer;
    Str raw;
    if (!session_send(cli, method, path, body, &answer, &raw, err)) return false;
    Str job = json_get_text(answer, "job", (Str){0});
    if (!job.len) return err_set(err, LH_CORRUPT, "the server's answer names no job");
    if (!sections) {
        if (!session_prints(cli, raw)) printf("%.*s\n", SHOW(job));
        return true;
    }
    if (!session_follow(cli, job, &answer, &raw, err)) return false;
    if (!session_prints(cli, raw)) print_object(&cli->arena, answer, sections, stdout);
    return true;
}

static const Section no_sections[] = {{0}};

bool cmd_index_create(Cli *cli, const void *values, Err *err) {
    const IndexValues *v = values;
    OWNED(text_close) Text body = {0};
    write_index(&body, v);
    return run_job(cli, "POST", STR("/vectors/indexes"), text_str(&body),
                   v->detach ? NULL : no_sections, err);
}

bool cmd_index_refresh(Cli *cli, const void *values, Err *err) {
    Str path = path_of(cli, "/vectors/indexes/", ((const NameValues *)values)->name, "/refresh");
    return run_job(cli, "POST", path, (Str){0}, no_sections, err);
}

bool cmd_index_move(Cli *cli, const void *values, Err *err) {
    const MoveValues *v = values;
    OWNED(text_close) Text body = {0};
    JsonWriter w = {.out = &body};
    jw_object(&w);
    jw_member_text(&w, "bucket", v->bucket);
    jw_end(&w);
    return run_job(cli, "PATCH", path_of(cli, "/vectors/indexes/", v->name, ""), text_str(&body),
                   no_sections, err);
}

bool cmd_index_compact(Cli *cli, const void *values, Err *err) {
    Str path = path_of(cli, "/vectors/indexes/", ((const NameValues *)values)->name, "/compact");
    return run_job(cli, "POST", path, (Str){0}, no_sections, err);
}

bool cmd_index(Cli *cli, const void *values, Err *err) {
    Str name = ((const NameValues *)values)->name, raw;
    const Json *answer;
    Str path = name.len ? path_of(cli, "/vectors/indexes/", name, "") : STR("/vectors/indexes");
    if (!session_get(cli, path, &answer, &raw, err)) return false;
    if (session_prints(cli, raw)) return true;
    if (name.len)
        print_object(&cli->arena, answer, NULL, stdout);
    else
        print_list(&cli->arena, answer, INDEX_COLUMNS, stdout);
    return true;
}

bool cmd_index_drop(Cli *cli, const void *values, Err *err) {
    const Json *answer;
    Str path = path_of(cli, "/vectors/indexes/", ((const NameValues *)values)->name, "");
    return session_send(cli, "DELETE", path, (Str){0}, &answer, NULL, err);
}

/* A chunk's beginning on one line: the whole of it is in --json. */
static Str snippet(Cli *cli, Str text) {
    size_t end = MIN(text.len, SNIPPET_MAX);
    if (end == text.len) return text;
    while (end > 0 && ((unsigned char)text.data[end] & 0xC0) == 0x80) end--;
    return arena_print(&cli->arena, "%.*s...", (int)end, text.data);
}

static void print_hits(Cli *cli, const Json *hits) {
    Table *table = table_new(&cli->arena);
    double score;
    table_column(table, STR("score"));
    table_column(table, STR("doc_id"));
    table_column(table, STR("text"));
    for (size_t i = 0; hits && i < hits->len; i++) {
        const Json *hit = &hits->items[i], *value = json_get(hit, "score");
        if (!value || !json_number(value, &score)) score = 0;
        table_cell(table, arena_print(&cli->arena, "%.3f", score), CELL_NUMBER);
        table_cell(table, json_get_text(hit, "doc_id", (Str){0}), CELL_TEXT);
        table_cell(table, snippet(cli, json_get_text(hit, "text", (Str){0})), CELL_TEXT);
    }
    table_print(table, stdout);
}

bool cmd_search(Cli *cli, const void *values, Err *err) {
    const SearchValues *v = values;
    OWNED(text_close) Text body = {0};
    JsonWriter w = {.out = &body};
    const Json *answer;
    Str raw;
    jw_object(&w);
    member_if(&w, "index", v->index);
    member_if(&w, "query", v->query);
    jw_member_int(&w, "k", v->k);
    if (v->ef) jw_member_int(&w, "ef", v->ef);
    member_if(&w, "filter", v->filter);
    member_if(&w, "mode", v->mode);
    if (v->exact) jw_member_flag(&w, "exact", true);
    jw_end(&w);
    if (!session_send(cli, "POST", STR("/vectors/search"), text_str(&body), &answer, &raw, err))
        return false;
    if (!session_prints(cli, raw)) print_hits(cli, json_get(answer, "hits"));
    return true;
}
