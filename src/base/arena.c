/* A list of chunks, newest first. Each new chunk is twice the last, up to CHUNK_SIZE_MAX; what does
 * not fit one gets a chunk of exactly its size. */
#include "base/arena.h"

#include "base/owned.h"

#include <assert.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_SIZE_MIN 4096
#define CHUNK_SIZE_MAX (1 << 20)
#define ALIGNMENT 16

struct ArenaChunk {
    alignas(ALIGNMENT) ArenaChunk *older;
    size_t size;
};

void arena_close(Arena *arena) {
    while (arena->chunk) {
        ArenaChunk *older = arena->chunk->older;
        free(arena->chunk);
        arena->chunk = older;
    }
    *arena = (Arena){0};
}

static void arena_grow(Arena *arena, size_t need) {
    size_t size = arena->chunk ? MIN(arena->chunk->size * 2, CHUNK_SIZE_MAX) : CHUNK_SIZE_MIN;
    size = MAX(size, need);
    ArenaChunk *chunk = malloc(sizeof *chunk + size);
    if (!chunk) abort();
    *chunk = (ArenaChunk){.older = arena->chunk, .size = size};
    arena->chunk = chunk;
    arena->next = (char *)(chunk + 1);
    arena->end = arena->next + size;
    arena->size_total += size;
}

void *arena_alloc(Arena *arena, size_t size) {
    assert(size < (size_t)1 << 46);
    if (size == 0) size = 1; /* an address all the same, for memset and memcpy of nothing */
    size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if ((size_t)(arena->end - arena->next) < size) arena_grow(arena, size);
    void *memory = arena->next;
    arena->next += size;
    return memset(memory, 0, size);
}

Str arena_copy(Arena *arena, Str text) {
    char *copy = arena_alloc(arena, text.len + 1);
    if (text.len) memcpy(copy, text.data, text.len);
    return (Str){copy, text.len};
}

const char *arena_cstr(Arena *arena, Str text) {
    return arena_copy(arena, text).data;
}

Str arena_vprint(Arena *arena, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    assert(len >= 0);
    char *text = arena_alloc(arena, (size_t)len + 1);
    vsnprintf(text, (size_t)len + 1, format, args);
    return (Str){text, (size_t)len};
}

Str arena_print(Arena *arena, const char *format, ...) {
    va_list args;
    va_start(args, format);
    Str text = arena_vprint(arena, format, args);
    va_end(args);
    return text;
}
