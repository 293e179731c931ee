/* One call to a model server: a client from a small pool, the key read anew each time (so that it
 * can be changed), failures tried again with growing pauses while it may help, and an error in
 * words that never hold the key. */
#include "ai/provider.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY_SIZE_MAX 4096
#define PAUSE_MS_MIN 50
#define PAUSE_MS_MAX 2000
#define SAID_MAX 160 /* of the server's own words */

const Option ai_options[] = {
    {"provider",                                         LH_TEXT, AT(AiOptions, provider), "builtin", "where models run",
     .choices = "builtin|ollama|openai"},
    {"url",                                      LH_TEXT, AT(AiOptions, url), NULL,
     "of the model server; Ollama's is http://127.0.0.1:11434 unless said"},
    {"embed_model",                                         LH_TEXT, AT(AiOptions, embed_model), "builtin",
     "model of /ai/embed and of indexes that name none"},
    {"generate_model",                 LH_TEXT, AT(AiOptions, generate_model), NULL,
     "model of /ai/generate where the request names none"},
    {"api_key_ref",                                              LH_TEXT, AT(AiOptions, api_key_ref), NULL,
     "where the server's key is: env:NAME or file:PATH"},
    {"pinned",                                      LH_JSON, AT(AiOptions, pinned), NULL, "names of models that are never unloaded"},
    {"keep_alive",                                              LH_TEXT, AT(AiOptions, keep_alive), "5m",
     "time that a preloaded model stays without use"},
    {"num_ctx",                                                  LH_INT, AT(AiOptions, num_ctx), "0",
     "context of generators, the same in every request; 0: the server's own", .max = 1 << 24},
    {"parallel",   LH_INT, AT(AiOptions, parallel), "4", "batches that are embedded at a time",
     .min = 1, .max = 64},
    {"batch",                                      LH_INT, AT(AiOptions, batch), "64", "texts in one request", .min = 1, .max = 64},
    {"text_bytes_max", LH_INT, AT(AiOptions, text_bytes_max), "32768",
     "longer texts are refused, for a server may cut them silently; 0: none are", .max = 1 << 24},
    {"cache_mib",                                   LH_INT, AT(AiOptions, cache_mib), "64",
     "memory for vectors of texts that were embedded before", .max = 1 << 20},
    {"connect_timeout_ms",                                      LH_INT, AT(AiOptions, connect_timeout_ms), "3000",
     "time to connect to the model server", .min = 10, .max = 3600000},
    {"embed_timeout_ms",                                              LH_INT, AT(AiOptions, embed_timeout_ms), "60000",
     "time to embed for who waits, the model's load included", .min = 10, .max = 3600000},
    {"load_timeout_ms",                                                  LH_INT, AT(AiOptions, load_timeout_ms), "330000",
     "time to load a model, to its first word, and to embed a batch of a build", .min = 10,
     .max = 3600000},
    {"retry_ms",LH_INT, AT(AiOptions, retry_ms), "30000",
     "time for which a build tries again while the server fails", .max = 3600000},
    {"model_check_ms",                                      LH_INT, AT(AiOptions, model_check_ms), "5000",
     "time after which the model's digest is looked at again", .max = 3600000},
    {"drain_ms", LH_INT, AT(AiOptions, drain_ms), "30000",
     "time that a swap of profiles waits for requests under way", .max = 3600000},
    {"unload_ms",                                           LH_INT, AT(AiOptions, unload_ms), "15000",
     "time for a model to leave the GPU's memory", .min = 10, .max = 3600000},
    {"slot_wait_ms",                                      LH_INT, AT(AiOptions, slot_wait_ms), "120000",
     "time that a request waits while profiles are swapped", .max = 3600000},
    {0                                             },
};

/* ---- Opening ---- */

