/* Columns of a table by name, and of a fragment by file: what scans and takes share. Internal to
 * lance. */
#pragma once

#include "lance/page.h"
#include "lance/table.h"

/* The fields of some names in a version's schema, borrowed from it. LH_MISSING "column_not_found";
 * LH_IMPOSSIBLE for one that cannot be read. */
bool columns_find(const Manifest *manifest, const Str *names, size_t count, Arena *arena,
                  const LanceField ***out, Err *err);

/* The open files of one fragment's columns. */
typedef struct FragmentColumns {
    LanceTable *table;
    const LanceField **fields;
    size_t count;
    LanceFile **files; /* NULL: the fragment has no such column, all is null */
    size_t *columns;
} FragmentColumns;
bool fragment_columns_open(LanceTable *table, const Fragment *fragment, const LanceField **fields,
                           size_t count, Arena *arena, FragmentColumns *out, Err *err);
void fragment_columns_close(FragmentColumns *columns);
/* Physical rows [from, from + count) of each column. */
bool fragment_columns_read(const FragmentColumns *columns, uint64_t from, size_t count,
                           Arena *arena, LanceColumn *out, Err *err);

/* Each row of one column of a fragment that is not deleted, in order: row `row` of what is read of
 * the column, which is gone after the call. */
typedef void RowVisit(void *context, const LanceColumn *column, size_t row, uint64_t address);
bool fragment_visit(LanceTable *table, Snapshot *snapshot, size_t place, const LanceField *field,
                    RowVisit *visit, void *context, Err *err);
