#include "lance/lance_kit.h"

#include <math.h>

#define ROWS 9000 /* more than two pages of a btree */

static size_t found(LanceTable *table, const char *column, LanceKey key, uint64_t *first) {
    OWNED(arena_close) Arena arena = {0};
    uint64_t *rows;
    size_t count;
    CHECK_OK(lance_find(table, str_from(column), &key, &arena, &rows, &count, &err));
    for (size_t i = 1; i < count; i++) CHECK(rows[i - 1] < rows[i]);
    if (count && first) *first = rows[0];
    return count;
}

static LanceKey real(double value) {
    return (LanceKey){.kind = LANCE_FLOAT, .real = value};
}
static LanceKey integer(int64_t value) {
    return (LanceKey){.kind = LANCE_INT, .integer = value};
}
static LanceKey text(const char *value, size_t len) {
    return (LanceKey){
        .kind = LANCE_TEXT, .text = {value, len}
    };
}

/* Many equal values over several pages, the ends of each type, texts that begin alike, nulls. */
static LanceTable *odd_table(Store *store, Arena *arena) {
    static LanceField fields[4];
    static const char *const types[] = {"double", "float", "int8", "string"};
    static const char *const names[] = {"d", "f", "i", "t"};
    for (size_t i = 0; i < 4; i++)
        fields[i] = (LanceField){
            .name = str_from(names[i]), .type = lance_type(str_from(types[i])), .nullable = true};
    LanceSchema schema = {fields, 4};
    LanceTable *table = kit_table(store, &schema);
    double *d = arena_array(arena, double, ROWS);
    float *f = arena_array(arena, float, ROWS);
    int8_t *n = arena_array(arena, int8_t, ROWS);
    uint64_t *ends = arena_array(arena, uint64_t, ROWS + 1);
    static const char begin[] = {'b', 'e', 'g', 'i', 'n', 'i', 'n', 'g'};
    char *texts = arena_alloc(arena, ROWS * 16);
    uint8_t *validity = arena_alloc(arena, ROWS / 8 + 1);
    for (size_t i = 0; i < ROWS; i++) {
        size_t len = i % 3; /* "", NUL, NUL NUL after the same eight bytes */
        d[i] = i < 5000 ? 1.5 : (double)i;
        f[i] = (float)i / 3;
        n[i] = (int8_t)(i % 256);
        memcpy(texts + ends[i], begin, sizeof begin);
        ends[i + 1] = ends[i] + 8 + len;
        if (i % 100 != 50) validity[i / 8] |= (uint8_t)(1u << i % 8);
    }
    d[8000] = NAN;
    d[8001] = -HUGE_VAL;
    d[8002] = -0.0;
    const void *values[] = {d, f, n, texts};
    LanceColumn columns[4];
    for (size_t i = 0; i < 4; i++)
        columns[i] = (LanceColumn){.values = values[i], .validity = validity};
    columns[3].offsets = ends;
    CHECK_OK(lance_append(table, &(LanceBatch){ROWS, 4, columns, NULL}, &err));
    return table;
}

static void check_all(LanceTable *table) {
    uint64_t row = 0;
    CHECK_INT(found(table, "d", real(1.5), NULL), 4950);
    CHECK(found(table, "d", real(8999), &row) == 1 && row == 8999);
    CHECK(found(table, "d", real(NAN), &row) == 1 && row == 8000);
    CHECK(found(table, "d", real(-HUGE_VAL), &row) == 1 && row == 8001);
    CHECK_INT(found(table, "d", real(1.25), NULL), 0);
    CHECK(found(table, "f", real(7.0 / 3), &row) == 1 && row == 7);
    CHECK_INT(found(table, "i", integer(-128), NULL), 35);
    CHECK_INT(found(table, "i", integer(128), NULL), 0); /* no int8 */
    CHECK_INT(found(table, "i", integer(-129), NULL), 0);
    CHECK_INT(found(table, "t", text("begining", 8), NULL), 2970);
    CHECK_INT(found(table, "t", text("begining\0", 9), NULL), 2970);
    CHECK_INT(found(table, "t", text("begining\0\0", 10), NULL), 2970);
    CHECK_INT(found(table, "t", text("begin", 5), NULL), 0);
}

TEST("values are found with a btree as without: equal ones over pages, the ends of a type, not-a-"
     "number, texts that differ in a NUL") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(store_close) Store *store = kit_store(kit_dir());
    OWNED(lance_close) LanceTable *table = odd_table(store, &arena);
    check_all(table);
    for (const char *column = "dfit"; *column; column++)
        CHECK_OK(lance_index_scalar(table, (Str){column, 1}, NULL, &err));
    LanceInfo info;
    lance_info(table, &info);
    CHECK_INT(info.indexes, 4);
    check_all(table);
}

TEST("what cannot be found by is refused by name") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(store_close) Store *store = kit_store(kit_dir());
    LanceSchema schema = kit_schema(&arena);
    OWNED(lance_close) LanceTable *table = kit_table(store, &schema);
    uint64_t *rows;
    size_t count;
    LanceKey key = text("x", 1);
    for (size_t i = 0; i < schema.len; i++) {
        LanceKind kind = schema.fields[i].type.kind;
        bool ok = lance_find(table, schema.fields[i].name, &key, &arena, &rows, &count, &err);
        CHECK_INT(ok, kind == LANCE_TEXT);
        if (!ok) CHECK_INT(err.kind, LH_INVALID);
    }
    CHECK(!lance_find(table, STR("none"), &key, &arena, &rows, &count, &err));
    CHECK_INT(err.kind, LH_MISSING);
}
