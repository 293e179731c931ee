#include "app/keys.h"
#include "kit/kit.h"

static Err err;
static Arena arena;

#define SHA_OF_ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define SHA_OF_X "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"

static bool read_keys(const char *json, AccessKeys *out) {
    const Json *list;
    CHECK_OK(json_read(str_from(json), &arena, &list, &err));
    return keys_read(list, &arena, out, &err);
}

TEST("a key is found by itself alone, with its scopes and its profile") {
    AccessKeys keys;
    CHECK_OK(read_keys("[{\"name\":\"a\",\"sha256\":\"" SHA_OF_ABC "\",\"scopes\":[\"read\"]},"
                       "{\"name\":\"b\",\"sha256\":\"" SHA_OF_X
                       "\",\"scopes\":[\"write\",\"read\"],\"profile\":\"hr\"}]",
                       &keys));
    const AccessKey *a = keys_find(&keys, STR("abc")), *b = keys_find(&keys, STR("x"));
    CHECK(a && b);
    CHECK_STR(a->name, "a");
    CHECK_INT(a->scopes, KEY_READ);
    CHECK_INT(a->profile.len, 0);
    CHECK_INT(b->scopes, KEY_READ | KEY_WRITE);
    CHECK_STR(b->profile, "hr");
    CHECK(!keys_find(&keys, STR("ab")) && !keys_find(&keys, STR("abcd")));
    CHECK(!keys_find(&keys, (Str){0}) && !keys_find(&keys, STR(SHA_OF_ABC)));
    arena_close(&arena);
}

TEST("no list means no keys") {
    AccessKeys keys;
    CHECK_OK(keys_read(NULL, &arena, &keys, &err));
    CHECK_INT(keys.len, 0);
    CHECK(!keys_find(&keys, STR("")));
    arena_close(&arena);
}

TEST("what is wrong with a key is said, and what stands in the place of its hash is not repeated") {
#define KEY(members) "[{\"name\":\"a\",\"sha256\":\"" SHA_OF_ABC "\"," members "}]"
    static const struct {
        const char *json, *says;
    } cases[] = {
        {"{\"a\":1}",                                                                      "must be a list"         },
        {"[\"lh_secret\"]",                                                                "number 1"               },
        {"[{\"name\":\"a\",\"sha256\":\"lh_secret\",\"scopes\":[\"read\"]}]",              "64 hexadecimal"         },
        {"[{\"name\":\"a\",\"sha256\":7,\"scopes\":[\"read\"]}]",                          "'sha256' must be a text"},
        {"[{\"name\":\"a\",\"key\":\"lh_secret\"}]",                                       "'key'"                  },
        {"[{\"name\":\"a b\",\"sha256\":\"" SHA_OF_ABC "\",\"scopes\":[\"read\"]}]",       "'name'"                 },
        {KEY("\"scopes\":[]"),                                                             "'scopes' is empty"      },
        {KEY("\"scopes\":\"read\""),                                                       "must be a list"         },
        {KEY("\"scopes\":[\"reed\"]"),                                                     "'reed'"                 },
        {KEY("\"scopes\":[1]"),                                                            "read, write and admin"  },
        {KEY("\"profile\":\"hr\""),                                                        "'scopes' is missing"    },
        {KEY("\"scopes\":[\"admin\"],\"profile\":\"hr\""),                                 "change that profile"    },
        {KEY("\"scopes\":[\"read\"],\"profile\":\"../x\""),                                "'profile'"              },
        {"[{\"name\":\"a\",\"sha256\":\"" SHA_OF_ABC "\",\"scopes\":[\"read\"]},"
         "{\"name\":\"a\",\"sha256\":\"" SHA_OF_X "\",\"scopes\":[\"read\"]}]",
         "twice"                                                                                                    },
        {"[{\"name\":\"a\",\"sha256\":\"" SHA_OF_ABC "\",\"scopes\":[\"read\"]},"
         "{\"name\":\"b\",\"sha256\":\"" SHA_OF_ABC "\",\"scopes\":[\"read\"]}]",
         "twice"                                                                                                    },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        AccessKeys keys;
        CHECK(!read_keys(cases[i].json, &keys));
        if (!strstr(err.message, cases[i].says)) kit_fail(__FILE__, __LINE__, "%s", err.message);
        CHECK(!strstr(err.message, "lh_"));
    }
    arena_close(&arena);
}

TEST("a new key is 256 random bits, and the lines beside it hold its hash and not the key") {
    OWNED(text_close) Text first = {0}, second = {0};
    const NewKey wanted = {STR("app"), STR("read, write"), STR("hr")};
    CHECK_OK(key_make(&wanted, &first, &err));
    CHECK_OK(key_make(&wanted, &second, &err));
    Str rest = text_str(&first), secret = str_until(&rest, '\n'), other = text_str(&second);
    CHECK_INT(secret.len, 3 + 64);
    CHECK(str_starts(secret, STR("lh_")) && !str_starts(other, secret));
    size_t at;
    CHECK(!str_find(rest, str_slice(secret, 3, 20), &at));
    uint8_t hash[SHA256_DIGEST_LENGTH];
    char hex[2 * sizeof hash + 1];
    SHA256((const uint8_t *)secret.data, secret.len, hash);
    for (size_t i = 0; i < sizeof hash; i++) snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    Str lines = arena_print(&arena,
                            "\n[[auth.keys]]\nname = \"app\"\nsha256 = \"%s\"\n"
                            "scopes = [\"read\", \"write\"]\nprofile = \"hr\"\n",
                            hex);
    CHECK(str_equal(rest, lines));
    arena_close(&arena);
}

TEST("no key is made of a name, scopes or a profile that the configuration would refuse") {
    static const NewKey cases[] = {
        {STR(""),      STR("read"),       STR("")  },
        {STR("a\"\n"), STR("read"),       STR("")  },
        {STR("a"),     STR(""),           STR("")  },
        {STR("a"),     STR("read,,"),     STR("")  },
        {STR("a"),     STR("everything"), STR("")  },
        {STR("a"),     STR("admin"),      STR("hr")},
        {STR("a"),     STR("read"),       STR("/") },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        OWNED(text_close) Text text = {0};
        if (key_make(&cases[i], &text, &err)) kit_fail(__FILE__, __LINE__, "case %zu", i);
        CHECK_INT(err.kind, LH_INVALID);
        CHECK_INT(text.len, 0);
    }
}
