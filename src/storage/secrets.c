/* Key pairs by name. What the configuration says is kept as a list of entries; an entry that names
 * a file keeps the pair that the file last gave and what the file looked like then (time, size,
 * inode), so that a look is one stat and a changed file is read again. Nothing that was read is
 * ever put into a message: errors of a file name the file and the line.
 *
 * One lock guards all of it; a look happens under it, so that a file is read once, not by all. */
#include "storage/secrets.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_SIZE_MAX (64u << 10)
#define ENV_PREFIX_MAX 128

typedef struct Entry {
    Str name, env;
    const char *file; /* NULL: not of a file */
    FileLook look;
    bool has_pair; /* `pair` was given by the configuration or by the file */
    KeyPair pair;
} Entry;

struct Secrets {
    pthread_mutex_t lock;
    const char *config_path; /* NULL: it came from no file */
    FileLook look;
    uint64_t salt; /* of generations, so that they say nothing about the keys */
    Entry *entries;
    size_t len;
    Arena arena; /* of `entries`, replaced with them */
};

/* A key pair as text, from wherever it came. */
typedef struct PairText {
    Str access_key_id, secret_access_key, session_token;
} PairText;

static bool text_put(char *out, size_t size, Str text, const char *what, const char *where,
                     Err *err) {
    if (text.len >= size)
        return err_code(err, LH_INVALID, "unknown_secret", "'%s' of %s is longer than %zu bytes",
                        what, where, size - 1);
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] <= ' ' || text.data[i] >= 0x7f)
            return err_code(err, LH_INVALID, "unknown_secret",
                            "'%s' of %s holds a byte that no key has", what, where);
    if (text.len) memcpy(out, text.data, text.len);
    out[text.len] = 0;
    return true;
}

static uint64_t generation_of(const Secrets *secrets, const KeyPair *pair) {
    uint64_t parts[4] = {secrets->salt, hash64(bytes_of(str_from(pair->access_key_id))),
                         hash64(bytes_of(str_from(pair->secret_access_key))),
                         hash64(bytes_of(str_from(pair->session_token)))};
    uint64_t hash = hash64((Bytes){(const uint8_t *)parts, sizeof parts});
    return hash ? hash : 1;
}

static bool pair_make(const Secrets *secrets, const PairText *text, const char *where, KeyPair *out,
                      Err *err) {
    KeyPair pair = {0};
    if (text->access_key_id.len == 0 || text->secret_access_key.len == 0)
        return err_code(err, LH_INVALID, "unknown_secret", "%s has no '%s'", where,
                        text->access_key_id.len ? "secret_access_key" : "access_key_id");
    if (!text_put(pair.access_key_id, sizeof pair.access_key_id, text->access_key_id,
                  "access_key_id", where, err) ||
        !text_put(pair.secret_access_key, sizeof pair.secret_access_key, text->secret_access_key,
                  "secret_access_key", where, err) ||
        !text_put(pair.session_token, sizeof pair.session_token, text->session_token,
                  "session_token", where, err))
        return false;
    pair.generation = generation_of(secrets, &pair);
    *out = pair;
    return true;
}

/* Files. */

static Str unquoted(Str value) {
    bool quoted = value.len >= 2 && value.data[0] == '"' && value.data[value.len - 1] == '"';
    return quoted ? str_slice(value, 1, value.len - 1) : value;
}

static void line_read(Str line, PairText *out) {
    Str value = line, name = str_trim(str_until(&value, '='));
    if (str_starts(name, STR("aws_"))) name = str_slice(name, 4, name.len);
    value = unquoted(str_trim(value));
    if (str_is(name, "access_key_id")) out->access_key_id = value;
    if (str_is(name, "secret_access_key")) out->secret_access_key = value;
    if (str_is(name, "session_token")) out->session_token = value;
}

/* Of a file with sections, as AWS's own has them, [default] counts. */
static PairText file_parse(Str text) {
    PairText pair = {0};
    bool ours = true;
    while (text.len > 0) {
        Str line = str_trim(str_until(&text, '\n'));
        if (line.len == 0 || line.data[0] == '#' || line.data[0] == ';') continue;
        if (line.data[0] == '[')
            ours = str_is(line, "[default]");
        else if (ours)
            line_read(line, &pair);
    }
    return pair;
}

