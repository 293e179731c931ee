/* Runs a command in this process and catches what it writes. */
#pragma once

#include "cli/cli.h"
#include "kit/kit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct Captured {
    int status;
    Str out, error;
} Captured;

static inline int capture_begin(int fd, const char *path) {
    int kept = dup(fd), file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (kept < 0 || file < 0 || dup2(file, fd) < 0) abort();
    close(file);
    return kept;
}

static inline Str capture_end(int fd, int kept, const char *path, Arena *arena) {
    Bytes data = {0};
    Err err;
    if (dup2(kept, fd) < 0) abort();
    close(kept);
    if (!file_read(path, 64 << 20, arena, &data, &err)) abort();
    return str_of(data);
}

/* `words` end with NULL; `input` (may be NULL) is standard input. */
static inline Captured capture(const Command *const *tables, Arena *arena, const char *input,
                               const char *const *words) {
    static const char *dir;
    Captured got = {0};
    char *argv[32] = {"lakehouse"};
    int argc = 1;
    if (!dir) dir = kit_dir();
    const char *in = arena_print(arena, "%s/in", dir).data,
               *out = arena_print(arena, "%s/out", dir).data;
    const char *error = arena_print(arena, "%s/error", dir).data;
    Err err;
    if (!file_replace(in, bytes_of(str_from(input ? input : "")), &err)) abort();
    for (; *words; words++) argv[argc++] = (char *)arena_cstr(arena, str_from(*words));
    fflush(NULL);
    int in_kept = dup(0), in_fd = open(in, O_RDONLY);
    if (dup2(in_fd, 0) < 0) abort();
    close(in_fd);
    int out_kept = capture_begin(1, out), error_kept = capture_begin(2, error);
    got.status = commands_main(tables, argc, argv);
    fflush(NULL);
    got.error = capture_end(2, error_kept, error, arena);
    got.out = capture_end(1, out_kept, out, arena);
    dup2(in_kept, 0);
    close(in_kept);
    return got;
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static inline bool has(Str text, const char *part) {
    size_t at;
    return str_find(text, str_from(part), &at);
}
