/* Internal: what a kind of embedder provides. */
#pragma once

#include "ai/ai.h"

typedef struct EmbedderOps {
    Str (*digest)(const Embedder *embedder);
    bool (*ready)(Embedder *embedder, Err *err); /* NULL: always */
    bool (*expect)(Embedder *embedder, Str digest, size_t dimensions, Err *err);
    bool (*embed)(Embedder *embedder, const Str *texts, size_t count, float *out, Err *err);
    void (*watch)(Embedder *embedder, bool (*cancelled)(void *context),
                  void *context);                            /* or NULL */
    bool (*observe)(Embedder *embedder, Str text, Err *err); /* NULL: it learns nothing */
    void (*statistics)(Embedder *embedder, Text *out);
    bool (*load)(Embedder *embedder, Bytes statistics, Err *err);
    void (*close)(Embedder *embedder);
} EmbedderOps;

struct Embedder { /* first member of a kind */
    const EmbedderOps *ops;
    char model[MODEL_NAME_MAX + 1];
    size_t dimensions; /* 0: not known yet */
};

bool embedder_remote_open(Ai *ai, Str model, Embedder **out, Err *err);
bool wrong_model(const Embedder *embedder, const char *what, Err *err); /* false, LH_IMPOSSIBLE */
