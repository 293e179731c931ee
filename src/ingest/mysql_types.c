/* The types of MySQL and MariaDB and what they become: one table, which docs/mysql.md repeats and a
 * test compares. What tells them apart is the metadata of the prepared statement, so that a query's
 * columns are mapped like a table's. Text and bytes are told apart by the character set (63 is
 * "binary"), not by BINARY_FLAG, which MariaDB's json, uuid and inet carry too. */
#include "ingest/mysql.h"

#include "base/base.h"

#include <stdio.h>
#include <string.h>

#define CHARSET_BINARY 63
#define WIRE_JSON 245   /* of MySQL alone */
#define WIRE_VECTOR 242 /* of MySQL 9 */

enum {
    MY_ANY = 0,
    MY_ONE = 1, /* a display width of 1 */
    MY_UNSIGNED = 2,
    MY_TEXT = 4,   /* a character set that is not "binary" */
    MY_NARROW = 8, /* a decimal of up to 38 digits, up to 63 bits */
    MY_UUID = 16,  /* MariaDB's data type "uuid" */
};

#define RULE(declared, exact, plain, note, wire, when, shape, width, exact_kind, plain_kind)       \
    {                                                                                              \
        declared, exact, plain, note, wire, when, SHAPE_##shape, width, TYPE_##exact_kind,         \
            TYPE_##plain_kind                                                                      \
    }
