/* Models: embedders, generators, the GPU's memory and the one slot in it. `builtin` is a
 * deterministic lexical embedder inside the binary, so that everything runs with no model server;
 * any other name is a model of the configured provider (Ollama, or a server that speaks OpenAI's
 * API). Nothing here talks to a provider when it is opened, so that a server starts without it.
 * Errors of a provider: LH_OFFLINE "model_server_offline", "model_server_busy",
 * "model_server_failed" and "model_server_denied" (its key), LH_TIMEOUT, LH_MISSING
 * "model_not_found", LH_IMPOSSIBLE "model_refused" for what it will not take. */
#pragma once

#include "base/base.h"

#define EMBED_DIMENSIONS_MAX 65536
#define BUILTIN_DIMENSIONS 384
#define MODEL_NAME_MAX 200
#define MODEL_DIGEST_SIZE 80

typedef struct AiOptions { /* [ai] */
    Str provider, url, embed_model, generate_model, api_key_ref, keep_alive;
    const Json *pinned; /* names of models that are never unloaded */
    int64_t num_ctx, parallel, batch, text_bytes_max, cache_mib;
    int64_t connect_timeout_ms, embed_timeout_ms, load_timeout_ms, retry_ms, model_check_ms;
    int64_t drain_ms, unload_ms, slot_wait_ms;
} AiOptions;
extern const Option ai_options[];

typedef struct Ai Ai;
/* Copies what it keeps. LH_INVALID says which key is wrong. */
bool ai_open(const AiOptions *options, Ai **out, Err *err);
void ai_close(Ai **ai);
/* From then on what still waits for a provider, or for the slot, ends with LH_CANCELLED. */
void ai_stop(Ai *ai, int64_t grace_ms);
bool ai_has_provider(const Ai *ai); /* beside `builtin` */
Str ai_provider(const Ai *ai);      /* its kind, "builtin" when there is none */
Str ai_embed_model(const Ai *ai);
Str ai_generate_model(const Ai *ai); /* may be empty */
const Json *ai_pinned(const Ai *ai); /* a list of names, or NULL */
bool ai_probe(Ai *ai, Err *err);     /* whether the provider answers, within two seconds */
/* Ollama's names carry a tag: "mistral" is "mistral:latest". */
bool model_same(Str a, Str b);
bool model_name_check(Str name, Err *err); /* LH_INVALID "bad_model_name" */

typedef struct Embedder Embedder;

/* The built-in one. LH_MISSING "model_not_found" for any other name. */
bool embedder_open(Str model, Embedder **out, Err *err);
/* The same, or a model of the provider; an empty name is the configured one. `ai` NULL: built-in
 * alone. A provider's embedder must not outlive its Ai. */
bool ai_embedder(Ai *ai, Str model, Embedder **out, Err *err);
void embedder_close(Embedder **embedder);
Str embedder_model(const Embedder *embedder);
Str embedder_digest(const Embedder *embedder); /* changes when vectors would */
size_t embedder_dimensions(const Embedder *embedder);
bool embedder_learns(const Embedder *embedder); /* from a corpus, by embedder_observe */
/* Asks the provider for digest and dimensions, which are not known before; a no-op for `builtin`.
 */
bool embedder_ready(Embedder *embedder, Err *err);
/* What the vectors that it must fit were made with. From then on another digest or another number
 * of dimensions is LH_IMPOSSIBLE "wrong_model": at once, or when something is embedded. */
bool embedder_expect(Embedder *embedder, Str digest, size_t dimensions, Err *err);
/* For long work: failures of the provider are tried again for longer, and `cancelled` ends it. */
void embedder_watch(Embedder *embedder, bool (*cancelled)(void *context), void *context);

/* Some models weigh words by how rare they are in a corpus. Feed it all texts, then take the
 * statistics to keep beside the index; open with them later. Thread rule: these, ready, expect and
 * watch are one thread's; then any may embed. */
bool embedder_observe(Embedder *embedder, Str text, Err *err);
void embedder_statistics(Embedder *embedder, Text *out);
bool embedder_load(Embedder *embedder, Bytes statistics, Err *err); /* LH_CORRUPT */

/* count texts into count rows of dimensions floats, each of length 1 (or 0 for a text without a
 * word). LH_IMPOSSIBLE names the text that the model does not take. */
bool embedder_embed(Embedder *embedder, const Str *texts, size_t count, float *out, Err *err);

/* The words of a text, for text search: each distinct stem, told by a hash that is the same on
 * every machine, and how often it occurs. A Stems belongs to one thread. */
typedef struct Stem {
    uint64_t hash; /* not 0 */
    uint32_t count;
} Stem;
typedef struct Stems Stems;
bool stems_open(Stems **out, Err *err);
void stems_close(Stems **stems);
const Stem *stems_of(Stems *stems, Str text, size_t *count); /* valid until the next call */

