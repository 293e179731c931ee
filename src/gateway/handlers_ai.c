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
     .choices = "float|base64"},
    {"dimensions",                   LH_INT, AT(OpenaiEmbedBody, dimensions), NULL, "must be the model's own",
     .min = 1, .max = EMBED_DIMENSIONS_MAX},
    {"user",            LH_TEXT, AT(OpenaiEmbedBody, user), NULL, "taken and not used"},
    {0            },
};

typedef struct Embedded {
    Str model;
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

/* The built-in embedder is one for all; a model server's is made for the request. */
static bool embed(App *app, Call *call, Str model, const Str *texts, size_t count, Embedded *out,
                  Err *err) {
    OWNED(embedder_close) Embedder *other = NULL;
    Embedder *embedder = app->embedder;
    if (model.len == 0) model = ai_embed_model(app->ai);
    if (!str_is(model, "builtin") || !str_is(embedder_model(embedder), "builtin")) {
        if (!ai_embedder(app->ai, model, &other, err) || !embedder_ready(other, err)) return false;
        embedder = other;
    }
    *out = (Embedded){arena_copy(call->arena, model), count, embedder_dimensions(embedder), NULL};
    float *rows = arena_array(call->arena, float, count * out->dimensions + 1);
    out->rows = rows;
    return embedder_embed(embedder, texts, count, rows, err);
}

/* OpenAI's other encoding: little-endian float32 in base64 (RFC 4648), what its clients ask for. */
static void write_base64(const Embedded *embedded, size_t row, JsonWriter *w) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    OWNED(text_close) Text text = {0};
    const uint8_t *bytes = (const uint8_t *)(embedded->rows + row * embedded->dimensions);
    size_t size = embedded->dimensions * sizeof(float);
    for (size_t i = 0; i < size; i += 3) {
        size_t have = MIN(size - i, (size_t)3);
        uint32_t group = (uint32_t)bytes[i] << 16 | (have > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                         (have > 2 ? bytes[i + 2] : 0);
        for (size_t d = 0; d < 4; d++)
            text_add_byte(&text, d <= have ? digits[group >> (18 - 6 * d) & 63] : '=');
    }
    jw_text(w, text_str(&text));
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
    jw_member_text(&w, "model", embedded.model);
    jw_member_int(&w, "dimensions", (int64_t)embedded.dimensions);
    jw_name(&w, "embeddings");
    jw_array(&w);
    for (size_t i = 0; i < count; i++) write_vector(&embedded, i, &w);
    jw_end(&w);
    jw_end(&w);
    answer_json(call, 200, &text);
    return true;
}

static void write_openai(const Embedded *embedded, const Str *texts, bool base64, JsonWriter *w) {
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
        if (base64)
            write_base64(embedded, i, w);
        else
            write_vector(embedded, i, w);
        jw_end(w);
        for (size_t c = 0; c < texts[i].len; c++)
            words += texts[i].data[c] == ' ' || c + 1 == texts[i].len;
    }
    jw_end(w);
    jw_member_text(w, "model", embedded->model);
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
    write_openai(&embedded, texts, str_is(body->encoding_format, "base64"),
                 &(JsonWriter){.out = &text});
    answer_json(call, 200, &text);
    return true;
}
