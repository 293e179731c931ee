/* A column as a tree: a list has one child, a struct one per member, a map's child is the struct of
 * its key and value. The tree is built once from the type; each batch only moves its pointers. */
#include "query/engine.h"

#include <math.h>
#include <string.h>

#define TYPE_DEPTH_MAX 64
#define EXACT_INT 9007199254740992    /* 2^53: larger integers are strings in JSON */
#define EXACT_DIGITS 1000000000000000 /* 15 digits: what any double holds */

static Str take_text(Arena *arena, char *text) {
    Str copy = arena_copy(arena, str_from(text));
    duckdb_free(text);
    return copy;
}

static const char *plain_name(duckdb_type type) {
    static const char *const names[] = {
        [DUCKDB_TYPE_BOOLEAN] = "BOOLEAN",
        [DUCKDB_TYPE_TINYINT] = "TINYINT",
        [DUCKDB_TYPE_SMALLINT] = "SMALLINT",
        [DUCKDB_TYPE_INTEGER] = "INTEGER",
        [DUCKDB_TYPE_BIGINT] = "BIGINT",
        [DUCKDB_TYPE_UTINYINT] = "UTINYINT",
        [DUCKDB_TYPE_USMALLINT] = "USMALLINT",
        [DUCKDB_TYPE_UINTEGER] = "UINTEGER",
        [DUCKDB_TYPE_UBIGINT] = "UBIGINT",
        [DUCKDB_TYPE_FLOAT] = "FLOAT",
        [DUCKDB_TYPE_DOUBLE] = "DOUBLE",
        [DUCKDB_TYPE_TIMESTAMP] = "TIMESTAMP",
        [DUCKDB_TYPE_DATE] = "DATE",
        [DUCKDB_TYPE_TIME] = "TIME",
        [DUCKDB_TYPE_INTERVAL] = "INTERVAL",
        [DUCKDB_TYPE_HUGEINT] = "HUGEINT",
        [DUCKDB_TYPE_UHUGEINT] = "UHUGEINT",
        [DUCKDB_TYPE_VARCHAR] = "VARCHAR",
        [DUCKDB_TYPE_BLOB] = "BLOB",
        [DUCKDB_TYPE_TIMESTAMP_S] = "TIMESTAMP_S",
        [DUCKDB_TYPE_TIMESTAMP_MS] = "TIMESTAMP_MS",
        [DUCKDB_TYPE_TIMESTAMP_NS] = "TIMESTAMP_NS",
        [DUCKDB_TYPE_TIMESTAMP_TZ] = "TIMESTAMP WITH TIME ZONE",
        [DUCKDB_TYPE_TIME_NS] = "TIME_NS",
        [DUCKDB_TYPE_UUID] = "UUID",
        [DUCKDB_TYPE_SQLNULL] = "\"NULL\"",
    };
    return (size_t)type < COUNT(names) ? names[type] : NULL;
}

static bool open_type(Cells *cells, duckdb_logical_type type, Arena *arena, int depth, Err *err);

/* Takes `type`. */
static bool open_child(Cells *child, duckdb_logical_type type, Arena *arena, int depth, Err *err) {
    bool ok = open_type(child, type, arena, depth + 1, err);
    duckdb_destroy_logical_type(&type);
    return ok;
}

static void add_children(Cells *cells, size_t count, Arena *arena) {
    cells->child_count = count;
    cells->children = arena_array(arena, Cells, count);
}

static bool open_struct(Cells *cells, duckdb_logical_type type, Arena *arena, int depth, Err *err) {
    OWNED(text_close) Text sql = {0};
    add_children(cells, duckdb_struct_type_child_count(type), arena);
    for (size_t i = 0; i < cells->child_count; i++) {
        Cells *child = &cells->children[i];
        if (!open_child(child, duckdb_struct_type_child_type(type, i), arena, depth, err))
            return false;
        child->name = take_text(arena, duckdb_struct_type_child_name(type, i));
        text_add(&sql, i ? STR(", ") : STR("STRUCT("));
        sql_quote_name(&sql, child->name);
        text_print(&sql, " %.*s", SHOW(child->sql));
    }
    text_add_byte(&sql, ')');
    cells->sql = arena_copy(arena, text_str(&sql));
    return true;
}

