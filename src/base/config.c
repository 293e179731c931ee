#include "base/config.h"

#include "base/config_toml.h"
#include "base/file.h"
#include "base/owned.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define CONFIG_SIZE_MAX (1 << 20)
#define SECTIONS_MAX 64

struct Config {
    Arena arena;
    const Json *root;
    const char *path;
    Str asked[SECTIONS_MAX];
    size_t asked_count;
};

/* Outside of strings and comments TOML is ASCII, and the parser's tables of other characters have
 * holes in which its behaviour is undefined. So the text is parsed first with "!" in the place of
 * each such byte, which is an error wherever they would be one. */
static bool check_ascii(Str toml, char *why, size_t why_size) {
    OWNED(text_close) Text plain = {0};
    bool ascii = true;
    for (size_t i = 0; i < toml.len; i++) {
        bool beyond = (unsigned char)toml.data[i] >= 0x80;
        text_add_byte(&plain, beyond ? '!' : toml.data[i]);
        ascii = ascii && !beyond;
    }
    if (ascii) return true;
    char *json = config_toml_to_json(plain.data, plain.len, why, why_size);
    free(json);
    return json != NULL;
}

static bool config_parse(Config *config, Str toml, Err *err) {
    char why[256] = "";
    char *json = check_ascii(toml, why, sizeof why)
                     ? config_toml_to_json(toml.data, toml.len, why, sizeof why)
                     : NULL;
    if (!json) return err_set(err, LH_INVALID, "%s", why);
    bool ok = json_read(str_from(json), &config->arena, &config->root, err);
    free(json);
    return ok;
}

bool config_open(const char *path, Config **out, Err *err) {
    OWNED(config_close) Config *config = calloc(1, sizeof *config);
    if (!config) abort();
    if (path) {
        Bytes toml;
        config->path = arena_cstr(&config->arena, str_from(path));
        if (!file_read(path, CONFIG_SIZE_MAX, &config->arena, &toml, err)) return false;
        if (!config_parse(config, str_of(toml), err)) return err_while(err, "%s", path);
    }
    *out = TAKE(config);
    return true;
}

void config_close(Config **config) {
    if (!*config) return;
    arena_close(&(*config)->arena);
    free(*config);
    *config = NULL;
}

/* LAKEHOUSE_GATEWAY_PORT, for [gateway] port. */
static const char *environment(const char *section, const char *name) {
    char variable[128];
    int len = snprintf(variable, sizeof variable, "LAKEHOUSE_%s_%s", section, name);
    for (int i = 0; i < len && i < (int)sizeof variable; i++)
        variable[i] = (char)toupper((unsigned char)variable[i]);
    return getenv(variable);
}

/* A list or a table is written as JSON there. */
static bool set_by_environment(Config *config, const Option *option, const char *value, void *out,
                               Err *err) {
    Str text = arena_copy(&config->arena, str_from(value));
    if (option->type != LH_JSON) return option_set(option, text, out, err);
    const Json **field = (const Json **)((char *)out + option->offset);
    return json_read(text, &config->arena, field, err) || err_while(err, "'%s'", option->name);
}

bool config_section(Config *config, const char *section, const Option *options, void *out,
                    Err *err) {
    const Json *table = config_table(config, section);
    options_defaults(options, out);
    if (table && !options_read(options, table, out, err))
        return err_while(err, "%s: [%s]", config->path, section);
    for (const Option *option = options; option->name; option++) {
        const char *value = environment(section, option->name);
        if (value && !set_by_environment(config, option, value, out, err))
            return err_while(err, "environment");
    }
    return true;
}

const Json *config_table(Config *config, const char *section) {
    if (config->asked_count < SECTIONS_MAX)
        config->asked[config->asked_count++] = str_from(section);
    return json_get(config->root, section);
}

bool config_finish(Config *config, Err *err) {
    for (size_t i = 0; config->root && i < config->root->len; i++) {
        bool known = false;
        Str name = config->root->items[i].name;
        for (size_t j = 0; j < config->asked_count; j++) known |= str_equal(config->asked[j], name);
        if (!known)
            return err_set(err, LH_INVALID, "%s: no section is called [%.*s]", config->path,
                           SHOW(name));
    }
    return true;
}
