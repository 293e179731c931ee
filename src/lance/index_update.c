/* Indexes brought to the version that the table stands at (lance_index_update).
 *
 * What no segment speaks for, rows that were appended, updated or compacted, becomes a segment; and
 * segments that are not much larger go into it, so that there are a few of growing size, as in a
 * log-structured merge tree: each row is written again a logarithmic number of times. Segments of
 * which little is left, for compaction moved their rows, go into it too, and those of which nothing
 * is left go. Vectors keep the centroids and code words of the index. */
#include "lance/btree_view.h"
#include "lance/index_group.h"
#include "lance/ivf_segment.h"

#include <stdlib.h>
#include <string.h>

#define MERGE_FACTOR 4
#define SEGMENTS_MAX 8

typedef struct Update {
    LanceTable *table;
    Snapshot *snapshot;
    const IndexGroup *group;
    const LanceWatch *watch;
    Arena arena;
    uint64_t *live;    /* rows that each segment speaks for */
    bool *merged;      /* goes into the new one */
    size_t *places;    /* of fragments that none speaks for */
    uint64_t *covered; /* ids of the new segment's fragments */
    size_t place_count, covered_count;
    uint64_t fresh; /* rows of them */
} Update;

static void segments_count(Update *u) {
    const Manifest *manifest = snapshot_manifest(u->snapshot);
    size_t fragments = manifest->fragment_count;
    u->live = arena_array(&u->arena, uint64_t, u->group->segment_count);
    u->merged = arena_array(&u->arena, bool, u->group->segment_count);
    u->places = arena_array(&u->arena, size_t, fragments);
    u->covered = arena_array(&u->arena, uint64_t, fragments);
    for (size_t f = 0; f < fragments; f++) {
        int32_t owner = u->group->owner[f];
        uint64_t rows = fragment_rows_left(&manifest->fragments[f]);
        if (owner >= 0) {
            u->live[owner] += rows;
        } else {
            u->places[u->place_count++] = f;
            u->fresh += rows;
        }
    }
}

/* Smaller ones first: each makes the new one larger, and so may bring in the next. */
static void segments_choose(Update *u) {
    uint64_t rows = u->fresh;
    size_t kept = 0;
    for (size_t i = 0; i < u->group->segment_count; i++) kept += u->live[i] > 0;
    for (;;) {
        size_t least = SIZE_MAX;
        for (size_t i = 0; i < u->group->segment_count; i++)
            if (!u->merged[i] && u->live[i] > 0 &&
                (least == SIZE_MAX || u->live[i] < u->live[least]))
                least = i;
        if (least == SIZE_MAX || rows == 0 ||
            (u->live[least] > rows * MERGE_FACTOR && kept < SEGMENTS_MAX))
            break;
        u->merged[least] = true;
        rows += u->live[least];
        kept--;
    }
    const Manifest *manifest = snapshot_manifest(u->snapshot);
    for (size_t f = 0; f < manifest->fragment_count; f++)
        if (u->group->owner[f] < 0 || u->merged[u->group->owner[f]])
            u->covered[u->covered_count++] = manifest->fragments[f].id;
}

/* Whether a row of segment `segment` goes into the new one. */
static bool row_stays(const Update *u, size_t segment, uint64_t address, bool *stays, Err *err) {
    const NumberSet *deleted;
    size_t place = snapshot_find(u->snapshot, address >> 32);
    *stays = place != SIZE_MAX && u->group->owner[place] == (int32_t)segment;
    if (!*stays) return true;
    if (!snapshot_deleted(u->table, u->snapshot, place, &deleted, err)) return false;
    *stays = !set_has(deleted, address & UINT32_MAX);
    return true;
}

