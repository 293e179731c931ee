/* Writing a manifest file, and what its flags allow (manifest.h draws it). */
#include "lance/manifest.h"
#include "lance/page.h"
#include "lance/wire.h"

#include <stdio.h>
#include <string.h>

/* Whose layout it is, and of which version: readers mend what older versions did wrong. */
#define WRITER_LIBRARY "lance"
#define WRITER_VERSION "12.0.0"

#define KNOWN_FLAGS (FLAG_DELETIONS | FLAG_DEPRECATED | FLAG_CONFIG | FLAG_NO_TRANSACTION_FILES)

typedef struct FlagName {
    uint64_t flag;
    const char *name;
} FlagName;
static const FlagName flag_names[] = {
    {2,    "stable row ids"     },
    {16,   "base paths"         },
    {64,   "data overlays"      },
    {128,  "covering indexes"   },
    {256,  "mixed file versions"},
    {512,  "fragment reuse"     },
    {1024, "fragment reuse"     },
    {2048, "managed blobs"      },
};

static bool flags_check(uint64_t flags, uint64_t known, const char *who, Err *err) {
    uint64_t unknown = flags & ~known;
    const char *name = "a feature that is not known";
    if (!unknown) return true;
    uint64_t lowest = unknown & -unknown;
    for (size_t i = 0; i < COUNT(flag_names); i++)
        if (flag_names[i].flag == lowest) name = flag_names[i].name;
    return lance_unsupported(err,
                             "the table asks its %s for %s (flag %llu), which is not done here",
                             who, name, (unsigned long long)lowest);
}

bool file_version_read(const char *version, uint32_t *minor, Err *err) {
    static const char *const known[] = {"2.0", "2.1", "2.2"};
    for (uint32_t i = 0; i < COUNT(known); i++)
        if (str_is(str_from(version), known[i])) return *minor = i, true;
    return lance_unsupported(err, "data files of version '%s' are not known here, 2.0 to 2.2 are",
                             version);
}

bool manifest_check_readable(const Manifest *manifest, Err *err) {
    if (!flags_check(manifest->reader_flags, KNOWN_FLAGS, "readers", err)) return false;
    if (manifest->has_base_paths)
        return lance_unsupported(err, "the table keeps files below other base paths");
    if (manifest->branch.len > 0)
        return lance_unsupported(err, "the version belongs to the branch '%.*s'",
                                 SHOW(manifest->branch));
    return file_version_read(manifest->file_version, &(uint32_t){0}, err);
}

bool manifest_check_writable(const Manifest *manifest, Err *err) {
    return manifest_check_readable(manifest, err) &&
           flags_check(manifest->writer_flags, KNOWN_FLAGS, "writers", err);
}

uint64_t manifest_rows(const Manifest *manifest) {
    uint64_t rows = 0;
    for (size_t i = 0; i < manifest->fragment_count; i++)
        rows += manifest->fragments[i].physical_rows - manifest->fragments[i].deletion.rows;
    return rows;
}