/* Text from a generator. A number that is NAN or 0, and a list that is NULL, is the model's own. */
typedef struct Generation {
    Str model; /* empty: the configured one */
    Str prompt, system;
    const Json *messages; /* [{"role","content"}] instead of a prompt */
    double temperature, top_p;
    int64_t max_tokens, seed;
    const Json *stop;
    bool (*piece)(void *context, Str text, Err *err); /* as it comes; NULL: all at once in `text` */
    bool (*cancelled)(void *context);
    void *context; /* of both */
} Generation;
typedef struct Generated {
    Str model, done_reason; /* "stop", "length" */
    Text text;              /* all of it, with `piece` too; text_close it */
    int64_t prompt_tokens, tokens;
} Generated;
bool ai_generate(Ai *ai, const Generation *generation, Arena *arena, Generated *out, Err *err);
/* Names of the provider's models. */
bool ai_models(Ai *ai, Arena *arena, Str **names, size_t *count, Err *err);

/* What is loaded now; none where the provider does not tell. */
typedef struct LoadedModel {
    Str name, expires_at;
    int64_t size_bytes, vram_bytes;
} LoadedModel;
bool ai_loaded(Ai *ai, Arena *arena, LoadedModel **out, size_t *count, Err *err);
/* Out of memory at once: waits until the provider no longer lists it and, where the GPU can be
 * read, until most of its memory is back. LH_TIMEOUT "still_loaded". */
typedef struct Unloaded {
    bool unloaded; /* false: it was not loaded */
    int64_t freed_bytes;
} Unloaded;
bool ai_unload(Ai *ai, Str model, Unloaded *out, Err *err);
bool ai_preload(Ai *ai, Str model, Err *err);

/* The GPUs' memory: NVML by dlopen, else nvidia-smi, else none. Never fails, and takes at most two
 * seconds. */
#define GPU_COUNT_MAX 16
typedef struct Gpu {
    int64_t index;
    char name[96];
    int64_t total_bytes, used_bytes, free_bytes;
} Gpu;
typedef struct Vram {
    Gpu gpus[GPU_COUNT_MAX];
    size_t count;
    const char *source; /* "nvml", "nvidia-smi" or "none" */
} Vram;
void vram_read(Vram *out);

typedef struct AiCounts {     /* since the start */
    int64_t embedded, cached; /* texts */
    int64_t generated;        /* answers */
    int64_t calls, failures;  /* of the provider; a failure may have been tried again */
} AiCounts;
void ai_counts(const Ai *ai, AiCounts *out);

/* The GPU slot: one holder (a profile) at a time, whose generator stands in memory. A change stops
 * requests to the models that leave or come, waits until those under way have ended, unloads,
 * waits for the memory, loads, looks whether it is there, and only then says so. Changes wait for
 * each other in the order they came; each is carried out, so that the last one wins. A change that
 * fails half-way leaves a slot without a holder which says why; the next one starts from there: the
 * slot keeps a durable list of all models that it may have left in memory. Thread safe. */
#define SLOT_HOLDER_MAX 63
typedef struct SlotModels {
    Str *pins, *ours; /* never unloaded, whoever holds the slot; those of all that may hold it */
    size_t pin_count, our_count;
} SlotModels;
typedef struct SlotHooks {
    /* The record is durable when it returns true. */
    bool (*save)(void *context, Bytes record, Err *err);
    bool (*models)(void *context, Arena *arena, SlotModels *out, Err *err);
    void *context;
} SlotHooks;

typedef struct Slot Slot;
/* `record` as it was last saved, or empty. */
bool slot_open(Ai *ai, const SlotHooks *hooks, Bytes record, Slot **out, Err *err);
void slot_close(Slot **slot);
/* LH_OFFLINE "slot_busy": other changes, or requests under way, took too long; and ai.h's errors.
 * *swap says what was done, in the arena. */
typedef struct SlotSwap {
    const Str *unloaded; /* names */
    size_t unloaded_count;
    int64_t freed_bytes;
    bool preloaded; /* false: it was there */
} SlotSwap;
bool slot_activate(Slot *slot, Str holder, Str model, Arena *arena, SlotSwap *swap, Err *err);
/* Nothing happens, and *was is false, when another holds it. */
bool slot_deactivate(Slot *slot, Str holder, bool *was, Arena *arena, SlotSwap *swap, Err *err);
bool slot_is_held(Slot *slot, Str holder);                /* or is being taken by it */
Str slot_holder(Slot *slot, Arena *arena);                /* empty without one */
void slot_write(Slot *slot, Arena *arena, JsonWriter *w); /* members, inside an object */
/* Around each request to a generator: waits while its model is being swapped. An empty *model
 * becomes the holder's, or without one the configured generator, in the arena. */
bool slot_enter(Slot *slot, Str *model, bool (*cancelled)(void *context), void *context,
                Arena *arena, Err *err);
void slot_leave(Slot *slot, Str model);
