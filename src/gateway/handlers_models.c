/* Generators in our shape and in OpenAI's, and what stands in the GPU's memory. */
#include "gateway/bodies.h"
#include "gateway/route.h"

#include <math.h>

#define MESSAGES_MAX 4096

const Option generate_body[] = {
    {"prompt",                            LH_TEXT, AT(GenerateBody, prompt), REQUIRED, "what to answer"},
    {"model",                    LH_TEXT, AT(GenerateBody, model), NULL, "the configured one when left out"},
    {"system",                           LH_TEXT, AT(GenerateBody, system), NULL, "how to answer"},
    {"stream",                                   LH_FLAG, AT(GenerateBody, stream), "false", "ndjson, a line for each piece"},
    {"temperature",         LH_REAL, AT(GenerateBody, temperature), "-1", "-1: the model's own", .min = -1,
     .max = 10},
    {"top_p",                             LH_REAL, AT(GenerateBody, top_p), "-1", "-1: the model's own", .min = -1, .max = 1},
    {"max_tokens", LH_INT, AT(GenerateBody, max_tokens), NULL, "tokens at most", .min = 1,
     .max = 1 << 24},
    {"seed",                            LH_INT, AT(GenerateBody, seed), NULL, "for the same answer again", .min = 1,
     .max = 1ll << 53},
    {"stop",                    LH_JSON, AT(GenerateBody, stop), NULL, "texts that end the answer"},
    {0                              },
};

const Option chat_body[] = {
    {"messages",                          LH_JSON, AT(GenerateBody, messages), REQUIRED, "[{\"role\",\"content\"}]"},
    {"model",                    LH_TEXT, AT(GenerateBody, model), NULL, "the configured one when left out"},
    {"stream",                           LH_FLAG, AT(GenerateBody, stream), "false", "server-sent events"},
    {"stream_options",                                   LH_JSON, AT(GenerateBody, stream_options), NULL,
     "{\"include_usage\":true} ends the stream with the tokens used"},
    {"temperature",         LH_REAL, AT(GenerateBody, temperature), "-1", "-1: the model's own", .min = -1,
     .max = 10},
    {"top_p",                             LH_REAL, AT(GenerateBody, top_p), "-1", "-1: the model's own", .min = -1, .max = 1},
    {"max_tokens", LH_INT, AT(GenerateBody, max_tokens), NULL, "tokens at most", .min = 1,
     .max = 1 << 24},
    {"max_completion_tokens",                            LH_INT, AT(GenerateBody, max_tokens), NULL, "the same", .min = 1,
     .max = 1 << 24},
    {"seed",                    LH_INT, AT(GenerateBody, seed), NULL, "for the same answer again", .min = 1,
     .max = 1ll << 53},
    {"stop",                            LH_JSON, AT(GenerateBody, stop), NULL, "texts that end the answer"},
    {"n",                                   LH_INT, AT(GenerateBody, n), "1", "one answer", .min = 1, .max = 1},
    {"user",LH_TEXT, AT(GenerateBody, user), NULL, "taken and not used"},
    {0                   },
};

const Option model_body[] = {
    {"model",       LH_TEXT, AT(ModelBody, model), REQUIRED, "name of a model of the provider"},
    {0},
};

/* ---- Generating ---- */

/* A stream begins with its first piece, so that what fails before has a status of its own. */
typedef struct Pieces {
    Call *call;
    Str model, id;
    bool chat; /* OpenAI's events; else lines of our own */
    bool begun;
} Pieces;

static bool client_gone(void *context) {
    const Pieces *pieces = context;
    return request_gone(pieces->call->request);
}

static void write_chat_head(const Pieces *pieces, const char *object, JsonWriter *w) {
    jw_object(w);
    jw_member_text(w, "id", pieces->id);
    jw_member_text(w, "object", str_from(object));
    jw_member_int(w, "created", clock_now_ms() / 1000);
    jw_member_text(w, "model", pieces->model);
}

static bool send_line(Pieces *pieces, const Text *json, Err *err) {
    OWNED(text_close) Text line = {0};
    Response *response = pieces->call->response;
    if (!pieces->begun) {
        response_header(response, "Cache-Control", STR("no-store"));
        if (!response_stream(response, pieces->chat ? "text/event-stream" : "application/x-ndjson",
                             err))
            return false;
        pieces->begun = true;
    }
    text_print(&line, "%s%.*s\n%s", pieces->chat ? "data: " : "", SHOW(text_str(json)),
               pieces->chat ? "\n" : "");
    return response_write(response, text_bytes(&line), err);
}

