/* Ollama's API (docs/api.md of 0.33): /api/embed with truncate off, /api/chat and /api/generate,
 * loading and unloading through keep_alive. Every request of a generator carries the same num_ctx,
 * for another one makes Ollama load the model again. */
#include "ai/provider.h"

#include <stdio.h>

static bool not_there(Str model, Err *err) {
    return err_code(err, LH_MISSING, "model_not_found",
                    "the model server has no model '%.*s': pull it first", SHOW(model));
}

static bool ollama_digest(Ai *ai, Str model, char out[MODEL_DIGEST_SIZE], Err *err) {
    OWNED(arena_close) Arena arena = {0};
    const Json *list;
    /* What stands in front of some servers lists nothing: then the name stands for the digest. */
    if (!provider_models(ai, &arena, &list, err)) {
        snprintf(out, MODEL_DIGEST_SIZE, "name-%016llx",
                 (unsigned long long)hash64(bytes_of(model)));
        return err->kind == LH_MISSING;
    }
    for (size_t i = 0; i < list->len; i++) {
        if (!model_same(json_get_text(&list->items[i], "name", (Str){0}), model)) continue;
        Str digest = json_get_text(&list->items[i], "digest", STR("unknown"));
        snprintf(out, MODEL_DIGEST_SIZE, "%.*s", SHOW(digest));
        return true;
    }
    return not_there(model, err);
}

static const Json *embedding(const Json *answer, size_t i) {
    const Json *list = provider_list(answer, "embeddings");
    return i < list->len ? &list->items[i] : NULL;
}

static void write_options(const Ai *ai, const Generation *g, JsonWriter *w) {
    jw_name(w, "options");
    jw_object(w);
    if (ai->options.num_ctx) jw_member_int(w, "num_ctx", ai->options.num_ctx);
    if (g) provider_write_sampling(g, "num_predict", w);
    jw_end(w);
}

static const char *write_generation(const Ai *ai, const Generation *g, JsonWriter *w) {
    jw_object(w);
    jw_member_text(w, "model", g->model);
    if (g->messages) {
        jw_name(w, "messages");
        jw_json(w, g->messages);
    } else {
        jw_member_text(w, "prompt", g->prompt);
        if (g->system.len) jw_member_text(w, "system", g->system);
    }
    jw_member_flag(w, "stream", g->piece != NULL);
    write_options(ai, g, w);
    jw_end(w);
    return g->messages ? "/api/chat" : "/api/generate";
}

static bool read_piece(const Json *piece, Str *text, Generated *out, Err *err) {
    Str error = json_get_text(piece, "error", (Str){0});
    if (error.len)
        return err_code(err, LH_OFFLINE, "model_server_failed", "the model server failed: %.*s",
                        (int)MIN(error.len, 160), error.data);
    *text = json_get_text(piece, "response", (Str){0});
    if (text->len == 0) *text = json_get_text(json_get(piece, "message"), "content", (Str){0});
    if (!json_get_flag(piece, "done", false)) return true;
    out->done_reason = str_is(json_get_text(piece, "done_reason", (Str){0}), "length")
                           ? STR("length")
                           : STR("stop");
    out->prompt_tokens = json_get_int(piece, "prompt_eval_count", 0);
    out->tokens = json_get_int(piece, "eval_count", 0);
    return true;
}

static bool ollama_loaded(Ai *ai, Arena *arena, LoadedModel **out, size_t *count, Err *err) {
    const Json *answer;
    const ProviderCall call = {.method = "GET", .path = "/api/ps", .timeout_ms = PROVIDER_PROBE_MS};
    if (!provider_call(ai, &call, arena, &answer, err)) return false;
    const Json *list = provider_list(answer, "models");
    *out = arena_array(arena, LoadedModel, list->len + 1);
    for (*count = 0; *count < list->len; ++*count) {
        const Json *model = &list->items[*count];
        (*out)[*count] = (LoadedModel){.name = json_get_text(model, "name", (Str){0}),
                                       .expires_at = json_get_text(model, "expires_at", (Str){0}),
                                       .size_bytes = json_get_int(model, "size", 0),
                                       .vram_bytes = json_get_int(model, "size_vram", 0)};
    }
    return true;
}

/* keep_alive is a duration, or a number of seconds. */
static void write_keep_alive(Str text, JsonWriter *w) {
    int64_t seconds;
    jw_name(w, "keep_alive");
    if (str_to_i64(text, &seconds))
        jw_int(w, seconds);
    else
        jw_text(w, text);
}

static bool keep(Ai *ai, const char *path, Str model, Str keep_alive, int64_t timeout_ms,
                 Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text text = {0};
    JsonWriter w = {.out = &text};
    const Json *answer;
    jw_object(&w);
    jw_member_text(&w, "model", model);
    if (str_is(str_from(path), "/api/generate")) {
        jw_member_text(&w, "prompt", (Str){0});
        jw_member_flag(&w, "stream", false);
        write_options(ai, NULL, &w);
    } else {
        jw_name(&w, "input");
        jw_raw(&w, STR("[]"));
    }
    write_keep_alive(keep_alive, &w);
    jw_end(&w);
    const ProviderCall call = {.method = "POST",
                               .path = path,
                               .model = model,
                               .body = text_bytes(&text),
                               .timeout_ms = timeout_ms};
    return provider_call(ai, &call, &arena, &answer, err);
}

/* A generator loads by an empty prompt; a model that only embeds refuses that, and loads by an
 * empty list. */
static bool ollama_load(Ai *ai, Str model, Err *err) {
    Str alive = ai->options.keep_alive;
    int64_t timeout_ms = ai->options.load_timeout_ms;
    if (keep(ai, "/api/generate", model, alive, timeout_ms, err)) return true;
    return err->kind == LH_IMPOSSIBLE && keep(ai, "/api/embed", model, alive, timeout_ms, err);
}

/* It may wait for a load under way, whose end is what this is about: so only as long as an unload.
 */
static bool ollama_unload(Ai *ai, Str model, Err *err) {
    return keep(ai, "/api/generate", model, STR("0"), ai->options.unload_ms, err);
}

const ProviderOps provider_ollama = {
    .name = "ollama",
    .url = "http://127.0.0.1:11434",
    .probe_path = "/api/version",
    .digest = ollama_digest,
    .models_path = "/api/tags",
    .models_list = "models",
    .models_name = "name",
    .embed_path = "/api/embed",
    .embed_option = "truncate",
    .embed_value = "false",
    .embedding = embedding,
    .write_generation = write_generation,
    .read_piece = read_piece,
    .loaded = ollama_loaded,
    .load = ollama_load,
    .unload = ollama_unload,
};