const MyRule my_rules[] = {
    RULE("tinyint(1), bool", "boolean", "boolean",
         "when the column holds nothing but 0, 1 and NULL; else int", MYSQL_TYPE_TINY, MY_ONE, INT,
         1, BOOLEAN, BOOLEAN),
    RULE("tinyint", "int", "int", "unsigned too", MYSQL_TYPE_TINY, MY_ANY, INT, 1, INT, INT),
    RULE("smallint", "int", "int", "unsigned too", MYSQL_TYPE_SHORT, MY_ANY, INT, 2, INT, INT),
    RULE("mediumint", "int", "int", "unsigned too", MYSQL_TYPE_INT24, MY_ANY, INT, 4, INT, INT),
    RULE("int unsigned", "long", "long", "", MYSQL_TYPE_LONG, MY_UNSIGNED, INT, 4, LONG, LONG),
    RULE("int", "int", "int", "zerofill is display alone", MYSQL_TYPE_LONG, MY_ANY, INT, 4, INT,
         INT),
    RULE("bigint unsigned", "decimal(20,0)", "string", "", MYSQL_TYPE_LONGLONG, MY_UNSIGNED, UINT64,
         8, DECIMAL, STRING),
    RULE("bigint", "long", "long", "", MYSQL_TYPE_LONGLONG, MY_ANY, INT, 8, LONG, LONG),
    RULE("float", "float", "float", "every bit, where the text protocol rounds to six digits",
         MYSQL_TYPE_FLOAT, MY_ANY, FLOAT, 4, FLOAT, FLOAT),
    RULE("double", "double", "double", "", MYSQL_TYPE_DOUBLE, MY_ANY, DOUBLE, 8, DOUBLE, DOUBLE),
    RULE("decimal(p,s), p <= 38", "decimal(p,s)", "double", "", MYSQL_TYPE_NEWDECIMAL, MY_NARROW,
         DECIMAL, 0, DECIMAL, DOUBLE),
    RULE("decimal(p,s), p > 38", "string", "double", "with a warning", MYSQL_TYPE_NEWDECIMAL,
         MY_ANY, DECIMAL, 0, STRING, DOUBLE),
    RULE("bit(1)", "boolean", "boolean", "", MYSQL_TYPE_BIT, MY_ONE, BIT, 0, BOOLEAN, BOOLEAN),
    RULE("bit(n), n <= 63", "long", "long", "", MYSQL_TYPE_BIT, MY_NARROW, BIT, 0, LONG, LONG),
    RULE("bit(64)", "decimal(20,0)", "string", "", MYSQL_TYPE_BIT, MY_ANY, BIT, 0, DECIMAL, STRING),
    RULE("year", "int", "int", "", MYSQL_TYPE_YEAR, MY_ANY, YEAR, 2, INT, INT),
    RULE("date", "date", "string",
         "a zero date, and one that the calendar lacks, becomes NULL with a warning; as text it "
         "stays",
         MYSQL_TYPE_DATE, MY_ANY, DATE, 0, DATE, STRING),
    RULE("datetime(f)", "timestamp", "string", "the same", MYSQL_TYPE_DATETIME, MY_ANY, DATETIME, 0,
         TIMESTAMP, STRING),
    RULE("timestamp(f)", "timestamptz", "string", "the same; read in UTC", MYSQL_TYPE_TIMESTAMP,
         MY_ANY, DATETIME, 0, TIMESTAMPTZ, STRING),
    RULE("time(f)", "string", "string",
         "a duration from -838:59:59.999999 to 838:59:59.999999; a type of TIME takes times of day "
         "alone",
         MYSQL_TYPE_TIME, MY_ANY, TIME, 0, STRING, STRING),
    RULE("uuid", "uuid", "string", "MariaDB", MYSQL_TYPE_STRING, MY_TEXT | MY_UUID, TEXT, 0, UUID,
         STRING),
    RULE("char, enum, set, inet4, inet6", "string", "string",
         "whatever the character set; the server strips a char's spaces at its end",
         MYSQL_TYPE_STRING, MY_TEXT, TEXT, 0, STRING, STRING),
    RULE("binary", "binary", "string", "as text it is hexadecimal", MYSQL_TYPE_STRING, MY_ANY,
         BYTES, 0, BINARY, STRING),
    RULE("varchar", "string", "string", "", MYSQL_TYPE_VAR_STRING, MY_TEXT, TEXT, 0, STRING,
         STRING),
    RULE("varbinary", "binary", "string", "the same as binary", MYSQL_TYPE_VAR_STRING, MY_ANY,
         BYTES, 0, BINARY, STRING),
    RULE("tinytext, text, mediumtext, longtext, MariaDB's json", "string", "string", "",
         MYSQL_TYPE_BLOB, MY_TEXT, TEXT, 0, STRING, STRING),
    RULE("tinyblob, blob, mediumblob, longblob", "binary", "string", "the same as binary",
         MYSQL_TYPE_BLOB, MY_ANY, BYTES, 0, BINARY, STRING),
    RULE("MySQL's json", "string", "string", "as the server prints it", WIRE_JSON, MY_ANY, TEXT, 0,
         STRING, STRING),
    RULE("geometry, point, linestring, polygon, ...", "binary", "string",
         "WKB; an SRID that is not 0 is left out, with a warning", MYSQL_TYPE_GEOMETRY, MY_ANY,
         GEOMETRY, 0, BINARY, STRING),
    RULE("MySQL's vector", "binary", "string", "its floats, little endian", WIRE_VECTOR, MY_ANY,
         BYTES, 0, BINARY, STRING),
    RULE("NULL", "string", "string", "a query's column without a type", MYSQL_TYPE_NULL, MY_ANY,
         NULL, 0, STRING, STRING),
};
const size_t my_rule_count = COUNT(my_rules);

/* The digits of a decimal: its length counts the point and the sign too. */
static int precision_of(const MYSQL_FIELD *field) {
    bool is_signed = !(field->flags & UNSIGNED_FLAG);
    unsigned long around = (field->decimals > 0) + is_signed;
    return field->length > around && field->length < 100 ? (int)(field->length - around) : 100;
}

static bool is_uuid(const MYSQL_FIELD *field) {
    MARIADB_CONST_STRING name = {0};
    return mariadb_field_attr(&name, field, MARIADB_FIELD_ATTR_DATA_TYPE_NAME) == 0 &&
           str_is((Str){name.str, name.length}, "uuid");
}

