/* ingest, datasets, lineage, drop, jobs. */
#include "cli/commands.h"

#define DATASET_NAME_MAX 63
#define DATASET_COLUMNS "name,bucket,version,rows,bytes,files,columns,sensitive,owner,updated_at"

static void member_if(JsonWriter *w, const char *name, Str value) {
    if (value.len) jw_member_text(w, name, value);
}

static const Section dataset_sections[] = {
    {"schema",                                               "name,type,nullable,pii,description"},
    {"history",                                                      "version,at,operation,rows_added,rows_removed,source"},
    {"lineage","version,source_system,source,rows,bytes,at"},
    {"pii",                                              "column,kind,confidence,matched,sampled"},
    {0                                                     }
};

/* What the end of a file's name says, the first that fits. */
typedef struct Ending {
    const char *text, *format, *encoding;
} Ending;
static const Ending endings[] = {
    {".csv",     "csv",     NULL  },
    {".tsv",     "tsv",     NULL  },
    {".json",    "json",    NULL  },
    {".ndjson",  "ndjson",  NULL  },
    {".jsonl",   "ndjson",  NULL  },
    {".parquet", "parquet", NULL  },
    {".gz",      NULL,      "gzip"},
    {".zst",     NULL,      "zstd"}
};

static const Ending *take_ending(Str *name) {
    for (size_t i = 0; i < COUNT(endings); i++) {
        Str text = str_from(endings[i].text);
        if (name->len <= text.len) continue;
        if (!str_equal_nocase(str_slice(*name, name->len - text.len, name->len), text)) continue;
        name->len -= text.len;
        return &endings[i];
    }
    return NULL;
}

/* `Sales 2026.v2` becomes sales_2026_v2. */
static Str identifier_of(Cli *cli, Str name) {
    char *copy = (char *)arena_copy(&cli->arena, str_slice(name, 0, DATASET_NAME_MAX - 1)).data;
    size_t len = MIN(name.len, DATASET_NAME_MAX - 1);
    for (size_t i = 0; i < len; i++) {
        char c = copy[i];
        if (c >= 'A' && c <= 'Z') c |= 0x20;
        bool fits = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        copy[i] = fits ? c : '_';
    }
    bool digit = len && copy[0] >= '0' && copy[0] <= '9';
    return arena_print(&cli->arena, "%s%.*s", digit || !len ? "_" : "", (int)len, copy);
}

typedef struct Source {
    Str name, dataset, format, encoding;
} Source;

static Source source_of(Cli *cli, const IngestValues *v) {
    Str rest = v->file, name = v->file;
    while (rest.len) name = str_until(&rest, '/');
    Source source = {.name = name, .dataset = v->dataset, .format = v->format};
    const Ending *packed = take_ending(&name), *kind = packed;
    if (packed && packed->encoding)
        kind = take_ending(&name);
    else
        packed = NULL;
    if (packed) source.encoding = str_from(packed->encoding);
    if (!source.format.len && kind) source.format = str_from(kind->format);
    if (!source.dataset.len) source.dataset = identifier_of(cli, name);
    return source;
}

static void print_ingested(Cli *cli, const Json *result) {
    char size[SIZE_TEXT_SIZE];
    Str name = json_get_text(result, "dataset", (Str){0});
    Str bytes = size_text(json_get_int(result, "bytes", 0), size);
    printf("%.*s version %lld: %lld rows, %.*s, in %lld ms\n", SHOW(name),
           (long long)json_get_int(result, "version", 0),
           (long long)json_get_int(result, "rows", 0), SHOW(bytes),
           (long long)json_get_int(result, "elapsed_ms", 0));
    const Json *pii = json_get(result, "pii"), *warnings = json_get(result, "warnings");
    if (pii && pii->kind == JSON_ARRAY && pii->len > 0) {
        printf("\npersonal data found\n");
        print_list(&cli->arena, pii, "column,kind,confidence,matched,sampled", stdout);
    }
    for (size_t i = 0; warnings && warnings->kind == JSON_ARRAY && i < warnings->len; i++)
        if (warnings->items[i].kind == JSON_TEXT)
            fprintf(stderr, "lakehouse: %.*s\n", SHOW(warnings->items[i].text));
}

/* The route for a database's address; NULL when it is none. */
static const char *route_of(Str address) {
    static const struct {
        const char *scheme, *route;
    } routes[] = {
        {"postgresql://", "/ingest/db"   },
        {"postgres://",   "/ingest/db"   },
        {"mysql://",      "/ingest/mysql"},
        {"mariadb://",    "/ingest/mysql"},
    };
    for (size_t i = 0; i < COUNT(routes); i++)
        if (str_starts(address, str_from(routes[i].scheme))) return routes[i].route;
    return NULL;
}

