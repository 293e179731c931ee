#include "kit/kit.h"
#include "storage/secrets.h"

#include <stdlib.h>
#include <unistd.h>

static Err err;

static Secrets *open_json(const char *json, const char *config_path) {
    static Arena arena;
    const Json *table = NULL;
    Secrets *secrets = NULL;
    arena_close(&arena);
    CHECK_OK(json_read(str_from(json), &arena, &table, &err));
    CHECK_OK(secrets_open(table, config_path, &secrets, &err));
    return secrets;
}

static void file_put(const char *path, const char *text) {
    CHECK_OK(file_replace(path, bytes_of(str_from(text)), &err));
}

TEST("a table gives its pair, with a token when it has one") {
    OWNED(secrets_close)
    Secrets *secrets = open_json("{\"a\":{\"access_key_id\":\"AK\",\"secret_access_key\":\"SK\"},"
                                 "\"b\":{\"access_key_id\":\"AK\",\"secret_access_key\":\"SK\","
                                 "\"session_token\":\"T\"}}",
                                 NULL);
    KeyPair a, b;
    CHECK_OK(secrets_get(secrets, STR("a"), &a, &err));
    CHECK_OK(secrets_get(secrets, STR("b"), &b, &err));
    CHECK_STR(str_from(a.access_key_id), "AK");
    CHECK_STR(str_from(a.secret_access_key), "SK");
    CHECK_STR(str_from(a.session_token), "");
    CHECK_STR(str_from(b.session_token), "T");
    CHECK(a.generation && b.generation && a.generation != b.generation);
}

TEST("what is malformed is refused, and the message holds no secret") {
    static const char *const tables[] = {
        "[]",
        "{\"a\":3}",
        "{\"a\":{}}",
        "{\"a\":{\"access_key_id\":\"hush\"}}",
        "{\"a\":{\"secret_access_key\":\"hush\"}}",
        "{\"a\":{\"access_key_id\":\"hush\",\"secret_access_key\":\"hush hush\"}}",
        "{\"a\":{\"access_key_id\":\"hush\",\"secret_access_key\":\"hu\\nsh\"}}",
        "{\"a\":{\"access_key_id\":\"hush\",\"secret_access_key\":\"hush\",\"file\":\"f\"}}",
        "{\"a\":{\"file\":\"f\",\"env\":\"E\"}}",
        "{\"a\":{\"secret_acess_key\":\"hush\"}}",
        "{\"a\":{\"session_token\":\"hush\"}}",
    };
    for (size_t i = 0; i < COUNT(tables); i++) {
        OWNED(arena_close) Arena arena = {0};
        Secrets *secrets = NULL;
        const Json *table = NULL;
        CHECK_OK(json_read(str_from(tables[i]), &arena, &table, &err));
        CHECK(!secrets_open(table, NULL, &secrets, &err));
        CHECK_INT(err.kind, LH_INVALID);
        CHECK(!strstr(err.message, "hush"));
    }
}

TEST("what is missing is named: the table, the variable, the file, the key in it") {
    const char *dir = kit_dir();
    char json[400], path[256];
    snprintf(path, sizeof path, "%s/half", dir);
    file_put(path, "aws_access_key_id = AK\n");
    snprintf(json, sizeof json,
             "{\"gone\":{\"file\":\"%s/gone\"},\"half\":{\"file\":\"%s\"},"
             "\"env\":{\"env\":\"NOBODY_SET\"}}",
             dir, path);
    OWNED(secrets_close) Secrets *secrets = open_json(json, NULL);
    static const char *const cases[][2] = {
        {"other",          "[secrets.other]"         },
        {"env:NOBODY_SET", "NOBODY_SET_ACCESS_KEY_ID"},
        {"env:",           "prefix"                  },
        {"env:A B",        "prefix"                  },
        {"env",            "NOBODY_SET_ACCESS_KEY_ID"},
        {"gone",           "/gone'"                  },
        {"half",           "'secret_access_key'"     },
        {"",               "[secrets.]"              },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        KeyPair pair;
        err = (Err){0};
        CHECK(!secrets_get(secrets, str_from(cases[i][0]), &pair, &err));
        CHECK_INT(err.kind, LH_INVALID);
        CHECK_STR(str_from(err_word(&err)), "unknown_secret");
        if (!strstr(err.message, cases[i][1])) kit_fail(__FILE__, __LINE__, "%s", err.message);
    }
}

