/* Rows that are added: one data file, one new fragment, one version; what was there is not touched.
 * The file is durable before the version that names it can be seen.
 *
 * Two waits for a local disk, the least there can be: the data file, its entry in its folder and
 * the manifest under a name that nobody knows are made durable side by side (PutCondition.after),
 * so that a version never names what a loss of power could take; then the manifest takes its name,
 * and the folder of versions is made durable, so that what was answered is not lost. */
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

/* Update {1: ids of fragments that are gone, 3: new fragments} */
static bool replace_draft(void *context, Draft *draft, bool *nothing, Err *err) {
    const Fragment *fragment = context;
    const Manifest *base = draft->base;
    uint64_t *gone = arena_array(draft->arena, uint64_t, base->fragment_count);
    (void)nothing, (void)err;
    draft->kind = OP_UPDATE;
    for (size_t i = 0; i < base->fragment_count; i++) {
        gone[i] = base->fragments[i].id;
        draft_remove_fragment(draft, gone[i]);
    }
    wire_put_packed(&draft->operation, 1, gone, base->fragment_count);
    if (fragment->physical_rows == 0) return true;
    Fragment added = *fragment;
    draft_add_fragments(draft, &added, 1);
    wire_put_bytes(&draft->operation, 3, added.raw);
    return true;
}

static bool writer_end(LanceWriter *writer, Change change, bool always, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Fragment fragment;
    if (!fragment_writer_finish(writer->fragment, &arena, &fragment, err)) return false;
    if (fragment.physical_rows == 0 && !always) return true;
    change.context = &fragment;
    if (!table_lock(writer->table, err)) return fragment_writer_drop(writer->fragment), false;
    bool ok = lance_commit(writer->table, &change, err);
    table_unlock(writer->table);
    if (!ok && err->kind != LH_OFFLINE && err->kind != LH_TIMEOUT)
        fragment_writer_drop(writer->fragment);
    return ok;
}

bool lance_writer_commit(LanceWriter *writer, Err *err) {
    return writer_end(writer, (Change){"append", rule_append, append_draft, NULL}, false, err);
}

bool lance_writer_replace(LanceWriter *writer, Err *err) {
    return writer_end(writer, (Change){"replace", rule_rows, replace_draft, NULL}, true, err);
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
