/* How a change becomes the next version: draft the new manifest from the latest one, create its
 * file if it is absent; who creates it has won. A loser reads what others committed since, asks the
 * change's rule about each of their transactions, and drafts again. Every manifest carries its
 * transaction inline, so that others can do the same with ours. Internal to lance.
 *
 *     static bool rule(void *context, const Transaction *other, Err *err);    what may come between
 *     static bool draft(void *context, Draft *draft, Err *err);               what is changed
 *     Change change = {"append", rule, draft, &context};
 *     lance_commit(table, &change, err);
 */
#pragma once

#include "lance/manifest.h"

#define COMMIT_TRIES_MAX 200

typedef enum OperationKind {
    OP_NONE = 0, /* the version does not say */
    OP_APPEND = 100,
    OP_DELETE = 101,
    OP_OVERWRITE = 102,
    OP_CREATE_INDEX = 103,
    OP_REWRITE = 104,
    OP_MERGE = 105,
    OP_RESTORE = 106,
    OP_RESERVE_FRAGMENTS = 107,
    OP_UPDATE = 108,
    OP_PROJECT = 109,
    OP_UPDATE_CONFIG = 110,
    OP_DATA_REPLACEMENT = 111,
} OperationKind;

typedef struct Transaction {
    OperationKind kind; /* one that has no name here keeps its number */
    uint64_t read_version;
    Str uuid;
    Bytes operation; /* its message */
} Transaction;
bool transaction_read(Bytes message, Transaction *out, Err *err); /* borrows */
const char *operation_name(OperationKind kind);                   /* "Append"; "" for none */

/* What a change works on, anew for each try. */
typedef struct Draft {
    LanceTable *table;
    Store *store;
    Str path;
    Arena *arena;         /* of the try */
    const Manifest *base; /* the latest version */
    Manifest next;        /* a copy of it: version and time are set, lists may be replaced whole */
    OperationKind kind;   /* set by the change, with */
    Text operation;       /* the operation's message */
    Str *made;            /* keys written by this try, removed when it is lost */
    size_t made_count;
    Str *after; /* keys written lazily: durable before the version can be seen */
    size_t after_count;
} Draft;
/* Notes a key that was written, lazily, for this try alone. */
void draft_made(Draft *draft, Str key);
/* Gives the fragments, which were just written, new ids, from max_fragment_id on, and adds them;
 * *fragments are changed. */
void draft_add_fragments(Draft *draft, Fragment *fragments, size_t count);
/* Puts it in the place of the fragment of the same id; or takes that out. */
void draft_replace_fragment(Draft *draft, const Fragment *fragment);
void draft_remove_fragment(Draft *draft, uint64_t id);
void draft_add_index(Draft *draft, const LanceIndex *index); /* whose files were just written */
void draft_remove_index(Draft *draft, const uint8_t uuid[LANCE_UUID_BYTES]);

typedef struct Change {
    const char *name; /* for messages: "append" */
    /* Whether it still holds after `other`, which made version `at` from the one before it: true,
     * or LH_CONFLICT by commit_conflict. Asked once for each, in order. */
    bool (*rule)(void *context, const Transaction *other, const Manifest *at, Err *err);
    /* Turns draft->next into what shall be. *nothing = true: no version is needed. */
    bool (*draft)(void *context, Draft *draft, bool *nothing, Err *err);
    void *context;
} Change;

/* On the latest version, tried again until it is won, refused, or COMMIT_TRIES_MAX is reached
 * (LH_BUSY). The table stands at the new version then. LH_CONFLICT "lance_conflict". */
bool lance_commit(LanceTable *table, const Change *change, Err *err);
bool commit_conflict(const char *change, const Transaction *other, uint64_t version, Err *err);

/* Rules that changes share. Each refuses Overwrite, Restore, and what it does not know. */
bool rule_append(void *context, const Transaction *other, const Manifest *at, Err *err);
/* For changes that compare the fragments they touch themselves: see draft_touch. */
bool rule_rows(void *context, const Transaction *other, const Manifest *at, Err *err);
bool rule_any(void *context, const Transaction *other, const Manifest *at, Err *err);
/* The fragment as it stands in the latest version. LH_CONFLICT when it is gone, or has other files
 * than when the change was thought of. */
bool draft_touch(Draft *draft, const char *change, const Fragment *then, const Fragment **out,
                 Err *err);

/* The bytes of version 1 of an empty table. */
void commit_first(const LanceSchema *schema, const char *file_version, Text *out);