TEST("variables of the environment give a pair, by reference and by table") {
    OWNED(secrets_close) Secrets *secrets = open_json("{\"a\":{\"env\":\"KIT_S3\"}}", NULL);
    KeyPair one, two;
    setenv("KIT_S3_ACCESS_KEY_ID", "AK", 1);
    setenv("KIT_S3_SECRET_ACCESS_KEY", "SK", 1);
    CHECK_OK(secrets_get(secrets, STR("env:KIT_S3"), &one, &err));
    CHECK_OK(secrets_get(secrets, STR("a"), &two, &err));
    CHECK_STR(str_from(one.secret_access_key), "SK");
    CHECK(one.generation == two.generation);
}

TEST("a file is read in both spellings, of sections only [default]") {
    static const char *const texts[] = {
        "access_key_id = AK\nsecret_access_key = SK\n",
        "# note\r\n; note\r\n[default]\r\naws_access_key_id=AK\r\naws_secret_access_key=SK\r\n",
        "[other]\naws_access_key_id = X\naws_secret_access_key = Y\n[default]\n"
        "aws_access_key_id = AK\naws_secret_access_key = \"SK\"\n[more]\naws_access_key_id = Z",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        char path[256], json[300];
        KeyPair pair;
        snprintf(path, sizeof path, "%s/keys", kit_dir());
        snprintf(json, sizeof json, "{\"a\":{\"file\":\"%s\"}}", path);
        file_put(path, texts[i]);
        OWNED(secrets_close) Secrets *secrets = open_json(json, NULL);
        CHECK_OK(secrets_get(secrets, STR("a"), &pair, &err));
        CHECK_STR(str_from(pair.access_key_id), "AK");
        CHECK_STR(str_from(pair.secret_access_key), "SK");
    }
}

TEST("a changed file gives the new pair within a second, a broken or missing one keeps the old") {
    char path[256], json[300];
    KeyPair one, two, three, four;
    snprintf(path, sizeof path, "%s/keys", kit_dir());
    snprintf(json, sizeof json, "{\"a\":{\"file\":\"%s\"}}", path);
    file_put(path, "access_key_id=A1\nsecret_access_key=S1\n");
    OWNED(secrets_close) Secrets *secrets = open_json(json, NULL);
    CHECK_OK(secrets_get(secrets, STR("a"), &one, &err));
    file_put(path, "access_key_id=A2\nsecret_access_key=S2\n");
    usleep(1050000);
    CHECK_OK(secrets_get(secrets, STR("a"), &two, &err));
    CHECK_STR(str_from(two.access_key_id), "A2");
    CHECK(two.generation != one.generation);
    CHECK(unlink(path) == 0);
    usleep(1050000);
    CHECK_OK(secrets_get(secrets, STR("a"), &three, &err));
    CHECK(three.generation == two.generation);
    file_put(path, "access_key_id=A3\nsecret_access_key=S3\n");
    usleep(1050000);
    CHECK_OK(secrets_get(secrets, STR("a"), &four, &err));
    CHECK_STR(str_from(four.secret_access_key), "S3");
}

TEST("a changed configuration gives new pairs and tables, a broken one keeps the old") {
    char path[256];
    KeyPair pair;
    snprintf(path, sizeof path, "%s/lakehouse.toml", kit_dir());
    file_put(path, "[secrets.a]\naccess_key_id = \"A1\"\nsecret_access_key = \"S1\"\n");
    OWNED(secrets_close)
    Secrets *secrets =
        open_json("{\"a\":{\"access_key_id\":\"A1\",\"secret_access_key\":\"S1\"}}", path);
    file_put(path, "[secrets.a]\naccess_key_id = \"A2\"\nsecret_access_key = \"S2\"\n"
                   "[secrets.b]\naccess_key_id = \"B\"\nsecret_access_key = \"SB\"\n");
    usleep(1050000);
    CHECK_OK(secrets_get(secrets, STR("a"), &pair, &err));
    CHECK_STR(str_from(pair.access_key_id), "A2");
    CHECK_OK(secrets_get(secrets, STR("b"), &pair, &err));
    file_put(path, "[secrets.a]\naccess_key_id = \n");
    usleep(1050000);
    CHECK_OK(secrets_get(secrets, STR("b"), &pair, &err));
    CHECK_STR(str_from(pair.access_key_id), "B");
}
