/* Profiles as objects: written whole, read whole, and checked when they are written. */
#include "vector/profile.h"

#include <stdlib.h>
#include <string.h>

#define PROFILE_FORMAT 1
#define PROFILE_SIZE_MAX (1 << 20)
#define PROFILE_NAMES_MAX 1000 /* in one list */
#define PROFILE_COUNT_MAX 1000
#define SLOT_SIZE_MAX (1 << 16)

const Option profile_options[] = {
    {"id",                          LH_TEXT, AT(ProfileSpec, id), NULL, "the same as in the path"},
    {"ollama_name",               LH_TEXT, AT(ProfileSpec, ollama_name), REQUIRED, "the generator, by its name"},
    {"embed_model",                         LH_TEXT, AT(ProfileSpec, embed_model), NULL,
     "the model of its indexes; [ai] embed_model unless said"},
    {"bucket",                             LH_TEXT, AT(ProfileSpec, bucket), NULL,
     "its home, made when it is missing; profile:ID unless said"},
    {"vector_backend",        LH_TEXT, AT(ProfileSpec, vector_backend), "parquet", "of its indexes",
     .choices = "parquet|lance"},
    {"datasets",                 LH_JSON, AT(ProfileSpec, datasets), NULL, "those it may search; all unless said"},
    {"indexes", LH_JSON, AT(ProfileSpec, indexes), NULL, "those it may search; all unless said"},
    {"hnsw",                 LH_JSON, AT(ProfileSpec, hnsw), NULL,
     "{\"m\",\"ef_construction\",\"ef_search\"}: its searches walk as wide as ef_search"},
    {"description",               LH_TEXT, AT(ProfileSpec, description), NULL, "for people"},
    {0                        },
};

struct Profiles {
    ProfilesOptions options;
    Arena arena;
    Slot *slot;
};

/* ---- Checks ---- */

static bool id_check(Str id, Err *err) {
    bool ok = id.len > 0 && id.len <= PROFILE_ID_MAX && !str_is(id, "active");
    for (size_t i = 0; ok && i < id.len; i++) {
        char c = id.data[i];
        ok = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
             (i > 0 && (c == '_' || c == '-' || c == '.'));
    }
    return ok || err_code(err, LH_INVALID, "bad_profile_id",
                          "'%.*s' is no profile's id: 1 to %d of a-z 0-9 _ - . that begin with a "
                          "letter or a digit, and not 'active'",
                          (int)MIN(id.len, 80), id.data, PROFILE_ID_MAX);
}

static bool names_check(const char *what, const Json *list, Err *err) {
    bool ok = !list || (list->kind == JSON_ARRAY && list->len <= PROFILE_NAMES_MAX);
    for (size_t i = 0; ok && list && i < list->len; i++)
        ok = list->items[i].kind == JSON_TEXT && list->items[i].text.len > 0;
    return ok || err_code(err, LH_INVALID, "wrong_type", "'%s' must be a list of at most %d names",
                          what, PROFILE_NAMES_MAX);
}

static bool model_check(const char *what, Str name, Err *err) {
    return model_name_check(name, err) || err_while(err, "%s", what);
}

static bool spec_check(Str id, const ProfileSpec *spec, Err *err) {
    IndexConfig config = {0};
    if (!id_check(id, err)) return false;
    if (spec->id.len && !str_equal(spec->id, id))
        return err_code(err, LH_INVALID, "wrong_id", "the body's id is '%.*s', the path's '%.*s'",
                        (int)MIN(spec->id.len, 80), spec->id.data, SHOW(id));
    if (spec->ollama_name.len == 0)
        return err_code(err, LH_INVALID, "missing_field", "'ollama_name' is empty");
    return model_check("ollama_name", spec->ollama_name, err) &&
           (spec->embed_model.len == 0 || model_check("embed_model", spec->embed_model, err)) &&
           names_check("datasets", spec->datasets, err) &&
           names_check("indexes", spec->indexes, err) &&
           (config_read(STR("parquet"), spec->hnsw, &config, err) || err_while(err, "hnsw"));
}

/* ---- Objects ---- */

static Str profile_key(Str id, Arena *arena) {
    return arena_print(arena, "_lakehouse/profiles/%.*s.json", SHOW(id));
}

static bool primary(Profiles *profiles, Bucket **out, Err *err) {
    return bucket_find(profiles->options.indexes->buckets, STR("primary"), out, err);
}

