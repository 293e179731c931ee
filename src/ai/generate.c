/* Text from a provider's generator, whole or piece by piece. A streamed answer is lines of JSON:
 * Ollama's bare, OpenAI's behind "data: ". */
#include "ai/provider.h"

#include <math.h>

#define LINE_SIZE_MAX (1u << 20)

typedef struct Stream {
    Ai *ai;
    const Generation *generation;
    Generated *out;
    Text line;
} Stream;

static bool add_piece(Stream *stream, const Json *json, Err *err) {
    Str text = {0};
    if (!stream->ai->ops->read_piece(json, &text, stream->out, err)) return false;
    text_add(&stream->out->text, text);
    return text.len == 0 || !stream->generation->piece ||
           stream->generation->piece(stream->generation->context, text, err);
}

static bool take_line(Stream *stream, Str line, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    const Json *json;
    line = str_trim(line);
    if (str_starts(line, STR("data:"))) line = str_trim(str_slice(line, 5, line.len));
    if (line.len == 0 || line.data[0] != '{') return true; /* a comment, or [DONE] */
    if (!json_read(line, &arena, &json, err))
        return err_code(err, LH_OFFLINE, "model_server_failed",
                        "the model server streams what is no JSON");
    return add_piece(stream, json, err);
}

static bool on_bytes(void *context, Bytes data, Err *err) {
    Stream *stream = context;
    Str rest = str_of(data);
    size_t at;
    while (str_find(rest, STR("\n"), &at)) {
        text_add(&stream->line, str_until(&rest, '\n'));
        if (!take_line(stream, text_str(&stream->line), err)) return false;
        text_clear(&stream->line);
    }
    text_add(&stream->line, rest);
    return stream->line.len <= LINE_SIZE_MAX ||
           err_code(err, LH_OFFLINE, "model_server_failed",
                    "the model server streams a line of more than %u bytes", LINE_SIZE_MAX);
}

void provider_write_sampling(const Generation *g, const char *max_tokens, JsonWriter *w) {
    if (!isnan(g->temperature)) jw_member_real(w, "temperature", g->temperature);
    if (!isnan(g->top_p)) jw_member_real(w, "top_p", g->top_p);
    if (g->max_tokens) jw_member_int(w, max_tokens, g->max_tokens);
    if (g->seed) jw_member_int(w, "seed", g->seed);
    if (g->stop) {
        jw_name(w, "stop");
        jw_json(w, g->stop);
    }
}

static bool run(Ai *ai, const Generation *generation, Arena *arena, Generated *out, Err *err) {
    OWNED(text_close) Text body = {0};
    Stream stream = {.ai = ai, .generation = generation, .out = out};
    const char *path = ai->ops->write_generation(ai, generation, &(JsonWriter){.out = &body});
    const ProviderCall call = {
        .method = "POST",
        .path = path,
        .model = generation->model,
        .body = text_bytes(&body),
        .answer_ms = ai->options.load_timeout_ms,
        .patience = {0, generation->cancelled, generation->context},
        .sink = generation->piece ? on_bytes : NULL,
        .sink_context = &stream
    };
    const Json *answer = NULL;
    bool ok = provider_call(ai, &call, arena, &answer, err);
    if (ok)
        ok = answer ? add_piece(&stream, answer, err)
                    : take_line(&stream, text_str(&stream.line), err);
    text_close(&stream.line);
    return ok;
}

bool ai_generate(Ai *ai, const Generation *generation, Arena *arena, Generated *out, Err *err) {
    Generation g = *generation;
    Generated generated = {.done_reason = STR("stop")};
    if (!ai->ops)
        return err_code(err, LH_IMPOSSIBLE, "no_model_server",
                        "there is no generator: set [ai] provider and url to a model server");
    if (g.model.len == 0) g.model = ai->options.generate_model;
    if (g.model.len == 0)
        return err_code(err, LH_INVALID, "missing_field",
                        "name a 'model': [ai] generate_model is not set");
    if (!model_name_check(g.model, err)) return false;
    generated.model = arena_copy(arena, g.model);
    if (!run(ai, &g, arena, &generated, err)) {
        text_close(&generated.text);
        return false;
    }
    atomic_fetch_add(&ai->generated, 1);
    *out = generated;
    return true;
}
