/* Memory that is freed all at once: a request's, a parse's, a plan's. Chunks double up to a bound;
 * a large allocation gets a chunk of its own. Allocation cannot fail (the process ends when the
 * machine is out of memory); sizes a client controls are checked against a limit first.
 * Thread rule: one thread at a time. */
#pragma once

#include "base/str.h"

#include <stdarg.h>

typedef struct ArenaChunk ArenaChunk;
typedef struct Arena {
    ArenaChunk *chunk; /* newest */
    char *next, *end;
    size_t size_total;
} Arena;

void arena_close(Arena *arena);               /* frees everything, leaves it empty and usable */
void *arena_alloc(Arena *arena, size_t size); /* zeroed, 16-byte aligned */
#define arena_new(arena, Type) ((Type *)arena_alloc((arena), sizeof(Type)))
#define arena_array(arena, Type, count)                                                            \
    ((Type *)arena_alloc((arena), sizeof(Type) * (size_t)(count)))
Str arena_copy(Arena *arena, Str text);         /* NUL follows the copy, not counted */
const char *arena_cstr(Arena *arena, Str text); /* the copy as a NUL-terminated string */
Str arena_print(Arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
Str arena_vprint(Arena *arena, const char *format, va_list args);