static bool pair_read(const Secrets *secrets, const char *path, KeyPair *out, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    char where[PATH_MAX + 16];
    Bytes data;
    Err why = {0};
    if (!file_read(path, FILE_SIZE_MAX, &arena, &data, &why))
        return err_code(err, LH_INVALID, "unknown_secret", "%s", why.message);
    PairText text = file_parse(str_of(data));
    snprintf(where, sizeof where, "the file '%s'", path);
    bool ok = pair_make(secrets, &text, where, out, err);
    explicit_bzero((void *)data.data, data.size);
    return ok;
}

static bool entry_refresh(const Secrets *secrets, Entry *entry, Err *err) {
    if (entry->has_pair && !file_look_is_due(&entry->look)) return true;
    if (!file_look_changed(&entry->look, entry->file) && entry->has_pair) return true;
    if (pair_read(secrets, entry->file, &entry->pair, err)) return entry->has_pair = true;
    entry->look = (FileLook){.at_us = entry->look.at_us}; /* read again at the next look */
    if (!entry->has_pair) return false;
    *err = (Err){0}; /* half a rotation: the old pair stays until the file is whole */
    return true;
}

/* The environment. */

static Str variable(const char *prefix, const char *suffix) {
    char name[ENV_PREFIX_MAX + 32];
    snprintf(name, sizeof name, "%s_%s", prefix, suffix);
    return str_from(getenv(name));
}

static bool env_read(const Secrets *secrets, Str prefix, KeyPair *out, Err *err) {
    char name[ENV_PREFIX_MAX + 1], where[ENV_PREFIX_MAX + 64];
    bool ok = prefix.len > 0 && prefix.len <= ENV_PREFIX_MAX;
    for (size_t i = 0; ok && i < prefix.len; i++) {
        char c = prefix.data[i];
        ok = c == '_' || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    }
    if (!ok)
        return err_code(err, LH_INVALID, "unknown_secret",
                        "a prefix of environment variables is 1 to %d letters, digits and '_'",
                        ENV_PREFIX_MAX);
    snprintf(name, sizeof name, "%.*s", SHOW(prefix));
    PairText text = {variable(name, "ACCESS_KEY_ID"), variable(name, "SECRET_ACCESS_KEY"),
                     variable(name, "SESSION_TOKEN")};
    if (text.access_key_id.len == 0 || text.secret_access_key.len == 0)
        return err_code(err, LH_INVALID, "unknown_secret",
                        "the environment variable '%s_%s' is not set", name,
                        text.access_key_id.len ? "SECRET_ACCESS_KEY" : "ACCESS_KEY_ID");
    snprintf(where, sizeof where, "the environment of '%s'", name);
    return pair_make(secrets, &text, where, out, err);
}

/* The configuration. */

typedef struct EntryText {
    PairText pair;
    Str file, env;
} EntryText;

static const Option entry_options[] = {
    {"access_key_id",          LH_TEXT, AT(EntryText, pair.access_key_id), NULL, "public half"},
    {"secret_access_key",            LH_TEXT, AT(EntryText, pair.secret_access_key), NULL, "secret half"},
    {"session_token",                    LH_TEXT, AT(EntryText, pair.session_token), NULL, "of temporary keys"},
    {"file",                        LH_TEXT, AT(EntryText, file), NULL, "file that has them"},
    {"env",      LH_TEXT, AT(EntryText, env), NULL, "prefix of variables that have them"},
    {0},
};

static bool entry_read(const Secrets *secrets, const Json *json, Arena *arena, Entry *out,
                       Err *err) {
    char where[PATH_MAX];
    EntryText text = {0};
    snprintf(where, sizeof where, "[secrets.%.*s]", (int)MIN(json->name.len, (size_t)100),
             json->name.data);
    if (json->kind != JSON_OBJECT)
        return err_code(err, LH_INVALID, "bad_secret", "%s is no table of keys", where);
    if (!options_read(entry_options, json, &text, err)) return err_while(err, "%s", where);
    bool keys = text.pair.access_key_id.len || text.pair.secret_access_key.len ||
                text.pair.session_token.len;
    if (keys + (text.file.len > 0) + (text.env.len > 0) != 1)
        return err_code(err, LH_INVALID, "bad_secret",
                        "%s takes a key pair, 'file' or 'env', and one of them alone", where);
    if (text.file.len >= PATH_MAX || memchr(text.file.data ? text.file.data : "", 0, text.file.len))
        return err_code(err, LH_INVALID, "bad_secret", "'file' of %s is no path", where);
    *out = (Entry){.name = arena_copy(arena, json->name), .env = arena_copy(arena, text.env)};
    if (text.file.len) out->file = arena_cstr(arena, text.file);
    if (!keys) return true;
    out->has_pair = true;
    return pair_make(secrets, &text.pair, where, &out->pair, err);
}

