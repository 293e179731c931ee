/* Compaction: runs of neighbouring small fragments, and fragments with many deleted rows, each
 * written anew as one fragment, all in one version (Rewrite).
 *
 * The new files are made from one snapshot before the commit. A fragment that changed meanwhile, be
 * it by a single deletion, is a conflict: what was copied would bring the row back. Indexes cover
 * what was rewritten no more, for their addresses name fragments that are gone. */
#include "lance/page_gather.h"
#include "lance/wire.h"

#define ROWS_MAX (1u << 20) /* what LanceDB makes its fragments of */
#define DELETED_PERCENT 10

/* Fragments [from, end) of the snapshot that become one. */
typedef struct Group {
    size_t from, end;
    Fragment made;
    FragmentWriter *writer;
} Group;

typedef struct Compaction {
    LanceTable *table;
    Snapshot *snapshot;
    LanceCompactOptions options;
    Arena arena;
    Group *groups;
    size_t count;
} Compaction;

static uint64_t rows_left(const Fragment *fragment) {
    return fragment->physical_rows - fragment->deletion.rows;
}

static bool many_deleted(const Compaction *compaction, const Fragment *fragment) {
    return fragment->deletion.rows * 100 >
           fragment->physical_rows * compaction->options.deleted_percent;
}

/* From `from` on, as many neighbours as fit. *end == from: the fragment stays as it is. */
static void group_grow(const Compaction *compaction, size_t from, size_t *end) {
    const Manifest *manifest = snapshot_manifest(compaction->snapshot);
    uint64_t rows = 0;
    size_t at = from;
    for (; at < manifest->fragment_count; at++) {
        uint64_t more = rows_left(&manifest->fragments[at]);
        if (rows + more > compaction->options.rows_max && at > from) break;
        if (more >= compaction->options.rows_max &&
            !many_deleted(compaction, &manifest->fragments[at]))
            break;
        rows += more;
    }
    bool alone = at == from + 1 && !many_deleted(compaction, &manifest->fragments[from]);
    *end = alone ? from : at;
}

static void groups_plan(Compaction *compaction) {
    size_t fragments = snapshot_manifest(compaction->snapshot)->fragment_count;
    compaction->groups = arena_array(&compaction->arena, Group, fragments);
    for (size_t from = 0, end; from < fragments; from = end) {
        group_grow(compaction, from, &end);
        if (end == from)
            end++;
        else
            compaction->groups[compaction->count++] = (Group){.from = from, .end = end};
    }
}

/* What is made comes after all that is there: only the groups that reach the end keep the order. */
static void groups_keep_order(Compaction *compaction) {
    size_t end = snapshot_manifest(compaction->snapshot)->fragment_count, first = compaction->count;
    while (first > 0 && compaction->groups[first - 1].end == end)
        end = compaction->groups[--first].from;
    compaction->groups += first;
    compaction->count -= first;
}

static bool group_copy(Compaction *compaction, Group *group, Err *err) {
    OWNED(lance_scan_close) LanceScan *scan = NULL;
    OWNED(gather_close) PageGather gather = {.writer = group->writer};
    const Manifest *manifest = snapshot_manifest(compaction->snapshot);
    Arena *arena = &compaction->arena;
    Str *names = arena_array(arena, Str, manifest->schema.len);
    uint64_t *ids = arena_array(arena, uint64_t, group->end - group->from);
    LanceBatch batch;
    for (size_t i = 0; i < manifest->schema.len; i++) names[i] = manifest->schema.fields[i].name;
    for (size_t i = group->from; i < group->end; i++)
        ids[i - group->from] = manifest->fragments[i].id;
    LanceScanOptions options = {.columns = names,
                                .column_count = manifest->schema.len,
                                .batch_rows = gather_page_rows(&manifest->schema),
                                .fragments = ids,
                                .fragment_count = group->end - group->from};
    gather.schema = &manifest->schema;
    gather.page_rows = options.batch_rows;
    if (!lance_scan(compaction->table, &options, &scan, err)) return false;
    do {
        if (!lance_scan_next(scan, &batch, err)) return false;
        if (batch.rows > 0 && !gather_add(&gather, &batch, err)) return false;
    } while (batch.rows > 0);
    return gather_flush(&gather, err);
}

static bool group_write(Compaction *compaction, Group *group, Err *err) {
    return fragment_writer_open(compaction->table, NULL, &group->writer, err) &&
           group_copy(compaction, group, err) &&
           fragment_writer_finish(group->writer, &compaction->arena, &group->made, err);
}

/* Takes the rewritten fragments out of what an index says it covers. */
static bool index_uncover(Draft *draft, LanceIndex *index, const NumberSet *rewritten, Err *err) {
    OWNED(set_close) NumberSet covered = {0};
    OWNED(set_close) NumberSet kept = {0};
    OWNED(text_close) Text bytes = {0};
    uint32_t id;
    if (index->fragment_bitmap.size == 0) return true;
    if (!roaring_read(index->fragment_bitmap, SET_VALUES_MAX, &covered, err)) return false;
    for (uint64_t at = 0; set_next(&covered, at, &id); at = (uint64_t)id + 1)
        if (!set_has(rewritten, id)) set_add(&kept, id);
    if (kept.count == covered.count) return true;
    roaring_write(&kept, &bytes);
    index_set_bitmap(index, bytes_of(arena_copy(draft->arena, text_str(&bytes))), draft->arena);
    return true;
}

