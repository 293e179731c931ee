/* Cuts a text into chunks at the ends of sentences, so that each can be embedded on its own. Pure.
 */
#pragma once

#include "base/base.h"

typedef struct ChunkOptions {
    int64_t size;    /* bytes that a chunk should not exceed; a longer sentence is cut at a space */
    int64_t overlap; /* whole sentences of at most so many bytes begin the next chunk again */
} ChunkOptions;

extern const Option chunk_options[];

typedef struct Chunker {
    Str text;
    ChunkOptions options;
    size_t next;
    bool ended;
} Chunker;

Chunker chunker(Str text, const ChunkOptions *options);
/* The next chunk, trimmed, within the text; false at the end. A blank text has none. */
bool chunk_next(Chunker *chunker, Str *out);
