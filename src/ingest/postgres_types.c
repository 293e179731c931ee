/* What PostgreSQL's types become. The table is all of it, for the connector and for people
 * (docs/postgresql.md is made from it): what is not named there is asked for as text, which every
 * type has and whose form the session settings of postgres_conn.c make one that reads back.
 *
 * A value is asked for in binary where that is exact and quick; where text says more (a regclass's
 * name) or PostgreSQL alone knows the form (ranges, composites), the server makes the text. */
#include "ingest/postgres.h"

#include <stdio.h>
#include <string.h>

#define AS_TEXT STR("::text")
#define DIGITS_MAX 38
#define MONEY_DIGITS 19

#define ZONED "TIMESTAMP WITH TIME ZONE"
#define TEXT_ROW(oid, name, note)                                                                  \
    { oid, name, "VARCHAR", TYPE_STRING, TYPE_STRING, pg_text, true, note }

#define DECIMAL_NOTE                                                                               \
    "a negative s: DECIMAL(p-s,0), s above p: DECIMAL(s,s); of more than 38 digits VARCHAR, "      \
    "with a warning; NaN and infinities become NULL and are counted"
#define NUMERIC_NOTE                                                                               \
    "without a precision it has up to 147,455 digits: text is exact, `types` makes it a "          \
    "DECIMAL"
#define ARRAY_NOTE                                                                                 \
    "T by this table. Declared with more than one dimension (`int[][]`): JSON text. "              \
    "PostgreSQL does not hold values to what was declared: one of more dimensions ends the "       \
    "ingest, and `types` VARCHAR takes the column as text. Lower bounds other than 1 are "         \
    "dropped and counted"
#define OTHERS_NOTE                                                                                \
    "composite types, ranges, multiranges, hstore, ltree, citext, types of extensions and of "     \
    "servers to come: as ::text gives them"
#define U64_NOTE "unsigned, 64 bits"
#define LSN_NOTE "the position in bytes"
#define FLOAT_NOTE "NaN and infinities are kept"
#define MONEY_NOTE "s by the database's lc_monetary, 2 for most"
#define DATE_NOTE "infinite ones become NULL and are counted"
#define TIME_NOTE "24:00:00 becomes NULL and is counted"
#define ZONE_NOTE "no type of ours keeps the offset"
#define STAMP_NOTE "infinite ones, and those after the year 294246, become NULL and are counted"
#define CHAR_NOTE "without the blanks that fill it up"
#define BYTE_NOTE "a byte above 127 as \\ooo"
#define JSONB_NOTE "as PostgreSQL prints it, numbers exact"
#define WKB_NOTE "of PostGIS, as WKB; the SRID is not in it"

