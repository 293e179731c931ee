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

#include <assert.h>
#include <stdlib.h>

struct LanceWriter {
    LanceTable *table;
    FragmentWriter *fragment;
    Arena arena;
    LanceSchema schema; /* empty: the table's */
    Fragment written;   /* once it is finished; without an id */
};

static bool append_draft(void *context, Draft *draft, bool *nothing, Err *err) {
    const LanceWriter *writer = context;
    Fragment added = writer->written;
    (void)nothing, (void)err;
    fragment_renumber(&added, 0, draft->arena); /* a transaction's fragments have no ids yet */
    draft->kind = OP_APPEND;
    wire_put_bytes(&draft->operation, 1, added.raw);
    draft_add_fragments(draft, &added, 1);
    return true;
}

bool lance_writer_open(LanceTable *table, const LanceSchema *schema, LanceWriter **out, Err *err) {
    OWNED(lance_writer_close) LanceWriter *writer = calloc(1, sizeof *writer);
    if (!writer) abort();
    writer->table = table;
    if (schema && !schema_number(schema, &writer->arena, &writer->schema, err)) return false;
    if (!fragment_writer_open(table, schema ? &writer->schema : NULL, &writer->fragment, err))
        return false;
    *out = TAKE(writer);
    return true;
}

bool lance_writer_add(LanceWriter *writer, const LanceBatch *rows, Err *err) {
    return fragment_writer_add(writer->fragment, rows, err);
}

/* Update {1: ids of fragments that are gone, 3: new fragments} */
static bool replace_draft(void *context, Draft *draft, bool *nothing, Err *err) {
    const LanceWriter *writer = context;
    const Manifest *base = draft->base;
    uint64_t *gone = arena_array(draft->arena, uint64_t, base->fragment_count);
    (void)nothing, (void)err;
    draft->kind = OP_UPDATE;
    for (size_t i = 0; i < base->fragment_count; i++) {
        gone[i] = base->fragments[i].id;
        draft_remove_fragment(draft, gone[i]);
    }
    wire_put_packed(&draft->operation, 1, gone, base->fragment_count);
    if (writer->written.physical_rows == 0) return true;
    Fragment added = writer->written;
    draft_add_fragments(draft, &added, 1);
    wire_put_bytes(&draft->operation, 3, added.raw);
    return true;
}

/* Overwrite {1: new fragments, 2: fields}; what indexes there are go with the columns. */
static bool overwrite_draft(void *context, Draft *draft, bool *nothing, Err *err) {
    const LanceWriter *writer = context;
    OWNED(text_close) Text fields = {0};
    Manifest *next = &draft->next;
    (void)nothing, (void)err;
    draft->kind = OP_OVERWRITE;
    next->fragment_count = next->index_count = 0;
    if (writer->written.physical_rows > 0) {
        Fragment added = writer->written;
        fragment_renumber(&added, 0, draft->arena);
        wire_put_bytes(&draft->operation, 1, added.raw);
        draft_add_fragments(draft, &added, 1);
    }
    for (size_t i = 0; i < writer->schema.len; i++) {
        field_encode(&draft->operation, 2, &writer->schema.fields[i]);
        field_encode(&fields, 1, &writer->schema.fields[i]);
    }
    next->schema_raw = bytes_of(arena_copy(draft->arena, text_str(&fields)));
    next->schema_metadata = (Bytes){0};
    return true;
}

static bool writer_end(LanceWriter *writer, Change change, bool always, Err *err) {
    if (!fragment_writer_finish(writer->fragment, &writer->arena, &writer->written, err))
        return false;
    if (writer->written.physical_rows == 0 && !always) return true;
    change.context = writer;
    if (!table_lock(writer->table, err)) return fragment_writer_drop(writer->fragment), false;
    bool ok = lance_commit(writer->table, &change, err);
    table_unlock(writer->table);
    if (!ok && err->kind != LH_OFFLINE && err->kind != LH_TIMEOUT)
        fragment_writer_drop(writer->fragment);
    return ok;
}

bool lance_writer_commit(LanceWriter *writer, Err *err) {
    assert(writer->schema.len == 0);
    return writer_end(writer, (Change){"append", rule_append, append_draft, NULL}, false, err);
}

bool lance_writer_replace(LanceWriter *writer, Err *err) {
    Change change = {"replace", rule_rows, replace_draft, NULL};
    if (writer->schema.len > 0) change.draft = overwrite_draft;
    return writer_end(writer, change, true, err);
}

void lance_writer_close(LanceWriter **writer) {
    if (!*writer) return;
    fragment_writer_close(&(*writer)->fragment);
    arena_close(&(*writer)->arena);
    free(*writer);
    *writer = NULL;
}

bool lance_append(LanceTable *table, const LanceBatch *rows, Err *err) {
    OWNED(lance_writer_close) LanceWriter *writer = NULL;
    return lance_writer_open(table, NULL, &writer, err) && lance_writer_add(writer, rows, err) &&
           lance_writer_commit(writer, err);
}