const Fragment *manifest_fragment(const Manifest *manifest, uint64_t id) {
    size_t low = 0, high = manifest->fragment_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (manifest->fragments[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < manifest->fragment_count && manifest->fragments[low].id == id;
    return found ? &manifest->fragments[low] : NULL;
}

const LanceField *manifest_field(const Manifest *manifest, Str name) {
    for (size_t i = 0; i < manifest->schema.len; i++)
        if (str_equal(manifest->schema.fields[i].name, name)) return &manifest->schema.fields[i];
    return NULL;
}

/* Writing. */

static void section_put(Text *out, const Text *section) {
    uint32_t length = (uint32_t)section->len;
    text_add(out, (Str){(const char *)&length, sizeof length});
    text_add(out, text_str(section));
}

static void put_pair(Text *out, uint32_t number, const char *first, const char *second) {
    size_t begun = wire_begin(out, number);
    wire_put_text(out, 1, str_from(first));
    wire_put_text(out, 2, str_from(second));
    wire_end(out, begun);
}

static void put_timestamp(Text *out, int64_t ms) {
    size_t begun = wire_begin(out, 7);
    wire_put_nonzero(out, 1, (uint64_t)(ms / 1000));
    wire_put_nonzero(out, 2, (uint64_t)(ms % 1000 * 1000000));
    wire_end(out, begun);
}

static uint64_t with_deletions(uint64_t flags, const Manifest *manifest) {
    flags &= ~(uint64_t)FLAG_DELETIONS;
    for (size_t i = 0; i < manifest->fragment_count; i++)
        if (manifest->fragments[i].deletion.present) flags |= FLAG_DELETIONS;
    return flags;
}

/* Positions 0 are written all the same: absent means that there is no such section. */
static void message_encode(const Manifest *manifest, uint64_t index_at, uint64_t transaction_at,
                           Text *out) {
    text_add(out, str_of(manifest->schema_raw));
    for (size_t i = 0; i < manifest->fragment_count; i++)
        wire_put_bytes(out, 2, manifest->fragments[i].raw);
    wire_put(out, 3, manifest->version);
    text_add(out, str_of(manifest->schema_metadata));
    if (manifest->index_count) wire_put(out, 6, index_at);
    put_timestamp(out, manifest->committed_ms);
    wire_put_nonzero(out, 9, with_deletions(manifest->reader_flags, manifest));
    wire_put_nonzero(out, 10, with_deletions(manifest->writer_flags, manifest));
    if (manifest->has_fragment_id) wire_put(out, 11, manifest->fragment_id_max);
    put_pair(out, 13, WRITER_LIBRARY, WRITER_VERSION);
    put_pair(out, 15, "lance", manifest->file_version);
    wire_put(out, 21, transaction_at);
    text_add(out, str_of(manifest->rest));
}

void lance_manifest_write(const Manifest *manifest, Bytes transaction, Text *out) {
    OWNED(text_close) Text section = {0};
    OWNED(text_close) Text message = {0};
    uint64_t index_at = out->len, position;
    if (manifest->index_count) {
        for (size_t i = 0; i < manifest->index_count; i++)
            wire_put_bytes(&section, 1, manifest->indexes[i].raw);
        section_put(out, &section);
    }
    uint64_t transaction_at = out->len;
    text_clear(&section);
    text_add(&section, str_of(transaction));
    section_put(out, &section);
    message_encode(manifest, index_at, transaction_at, &message);
    position = out->len;
    section_put(out, &message);
    text_add(out, (Str){(const char *)&position, sizeof position});
    text_add(out, (Str){"\0\0\2\0LANC", 8});
}

/* Keys. */

Str manifest_key(Str path, uint64_t version, bool old_names, Arena *arena) {
    if (old_names)
        return arena_print(arena, "%.*s/_versions/%llu.manifest", SHOW(path),
                           (unsigned long long)version);
    return arena_print(arena, "%.*s/_versions/%020llu.manifest", SHOW(path),
                       (unsigned long long)(UINT64_MAX - version));
}

Str data_key(Str path, Str name, Arena *arena) {
    return arena_print(arena, "%.*s/data/%.*s", SHOW(path), SHOW(name));
}

Str deletion_key(Str path, uint64_t fragment, const DeletionFile *deletion, Arena *arena) {
    return arena_print(arena, "%.*s/_deletions/%llu-%llu-%llu.%s", SHOW(path),
                       (unsigned long long)fragment, (unsigned long long)deletion->read_version,
                       (unsigned long long)deletion->id,
                       deletion->kind == DELETION_BITMAP ? "bin" : "arrow");
}

Str index_key(Str path, const uint8_t uuid[LANCE_UUID_BYTES], Str name, Arena *arena) {
    char text[UUID_SIZE];
    uuid_text(uuid, text);
    return arena_print(arena, "%.*s/_indices/%s/%.*s", SHOW(path), text, SHOW(name));
}

void uuid_make(uint8_t out[LANCE_UUID_BYTES]) {
    uint64_t high = random_u64(), low = random_u64();
    memcpy(out, &high, 8);
    memcpy(out + 8, &low, 8);
    out[6] = (uint8_t)((out[6] & 0x0f) | 0x40); /* version 4 */
    out[8] = (uint8_t)((out[8] & 0x3f) | 0x80);
}

void uuid_text(const uint8_t uuid[LANCE_UUID_BYTES], char out[UUID_SIZE]) {
    char *at = out;
    for (size_t i = 0; i < LANCE_UUID_BYTES; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *at++ = '-';
        at += snprintf(at, 3, "%02x", uuid[i]);
    }
}

bool manifest_is_index_of(const LanceIndex *index, int32_t field, Str details) {
    return index->field_count == 1 && index->fields[0] == field &&
           str_ends(index->details_url, details);
}

const LanceIndex *manifest_index_of(const Manifest *manifest, int32_t field, Str details) {
    const LanceIndex *last = NULL;
    for (size_t i = 0; i < manifest->index_count; i++)
        if (manifest_is_index_of(&manifest->indexes[i], field, details) &&
            (!last || manifest->indexes[i].created_ms >= last->created_ms))
            last = &manifest->indexes[i];
    return last;
}