const PgType pg_types[] = {
    {16,   "boolean",             "BOOLEAN",         TYPE_BOOLEAN,     TYPE_BOOLEAN, pg_bool,      false, ""                           },
    {21,   "smallint",            "INTEGER",         TYPE_INT,         TYPE_INT,     pg_int2,      false, ""                           },
    {23,   "integer",             "INTEGER",         TYPE_INT,         TYPE_INT,     pg_int4,      false, ""                           },
    {20,   "bigint",              "BIGINT",          TYPE_LONG,        TYPE_LONG,    pg_int8,      false, ""                           },
    {26,   "oid",                 "BIGINT",          TYPE_LONG,        TYPE_LONG,    pg_uint4,     false, "unsigned, 32 bits"          },
    {28,   "xid",                 "BIGINT",          TYPE_LONG,        TYPE_LONG,    pg_uint4,     false, "unsigned, 32 bits"          },
    {29,   "cid",                 "BIGINT",          TYPE_LONG,        TYPE_LONG,    pg_uint4,     false, "unsigned, 32 bits"          },
    {5069, "xid8",                "DECIMAL(20,0)",   TYPE_DECIMAL,     TYPE_STRING,  pg_uint8,     false, U64_NOTE                     },
    {3220, "pg_lsn",              "DECIMAL(20,0)",   TYPE_DECIMAL,     TYPE_STRING,  pg_uint8,     false, LSN_NOTE                     },
    {700,  "real",                "FLOAT",           TYPE_FLOAT,       TYPE_FLOAT,   pg_float4,    false, "NaN and infinities are kept"},
    {701,  "double precision",    "DOUBLE",          TYPE_DOUBLE,      TYPE_DOUBLE,  pg_float8,    false, FLOAT_NOTE                   },
    {1700, "numeric(p,s)",        "DECIMAL(p,s)",    TYPE_DECIMAL,     TYPE_DOUBLE,  NULL,         false, DECIMAL_NOTE                 },
    {1700, "numeric",             "VARCHAR",         TYPE_STRING,      TYPE_DOUBLE,  NULL,         false, NUMERIC_NOTE                 },
    {790,  "money",               "DECIMAL(19,s)",   TYPE_DECIMAL,     TYPE_DOUBLE,  pg_money,     false, MONEY_NOTE                   },
    {1082, "date",                "DATE",            TYPE_DATE,        TYPE_STRING,  pg_date,      false, DATE_NOTE                    },
    {1083, "time",                "TIME",            TYPE_TIME,        TYPE_STRING,  pg_time,      false, TIME_NOTE                    },
    {1266, "timetz",              "VARCHAR",         TYPE_STRING,      TYPE_STRING,  pg_text,      true,  ZONE_NOTE                    },
    {1114, "timestamp",           "TIMESTAMP",       TYPE_TIMESTAMP,   TYPE_STRING,  pg_timestamp, false, STAMP_NOTE                   },
    {1184, "timestamptz",         ZONED,             TYPE_TIMESTAMPTZ, TYPE_STRING,  pg_timestamp, false, ""                           },
    TEXT_ROW(1186, "interval", "ISO 8601, as P1Y2M3DT4H5M6.789S"),
    {2950, "uuid",                "UUID",            TYPE_UUID,        TYPE_STRING,  pg_uuid,      false, ""                           },
    {17,   "bytea",               "BLOB",            TYPE_BINARY,      TYPE_STRING,  pg_bytea,     false, ""                           },
    {25,   "text",                "VARCHAR",         TYPE_STRING,      TYPE_STRING,  pg_text,      false, ""                           },
    {1043, "varchar(n)",          "VARCHAR",         TYPE_STRING,      TYPE_STRING,  pg_text,      false, ""                           },
    {1042, "char(n)",             "VARCHAR",         TYPE_STRING,      TYPE_STRING,  pg_bpchar,    false, CHAR_NOTE                    },
    {18,   "\"char\"",            "VARCHAR",         TYPE_STRING,      TYPE_STRING,  pg_char,      false, BYTE_NOTE                    },
    {19,   "name",                "VARCHAR",         TYPE_STRING,      TYPE_STRING,  pg_text,      false, ""                           },
    {114,  "json",                "VARCHAR",         TYPE_STRING,      TYPE_STRING,  pg_text,      false, "its text, byte for byte"    },
    {3802, "jsonb",               "VARCHAR",         TYPE_STRING,      TYPE_STRING,  pg_jsonb,     false, JSONB_NOTE                   },
    {142,  "xml",                 "VARCHAR",         TYPE_STRING,      TYPE_STRING,  pg_text,      false, ""                           },
    {869,  "inet",                "VARCHAR",         TYPE_STRING,      TYPE_STRING,  pg_inet,      false, ""                           },
    {650,  "cidr",                "VARCHAR",         TYPE_STRING,      TYPE_STRING,  pg_inet,      false, ""                           },
    TEXT_ROW(829, "macaddr", ""),
    TEXT_ROW(774, "macaddr8", ""),
    TEXT_ROW(1560, "bit(n)", "its digits, 0 and 1"),
    TEXT_ROW(1562, "bit varying", "its digits, 0 and 1"),
    TEXT_ROW(600, "point", ""),
    TEXT_ROW(628, "line", ""),
    TEXT_ROW(601, "lseg", ""),
    TEXT_ROW(603, "box", ""),
    TEXT_ROW(602, "path", ""),
    TEXT_ROW(604, "polygon", ""),
    TEXT_ROW(718, "circle", ""),
    TEXT_ROW(3614, "tsvector", ""),
    TEXT_ROW(3615, "tsquery", ""),
    TEXT_ROW(24, "regproc", "the name; so regclass, regtype and the other reg types"),
    TEXT_ROW(1033, "aclitem", ""),
    {0,    "enums",               "VARCHAR",         TYPE_STRING,      TYPE_STRING,  pg_text,      false, "the label"                  },
    {0,    "domains",             "its base type's", TYPE_STRING,      TYPE_STRING,  NULL,         false, ""                           },
    {0,    "arrays",              "T[]",             TYPE_LIST,        TYPE_STRING,  NULL,         false, ARRAY_NOTE                   },
    {0,    "geometry, geography", "BLOB",            TYPE_BINARY,      TYPE_STRING,  pg_bytea,     false, WKB_NOTE                     },
    {0,    "all others",          "VARCHAR",         TYPE_STRING,      TYPE_STRING,  pg_text,      true,  OTHERS_NOTE                  },
};
const size_t pg_type_count = COUNT(pg_types);

