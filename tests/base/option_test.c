#include "kit/kit.h"

typedef struct Search {
    Str index, mode;
    int64_t k;
    double floor;
    bool exact;
    const Json *vector;
} Search;

static const Option options[] = {
    {"index",    LH_TEXT, AT(Search, index), REQUIRED, "index to search"},
    {"mode", LH_TEXT, AT(Search, mode), "vector", "how", .choices = "vector|text|hybrid"},
    {"k",  LH_INT, AT(Search, k), "10", "hits", .min = 1, .max = 100},
    {"floor",          LH_REAL, AT(Search, floor), NULL, "lowest score"},
    {"exact",   LH_FLAG, AT(Search, exact), "false", "scan all"},
    {"vector",     LH_JSON, AT(Search, vector), NULL, "the query"},
    {0    }
};

static Err err;

static bool read_body(const char *body, Search *out) {
    static Arena arena;
    const Json *json;
    *out = (Search){0};
    CHECK_OK(json_read(str_from(body), &arena, &json, &err));
    return options_read(options, json, out, &err);
}

TEST("members land in their fields and the rest take their fallbacks") {
    Search search;
    CHECK_OK(read_body("{\"index\":\"a\",\"floor\":1,\"vector\":[1,2]}", &search));
    CHECK_STR(search.index, "a");
    CHECK_STR(search.mode, "vector");
    CHECK_INT(search.k, 10);
    CHECK(search.floor == 1 && !search.exact && search.vector->len == 2);
}

TEST("an unknown member is refused with the nearest name") {
    Search search;
    CHECK(!read_body("{\"index\":\"a\",\"exat\":true}", &search));
    CHECK(err.kind == LH_INVALID && !strcmp(err_word(&err), "unknown_field"));
    CHECK(strstr(err.message, "did you mean 'exact'?"));
}

TEST("a missing member, a wrong type, a value out of bounds and a wrong choice each say what") {
    Search search;
    CHECK(!read_body("{}", &search) && strstr(err.message, "'index' is missing"));
    CHECK(!read_body("{\"index\":null}", &search) && strstr(err.message, "missing"));
    CHECK(!read_body("{\"index\":3}", &search) &&
          strstr(err.message, "must be a text, not an int"));
    CHECK(!read_body("{\"index\":\"a\",\"k\":1.5}", &search) && strstr(err.message, "'k'"));
    CHECK(!read_body("{\"index\":\"a\",\"k\":101}", &search) && strstr(err.message, "between"));
    CHECK(!read_body("{\"index\":\"a\",\"mode\":\"sql\"}", &search) &&
          strstr(err.message, "one of"));
    CHECK(!read_body("[]", &search) && strstr(err.message, "JSON object"));
}

TEST("a value written as text is checked the same way") {
    Search search = {0};
    CHECK_OK(option_set(option_find(options, STR("k")), STR("7"), &search, &err));
    CHECK_INT(search.k, 7);
    CHECK(!option_set(option_find(options, STR("k")), STR("seven"), &search, &err));
    CHECK(!option_set(option_find(options, STR("exact")), STR("maybe"), &search, &err));
    CHECK_INT(search.k, 7);
}
