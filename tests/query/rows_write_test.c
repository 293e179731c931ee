#include "kit/engine.h"
#include "query/query.h"

#include <stdlib.h>

static Err err;

static Engine *engine;

static Engine *open_engine(void) {
    if (!engine) engine = kit_engine(NULL, 512 << 20, 1 << 30);
    return engine;
}

typedef struct Taken {
    Text text;
    size_t bytes, largest, pieces;
    bool keep;
} Taken;

static bool take(void *context, Bytes data, Err *e) {
    Taken *taken = context;
    (void)e;
    if (taken->keep) text_add(&taken->text, str_of(data));
    taken->bytes += data.size;
    taken->largest = MAX(taken->largest, data.size);
    taken->pieces++;
    return true;
}

static RowsWritten write(const char *sql, RowsFormat format, int64_t limit, Taken *taken) {
    OWNED(rows_close) Rows *rows = NULL;
    RowsWritten written = {0};
    Query query = {.sql = str_from(sql)};
    CHECK_OK(query_open(open_engine(), &query, &rows, &err));
    CHECK_OK(rows_write(rows, format, limit, take, taken, &written, &err));
    return written;
}

/* The one value of a SELECT, as it stands in the JSON. */
static Str json_value(const char *expression) {
    static Taken taken = {.keep = true};
    OWNED(text_close) Text sql = {0};
    size_t at;
    text_print(&sql, "SELECT %s", expression);
    text_add_byte(&sql, 0);
    text_clear(&taken.text);
    write(sql.data, ROWS_JSON, 0, &taken);
    CHECK(str_find(text_str(&taken.text), STR("\"rows\":[["), &at));
    Str rest = str_slice(text_str(&taken.text), at + 9, taken.text.len);
    CHECK(str_ends(rest, STR("]]")));
    return str_slice(rest, 0, rest.len - 2);
}

static Str csv_value(const char *expression) {
    static Taken taken = {.keep = true};
    OWNED(text_close) Text sql = {0};
    text_print(&sql, "SELECT %s AS v", expression);
    text_add_byte(&sql, 0);
    text_clear(&taken.text);
    write(sql.data, ROWS_CSV, 0, &taken);
    Str rest = text_str(&taken.text);
    CHECK(str_starts(rest, STR("v\r\n")) && str_ends(rest, STR("\r\n")));
    return str_slice(rest, 3, rest.len - 2);
}

