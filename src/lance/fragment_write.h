/* A fragment that is being written: one data file with every column of the table. Belongs to one
 * thread. Internal to lance. */
#pragma once

#include "lance/table.h"

typedef struct FragmentWriter FragmentWriter;
/* In the file version of the table; of its columns (schema NULL), or of others, which live until it
 * is closed. LH_IMPOSSIBLE when a column's type is not written. */
bool fragment_writer_open(LanceTable *table, const LanceSchema *schema, FragmentWriter **out,
                          Err *err);
/* One page a column. LH_INVALID when the batch does not fit the schema. */
bool fragment_writer_add(FragmentWriter *writer, const LanceBatch *rows, Err *err);
/* The file is whole then, and durable when it is committed (draft_add_fragments), by whom the
 * fragment's id is given too. Without rows there is no file. */
bool fragment_writer_finish(FragmentWriter *writer, Arena *arena, Fragment *out, Err *err);
void fragment_writer_drop(FragmentWriter *writer); /* removes the file that was finished */
void fragment_writer_close(FragmentWriter **writer);
