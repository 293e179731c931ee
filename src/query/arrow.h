/* The Arrow C data interface (https://arrow.apache.org/docs/format/CDataInterface.html), as DuckDB
 * fills it, and the IPC stream made of it. Internal to query. */
#pragma once

#include "query/query.h"

struct ArrowSchema {
    const char *format, *name, *metadata;
    int64_t flags, n_children;
    struct ArrowSchema **children, *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length, null_count, offset, n_buffers, n_children;
    const void **buffers;
    struct ArrowArray **children, *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

/* Messages of an IPC stream (https://arrow.apache.org/docs/format/Columnar.html), appended to *out.
 * LH_IMPOSSIBLE names the column whose type has no place in one. */
bool arrow_write_schema(const struct ArrowSchema *schema, Text *out, Err *err);
bool arrow_write_batch(const struct ArrowSchema *schema, const struct ArrowArray *batch, Text *out,
                       Err *err);
void arrow_write_end(Text *out);