static const struct {
    const char *expression, *json, *csv;
} values[] = {
    {"true",                                                     "true",                                     "true"                                    },
    {"NULL",                                                     "null",                                     ""                                        },
    {"''",                                                       "\"\"",                                     "\"\""                                    },
    {"(-128)::TINYINT",                                          "-128",                                     "-128"                                    },
    {"32767::SMALLINT",                                          "32767",                                    "32767"                                   },
    {"-2147483648",                                              "-2147483648",                              "-2147483648"                             },
    {"255::UTINYINT",                                            "255",                                      "255"                                     },
    {"65535::USMALLINT",                                         "65535",                                    "65535"                                   },
    {"4294967295::UINTEGER",                                     "4294967295",                               "4294967295"                              },
    {"9007199254740992",                                         "9007199254740992",                         "9007199254740992"                        },
    {"9007199254740993",                                         "\"9007199254740993\"",                     "9007199254740993"                        },
    {"-9223372036854775808",                                     "\"-9223372036854775808\"",                 "-9223372036854775808"                    },
    {"18446744073709551615::UBIGINT",                            "\"18446744073709551615\"",                 "18446744073709551615"                    },
    {"170141183460469231731687303715884105727::HUGEINT",
     "\"170141183460469231731687303715884105727\"",                                                          "170141183460469231731687303715884105727" },
    {"(-170141183460469231731687303715884105728)::HUGEINT",
     "\"-170141183460469231731687303715884105728\"",                                                         "-170141183460469231731687303715884105728"},
    {"340282366920938463463374607431768211455::UHUGEINT",
     "\"340282366920938463463374607431768211455\"",                                                          "340282366920938463463374607431768211455" },
    {"5::HUGEINT",                                               "5",                                        "5"                                       },
    {"1.50::DECIMAL(4,2)",                                       "1.50",                                     "1.50"                                    },
    {"(-0.05)::DECIMAL(4,2)",                                    "-0.05",                                    "-0.05"                                   },
    {"99999.9::DECIMAL(9,1)",                                    "99999.9",                                  "99999.9"                                 },
    {"123456789012.345678::DECIMAL(18,6)",                       "\"123456789012.345678\"",                  "123456789012.345678"                     },
    {"0.00000000000000000000000000000000000001::DECIMAL(38,38)",
     "0.00000000000000000000000000000000000001",                                                             "0.00000000000000000000000000000000000001"},
    {"12345678901234567890123456789012345678::DECIMAL(38,0)",
     "\"12345678901234567890123456789012345678\"",                                                           "12345678901234567890123456789012345678"  },
    {"0.1::DOUBLE",                                              "0.1",                                      "0.1"                                     },
    {"1e0::DOUBLE",                                              "1.0",                                      "1.0"                                     },
    {"'-0'::DOUBLE",                                             "-0.0",                                     "-0.0"                                    },
    {"1e300",                                                    "1e+300",                                   "1e+300"                                  },
    {"5e-324",                                                   "4.94065645841247e-324",                    "4.94065645841247e-324"                   },
    {"0.1 + 0.2::DOUBLE",                                        "0.30000000000000004",                      "0.30000000000000004"                     },
    {"1234567.891::DOUBLE",                                      "1234567.891",                              "1234567.891"                             },
    {"0.1::FLOAT",                                               "0.1",                                      "0.1"                                     },
    {"16777216::FLOAT",                                          "16777216",                                 "16777216"                                },
    {"3.4028235e38::FLOAT",                                      "3.4028235e+38",                            "3.4028235e+38"                           },
    {"'nan'::DOUBLE",                                            "null",                                     "nan"                                     },
    {"'-inf'::FLOAT",                                            "null",                                     "-inf"                                    },
    {"DATE '2024-02-29'",                                        "\"2024-02-29\"",                           "2024-02-29"                              },
    {"DATE '0001-01-01'",                                        "\"0001-01-01\"",                           "0001-01-01"                              },
    {"DATE '-0044-03-15'",                                       "\"-0044-03-15\"",                          "-0044-03-15"                             },
    {"DATE '12024-01-01'",                                       "\"12024-01-01\"",                          "12024-01-01"                             },
    {"'infinity'::DATE",                                         "\"infinity\"",                             "infinity"                                },
    {"TIME '23:59:59.5'",                                        "\"23:59:59.5\"",                           "23:59:59.5"                              },
    {"TIMESTAMP '2024-01-02 03:04:05.678'",                      "\"2024-01-02T03:04:05.678Z\"",
     "2024-01-02 03:04:05.678"                                                                                                                         },
    {"TIMESTAMP '1969-12-31 23:59:59.999999'",                   "\"1969-12-31T23:59:59.999999Z\"",
     "1969-12-31 23:59:59.999999"                                                                                                                      },
    {"TIMESTAMPTZ '2024-01-02 03:04:05+02'",                     "\"2024-01-02T01:04:05Z\"",                 "2024-01-02 01:04:05+00"                  },
    {"TIMESTAMP_NS '2024-01-02 03:04:05.000000001'",             "\"2024-01-02T03:04:05.000000001Z\"",
     "2024-01-02 03:04:05.000000001"                                                                                                                   },
    {"TIMESTAMP_S '2024-01-02 03:04:05'",                        "\"2024-01-02T03:04:05Z\"",                 "2024-01-02 03:04:05"                     },
    {"TIMESTAMP_MS '1960-01-02 03:04:05.5'",                     "\"1960-01-02T03:04:05.5Z\"",               "1960-01-02 03:04:05.5"                   },
    {"'-infinity'::TIMESTAMP",                                   "\"-infinity\"",                            "-infinity"                               },
    {"INTERVAL '1 year 2 months 3 days 04:05:06.5'",             "\"P1Y2M3DT4H5M6.500000S\"",
     "P1Y2M3DT4H5M6.500000S"                                                                                                                           },
    {"INTERVAL 0 SECONDS",                                       "\"PT0S\"",                                 "PT0S"                                    },
    {"INTERVAL '-90 minutes'",                                   "\"PT-1H-30M\"",                            "PT-1H-30M"                               },
    {"'550e8400-e29b-41d4-a716-446655440000'::UUID",             "\"550e8400-e29b-41d4-a716-446655440000\"",
     "550e8400-e29b-41d4-a716-446655440000"                                                                                                            },
    {"'\\x00\\xFF\\x10a'::BLOB",                                 "\"AP8QYQ==\"",                             "AP8QYQ=="                                },
    {"''::BLOB",                                                 "\"\"",                                     ""                                        },
    {"'b'::ENUM('a', 'b')",                                      "\"b\"",                                    "b"                                       },
    {"[1, NULL, 3]",                                             "[1,null,3]",                               "\"[1,null,3]\""                          },
    {"[[1], [], NULL]",                                          "[[1],[],null]",                            "\"[[1],[],null]\""                       },
    {"[1, 2]::FLOAT[2]",                                         "[1.0,2.0]",                                "\"[1.0,2.0]\""                           },
    {"{'a': 1, 'b c': ['x']}",                                   "{\"a\":1,\"b c\":[\"x\"]}",
     "\"{\"\"a\"\":1,\"\"b c\"\":[\"\"x\"\"]}\""                                                                                                       },
    {"MAP {'k': 1, 'l': NULL}",                                  "{\"k\":1,\"l\":null}",                     "\"{\"\"k\"\":1,\"\"l\"\":null}\""        },
    {"MAP {7: [1]}",                                             "{\"7\":[1]}",                              "\"{\"\"7\"\":[1]}\""                     },
    {"[{'a': MAP {'x': [DATE '2024-01-01']}}]",                  "[{\"a\":{\"x\":[\"2024-01-01\"]}}]",
     "\"[{\"\"a\"\":{\"\"x\"\":[\"\"2024-01-01\"\"]}}]\""                                                                                              },
    {"'a,b'",                                                    "\"a,b\"",                                  "\"a,b\""                                 },
    {"'say \"hi\"'",                                             "\"say \\\"hi\\\"\"",                       "\"say \"\"hi\"\"\""                      },
    {"E'two\\nlines'",                                           "\"two\\nlines\"",                          "\"two\nlines\""                          },
    {"'gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80'",                    "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\"",
     "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80"                                                                                                             },
    {"'longer than twelve bytes'",                               "\"longer than twelve bytes\"",             "longer than twelve bytes"                },
    {"'{\"a\": 1}'::JSON",                                       "\"{\\\"a\\\": 1}\"",                       "\"{\"\"a\"\": 1}\""                      },
};