static bool update_commit(Update *u, LanceIndex *index, Err *err) {
    uint8_t(*removed)[LANCE_UUID_BYTES] =
        arena_alloc(&u->arena, u->group->segment_count * LANCE_UUID_BYTES);
    IndexChange change = {.then = u->snapshot,
                          .index = *index,
                          .fragments = u->covered,
                          .fragment_count = u->covered_count};
    int32_t field = u->group->field->id;
    for (size_t i = 0; i < u->group->segment_count; i++)
        if (u->merged[i] || u->live[i] == 0)
            memcpy(removed[change.removed_count++], u->group->segments[i]->uuid, LANCE_UUID_BYTES);
    change.removed = (const uint8_t(*)[LANCE_UUID_BYTES])removed;
    change.index.name = u->group->name;
    change.index.fields = &field;
    change.index.field_count = 1;
    return index_commit(u->table, &change, err);
}

/* Vectors. */

static bool same_model(const IvfModel *a, const IvfModel *b) {
    return a->metric == b->metric && a->partitions == b->partitions && a->bits == b->bits &&
           a->sub_vectors == b->sub_vectors &&
           memcmp(a->centroids, b->centroids, a->partitions * a->dimension * sizeof(float)) == 0 &&
           memcmp(a->words, b->words, ivf_words(a) * a->dimension * sizeof(float)) == 0;
}

static void codes_reserve(IvfCodes *codes, size_t more, size_t bytes) {
    size_t rows = codes->rows + more;
    codes->addresses = realloc(codes->addresses, rows * sizeof *codes->addresses + 1);
    codes->partitions = realloc(codes->partitions, rows * sizeof *codes->partitions + 1);
    codes->codes = realloc(codes->codes, rows * bytes + 1);
    if (!codes->addresses || !codes->partitions || !codes->codes) abort();
}

static bool codes_take(const Update *u, size_t number, const IvfSegment *segment, IvfCodes *out,
                       Err *err) {
    size_t bytes = ivf_code_bytes(&segment->model);
    codes_reserve(out, segment->rows, bytes);
    for (size_t p = 0; p < segment->model.partitions; p++) {
        const IvfPartition *partition = &segment->partitions[p];
        for (size_t i = 0; i < partition->rows; i++) {
            bool stays;
            if (!row_stays(u, number, partition->addresses[i], &stays, err)) return false;
            if (!stays) continue;
            out->addresses[out->rows] = partition->addresses[i];
            out->partitions[out->rows] = (uint32_t)p;
            for (size_t b = 0; b < bytes; b++)
                out->codes[out->rows * bytes + b] = partition->codes[b * partition->rows + i];
            out->rows++;
        }
    }
    return true;
}

static bool segment_of(const Update *u, size_t number, IvfSegment **out, Err *err) {
    return segment_open(table_store(u->table), table_path(u->table), u->group->segments[number],
                        u->group->field->type.dimension, out, err);
}

/* A segment that was made with other points stays by itself. */
static bool segments_merge(Update *u, const IvfModel *model, IvfCodes *codes, Err *err) {
    const Manifest *manifest = snapshot_manifest(u->snapshot);
    for (size_t i = 0; i < u->group->segment_count; i++) {
        OWNED(segment_release) IvfSegment *segment = NULL;
        if (!u->merged[i]) continue;
        if (!segment_of(u, i, &segment, err)) return false;
        u->merged[i] = same_model(&segment->model, model);
        if (u->merged[i] && !codes_take(u, i, segment, codes, err)) return false;
    }
    u->covered_count = 0;
    for (size_t f = 0; f < manifest->fragment_count; f++)
        if (u->group->owner[f] < 0 || u->merged[u->group->owner[f]])
            u->covered[u->covered_count++] = manifest->fragments[f].id;
    return true;
}

/* Of the largest segment: its points were made of the most rows. */
static size_t segment_largest(const Update *u) {
    size_t largest = 0;
    for (size_t i = 1; i < u->group->segment_count; i++)
        if (u->live[i] >= u->live[largest]) largest = i;
    return largest;
}

