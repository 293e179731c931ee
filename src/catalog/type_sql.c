/* Types as DuckDB spells them, both ways. */
#include "catalog/type.h"

#include "base/base.h"

#include <ctype.h>
#include <string.h>

/* Iceberg to SQL. */

static const char *const sql_names[] = {[TYPE_BOOLEAN] = "BOOLEAN",
                                        [TYPE_INT] = "INTEGER",
                                        [TYPE_LONG] = "BIGINT",
                                        [TYPE_FLOAT] = "FLOAT",
                                        [TYPE_DOUBLE] = "DOUBLE",
                                        [TYPE_DATE] = "DATE",
                                        [TYPE_TIME] = "TIME",
                                        [TYPE_TIMESTAMP] = "TIMESTAMP",
                                        [TYPE_TIMESTAMPTZ] = "TIMESTAMP WITH TIME ZONE",
                                        [TYPE_STRING] = "VARCHAR",
                                        [TYPE_UUID] = "UUID",
                                        [TYPE_FIXED] = "BLOB",
                                        [TYPE_BINARY] = "BLOB"};

static void identifier_add(Text *out, Str name) {
    text_add_byte(out, '"');
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] == '"') text_add_byte(out, '"');
        text_add_byte(out, name.data[i]);
    }
    text_add_byte(out, '"');
}

static bool is_plain(Str name) {
    bool plain = name.len > 0 && !isdigit((unsigned char)name.data[0]);
    for (size_t i = 0; plain && i < name.len; i++)
        plain = (name.data[i] >= 'a' && name.data[i] <= 'z') || name.data[i] == '_' ||
                isdigit((unsigned char)name.data[i]);
    return plain;
}

static void sql_add(Text *out, const Type *type) {
    switch (type->kind) {
    case TYPE_DECIMAL:
        text_print(out, "DECIMAL(%d,%d)", type->precision, type->scale);
        break;
    case TYPE_LIST:
        sql_add(out, &type->fields[0].type);
        text_add(out, STR("[]"));
        break;
    case TYPE_MAP:
        text_add(out, STR("MAP("));
        sql_add(out, &type->fields[0].type);
        text_add(out, STR(", "));
        sql_add(out, &type->fields[1].type);
        text_add_byte(out, ')');
        break;
    case TYPE_STRUCT:
        text_add(out, STR("STRUCT("));
        for (size_t i = 0; i < type->field_count; i++) {
            if (i) text_add(out, STR(", "));
            if (is_plain(type->fields[i].name))
                text_add(out, type->fields[i].name);
            else
                identifier_add(out, type->fields[i].name);
            text_add_byte(out, ' ');
            sql_add(out, &type->fields[i].type);
        }
        text_add_byte(out, ')');
        break;
    default:
        text_add(out, str_from(sql_names[type->kind]));
    }
}

Str type_sql(const Type *type, Arena *arena) {
    OWNED(text_close) Text text = {0};
    sql_add(&text, type);
    return arena_copy(arena, text_str(&text));
}

/* SQL to Iceberg. */

typedef struct SqlType {
    const char *name;
    TypeKind kind;
    int precision; /* of a decimal */
} SqlType;

