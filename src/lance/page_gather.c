/* Small batches gathered into pages: see page_gather.h. A batch that nearly makes a page goes as it
 * is, for copying it would gain nothing. */
#include "lance/page_gather.h"

#define PAGE_BYTES (8u << 20) /* what LanceDB cuts its pages at */
#define PAGE_ROWS_MAX 65536

size_t gather_page_rows(const LanceSchema *schema) {
    uint64_t widest = 64;
    for (size_t i = 0; i < schema->len; i++) {
        const LanceType *type = &schema->fields[i].type;
        widest = MAX(widest, (uint64_t)type->bits / 8 * type->dimension);
    }
    return (size_t)MAX(MIN(PAGE_BYTES / widest, PAGE_ROWS_MAX), 1);
}

static bool builders_open(PageGather *gather, Err *err) {
    size_t count = gather->schema->len;
    gather->builders = arena_array(&gather->arena, Builder, count);
    for (size_t i = 0; i < count; i++)
        if (!builder_open(&gather->builders[i], &gather->schema->fields[i].type, gather->page_rows,
                          &gather->arena, err))
            return false;
    return true;
}

bool gather_flush(PageGather *gather, Err *err) {
    size_t count = gather->schema->len;
    if (gather->waiting == 0) return true;
    LanceColumn *columns = arena_array(&gather->arena, LanceColumn, count);
    for (size_t i = 0; i < count; i++) builder_finish(&gather->builders[i], &columns[i]);
    LanceBatch page = {.rows = gather->waiting, .column_count = count, .columns = columns};
    bool ok = fragment_writer_add(gather->writer, &page, err);
    arena_close(&gather->arena);
    gather->builders = NULL;
    gather->waiting = 0;
    return ok;
}

bool gather_add(PageGather *gather, const LanceBatch *batch, Err *err) {
    if (gather->waiting + batch->rows > gather->page_rows && !gather_flush(gather, err))
        return false;
    if (batch->rows * 2 > gather->page_rows)
        return gather_flush(gather, err) && fragment_writer_add(gather->writer, batch, err);
    if (!gather->builders && !builders_open(gather, err)) return false;
    for (size_t i = 0; i < gather->schema->len; i++)
        for (size_t row = 0; row < batch->rows; row++)
            builder_copy(&gather->builders[i], &batch->columns[i], row);
    gather->waiting += batch->rows;
    return true;
}

void gather_close(PageGather *gather) {
    arena_close(&gather->arena);
}
