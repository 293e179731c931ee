/* The loop that every change goes through: see commit.h. */
#include "lance/table.h"
#include "lance/wire.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BACKOFF_US_MAX 20000

/* One change on its way to becoming a version. */
typedef struct Attempt {
    LanceTable *table;
    const Change *change;
    Arena bases; /* manifests read on the way */
    Snapshot *start;
    const Manifest *base;
    Text bytes; /* of the manifest that was tried last */
    char uuid[UUID_SIZE];
} Attempt;

static void attempt_close(Attempt *attempt) {
    snapshot_release(&attempt->start);
    arena_close(&attempt->bases);
    text_close(&attempt->bytes);
}

/* The transaction of a version: inline, or in the file it names. Missing: OP_NONE. */
static bool transaction_of(LanceTable *table, const Manifest *manifest, Arena *arena,
                           Transaction *out, Err *err) {
    Bytes bytes = manifest->transaction;
    *out = (Transaction){0};
    if (bytes.size == 0 && manifest->transaction_file.len > 0) {
        Str key = arena_print(arena, "%.*s/_transactions/%.*s", SHOW(table_path(table)),
                              SHOW(manifest->transaction_file));
        if (!store_read(table_store(table), key, MANIFEST_BYTES_MAX, arena, &bytes, err)) {
            if (err->kind != LH_MISSING) return false;
            *err = (Err){0};
            bytes = (Bytes){0};
        }
    }
    return bytes.size == 0 || transaction_read(bytes, out, err);
}

/* Goes on from version `base + 1`, when the change holds after it. *ours: it is this very change,
 * whose outcome was unknown or whose request was sent twice. */
static bool advance(Attempt *attempt, bool *ours, Err *err) {
    Manifest *next = arena_new(&attempt->bases, Manifest);
    Transaction other;
    if (!table_read_manifest(attempt->table, attempt->base->version + 1, &attempt->bases, next,
                             err) ||
        !transaction_of(attempt->table, next, &attempt->bases, &other, err))
        return false;
    *ours = str_is(other.uuid, attempt->uuid);
    if (*ours) return true;
    if (!manifest_check_writable(next, err) ||
        !attempt->change->rule(attempt->change->context, &other, next, err))
        return false;
    attempt->base = next;
    return true;
}

static bool advance_to(Attempt *attempt, uint64_t version, bool *ours, Err *err) {
    while (!*ours && attempt->base->version < version) {
        if (advance(attempt, ours, err)) continue;
        if (err->kind != LH_MISSING) return false;
        return err_code(err, LH_CONFLICT, "lance_conflict",
                        "%s: version %llu, which came between, is cleaned up: look at the table "
                        "again",
                        attempt->change->name, (unsigned long long)attempt->base->version + 1);
    }
    return true;
}

/* To the latest version there is. */
static bool catch_up(Attempt *attempt, bool *ours, Err *err) {
    uint64_t latest;
    return table_find_latest(attempt->table, &latest, err) &&
           advance_to(attempt, latest, ours, err);
}

static void transaction_encode(const Attempt *attempt, const Draft *draft, Text *out) {
    wire_put_nonzero(out, 1, draft->base->version);
    wire_put_text(out, 2, str_from(attempt->uuid));
    wire_put_bytes(out, (uint32_t)draft->kind, text_bytes(&draft->operation));
}

typedef enum TryResult { TRY_WON, TRY_LOST, TRY_NOTHING, TRY_FAILED, TRY_UNKNOWN } TryResult;

static TryResult draft_create(Attempt *attempt, Draft *draft, Err *err) {
    OWNED(text_close) Text transaction = {0};
    transaction_encode(attempt, draft, &transaction);
    text_clear(&attempt->bytes);
    lance_manifest_write(&draft->next, text_bytes(&transaction), &attempt->bytes);
    Keys after = {draft->after, draft->after_count};
    if (table_create_manifest(attempt->table, draft->next.version, text_bytes(&attempt->bytes),
                              after, err))
        return TRY_WON;
    if (err->kind == LH_PRECONDITION) return TRY_LOST;
    return err->kind == LH_OFFLINE || err->kind == LH_TIMEOUT ? TRY_UNKNOWN : TRY_FAILED;
}