void pg_types_write(Text *out) {
    for (size_t i = 0; i < pg_type_count; i++)
        text_print(out, "| %s | %s | %s |\n", pg_types[i].name, pg_types[i].becomes,
                   pg_types[i].note);
}

static const PgType *type_of(unsigned oid) {
    for (size_t i = 0; i < pg_type_count; i++)
        if (pg_types[i].oid == oid && oid != 0) return &pg_types[i];
    return NULL;
}

static void become_text(PgColumn *out) {
    out->type = (Type){.kind = TYPE_STRING};
    out->decode = pg_text;
    out->after = AS_TEXT;
}

/* A typmod of numeric is precision << 16 | scale, plus 4; the scale has 11 bits and a sign. */
static void map_numeric(int typmod, PgColumn *out) {
    if (typmod < 4) {
        become_text(out);
        return;
    }
    int precision = ((typmod - 4) >> 16) & 0xffff, scale = (((typmod - 4) & 0x7ff) ^ 1024) - 1024;
    if (scale < 0) precision -= scale, scale = 0;
    if (scale > precision) precision = scale;
    if (precision > DIGITS_MAX) {
        become_text(out);
        out->notice = STR("numbers of more than 38 digits became text");
        return;
    }
    out->type = (Type){.kind = TYPE_DECIMAL, .precision = precision, .scale = scale};
    out->decode = pg_numeric;
}

/* PostGIS lives in any schema, and so does its function. */
static bool map_geometry(Str name, Str space, Arena *arena, PgColumn *out) {
    if (!str_is(name, "geometry") && !str_is(name, "geography")) return false;
    OWNED(text_close) Text call = {0};
    sql_quote_name(&call, space);
    text_add(&call, STR(".ST_AsBinary("));
    out->type = (Type){.kind = TYPE_BINARY};
    out->decode = pg_bytea;
    out->before = arena_copy(arena, text_str(&call));
    out->after = STR(")");
    return true;
}

/* One that is no array. */
static void map_scalar(unsigned oid, char kind, int typmod, int money_digits, PgColumn *out) {
    const PgType *type = type_of(oid);
    if (kind == 'e') {
        become_text(out);
        out->after = (Str){0}; /* the label's bytes */
    } else if (oid == 1700) {
        map_numeric(typmod, out);
    } else if (type) {
        out->type = (Type){.kind = type->kind};
        if (type->kind == TYPE_DECIMAL) /* of 64 bits */
            out->type =
                oid == 790
                    ? (Type){.kind = TYPE_DECIMAL, .precision = MONEY_DIGITS, .scale = money_digits}
                    : (Type){.kind = TYPE_DECIMAL, .precision = 20};
        out->decode = type->decode;
        if (type->as_text) out->after = AS_TEXT;
    } else {
        become_text(out);
    }
}

static void become_list(PgColumn *out, PgColumn *element, Arena *arena) {
    out->type = (Type){.kind = TYPE_LIST, .fields = arena_new(arena, Field), .field_count = 1};
    out->type.fields[0] = (Field){.name = STR("element"), .type = element->type};
    out->decode = pg_list;
    out->element = element;
}

