/* Columns and their types, as Iceberg has them (spec, "Schemas and Data Types"), and the text forms
 * that SQL uses. Immutable once made; lives in an arena. */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"

typedef enum TypeKind {
    TYPE_BOOLEAN,
    TYPE_INT,  /* 32 bits */
    TYPE_LONG, /* 64 bits */
    TYPE_FLOAT,
    TYPE_DOUBLE,
    TYPE_DECIMAL,
    TYPE_DATE,
    TYPE_TIME,
    TYPE_TIMESTAMP,
    TYPE_TIMESTAMPTZ,
    TYPE_STRING,
    TYPE_UUID,
    TYPE_FIXED,
    TYPE_BINARY,
    TYPE_LIST,   /* fields[0] is "element" */
    TYPE_STRUCT, /* fields */
    TYPE_MAP,    /* fields[0] "key", fields[1] "value" */
} TypeKind;

typedef struct Field Field;
typedef struct Type {
    TypeKind kind;
    int precision, scale, length; /* decimal; fixed */
    Field *fields;
    size_t field_count;
} Type;
struct Field {
    int32_t id; /* 0: not given yet */
    Str name;
    Type type;
    bool required;
    Str doc;
};
typedef struct Schema {
    int32_t id;
    Field *fields;
    size_t len;
} Schema;

const Field *schema_find(const Schema *schema, Str name); /* exact; NULL when absent */
bool type_equal(const Type *a, const Type *b); /* ids and names of nested fields ignored */
/* Gives ids to fields without: top level first, then nested, from *last_id + 1 on. */
void schema_assign_ids(Schema *schema, int32_t *last_id);

bool schema_from_json(const Json *json, Arena *arena, Schema *out, Err *err); /* Iceberg's JSON */
void schema_write_json(const Schema *schema, JsonWriter *w);
/* DuckDB's spelling: "BIGINT", "DECIMAL(12,2)", "FLOAT[]", "STRUCT(a BIGINT)", and back. A type
 * that Iceberg lacks maps to the nearest that holds it (UBIGINT to decimal(20,0), HUGEINT to
 * decimal(38,0), TINYINT to int, ENUM, JSON, INTERVAL, BIT and unknown ones to string). */
Str type_sql(const Type *type, Arena *arena);
bool type_from_sql(Str sql, Arena *arena, Type *out, Err *err);