static bool open_map(Cells *cells, duckdb_logical_type type, Arena *arena, int depth, Err *err) {
    add_children(cells, 1, arena);
    Cells *pair = cells->children;
    *pair = (Cells){.type = DUCKDB_TYPE_STRUCT};
    add_children(pair, 2, arena);
    if (!open_child(&pair->children[0], duckdb_map_type_key_type(type), arena, depth, err) ||
        !open_child(&pair->children[1], duckdb_map_type_value_type(type), arena, depth, err))
        return false;
    cells->sql = arena_print(arena, "MAP(%.*s, %.*s)", SHOW(pair->children[0].sql),
                             SHOW(pair->children[1].sql));
    return true;
}

static bool open_list(Cells *cells, duckdb_logical_type type, Arena *arena, int depth, Err *err) {
    bool array = cells->type == DUCKDB_TYPE_ARRAY;
    add_children(cells, 1, arena);
    if (!open_child(cells->children,
                    array ? duckdb_array_type_child_type(type) : duckdb_list_type_child_type(type),
                    arena, depth, err))
        return false;
    Str item = cells->children->sql;
    if (array) cells->array_len = duckdb_array_type_array_size(type);
    cells->sql = array ? arena_print(arena, "%.*s[%zu]", SHOW(item), cells->array_len)
                       : arena_print(arena, "%.*s[]", SHOW(item));
    return true;
}

static void open_enum(Cells *cells, duckdb_logical_type type, Arena *arena) {
    OWNED(text_close) Text sql = {0};
    cells->physical = duckdb_enum_internal_type(type);
    cells->label_count = duckdb_enum_dictionary_size(type);
    cells->labels = arena_array(arena, Str, cells->label_count);
    for (size_t i = 0; i < cells->label_count; i++) {
        cells->labels[i] = take_text(arena, duckdb_enum_dictionary_value(type, i));
        text_add(&sql, i ? STR(", ") : STR("ENUM("));
        sql_quote_text(&sql, cells->labels[i]);
    }
    text_add_byte(&sql, ')');
    cells->sql = arena_copy(arena, text_str(&sql));
}

static bool open_type(Cells *cells, duckdb_logical_type type, Arena *arena, int depth, Err *err) {
    cells->type = duckdb_get_type_id(type);
    if (depth > TYPE_DEPTH_MAX)
        return err_code(err, LH_IMPOSSIBLE, "type_too_deep", "types nest at most %d deep",
                        TYPE_DEPTH_MAX);
    switch (cells->type) {
    case DUCKDB_TYPE_DECIMAL:
        cells->physical = duckdb_decimal_internal_type(type);
        cells->scale = duckdb_decimal_scale(type);
        cells->sql = arena_print(arena, "DECIMAL(%d,%d)", duckdb_decimal_width(type), cells->scale);
        return true;
    case DUCKDB_TYPE_ENUM:
        return open_enum(cells, type, arena), true;
    case DUCKDB_TYPE_STRUCT:
        return open_struct(cells, type, arena, depth, err);
    case DUCKDB_TYPE_MAP:
        return open_map(cells, type, arena, depth, err);
    case DUCKDB_TYPE_LIST:
    case DUCKDB_TYPE_ARRAY:
        return open_list(cells, type, arena, depth, err);
    default:
        cells->sql = str_from(plain_name(cells->type));
        if (cells->sql.len) break;
        return err_code(err, LH_IMPOSSIBLE, "type_unsupported",
                        "values of this type (%d) are not sent: cast it to VARCHAR", cells->type);
    }
    char *alias = duckdb_logical_type_get_alias(type);
    if (alias) cells->sql = take_text(arena, alias); /* JSON */
    return true;
}