static void member_text(JsonWriter *w, const char *name, Str text) {
    jw_name(w, name);
    if (text.len)
        jw_text(w, text);
    else
        jw_null(w);
}

static void member_json(JsonWriter *w, const char *name, const Json *value, const char *none) {
    jw_name(w, name);
    if (value)
        jw_json(w, &(Json){.kind = value->kind, .items = value->items, .len = value->len});
    else
        jw_raw(w, str_from(none));
}

static void write_members(const Profile *profile, JsonWriter *w) {
    const ProfileSpec *spec = &profile->spec;
    jw_member_text(w, "id", spec->id);
    jw_member_text(w, "ollama_name", spec->ollama_name);
    jw_member_text(w, "embed_model", spec->embed_model);
    jw_member_text(w, "bucket", spec->bucket);
    jw_member_text(w, "vector_backend", spec->vector_backend);
    member_json(w, "datasets", spec->datasets, "[]");
    member_json(w, "indexes", spec->indexes, "[]");
    member_json(w, "hnsw", spec->hnsw, "null");
    member_text(w, "description", spec->description);
    jw_member_time(w, "created_at", profile->created_ms);
    jw_member_time(w, "updated_at", profile->updated_ms);
}

static const Json *list_of(const Json *json, const char *name) {
    const Json *list = json_get(json, name);
    return list && list->kind == JSON_ARRAY ? list : NULL;
}

static bool profile_read(Str text, Arena *arena, Profile *out, Err *err) {
    const Json *json, *hnsw;
    if (!json_read(text, arena, &json, err)) return false;
    if (json_get_int(json, "format", 0) != PROFILE_FORMAT)
        return err_set(err, LH_IMPOSSIBLE, "a profile has format %lld and this program reads %d",
                       (long long)json_get_int(json, "format", 0), PROFILE_FORMAT);
    hnsw = json_get(json, "hnsw");
    *out = (Profile){
        .spec = {.id = json_get_text(json, "id", (Str){0}),
                 .ollama_name = json_get_text(json, "ollama_name", (Str){0}),
                 .embed_model = json_get_text(json, "embed_model", (Str){0}),
                 .bucket = json_get_text(json, "bucket", (Str){0}),
                 .vector_backend = json_get_text(json, "vector_backend", (Str){0}),
                 .description = json_get_text(json, "description", (Str){0}),
                 .datasets = list_of(json, "datasets"),
                 .indexes = list_of(json, "indexes"),
                 .hnsw = hnsw && hnsw->kind == JSON_OBJECT ? hnsw : NULL}
    };
    clock_read(json_get_text(json, "created_at", (Str){0}), &out->created_ms);
    clock_read(json_get_text(json, "updated_at", (Str){0}), &out->updated_ms);
    return out->spec.ollama_name.len > 0 ||
           err_set(err, LH_CORRUPT, "a profile names no generator");
}

bool profile_load(Profiles *profiles, Str id, Arena *arena, Profile *out, Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    Bytes data;
    Err bad;
    bool ok = id_check(id, &bad);
    if (!primary(profiles, &bucket, err)) return false;
    if (ok && store_read(bucket_store(bucket), profile_key(id, arena), PROFILE_SIZE_MAX, arena,
                         &data, err))
        return profile_read(str_of(data), arena, out, err) ||
               err_while(err, "profile '%.*s'", SHOW(id));
    if (ok && err->kind != LH_MISSING) return false;
    return err_code(err, LH_MISSING, "profile_not_found", "no profile named '%.*s'",
                    (int)MIN(id.len, 80), id.data);
}

bool profile_put(Profiles *profiles, Str id, const ProfileSpec *spec, bool *created, Text *result,
                 Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(bucket_release) Bucket *bucket = NULL;
    OWNED(text_close) Text text = {0};
    JsonWriter w = {.out = &text}, told = {.out = result};
    Profile profile = {.spec = *spec, .updated_ms = clock_now_ms()}, old;
    if (!spec_check(id, spec, err) || !primary(profiles, &bucket, err)) return false;
    *created = !profile_load(profiles, id, &arena, &old, err);
    if (*created && err->kind != LH_MISSING) return false;
    profile.created_ms = *created ? profile.updated_ms : old.created_ms;
    profile.spec.id = id;
    if (spec->embed_model.len == 0) profile.spec.embed_model = ai_embed_model(profiles->options.ai);
    if (spec->bucket.len == 0)
        profile.spec.bucket = arena_print(&arena, PROFILE_BUCKET_PREFIX "%.*s", SHOW(id));
    jw_object(&w);
    jw_member_int(&w, "format", PROFILE_FORMAT);
    write_members(&profile, &w);
    jw_end(&w);
    if (!store_write(bucket_store(bucket), profile_key(id, &arena), text_bytes(&text), NULL, err))
        return false;
    jw_object(&told);
    write_members(&profile, &told);
    jw_end(&told);
    return true;
}