static unsigned conditions_of(const MYSQL_FIELD *field) {
    bool is_decimal = field->type == MYSQL_TYPE_NEWDECIMAL;
    bool narrow = is_decimal
                      ? precision_of(field) <= 38 && (int)field->decimals <= precision_of(field)
                      : field->length <= 63;
    return (field->length == 1 ? MY_ONE : 0) | (field->flags & UNSIGNED_FLAG ? MY_UNSIGNED : 0) |
           (field->charsetnr != CHARSET_BINARY ? MY_TEXT : 0) | (narrow ? MY_NARROW : 0) |
           (is_uuid(field) ? MY_UUID : 0);
}

/* The wire's spellings of one thing. */
static int wire_of(const MYSQL_FIELD *field) {
    switch ((int)field->type) {
    case MYSQL_TYPE_VARCHAR:
        return MYSQL_TYPE_VAR_STRING;
    case MYSQL_TYPE_TINY_BLOB:
    case MYSQL_TYPE_MEDIUM_BLOB:
    case MYSQL_TYPE_LONG_BLOB:
        return MYSQL_TYPE_BLOB;
    case MYSQL_TYPE_ENUM:
    case MYSQL_TYPE_SET:
        return MYSQL_TYPE_STRING;
    case MYSQL_TYPE_NEWDATE:
        return MYSQL_TYPE_DATE;
    case MYSQL_TYPE_DECIMAL:
        return MYSQL_TYPE_NEWDECIMAL;
    default:
        return (int)field->type;
    }
}

static const MyRule *rule_of(const MYSQL_FIELD *field) {
    unsigned conditions = conditions_of(field);
    int wire = wire_of(field);
    for (size_t i = 0; i < COUNT(my_rules); i++)
        if (my_rules[i].wire == wire && (my_rules[i].when & ~conditions) == 0) return &my_rules[i];
    return NULL;
}

static Type type_of(TypeKind kind, const MYSQL_FIELD *field) {
    Type type = {.kind = kind};
    if (kind != TYPE_DECIMAL) return type;
    bool is_decimal = wire_of(field) == MYSQL_TYPE_NEWDECIMAL;
    type.precision = is_decimal ? precision_of(field) : 20;
    type.scale = is_decimal ? (int)field->decimals : 0;
    return type;
}

/* The first word of a rule is how messages spell a query's column. */
static Str declared_of(const MyRule *rule, const MYSQL_FIELD *field, Arena *arena) {
    Str rest = str_from(rule->declared), word = str_until(&rest, ',');
    if (wire_of(field) == MYSQL_TYPE_NEWDECIMAL)
        return arena_print(arena, "decimal(%d,%u)", precision_of(field), field->decimals);
    return word;
}

static bool column_of(const MYSQL_FIELD *field, TypeMapping mapping, Arena *arena, MyColumn *out,
                      Err *err) {
    const MyRule *rule = rule_of(field);
    Str name = {field->name, field->name_length};
    if (!rule)
        return err_set(err, LH_INVALID,
                       "column '%.*s' has a type that is not known here (%d); CAST it in a query",
                       SHOW(name), (int)field->type);
    bool plain = mapping == MAPPING_PLAIN;
    TypeKind kind = plain ? rule->plain_kind : rule->exact_kind;
    *out = (MyColumn){.name = arena_copy(arena, name),
                      .declared = declared_of(rule, field, arena),
                      .shape = rule->shape,
                      .width = rule->width,
                      .is_unsigned = field->flags & UNSIGNED_FLAG,
                      .decimals = (int)field->decimals,
                      .is_checked = rule->wire == MYSQL_TYPE_TINY && kind == TYPE_BOOLEAN,
                      .is_wide = rule->shape == SHAPE_DECIMAL && kind == TYPE_STRING,
                      .type = type_of(kind, field)};
    return true;
}

