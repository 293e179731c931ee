/* Rows that are added: one data file, one new fragment, one version; what was there is not touched.
 * The file is written and durable before the commit names it. */
#include "lance/fragment_write.h"
#include "lance/page.h"
#include "lance/wire.h"

#include <stdlib.h>

struct LanceWriter {
    LanceTable *table;
    FragmentWriter *fragment;
};

static bool append_draft(void *context, Draft *draft, bool *nothing, Err *err) {
    Fragment *fragment = context;
    (void)nothing, (void)err;
    Fragment added = *fragment;
    fragment_renumber(&added, 0, draft->arena); /* a transaction's fragments have no ids yet */
    draft->kind = OP_APPEND;
    wire_put_bytes(&draft->operation, 1, added.raw);
    draft_add_fragments(draft, &added, 1);
    return true;
}

bool lance_writer_open(LanceTable *table, LanceWriter **out, Err *err) {
    OWNED(lance_writer_close) LanceWriter *writer = calloc(1, sizeof *writer);
    if (!writer) abort();
    writer->table = table;
    if (!fragment_writer_open(table, &writer->fragment, err)) return false;
    *out = TAKE(writer);
    return true;
}

bool lance_writer_add(LanceWriter *writer, const LanceBatch *rows, Err *err) {
    return fragment_writer_add(writer->fragment, rows, err);
}

bool lance_writer_commit(LanceWriter *writer, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Fragment fragment;
    if (!fragment_writer_finish(writer->fragment, &arena, &fragment, err)) return false;
    if (fragment.physical_rows == 0) return true;
    Change change = {"append", rule_append, append_draft, &fragment};
    if (!table_lock(writer->table, err)) return fragment_writer_drop(writer->fragment), false;
    bool ok = lance_commit(writer->table, &change, err);
    table_unlock(writer->table);
    if (!ok && err->kind != LH_OFFLINE && err->kind != LH_TIMEOUT)
        fragment_writer_drop(writer->fragment);
    return ok;
}

void lance_writer_close(LanceWriter **writer) {
    if (!*writer) return;
    fragment_writer_close(&(*writer)->fragment);
    free(*writer);
    *writer = NULL;
}

bool lance_append(LanceTable *table, const LanceBatch *rows, Err *err) {
    OWNED(lance_writer_close) LanceWriter *writer = NULL;
    return lance_writer_open(table, &writer, err) && lance_writer_add(writer, rows, err) &&
           lance_writer_commit(writer, err);
}
