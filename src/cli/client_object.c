/* put, get, ls, rm: objects in buckets. */
#include "cli/commands.h"

static bool split(Str object, Str *bucket, Str *key, Err *err) {
    *key = object;
    *bucket = str_until(key, '/');
    if (bucket->len) return true;
    return err_set(err, LH_INVALID, "'%.*s' must be written as BUCKET/KEY", SHOW(object));
}

static bool split_key(Str object, Str *bucket, Str *key, Err *err) {
    if (!split(object, bucket, key, err)) return false;
    if (key->len) return true;
    return err_set(err, LH_INVALID, "'%.*s' must be written as BUCKET/KEY", SHOW(object));
}

static Str base_name(Str file) {
    Str rest = file, last = file;
    while (rest.len) last = str_until(&rest, '/');
    return last;
}

bool cmd_put(Cli *cli, const void *values, Err *err) {
    const ObjectValues *v = values;
    OWNED(http_reply_close) HttpReply reply = {0};
    Str bucket, key, folder = v->object;
    const Json *answer;
    if (str_ends(folder, STR("/")) && !str_is(v->file, "-")) {
        Str name = base_name(v->file);
        folder = arena_print(&cli->arena, "%.*s%.*s", SHOW(folder), SHOW(name));
    }
    if (!split_key(folder, &bucket, &key, err)) return false;
    HttpCall call = {.method = "PUT", .url = path_of_object(cli, bucket, key)};
    if (!send_file(cli, v->file, call, &reply, err)) return false;
    Str raw = arena_copy(&cli->arena, text_str(&reply.body));
    if (session_prints(cli, raw)) return true;
    if (!json_read(raw, &cli->arena, &answer, err)) return err_while(err, "the server's answer");
    print_object(&cli->arena, answer, NULL, stdout);
    return true;
}

bool cmd_get(Cli *cli, const void *values, Err *err) {
    const ObjectValues *v = values;
    Str bucket, key;
    if (!split_key(v->object, &bucket, &key, err)) return false;
    return receive_file(cli, v->file,
                        (HttpCall){.method = "GET", .url = path_of_object(cli, bucket, key)}, err);
}

bool cmd_rm(Cli *cli, const void *values, Err *err) {
    const ObjectValues *v = values;
    const Json *answer;
    Str bucket, key;
    if (!split_key(v->object, &bucket, &key, err)) return false;
    return session_send(cli, "DELETE", path_of_object(cli, bucket, key), (Str){0}, &answer, NULL,
                        err);
}

static bool is_filled(const Json *list) {
    return list && list->kind == JSON_ARRAY && list->len > 0;
}

static void print_prefixes(Cli *cli, const Json *prefixes) {
    Table *table = table_new(&cli->arena);
    table_column(table, STR("folder"));
    for (size_t i = 0; i < prefixes->len; i++) table_cell_json(table, &prefixes->items[i]);
    table_print(table, stdout);
}

static void print_page(Cli *cli, const Json *page) {
    const Json *prefixes = json_get(page, "prefixes"), *objects = json_get(page, "objects");
    if (is_filled(prefixes)) print_prefixes(cli, prefixes);
    if (is_filled(prefixes) && is_filled(objects)) printf("\n");
    if (is_filled(objects)) print_list(&cli->arena, objects, "size,modified,key", stdout);
}

/* A page at a time, so that a bucket of any size is listed in bounded memory. */
bool cmd_ls(Cli *cli, const void *values, Err *err) {
    const ObjectValues *v = values;
    Str bucket, prefix, after = {0}, raw;
    const Json *page;
    if (!split(v->object, &bucket, &prefix, err)) return false;
    do {
        Str path = path_of(cli, "/storage/buckets/", bucket, "/objects");
        query_add(cli, &path, "prefix", prefix);
        if (!v->recursive) query_add(cli, &path, "delimiter", STR("/"));
        query_add(cli, &path, "after", after);
        if (!session_get(cli, path, &page, &raw, err)) return false;
        if (!session_prints(cli, raw)) print_page(cli, page);
        Arena kept = {0};
        after = arena_copy(&kept, json_get_text(page, "next", (Str){0}));
        arena_close(&cli->arena);
        cli->arena = kept;
    } while (after.len);
    return true;
}
