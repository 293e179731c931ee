/* The versions that there are, and going back to one: a new version like an old one. */
#include "lance/table.h"
#include "lance/wire.h"

static const char *version_operation(const Manifest *manifest) {
    Transaction transaction = {0};
    Err ignored = {0};
    if (manifest->transaction.size == 0) return "";
    return transaction_read(manifest->transaction, &transaction, &ignored)
               ? operation_name(transaction.kind)
               : "";
}

static bool version_read(LanceTable *table, uint64_t version, LanceVersion *out, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Manifest manifest;
    if (!table_read_manifest(table, version, &arena, &manifest, err)) return false;
    *out = (LanceVersion){.version = version,
                          .rows = manifest_rows(&manifest),
                          .fragments = manifest.fragment_count,
                          .committed_ms = manifest.committed_ms,
                          .operation = version_operation(&manifest)};
    return true;
}

bool lance_versions(LanceTable *table, Arena *arena, LanceVersion **out, size_t *count, Err *err) {
    uint64_t *numbers;
    size_t found, read = 0;
    if (!table_list_versions(table, arena, &numbers, &found, err)) return false;
    LanceVersion *versions = arena_array(arena, LanceVersion, found);
    for (size_t i = 0; i < found; i++) {
        if (version_read(table, numbers[i], &versions[read], err))
            read++;
        else if (err->kind != LH_MISSING) /* cleaned up since the listing */
            return false;
    }
    *err = (Err){0};
    *out = versions;
    *count = read;
    return true;
}

/* Ids of fragments are not given twice, so that the highest stays; all else is as it was. */
static bool restore_draft(void *context, Draft *draft, bool *nothing, Err *err) {
    uint64_t version = *(const uint64_t *)context;
    Manifest *next = &draft->next, old;
    (void)nothing;
    if (!table_read_manifest(draft->table, version, draft->arena, &old, err) ||
        !manifest_check_writable(&old, err))
        return false;
    old.version = next->version;
    old.committed_ms = next->committed_ms;
    old.fragment_id_max = MAX(old.fragment_id_max, next->fragment_id_max);
    old.has_fragment_id |= next->has_fragment_id;
    *next = old;
    draft->kind = OP_RESTORE;
    wire_put(&draft->operation, 1, version);
    return true;
}

bool lance_restore(LanceTable *table, uint64_t version, Err *err) {
    Change change = {"restore", rule_any, restore_draft, &version};
    if (!lance_refresh(table, err) || !table_lock(table, err)) return false;
    bool ok = lance_commit(table, &change, err);
    table_unlock(table);
    return ok;
}