TEST("each type has its one spelling in JSON") {
    for (size_t i = 0; i < COUNT(values); i++) {
        Str found = json_value(values[i].expression);
        if (!str_is(found, values[i].json))
            kit_fail(__FILE__, __LINE__, "%s is %.*s, not %s", values[i].expression, SHOW(found),
                     values[i].json);
    }
}

TEST("each type has its one spelling in CSV, and NULL and the empty string differ") {
    for (size_t i = 0; i < COUNT(values); i++) {
        Str found = csv_value(values[i].expression);
        if (!str_is(found, values[i].csv))
            kit_fail(__FILE__, __LINE__, "%s is %.*s, not %s", values[i].expression, SHOW(found),
                     values[i].csv);
    }
}

TEST("a type that is not sent says so and names the column") {
    OWNED(rows_close) Rows *rows = NULL;
    Query query = {.sql = STR("SELECT 1 a, '101'::BIT b")};
    CHECK(!query_open(open_engine(), &query, &rows, &err));
    CHECK(err.kind == LH_IMPOSSIBLE && strstr(err.message, "column 'b'"));
    CHECK(strstr(err.message, "VARCHAR"));
}

TEST("doubles and floats read back as the same bits") {
    static const char sql[] =
        "SELECT hash(n)::DOUBLE / 1e13 a, round((hash(n) % 1000000) / 7, 3)::DOUBLE b, "
        "(hash(n)::DOUBLE / 1e19)::FLOAT c FROM range(20000) t(n)";
    Taken taken = {.keep = true};
    OWNED(rows_close) Rows *rows = NULL;
    size_t count, compared = 0;
    write(sql, ROWS_CSV, 0, &taken);
    Str rest = text_str(&taken.text);
    str_until(&rest, '\n');
    CHECK_OK(engine_run(open_engine(), str_from(sql), NULL, NULL, &rows, &err));
    for (CHECK_OK(rows_next(rows, &count, &err)); count; CHECK_OK(rows_next(rows, &count, &err)))
        for (size_t i = 0; i < count; i++, compared++) {
            double a, b, c;
            CHECK(str_to_real(str_until(&rest, ','), &a) && a == rows_real(rows, 0, i));
            CHECK(str_to_real(str_until(&rest, ','), &b) && b == rows_real(rows, 1, i));
            CHECK(str_to_real(str_until(&rest, '\r'), &c) && (float)c == rows_real(rows, 2, i));
            str_until(&rest, '\n');
        }
    CHECK_INT(compared, 20000);
    text_close(&taken.text);
}