bool my_columns(MYSQL_STMT *stmt, TypeMapping mapping, Arena *arena, MyColumn **out, size_t *count,
                Err *err) {
    MYSQL_RES *metadata = mysql_stmt_result_metadata(stmt);
    size_t fields = metadata ? mysql_num_fields(metadata) : 0;
    MyColumn *columns = arena_array(arena, MyColumn, fields + 1);
    bool ok = fields > 0 || err_code(err, LH_INVALID, "source_refused",
                                     "the query gives no rows: it is not a SELECT");
    for (size_t i = 0; ok && i < fields; i++)
        ok = column_of(mysql_fetch_field_direct(metadata, (unsigned)i), mapping, arena, &columns[i],
                       err);
    if (metadata) mysql_free_result(metadata);
    if (ok) *out = columns, *count = fields;
    return ok;
}

bool my_is_maybe_boolean(const MyColumn *column) {
    return column->is_checked;
}

void my_make_int(MyColumn *column) {
    column->type = (Type){.kind = TYPE_INT};
    column->is_checked = false;
}

/* Types that the user gave. */

/* What makes the kind, of whatever the server has. A cast that loses something is a warning of the
 * server's, which the end of the pull looks for. */
static const char *cast_to(const Type *wanted, Arena *arena) {
    static const char *const casts[TYPE_MAP + 1] = {
        [TYPE_BOOLEAN] = "(%s <> 0)",
        [TYPE_INT] = "CAST(%s AS SIGNED)",
        [TYPE_LONG] = "CAST(%s AS SIGNED)",
        [TYPE_FLOAT] = "(%s + 0E0)",
        [TYPE_DOUBLE] = "(%s + 0E0)",
        [TYPE_DATE] = "CAST(%s AS DATE)",
        [TYPE_TIME] = "CAST(%s AS TIME(6))",
        [TYPE_TIMESTAMP] = "CAST(%s AS DATETIME(6))",
        [TYPE_TIMESTAMPTZ] = "CAST(%s AS DATETIME(6))",
        [TYPE_STRING] = "CONVERT(%s USING utf8mb4)",
        [TYPE_UUID] = "CONVERT(%s USING utf8mb4)",
        [TYPE_BINARY] = "CAST(%s AS BINARY)",
    };
    if (wanted->kind != TYPE_DECIMAL) return casts[wanted->kind];
    return arena_print(arena, "CAST(%%s AS DECIMAL(%d,%d))", wanted->precision, wanted->scale).data;
}

/* Whether the column's own values can be decoded as the kind, or would be cut or be hexadecimal. */
static bool is_direct(const MyColumn *column, const Type *wanted) {
    if (type_equal(&column->type, wanted)) return true;
    if (!my_decoder(column->shape, wanted->kind)) return false;
    if (wanted->kind == TYPE_STRING) return column->shape != SHAPE_BYTES;
    return column->shape != SHAPE_DECIMAL;
}

static bool cannot(const MyColumn *column, const Type *wanted, Arena *arena, Err *err) {
    Str sql = type_sql(wanted, arena);
    return err_set(err, LH_INVALID, "column '%.*s' (%.*s) cannot be read as %.*s",
                   SHOW(column->name), SHOW(column->declared), SHOW(sql));
}

bool my_cast(MyColumn *column, const Type *wanted, Arena *arena, const char **cast, Err *err) {
    *cast = is_direct(column, wanted) ? NULL : cast_to(wanted, arena);
    if (!*cast && !is_direct(column, wanted)) return cannot(column, wanted, arena, err);
    column->is_checked = column->is_wide = false;
    column->type = *wanted;
    return true;
}

bool my_cast_made(MyColumn *column, const MyColumn *made, Arena *arena, Err *err) {
    if (!my_decoder(made->shape, column->type.kind))
        return cannot(column, &column->type, arena, err);
    column->shape = made->shape;
    column->width = made->width;
    column->is_unsigned = made->is_unsigned;
    column->decimals = made->decimals;
    return true;
}

bool my_same_wire(const MyColumn *a, const MyColumn *b) {
    return a->shape == b->shape && a->width == b->width && a->is_unsigned == b->is_unsigned;
}