static bool ivf_update(Update *u, Err *err) {
    OWNED(segment_release) IvfSegment *largest = NULL;
    OWNED(vector_column_close) VectorColumn *vectors = NULL;
    OWNED(ivf_codes_close) IvfCodes codes = {0};
    LanceIndex index = {0};
    if (!segment_of(u, segment_largest(u), &largest, err) ||
        !vector_column_open_at(u->table, u->snapshot, u->group->field->name, &vectors, err) ||
        !ivf_encode(vectors, u->places, u->place_count, &largest->model, parallel_threads(),
                    u->watch, &codes, err) ||
        !segments_merge(u, &largest->model, &codes, err))
        return false;
    if (u->place_count > 0 && !ivf_write(u->table, &largest->model, &codes, &u->arena, &index, err))
        return false;
    return update_commit(u, &index, err);
}

/* Values. */

static bool btree_take(const Update *u, size_t number, BtreeRows *out, Err *err) {
    OWNED(btree_segment_release) BtreeSegment *segment = NULL;
    LanceType address = lance_type(STR("uint64"));
    if (!btree_segment_open(table_store(u->table), table_path(u->table), u->group->segments[number],
                            &u->group->field->type, &segment, err))
        return false;
    for (uint64_t from = 0; from < segment->rows; from += BTREE_PAGE) {
        OWNED(arena_close) Arena arena = {0};
        LanceColumn values, ids;
        size_t count = (size_t)MIN((uint64_t)BTREE_PAGE, segment->rows - from);
        if (!lance_file_read(segment->data, 0, &segment->type, from, count, &arena, &values, err) ||
            !lance_file_read(segment->data, 1, &address, from, count, &arena, &ids, err))
            return false;
        const uint64_t *addresses = ids.values;
        for (size_t i = 0; i < count; i++) {
            bool stays;
            if (!row_stays(u, number, addresses[i], &stays, err)) return false;
            if (stays) btree_rows_add(out, &values, i, addresses[i]);
        }
    }
    return true;
}

static bool btree_update(Update *u, Err *err) {
    OWNED(btree_rows_close) BtreeRows rows = {0};
    LanceIndex index = {0};
    if (!btree_type_check(u->group->field, err) ||
        !btree_rows_read(u->table, u->snapshot, u->group->field, u->places, u->place_count,
                         u->watch, &rows, err))
        return false;
    for (size_t i = 0; i < u->group->segment_count; i++)
        if (u->merged[i] && !btree_take(u, i, &rows, err)) return false;
    if (u->place_count > 0 && !btree_write(u->table, &rows, &u->arena, &index, err)) return false;
    return update_commit(u, &index, err);
}

static bool group_update(LanceTable *table, Snapshot *snapshot, const IndexGroup *group,
                         const LanceWatch *watch, bool *changed, Err *err) {
    Update u = {.table = table, .snapshot = snapshot, .group = group, .watch = watch};
    bool ok = true, gone = false;
    segments_count(&u);
    for (size_t i = 0; i < group->segment_count; i++) gone |= u.live[i] == 0;
    *changed = u.place_count > 0 || (gone && group->segment_count > 1);
    if (*changed) {
        segments_choose(&u);
        ok = group->kind == INDEX_IVF ? ivf_update(&u, err) : btree_update(&u, err);
    }
    arena_close(&u.arena);
    return ok;
}

/* An index of a kind or type that is not built here is left to whom it belongs. */
bool lance_index_update(LanceTable *table, const LanceWatch *watch, size_t *changed, Err *err) {
    OWNED(snapshot_release) Snapshot *snapshot = table_snapshot(table);
    OWNED(arena_close) Arena arena = {0};
    IndexGroup *groups;
    size_t count, done = 0;
    if (!index_groups(snapshot_manifest(snapshot), &arena, &groups, &count, err)) return false;
    for (size_t i = 0; i < count; i++) {
        bool one = false;
        if (groups[i].kind == INDEX_OTHER) continue;
        if (!group_update(table, snapshot, &groups[i], watch, &one, err)) {
            if (err->kind != LH_IMPOSSIBLE && err->kind != LH_INVALID) return false;
            *err = (Err){0};
            one = false;
        }
        done += one;
    }
    if (changed) *changed = done;
    return true;
}
