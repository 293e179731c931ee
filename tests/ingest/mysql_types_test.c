/* Every type of MySQL and MariaDB: what it becomes, and that values arrive as the server's own
 * client prints them. */
#include "ingest/maria.h"

#include "ingest/mysql.h"

typedef struct Case {
    const char *declared, *type, *values, *shown; /* shown: an expression of v; NULL: v */
} Case;

static const Case cases[] = {
    {"bool",                                                  "BOOLEAN",                  "(0),(1),(NULL)",                                                           NULL                    },
    {"tinyint(1)",                                            "INTEGER",                  "(0),(1),(7),(-128),(127),(NULL)",                                          NULL                    },
    {"tinyint(1) unsigned",                                   "INTEGER",                  "(200),(0),(255)",                                                          NULL                    },
    {"tinyint(1) unsigned",                                   "BOOLEAN",                  "(1),(0)",                                                                  NULL                    },
    {"tinyint",                                               "INTEGER",                  "(-128),(127),(0),(NULL)",                                                  NULL                    },
    {"tinyint unsigned",                                      "INTEGER",                  "(255),(0),(128)",                                                          NULL                    },
    {"smallint",                                              "INTEGER",                  "(-32768),(32767),(-1)",                                                    NULL                    },
    {"smallint unsigned",                                     "INTEGER",                  "(65535),(0),(32768)",                                                      NULL                    },
    {"mediumint",                                             "INTEGER",                  "(-8388608),(8388607),(-1)",                                                NULL                    },
    {"mediumint unsigned",                                    "INTEGER",                  "(16777215),(8388608)",                                                     NULL                    },
    {"int",                                                   "INTEGER",                  "(-2147483648),(2147483647),(-1),(NULL)",                                   NULL                    },
    {"int unsigned",                                          "BIGINT",                   "(4294967295),(2147483648),(0)",                                            NULL                    },
    {"int(8) unsigned zerofill",                              "BIGINT",                   "(42),(4294967295)",                                                        "v+0"                   },
    {"bigint",                                                "BIGINT",                   "(-9223372036854775808),(9223372036854775807),(-1)",                        NULL                    },
    {"bigint unsigned",                                       "DECIMAL(20,0)",            "(18446744073709551615),(9223372036854775808),(0),(NULL)",
     NULL                                                                                                                                                                                     },
    {"float",                                                 "FLOAT",                    "(16777217),(0.1),(-3.402823466e38),(1.17549435e-38),(-0.0),(1e-45)",
     "v+0e0"                                                                                                                                                                                  },
    {"float(7,2)",                                            "FLOAT",                    "(12345.67)",                                                               "v+0e0"                 },
    {"double",                                                "DOUBLE",                   "(1.7976931348623157e308),(2.2250738585072014e-308),(0.1),(5e-324),(NULL)",
     NULL                                                                                                                                                                                     },
    {"decimal(12,2)",                                         "DECIMAL(12,2)",            "(-9999999999.99),(9999999999.99),(0.01),(-0.01),(0),(NULL)",
     NULL                                                                                                                                                                                     },
    {"decimal(4,2)",                                          "DECIMAL(4,2)",             "(-99.99),(99.99),(0.5)",                                                   NULL                    },
    {"decimal(9,0)",                                          "DECIMAL(9,0)",             "(-999999999),(999999999)",                                                 NULL                    },
    {"decimal(18,18)",                                        "DECIMAL(18,18)",           "(-0.999999999999999999),(0.000000000000000001)",                           NULL                    },
    {"decimal(38,10)",                                        "DECIMAL(38,10)",
     "(-9999999999999999999999999999.9999999999),(9999999999999999999999999999.9999999999),(1)",                                                                      NULL                    },
    {"decimal(38,38)",                                        "DECIMAL(38,38)",           "(0.99999999999999999999999999999999999999)",                               NULL                    },
    {"decimal(10,0) unsigned",                                "DECIMAL(10,0)",            "(9999999999)",                                                             NULL                    },
    {"decimal(65,30)",                                        "VARCHAR",
     "(12345678901234567890123456789012345.123456789012345678901234567890),(-1)",                                                                                     NULL                    },
    {"bit(1)",                                                "BOOLEAN",                  "(b'1'),(b'0'),(NULL)",                                                     "v+0"                   },
    {"bit(10)",                                               "BIGINT",                   "(b'1111111111'),(0)",                                                      "v+0"                   },
    {"bit(63)",                                               "BIGINT",                   "(9223372036854775807)",                                                    "v+0"                   },
    {"bit(64)",                                               "DECIMAL(20,0)",            "(18446744073709551615),(0)",                                               "v+0"                   },
    {"year",                                                  "INTEGER",                  "(0),(1901),(2155),(NULL)",                                                 "v+0"                   },
    {"date",                                                  "DATE",
     "('9999-12-31'),('0001-01-01'),('1970-01-01'),('2000-02-29'),('1582-10-04'),(NULL)",                                                                             NULL                    },
    {"date",                                                  "DATE",                     "('0000-00-00'),('2024-00-00'),('2024-02-31'),('2024-02-29')",
     "IF(v='2024-02-29',v,NULL)"                                                                                                                                                              },
    {"datetime",                                              "TIMESTAMP",                "('9999-12-31 23:59:59'),('1969-12-31 23:59:59'),('0000-00-00')",
     "IF(YEAR(v)=0,NULL,CAST(v AS DATETIME(6)))"                                                                                                                                              },
    {"datetime(6)",                                           "TIMESTAMP",
     "('9999-12-31 23:59:59.999999'),('0001-01-01'),('1969-12-31 23:59:59.000001')",                                                                                  NULL                    },
    {"datetime(3)",                                           "TIMESTAMP",                "('2024-02-29 01:02:03.004')",                                              "CAST(v AS DATETIME(6))"},
    {"timestamp(6) NULL",                                     "TIMESTAMP WITH TIME ZONE",
     "('2038-01-19 03:14:07.999999'),('1970-01-01 00:00:01'),('2024-03-31 02:30:00'),(NULL)",                                                                         NULL                    },
    {"timestamp NULL",                                        "TIMESTAMP WITH TIME ZONE", "('0000-00-00'),('2024-10-27 02:30:00')",
     "IF(YEAR(v)=0,NULL,CAST(v AS DATETIME(6)))"                                                                                                                                              },
    {"time",                                                  "VARCHAR",                  "('838:59:59'),('-838:59:59'),('00:00:00'),('-00:00:01'),(NULL)",           NULL                    },
    {"time(6)",                                               "VARCHAR",
     "('838:59:59.999999'),('-838:59:59.999999'),('-00:00:00.000001'),('23:59:59.5')",                                                                                NULL                    },
    {"time(2)",                                               "VARCHAR",                  "('100:00:00.05')",                                                         NULL                    },
    {"char(5)",                                               "VARCHAR",                  "('ab'),('é😀'),(''),('a '),(NULL)",                                     NULL                    },
    {"varchar(20)",                                           "VARCHAR",                  "('té😀'),(''),('a  '),('NULL')",                                        NULL                    },
    {"varchar(20) CHARACTER SET latin1",                      "VARCHAR",                  "('éü')",                                                                 NULL                    },
    {"varchar(20) CHARACTER SET utf16",                       "VARCHAR",                  "('é😀')",                                                               NULL                    },
    {"varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "VARCHAR",                  "('x')",                                                                    NULL                    },
    {"binary(5)",                                             "BLOB",                     "('ab'),(x'00ff00')",                                                       "HEX(v)"                },
    {"varbinary(20)",                                         "BLOB",                     "(x'610062'),(''),(x'ff'),(NULL)",                                          "HEX(v)"                },
    {"tinytext",                                              "VARCHAR",                  "('tt')",                                                                   NULL                    },
    {"text",                                                  "VARCHAR",
     "(REPEAT('é', 20000)),(REPEAT('x', 250)),(REPEAT('x', 251)),(REPEAT('x', 65535))",                                                                              NULL                    },
    {"mediumtext",                                            "VARCHAR",                  "(REPEAT('y', 65536)),(REPEAT('x', 300000))",                               NULL                    },
    {"longtext",                                              "VARCHAR",                  "('lt')",                                                                   NULL                    },
    {"tinyblob",                                              "BLOB",                     "(x'00')",                                                                  "HEX(v)"                },
    {"blob",                                                  "BLOB",                     "(x'c328'),('')",                                                           "HEX(v)"                },
    {"mediumblob",                                            "BLOB",                     "('mb')",                                                                   "HEX(v)"                },
    {"longblob",                                              "BLOB",                     "(REPEAT(x'00ff', 100000))",                                                "HEX(v)"                },
    {"enum('a','b,c','ü')",                                  "VARCHAR",                  "('a'),('b,c'),('ü'),(''),(NULL)",                                         NULL                    },
    {"set('x','y','z')",                                      "VARCHAR",                  "('x,z'),(''),(NULL)",                                                      NULL                    },
    {"json",                                                  "VARCHAR",                  "('{\"a\": 1, \"a\" : 2}'),('[]'),(NULL)",                                  NULL                    },
    {"uuid",                                                  "UUID",
     "('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'),('00000000-0000-0000-0000-000000000000'),('ffffffff-"
     "ffff-ffff-ffff-ffffffffffff'),(NULL)",                                                                                                                          NULL                    },
    {"inet6",                                                 "VARCHAR",                  "('::ffff:1.2.3.4'),('2001:db8::1')",                                       NULL                    },
    {"inet4",                                                 "VARCHAR",                  "('1.2.3.4')",                                                              NULL                    },
    {"geometry",                                              "BLOB",
     "(ST_GeomFromText('POINT(1 2)',4326)),(ST_GeomFromText('LINESTRING(0 0,1 1)')),(NULL)",                                                                          "HEX(ST_AsWKB(v))"      },
    {"point",                                                 "BLOB",                     "(ST_GeomFromText('POINT(1 2)'))",                                          "HEX(ST_AsWKB(v))"      },
    {"polygon",                                               "BLOB",                     "(ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))'))",                          "HEX(ST_AsWKB(v))"      },
    {"geometrycollection",                                    "BLOB",                     "(ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1))'))",
     "HEX(ST_AsWKB(v))"                                                                                                                                                                       },
    {"multipolygon",                                          "BLOB",                     "(ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))'))",
     "HEX(ST_AsWKB(v))"                                                                                                                                                                       },
    {"int INVISIBLE",                                         "INTEGER",                  "(5),(NULL)",                                                               NULL                    },
};

/* Without one part of a message: which case it was. */
static void check_value(const Case *one, Str ours, Str theirs, bool is_real) {
    bool same = is_real && ours.data && !str_is(theirs, "NULL")
                    ? strtod(ours.data, NULL) == strtod(theirs.data, NULL) ||
                          (float)strtod(ours.data, NULL) == strtof(theirs.data, NULL)
                    : str_equal(ours.data ? ours : STR("NULL"), theirs);
    if (!same)
        kit_fail(__FILE__, __LINE__, "%s is '%.*s', not '%.*s'", one->declared,
                 (int)MIN(ours.len, (size_t)80), ours.data ? ours.data : "",
                 (int)MIN(theirs.len, (size_t)80), theirs.data);
}

/* A table of each case, and all that the client prints of them: a start of the client costs more
 * than a table. */
static Str make_cases(Arena *arena) {
    OWNED(text_close) Text text = {0};
    text_add(&text, STR("SET sql_mode='ALLOW_INVALID_DATES';\n"));
    for (size_t i = 0; i < COUNT(cases); i++)
        text_print(&text,
                   "CREATE TABLE c%zu (id int PRIMARY KEY AUTO_INCREMENT, v %s); "
                   "INSERT INTO c%zu (v) VALUES %s; SELECT %s FROM c%zu ORDER BY id;\n",
                   i, cases[i].declared, i, cases[i].values, cases[i].shown ? cases[i].shown : "v",
                   i);
    return sql(arena, "%.*s", SHOW(text_str(&text)));
}

static void run_case(size_t number, Str *printed, Arena *arena) {
    const Case *one = &cases[number];
    OWNED(source_close) Source *source = NULL;
    OWNED(fed_close) RowFeed *feed = NULL;
    Err err = {0};
    Str table = arena_print(arena, "c%zu", number);
    SourceRequest request = request_of(table.data);
    CHECK_OK(read_all(&request, &source, &feed, &err));
    Str type = type_sql(&source->columns[1].type, arena);
    if (!str_is(type, one->type))
        kit_fail(__FILE__, __LINE__, "%s becomes %.*s", one->declared, SHOW(type));
    bool is_real =
        source->columns[1].type.kind == TYPE_FLOAT || source->columns[1].type.kind == TYPE_DOUBLE;
    CHECK(feed->row_count > 0);
    for (size_t i = 0; i < feed->row_count; i++) {
        Str line = arena_copy(arena, str_until(printed, '\n'));
        check_value(one, feed->rows[i][1], line, is_real);
    }
}

TEST("each type becomes what its documentation says, and its extremes are what the client prints") {
    OWNED(arena_close) Arena arena = {0};
    Str printed = make_cases(&arena);
    for (size_t i = 0; i < COUNT(cases); i++) run_case(i, &printed, &arena);
    CHECK_INT(printed.len, 0);
}

TEST("what MySQL alone has is told by its wire type, and a type that nobody knows is refused by "
     "name") {
    OWNED(arena_close) Arena arena = {0};
    MYSQL_FIELD fields[] = {
        {.name = "doc", .name_length = 3, .type = (enum enum_field_types)245, .charsetnr = 63},
        {.name = "at",  .name_length = 2, .type = (enum enum_field_types)242, .charsetnr = 63},
        {.name = "odd", .name_length = 3, .type = (enum enum_field_types)200, .charsetnr = 63},
    };
    MYSQL_STMT stmt = {.fields = fields, .field_count = 2}; /* as a prepare leaves it */
    MyColumn *columns;
    size_t count;
    Err err = {0};
    CHECK_OK(my_columns(&stmt, MAPPING_EXACT, &arena, &columns, &count, &err));
    CHECK(count == 2 && columns[0].type.kind == TYPE_STRING && columns[0].shape == SHAPE_TEXT);
    CHECK(columns[1].type.kind == TYPE_BINARY && columns[1].shape == SHAPE_BYTES);
    CHECK_STR(columns[0].declared, "MySQL's json");
    stmt.field_count = 3;
    CHECK(!my_columns(&stmt, MAPPING_EXACT, &arena, &columns, &count, &err));
    CHECK(err.kind == LH_INVALID && strstr(err.message, "'odd'") && strstr(err.message, "200"));
}

TEST("docs/mysql.md has the table of types as the code has it, and each row is reached") {
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text table = {0};
    Err err = {0};
    Bytes page;
    for (size_t i = 0; i < my_rule_count; i++)
        text_print(&table, "| %s | %s | %s | %s |\n", my_rules[i].declared, my_rules[i].exact,
                   my_rules[i].plain, my_rules[i].note);
    CHECK_OK(file_read("docs/mysql.md", 1 << 20, &arena, &page, &err));
    if (!str_find(str_of(page), text_str(&table), &(size_t){0}))
        kit_fail(__FILE__, __LINE__, "docs/mysql.md lacks this table:\n%.*s",
                 SHOW(text_str(&table)));
    for (size_t i = 0; i < my_rule_count; i++) {
        CHECK(my_decoder(my_rules[i].shape, my_rules[i].exact_kind));
        CHECK(my_decoder(my_rules[i].shape, my_rules[i].plain_kind));
        for (size_t j = 0; j < i; j++) /* an earlier row with fewer conditions would hide it */
            CHECK(my_rules[i].wire != my_rules[j].wire || (my_rules[j].when & ~my_rules[i].when));
    }
}