/* A type that Iceberg lacks maps to the nearest that holds all its values. */
static const SqlType sql_types[] = {
    {"BOOLEAN",                  TYPE_BOOLEAN,     0 },
    {"BOOL",                     TYPE_BOOLEAN,     0 },
    {"TINYINT",                  TYPE_INT,         0 },
    {"SMALLINT",                 TYPE_INT,         0 },
    {"INTEGER",                  TYPE_INT,         0 },
    {"INT",                      TYPE_INT,         0 },
    {"UTINYINT",                 TYPE_INT,         0 },
    {"USMALLINT",                TYPE_INT,         0 },
    {"BIGINT",                   TYPE_LONG,        0 },
    {"UINTEGER",                 TYPE_LONG,        0 },
    {"UBIGINT",                  TYPE_DECIMAL,     20},
    {"HUGEINT",                  TYPE_DECIMAL,     38},
    {"UHUGEINT",                 TYPE_DECIMAL,     38},
    {"FLOAT",                    TYPE_FLOAT,       0 },
    {"REAL",                     TYPE_FLOAT,       0 },
    {"DOUBLE",                   TYPE_DOUBLE,      0 },
    {"DATE",                     TYPE_DATE,        0 },
    {"TIME",                     TYPE_TIME,        0 },
    {"TIME_NS",                  TYPE_TIME,        0 },
    {"TIMESTAMP",                TYPE_TIMESTAMP,   0 },
    {"DATETIME",                 TYPE_TIMESTAMP,   0 },
    {"TIMESTAMP_S",              TYPE_TIMESTAMP,   0 },
    {"TIMESTAMP_MS",             TYPE_TIMESTAMP,   0 },
    {"TIMESTAMP_NS",             TYPE_TIMESTAMP,   0 },
    {"TIMESTAMP WITH TIME ZONE", TYPE_TIMESTAMPTZ, 0 },
    {"TIMESTAMPTZ",              TYPE_TIMESTAMPTZ, 0 },
    {"VARCHAR",                  TYPE_STRING,      0 },
    {"TEXT",                     TYPE_STRING,      0 },
    {"STRING",                   TYPE_STRING,      0 },
    {"UUID",                     TYPE_UUID,        0 },
    {"BLOB",                     TYPE_BINARY,      0 },
    {"BYTEA",                    TYPE_BINARY,      0 },
};

typedef struct SqlParser {
    Str rest;
    Arena *arena;
    Err *err;
} SqlParser;

static bool malformed(SqlParser *parser) {
    return err_set(parser->err, LH_INVALID, "a SQL type is malformed near '%.*s'",
                   (int)MIN(parser->rest.len, (size_t)40), parser->rest.data);
}

static void skip_spaces(SqlParser *parser) {
    while (parser->rest.len && parser->rest.data[0] == ' ')
        parser->rest = str_slice(parser->rest, 1, parser->rest.len);
}

static bool accept(SqlParser *parser, const char *text) {
    skip_spaces(parser);
    Str token = str_from(text);
    if (!str_starts(parser->rest, token)) return false;
    parser->rest = str_slice(parser->rest, token.len, parser->rest.len);
    return true;
}

static Str word(SqlParser *parser) {
    skip_spaces(parser);
    size_t len = 0;
    while (len < parser->rest.len &&
           (isalnum((unsigned char)parser->rest.data[len]) || parser->rest.data[len] == '_'))
        len++;
    Str out = str_slice(parser->rest, 0, len);
    parser->rest = str_slice(parser->rest, len, parser->rest.len);
    return out;
}

/* A field's name: bare, or in double quotes with "" for one. */
static bool field_name(SqlParser *parser, Str *out) {
    if (!accept(parser, "\"")) {
        *out = arena_copy(parser->arena, word(parser));
        return out->len > 0 || malformed(parser);
    }
    OWNED(text_close) Text name = {0};
    for (size_t i = 0; i < parser->rest.len; i++) {
        if (parser->rest.data[i] == '"') {
            if (i + 1 == parser->rest.len || parser->rest.data[i + 1] != '"') {
                *out = arena_copy(parser->arena, text_str(&name));
                parser->rest = str_slice(parser->rest, i + 1, parser->rest.len);
                return true;
            }
            i++;
        }
        text_add_byte(&name, parser->rest.data[i]);
    }
    return malformed(parser);
}

static bool parse_type(SqlParser *parser, int depth, Type *out);

static bool parse_decimal(SqlParser *parser, Type *out) {
    uint64_t precision = 18, scale = 3; /* DuckDB's own, when none are given */
    if (accept(parser, "(")) {
        if (!str_to_u64(word(parser), &precision)) return malformed(parser);
        scale = 0;
        if (accept(parser, ",") && !str_to_u64(word(parser), &scale)) return malformed(parser);
        if (!accept(parser, ")")) return malformed(parser);
    }
    if (precision < 1 || precision > 38 || scale > precision) return malformed(parser);
    *out = (Type){.kind = TYPE_DECIMAL, .precision = (int)precision, .scale = (int)scale};
    return true;
}