bool cells_open(Cells *cells, duckdb_logical_type type, Arena *arena, Err *err) {
    return open_type(cells, type, arena, 0, err);
}

void cells_load(Cells *cells, duckdb_vector vector) {
    cells->data = duckdb_vector_get_data(vector);
    cells->validity = duckdb_vector_get_validity(vector);
    for (size_t i = 0; i < cells->child_count; i++) {
        duckdb_vector child =
            cells->type == DUCKDB_TYPE_STRUCT  ? duckdb_struct_vector_get_child(vector, i)
            : cells->type == DUCKDB_TYPE_ARRAY ? duckdb_array_vector_get_child(vector)
                                               : duckdb_list_vector_get_child(vector);
        cells_load(&cells->children[i], child);
    }
}

#define DATA(type) (((const type *)cells->data)[row])

static __int128 huge(duckdb_hugeint value) {
    return (__int128)((unsigned __int128)(uint64_t)value.upper << 64 | value.lower);
}

static __int128 stored_number(const Cells *cells, size_t row) {
    switch (cells->physical) {
    case DUCKDB_TYPE_SMALLINT:
        return DATA(int16_t);
    case DUCKDB_TYPE_INTEGER:
        return DATA(int32_t);
    case DUCKDB_TYPE_BIGINT:
        return DATA(int64_t);
    case DUCKDB_TYPE_UTINYINT:
        return DATA(uint8_t);
    case DUCKDB_TYPE_USMALLINT:
        return DATA(uint16_t);
    case DUCKDB_TYPE_UINTEGER:
        return DATA(uint32_t);
    default:
        return huge(DATA(duckdb_hugeint));
    }
}

static Str enum_label(const Cells *cells, size_t row) {
    uint64_t at = (uint64_t)stored_number(cells, row);
    return at < cells->label_count ? cells->labels[at] : (Str){0};
}

/* What JSON and CSV both write bare. False: the value is text or nested. */
static bool write_number(Text *out, const Cells *cells, size_t row) {
    switch (cells->type) {
    case DUCKDB_TYPE_BOOLEAN:
        return text_add(out, DATA(uint8_t) ? STR("true") : STR("false")), true;
    case DUCKDB_TYPE_TINYINT:
        return write_int(out, DATA(int8_t)), true;
    case DUCKDB_TYPE_SMALLINT:
        return write_int(out, DATA(int16_t)), true;
    case DUCKDB_TYPE_INTEGER:
        return write_int(out, DATA(int32_t)), true;
    case DUCKDB_TYPE_UTINYINT:
        return write_uint(out, DATA(uint8_t)), true;
    case DUCKDB_TYPE_USMALLINT:
        return write_uint(out, DATA(uint16_t)), true;
    case DUCKDB_TYPE_UINTEGER:
        return write_uint(out, DATA(uint32_t)), true;
    case DUCKDB_TYPE_BIGINT:
        return write_int(out, DATA(int64_t)), true;
    case DUCKDB_TYPE_UBIGINT:
        return write_uint(out, DATA(uint64_t)), true;
    case DUCKDB_TYPE_HUGEINT:
        return write_int128(out, huge(DATA(duckdb_hugeint))), true;
    case DUCKDB_TYPE_UHUGEINT: {
        duckdb_uhugeint value = DATA(duckdb_uhugeint);
        unsigned __int128 whole = (unsigned __int128)value.upper << 64 | value.lower;
        if (whole > 9) write_int128(out, (__int128)(whole / 10)); /* the top bit is no sign */
        return write_uint(out, (uint64_t)(whole % 10)), true;
    }
    case DUCKDB_TYPE_DECIMAL:
        return write_decimal(out, stored_number(cells, row), cells->scale), true;
    default:
        return false;
    }
}

