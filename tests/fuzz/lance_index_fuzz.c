/* The index files of a Lance table, with bytes changed: they are read or refused, and what was read
 * can be searched without touching what is not there. Whole files of random bytes would fail at
 * their footer; so the input says which bytes of sound files are other ones: a byte for the index,
 * then records of {u32 position, u8 value}. */
#include "lance/btree_view.h"
#include "lance/ivf_scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROWS 600
#define DIMENSION 8
#define FILE_MAX (1 << 20)

typedef struct Pair {
    Bytes files[2];
} Pair;
static Pair pairs[4]; /* IVF_PQ of 8 and of 4 bits, btrees of integers and of texts */
static Arena kept;

static void check(bool ok, const Err *err) {
    if (ok) return;
    fprintf(stderr, "cannot make the files: %s\n", err->message);
    abort();
}

static void rows_add(LanceTable *table) {
    OWNED(arena_close) Arena arena = {0};
    Err err = {0};
    uint64_t state = 5, *ends = arena_array(&arena, uint64_t, ROWS + 1);
    int64_t *numbers = arena_array(&arena, int64_t, ROWS);
    float *vectors = arena_array(&arena, float, ROWS *DIMENSION);
    char *texts = arena_alloc(&arena, ROWS * 8);
    for (size_t i = 0; i < ROWS; i++) {
        numbers[i] = (int64_t)(random_next(&state) % 200) - 100;
        ends[i + 1] =
            ends[i] + (size_t)snprintf(texts + ends[i], 8, "t%lld", (long long)numbers[i]);
    }
    for (size_t i = 0; i < ROWS * DIMENSION; i++)
        vectors[i] = (float)(random_next(&state) % 100) / 50 - 1;
    LanceColumn columns[] = {
        {.values = numbers},
        {.values = texts,   .offsets = ends},
        {.values = vectors                }
    };
    check(lance_append(table, &(LanceBatch){ROWS, 3, columns, NULL}, &err), &err);
}

/* The files of the index that was made last. */
static void pair_keep(Store *store, LanceTable *table, const char *const names[2], Pair *out) {
    OWNED(snapshot_release) Snapshot *snapshot = table_snapshot(table);
    const Manifest *manifest = snapshot_manifest(snapshot);
    Err err = {0};
    for (size_t i = 0; i < 2; i++)
        check(store_read(store,
                         index_key(table_path(table),
                                   manifest->indexes[manifest->index_count - 1].uuid,
                                   str_from(names[i]), &kept),
                         FILE_MAX, &kept, &out->files[i], &err),
              &err);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    static const char *const ivf[] = {IVF_INDEX_NAME, IVF_AUXILIARY_NAME};
    static const char *const btree[] = {BTREE_LOOKUP_NAME, BTREE_DATA_NAME};
    char dir[] = "/tmp/lakehouse-fuzz-XXXXXX", command[64];
    OWNED(store_close) Store *store = NULL;
    OWNED(lance_close) LanceTable *table = NULL;
    Err err = {0};
    LanceField fields[] = {
        {.name = STR("n"), .type = lance_type(STR("int64"))                  },
        {.name = STR("t"), .type = lance_type(STR("string"))                 },
        {.name = STR("v"), .type = lance_type(STR("fixed_size_list:float:8"))},
    };
    (void)argc, (void)argv;
    if (!mkdtemp(dir)) abort();
    check(store_local_open(str_from(dir), &store, &err), &err);
    check(lance_create(store, STR("t.lance"), &(LanceSchema){fields, 3}, &table, &err), &err);
    rows_add(table);
    for (uint32_t i = 0; i < 2; i++) {
        LanceVectorIndexOptions options = {
            .column = STR("v"), .partitions = 5, .sub_vectors = 4, .bits = i ? 4 : 8};
        check(lance_index_vectors(table, &options, NULL, &err), &err);
        pair_keep(store, table, ivf, &pairs[i]);
    }
    check(lance_index_scalar(table, STR("n"), NULL, &err), &err);
    pair_keep(store, table, btree, &pairs[2]);
    check(lance_index_scalar(table, STR("t"), NULL, &err), &err);
    pair_keep(store, table, btree, &pairs[3]);
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command);
}

static volatile uint64_t touched;

static void ivf_use(LanceFile *index, LanceFile *auxiliary) {
    static const LanceSearchOptions options;
    OWNED(arena_close) Arena arena = {0};
    IvfSegment segment = {0};
    float query[DIMENSION] = {1, -1, 0.5f, 0, 0, 0.25f, -0.5f, 1};
    Err err = {0};
    Nearest nearest;
    if (segment_read(index, auxiliary, DIMENSION, &segment, &err) && segment.rows > 0) {
        nearest_open(&nearest, 50, &arena);
        IvfScan scan = {
            .segment = &segment,
            .filter = {.options = &options, .none = true},
            .query = query,
            .nprobes = 3,
            .least = 100,
            .nearest = &nearest
        };
        ivf_scan(&scan, &arena);
        nearest_finish(&nearest);
        for (size_t i = 0; i < nearest.len; i++) {
            size_t row = (uint32_t)nearest.keys[i];
            const IvfPartition *partition = ivf_partition_of(&segment, row);
            touched += partition->addresses[row - partition->first];
            touched += ivf_code_distance(&segment, query, row) > 0;
        }
    }
    arena_close(&segment.arena);
}

static void note(void *context, uint64_t address) {
    (void)context;
    touched += address;
}

static void btree_use(LanceFile *lookup, LanceFile *data, bool texts) {
    LanceType type = lance_type(texts ? STR("string") : STR("int64"));
    BtreeSegment segment = {0};
    Err err = {0};
    if (btree_segment_read(lookup, data, &type, &segment, &err))
        for (int64_t n = -100; n < 100; n += 3) {
            char text[8];
            bool possible;
            BtreeEntry key;
            LanceKey value = {.kind = LANCE_INT, .integer = n};
            snprintf(text, sizeof text, "t%lld", (long long)n);
            if (texts) value = (LanceKey){.kind = LANCE_TEXT, .text = str_from(text)};
            if (btree_key(&type, &value, &key, &possible, &err))
                btree_segment_find(&segment, &key, note, NULL, &err);
        }
    arena_close(&segment.arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *copies[2];
    LanceFile *files[2] = {0};
    Err err = {0};
    if (size == 0) return 0;
    const Pair *pair = &pairs[data[0] % COUNT(pairs)];
    for (size_t i = 0; i < 2; i++) {
        copies[i] = malloc(pair->files[i].size);
        if (!copies[i]) abort();
        memcpy(copies[i], pair->files[i].data, pair->files[i].size);
    }
    for (size_t at = 1; at + 5 <= size; at += 5) {
        uint32_t position;
        memcpy(&position, data + at, 4);
        size_t file = position & 1;
        copies[file][(position >> 1) % pair->files[file].size] = data[at + 4];
    }
    bool ok = true;
    for (size_t i = 0; i < 2 && ok; i++)
        ok = lance_file_open_bytes((Bytes){copies[i], pair->files[i].size}, &files[i], &err);
    if (ok && pair < &pairs[2]) ivf_use(files[0], files[1]);
    if (ok && pair >= &pairs[2]) btree_use(files[0], files[1], pair == &pairs[3]);
    for (size_t i = 0; i < 2; i++) {
        lance_file_close(&files[i]);
        free(copies[i]);
    }
    return 0;
}