/* {"choices":[{"index":0,"delta":{...},"finish_reason":...}]} */
static bool send_chunk(Pieces *pieces, Str text, Str finish_reason, Err *err) {
    OWNED(text_close) Text json = {0};
    JsonWriter w = {.out = &json};
    write_chat_head(pieces, "chat.completion.chunk", &w);
    jw_name(&w, "choices");
    jw_array(&w);
    jw_object(&w);
    jw_member_int(&w, "index", 0);
    jw_name(&w, "delta");
    jw_object(&w);
    if (!pieces->begun) jw_member_text(&w, "role", STR("assistant"));
    if (finish_reason.len == 0) jw_member_text(&w, "content", text);
    jw_end(&w);
    jw_name(&w, "finish_reason");
    if (finish_reason.len)
        jw_text(&w, finish_reason);
    else
        jw_null(&w);
    jw_end(&w);
    jw_end(&w);
    jw_end(&w);
    return send_line(pieces, &json, err);
}

static bool send_piece(void *context, Str text, Err *err) {
    OWNED(text_close) Text json = {0};
    Pieces *pieces = context;
    JsonWriter w = {.out = &json};
    if (pieces->chat) return send_chunk(pieces, text, (Str){0}, err);
    jw_object(&w);
    jw_member_text(&w, "model", pieces->model);
    jw_member_text(&w, "text", text);
    jw_member_flag(&w, "done", false);
    jw_end(&w);
    return send_line(pieces, &json, err);
}

static void write_usage(const Generated *made, JsonWriter *w) {
    jw_name(w, "usage");
    jw_object(w);
    jw_member_int(w, "prompt_tokens", made->prompt_tokens);
    jw_member_int(w, "completion_tokens", made->tokens);
    jw_member_int(w, "total_tokens", made->prompt_tokens + made->tokens);
    jw_end(w);
}

static void write_generated(const Generated *made, Str text, int64_t started_us, JsonWriter *w) {
    jw_object(w);
    jw_member_text(w, "model", made->model);
    jw_member_text(w, "text", text);
    jw_member_flag(w, "done", true);
    jw_member_text(w, "done_reason", made->done_reason);
    jw_member_int(w, "prompt_tokens", made->prompt_tokens);
    jw_member_int(w, "tokens", made->tokens);
    jw_member_real(w, "elapsed_ms", (double)(clock_us() - started_us) / 1000);
    jw_end(w);
}

static void write_chat(const Pieces *pieces, const Generated *made, JsonWriter *w) {
    write_chat_head(pieces, "chat.completion", w);
    jw_name(w, "choices");
    jw_array(w);
    jw_object(w);
    jw_member_int(w, "index", 0);
    jw_name(w, "message");
    jw_object(w);
    jw_member_text(w, "role", STR("assistant"));
    jw_member_text(w, "content", text_str(&made->text));
    jw_end(w);
    jw_member_text(w, "finish_reason", made->done_reason);
    jw_end(w);
    jw_end(w);
    write_usage(made, w);
    jw_end(w);
}

static bool end_chat(Pieces *pieces, const Generated *made, bool usage, Err *err) {
    OWNED(text_close) Text json = {0};
    JsonWriter w = {.out = &json};
    if (!send_chunk(pieces, (Str){0}, made->done_reason, err)) return false;
    if (usage) {
        write_chat_head(pieces, "chat.completion.chunk", &w);
        jw_name(&w, "choices");
        jw_array(&w);
        jw_end(&w);
        write_usage(made, &w);
        jw_end(&w);
        if (!send_line(pieces, &json, err)) return false;
    }
    return response_write(pieces->call->response, bytes_of(STR("data: [DONE]\n\n")), err);
}

