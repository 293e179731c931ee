/* Small batches gathered into pages of a fragment that is being written, so that compaction does
 * not turn a thousand small fragments into a thousand small pages. Belongs to one thread. Internal
 * to lance. */
#pragma once

#include "lance/fragment_write.h"
#include "lance/page.h"

typedef struct PageGather {
    FragmentWriter *writer;
    const LanceSchema *schema;
    size_t page_rows;
    Arena arena; /* of what waits */
    Builder *builders;
    size_t waiting; /* rows */
} PageGather;

/* The rows of a page of about 8 MiB of the widest column. */
size_t gather_page_rows(const LanceSchema *schema);
bool gather_add(PageGather *gather, const LanceBatch *batch, Err *err);
bool gather_flush(PageGather *gather, Err *err);
void gather_close(PageGather *gather);
