/* Models. `builtin` is a deterministic lexical embedder inside the binary, so that everything runs
 * with no model server. Thread rule: observe and load from one thread, then embed from any. */
#pragma once

#include "base/base.h"

#define EMBED_DIMENSIONS_MAX 65536
#define BUILTIN_DIMENSIONS 384

typedef struct Embedder Embedder;

/* model: "builtin" (later: a model of Ollama or of an OpenAI-compatible server). LH_MISSING names
 * the models there are. */
bool embedder_open(Str model, Embedder **out, Err *err);
void embedder_close(Embedder **embedder);
Str embedder_model(const Embedder *embedder);
Str embedder_digest(const Embedder *embedder); /* changes when vectors would */
size_t embedder_dimensions(const Embedder *embedder);

/* Some models weigh words by how rare they are in a corpus. Feed it all texts, then take the
 * statistics to keep beside the index; open with them later. */
bool embedder_observe(Embedder *embedder, Str text, Err *err);
void embedder_statistics(Embedder *embedder, Text *out);
bool embedder_load(Embedder *embedder, Bytes statistics, Err *err); /* LH_CORRUPT */

/* count texts into count rows of dimensions floats, each of length 1 (or 0 for a text without a
 * word). */
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
