/* The calls of every kind of embedder. */
#include "ai/embedder.h"

#include <stdlib.h>

bool ai_embedder(Ai *ai, Str model, Embedder **out, Err *err) {
    if (model.len == 0) model = ai ? ai_embed_model(ai) : STR("builtin");
    bool ours = str_is(model, "builtin") || !ai || !ai_has_provider(ai);
    return ours ? embedder_open(model, out, err) : embedder_remote_open(ai, model, out, err);
}

void embedder_close(Embedder **embedder) {
    if (!*embedder) return;
    (*embedder)->ops->close(*embedder);
    *embedder = NULL;
}

Str embedder_model(const Embedder *embedder) {
    return str_from(embedder->model);
}

Str embedder_digest(const Embedder *embedder) {
    return embedder->ops->digest(embedder);
}

size_t embedder_dimensions(const Embedder *embedder) {
    return embedder->dimensions;
}

bool embedder_learns(const Embedder *embedder) {
    return embedder->ops->observe != NULL;
}

bool embedder_ready(Embedder *embedder, Err *err) {
    return !embedder->ops->ready || embedder->ops->ready(embedder, err);
}

bool embedder_expect(Embedder *embedder, Str digest, size_t dimensions, Err *err) {
    return embedder->ops->expect(embedder, digest, dimensions, err);
}

void embedder_watch(Embedder *embedder, bool (*cancelled)(void *context), void *context) {
    if (embedder->ops->watch) embedder->ops->watch(embedder, cancelled, context);
}

bool embedder_observe(Embedder *embedder, Str text, Err *err) {
    return !embedder->ops->observe || embedder->ops->observe(embedder, text, err);
}

void embedder_statistics(Embedder *embedder, Text *out) {
    if (embedder->ops->statistics) embedder->ops->statistics(embedder, out);
}

bool embedder_load(Embedder *embedder, Bytes statistics, Err *err) {
    if (embedder->ops->load) return embedder->ops->load(embedder, statistics, err);
    return err_set(err, LH_CORRUPT, "model '%s' keeps no statistics, and here are some",
                   embedder->model);
}

bool embedder_embed(Embedder *embedder, const Str *texts, size_t count, float *out, Err *err) {
    return embedder->ops->embed(embedder, texts, count, out, err);
}

bool wrong_model(const Embedder *embedder, const char *what, Err *err) {
    return err_code(err, LH_IMPOSSIBLE, "wrong_model",
                    "model '%s' is not the one that made the vectors: its %s is another; build "
                    "the index again, or bring that model back",
                    embedder->model, what);
}