static bool indexes_uncover(Draft *draft, const NumberSet *rewritten, Err *err) {
    Manifest *next = &draft->next;
    LanceIndex *indexes = arena_array(draft->arena, LanceIndex, next->index_count);
    for (size_t i = 0; i < next->index_count; i++) {
        indexes[i] = next->indexes[i];
        if (!index_uncover(draft, &indexes[i], rewritten, err)) return false;
    }
    next->indexes = indexes;
    return true;
}

static bool untouched(Draft *draft, const Fragment *then, Err *err) {
    const Fragment *now;
    if (!draft_touch(draft, "compact", then, &now, err)) return false;
    if (str_equal(str_of(then->raw), str_of(now->raw))) return true;
    return err_code(err, LH_CONFLICT, "lance_conflict",
                    "compact: rows of fragment %llu were deleted meanwhile: try again",
                    (unsigned long long)then->id);
}

/* One group of Rewrite {3: repeated {1: old fragments, 2: new fragments}} */
static bool group_draft(Compaction *compaction, Group *group, Draft *draft, NumberSet *rewritten,
                        Err *err) {
    const Manifest *manifest = snapshot_manifest(compaction->snapshot);
    size_t begun = wire_begin(&draft->operation, 3);
    for (size_t i = group->from; i < group->end; i++) {
        const Fragment *old = &manifest->fragments[i];
        if (!untouched(draft, old, err)) return false;
        wire_put_bytes(&draft->operation, 1, old->raw);
        draft_remove_fragment(draft, old->id);
        if (old->id < SET_VALUES_MAX) set_add(rewritten, (uint32_t)old->id);
    }
    Fragment made = group->made;
    if (made.physical_rows > 0) {
        draft_add_fragments(draft, &made, 1);
        wire_put_bytes(&draft->operation, 2, made.raw);
    }
    wire_end(&draft->operation, begun);
    return true;
}

static bool compact_draft(void *context, Draft *draft, bool *nothing, Err *err) {
    OWNED(set_close) NumberSet rewritten = {0};
    Compaction *compaction = context;
    (void)nothing;
    draft->kind = OP_REWRITE;
    for (size_t i = 0; i < compaction->count; i++)
        if (!group_draft(compaction, &compaction->groups[i], draft, &rewritten, err)) return false;
    return indexes_uncover(draft, &rewritten, err);
}

static void compaction_drop(Compaction *compaction) {
    for (size_t i = 0; i < compaction->count; i++)
        if (compaction->groups[i].made.physical_rows > 0)
            fragment_writer_drop(compaction->groups[i].writer);
}

static void compaction_close(Compaction *compaction) {
    for (size_t i = 0; i < compaction->count; i++)
        fragment_writer_close(&compaction->groups[i].writer);
    snapshot_release(&compaction->snapshot);
    arena_close(&compaction->arena);
}

static bool compaction_commit(Compaction *compaction, Err *err) {
    Change change = {"compact", rule_rows, compact_draft, compaction};
    if (!table_lock(compaction->table, err)) return false;
    bool ok = lance_commit(compaction->table, &change, err);
    table_unlock(compaction->table);
    return ok;
}

static bool compaction_run(Compaction *compaction, LanceCompacted *out, Err *err) {
    LanceCompacted done = {0};
    groups_plan(compaction);
    if (compaction->options.keep_order) groups_keep_order(compaction);
    for (size_t i = 0; i < compaction->count; i++) {
        Group *group = &compaction->groups[i];
        if (!group_write(compaction, group, err)) return compaction_drop(compaction), false;
        done.fragments_before += group->end - group->from;
        done.fragments_after += group->made.physical_rows > 0;
        done.rows += group->made.physical_rows;
    }
    if (compaction->count > 0 && !compaction_commit(compaction, err)) {
        if (err->kind != LH_OFFLINE && err->kind != LH_TIMEOUT) compaction_drop(compaction);
        return false;
    }
    *out = done;
    return true;
}

bool lance_compact(LanceTable *table, const LanceCompactOptions *options, LanceCompacted *out,
                   Err *err) {
    OWNED(compaction_close) Compaction compaction = {.table = table};
    if (options) compaction.options = *options;
    if (!compaction.options.rows_max) compaction.options.rows_max = ROWS_MAX;
    if (!compaction.options.deleted_percent) compaction.options.deleted_percent = DELETED_PERCENT;
    compaction.options.rows_max =
        MIN(compaction.options.rows_max, (uint64_t)LANCE_FRAGMENT_ROWS_MAX);
    compaction.snapshot = table_snapshot(table);
    return compaction_run(&compaction, out, err);
}
