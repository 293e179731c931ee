#include "gateway/bodies.h"
#include "gateway/route.h"

#define TEXTS_MAX 2048

const Option embed_body[] = {
    {"texts",       LH_JSON, AT(EmbedBody, texts), REQUIRED, "a list of texts"},
    {"model", LH_TEXT, AT(EmbedBody, model), NULL, "the configured one when left out"},
    {0    },
};
const Option openai_embed_body[] = {
    {"input",             LH_JSON, AT(OpenaiEmbedBody, input), REQUIRED, "a text or a list of texts"},
    {"model", LH_TEXT, AT(OpenaiEmbedBody, model), NULL, "the configured one when left out"},
    {"encoding_format",           LH_TEXT, AT(OpenaiEmbedBody, encoding_format), "float", "of the vectors",
     .choices = "float"},
    {"dimensions",                   LH_INT, AT(OpenaiEmbedBody, dimensions), NULL, "must be the model's own",
     .min = 1, .max = EMBED_DIMENSIONS_MAX},
    {"user",            LH_TEXT, AT(OpenaiEmbedBody, user), NULL, "taken and not used"},
    {0            },
};

typedef struct Embedded {
    size_t count, dimensions;
    const float *rows;
} Embedded;

static bool read_texts(Call *call, const char *name, const Json *value, Str **texts, size_t *count,
                       Err *err) {
    const Json *items = value->kind == JSON_ARRAY ? value->items : value;
    *count = value->kind == JSON_ARRAY ? value->len : 1;
    if (*count > TEXTS_MAX)
        return err_code(err, LH_TOO_BIG, NULL, "'%s' has %zu texts, at most %d are taken", name,
                        *count, TEXTS_MAX);
    *texts = arena_array(call->arena, Str, *count + 1);
    for (size_t i = 0; i < *count; i++) {
        if (items[i].kind != JSON_TEXT)
            return err_code(err, LH_INVALID, "wrong_type", "'%s' must hold texts, not %s", name,
                            json_kind_name(items[i].kind));
        (*texts)[i] = items[i].text;
    }
    return true;
}

static bool embed(App *app, Call *call, Str model, const Str *texts, size_t count, Embedded *out,
                  Err *err) {
    OWNED(embedder_close) Embedder *other = NULL;
    Embedder *embedder = app->embedder;
    if (model.len && !str_equal(model, embedder_model(embedder))) {
        if (!embedder_open(model, &other, err)) return false;
        embedder = other;
    }
    *out = (Embedded){count, embedder_dimensions(embedder), NULL};
    float *rows = arena_array(call->arena, float, count * out->dimensions + 1);
    out->rows = rows;
    return embedder_embed(embedder, texts, count, rows, err);
}

static void write_vector(const Embedded *embedded, size_t row, JsonWriter *w) {
    jw_array(w);
    for (size_t i = 0; i < embedded->dimensions; i++)
        jw_float(w, embedded->rows[row * embedded->dimensions + i]);
    jw_end(w);
}

bool ai_embed(App *app, Call *call, Err *err) {
    const EmbedBody *body = call->body;
    Str *texts;
    size_t count;
    Embedded embedded;
    Text text = {0};
    JsonWriter w = {.out = &text};
    if (body->texts->kind != JSON_ARRAY)
        return err_code(err, LH_INVALID, "wrong_type", "'texts' must be a list of texts");
    if (!read_texts(call, "texts", body->texts, &texts, &count, err) ||
        !embed(app, call, body->model, texts, count, &embedded, err))
        return false;
    jw_object(&w);
    jw_member_text(&w, "model", embedder_model(app->embedder));
    jw_member_int(&w, "dimensions", (int64_t)embedded.dimensions);
    jw_name(&w, "embeddings");
    jw_array(&w);
    for (size_t i = 0; i < count; i++) write_vector(&embedded, i, &w);
    jw_end(&w);
    jw_end(&w);
    answer_json(call, 200, &text);
    return true;
}

static void write_openai(const Embedded *embedded, Str model, const Str *texts, JsonWriter *w) {
    int64_t words = 0;
    jw_object(w);
    jw_member_text(w, "object", STR("list"));
    jw_name(w, "data");
    jw_array(w);
    for (size_t i = 0; i < embedded->count; i++) {
        jw_object(w);
        jw_member_text(w, "object", STR("embedding"));
        jw_member_int(w, "index", (int64_t)i);
        jw_name(w, "embedding");
        write_vector(embedded, i, w);
        jw_end(w);
        for (size_t c = 0; c < texts[i].len; c++)
            words += texts[i].data[c] == ' ' || c + 1 == texts[i].len;
    }
    jw_end(w);
    jw_member_text(w, "model", model);
    jw_name(w, "usage");
    jw_object(w);
    jw_member_int(w, "prompt_tokens", words);
    jw_member_int(w, "total_tokens", words);
    jw_end(w);
    jw_end(w);
}

bool openai_embed(App *app, Call *call, Err *err) {
    const OpenaiEmbedBody *body = call->body;
    Str *texts;
    size_t count;
    Embedded embedded;
    Text text = {0};
    if (!read_texts(call, "input", body->input, &texts, &count, err) ||
        !embed(app, call, body->model, texts, count, &embedded, err))
        return false;
    if (body->dimensions && (size_t)body->dimensions != embedded.dimensions)
        return err_code(err, LH_IMPOSSIBLE, "wrong_dimension", "the model has %zu dimensions",
                        embedded.dimensions);
    write_openai(&embedded, embedder_model(app->embedder), texts, &(JsonWriter){.out = &text});
    answer_json(call, 200, &text);
    return true;
}

bool openai_models(App *app, Call *call, Err *err) {
    Text text = {0};
    JsonWriter w = {.out = &text};
    (void)err;
    jw_object(&w);
    jw_member_text(&w, "object", STR("list"));
    jw_name(&w, "data");
    jw_array(&w);
    jw_object(&w);
    jw_member_text(&w, "id", embedder_model(app->embedder));
    jw_member_text(&w, "object", STR("model"));
    jw_member_int(&w, "created", app->started_ms / 1000);
    jw_member_text(&w, "owned_by", STR("lakehouse"));
    jw_end(&w);
    jw_end(&w);
    jw_end(&w);
    answer_json(call, 200, &text);
    return true;
}