static TryResult try_once(Attempt *attempt, Draft *draft, Err *err) {
    bool nothing = false;
    draft->base = attempt->base;
    draft->next = *attempt->base;
    draft->next.version++;
    draft->next.committed_ms = MAX(clock_now_ms(), attempt->base->committed_ms);
    if (!attempt->change->draft(attempt->change->context, draft, &nothing, err)) return TRY_FAILED;
    return nothing ? TRY_NOTHING : draft_create(attempt, draft, err);
}

static void remove_made(const Draft *draft) {
    Err ignored = {0};
    for (size_t i = 0; i < draft->made_count; i++)
        store_remove(draft->store, draft->made[i], &ignored);
}

/* What is known to be lost leaves nothing behind; after an unknown outcome nothing is removed. */
static TryResult try_cleanly(Attempt *attempt, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    Draft draft = {.table = attempt->table,
                   .store = table_store(attempt->table),
                   .path = table_path(attempt->table),
                   .arena = &arena};
    TryResult result = try_once(attempt, &draft, err);
    bool ours = false;
    Err later = {0};
    if (result == TRY_LOST || result == TRY_UNKNOWN) {
        bool told = advance(attempt, &ours, &later);
        if (ours)
            result = TRY_WON;
        else if (result == TRY_LOST && !told)
            *err = later, result = TRY_FAILED;
    }
    if (result == TRY_LOST || result == TRY_FAILED) remove_made(&draft);
    text_close(&draft.operation);
    return result;
}

/* A random wait, longer with each loss, so that many writers do not stay in step. */
static void back_off(int tries) {
    uint64_t most = MIN((uint64_t)1000 << MIN(tries, 6), BACKOFF_US_MAX);
    usleep((useconds_t)(random_u64() % most));
}

/* Others may have committed more than one version since the one that beat this try. */
static bool commit_tries(Attempt *attempt, Err *err) {
    bool ours = false;
    for (int tries = 0; tries < COMMIT_TRIES_MAX; tries++) {
        if ((tries > 0 || !table_is_fresh(attempt->table)) && !catch_up(attempt, &ours, err))
            return false;
        switch (ours ? TRY_WON : try_cleanly(attempt, err)) {
        case TRY_WON:
            return table_publish(attempt->table, text_bytes(&attempt->bytes), true, err);
        case TRY_NOTHING:
            return true;
        case TRY_LOST:
            break;
        case TRY_FAILED:
        case TRY_UNKNOWN:
            return false;
        }
        *err = (Err){0};
        back_off(tries);
    }
    return err_set(err, LH_BUSY, "%s: lost to other writers %d times in a row",
                   attempt->change->name, COMMIT_TRIES_MAX);
}

bool lance_commit(LanceTable *table, const Change *change, Err *err) {
    OWNED(attempt_close) Attempt attempt = {.table = table, .change = change};
    attempt.start = table_snapshot(table);
    attempt.base = snapshot_manifest(attempt.start);
    random_uuid(attempt.uuid);
    return manifest_check_writable(attempt.base, err) && commit_tries(&attempt, err);
}

/* Overwrite of nothing by nothing is how a table begins. */
void commit_first(const LanceSchema *schema, const char *file_version, Text *out) {
    OWNED(text_close) Text fields = {0};
    OWNED(text_close) Text transaction = {0};
    char uuid[UUID_SIZE];
    random_uuid(uuid);
    wire_put_text(&transaction, 2, str_from(uuid));
    size_t begun = wire_begin(&transaction, OP_OVERWRITE);
    for (size_t i = 0; i < schema->len; i++) {
        field_encode(&transaction, 2, &schema->fields[i]);
        field_encode(&fields, 1, &schema->fields[i]);
    }
    wire_end(&transaction, begun);
    Manifest manifest = {
        .version = 1, .schema_raw = text_bytes(&fields), .committed_ms = clock_now_ms()};
    snprintf(manifest.file_version, sizeof manifest.file_version, "%s", file_version);
    lance_manifest_write(&manifest, text_bytes(&transaction), out);
}
