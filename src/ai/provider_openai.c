/* A server that speaks OpenAI's API: /v1/embeddings, /v1/models, /v1/chat/completions. It says
 * nothing of a model's digest, so that its name stands for it, and manages its own memory. */
#include "ai/provider.h"

#include <stdio.h>

static bool openai_digest(Ai *ai, Str model, char out[MODEL_DIGEST_SIZE], Err *err) {
    (void)ai, (void)err;
    snprintf(out, MODEL_DIGEST_SIZE, "openai-%016llx", (unsigned long long)hash64(bytes_of(model)));
    return true;
}

/* By its index: the order is not promised. */
static const Json *embedding(const Json *answer, size_t i) {
    const Json *list = provider_list(answer, "data");
    for (size_t at = 0; at < list->len; at++) {
        size_t place = (i + at) % list->len;
        if (json_get_int(&list->items[place], "index", (int64_t)place) == (int64_t)i)
            return json_get(&list->items[place], "embedding");
    }
    return NULL;
}

static void write_message(const char *role, Str content, JsonWriter *w) {
    jw_object(w);
    jw_member_text(w, "role", str_from(role));
    jw_member_text(w, "content", content);
    jw_end(w);
}

static void write_messages(const Generation *g, JsonWriter *w) {
    jw_name(w, "messages");
    if (g->messages) {
        jw_json(w, g->messages);
        return;
    }
    jw_array(w);
    if (g->system.len) write_message("system", g->system, w);
    write_message("user", g->prompt, w);
    jw_end(w);
}

static const char *write_generation(const Ai *ai, const Generation *g, JsonWriter *w) {
    (void)ai;
    jw_object(w);
    jw_member_text(w, "model", g->model);
    write_messages(g, w);
    jw_member_flag(w, "stream", g->piece != NULL);
    if (g->piece) {
        jw_name(w, "stream_options");
        jw_raw(w, STR("{\"include_usage\":true}"));
    }
    provider_write_sampling(g, "max_tokens", w);
    jw_end(w);
    return "/v1/chat/completions";
}

static bool read_piece(const Json *piece, Str *text, Generated *out, Err *err) {
    const Json *choices = json_get(piece, "choices"), *usage = json_get(piece, "usage");
    const Json *error = json_get(piece, "error");
    if (error && error->kind == JSON_OBJECT)
        return err_code(err, LH_OFFLINE, "model_server_failed", "the model server failed");
    out->prompt_tokens = json_get_int(usage, "prompt_tokens", out->prompt_tokens);
    out->tokens = json_get_int(usage, "completion_tokens", out->tokens);
    if (!choices || choices->kind != JSON_ARRAY || choices->len == 0) return true;
    const Json *choice = &choices->items[0], *part = json_get(choice, "delta");
    Str reason = json_get_text(choice, "finish_reason", (Str){0});
    *text = json_get_text(part ? part : json_get(choice, "message"), "content", (Str){0});
    if (reason.len) out->done_reason = str_is(reason, "length") ? STR("length") : STR("stop");
    return true;
}

const ProviderOps provider_openai = {
    .name = "openai",
    .probe_path = "/v1/models",
    .digest = openai_digest,
    .models_path = "/v1/models",
    .models_list = "data",
    .models_name = "id",
    .embed_path = "/v1/embeddings",
    .embed_option = "encoding_format",
    .embed_value = "\"float\"",
    .embedding = embedding,
    .write_generation = write_generation,
    .read_piece = read_piece,
};
