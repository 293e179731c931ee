/* A version of a table: its manifest, as read, and as written for the next version.
 *
 *     [u32 length | IndexSection]  at Manifest.index_section
 *     [u32 length | Transaction]   at Manifest.transaction_section
 *     [u32 length | Manifest]      at P
 *     i64 P, u16 0, u16 2, "LANC"
 *
 * Messages that are not changed are carried over as the bytes they were: each struct keeps its
 * `raw`, and Manifest keeps the fields it has no name for. Source: lance's table.proto.
 * Thread rule: immutable once read; it lives in the arena it was read into. Internal to lance. */
#pragma once

#include "lance/lance.h"

#define MANIFEST_BYTES_MAX (1u << 30)
#define LANCE_UUID_BYTES 16

/* Feature flags that are understood: deletion files, a deprecated one, table configuration (of
 * writers only), transaction files disabled (of writers only). */
enum { FLAG_DELETIONS = 1, FLAG_DEPRECATED = 4, FLAG_CONFIG = 8, FLAG_NO_TRANSACTION_FILES = 32 };

typedef struct LanceDataFile {
    Str path;         /* below data/ */
    int32_t *fields;  /* ids; negative: ignore */
    int32_t *columns; /* the column of each in the file; negative: none */
    size_t field_count;
    uint32_t major, minor;
    uint64_t size; /* 0: unknown */
} LanceDataFile;

typedef enum DeletionKind { DELETION_ARROW = 0, DELETION_BITMAP = 1 } DeletionKind;
typedef struct DeletionFile {
    bool present;
    DeletionKind kind;
    uint64_t read_version, id, rows;
} DeletionFile;

typedef struct Fragment {
    uint64_t id, physical_rows;
    LanceDataFile *files;
    size_t file_count;
    DeletionFile deletion;
    Bytes raw;               /* what is written */
    const char *unsupported; /* why its rows cannot be read here, or NULL */
} Fragment;

typedef struct IndexFileEntry {
    Str path;
    uint64_t size;
} IndexFileEntry;
/* A segment of an index: IndexMetadata. */
typedef struct LanceIndex {
    uint8_t uuid[LANCE_UUID_BYTES];
    int32_t *fields;
    size_t field_count;
    Str name;
    uint64_t dataset_version;
    Bytes fragment_bitmap; /* Roaring (deletion.h) of the ids that it covers */
    Str details_url;
    Bytes details;
    int32_t version;
    uint64_t created_ms;
    IndexFileEntry *files;
    size_t file_count;
    Bytes raw; /* empty: index_encode makes it */
} LanceIndex;

typedef struct Manifest {
    uint64_t version;
    LanceSchema schema;    /* of the top level */
    Bytes schema_raw;      /* every Field, nested too, as fields 1 of a manifest */
    Bytes schema_metadata; /* fields 5, verbatim */
    int32_t field_id_max;  /* -1: none */
    Fragment *fragments;
    size_t fragment_count;
    LanceIndex *indexes;
    size_t index_count;
    int64_t committed_ms;
    uint64_t reader_flags, writer_flags;
    bool has_fragment_id;     /* whether max_fragment_id says anything */
    uint32_t fragment_id_max; /* ever used */
    Str transaction_file;
    char file_version[8]; /* of data files: "2.0" */
    Bytes rest;           /* every other field, verbatim */
    Bytes transaction;    /* inline; empty: none */
    Str branch;
    bool has_base_paths;
} Manifest;

/* Everything is checked; borrows nothing from `file` (it copies). LH_CORRUPT, LH_IMPOSSIBLE. */
bool lance_manifest_read(Bytes file, Arena *arena, Manifest *out, Err *err);
/* The file's bytes. Flags for deletions are set as the fragments need; the time is
 * manifest->committed_ms. */
void lance_manifest_write(const Manifest *manifest, Bytes transaction, Text *out);
/* LH_IMPOSSIBLE names the flag, base path, branch or file version that stands against it. */
bool manifest_check_readable(const Manifest *manifest, Err *err);
bool manifest_check_writable(const Manifest *manifest, Err *err);
/* *minor: 0 to 2. LH_IMPOSSIBLE for a version that is not "2.0", "2.1" or "2.2". */
bool file_version_read(const char *version, uint32_t *minor, Err *err);
uint64_t manifest_rows(const Manifest *manifest);
const Fragment *manifest_fragment(const Manifest *manifest, uint64_t id); /* NULL: none */
const LanceField *manifest_field(const Manifest *manifest, Str name);     /* NULL: none */
/* Whether it is an index of the column alone, of the kind whose details have this name. */
bool manifest_is_index_of(const LanceIndex *index, int32_t field, Str details);
/* Of several by different names the one that was made last. NULL: none. */
const LanceIndex *manifest_index_of(const Manifest *manifest, int32_t field, Str details);

/* Encoded anew into the arena: `raw` and what follows from it. */
void fragment_encode(Fragment *fragment, Arena *arena); /* a new fragment */
void fragment_renumber(Fragment *fragment, uint64_t id, Arena *arena);
void fragment_set_deletion(Fragment *fragment, const DeletionFile *deletion, Arena *arena);
/* Whether only their deletion files differ, if anything does. */
bool fragment_same_files(const Fragment *a, const Fragment *b);
void index_encode(LanceIndex *index, Arena *arena);
/* The same index covering only the fragments of `ids` (Roaring), all else as it was. */
void index_set_bitmap(LanceIndex *index, Bytes ids, Arena *arena);
void field_encode(Text *out, uint32_t number, const LanceField *field);
bool field_read(Bytes message, LanceField *out, int32_t *parent, Err *err); /* borrows */
bool index_read(Bytes message, Arena *arena, LanceIndex *out, Err *err);    /* borrows */
bool fragment_read(Bytes message, Arena *arena, Fragment *out, Err *err);   /* borrows */

/* Keys. `path` is the table's prefix. */
Str manifest_key(Str path, uint64_t version, bool old_names, Arena *arena);
Str data_key(Str path, Str name, Arena *arena);
Str deletion_key(Str path, uint64_t fragment, const DeletionFile *deletion, Arena *arena);
Str index_key(Str path, const uint8_t uuid[LANCE_UUID_BYTES], Str name, Arena *arena);
void uuid_make(uint8_t out[LANCE_UUID_BYTES]);
void uuid_text(const uint8_t uuid[LANCE_UUID_BYTES], char out[UUID_SIZE]);