static bool fits_double(const Cells *cells, size_t row) {
    switch (cells->type) {
    case DUCKDB_TYPE_BIGINT:
        return DATA(int64_t) <= EXACT_INT && DATA(int64_t) >= -EXACT_INT;
    case DUCKDB_TYPE_UBIGINT:
        return DATA(uint64_t) <= EXACT_INT;
    case DUCKDB_TYPE_HUGEINT: {
        __int128 value = huge(DATA(duckdb_hugeint));
        return value <= EXACT_INT && value >= -EXACT_INT;
    }
    case DUCKDB_TYPE_UHUGEINT:
        return DATA(duckdb_uhugeint).upper == 0 && DATA(duckdb_uhugeint).lower <= EXACT_INT;
    case DUCKDB_TYPE_DECIMAL: {
        __int128 value = stored_number(cells, row);
        return value < EXACT_DIGITS && value > -EXACT_DIGITS;
    }
    default:
        return true;
    }
}

/* Text that needs no escape in JSON. False: free text, floats or nested. */
static bool write_moment(Text *out, const Cells *cells, size_t row, char separator, Str zone) {
    switch (cells->type) {
    case DUCKDB_TYPE_DATE: {
        int32_t days = DATA(int32_t);
        if (days == INT32_MAX || days == -INT32_MAX)
            return text_add(out, days > 0 ? STR("infinity") : STR("-infinity")), true;
        return write_date(out, days), true;
    }
    case DUCKDB_TYPE_TIME:
        return write_time(out, DATA(int64_t), 1000000), true;
    case DUCKDB_TYPE_TIME_NS:
        return write_time(out, DATA(int64_t), 1000000000), true;
    case DUCKDB_TYPE_TIMESTAMP:
    case DUCKDB_TYPE_TIMESTAMP_TZ:
        return write_timestamp(out, DATA(int64_t), 1000000, separator, zone), true;
    case DUCKDB_TYPE_TIMESTAMP_S:
        return write_timestamp(out, DATA(int64_t), 1, separator, zone), true;
    case DUCKDB_TYPE_TIMESTAMP_MS:
        return write_timestamp(out, DATA(int64_t), 1000, separator, zone), true;
    case DUCKDB_TYPE_TIMESTAMP_NS:
        return write_timestamp(out, DATA(int64_t), 1000000000, separator, zone), true;
    case DUCKDB_TYPE_INTERVAL:
        return write_interval(out, DATA(duckdb_interval)), true;
    case DUCKDB_TYPE_UUID:
        return write_uuid(out, DATA(duckdb_hugeint)), true;
    case DUCKDB_TYPE_BLOB:
        return write_base64(out, cell_str(cells, row)), true;
    default:
        return false;
    }
}

static double real_value(const Cells *cells, size_t row) {
    return cells->type == DUCKDB_TYPE_FLOAT ? (double)DATA(float) : DATA(double);
}

static duckdb_list_entry list_entry(const Cells *cells, size_t row) {
    if (cells->type == DUCKDB_TYPE_ARRAY)
        return (duckdb_list_entry){row * cells->array_len, cells->array_len};
    return DATA(duckdb_list_entry);
}

static void write_list(Text *out, const Cells *cells, size_t row) {
    duckdb_list_entry entry = list_entry(cells, row);
    text_add_byte(out, '[');
    for (size_t i = 0; i < entry.length; i++) {
        if (i) text_add_byte(out, ',');
        cell_write_json(out, cells->children, entry.offset + i);
    }
    text_add_byte(out, ']');
}

static void write_struct(Text *out, const Cells *cells, size_t row) {
    text_add_byte(out, '{');
    for (size_t i = 0; i < cells->child_count; i++) {
        if (i) text_add_byte(out, ',');
        json_escape(out, cells->children[i].name);
        text_add_byte(out, ':');
        cell_write_json(out, &cells->children[i], row);
    }
    text_add_byte(out, '}');
}

