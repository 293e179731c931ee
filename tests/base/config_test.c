#include "kit/kit.h"

#include <stdlib.h>

typedef struct Gateway {
    Str host;
    int64_t port;
} Gateway;

static const Option options[] = {
    {"host",       LH_TEXT, AT(Gateway, host), "127.0.0.1", "address"},
    {"port",  LH_INT, AT(Gateway, port), "3100", "port", .max = 65535},
    {0}
};
static Err err;

static Config *open_config(const char *toml) {
    char path[128];
    Config *config = NULL;
    snprintf(path, sizeof path, "%s/lakehouse.toml", kit_dir());
    CHECK_OK(file_replace(path, bytes_of(str_from(toml)), &err));
    return config_open(path, &config, &err) ? config : NULL;
}

TEST("a section is read over its fallbacks and the environment over the section") {
    OWNED(config_close) Config *config = open_config("[gateway]\nport = 8080\n");
    Gateway gateway = {0};
    CHECK(config != NULL);
    CHECK_OK(config_section(config, "gateway", options, &gateway, &err));
    CHECK_STR(gateway.host, "127.0.0.1");
    CHECK_INT(gateway.port, 8080);
    setenv("LAKEHOUSE_GATEWAY_PORT", "9090", 1);
    CHECK_OK(config_section(config, "gateway", options, &gateway, &err));
    CHECK_INT(gateway.port, 9090);
    setenv("LAKEHOUSE_GATEWAY_PORT", "many", 1);
    CHECK(!config_section(config, "gateway", options, &gateway, &err));
    unsetenv("LAKEHOUSE_GATEWAY_PORT");
    CHECK_OK(config_finish(config, &err));
}

TEST("a list of the environment is JSON") {
    static const Option lists[] = {
        {"keys", LH_JSON, 0, NULL, "a list"},
        {0    }
    };
    OWNED(config_close) Config *config = open_config("[auth]\nkeys = [1]\n");
    const Json *list = NULL;
    setenv("LAKEHOUSE_AUTH_KEYS", "[\"a\", {\"b\": 2}]", 1);
    CHECK_OK(config_section(config, "auth", lists, &list, &err));
    CHECK_INT(list->len, 2);
    CHECK_STR(list->items[0].text, "a");
    setenv("LAKEHOUSE_AUTH_KEYS", "a, b", 1);
    CHECK(!config_section(config, "auth", lists, &list, &err));
    CHECK(strstr(err.message, "'keys'"));
    unsetenv("LAKEHOUSE_AUTH_KEYS");
    CHECK_OK(config_section(config, "auth", lists, &list, &err));
    CHECK_INT(list->items[0].integer, 1);
}

TEST("a typo in a key or a section is refused") {
    OWNED(config_close) Config *config = open_config("[gateway]\nprot = 1\n[gatway]\n");
    Gateway gateway = {0};
    CHECK(!config_section(config, "gateway", options, &gateway, &err));
    CHECK(strstr(err.message, "did you mean 'port'?"));
    CHECK(!config_finish(config, &err));
    CHECK(strstr(err.message, "[gatway]"));
}

TEST("a malformed file names the line") {
    CHECK(!open_config("[gateway]\nport = = 1\n"));
    CHECK(strstr(err.message, "line 2"));
}

TEST("characters beyond ASCII stand in quoted text and comments only") {
    static const struct {
        const char *toml, *says;
    } cases[] = {
        {"# caf\xc3\xa9\na = \"caf\xc3\xa9 \\\" \xc3\xa9\" # \xc3\xa9\n", NULL    },
        {"a = '''\n\xc3\xa9 ' \xc3\xa9\n'''\nb = \"\"\"\xc3\xa9\"\"\"\n", NULL    },
        {"a = \"x\"\n\nb = 0\xcf\xbf\n",                                  "line 3"},
        {"caf\xc3\xa9 = 1\n",                                             "line 1"},
        {"a = '''x\ny'''\n\xc2\xa0z = 1\n",                               "line 3"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        OWNED(config_close) Config *config = NULL;
        char path[160];
        snprintf(path, sizeof path, "%s/ascii.toml", kit_dir());
        CHECK_OK(file_replace(path, bytes_of(str_from(cases[i].toml)), &err));
        bool ok = config_open(path, &config, &err);
        if (!cases[i].says) CHECK_OK(ok);
        if (cases[i].says) CHECK(!ok && strstr(err.message, cases[i].says));
    }
}

TEST("what is not TOML at all is refused, not asserted") {
    static const char *const texts[] = {"\n\n[&",   "[",         "a",    "= 1",
                                        "\xff\xfe", "a = [1, 2", "a = '"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        OWNED(config_close) Config *config = NULL;
        char path[160];
        snprintf(path, sizeof path, "%s/bad.toml", kit_dir());
        CHECK_OK(file_replace(path, bytes_of(str_from(texts[i])), &err));
        CHECK(!config_open(path, &config, &err));
        CHECK_INT(err.kind, LH_INVALID);
    }
}