bool profile_write(Profiles *profiles, Str id, Text *result, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    JsonWriter w = {.out = result};
    Profile profile;
    if (!profile_find(profiles, id, &arena, &profile, err)) return false;
    jw_object(&w);
    write_members(&profile, &w);
    jw_end(&w);
    return true;
}

/* All that can be read; one that cannot is said in the log and left out. */
static bool load_all(Profiles *profiles, Arena *arena, Profile **out, size_t *count, Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    const ListOptions options = {.prefix = STR("_lakehouse/profiles/"), .limit = PROFILE_COUNT_MAX};
    ObjectList list;
    if (!primary(profiles, &bucket, err) ||
        !store_list(bucket_store(bucket), &options, arena, &list, err))
        return false;
    *out = arena_array(arena, Profile, list.object_count + 1);
    *count = 0;
    for (size_t i = 0; i < list.object_count; i++) {
        Str key = list.objects[i].key, id = str_slice(key, options.prefix.len, key.len);
        Err why = {0};
        if (!str_ends(id, STR(".json"))) continue;
        id = str_slice(id, 0, id.len - 5);
        if (profile_load(profiles, id, arena, &(*out)[*count], &why))
            ++*count;
        else if (why.kind != LH_MISSING)
            log_warn("%s", why.message);
    }
    return true;
}

bool profiles_write(Profiles *profiles, Text *result, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    JsonWriter w = {.out = result};
    Profile *all;
    size_t count;
    if (!load_all(profiles, &arena, &all, &count, err)) return false;
    jw_array(&w);
    for (size_t i = 0; i < count; i++) {
        jw_object(&w);
        write_members(&all[i], &w);
        jw_member_flag(&w, "active", slot_is_held(profiles->slot, all[i].spec.id));
        jw_end(&w);
    }
    jw_end(&w);
    return true;
}

bool profile_drop(Profiles *profiles, Str id, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    OWNED(bucket_release) Bucket *bucket = NULL;
    Profile profile;
    if (!profile_find(profiles, id, &arena, &profile, err) || !primary(profiles, &bucket, err))
        return false;
    if (slot_is_held(profiles->slot, id))
        return err_code(err, LH_CONFLICT, "profile_active",
                        "profile '%.*s' is active: deactivate it first", SHOW(id));
    return store_remove(bucket_store(bucket), profile_key(id, &arena), err);
}

/* ---- The slot ---- */

static bool save_slot(void *context, Bytes record, Err *err) {
    const Profiles *profiles = context;
    return file_replace(profiles->options.slot_path, record, err);
}

/* Never unloaded: what is embedded with, by the server or by any profile, and what the
 * configuration pins. Ours: every profile's generator. */
static bool slot_models(void *context, Arena *arena, SlotModels *out, Err *err) {
    Profiles *profiles = context;
    const Json *pinned = ai_pinned(profiles->options.ai);
    Profile *all;
    size_t count, more = pinned ? pinned->len : 0;
    if (!load_all(profiles, arena, &all, &count, err)) return false;
    *out = (SlotModels){.pins = arena_array(arena, Str, count + more + 1),
                        .ours = arena_array(arena, Str, count + 1)};
    out->pins[out->pin_count++] = ai_embed_model(profiles->options.ai);
    for (size_t i = 0; i < more; i++) out->pins[out->pin_count++] = pinned->items[i].text;
    for (size_t i = 0; i < count; i++) {
        out->pins[out->pin_count++] = all[i].spec.embed_model;
        out->ours[out->our_count++] = all[i].spec.ollama_name;
    }
    return true;
}

