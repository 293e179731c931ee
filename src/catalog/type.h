/* What the files of catalog share about types beyond schema.h. */
#pragma once

#include "catalog/schema.h"

#define TYPE_DEPTH_MAX 32
#define TYPE_FIELDS_MAX 4096

/* Whether a column of the one type may become one of the other while its files stay (spec, "Schema
 * Evolution"); equal types too. */
bool type_widens(const Type *from, const Type *to);
Type type_copy(const Type *type, Arena *arena);
Field *fields_copy(const Field *fields, size_t len, Arena *arena);
void type_write_json(const Type *type, JsonWriter *w);
/* A column's statistic as DuckDB writes it, as Iceberg's single-value bytes; false: no bound, which
 * is always legal. */
bool bound_from_text(const Type *type, Str text, bool upper, Text *out);