static void write_database(Cli *cli, const IngestValues *v, JsonWriter *w) {
    Str rest = v->table, name = v->table;
    while (rest.len) name = str_until(&rest, '.');
    jw_object(w);
    jw_member_text(w, "dsn", v->file);
    member_if(w, "table", v->table);
    member_if(w, "query", v->query);
    member_if(w, "dataset", v->dataset.len ? v->dataset : identifier_of(cli, name));
    member_if(w, "mode", v->mode);
    member_if(w, "bucket", v->bucket);
    member_if(w, "schema_drift", v->schema_drift);
    if (v->parallel) jw_member_int(w, "parallel", v->parallel);
    if (v->chunk_rows) jw_member_int(w, "chunk_rows", v->chunk_rows);
    if (v->incremental.len) {
        jw_name(w, "incremental");
        jw_object(w);
        jw_member_text(w, "column", v->incremental);
        jw_end(w);
    }
    jw_end(w);
}

static bool ingest_database(Cli *cli, const IngestValues *v, const char *route, Err *err) {
    OWNED(text_close) Text body = {0};
    const Json *answer;
    Str raw;
    if ((v->table.len == 0) == (v->query.len == 0))
        return err_set(err, LH_INVALID, "a database needs --table NAME or --query SQL");
    if (v->query.len && !v->dataset.len)
        return err_set(err, LH_INVALID, "a query has no name: say --dataset NAME");
    write_database(cli, v, &(JsonWriter){.out = &body});
    if (!session_send(cli, "POST", str_from(route), text_str(&body), &answer, &raw, err))
        return false;
    Str job = json_get_text(answer, "job", (Str){0});
    if (!job.len) return err_set(err, LH_CORRUPT, "the server's answer names no job");
    if (!session_follow(cli, job, &answer, &raw, err)) return false;
    if (!session_prints(cli, raw)) print_ingested(cli, answer);
    return true;
}

bool cmd_ingest(Cli *cli, const void *values, Err *err) {
    const IngestValues *v = values;
    OWNED(http_reply_close) HttpReply reply = {0};
    const Json *result;
    size_t at;
    const char *route = route_of(v->file);
    if (route) return ingest_database(cli, v, route, err);
    if (str_find(v->file, STR("://"), &at)) /* not repeated: it may hold a password */
        return err_set(err, LH_INVALID,
                       "an address begins with postgresql:// or mysql://; else name a file");
    if (str_is(v->file, "-") && !v->dataset.len)
        return err_set(err, LH_INVALID, "standard input has no name: say --dataset NAME");
    Source source = source_of(cli, v);
    Str path = STR("/ingest/file");
    query_add(cli, &path, "dataset", source.dataset);
    query_add(cli, &path, "format", source.format);
    query_add(cli, &path, "mode", v->mode);
    query_add(cli, &path, "bucket", v->bucket);
    if (!str_is(v->file, "-")) query_add(cli, &path, "source", source.name);
    HttpCall call = {.method = "POST",
                     .url = path,
                     .content_type = STR("application/octet-stream"),
                     .content_encoding = source.encoding};
    if (!send_file(cli, v->file, call, &reply, err)) return false;
    Str raw = arena_copy(&cli->arena, text_str(&reply.body));
    if (session_prints(cli, raw)) return true;
    if (!json_read(raw, &cli->arena, &result, err)) return err_while(err, "the server's answer");
    print_ingested(cli, result);
    return true;
}

bool cmd_datasets(Cli *cli, const void *values, Err *err) {
    Str name = ((const NameValues *)values)->name, raw;
    const Json *answer;
    Str path = STR("/catalog/datasets");
    if (name.len) path = path_of(cli, "/catalog/datasets/", name, "");
    if (!session_get(cli, path, &answer, &raw, err)) return false;
    if (session_prints(cli, raw)) return true;
    if (name.len)
        print_object(&cli->arena, answer, dataset_sections, stdout);
    else
        print_list(&cli->arena, answer, DATASET_COLUMNS, stdout);
    return true;
}

bool cmd_lineage(Cli *cli, const void *values, Err *err) {
    const Json *answer;
    Str raw, path = path_of(cli, "/catalog/lineage/", ((const NameValues *)values)->name, "");
    if (!session_get(cli, path, &answer, &raw, err)) return false;
    if (!session_prints(cli, raw)) print_object(&cli->arena, answer, NULL, stdout);
    return true;
}

bool cmd_drop(Cli *cli, const void *values, Err *err) {
    const NameValues *v = values;
    const Json *answer;
    Str path = path_of(cli, "/catalog/datasets/", v->name, v->purge ? "?purge=true" : "");
    return session_send(cli, "DELETE", path, (Str){0}, &answer, NULL, err);
}

bool cmd_jobs(Cli *cli, const void *values, Err *err) {
    Str id = ((const NameValues *)values)->name, raw;
    const Json *answer;
    Str path = id.len ? path_of(cli, "/jobs/", id, "") : STR("/jobs");
    if (!session_get(cli, path, &answer, &raw, err)) return false;
    if (session_prints(cli, raw)) return true;
    if (id.len)
        print_object(&cli->arena, answer, NULL, stdout);
    else
        print_list(&cli->arena, answer, "job,kind,state,done,total,unit,started_at,ended_at",
                   stdout);
    return true;
}

bool cmd_jobs_cancel(Cli *cli, const void *values, Err *err) {
    const Json *answer;
    Str path = path_of(cli, "/jobs/", ((const NameValues *)values)->name, "");
    return session_send(cli, "DELETE", path, (Str){0}, &answer, NULL, err);
}