static bool parse_struct(SqlParser *parser, int depth, Type *out) {
    Field fields[256] = {0};
    size_t count = 0;
    if (!accept(parser, "(")) return malformed(parser);
    do {
        if (count == COUNT(fields))
            return err_set(parser->err, LH_IMPOSSIBLE, "a STRUCT has at most %zu fields",
                           COUNT(fields));
        if (!field_name(parser, &fields[count].name) ||
            !parse_type(parser, depth + 1, &fields[count].type))
            return false;
        count++;
    } while (accept(parser, ","));
    if (!accept(parser, ")")) return malformed(parser);
    *out = (Type){.kind = TYPE_STRUCT, .field_count = count};
    out->fields = arena_array(parser->arena, Field, count);
    memcpy(out->fields, fields, count * sizeof *fields);
    return true;
}

static bool parse_map(SqlParser *parser, int depth, Type *out) {
    Field *fields = arena_array(parser->arena, Field, 2);
    fields[0] = (Field){.name = STR("key"), .required = true};
    fields[1] = (Field){.name = STR("value")};
    if (!accept(parser, "(") || !parse_type(parser, depth + 1, &fields[0].type) ||
        !accept(parser, ",") || !parse_type(parser, depth + 1, &fields[1].type) ||
        !accept(parser, ")"))
        return malformed(parser);
    *out = (Type){.kind = TYPE_MAP, .fields = fields, .field_count = 2};
    return true;
}

/* ENUM('a', ')'), UNION(...), BIT and the like are text: their brackets are skipped, and inside
 * quotes a bracket is a letter. */
static bool skip_arguments(SqlParser *parser) {
    char quote = 0;
    int open = 0;
    if (!accept(parser, "(")) return true;
    for (size_t i = 0; i < parser->rest.len; i++) {
        char c = parser->rest.data[i];
        if (quote) {
            if (c == quote) quote = 0;
        } else if (c == '\'' || c == '"') {
            quote = c;
        } else if (c == '(') {
            open++;
        } else if (c == ')' && open-- == 0) {
            parser->rest = str_slice(parser->rest, i + 1, parser->rest.len);
            return true;
        }
    }
    return malformed(parser);
}

static bool parse_named(SqlParser *parser, Type *out) {
    Str name = word(parser);
    if (name.len == 0) return malformed(parser);
    if (str_equal_nocase(name, STR("DECIMAL")) || str_equal_nocase(name, STR("NUMERIC")))
        return parse_decimal(parser, out);
    bool zoned = accept(parser, "WITH TIME ZONE") || accept(parser, "with time zone");
    if (zoned && str_equal_nocase(name, STR("TIMESTAMP"))) name = STR("TIMESTAMPTZ");
    *out = (Type){.kind = TYPE_STRING};
    for (size_t i = 0; i < COUNT(sql_types); i++)
        if (str_equal_nocase(name, str_from(sql_types[i].name)) &&
            !(zoned && sql_types[i].kind == TYPE_TIME)) /* TIME WITH TIME ZONE is kept as text */
            *out = (Type){.kind = sql_types[i].kind, .precision = sql_types[i].precision};
    return skip_arguments(parser);
}

/* "[]" and "[768]" behind any type make lists of it, innermost first. */
static bool parse_lists(SqlParser *parser, int depth, Type *type) {
    while (accept(parser, "[")) {
        if (++depth > TYPE_DEPTH_MAX) return malformed(parser);
        word(parser); /* the length of a fixed-size array, which Iceberg does not keep */
        if (!accept(parser, "]")) return malformed(parser);
        Field *element = arena_array(parser->arena, Field, 1);
        *element = (Field){.name = STR("element"), .type = *type};
        *type = (Type){.kind = TYPE_LIST, .fields = element, .field_count = 1};
    }
    return true;
}

static bool parse_type(SqlParser *parser, int depth, Type *out) {
    bool ok;
    if (depth > TYPE_DEPTH_MAX)
        return err_set(parser->err, LH_IMPOSSIBLE, "a SQL type is nested more than %d deep",
                       TYPE_DEPTH_MAX);
    if (accept(parser, "STRUCT"))
        ok = parse_struct(parser, depth, out);
    else if (accept(parser, "MAP"))
        ok = parse_map(parser, depth, out);
    else
        ok = parse_named(parser, out);
    return ok && parse_lists(parser, depth, out);
}

bool type_from_sql(Str sql, Arena *arena, Type *out, Err *err) {
    SqlParser parser = {sql, arena, err};
    Type type;
    if (!parse_type(&parser, 0, &type)) return false;
    skip_spaces(&parser);
    if (parser.rest.len) return malformed(&parser);
    *out = type;
    return true;
}
