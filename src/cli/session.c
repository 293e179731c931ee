#include "cli/session.h"

#include "cli/progress.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define KEY_SIZE_MAX 4096
#define DEFAULT_URL "http://127.0.0.1:3100"
#define POLL_MS_MIN 50
#define POLL_MS_MAX 500

static bool read_key(const SessionOptions *options, Cli *cli, Err *err) {
    Bytes data;
    if (!options->key_file.len) {
        cli->key = str_trim(str_from(getenv("LAKEHOUSE_KEY")));
        return true;
    }
    const char *path = arena_cstr(&cli->arena, options->key_file);
    if (!file_read(path, KEY_SIZE_MAX, &cli->kept, &data, err)) return false;
    cli->key = str_trim(str_of(data));
    return true;
}

bool session_open(const SessionOptions *options, Cli **out, Err *err) {
    OWNED(session_close) Cli *cli = calloc(1, sizeof *cli);
    if (!cli) abort();
    const char *environment = getenv("LAKEHOUSE_URL");
    cli->url = options->url.len ? options->url : str_from(environment);
    if (!cli->url.len) cli->url = STR(DEFAULT_URL);
    while (str_ends(cli->url, STR("/"))) cli->url.len--;
    cli->json = options->json;
    if (!read_key(options, cli, err)) return err_while(err, "reading the key");
    if (!http_client_open(&cli->http, err)) return false;
    *out = TAKE(cli);
    return true;
}

void session_close(Cli **slot) {
    Cli *cli = *slot;
    if (!cli) return;
    http_client_close(&cli->http);
    arena_close(&cli->arena);
    arena_close(&cli->kept);
    free(cli);
    *slot = NULL;
}

static ErrKind kind_of(int status) {
    switch (status) {
    case 401:
        return LH_UNKNOWN_USER;
    case 403:
        return LH_DENIED;
    case 404:
        return LH_MISSING;
    case 409:
        return LH_CONFLICT;
    case 503:
        return LH_OFFLINE;
    default:
        return status < 500 ? LH_INVALID : LH_BUG;
    }
}

/* One line, whatever a server sends: its text is shown on a terminal. */
static Str one_line(Cli *cli, Str text) {
    Str copy = arena_copy(&cli->arena, str_slice(text, 0, 400));
    for (size_t i = 0; i < copy.len; i++)
        if ((unsigned char)copy.data[i] < ' ' || copy.data[i] == 127) ((char *)copy.data)[i] = ' ';
    return copy;
}

static bool problem(Cli *cli, const HttpReply *reply, Err *err) {
    const Json *body;
    Err ignored;
    Str detail = {0};
    if (json_read(text_str(&reply->body), &cli->arena, &body, &ignored))
        detail = json_get_text(body, "detail", json_get_text(body, "title", detail));
    if (!detail.len)
        return err_set(err, kind_of(reply->status), "the server answered %d", reply->status);
    detail = one_line(cli, detail);
    return err_set(err, kind_of(reply->status), "%.*s", SHOW(detail));
}

bool session_call(Cli *cli, HttpCall call, HttpReply *out, Err *err) {
    OWNED(http_reply_close) HttpReply reply = {0};
    call.url = arena_print(&cli->arena, "%.*s%.*s", SHOW(cli->url), SHOW(call.url));
    call.bearer = cli->key;
    if (!http_client_call(cli->http, &call, &reply, err)) {
        if (!str_is(str_from(err_word(err)), "cannot_connect")) return false;
        return err_set(err, LH_OFFLINE, "no server at %.*s (is 'lakehouse serve' running?)",
                       SHOW(cli->url));
    }
    if (reply.status / 100 != 2) return problem(cli, &reply, err);
    *out = reply;
    reply = (HttpReply){0};
    return true;
}

bool session_send(Cli *cli, const char *method, Str path, Str body, const Json **out, Str *raw,
                  Err *err) {
    OWNED(http_reply_close) HttpReply reply = {0};
    HttpCall call = {.method = method, .url = path, .accept = STR("application/json")};
    static const Json nothing = {.kind = JSON_NULL};
    if (body.len) call.content_type = STR("application/json");
    call.body = bytes_of(body);
    if (!session_call(cli, call, &reply, err)) return false;
    Str text = arena_copy(&cli->arena, text_str(&reply.body));
    *out = &nothing;
    if (raw) *raw = text;
    if (!str_trim(text).len) return true; /* 204 */
    if (!json_read(text, &cli->arena, out, err)) return err_while(err, "the server's answer");
    return true;
}