static bool url_check(Ai *ai, Err *err) {
    Str url = ai->options.url, rest = url;
    size_t at;
    if (url.len == 0 && ai->ops->url) url = rest = str_from(ai->ops->url);
    bool ok = str_starts(url, STR("http://")) || str_starts(url, STR("https://"));
    for (size_t i = 0; ok && i < url.len; i++) ok = url.data[i] > ' ' && url.data[i] < 0x7f;
    if (!ok)
        return err_code(err, LH_INVALID, "bad_url",
                        "[ai] url must be http://host[:port] or https://... for provider '%s'",
                        ai->ops->name);
    if (str_find(rest, STR("@"), &at))
        return err_code(err, LH_INVALID, "bad_url",
                        "[ai] url holds a user or a password: a key goes where api_key_ref says");
    while (str_ends(url, STR("/"))) url = str_slice(url, 0, url.len - 1);
    if (str_ends(url, STR("/v1"))) url = str_slice(url, 0, url.len - 3);
    ai->url = arena_copy(&ai->arena, url);
    return true;
}

/* What the configuration holds may go before we do. */
static void options_copy(Ai *ai) {
    AiOptions *o = &ai->options;
    Str *texts[] = {&o->provider,       &o->url,         &o->embed_model,
                    &o->generate_model, &o->api_key_ref, &o->keep_alive};
    for (size_t i = 0; i < COUNT(texts); i++) *texts[i] = arena_copy(&ai->arena, *texts[i]);
}

static bool pinned_check(Ai *ai, Err *err) {
    const Json *list = ai->options.pinned;
    bool ok = !list || list->kind == JSON_ARRAY;
    if (!list) return true;
    Json *copy = arena_new(&ai->arena, Json);
    *copy = (Json){.kind = JSON_ARRAY};
    copy->items = arena_array(&ai->arena, Json, list->len + 1);
    for (size_t i = 0; ok && i < list->len; i++) {
        ok = list->items[i].kind == JSON_TEXT;
        if (!ok) break;
        copy->items[i] = (Json){.kind = JSON_TEXT};
        copy->items[i].text = arena_copy(&ai->arena, list->items[i].text);
    }
    copy->len = ok ? list->len : 0;
    ai->options.pinned = copy;
    return ok || err_code(err, LH_INVALID, "wrong_type", "[ai] pinned must be a list of names");
}

static bool names_check(const Ai *ai, Err *err) {
    bool ref = ai->options.api_key_ref.len == 0 ||
               str_starts(ai->options.api_key_ref, STR("env:")) ||
               str_starts(ai->options.api_key_ref, STR("file:"));
    if (!ref)
        return err_code(err, LH_INVALID, "unknown_secret",
                        "[ai] api_key_ref is env:NAME or file:PATH; a key itself does not stand in "
                        "the configuration");
    if (ai->options.embed_model.len > MODEL_NAME_MAX ||
        ai->options.generate_model.len > MODEL_NAME_MAX)
        return err_set(err, LH_INVALID, "a model's name has at most %d bytes", MODEL_NAME_MAX);
    if (!ai->ops && !str_is(ai->options.embed_model, "builtin"))
        return err_code(err, LH_MISSING, "model_not_found",
                        "no model named '%.*s': provider \"builtin\" has 'builtin' alone; set [ai] "
                        "provider and url for others",
                        (int)MIN(ai->options.embed_model.len, 80), ai->options.embed_model.data);
    return true;
}

bool ai_open(const AiOptions *options, Ai **out, Err *err) {
    OWNED(ai_close) Ai *ai = calloc(1, sizeof *ai);
    if (!ai) abort();
    pthread_mutex_init(&ai->lock, NULL);
    pthread_cond_init(&ai->freed, NULL);
    ai->options = *options;
    options_copy(ai);
    ai->ops = str_is(options->provider, "ollama")   ? &provider_ollama
              : str_is(options->provider, "openai") ? &provider_openai
                                                    : NULL;
    if (!pinned_check(ai, err) || !names_check(ai, err)) return false;
    if (ai->ops && !url_check(ai, err)) return false;
    ai->cache = embed_cache_open((size_t)options->cache_mib << 20);
    *out = TAKE(ai);
    return true;
}

void ai_close(Ai **ai) {
    if (!*ai) return;
    while ((*ai)->idle_count > 0) http_client_close(&(*ai)->idle[--(*ai)->idle_count]);
    embed_cache_close(&(*ai)->cache);
    pthread_cond_destroy(&(*ai)->freed);
    pthread_mutex_destroy(&(*ai)->lock);
    arena_close(&(*ai)->arena);
    free(*ai);
    *ai = NULL;
}

void ai_stop(Ai *ai, int64_t grace_ms) {
    atomic_store(&ai->stop_us, clock_us() + grace_ms * 1000);
}