static void map_array(const PgDeclared *declared, Arena *arena, PgColumn *out) {
    PgColumn *element = arena_new(arena, PgColumn);
    if (declared->dimensions > 1) {
        become_text(out);
        out->before = STR("to_json(");
        out->after = STR(")::text");
        out->notice = STR("arrays of more than one dimension became JSON text");
        return;
    }
    map_scalar(declared->element, declared->element_kind, declared->element_typmod,
               declared->money_digits, element);
    element->name = out->name;
    element->declared = out->declared;
    out->notice = element->notice;
    become_list(out, element, arena);
    if (element->after.len) out->after = STR("::text[]"); /* AS_TEXT is all there is */
}

/* Integers, floats and booleans are themselves, decimals are doubles, the rest is text. */
static void map_plain(const PgDeclared *declared, PgColumn *out) {
    const PgType *type = type_of(declared->oid);
    become_text(out);
    if (!type || type->plain == TYPE_STRING || declared->kind == 'e') return;
    out->type = (Type){.kind = type->plain};
    out->decode = type->decode;
    out->after = (Str){0};
    if (type->plain == type->kind) return;
    bool is_numeric = declared->oid == 1700 || declared->oid == 790;
    if (type->plain == TYPE_DOUBLE && is_numeric) {
        out->decode = pg_float8;
        out->after = STR("::numeric::float8");
    }
}

void pg_map(const PgDeclared *declared, TypeMapping mapping, Arena *arena, PgColumn *out) {
    out->declared = declared->text;
    if (mapping == MAPPING_PLAIN) {
        map_plain(declared, out);
        return;
    }
    if (declared->element) {
        map_array(declared, arena, out);
        return;
    }
    if (declared->kind == 'b' && map_geometry(declared->name, declared->space, arena, out)) return;
    map_scalar(declared->oid, declared->kind, declared->typmod, declared->money_digits, out);
}

/* What a user wants instead. */

typedef struct Cast {
    TypeKind kind;
    const char *name; /* for PostgreSQL */
    PgDecode *decode;
} Cast;
static const Cast casts[] = {
    {TYPE_BOOLEAN,     "boolean",          pg_bool     },
    {TYPE_INT,         "integer",          pg_int4     },
    {TYPE_LONG,        "bigint",           pg_int8     },
    {TYPE_FLOAT,       "real",             pg_float4   },
    {TYPE_DOUBLE,      "double precision", pg_float8   },
    {TYPE_DATE,        "date",             pg_date     },
    {TYPE_TIME,        "time",             pg_time     },
    {TYPE_TIMESTAMP,   "timestamp",        pg_timestamp},
    {TYPE_TIMESTAMPTZ, "timestamptz",      pg_timestamp},
    {TYPE_STRING,      "text",             pg_text     },
    {TYPE_UUID,        "uuid",             pg_uuid     },
    {TYPE_BINARY,      "bytea",            pg_bytea    },
};

/* PostgreSQL's name of the type, and how its values are read. */
static bool cast_to(const Type *type, Arena *arena, PgColumn *out, Str *name, Err *err) {
    out->type = *type;
    if (type->kind == TYPE_DECIMAL) {
        out->decode = pg_numeric;
        *name = arena_print(arena, "numeric(%d,%d)", type->precision, type->scale);
        return true;
    }
    for (size_t i = 0; i < COUNT(casts); i++) {
        if (casts[i].kind != type->kind) continue;
        out->decode = casts[i].decode;
        *name = str_from(casts[i].name);
        return true;
    }
    return err_set(err, LH_INVALID, "PostgreSQL has no type to cast to for %s",
                   arena_cstr(arena, type_sql(type, arena)));
}

bool pg_map_to(Str sql, Arena *arena, PgColumn *out, Err *err) {
    Type type;
    Str name;
    out->notice = out->before = out->after = (Str){0};
    if (!type_from_sql(sql, arena, &type, err)) return false;
    if (type.kind != TYPE_LIST) {
        if (!cast_to(&type, arena, out, &name, err)) return false;
        out->after = arena_print(arena, "::%.*s", SHOW(name));
        return true;
    }
    PgColumn *element = arena_new(arena, PgColumn);
    if (!cast_to(&type.fields[0].type, arena, element, &name, err)) return false;
    element->name = out->name;
    element->declared = out->declared;
    become_list(out, element, arena);
    out->after = arena_print(arena, "::%.*s[]", SHOW(name));
    return true;
}