bool session_get(Cli *cli, Str path, const Json **out, Str *raw, Err *err) {
    return session_send(cli, "GET", path, (Str){0}, out, raw, err);
}

bool session_prints(const Cli *cli, Str raw) {
    raw = str_trim(raw);
    if (cli->json) printf("%.*s\n", SHOW(raw));
    return cli->json;
}

static volatile sig_atomic_t interrupted;
static void on_interrupt(int number) {
    (void)number;
    interrupted = 1;
}

static void pause_ms(int64_t ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static bool job_ended(Cli *cli, const Json *job, const Json **result, Str *raw, Err *err) {
    OWNED(text_close) Text text = {0};
    Str state = json_get_text(job, "state", (Str){0});
    const Json *given = json_get(job, "result");
    if (!str_is(state, "succeeded")) {
        Str detail = json_get_text(json_get(job, "error"), "detail", state);
        detail = one_line(cli, detail);
        return err_set(err, str_is(state, "cancelled") ? LH_CANCELLED : LH_BUG, "%.*s",
                       SHOW(detail));
    }
    if (!given) return err_set(err, LH_CORRUPT, "the job's answer has no result");
    jw_json(&(JsonWriter){.out = &text}, given);
    *raw = arena_copy(&cli->arena, text_str(&text));
    *result = given;
    return true;
}

static bool poll_job(Cli *cli, Str path, Progress *progress, const Json **result, Str *raw,
                     Err *err) {
    const Json *job, *ignored;
    bool cancelled = false;
    for (int64_t wait_ms = POLL_MS_MIN;; wait_ms = MIN(wait_ms * 2, POLL_MS_MAX)) {
        if (interrupted && !cancelled) {
            cancelled = true;
            if (!session_send(cli, "DELETE", path, (Str){0}, &ignored, NULL, err)) return false;
        }
        if (!session_get(cli, path, &job, NULL, err)) return false;
        Str state = json_get_text(job, "state", STR("unknown"));
        if (!str_is(state, "queued") && !str_is(state, "running"))
            return job_ended(cli, job, result, raw, err);
        progress_show(progress, json_get_int(job, "done", 0), json_get_int(job, "total", -1),
                      json_get_text(job, "unit", STR("")));
        pause_ms(wait_ms);
    }
}

bool session_follow(Cli *cli, Str job, const Json **result, Str *raw, Err *err) {
    struct sigaction catch = {.sa_handler = on_interrupt}, before;
    Progress progress = progress_start();
    interrupted = 0;
    sigaction(SIGINT, &catch, &before);
    bool ok = poll_job(cli, path_of(cli, "/jobs/", job, ""), &progress, result, raw, err);
    sigaction(SIGINT, &before, NULL);
    progress_end(&progress);
    return ok;
}

Str path_of(Cli *cli, const char *before, Str name, const char *after) {
    OWNED(text_close) Text text = {0};
    text_add(&text, str_from(before));
    url_encode(&text, name);
    text_add(&text, str_from(after));
    return arena_copy(&cli->arena, text_str(&text));
}

Str path_of_object(Cli *cli, Str bucket, Str key) {
    OWNED(text_close) Text text = {0};
    text_add(&text, STR("/storage/buckets/"));
    url_encode(&text, bucket);
    text_add(&text, STR("/objects/"));
    url_encode_path(&text, key);
    return arena_copy(&cli->arena, text_str(&text));
}

void query_add(Cli *cli, Str *path, const char *name, Str value) {
    OWNED(text_close) Text text = {0};
    size_t at;
    if (!value.len) return;
    text_print(&text, "%.*s%s%s=", SHOW(*path), str_find(*path, STR("?"), &at) ? "&" : "?", name);
    url_encode(&text, value);
    *path = arena_copy(&cli->arena, text_str(&text));
}