bool ai_stopped(const Ai *ai) {
    int64_t stop_us = atomic_load(&ai->stop_us);
    return stop_us && clock_us() > stop_us;
}

void ai_counts(const Ai *ai, AiCounts *out) {
    *out = (AiCounts){.embedded = atomic_load(&ai->embedded),
                      .cached = atomic_load(&ai->cached),
                      .generated = atomic_load(&ai->generated),
                      .calls = atomic_load(&ai->calls),
                      .failures = atomic_load(&ai->failures)};
}

bool ai_has_provider(const Ai *ai) {
    return ai->ops != NULL;
}

Str ai_provider(const Ai *ai) {
    return ai->ops ? str_from(ai->ops->name) : STR("builtin");
}

Str ai_embed_model(const Ai *ai) {
    return ai->options.embed_model;
}

Str ai_generate_model(const Ai *ai) {
    return ai->options.generate_model;
}

const Json *ai_pinned(const Ai *ai) {
    return ai->options.pinned;
}

static Str untagged(Str name) {
    return str_ends(name, STR(":latest")) ? str_slice(name, 0, name.len - 7) : name;
}

bool model_same(Str a, Str b) {
    return str_equal(untagged(a), untagged(b));
}

bool model_name_check(Str name, Err *err) {
    bool ok = name.len > 0 && name.len <= MODEL_NAME_MAX;
    for (size_t i = 0; ok && i < name.len; i++) ok = (unsigned char)name.data[i] > ' ';
    return ok || err_code(err, LH_INVALID, "bad_model_name",
                          "a model's name has 1 to %d bytes and no blanks", MODEL_NAME_MAX);
}

/* ---- The key ---- */

/* A key has no blanks; a file may end with a line's end. */
static bool key_take(Str text, const char *where, Arena *arena, Str *out, Err *err) {
    Str key = str_trim(text);
    bool ok = key.len > 0 && key.len <= KEY_SIZE_MAX;
    for (size_t i = 0; ok && i < key.len; i++) ok = key.data[i] > ' ' && key.data[i] < 0x7f;
    if (!ok)
        return err_code(err, LH_OFFLINE, "model_server_denied",
                        "%s that [ai] api_key_ref names holds no key", where);
    *out = arena_copy(arena, key);
    return true;
}

static bool key_read(const Ai *ai, Arena *arena, Str *out, Err *err) {
    Str ref = ai->options.api_key_ref;
    Bytes data;
    *out = (Str){0};
    if (ref.len == 0) return true;
    if (str_starts(ref, STR("env:"))) {
        const char *value = getenv(arena_cstr(arena, str_slice(ref, 4, ref.len)));
        return key_take(str_from(value), "the environment variable", arena, out, err);
    }
    const char *path = arena_cstr(arena, str_slice(ref, 5, ref.len));
    if (!file_read(path, KEY_SIZE_MAX, arena, &data, err)) {
        err->kind = LH_OFFLINE;
        err->code = "model_server_denied";
        return err_while(err, "[ai] api_key_ref");
    }
    return key_take(str_of(data), "the file", arena, out, err);
}

/* ---- Clients ---- */

static bool client_borrow(Ai *ai, HttpClient **out, Err *err) {
    HttpClient *client = NULL;
    pthread_mutex_lock(&ai->lock);
    if (ai->idle_count > 0) client = ai->idle[--ai->idle_count];
    pthread_mutex_unlock(&ai->lock);
    if (!client) return http_client_open(out, err);
    *out = client;
    return true;
}

static void client_return(Ai *ai, HttpClient *client) {
    pthread_mutex_lock(&ai->lock);
    if (ai->idle_count < CLIENTS_IDLE_MAX) ai->idle[ai->idle_count++] = TAKE(client);
    pthread_mutex_unlock(&ai->lock);
    http_client_close(&client);
}

/* ---- Errors ---- */

/* {"error":"text"} or {"error":{"message":"text"}}; nothing where it might repeat the key. */
static Str said(const HttpReply *reply, Str key, Arena *arena) {
    const Json *json;
    Err ignored;
    size_t at;
    if (!json_read(text_str(&reply->body), arena, &json, &ignored)) return (Str){0};
    const Json *error = json_get(json, "error");
    Str text =
        error && error->kind == JSON_TEXT ? error->text : json_get_text(error, "message", (Str){0});
    if (key.len && str_find(text, key, &at)) return (Str){0};
    return str_slice(text, 0, SAID_MAX);
}

