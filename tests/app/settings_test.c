#include "app/settings.h"
#include "kit/kit.h"

#include <stdlib.h>

static Err err;
static Arena arena;
static Config *config;

static void forget(void) {
    config_close(&config);
    arena_close(&arena);
}

static bool read_settings(const AppOptions *options, Settings *out) {
    config_close(&config);
    return settings_read(options, &config, &arena, out, &err);
}

static Str write_config(const char *text) {
    static char path[128];
    snprintf(path, sizeof path, "%s/lakehouse.toml", kit_dir());
    CHECK_OK(file_replace(path, bytes_of(str_from(text)), &err));
    return str_from(path);
}

TEST("without a file there are primary and rescue beneath ./data, on the loopback address") {
    Settings settings;
    CHECK_OK(read_settings(&(AppOptions){0}, &settings));
    CHECK_INT(settings.bucket_count, 2);
    CHECK_STR(settings.buckets[0].root, "data/primary");
    CHECK_STR(settings.buckets[1].root, "data/rescue");
    CHECK_STR(settings.http.host, "127.0.0.1");
    CHECK_INT(settings.http.port, 3100);
    forget();
}

TEST("the command line wins over the environment, which wins over the file") {
    Settings settings;
    Str path =
        write_config("[gateway]\nport = 1\nconnections_max = 7\n[storage]\ndata_dir = \"/f\"\n");
    setenv("LAKEHOUSE_GATEWAY_PORT", "2", 1);
    CHECK_OK(read_settings(&(AppOptions){.config_path = path}, &settings));
    CHECK_INT(settings.http.port, 2);
    CHECK_INT(settings.http.connections_max, 7);
    AppOptions options = {.config_path = path, .listen = STR("[::1]:3"), .data_dir = STR("/c")};
    CHECK_OK(read_settings(&options, &settings));
    unsetenv("LAKEHOUSE_GATEWAY_PORT");
    CHECK_INT(settings.http.port, 3);
    CHECK_STR(settings.http.host, "::1");
    CHECK_STR(settings.storage.data_dir, "/c");
    forget();
}

TEST("buckets of the file join the two that are always there, and may give these a root") {
    Settings settings;
    Str path = write_config("[buckets.primary]\nroot = \"/p\"\n[buckets.archive]\nroot = \"/a\"\n");
    CHECK_OK(read_settings(&(AppOptions){.config_path = path}, &settings));
    CHECK_INT(settings.bucket_count, 3);
    CHECK_STR(settings.buckets[0].name, "archive");
    CHECK_STR(settings.buckets[1].root, "/p");
    CHECK_STR(settings.storage.rescue_bucket, "rescue");
    forget();
}

#define KEY_LINES                                                                                  \
    "[[auth.keys]]\nname = \"a\"\nscopes = [\"read\"]\nsha256 = "                                  \
    "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\n"

TEST("with a key, of the file or of the environment, other machines may connect; without one none "
     "may") {
    Settings settings;
    AppOptions open = {.listen = STR("0.0.0.0:1")};
    CHECK(!read_settings(&open, &settings));
    CHECK_INT(err.kind, LH_DENIED);
    CHECK(strstr(err.message, "lakehouse key new"));
    open.config_path = write_config(KEY_LINES);
    CHECK_OK(read_settings(&open, &settings));
    CHECK_INT(settings.keys.len, 1);
    CHECK_STR(settings.keys.items[0].name, "a");
    CHECK(!settings.local);
    setenv("LAKEHOUSE_AUTH_KEYS", "[]", 1); /* wins over the file */
    CHECK(!read_settings(&open, &settings));
    setenv("LAKEHOUSE_AUTH_KEYS", "[{", 1);
    CHECK(!read_settings(&open, &settings));
    unsetenv("LAKEHOUSE_AUTH_KEYS");
    CHECK(strstr(err.message, "'keys'"));
    forget();
}

TEST("what is misspelled, out of range or open to others is refused by name") {
    static const struct {
        const char *toml, *listen, *says;
    } cases[] = {
        {"[gateway]\nprot = 1\n",            "",                "'port'"             },
        {"[gatway]\nport = 1\n",             "",                "[gatway]"           },
        {"[gateway]\nport = 70000\n",        "",                "'port'"             },
        {"[query]\nthreads = \"two\"\n",     "",                "'threads'"          },
        {"[log]\nlevel = \"loud\"\n",        "",                "'level'"            },
        {"[buckets.b]\nbackend = \"ftp\"\n", "",                "[buckets.b]"        },
        {"[gateway]\nhost = \"0.0.0.0\"\n",  "",                "127.0.0.1"          },
        {"[[auth.keys]]\nnam = \"a\"\n",     "",                "'name'"             },
        {"[auth]\nkey = \"a\"\n",            "",                "'keys'"             },
        {"[gateway]\ntls_cert = \"/c\"\n",   "",                "tls_key is not set" },
        {"[gateway]\ntls_key = \"/k\"\n",    "",                "tls_cert is not set"},
        {"",                                 "nowhere",         "HOST:PORT"          },
        {"",                                 "127.0.0.1:99999", "HOST:PORT"          },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        Settings settings;
        AppOptions options = {.config_path = write_config(cases[i].toml),
                              .listen = str_from(cases[i].listen)};
        CHECK(!read_settings(&options, &settings));
        if (!strstr(err.message, cases[i].says)) kit_fail(__FILE__, __LINE__, "%s", err.message);
    }
    forget();
}

TEST("the template names every section, all of it commented, and reads as a configuration") {
    char path[160];
    Settings settings;
    Bytes text;
    snprintf(path, sizeof path, "%s/template.toml", kit_dir());
    FILE *file = fopen(path, "w");
    CHECK(file);
    app_config_template(file);
    fclose(file);
    CHECK_OK(file_read(path, 1 << 20, &arena, &text, &err));
    for (const char *const *section =
             (const char *const[]){"[gateway]", "[[auth.keys]]", "[storage]", "[query]", "[ai]",
                                   "[log]", NULL};
         *section; section++)
        CHECK(strstr((const char *)text.data, *section));
    CHECK_OK(read_settings(&(AppOptions){.config_path = str_from(path)}, &settings));
    forget();
}
