/* Internal: a model server behind a table of functions. Everything below is thread safe. */
#pragma once

#include "ai/ai.h"
#include "net/net.h"

#include <pthread.h>
#include <stdatomic.h>

#define CLIENTS_IDLE_MAX 16
#define MODELS_KNOWN_MAX 64
#define PROVIDER_PROBE_MS 2000 /* of what must be answered soon: /ready, /admin/vram */

typedef struct EmbedCache EmbedCache;

/* Who waits, and for how long it is worth trying again. */
typedef struct Patience {
    int64_t retry_ms;
    bool (*cancelled)(void *context); /* may be NULL */
    void *context;
} Patience;

typedef struct ModelInfo {
    char digest[MODEL_DIGEST_SIZE]; /* changes when the model does, as far as the provider tells */
    size_t dimensions;              /* 0: not known yet */
} ModelInfo;

typedef struct EmbedBatch {
    Str model;
    const Str *texts;
    size_t count;
    Patience patience;
} EmbedBatch;

typedef struct ProviderOps {
    const char *name, *url; /* url: where it is unless the configuration says; NULL: it must */
    const char *probe_path;
    bool (*digest)(Ai *ai, Str model, char out[MODEL_DIGEST_SIZE], Err *err);
    /* The list of models: where, the member of the answer, and the member that is a model's name.
     */
    const char *models_path, *models_list, *models_name;
    const char *embed_path, *embed_option, *embed_value; /* the option: beside model and input */
    /* The vector of text i in an answer, or NULL. */
    const Json *(*embedding)(const Json *answer, size_t i);
    const char *(*write_generation)(const Ai *ai, const Generation *generation, JsonWriter *w);
    /* One answer, or one line of a streamed one: adds its text; false with err for its error. */
    bool (*read_piece)(const Json *piece, Str *text, Generated *out, Err *err);
    bool (*loaded)(Ai *ai, Arena *arena, LoadedModel **out, size_t *count, Err *err);
    bool (*load)(Ai *ai, Str model, Err *err); /* these three NULL: it manages memory itself */
    bool (*unload)(Ai *ai, Str model, Err *err);
} ProviderOps;
extern const ProviderOps provider_ollama, provider_openai;

typedef struct KnownModel {
    char name[MODEL_NAME_MAX + 1];
    ModelInfo info;
    int64_t checked_us;
} KnownModel;

struct Ai {
    AiOptions options;
    Arena arena;
    const ProviderOps *ops; /* NULL: built-in alone */
    Str url;                /* without a '/' at its end */
    EmbedCache *cache;
    atomic_llong stop_us; /* 0: nobody has asked it to stop */
    atomic_llong embedded, cached, generated, calls, failures;
    pthread_mutex_t lock; /* over what follows */
    pthread_cond_t freed;
    HttpClient *idle[CLIENTS_IDLE_MAX];
    size_t idle_count;
    int64_t embedding; /* calls that embed now, at most options.parallel */
    KnownModel known[MODELS_KNOWN_MAX];
    size_t known_count;
};

typedef struct ProviderCall {
    const char *method, *path;
    Str model; /* for the error's words */
    Bytes body;
    int64_t timeout_ms; /* of the whole call; 0: as long as bytes come */
    int64_t answer_ms;  /* to the first of them */
    Patience patience;  /* retry_ms 0: once */
    HttpSink *sink;     /* of a 2xx answer's body; NULL: *answer is its JSON */
    void *sink_context;
} ProviderCall;
bool ai_stopped(const Ai *ai);
bool provider_call(Ai *ai, const ProviderCall *call, Arena *arena, const Json **answer, Err *err);
bool provider_models(Ai *ai, Arena *arena, const Json **list, Err *err);
const Json *provider_list(const Json *answer, const char *name); /* empty where there is none */
/* What a caller chose of how the next word is drawn; `max_tokens` is the provider's name of that.
 */
void provider_write_sampling(const Generation *generation, const char *max_tokens, JsonWriter *w);

/* What is known of a model, looked at again after model_check_ms, or when `fresh` says so. */
bool model_info(Ai *ai, Str model, bool fresh, ModelInfo *out, Err *err);
void model_has_dimensions(Ai *ai, Str model, size_t dimensions);

/* Vectors that were made, by (model digest, text), the least used dropped beyond a bound. */
EmbedCache *embed_cache_open(size_t bytes_max);
void embed_cache_close(EmbedCache **cache);
bool embed_cache_get(EmbedCache *cache, uint64_t model, Str text, float *out, size_t dimensions);
void embed_cache_put(EmbedCache *cache, uint64_t model, Str text, const float *vector,
                     size_t dimensions);