static bool refused(const Ai *ai, const ProviderCall *call, const HttpReply *reply, Str key,
                    Arena *arena, Err *err) {
    Str words = said(reply, key, arena), url = ai->url;
    int status = reply->status;
    if (status == 401 || status == 403)
        return err_code(err, LH_OFFLINE, "model_server_denied",
                        "the model server at '%.*s' refuses us (%d): see [ai] api_key_ref",
                        SHOW(url), status);
    if (status == 404)
        return err_code(err, LH_MISSING, "model_not_found",
                        "the model server at '%.*s' has no model '%.*s'", SHOW(url),
                        SHOW(call->model));
    if (status == 429 || status == 503)
        return err_code(err, LH_OFFLINE, "model_server_busy",
                        "the model server at '%.*s' is busy (%d): %.*s", SHOW(url), status,
                        SHOW(words));
    if (status >= 500)
        return err_code(err, LH_OFFLINE, "model_server_failed",
                        "the model server at '%.*s' failed (%d): %.*s", SHOW(url), status,
                        SHOW(words));
    return err_code(err, LH_IMPOSSIBLE, "model_refused",
                    "the model server refuses the request (%d): %.*s", status, SHOW(words));
}

static bool unreachable(Err *err) {
    if (err->kind == LH_OFFLINE) {
        err->code = "model_server_offline";
        return err_while(err, "the model server is out of reach");
    }
    if (err->kind != LH_TIMEOUT) return false;
    err->code = "model_server_timeout";
    return err_while(err, "the model server");
}

/* ---- Calls ---- */

typedef struct Waiting {
    const Ai *ai;
    const Patience *patience;
} Waiting;

static bool is_over(const Ai *ai, const Patience *patience) {
    return ai_stopped(ai) || (patience->cancelled && patience->cancelled(patience->context));
}

static bool goes_on(void *context, int64_t sent, int64_t received) {
    const Waiting *waiting = context;
    (void)sent, (void)received;
    return !is_over(waiting->ai, waiting->patience);
}

static bool call_once(Ai *ai, const ProviderCall *call, Arena *arena, const Json **answer,
                      Err *err) {
    OWNED(http_reply_close) HttpReply reply = {0};
    HttpClient *client;
    Str key;
    if (!key_read(ai, arena, &key, err) || !client_borrow(ai, &client, err)) return false;
    Waiting waiting = {ai, &call->patience};
    HttpCall http = {
        .method = call->method,
        .url = arena_print(arena, "%.*s%s", SHOW(ai->url), call->path),
        .content_type = call->body.size ? STR("application/json") : (Str){0},
        .bearer = key,
        .body = call->body,
        .sink = call->sink,
        .sink_context = call->sink_context,
        .connect_timeout_ms = ai->options.connect_timeout_ms,
        .timeout_ms = call->timeout_ms,
        .answer_timeout_ms = call->answer_ms,
        .stall_timeout_ms = call->answer_ms,
        .progress = goes_on,
        .progress_context = &waiting,
    };
    bool ok = http_client_call(client, &http, &reply, err);
    client_return(ai, client);
    if (!ok) return unreachable(err);
    if (reply.status / 100 != 2) return refused(ai, call, &reply, key, arena, err);
    if (call->sink) return true;
    Str body = arena_copy(arena, text_str(&reply.body));
    return json_read(body, arena, answer, err) ||
           err_code(err, LH_OFFLINE, "model_server_failed",
                    "the model server at '%.*s' answers what is no JSON", SHOW(ai->url));
}

static bool is_passing(const Err *err) {
    return err->kind == LH_OFFLINE && !str_is(str_from(err->code), "model_server_denied");
}

/* In small steps, so that a cancelled build ends at once. False: cancelled. */
static bool pause_for(const Ai *ai, const Patience *patience, int64_t ms) {
    int64_t until = clock_us() + ms * 1000;
    while (clock_us() < until) {
        if (is_over(ai, patience)) return false;
        usleep((useconds_t)MIN(20000, MAX(until - clock_us(), 1)));
    }
    return true;
}