static bool check_messages(const Json *messages, Err *err) {
    bool ok = messages->kind == JSON_ARRAY && messages->len > 0 && messages->len <= MESSAGES_MAX;
    for (size_t i = 0; ok && i < messages->len; i++) {
        const Json *role = json_get(&messages->items[i], "role");
        const Json *content = json_get(&messages->items[i], "content");
        ok = role && role->kind == JSON_TEXT && content && content->kind == JSON_TEXT;
    }
    return ok || err_code(err, LH_INVALID, "wrong_type",
                          "'messages' must be a list of 1 to %d {\"role\",\"content\"} with texts",
                          MESSAGES_MAX);
}

static bool check_stop(const Json *stop, Err *err) {
    bool ok = !stop || stop->kind == JSON_TEXT || stop->kind == JSON_ARRAY;
    for (size_t i = 0; ok && stop && stop->kind == JSON_ARRAY && i < stop->len; i++)
        ok = stop->items[i].kind == JSON_TEXT;
    return ok || err_code(err, LH_INVALID, "wrong_type", "'stop' must be a text or a list of them");
}

/* Ollama takes a list alone. */
static const Json *stop_list(const Json *stop, Arena *arena) {
    if (!stop || stop->kind == JSON_ARRAY) return stop;
    Json *list = arena_new(arena, Json);
    *list = (Json){.kind = JSON_ARRAY};
    list->items = arena_new(arena, Json);
    *list->items = *stop;
    list->items->name = (Str){0};
    list->len = 1;
    return list;
}

static Generation generation_of(const GenerateBody *body, Pieces *pieces, Arena *arena) {
    return (Generation){.model = pieces->model,
                        .prompt = body->prompt,
                        .system = body->system,
                        .messages = body->messages,
                        .temperature = body->temperature >= 0 ? body->temperature : NAN,
                        .top_p = body->top_p >= 0 ? body->top_p : NAN,
                        .max_tokens = body->max_tokens,
                        .seed = body->seed,
                        .stop = stop_list(body->stop, arena),
                        .piece = body->stream ? send_piece : NULL,
                        .cancelled = client_gone,
                        .context = pieces};
}

static bool answer_generated(Pieces *pieces, const GenerateBody *body, const Generated *made,
                             int64_t started_us, Err *err) {
    OWNED(text_close) Text text = {0};
    JsonWriter w = {.out = &text};
    bool usage = json_get_flag(body->stream_options, "include_usage", false);
    if (body->stream && pieces->chat) return end_chat(pieces, made, usage, err);
    if (pieces->chat)
        write_chat(pieces, made, &w);
    else
        write_generated(made, body->stream ? (Str){0} : text_str(&made->text), started_us, &w);
    if (body->stream) return send_line(pieces, &text, err);
    answer_json(pieces->call, 200, &text);
    return true;
}

/* What breaks once a stream has begun is told in it, before the connection is cut. */
static void send_error(Pieces *pieces, const Err *err) {
    OWNED(text_close) Text json = {0};
    JsonWriter w = {.out = &json};
    Err ignored;
    if (!pieces->begun) return;
    jw_object(&w);
    jw_name(&w, "error");
    jw_object(&w);
    jw_member_text(&w, "code", str_from(err_word(err)));
    jw_member_text(&w, "message", str_from(err->message));
    jw_end(&w);
    jw_end(&w);
    send_line(pieces, &json, &ignored);
}

static bool generate(App *app, Call *call, bool chat, Err *err) {
    const GenerateBody *body = call->body;
    char uuid[UUID_SIZE];
    int64_t started = clock_us();
    Generated made;
    Slot *slot = profiles_slot(app->profiles);
    Pieces pieces = {.call = call, .chat = chat, .model = body->model};
    random_uuid(uuid);
    pieces.id = arena_print(call->arena, "chatcmpl-%s", uuid);
    if (!check_stop(body->stop, err)) return false;
    if (!slot_enter(slot, &pieces.model, client_gone, &pieces, call->arena, err)) return false;
    Generation generation = generation_of(body, &pieces, call->arena);
    bool generated = ai_generate(app->ai, &generation, call->arena, &made, err);
    slot_leave(slot, pieces.model);
    if (!generated) {
        send_error(&pieces, err);
        return false;
    }
    bool ok = answer_generated(&pieces, body, &made, started, err);
    text_close(&made.text);
    return ok;
}

bool ai_generate_post(App *app, Call *call, Err *err) {
    return generate(app, call, false, err);
}

bool openai_chat(App *app, Call *call, Err *err) {
    const GenerateBody *body = call->body;
    return check_messages(body->messages, err) && generate(app, call, true, err);
}