TEST("the JSON object is whole, with types as SQL spells them") {
    Taken taken = {.keep = true};
    OWNED(arena_close) Arena arena = {0};
    const Json *json;
    RowsWritten written = write("SELECT 1 AS \"a\"\"b\", {'x': 1.5, 'y z': [1]} s, MAP {1: 'a'} m, "
                                "'a'::ENUM('a') e, [1, 2]::INT[2] f, '1'::JSON j",
                                ROWS_JSON, 0, &taken);
    text_add_byte(&taken.text, '}');
    CHECK_OK(json_read(text_str(&taken.text), &arena, &json, &err));
    static const char *const types[] = {
        "INTEGER",
        "STRUCT(\"x\" DECIMAL(2,1), \"y z\" INTEGER[])",
        "MAP(INTEGER, VARCHAR)",
        "ENUM('a')",
        "INTEGER[2]",
        "JSON",
    };
    const Json *columns = json_get(json, "columns");
    CHECK_INT(columns->len, COUNT(types));
    for (size_t i = 0; i < COUNT(types); i++)
        CHECK_STR(json_get_text(&columns->items[i], "type", (Str){0}), types[i]);
    CHECK_STR(json_get_text(&columns->items[0], "name", (Str){0}), "a\"b");
    CHECK(written.rows == 1 && !written.truncated);
    text_close(&taken.text);
}

TEST("NDJSON has an object a line, CSV a quoted header; an empty result is well-formed") {
    Taken taken = {.keep = true};
    write("SELECT n, 'v' || n AS \"my, name\" FROM range(2) t(n)", ROWS_NDJSON, 0, &taken);
    CHECK_STR(text_str(&taken.text),
              "{\"n\":0,\"my, name\":\"v0\"}\n{\"n\":1,\"my, name\":\"v1\"}\n");
    text_clear(&taken.text);
    write("SELECT n, 'v' || n AS \"my, name\" FROM range(1) t(n)", ROWS_CSV, 0, &taken);
    CHECK_STR(text_str(&taken.text), "n,\"my, name\"\r\n0,v0\r\n");
    text_clear(&taken.text);
    write("SELECT 1 a WHERE false", ROWS_JSON, 0, &taken);
    CHECK_STR(text_str(&taken.text),
              "{\"columns\":[{\"name\":\"a\",\"type\":\"INTEGER\"}],\"rows\":[]");
    text_close(&taken.text);
}

TEST("a limit stops there and says whether there was more") {
    Taken taken = {.keep = true};
    RowsWritten written = write("FROM range(5000)", ROWS_NDJSON, 3000, &taken);
    CHECK(written.rows == 3000 && written.truncated);
    written = write("FROM range(5000)", ROWS_NDJSON, 5000, &taken);
    CHECK(written.rows == 5000 && !written.truncated);
    written = write("FROM range(5000)", ROWS_NDJSON, 5001, &taken);
    CHECK(written.rows == 5000 && !written.truncated);
    text_close(&taken.text);
}

static long rss_peak_kb(void) {
    char line[256];
    long kb = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %ld", &kb) == 1) break;
    if (file) fclose(file);
    return kb;
}

TEST("five million rows stream in pieces with bounded memory") {
    Taken taken = {0};
    write("SELECT 1", ROWS_CSV, 0, &taken);
    long before = rss_peak_kb();
    RowsWritten written =
        write("SELECT n, n * 1.5 AS x, 'row number ' || n AS t FROM range(5000000) t(n)", ROWS_CSV,
              0, &taken);
    CHECK_INT(written.rows, 5000000);
    CHECK(taken.bytes > 100000000 && taken.largest < 128 * 1024);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    if (rss_peak_kb() - before > 100 * 1024)
        kit_fail(__FILE__, __LINE__, "memory grew by %ld KiB", rss_peak_kb() - before);
#endif
    (void)before;
}

/* DuckDB must be closed before exit() takes the thread's own variables away. */
TEST("the engine closes") {
    engine_close(&engine);
    CHECK(engine == NULL);
}
