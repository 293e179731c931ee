/* For tests of the MySQL connector: a MariaDB, statements given to its own client, and what a
 * source gives next to what that client prints. */
#pragma once

#include "ingest/fed_rows.h"
#include "kit/kit.h"
#include "kit/service.h"

#include <unistd.h>

static const char *maria_dsn, *maria_dir;

static inline void maria_up(void) {
    if (!maria_dsn) maria_dsn = kit_service("mariadb", &maria_dir);
}

/* What the client prints, raw, a line a row, tabs between; the last newline left out. */
static inline Str sql_as(const char *user, Arena *arena, const char *text) {
    char path[] = "/tmp/lakehouse-sql-XXXXXX", command[512];
    int fd = mkstemp(path);
    Err err = {0};
    OWNED(text_close) Text out = {0};
    if (fd < 0 || !fd_write(fd, bytes_of(str_from(text)), &err)) abort();
    close(fd);
    snprintf(command, sizeof command,
             "mariadb --no-defaults -u%s -S %s/my.sock --default-character-set=utf8mb4 "
             "--max-allowed-packet=1G "
             "--init-command=\"SET time_zone='+00:00'\" --quick -NBr lake 2>&1 <%s",
             user, maria_dir, path);
    FILE *from = popen(command, "r");
    for (size_t got = 1; from && got > 0;) {
        char *to = text_reserve(&out, 65536);
        out.len += got = fread(to, 1, 65536, from);
    }
    bool ok = from && pclose(from) == 0;
    unlink(path);
    if (!ok) kit_fail(__FILE__, __LINE__, "the client: %.*s", SHOW(text_str(&out)));
    while (out.len && out.data[out.len - 1] == '\n') out.len--;
    return arena_copy(arena, text_str(&out));
}

__attribute__((format(printf, 2, 3))) static inline Str sql(Arena *arena, const char *format, ...) {
    va_list args;
    maria_up();
    va_start(args, format);
    Str text = arena_vprint(arena, format, args);
    va_end(args);
    return sql_as("root", arena, text.data);
}

static inline SourceRequest request_of(const char *table) {
    maria_up();
    return (SourceRequest){.dsn = str_from(maria_dsn),
                           .table = str_from(table),
                           .batch_rows = FEED_BATCH_ROWS,
                           .parallel = 1,
                           .connect_timeout_ms = 5000,
                           .idle_timeout_ms = 20000};
}

/* All rows of a request, in order of the parts. */
static inline bool read_all(const SourceRequest *request, Source **source, RowFeed **feed,
                            Err *err) {
    if (!source_mysql(request, source, err)) return false;
    *feed = fed_open(*source, true);
    for (size_t i = 0; i < (*source)->parts; i++)
        if (!(*source)->ops->pull(*source, i, *feed, err)) return false;
    return true;
}

static inline size_t column_at(const Source *source, const char *name) {
    for (size_t i = 0; i < source->column_count; i++)
        if (str_is(source->columns[i].name, name)) return i;
    kit_fail(__FILE__, __LINE__, "no column '%s'", name);
}