bool profiles_open(const ProfilesOptions *options, Profiles **out, Err *err) {
    OWNED(profiles_close) Profiles *profiles = calloc(1, sizeof *profiles);
    Bytes record = {0};
    if (!profiles) abort();
    profiles->options = *options;
    profiles->options.root = arena_copy(&profiles->arena, options->root);
    profiles->options.slot_path = arena_cstr(&profiles->arena, str_from(options->slot_path));
    const SlotHooks hooks = {save_slot, slot_models, profiles};
    if (!file_read(options->slot_path, SLOT_SIZE_MAX, &profiles->arena, &record, err) &&
        err->kind != LH_MISSING)
        return false;
    if (!slot_open(options->ai, &hooks, record, &profiles->slot, err)) return false;
    *out = TAKE(profiles);
    return true;
}

void profiles_close(Profiles **profiles) {
    if (!*profiles) return;
    slot_close(&(*profiles)->slot);
    arena_close(&(*profiles)->arena);
    free(*profiles);
    *profiles = NULL;
}

Indexes *profiles_indexes(Profiles *profiles) {
    return profiles->options.indexes;
}

Slot *profiles_slot(Profiles *profiles) {
    return profiles->slot;
}

/* Its own bucket is a folder below the profiles' root; another is one that somebody added. */
static bool provision(Profiles *profiles, const Profile *profile, Arena *arena, Err *err) {
    OWNED(bucket_release) Bucket *bucket = NULL;
    Buckets *buckets = profiles->options.indexes->buckets;
    Str name = profile->spec.bucket, folder = name;
    if (bucket_find(buckets, name, &bucket, err)) return true;
    if (err->kind != LH_MISSING) return false;
    if (str_starts(name, STR(PROFILE_BUCKET_PREFIX)))
        folder = str_slice(name, sizeof PROFILE_BUCKET_PREFIX - 1, name.len);
    BucketOptions options = {
        .name = name,
        .backend = STR("local"),
        .root = arena_print(arena, "%.*s/%.*s", SHOW(profiles->options.root), SHOW(folder))};
    /* Another activation may have been quicker. */
    return bucket_add(buckets, &options, err) || bucket_find(buckets, name, &bucket, &(Err){0}) ||
           err_while(err, "the bucket of profile '%.*s'", SHOW(profile->spec.id));
}

static void write_swap(const SlotSwap *swap, int64_t started_us, JsonWriter *w) {
    jw_name(w, "swap");
    jw_object(w);
    jw_name(w, "unloaded");
    jw_array(w);
    for (size_t i = 0; i < swap->unloaded_count; i++) jw_text(w, swap->unloaded[i]);
    jw_end(w);
    jw_member_int(w, "freed_bytes", swap->freed_bytes);
    jw_member_flag(w, "preloaded", swap->preloaded);
    jw_member_real(w, "elapsed_ms", (double)(clock_us() - started_us) / 1000);
    jw_end(w);
}

bool profile_activate(Profiles *profiles, Str id, Text *result, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    JsonWriter w = {.out = result};
    int64_t started = clock_us();
    Profile profile;
    SlotSwap swap = {0};
    if (!profile_find(profiles, id, &arena, &profile, err) ||
        !provision(profiles, &profile, &arena, err) ||
        !slot_activate(profiles->slot, id, profile.spec.ollama_name, &arena, &swap, err))
        return false;
    jw_object(&w);
    jw_member_text(&w, "id", id);
    slot_write(profiles->slot, &arena, &w);
    write_swap(&swap, started, &w);
    jw_end(&w);
    return true;
}

bool profile_deactivate(Profiles *profiles, Str id, Text *result, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    JsonWriter w = {.out = result};
    int64_t started = clock_us();
    Profile profile;
    SlotSwap swap = {0};
    bool was;
    if (!profile_find(profiles, id, &arena, &profile, err) ||
        !slot_deactivate(profiles->slot, id, &was, &arena, &swap, err))
        return false;
    jw_object(&w);
    jw_member_text(&w, "id", id);
    jw_member_flag(&w, "was_active", was);
    slot_write(profiles->slot, &arena, &w);
    write_swap(&swap, started, &w);
    jw_end(&w);
    return true;
}

bool profile_active_write(Profiles *profiles, Text *result, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    JsonWriter w = {.out = result};
    Str id = slot_holder(profiles->slot, &arena);
    Profile profile;
    bool found = id.len && profile_load(profiles, id, &arena, &profile, err); /* else null */
    jw_object(&w);
    slot_write(profiles->slot, &arena, &w);
    jw_name(&w, "profile");
    if (found) {
        jw_object(&w);
        write_members(&profile, &w);
        jw_end(&w);
    } else {
        jw_null(&w);
    }
    jw_end(&w);
    return true;
}