bool provider_call(Ai *ai, const ProviderCall *call, Arena *arena, const Json **answer, Err *err) {
    int64_t deadline = clock_us() + call->patience.retry_ms * 1000, pause = PAUSE_MS_MIN;
    for (;;) {
        atomic_fetch_add(&ai->calls, 1);
        if (call_once(ai, call, arena, answer, err)) return true;
        atomic_fetch_add(&ai->failures, 1);
        int64_t jittered = pause + (int64_t)(random_u64() % (uint64_t)pause);
        if (!is_passing(err) || clock_us() + jittered * 1000 > deadline) return false;
        if (!pause_for(ai, &call->patience, jittered))
            return err_set(err, LH_CANCELLED, "cancelled");
        pause = MIN(pause * 2, PAUSE_MS_MAX);
    }
}

bool ai_probe(Ai *ai, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    const Json *answer;
    if (!ai->ops) return true;
    const ProviderCall call = {
        .method = "GET", .path = ai->ops->probe_path, .timeout_ms = PROVIDER_PROBE_MS};
    return provider_call(ai, &call, &arena, &answer, err);
}

const Json *provider_list(const Json *answer, const char *name) {
    static const Json none = {.kind = JSON_ARRAY};
    const Json *list = json_get(answer, name);
    return list && list->kind == JSON_ARRAY ? list : &none;
}

bool provider_models(Ai *ai, Arena *arena, const Json **list, Err *err) {
    const Json *answer;
    const ProviderCall call = {.method = "GET",
                               .path = ai->ops->models_path,
                               .timeout_ms = PROVIDER_PROBE_MS * 5,
                               .patience = {1000}};
    if (!provider_call(ai, &call, arena, &answer, err)) return false;
    *list = provider_list(answer, ai->ops->models_list);
    return true;
}

bool ai_models(Ai *ai, Arena *arena, Str **names, size_t *count, Err *err) {
    const Json *list;
    *names = NULL;
    *count = 0;
    if (!ai->ops) return true;
    if (!provider_models(ai, arena, &list, err)) return false;
    *names = arena_array(arena, Str, list->len + 1);
    for (; *count < list->len; ++*count)
        (*names)[*count] = json_get_text(&list->items[*count], ai->ops->models_name, (Str){0});
    return true;
}

/* ---- What is known of models ---- */

static KnownModel *known_find(Ai *ai, Str name) {
    for (size_t i = 0; i < ai->known_count; i++)
        if (str_is(name, ai->known[i].name)) return &ai->known[i];
    return NULL;
}

/* The lock is held. A full table forgets the one looked at longest ago. */
static KnownModel *known_make(Ai *ai, Str name) {
    KnownModel *model = known_find(ai, name);
    if (model) return model;
    if (ai->known_count < MODELS_KNOWN_MAX) {
        model = &ai->known[ai->known_count++];
    } else {
        model = ai->known;
        for (size_t i = 1; i < MODELS_KNOWN_MAX; i++)
            if (ai->known[i].checked_us < model->checked_us) model = &ai->known[i];
    }
    *model = (KnownModel){0};
    memcpy(model->name, name.data, name.len);
    return model;
}

bool model_info(Ai *ai, Str name, bool fresh, ModelInfo *out, Err *err) {
    char digest[MODEL_DIGEST_SIZE] = "";
    pthread_mutex_lock(&ai->lock);
    const KnownModel *known = known_find(ai, name);
    bool have =
        known && !fresh && clock_us() - known->checked_us <= ai->options.model_check_ms * 1000;
    if (have) *out = known->info;
    pthread_mutex_unlock(&ai->lock);
    if (have) return true;
    if (!ai->ops->digest(ai, name, digest, err)) return false;
    pthread_mutex_lock(&ai->lock);
    KnownModel *model = known_make(ai, name);
    if (!str_is(str_from(digest), model->info.digest)) model->info.dimensions = 0;
    memcpy(model->info.digest, digest, sizeof digest);
    model->checked_us = clock_us();
    *out = model->info;
    pthread_mutex_unlock(&ai->lock);
    return true;
}

void model_has_dimensions(Ai *ai, Str name, size_t dimensions) {
    pthread_mutex_lock(&ai->lock);
    known_make(ai, name)->info.dimensions = dimensions;
    pthread_mutex_unlock(&ai->lock);
}