static Entry *entry_find(Entry *entries, size_t len, Str name) {
    for (size_t i = 0; i < len; i++)
        if (str_equal(entries[i].name, name)) return &entries[i];
    return NULL;
}

/* What a file gave before goes on counting while the same file is named. */
static void entry_keep(const Secrets *secrets, Entry *entry) {
    const Entry *old = entry_find(secrets->entries, secrets->len, entry->name);
    if (!entry->file || !old || !old->file || strcmp(old->file, entry->file) != 0) return;
    entry->look = old->look;
    entry->has_pair = old->has_pair;
    entry->pair = old->pair;
}

static bool table_read(Secrets *secrets, const Json *table, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    if (table && table->kind != JSON_OBJECT)
        return err_code(err, LH_INVALID, "bad_secret", "[secrets] is no table");
    size_t len = table ? table->len : 0;
    Entry *entries = arena_array(&arena, Entry, len + 1);
    for (size_t i = 0; i < len; i++) {
        if (!entry_read(secrets, &table->items[i], &arena, &entries[i], err)) return false;
        entry_keep(secrets, &entries[i]);
    }
    arena_close(&secrets->arena);
    secrets->arena = arena;
    arena = (Arena){0};
    secrets->entries = entries;
    secrets->len = len;
    return true;
}

/* The message of a configuration that is no TOML may quote it, so it is not passed on. */
static void config_refresh(Secrets *secrets) {
    OWNED(config_close) Config *config = NULL;
    Err err = {0};
    if (!secrets->config_path || !file_look_is_due(&secrets->look)) return;
    if (!file_look_changed(&secrets->look, secrets->config_path)) return;
    if (!config_open(secrets->config_path, &config, &err) ||
        !table_read(secrets, config_table(config, "secrets"), &err))
        log_warn("'%s' changed and its [secrets] cannot be read: the keys before it stay in use",
                 secrets->config_path);
}

/* The interface. */

bool secrets_open(const Json *table, const char *config_path, Secrets **out, Err *err) {
    OWNED(secrets_close) Secrets *secrets = calloc(1, sizeof *secrets);
    if (!secrets) abort();
    pthread_mutex_init(&secrets->lock, NULL);
    secrets->salt = random_u64();
    if (config_path) {
        secrets->config_path = strdup(config_path);
        if (!secrets->config_path) abort();
        file_look_changed(&secrets->look, config_path);
    }
    if (!table_read(secrets, table, err)) return false;
    *out = TAKE(secrets);
    return true;
}

void secrets_close(Secrets **closing) {
    Secrets *secrets = *closing;
    *closing = NULL;
    if (!secrets) return;
    for (size_t i = 0; i < secrets->len; i++)
        explicit_bzero(&secrets->entries[i].pair, sizeof(KeyPair));
    arena_close(&secrets->arena);
    pthread_mutex_destroy(&secrets->lock);
    free((char *)secrets->config_path);
    free(secrets);
}

static bool entry_get(Secrets *secrets, Str ref, KeyPair *out, Err *err) {
    Entry *entry = entry_find(secrets->entries, secrets->len, ref);
    if (!entry)
        return err_code(err, LH_INVALID, "unknown_secret",
                        "there is no table [secrets.%.*s] in the configuration",
                        (int)MIN(ref.len, (size_t)100), ref.data);
    if (entry->env.len) return env_read(secrets, entry->env, out, err);
    if (entry->file && !entry_refresh(secrets, entry, err)) return false;
    *out = entry->pair;
    return true;
}

bool secrets_get(Secrets *secrets, Str ref, KeyPair *out, Err *err) {
    if (str_starts(ref, STR("env:")))
        return env_read(secrets, str_slice(ref, 4, ref.len), out, err);
    pthread_mutex_lock(&secrets->lock);
    config_refresh(secrets);
    bool ok = entry_get(secrets, ref, out, err);
    pthread_mutex_unlock(&secrets->lock);
    return ok;
}
