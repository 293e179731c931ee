#include "catalog/type.h"
#include "kit/kit.h"

static Err err;

static Str hex(Str bytes, Arena *arena) {
    OWNED(text_close) Text text = {0};
    for (size_t i = 0; i < bytes.len; i++) text_print(&text, "%02x", (uint8_t)bytes.data[i]);
    return arena_copy(arena, text_str(&text));
}

/* The bound as hexadecimal digits; "none" when there is none. */
static Str bound(const char *sql, Str text, bool upper, Arena *arena) {
    OWNED(text_close) Text out = {0};
    Type type;
    CHECK_OK(type_from_sql(str_from(sql), arena, &type, &err));
    return bound_from_text(&type, text, upper, &out) ? hex(text_str(&out), arena) : STR("none");
}

TEST("each type has the spec's single-value bytes") {
    OWNED(arena_close) Arena arena = {0};
    const struct {
        const char *type, *text, *bytes;
    } cases[] = {
        {"BOOLEAN",      "1",                        "01"              },
        {"BOOLEAN",      "false",                    "00"              },
        {"INTEGER",      "-2",                       "feffffff"        },
        {"BIGINT",       "34",                       "2200000000000000"},
        {"FLOAT",        "1.5",                      "0000c03f"        },
        {"DOUBLE",       "-1",                       "000000000000f0bf"},
        {"DATE",         "2017-11-16",               "4e440000"        },
        {"DATE",         "1969-12-31",               "ffffffff"        },
        {"TIME",         "22:31:08",                 "008307e012000000"},
        {"TIMESTAMP",    "1970-01-01 00:00:01.5",    "60e3160000000000"},
        {"TIMESTAMPTZ",  "1970-01-01 00:00:01.5+00", "60e3160000000000"},
        {"DECIMAL(9,2)", "14.20",                    "058c"            },
        {"DECIMAL(9,2)", "-14.2",                    "fa74"            },
        {"DECIMAL(9,2)", "1.28",                     "0080"            },
        {"DECIMAL(9,2)", "-1.28",                    "80"              },
        {"DECIMAL(9,2)", "0",                        "00"              },
        {"VARCHAR",      "iceberg",                  "69636562657267"  },
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_STR(bound(cases[i].type, str_from(cases[i].text), false, &arena), cases[i].bytes);
}

TEST("a zero is below as -0 and above as +0, whatever sign was seen first") {
    OWNED(arena_close) Arena arena = {0};
    CHECK_STR(bound("FLOAT", STR("0.0"), false, &arena), "00000080");
    CHECK_STR(bound("FLOAT", STR("-0.0"), true, &arena), "00000000");
    CHECK_STR(bound("DOUBLE", STR("0"), false, &arena), "0000000000000080");
}

TEST("long text is cut at 16 code points: below as it is, above with the last one grown") {
    OWNED(arena_close) Arena arena = {0};
    Str text = STR("abcdefghijklmnopq");
    CHECK_STR(bound("VARCHAR", text, false, &arena), "6162636465666768696a6b6c6d6e6f70");
    CHECK_STR(bound("VARCHAR", text, true, &arena), "6162636465666768696a6b6c6d6e6f71");
    /* sixteen letters fit and are kept as they are */
    CHECK_STR(bound("VARCHAR", STR("abcdefghijklmnop"), true, &arena),
              "6162636465666768696a6b6c6d6e6f70");
    /* U+D7FF grows over the surrogates; U+10FFFF cannot grow, so that the one before does */
    CHECK_STR(bound("VARCHAR", STR("aaaaaaaaaaaaaaa\xed\x9f\xbfz"), true, &arena),
              "616161616161616161616161616161ee8080");
    CHECK_STR(bound("VARCHAR", STR("aaaaaaaaaaaaaab\xf4\x8f\xbf\xbfz"), true, &arena),
              "616161616161616161616161616163");
    CHECK_STR(bound("VARCHAR",
                    STR("\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf"
                        "\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf"
                        "\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf"
                        "\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf\xf4\x8f\xbf\xbf!"),
                    true, &arena),
              "none");
}

TEST("what is not surely right gives no bound") {
    OWNED(arena_close) Arena arena = {0};
    const struct {
        const char *type, *text;
    } cases[] = {
        {"DATE",         "0044-03-15 (BC)"                     },
        {"DATE",         "infinity"                            },
        {"TIMESTAMP",    "infinity"                            },
        {"TIMESTAMPTZ",  "2020-01-01 00:00:00+05"              },
        {"TIMESTAMP",    "2020-01-01"                          },
        {"INTEGER",      "3000000000"                          },
        {"BIGINT",       ""                                    },
        {"BIGINT",       "1x"                                  },
        {"DOUBLE",       "nan"                                 },
        {"DECIMAL(9,2)", "1.234"                               },
        {"DECIMAL(9,2)", "1.2.3"                               },
        {"VARCHAR",      "\xff"                                },
        {"BLOB",         "ab"                                  },
        {"UUID",         "00000000-0000-4000-8000-000000000000"},
        {"BOOLEAN",      "maybe"                               },
        {"TIME",         "25:00:00"                            }
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_STR(bound(cases[i].type, str_from(cases[i].text), true, &arena), "none");
}
