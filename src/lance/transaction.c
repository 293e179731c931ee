/* Transactions: what a version says that it changed. LanceDB reads ours to rebase over them, we
 * read theirs. Source: lance's transaction.proto. */
#include "lance/commit.h"
#include "lance/wire.h"

#include <string.h>

typedef struct OperationName {
    OperationKind kind;
    const char *name;
} OperationName;

static const OperationName operation_names[] = {
    {OP_APPEND,            "Append"          },
    {OP_DELETE,            "Delete"          },
    {OP_OVERWRITE,         "Overwrite"       },
    {OP_CREATE_INDEX,      "CreateIndex"     },
    {OP_REWRITE,           "Rewrite"         },
    {OP_MERGE,             "Merge"           },
    {OP_RESTORE,           "Restore"         },
    {OP_RESERVE_FRAGMENTS, "ReserveFragments"},
    {OP_UPDATE,            "Update"          },
    {OP_PROJECT,           "Project"         },
    {OP_UPDATE_CONFIG,     "UpdateConfig"    },
    {OP_DATA_REPLACEMENT,  "DataReplacement" },
};

const char *operation_name(OperationKind kind) {
    if (kind == OP_NONE) return "";
    for (size_t i = 0; i < COUNT(operation_names); i++)
        if (operation_names[i].kind == kind) return operation_names[i].name;
    return "a change of an unknown kind";
}

bool transaction_read(Bytes message, Transaction *out, Err *err) {
    Transaction read = {0};
    WireField field;
    WireReader reader = wire_read(message);
    while (wire_next(&reader, &field)) {
        if (field.number == 1) read.read_version = field.value;
        if (field.number == 2) read.uuid = wire_text(&field);
        if (field.number >= OP_APPEND) {
            read.kind = (OperationKind)field.number;
            read.operation = field.bytes;
        }
    }
    if (!wire_whole(&reader, "a transaction", err)) return false;
    *out = read;
    return true;
}

bool commit_conflict(const char *change, const Transaction *other, uint64_t version, Err *err) {
    const char *name = operation_name(other->kind);
    return err_code(err, LH_CONFLICT, "lance_conflict",
                    "%s: version %llu, which came between, %s%s: look at the table again", change,
                    (unsigned long long)version, *name ? "is " : "does not say what it changed",
                    name);
}

/* Fragments and rows changed, columns and their meaning did not. */
static bool keeps_columns(OperationKind kind) {
    switch (kind) {
    case OP_APPEND:
    case OP_DELETE:
    case OP_CREATE_INDEX:
    case OP_REWRITE:
    case OP_RESERVE_FRAGMENTS:
    case OP_UPDATE:
    case OP_UPDATE_CONFIG:
    case OP_DATA_REPLACEMENT:
        return true;
    default:
        return false;
    }
}

bool rule_append(void *context, const Transaction *other, const Manifest *at, Err *err) {
    (void)context;
    return keeps_columns(other->kind) || commit_conflict("append", other, at->version, err);
}

bool rule_rows(void *context, const Transaction *other, const Manifest *at, Err *err) {
    (void)context;
    return keeps_columns(other->kind) || commit_conflict("change of rows", other, at->version, err);
}

bool rule_any(void *context, const Transaction *other, const Manifest *at, Err *err) {
    (void)context, (void)other, (void)at, (void)err;
    return true;
}