/* An object; keys that are no text are written as the text of their JSON. */
static void write_map(Text *out, const Cells *cells, size_t row) {
    duckdb_list_entry entry = DATA(duckdb_list_entry);
    const Cells *keys = &cells->children->children[0], *values = &cells->children->children[1];
    OWNED(text_close) Text key = {0};
    text_add_byte(out, '{');
    for (size_t i = entry.offset; i < entry.offset + entry.length; i++) {
        if (i > entry.offset) text_add_byte(out, ',');
        text_clear(&key);
        cell_write_json(&key, keys, i);
        if (key.data[0] == '"')
            text_add(out, text_str(&key));
        else
            json_escape(out, text_str(&key));
        text_add_byte(out, ':');
        cell_write_json(out, values, i);
    }
    text_add_byte(out, '}');
}

void cell_write_json(Text *out, const Cells *cells, size_t row) {
    if (cell_is_null(cells, row)) return text_add(out, STR("null"));
    switch (cells->type) {
    case DUCKDB_TYPE_VARCHAR:
        return json_escape(out, cell_str(cells, row));
    case DUCKDB_TYPE_ENUM:
        return json_escape(out, enum_label(cells, row));
    case DUCKDB_TYPE_FLOAT:
    case DUCKDB_TYPE_DOUBLE:
        if (!isfinite(real_value(cells, row))) return text_add(out, STR("null"));
        return write_real(out, real_value(cells, row), cells->type == DUCKDB_TYPE_FLOAT);
    case DUCKDB_TYPE_STRUCT:
        return write_struct(out, cells, row);
    case DUCKDB_TYPE_MAP:
        return write_map(out, cells, row);
    case DUCKDB_TYPE_LIST:
    case DUCKDB_TYPE_ARRAY:
        return write_list(out, cells, row);
    case DUCKDB_TYPE_SQLNULL:
        return text_add(out, STR("null"));
    default:
        break;
    }
    bool quoted = !fits_double(cells, row);
    size_t start = out->len;
    if (quoted) text_add_byte(out, '"');
    if (!write_number(out, cells, row)) {
        out->len = start;
        text_add_byte(out, '"');
        write_moment(out, cells, row, 'T', STR("Z"));
        quoted = true;
    }
    if (quoted) text_add_byte(out, '"');
}

static bool needs_quotes(Str text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.data[i];
        if (c == ',' || c == '"' || c == '\n' || c == '\r') return true;
    }
    return text.len == 0; /* NULL is the empty field without quotes */
}

void write_csv_text(Text *out, Str text) {
    if (!needs_quotes(text)) return text_add(out, text);
    text_add_byte(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '"') text_add_byte(out, '"');
        text_add_byte(out, text.data[i]);
    }
    text_add_byte(out, '"');
}

static void write_csv_nested(Text *out, const Cells *cells, size_t row) {
    OWNED(text_close) Text json = {0};
    cell_write_json(&json, cells, row);
    write_csv_text(out, text_str(&json));
}

void cell_write_csv(Text *out, const Cells *cells, size_t row) {
    if (cell_is_null(cells, row) || cells->type == DUCKDB_TYPE_SQLNULL) return;
    Str zone = cells->type == DUCKDB_TYPE_TIMESTAMP_TZ ? STR("+00") : STR("");
    switch (cells->type) {
    case DUCKDB_TYPE_VARCHAR:
        return write_csv_text(out, cell_str(cells, row));
    case DUCKDB_TYPE_ENUM:
        return write_csv_text(out, enum_label(cells, row));
    case DUCKDB_TYPE_FLOAT:
    case DUCKDB_TYPE_DOUBLE:
        if (isfinite(real_value(cells, row)))
            return write_real(out, real_value(cells, row), cells->type == DUCKDB_TYPE_FLOAT);
        return text_add(out, isnan(real_value(cells, row)) ? STR("nan")
                             : real_value(cells, row) > 0  ? STR("inf")
                                                           : STR("-inf"));
    case DUCKDB_TYPE_STRUCT:
    case DUCKDB_TYPE_MAP:
    case DUCKDB_TYPE_LIST:
    case DUCKDB_TYPE_ARRAY:
        return write_csv_nested(out, cells, row);
    default:
        if (!write_number(out, cells, row)) write_moment(out, cells, row, ' ', zone);
    }
}
