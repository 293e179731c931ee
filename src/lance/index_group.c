/* See index_group.h. */
#include "lance/index_group.h"

#include <stdlib.h>

IndexKind index_kind(const LanceIndex *index) {
    if (index->field_count != 1) return INDEX_OTHER;
    if (str_ends(index->details_url, STR("VectorIndexDetails"))) return INDEX_IVF;
    return str_ends(index->details_url, STR("BTreeIndexDetails")) ? INDEX_BTREE : INDEX_OTHER;
}

static const LanceField *field_of(const Manifest *manifest, const LanceIndex *index) {
    for (size_t i = 0; index->field_count > 0 && i < manifest->schema.len; i++)
        if (manifest->schema.fields[i].id == index->fields[0]) return &manifest->schema.fields[i];
    return NULL;
}

static IndexGroup *group_of(IndexGroup *groups, size_t *count, const Manifest *manifest,
                            const LanceIndex *index, Arena *arena) {
    for (size_t i = 0; i < *count; i++)
        if (str_equal(groups[i].name, index->name)) return &groups[i];
    IndexGroup *group = &groups[(*count)++];
    *group = (IndexGroup){
        .name = index->name, .kind = index_kind(index), .field = field_of(manifest, index)};
    group->segments = arena_array(arena, const LanceIndex *, manifest->index_count);
    group->owner = arena_array(arena, int32_t, manifest->fragment_count + 1);
    for (size_t i = 0; i < manifest->fragment_count; i++) group->owner[i] = -1;
    return group;
}

static bool group_add(IndexGroup *group, const Manifest *manifest, const LanceIndex *index,
                      Err *err) {
    OWNED(set_close) NumberSet covered = {0};
    if (index->fragment_bitmap.size &&
        !roaring_read(index->fragment_bitmap, SET_VALUES_MAX, &covered, err))
        return false;
    for (size_t i = 0; i < manifest->fragment_count; i++)
        if (group->owner[i] < 0 && set_has(&covered, manifest->fragments[i].id))
            group->owner[i] = (int32_t)group->segment_count;
    group->segments[group->segment_count++] = index;
    return true;
}

static int by_name(const void *a, const void *b) {
    return str_compare(((const IndexGroup *)a)->name, ((const IndexGroup *)b)->name);
}

bool index_groups(const Manifest *manifest, Arena *arena, IndexGroup **out, size_t *count,
                  Err *err) {
    IndexGroup *groups = arena_array(arena, IndexGroup, manifest->index_count);
    size_t found = 0;
    for (size_t i = 0; i < manifest->index_count; i++) {
        const LanceIndex *index = &manifest->indexes[i];
        if (!field_of(manifest, index)) continue;
        if (!group_add(group_of(groups, &found, manifest, index, arena), manifest, index, err))
            return false;
    }
    if (found) qsort(groups, found, sizeof *groups, by_name);
    *out = groups;
    *count = found;
    return true;
}

uint64_t fragment_rows_left(const Fragment *fragment) {
    return fragment->physical_rows - fragment->deletion.rows;
}

bool lance_indexes(LanceTable *table, Arena *arena, LanceIndexInfo **out, size_t *count, Err *err) {
    static const char *const types[] = {"", "IVF_PQ", "BTREE"};
    OWNED(snapshot_release) Snapshot *snapshot = table_snapshot(table);
    const Manifest *manifest = snapshot_manifest(snapshot);
    IndexGroup *groups;
    size_t found;
    if (!index_groups(manifest, arena, &groups, &found, err)) return false;
    LanceIndexInfo *infos = arena_array(arena, LanceIndexInfo, found);
    for (size_t i = 0; i < found; i++) {
        infos[i] = (LanceIndexInfo){.name = arena_copy(arena, groups[i].name),
                                    .column = arena_copy(arena, groups[i].field->name),
                                    .type = types[groups[i].kind],
                                    .segments = groups[i].segment_count};
        for (size_t f = 0; f < manifest->fragment_count; f++)
            *(groups[i].owner[f] < 0 ? &infos[i].rows_unindexed : &infos[i].rows_indexed) +=
                fragment_rows_left(&manifest->fragments[f]);
    }
    *out = infos;
    *count = found;
    return true;
}
