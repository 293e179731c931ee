#include "catalog/schema.h"
#include "kit/kit.h"

static Err err;

static Str round_trip(const char *sql, Arena *arena) {
    Type type;
    CHECK_OK(type_from_sql(str_from(sql), arena, &type, &err));
    return type_sql(&type, arena);
}

TEST("SQL types that Iceberg has come back as they were") {
    OWNED(arena_close) Arena arena = {0};
    const char *types[] = {"BOOLEAN",
                           "INTEGER",
                           "BIGINT",
                           "FLOAT",
                           "DOUBLE",
                           "DECIMAL(12,2)",
                           "DECIMAL(38,0)",
                           "DATE",
                           "TIME",
                           "TIMESTAMP",
                           "TIMESTAMP WITH TIME ZONE",
                           "VARCHAR",
                           "UUID",
                           "BLOB",
                           "FLOAT[]",
                           "BIGINT[][]",
                           "STRUCT(a BIGINT, b VARCHAR[])",
                           "STRUCT(\"a \"\"b\"\"\" DATE, \"B\" MAP(VARCHAR, STRUCT(x DOUBLE)))",
                           "MAP(VARCHAR, DECIMAL(4,1)[])"};
    for (size_t i = 0; i < COUNT(types); i++) CHECK_STR(round_trip(types[i], &arena), types[i]);
}

TEST("SQL types that Iceberg lacks become the nearest that holds them") {
    OWNED(arena_close) Arena arena = {0};
    const struct {
        const char *from, *to;
    } types[] = {
        {"TINYINT",                         "INTEGER"      },
        {"usmallint",                       "INTEGER"      },
        {"UINTEGER",                        "BIGINT"       },
        {"UBIGINT",                         "DECIMAL(20,0)"},
        {"HUGEINT",                         "DECIMAL(38,0)"},
        {"TIMESTAMP_NS",                    "TIMESTAMP"    },
        {"ENUM('a', ')''x')",               "VARCHAR"      },
        {"JSON",                            "VARCHAR"      },
        {"INTERVAL",                        "VARCHAR"      },
        {"BIT",                             "VARCHAR"      },
        {"TIME WITH TIME ZONE",             "VARCHAR"      },
        {"UNION(num INTEGER, str VARCHAR)", "VARCHAR"      },
        {"ENUM('a', 'b')[]",                "VARCHAR[]"    },
        {"FLOAT[768]",                      "FLOAT[]"      },
        {"DECIMAL",                         "DECIMAL(18,3)"},
    };
    for (size_t i = 0; i < COUNT(types); i++)
        CHECK_STR(round_trip(types[i].from, &arena), types[i].to);
}

TEST("malformed SQL types are refused") {
    OWNED(arena_close) Arena arena = {0};
    Type type;
    const char *bad[] = {"",
                         "STRUCT(",
                         "STRUCT(a)",
                         "STRUCT(a BIGINT",
                         "MAP(INT)",
                         "BIGINT[",
                         "BIGINT]",
                         "DECIMAL(0,0)",
                         "DECIMAL(40,2)",
                         "DECIMAL(4,5)",
                         "\"a\" BIGINT",
                         "BIGINT BIGINT",
                         "STRUCT(\"a BIGINT)",
                         "ENUM('a"};
    for (size_t i = 0; i < COUNT(bad); i++)
        CHECK(!type_from_sql(str_from(bad[i]), &arena, &type, &err));
    OWNED(text_close) Text deep = {0};
    for (int i = 0; i < 1000; i++) text_add(&deep, STR("MAP(INT, "));
    CHECK(!type_from_sql(text_str(&deep), &arena, &type, &err));
    text_clear(&deep);
    text_add(&deep, STR("INT"));
    for (int i = 0; i < 1000; i++) text_add(&deep, STR("[]"));
    CHECK(!type_from_sql(text_str(&deep), &arena, &type, &err));
}

TEST("ids go to the top level first, then inwards, and those that are there stay") {
    OWNED(arena_close) Arena arena = {0};
    Field fields[3] = {
        {.name = STR("a")},
        {.name = STR("b"), .id = 7},
        {.name = STR("c")               }
    };
    Schema schema = {.fields = fields, .len = 3};
    int32_t last = 10;
    CHECK_OK(type_from_sql(STR("STRUCT(x BIGINT, y FLOAT[])"), &arena, &fields[0].type, &err));
    CHECK_OK(type_from_sql(STR("BIGINT"), &arena, &fields[1].type, &err));
    CHECK_OK(type_from_sql(STR("BIGINT[]"), &arena, &fields[2].type, &err));
    schema_assign_ids(&schema, &last);
    const Field *x = fields[0].type.fields;
    CHECK_INT(fields[0].id, 11);
    CHECK_INT(fields[1].id, 7);
    CHECK_INT(fields[2].id, 12);
    CHECK_INT(x[0].id, 13);
    CHECK_INT(x[1].id, 14);
    CHECK_INT(x[1].type.fields[0].id, 15);
    CHECK_INT(fields[2].type.fields[0].id, 16);
    CHECK_INT(last, 16);
}

TEST("a schema comes back from its JSON as it was, nested types and docs included") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text once = {0};
    OWNED(text_close) Text twice = {0};
    Field fields[2] = {
        {.name = STR("a"),  .doc = STR("what it is"), .required = true},
        {.name = STR("b")}
    };
    Schema schema = {.id = 3, .fields = fields, .len = 2}, again;
    const Json *json;
    int32_t last = 0;
    CHECK_OK(type_from_sql(STR("STRUCT(x DECIMAL(9,2), y MAP(VARCHAR, DATE[]))"), &arena,
                           &fields[0].type, &err));
    CHECK_OK(type_from_sql(STR("TIMESTAMPTZ"), &arena, &fields[1].type, &err));
    schema_assign_ids(&schema, &last);
    schema_write_json(&schema, &(JsonWriter){.out = &once});
    CHECK_OK(json_read(text_str(&once), &arena, &json, &err));
    CHECK_OK(schema_from_json(json, &arena, &again, &err));
    schema_write_json(&again, &(JsonWriter){.out = &twice});
    CHECK(str_equal(text_str(&once), text_str(&twice)));
    CHECK(type_equal(&schema.fields[0].type, &again.fields[0].type));
    CHECK(again.fields[0].required);
}

TEST("a type of a later Iceberg version is refused by name") {
    OWNED(arena_close) Arena arena = {0};
    const Json *json;
    Schema schema;
    CHECK_OK(json_read(STR("{\"fields\":[{\"id\":1,\"name\":\"g\",\"type\":\"geometry\"}]}"),
                       &arena, &json, &err));
    CHECK(!schema_from_json(json, &arena, &schema, &err));
    CHECK_INT(err.kind, LH_IMPOSSIBLE);
    CHECK(strstr(err.message, "geometry"));
}