/* ---- Models ---- */

static void write_model(Str name, int64_t created_s, JsonWriter *w) {
    jw_object(w);
    jw_member_text(w, "id", name);
    jw_member_text(w, "object", STR("model"));
    jw_member_int(w, "created", created_s);
    jw_member_text(w, "owned_by", STR("lakehouse"));
    jw_end(w);
}

bool openai_models(App *app, Call *call, Err *err) {
    Text text = {0};
    JsonWriter w = {.out = &text};
    Str *names;
    size_t count;
    if (!ai_models(app->ai, call->arena, &names, &count, err)) return false;
    jw_object(&w);
    jw_member_text(&w, "object", STR("list"));
    jw_name(&w, "data");
    jw_array(&w);
    write_model(STR("builtin"), app->started_ms / 1000, &w);
    for (size_t i = 0; i < count; i++) write_model(names[i], app->started_ms / 1000, &w);
    jw_end(&w);
    jw_end(&w);
    answer_json(call, 200, &text);
    return true;
}

bool admin_unload(App *app, Call *call, Err *err) {
    const ModelBody *body = call->body;
    Text text = {0};
    JsonWriter w = {.out = &text};
    Unloaded unloaded;
    if (!ai_unload(app->ai, body->model, &unloaded, err)) return false;
    jw_object(&w);
    jw_member_text(&w, "model", body->model);
    jw_member_flag(&w, "unloaded", unloaded.unloaded);
    jw_member_int(&w, "freed_bytes", unloaded.freed_bytes);
    jw_end(&w);
    answer_json(call, 200, &text);
    return true;
}

bool admin_preload(App *app, Call *call, Err *err) {
    const ModelBody *body = call->body;
    Text text = {0};
    JsonWriter w = {.out = &text};
    int64_t started = clock_us();
    if (!ai_preload(app->ai, body->model, err)) return false;
    jw_object(&w);
    jw_member_text(&w, "model", body->model);
    jw_member_flag(&w, "loaded", true);
    jw_member_real(&w, "elapsed_ms", (double)(clock_us() - started) / 1000);
    jw_end(&w);
    answer_json(call, 200, &text);
    return true;
}

static void write_gpus(const Vram *vram, JsonWriter *w) {
    jw_name(w, "gpus");
    jw_array(w);
    for (size_t i = 0; i < vram->count; i++) {
        const Gpu *gpu = &vram->gpus[i];
        jw_object(w);
        jw_member_int(w, "index", gpu->index);
        jw_member_text(w, "name", str_from(gpu->name));
        jw_member_int(w, "total_bytes", gpu->total_bytes);
        jw_member_int(w, "used_bytes", gpu->used_bytes);
        jw_member_int(w, "free_bytes", gpu->free_bytes);
        jw_end(w);
    }
    jw_end(w);
}

static void write_loaded(const LoadedModel *models, size_t count, JsonWriter *w) {
    jw_name(w, "models");
    jw_array(w);
    for (size_t i = 0; i < count; i++) {
        jw_object(w);
        jw_member_text(w, "name", models[i].name);
        jw_member_int(w, "size_bytes", models[i].size_bytes);
        jw_member_int(w, "vram_bytes", models[i].vram_bytes);
        jw_member_text(w, "expires_at", models[i].expires_at);
        jw_end(w);
    }
    jw_end(w);
}

/* Never an error: what cannot be read is said to be of no source. */
bool admin_vram(App *app, Call *call, Err *err) {
    Text text = {0};
    JsonWriter w = {.out = &text};
    Vram vram;
    LoadedModel *models = NULL;
    size_t count = 0;
    Err ignored = {0};
    (void)err;
    vram_read(&vram);
    bool listed = str_is(ai_provider(app->ai), "ollama") &&
                  ai_loaded(app->ai, call->arena, &models, &count, &ignored);
    jw_object(&w);
    write_gpus(&vram, &w);
    write_loaded(models, listed ? count : 0, &w);
    jw_name(&w, "source");
    jw_object(&w);
    jw_member_text(&w, "gpu", str_from(vram.source));
    jw_member_text(&w, "models", listed ? STR("ollama") : STR("none"));
    jw_end(&w);
    jw_end(&w);
    answer_json(call, 200, &text);
    return true;
}
