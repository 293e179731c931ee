/* Any bytes as a document: its chunks move forward, stay within it and within the size, and embed
 * to finite numbers. The first two bytes choose size and overlap. */
#include "ai/ai.h"
#include "vector/chunk.h"

#include <assert.h>
#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static Embedder *embedder;
    float vector[BUILTIN_DIMENSIONS];
    Err err = {0};
    Str chunk;
    if (size < 2) return 0;
    if (!embedder) assert(embedder_open(STR("builtin"), &embedder, &err));
    ChunkOptions options = {50 + data[0], data[1]};
    Str text = {(const char *)data + 2, size - 2};
    Chunker chunks = chunker(text, &options);
    const char *last = NULL;
    while (chunk_next(&chunks, &chunk)) {
        assert(chunk.len > 0 && (int64_t)chunk.len <= options.size);
        assert(chunk.data >= text.data && chunk.data + chunk.len <= text.data + text.len);
        assert(!last || chunk.data > last);
        last = chunk.data;
        assert(embedder_embed(embedder, &chunk, 1, vector, &err));
        for (size_t i = 0; i < BUILTIN_DIMENSIONS; i++) assert(isfinite(vector[i]));
    }
    return 0;
}
