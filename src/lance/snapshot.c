/* One version of a table as readers see it: its manifest, and the deleted rows of fragments that
 * were asked for. It is counted, and the last holder frees it. Sets of deleted rows are counted too
 * and pass from a snapshot to the next while their deletion file is the same. */
#include "lance/page.h"
#include "lance/table.h"

#include <stdatomic.h>
#include <stdlib.h>

typedef struct SharedSet {
    _Atomic int holders;
    NumberSet set;
} SharedSet;

struct Snapshot {
    _Atomic int holders;
    Arena arena;
    Manifest manifest;
    SharedSet **deleted; /* one a fragment; NULL: not read yet. Under the lock */
    pthread_mutex_t lock;
};

static void set_release(SharedSet *set) {
    if (!set || --set->holders > 0) return;
    set_close(&set->set);
    free(set);
}

void snapshot_release(Snapshot **out) {
    Snapshot *snapshot = *out;
    *out = NULL;
    if (!snapshot || --snapshot->holders > 0) return;
    for (size_t i = 0; i < snapshot->manifest.fragment_count; i++)
        set_release(snapshot->deleted[i]);
    pthread_mutex_destroy(&snapshot->lock);
    arena_close(&snapshot->arena);
    free(snapshot);
}

bool snapshot_new(Bytes bytes, Snapshot **out, Err *err) {
    Snapshot *snapshot = calloc(1, sizeof *snapshot);
    if (!snapshot) abort();
    snapshot->holders = 1;
    pthread_mutex_init(&snapshot->lock, NULL);
    OWNED(snapshot_release) Snapshot *closing = snapshot;
    if (!lance_manifest_read(bytes, &snapshot->arena, &snapshot->manifest, err)) return false;
    snapshot->deleted =
        arena_array(&snapshot->arena, SharedSet *, snapshot->manifest.fragment_count);
    if (!manifest_check_readable(&snapshot->manifest, err)) return false;
    *out = TAKE(closing);
    return true;
}

Snapshot *snapshot_hold(Snapshot *snapshot) {
    snapshot->holders++;
    return snapshot;
}

const Manifest *snapshot_manifest(const Snapshot *snapshot) {
    return &snapshot->manifest;
}

size_t snapshot_find(const Snapshot *snapshot, uint64_t fragment_id) {
    const Fragment *found = manifest_fragment(&snapshot->manifest, fragment_id);
    return found ? (size_t)(found - snapshot->manifest.fragments) : SIZE_MAX;
}

static bool same_deletion(const DeletionFile *a, const DeletionFile *b) {
    return a->present && b->present && a->id == b->id && a->read_version == b->read_version &&
           a->kind == b->kind;
}

/* What the last snapshot knows of deletion files that the next one names too. */
void snapshot_pass_on(Snapshot *from, Snapshot *to) {
    pthread_mutex_lock(&from->lock);
    for (size_t i = 0; i < to->manifest.fragment_count; i++) {
        const Fragment *fragment = &to->manifest.fragments[i];
        if (!fragment->deletion.present) continue;
        size_t at = snapshot_find(from, fragment->id);
        if (at == SIZE_MAX || !from->deleted[at] ||
            !same_deletion(&from->manifest.fragments[at].deletion, &fragment->deletion))
            continue;
        from->deleted[at]->holders++;
        to->deleted[i] = from->deleted[at];
    }
    pthread_mutex_unlock(&from->lock);
}

bool snapshot_deleted(LanceTable *table, Snapshot *snapshot, size_t fragment, const NumberSet **out,
                      Err *err) {
    static const NumberSet nothing;
    const Fragment *entry = &snapshot->manifest.fragments[fragment];
    if (!entry->deletion.present) return *out = &nothing, true;
    pthread_mutex_lock(&snapshot->lock);
    SharedSet *set = snapshot->deleted[fragment];
    bool ok = true;
    if (!set) {
        set = calloc(1, sizeof *set);
        if (!set) abort();
        set->holders = 1;
        ok = deletion_load(table_store(table), table_path(table), entry, &set->set, err);
        if (ok)
            snapshot->deleted[fragment] = set;
        else
            free(set);
    }
    pthread_mutex_unlock(&snapshot->lock);
    if (ok) *out = &set->set;
    return ok;
}
