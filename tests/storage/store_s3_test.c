/* The S3 backend against a real Ceph with two gateways: the contract, and what a network and a
 * bucket add to it. */
#define CONTRACT_ETAG_OF_BYTES
#include "storage/store_contract.h"

#include "kit/relay.h"
#include "kit/s3.h"
#include "storage/s3_client.h"
#include "storage/store_ops.h"

#include <signal.h>

#define MIB ((size_t)1 << 20)

static const KitS3 *ceph(void) {
    setenv("GATEWAYS", "2", 1);
    setenv("DOMAIN", "localhost", 1);
    setenv("TLS", "1", 1);
    return kit_s3("ceph");
}

static Store *contract_store(void) {
    return kit_s3_store(ceph(), "contract");
}

static Store *open_store(const S3Options *options) {
    Store *store = NULL;
    CHECK_OK(store_s3_open(options, &store, &err));
    return store;
}

/* Bytes that differ from place to place, so that a part in the wrong place shows. */
static Bytes pattern(Arena *arena, size_t size) {
    uint64_t *words = arena_alloc(arena, size + 8);
    for (size_t i = 0; i <= size / 8; i++) words[i] = (i + 1) * 0x9e3779b97f4a7c15u;
    return (Bytes){(uint8_t *)words, size};
}

static void check_bytes(Store *store, const char *key, Bytes expected) {
    OWNED(arena_close) Arena arena = {0};
    Bytes data;
    CHECK_OK(store_read(store, str_from(key), expected.size + 1, &arena, &data, &err));
    CHECK(data.size == expected.size && memcmp(data.data, expected.data, data.size) == 0);
}

static int uploads_left(const char *bucket) {
    OWNED(text_close) Text body = {0};
    S3Options options = kit_s3_options(ceph(), bucket);
    size_t at;
    int count = 0;
    CHECK_INT(kit_s3_request(&options, "GET", "", "uploads=", NULL, &body), 200);
    for (Str rest = text_str(&body); str_find(rest, STR("<Upload>"), &at); count++)
        rest = str_slice(rest, at + 1, rest.len);
    return count;
}

/* What is said to a client must not help anybody in. */
static void check_no_secret(const Err *why) {
    CHECK(!strstr(why->message, ceph()->access) && !strstr(why->message, ceph()->secret));
    CHECK(!strstr(why->message, "Signature=") && !strchr(why->message, '?'));
}

static void check_offline(bool ok, const char *code) {
    CHECK(!ok);
    CHECK_INT(err.kind, LH_OFFLINE);
    CHECK_STR(str_from(err_word(&err)), code);
    check_no_secret(&err);
}

/* Keys and lists. */

static size_t nasty_keys(Arena *arena, Str out[400]) {
    static const char *const odd[] = {"\xc3\xa9",
                                      "\xe6\xbc\xa2\xf0\x9f\x98\x80",
                                      "%41%2F",
                                      "%00",
                                      "a+b c",
                                      "?x=1&y=2",
                                      "#frag",
                                      "a%",
                                      "%zz",
                                      "...",
                                      "..a",
                                      "x=1/dt=2024-01-01",
                                      "\xe2\x80\xae",
                                      "~",
                                      " ",
                                      "+",
                                      "a  b"};
    size_t count = 0;
    for (char c = 0x20; c < 0x7f; c++) {
        if (c == '/') continue;
        out[count++] = arena_print(arena, "n/%c%c", c, c == '.' ? 'x' : c);
        out[count++] = arena_print(arena, "n/a%cb", c);
        if (c != '.') out[count++] = arena_print(arena, "n/%c/e", c);
    }
    for (size_t i = 0; i < COUNT(odd); i++) out[count++] = arena_print(arena, "n/%s", odd[i]);
    return count;
}

static int key_order(const void *a, const void *b) {
    return str_compare(*(const Str *)a, *(const Str *)b);
}

TEST("300 nasty keys are written, read, listed and removed as they are") {
    OWNED(store_close) Store *store = contract_store();
    OWNED(arena_close) Arena arena = {0};
    Str keys[400];
    ObjectList list;
    Bytes data;
    size_t count = nasty_keys(&arena, keys);
    CHECK(count > 250);
    for (size_t i = 0; i < count; i++)
        CHECK_OK(store_write(store, keys[i], bytes_of(keys[i]), NULL, &err));
    qsort(keys, count, sizeof *keys, key_order);
    CHECK_OK(store_list(store, &(ListOptions){.limit = 1000}, &arena, &list, &err));
    CHECK_INT(list.object_count, count);
    for (size_t i = 0; i < count; i++) {
        CHECK(str_equal(list.objects[i].key, keys[i]));
        CHECK_OK(store_read(store, keys[i], 100, &arena, &data, &err));
        CHECK(str_equal(str_of(data), keys[i]));
        CHECK_OK(store_remove(store, keys[i], &err));
    }
    CHECK_OK(store_list(store, &(ListOptions){.limit = 1000}, &arena, &list, &err));
    CHECK_INT(list.object_count, 0);
}

TEST("keys of others that nobody can ask for are not listed, pages go on behind them") {
    OWNED(arena_close) Arena arena = {0};
    S3Options options = kit_s3_options(ceph(), "foreign");
    const char *foreign[] = {"p/", "p//x", "p/a/", "p/a/./b", "p/ctl\x01", "p/nl\n", "px"};
    for (size_t i = 0; i < COUNT(foreign); i++)
        CHECK_INT(kit_s3_request(&options, "PUT", foreign[i], NULL, "x", NULL), 200);
    options.prefix = STR("p");
    OWNED(store_close) Store *store = open_store(&options);
    put(store, "a/c", "1");
    put(store, "z", "2");
    CHECK_STR(listing(store, (ListOptions){0}, &arena, NULL), "a/c z");
    CHECK_STR(listing(store, (ListOptions){.limit = 1}, &arena, NULL), "a/c");
    CHECK_STR(listing(store, (ListOptions){.delimiter = STR("/")}, &arena, NULL), "z [a/]");
    CHECK_STR(store_location(store), "s3://foreign/p");
}

TEST("a key and the bucket's prefix have 1024 bytes together, one more is refused") {
    char prefix[101] = "", key[STORE_KEY_MAX + 1] = "";
    S3Options options = kit_s3_options(ceph(), "contract");
    memset(prefix, 'p', 100);
    memset(key, 'k', STORE_KEY_MAX);
    options.prefix = str_from(prefix);
    OWNED(store_close) Store *store = open_store(&options);
    CHECK(!store_write(store, (Str){key, 924}, bytes_of(STR("x")), NULL, &err));
    CHECK_INT(err.kind, LH_INVALID);
    CHECK_OK(store_write(store, (Str){key, 923}, bytes_of(STR("x")), NULL, &err));
    CHECK_OK(store_remove(store, (Str){key, 923}, &err));
}

/* Sizes. */

TEST("sizes around the first window and the parts come back as they were") {
    OWNED(store_close) Store *store = contract_store();
    OWNED(arena_close) Arena arena = {0};
    static const size_t sizes[] = {0,       1,           MIB - 1,     MIB,          MIB + 1,
                                   8 * MIB, 8 * MIB + 1, 9 * MIB + 1, 16 * MIB - 1, 16 * MIB};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        Bytes data = pattern(&arena, sizes[i]);
        ObjectInfo info;
        CHECK_OK(store_write(store, STR("k"), data, NULL, &err));
        CHECK_OK(store_head(store, STR("k"), &info, &err));
        CHECK_INT(info.size, sizes[i]);
        CHECK(llabs(info.modified_ms - clock_now_ms()) < 60000);
        check_bytes(store, "k", data);
    }
    CHECK_INT(uploads_left("contract"), 0);
}

static void check_ranges(Store *store, Bytes data) {
    OWNED(object_close) ObjectReader *reader = NULL;
    OWNED(arena_close) Arena arena = {0};
    size_t span = 3 * MIB, got;
    uint8_t *part = arena_alloc(&arena, span);
    ReadHint hint = {50 * MIB + 7, 1000};
    CHECK_OK(store_open(store, STR("big"), &hint, &reader, &err));
    CHECK_OK(object_read(reader, hint.from, part, span, &got, &err));
    CHECK_INT(got, 1000);
    CHECK(!memcmp(part, data.data + hint.from, got));
    for (int i = 0; i < 30; i++) { /* forth and back, on and beyond the end */
        uint64_t at = random_u64() % (data.size + MIB);
        CHECK_OK(object_read(reader, at, part, span, &got, &err));
        CHECK((got == 0) == (at >= data.size));
        CHECK(got == 0 || !memcmp(part, data.data + at, got));
    }
}

TEST("100 MiB and a byte go up in parts and come down side by side, ranges too") {
    OWNED(store_close) Store *store = contract_store();
    OWNED(arena_close) Arena arena = {0};
    Bytes data = pattern(&arena, 100 * MIB + 1);
    uint8_t *part = arena_alloc(&arena, 20 * MIB);
    ObjectInfo info;
    OWNED(writer_close) ObjectWriter *writer = NULL;
    CHECK_OK(store_create(store, STR("big"), NULL, &writer, &err));
    for (size_t at = 0; at < data.size; at += 999999) /* pieces that fit no part */
        CHECK_OK(writer_write(writer, (Bytes){data.data + at, MIN(999999, data.size - at)}, &err));
    CHECK_OK(writer_commit(writer, &info, &err));
    CHECK_INT(info.size, data.size);
    check_bytes(store, "big", data);
    check_ranges(store, data);
    Str etag = str_from(info.etag);
    const StoreOps *ops = store->ops;
    CHECK_OK(ops->read_range(store, STR("big"), etag, 5 * MIB + 1, 20 * MIB, part, &err));
    CHECK(!memcmp(part, data.data + 5 * MIB + 1, 20 * MIB));
    CHECK(!ops->read_range(store, STR("big"), etag, data.size - 5, 10, part, &err));
    CHECK_INT(err.kind, LH_RANGE);
    CHECK(!ops->read_range(store, STR("big"), STR("other"), 0, 10, part, &err));
    CHECK_INT(err.kind, LH_CONFLICT);
}

TEST("a conditional write larger than a part is one request, and its condition holds") {
    OWNED(store_close) Store *store = contract_store();
    OWNED(arena_close) Arena arena = {0};
    Bytes one = pattern(&arena, 20 * MIB + 3), two = pattern(&arena, 21 * MIB);
    ObjectInfo info;
    PutCondition absent = {.if_absent = true};
    CHECK_OK(store_write(store, STR("k"), one, &absent, &err));
    CHECK(!store_write(store, STR("k"), two, &absent, &err));
    CHECK_INT(err.kind, LH_PRECONDITION);
    PutCondition match = {.if_match = etag_of(store, "k", &info)};
    check_bytes(store, "k", one);
    CHECK_OK(store_write(store, STR("k"), two, &match, &err));
    CHECK(!store_write(store, STR("k"), one, &match, &err));
    CHECK_INT(err.kind, LH_PRECONDITION);
    check_bytes(store, "k", two);
}

TEST("an etag that only begins like the object's matches nothing, however Ceph compares") {
    OWNED(store_close) Store *store = contract_store();
    ObjectInfo info;
    char longer[STORE_ETAG_SIZE + 8];
    put(store, "k", "1");
    etag_of(store, "k", &info);
    snprintf(longer, sizeof longer, "%sx", info.etag);
    CHECK(!put_if(store, "k", "2", (PutCondition){.if_match = str_from(longer)}));
    CHECK_INT(err.kind, LH_PRECONDITION);
    longer[10] = 0;
    CHECK(!put_if(store, "k", "2", (PutCondition){.if_match = str_from(longer)}));
    CHECK_INT(err.kind, LH_PRECONDITION);
    check_object(store, "k", "1");
}

TEST("a file of 30 MB is adopted in parts from where it lies") {
    OWNED(store_close) Store *store = contract_store();
    OWNED(arena_close) Arena arena = {0};
    Bytes data = pattern(&arena, 30000001);
    char path[PATH_MAX];
    ObjectInfo info;
    CHECK_OK(store_staging(store, path, &err));
    CHECK_OK(file_replace(path, data, &err));
    CHECK_OK(store_adopt(store, path, STR("k"), NULL, &info, &err));
    CHECK(access(path, F_OK) != 0);
    CHECK_INT(info.size, data.size);
    check_bytes(store, "k", data);
    CHECK(!store_adopt(store, path, STR("k"), NULL, &info, &err));
    CHECK_INT(err.kind, LH_MISSING);
}

TEST("an object as a file of this machine holds its bytes, also after it was replaced") {
    OWNED(store_close) Store *store = contract_store();
    OWNED(arena_close) Arena arena = {0};
    for (int i = 0; i < 2; i++) {
        OWNED(local_file_close) LocalFile *file = NULL;
        Bytes data = pattern(&arena, 9 * MIB + (size_t)i), back;
        CHECK_OK(store_write(store, STR("k"), data, NULL, &err));
        CHECK_OK(store_local_file(store, STR("k"), LOCAL_WHOLE, false, &file, &err));
        CHECK_OK(file_read(local_file_path(file), 20 * MIB, &arena, &back, &err));
        CHECK(back.size == data.size && memcmp(back.data, data.data, data.size) == 0);
    }
}

/* Readers. */

TEST("a small object costs one request, a hint begins where it says, a look costs one") {
    Relay *relay = relay_open(ceph()->endpoints[0]);
    S3Options options = kit_s3_options(ceph(), "contract");
    options.endpoint = str_from(relay_url(relay));
    options.prefix = STR("one-request");
    Store *store = open_store(&options);
    OWNED(arena_close) Arena arena = {0};
    put(store, "k", "small");
    put(store, "empty", "");
    relay_forget(relay);
    check_object(store, "k", "small");
    CHECK_INT(relay_count(relay, ""), 1);
    check_object(store, "empty", "");
    CHECK_INT(relay_count(relay, ""), 3);
    CHECK_OK(store_probe(store, &err));
    relay_forget(relay);
    CHECK_OK(store_probe(store, &err));
    CHECK_INT(relay_count(relay, ""), 1);
    CHECK_STR(listing(store, (ListOptions){0}, &arena, NULL), "empty k");
    store_close(&store);
    relay_close(&relay);
}

TEST("a large object that is replaced while it is read is a conflict, never a mixture") {
    OWNED(store_close) Store *store = contract_store();
    OWNED(object_close) ObjectReader *reader = NULL;
    OWNED(arena_close) Arena arena = {0};
    Bytes data = pattern(&arena, 60 * MIB);
    uint8_t *part = arena_alloc(&arena, MIB);
    size_t got = 1;
    bool ok = true;
    CHECK_OK(store_write(store, STR("k"), data, NULL, &err));
    CHECK_OK(store_open(store, STR("k"), NULL, &reader, &err));
    CHECK_OK(object_read(reader, 0, part, MIB, &got, &err));
    put(store, "k", "new");
    for (uint64_t at = got; ok && at < data.size; at += got) {
        ok = object_read(reader, at, part, MIB, &got, &err);
        CHECK(!ok || !memcmp(part, data.data + at, got));
    }
    CHECK(!ok);
    CHECK_INT(err.kind, LH_CONFLICT);
    check_object(store, "k", "new");
}

TEST("a reader goes on when its store is closed") {
    Store *store = contract_store();
    OWNED(object_close) ObjectReader *reader = NULL;
    OWNED(arena_close) Arena arena = {0};
    Bytes data = pattern(&arena, 20 * MIB);
    uint8_t *part = arena_alloc(&arena, MIB);
    size_t got;
    CHECK_OK(store_write(store, STR("k"), data, NULL, &err));
    CHECK_OK(store_open(store, STR("k"), NULL, &reader, &err));
    CHECK_OK(object_read(reader, 0, part, MIB, &got, &err));
    store_close(&store);
    for (uint64_t at = got; at < data.size; at += got) {
        CHECK_OK(object_read(reader, at, part, MIB, &got, &err));
        CHECK(got > 0 && !memcmp(part, data.data + at, got));
    }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static size_t resident(void) {
    size_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%*u %zu", &pages) == 1);
    fclose(file);
    return pages * 4096;
}

TEST("300 MiB pass through writer and reader in less than 56 MiB of memory") {
    OWNED(store_close) Store *store = contract_store();
    OWNED(arena_close) Arena arena = {0};
    OWNED(writer_close) ObjectWriter *writer = NULL;
    OWNED(object_close) ObjectReader *reader = NULL;
    Bytes piece = pattern(&arena, MIB);
    uint8_t *part = arena_alloc(&arena, MIB);
    size_t before = resident(), most = 0, got;
    CHECK_OK(store_create(store, STR("k"), NULL, &writer, &err));
    for (int i = 0; i < 300; i++) {
        CHECK_OK(writer_write(writer, piece, &err));
        most = MAX(most, resident());
    }
    CHECK_OK(writer_commit(writer, NULL, &err));
    writer_close(&writer);
    CHECK_OK(store_open(store, STR("k"), NULL, &reader, &err));
    for (uint64_t at = 0; at < 300 * MIB; at += got) {
        CHECK_OK(object_read(reader, at, part, MIB, &got, &err));
        most = MAX(most, resident());
    }
    CHECK(most > before);
    CHECK((most - before) / MIB < 56);
    CHECK_OK(store_remove(store, STR("k"), &err));
}
#endif

/* Faults on the way. */

static Relay *relay;
static Store *relayed_store(S3Limits limits) {
    S3Options options = kit_s3_options(ceph(), "contract");
    static int number;
    static char prefix[32];
    if (relay) relay_close(&relay);
    relay = relay_open(ceph()->endpoints[0]);
    snprintf(prefix, sizeof prefix, "relayed-%d", ++number);
    options.prefix = str_from(prefix);
    options.endpoint = str_from(relay_url(relay));
    options.limits = limits;
    Store *store = open_store(&options);
    CHECK_OK(store_probe(store, &err));
    relay_forget(relay);
    return store;
}
__attribute__((destructor)) static void relay_end(void) {
    relay_close(&relay);
}

TEST("an answer that is lost, refused or late is asked for again") {
    static const RelayFault faults[] = {RELAY_LOSE_ANSWER, RELAY_LOSE_REQUEST, RELAY_ANSWER_500,
                                        RELAY_ANSWER_503, RELAY_KEEP_ANSWER};
    S3Limits limits = s3_limits_default;
    limits.answer_timeout_ms = 300;
    OWNED(store_close) Store *store = relayed_store(limits);
    OWNED(arena_close) Arena arena = {0};
    ObjectInfo info;
    for (size_t i = 0; i < COUNT(faults); i++) {
        relay_fault(relay, "PUT /", faults[i], 2);
        put(store, "k", "1");
        relay_fault(relay, "GET /", faults[i], 2);
        check_object(store, "k", "1");
        relay_fault(relay, "HEAD /", faults[i], 2);
        CHECK_OK(store_head(store, STR("k"), &info, &err));
        relay_fault(relay, "list-type", faults[i], 2);
        CHECK_STR(listing(store, (ListOptions){0}, &arena, NULL), "k");
        relay_fault(relay, "DELETE /", faults[i], 2);
        CHECK_OK(store_remove(store, STR("k"), &err));
        check_missing(store, "k");
    }
}

TEST("a download that breaks goes on from where it stopped") {
    OWNED(store_close) Store *store = relayed_store(s3_limits_default);
    OWNED(arena_close) Arena arena = {0};
    Bytes data = pattern(&arena, 12 * MIB);
    CHECK_OK(store_write(store, STR("k"), data, NULL, &err));
    relay_fault(relay, "GET /", RELAY_CUT_ANSWER, 7);
    check_bytes(store, "k", data);
}

TEST("a conditional write whose answer is lost is settled by looking: it won") {
    static const RelayFault faults[] = {RELAY_LOSE_ANSWER, RELAY_ANSWER_500, RELAY_LOSE_REQUEST};
    OWNED(store_close) Store *store = relayed_store(s3_limits_default);
    ObjectInfo info;
    for (size_t i = 0; i < COUNT(faults); i++) {
        relay_fault(relay, "PUT /", faults[i], 1);
        CHECK(put_if(store, "k", "1", (PutCondition){.if_absent = true}));
        check_object(store, "k", "1");
        relay_fault(relay, "PUT /", faults[i], 1);
        CHECK(put_if(store, "k", "2", (PutCondition){.if_match = etag_of(store, "k", &info)}));
        check_object(store, "k", "2");
        CHECK_OK(store_remove(store, STR("k"), &err));
    }
}

TEST("a conditional write whose answer is lost is settled by looking: another won") {
    OWNED(store_close) Store *store = relayed_store(s3_limits_default);
    ObjectInfo info;
    put(store, "k", "theirs");
    relay_fault(relay, "PUT /", RELAY_LOSE_ANSWER, 1);
    CHECK(!put_if(store, "k", "ours", (PutCondition){.if_absent = true}));
    CHECK_INT(err.kind, LH_PRECONDITION);
    char old[STORE_ETAG_SIZE];
    snprintf(old, sizeof old, "%.*s", SHOW(etag_of(store, "k", &info)));
    put(store, "k", "theirs again");
    relay_fault(relay, "PUT /", RELAY_LOSE_ANSWER, 1);
    CHECK(!put_if(store, "k", "ours", (PutCondition){.if_match = str_from(old)}));
    CHECK_INT(err.kind, LH_PRECONDITION);
    check_object(store, "k", "theirs again");
}

TEST("a conditional write that cannot be settled says that its outcome is unknown") {
    S3Limits limits = s3_limits_default;
    limits.retry_ms = 100;
    OWNED(store_close) Store *store = relayed_store(limits);
    relay_fault(relay, "/k", RELAY_LOSE_ANSWER, 1000);
    check_offline(put_if(store, "k", "1", (PutCondition){.if_absent = true}), "outcome_unknown");
    relay_fault(relay, "/k", RELAY_LOSE_ANSWER, 0);
    check_object(store, "k", "1"); /* here it was written, as it happens */
}

TEST("a write in parts whose last answer is lost is written, and leaves no upload") {
    static const RelayFault faults[] = {RELAY_LOSE_ANSWER, RELAY_ANSWER_500, RELAY_LOSE_REQUEST};
    OWNED(store_close) Store *store = relayed_store(s3_limits_default);
    OWNED(arena_close) Arena arena = {0};
    Bytes data = pattern(&arena, 17 * MIB);
    for (size_t i = 0; i < COUNT(faults); i++) {
        relay_fault(relay, "POST /", faults[i], 1); /* create: a lost one is left for its expiry */
        if (faults[i] != RELAY_LOSE_REQUEST) relay_fault(relay, "?uploadId", faults[i], 1);
        CHECK_OK(store_write(store, STR("k"), data, NULL, &err));
        check_bytes(store, "k", data);
        relay_fault(relay, "partNumber=2", faults[i], 1);
        CHECK_OK(store_write(store, STR("k"), data, NULL, &err));
        check_bytes(store, "k", data);
    }
    CHECK_INT(uploads_left("contract"), 0);
}

TEST("a write in parts that fails or is closed half-way leaves neither object nor upload") {
    S3Limits limits = s3_limits_default;
    limits.retry_ms = 100;
    OWNED(store_close) Store *store = relayed_store(limits);
    OWNED(arena_close) Arena arena = {0};
    OWNED(writer_close) ObjectWriter *writer = NULL;
    Bytes data = pattern(&arena, 40 * MIB);
    relay_fault(relay, "partNumber=3", RELAY_LOSE_ANSWER, 1000);
    check_offline(store_write(store, STR("k"), data, NULL, &err), "bucket_unreachable");
    relay_fault(relay, "", RELAY_LOSE_ANSWER, 0);
    CHECK_OK(store_create(store, STR("k"), NULL, &writer, &err));
    CHECK_OK(writer_write(writer, data, &err));
    writer_close(&writer);
    check_missing(store, "k");
    CHECK_INT(uploads_left("contract"), 0);
}

TEST("uploads that a lost answer or a failed abort left are swept by a later write") {
    S3Limits limits = s3_limits_default;
    limits.answer_timeout_ms = 400;
    limits.retry_ms = 400;
    OWNED(store_close) Store *store = relayed_store(limits);
    OWNED(arena_close) Arena arena = {0};
    Bytes data = pattern(&arena, 17 * MIB);
    relay_fault(relay, "?uploads", RELAY_LOSE_ANSWER, 1);
    CHECK_OK(store_write(store, STR("k"), data, NULL, &err));
    CHECK_INT(uploads_left("contract"), 1);
    relay_fault(relay, "uploadId", RELAY_LOSE_REQUEST, 1000);
    check_offline(store_write(store, STR("k"), data, NULL, &err), "bucket_unreachable");
    relay_fault(relay, "", RELAY_LOSE_ANSWER, 0);
    usleep(500000);
    put(store, "small", "1");
    CHECK_INT(uploads_left("contract"), 0);
    check_bytes(store, "k", data);
}

/* Refusals, and what they say. */

static void check_says(const char *word) {
    if (!strstr(err.message, word))
        kit_fail(__FILE__, __LINE__, "'%s' does not say '%s'", err.message, word);
}

static void user_make(const char *name) {
    char line[256];
    snprintf(line, sizeof line,
             "user create --uid=%s --display-name=%s --access-key=%saccess --secret-key=%ssecret",
             name, name, name, name);
    CHECK(kit_s3_admin(ceph(), line));
    snprintf(line, sizeof line, "%saccess", name);
    setenv("OTHER_ACCESS_KEY_ID", line, 1);
    snprintf(line, sizeof line, "%ssecret", name);
    setenv("OTHER_SECRET_ACCESS_KEY", line, 1);
}

TEST("a wrong secret, an unknown key, a foreign and a missing bucket say what to do") {
    S3Options options = kit_s3_options(ceph(), "contract");
    ObjectInfo info;
    options.secret_ref = STR("env:OTHER");
    setenv("OTHER_ACCESS_KEY_ID", ceph()->access, 1);
    setenv("OTHER_SECRET_ACCESS_KEY", "wrong", 1);
    OWNED(store_close) Store *store = open_store(&options);
    check_offline(store_head(store, STR("k"), &info, &err), "bucket_denied");
    check_says("secret key");
    check_offline(store_probe(store, &err), "bucket_denied");
    check_offline(put_if(store, "k", "1", (PutCondition){.if_absent = true}), "bucket_denied");
    setenv("OTHER_ACCESS_KEY_ID", "nobody", 1);
    check_offline(store_write(store, STR("k"), bytes_of(STR("x")), NULL, &err), "bucket_denied");
    check_says("access key id");
    user_make("stranger");
    check_offline(store_head(store, STR("k"), &info, &err), "bucket_denied");
    check_says("allowed");
    CHECK(kit_s3_admin(ceph(), "user suspend --uid=stranger"));
    check_offline(store_head(store, STR("k"), &info, &err), "bucket_denied");
    check_says("suspended");
    unsetenv("OTHER_SECRET_ACCESS_KEY");
    check_offline(store_head(store, STR("k"), &info, &err), "unknown_secret");
    S3Options missing = kit_s3_options(ceph(), "contract");
    missing.bucket = STR("no-such-bucket");
    OWNED(store_close) Store *nowhere = open_store(&missing);
    check_offline(store_head(nowhere, STR("k"), &info, &err), "bucket_unreachable");
    check_says("does not exist");
    check_offline(store_probe(nowhere, &err), "bucket_unreachable");
    check_offline(store_remove(nowhere, STR("k"), &err), "bucket_unreachable");
}

TEST("a quota that is used up is no space left, of parts too, and leaves no upload") {
    user_make("poor");
    CHECK(kit_s3_admin(ceph(), "quota set --quota-scope=user --uid=poor --max-size=12M"));
    CHECK(kit_s3_admin(ceph(), "quota enable --quota-scope=user --uid=poor"));
    S3Options options = kit_s3_options(ceph(), "contract");
    OWNED(arena_close) Arena arena = {0};
    OWNED(text_close) Text body = {0};
    Bytes data = pattern(&arena, 6 * MIB);
    size_t at;
    options.secret_ref = STR("env:OTHER");
    options.bucket = STR("poor");
    CHECK_INT(kit_s3_request(&options, "PUT", "", NULL, NULL, NULL), 200);
    OWNED(store_close) Store *store = open_store(&options);
    bool ok = true; /* Ceph counts a little late */
    for (char key[] = "a"; ok && *key < 'p'; key[0]++)
        ok = store_write(store, str_from(key), data, NULL, &err);
    CHECK(!ok);
    CHECK_INT(err.kind, LH_FULL);
    check_says("quota");
    CHECK(!store_write(store, STR("big"), pattern(&arena, 30 * MIB), NULL, &err));
    CHECK_INT(err.kind, LH_FULL);
    CHECK_INT(kit_s3_request(&options, "GET", "", "uploads=", NULL, &body), 200);
    CHECK(!str_find(text_str(&body), STR("<Upload>"), &at));
}

TEST("a versioned bucket, where Ceph ignores conditions, is found out and refused") {
    S3Options options = kit_s3_options(ceph(), "versioned");
    const char *on = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    CHECK_INT(kit_s3_request(&options, "PUT", "", "versioning=", on, NULL), 200);
    OWNED(store_close) Store *store = open_store(&options);
    CHECK_OK(store_probe(store, &err));
    CHECK(!store_abilities(store).if_absent);
    CHECK(!put_if(store, "k", "1", (PutCondition){.if_absent = true}));
    CHECK_INT(err.kind, LH_IMPOSSIBLE);
    check_missing(store, "k");
    put(store, "k", "1");
    check_object(store, "k", "1");
}

TEST("a clock that is an hour off is put right by the server's") {
    OWNED(s3_client_release) S3Client *client = NULL;
    S3Options options = kit_s3_options(ceph(), "contract");
    CHECK_OK(s3_client_open(&options, &client, &err));
    for (int sign = -1; sign <= 1; sign += 2) {
        OWNED(s3_answer_close) S3Answer answer = {0};
        S3Call call = {.method = "PUT", .key = STR("clock"), .body = bytes_of(STR("x"))};
        client->skew_s = sign * 3600;
        CHECK_OK(s3_call(client, &call, &answer, &err));
        CHECK_INT(answer.status, 200);
        CHECK(llabs(client->skew_s) < 3);
    }
}

TEST("options that name no bucket are refused without asking anybody") {
    S3Options good = kit_s3_options(ceph(), "contract");
    const char *endpoints[] = {"",           "ftp://h",    "http://",     "http://h/p",
                               "http://u@h", "http:/",     "http://h:0",  "http://h:65536",
                               "http://h:",  "http://h?x", "h",           "http://[::1",
                               "http://h h", "http://[]",  "http://a:b:c"};
    for (size_t i = 0; i < COUNT(endpoints); i++) {
        S3Options options = good;
        options.endpoint = str_from(endpoints[i]);
        CHECK(!store_s3_check(&options, &err));
        CHECK(err.kind == LH_INVALID && str_is(str_from(err_word(&err)), "bad_bucket"));
    }
    const char *buckets[] = {"", "ab", "a/b", "a b", "\xc3\xa9\xc3\xa9", "a?b"};
    for (size_t i = 0; i < COUNT(buckets); i++) {
        S3Options options = good;
        options.bucket = str_from(buckets[i]);
        CHECK(!store_s3_check(&options, &err));
    }
    S3Options options = good;
    options.prefix = STR("/x/");
    CHECK(!store_s3_check(&options, &err));
    options = good;
    options.secret_ref = (Str){0};
    CHECK(!store_s3_check(&options, &err));
    options = good; /* an address, which no bucket's name can stand before */
    options.path_style = false;
    CHECK(!store_s3_check(&options, &err));
    options = good;
    options.limits.part_bytes = 4 << 20;
    CHECK(!store_s3_check(&options, &err));
    const char *fine[] = {"http://h", "https://h.example:8443", "http://[::1]:7480", "http://h/"};
    for (size_t i = 0; i < COUNT(fine); i++) {
        options = good;
        options.endpoint = str_from(fine[i]);
        CHECK_OK(store_s3_check(&options, &err));
    }
}

/* Other ways to the same bucket. */

TEST("a bucket as the first label of the host is the same bucket") {
    S3Options options = kit_s3_options(ceph(), "contract");
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "http://localhost%s", strrchr(ceph()->endpoints[0], ':'));
    options.endpoint = str_from(endpoint);
    options.path_style = false;
    options.prefix = STR("hosted");
    OWNED(store_close) Store *store = open_store(&options);
    OWNED(arena_close) Arena arena = {0};
    put(store, "a b/c+d", "1");
    check_object(store, "a b/c+d", "1");
    CHECK_OK(store_probe(store, &err));
    CHECK_STR(listing(store, (ListOptions){0}, &arena, NULL), "a b/c+d");
}

TEST("over TLS all works, and a certificate of an unknown authority is refused") {
    S3Options options = kit_s3_options(ceph(), "contract");
    OWNED(arena_close) Arena arena = {0};
    Bytes data = pattern(&arena, 18 * MIB);
    char authority[128];
    ObjectInfo info;
    options.endpoint = str_from(ceph()->endpoints[2]);
    options.prefix = STR("tls");
    options.limits.retry_ms = 100;
    OWNED(store_close) Store *store = open_store(&options);
    check_offline(store_head(store, STR("k"), &info, &err), "bucket_unreachable");
    snprintf(authority, sizeof authority, "%s/tls.pem", ceph()->dir);
    setenv("SSL_CERT_FILE", authority, 1);
    CHECK_OK(store_write(store, STR("k"), data, NULL, &err));
    check_bytes(store, "k", data);
    PutCondition absent = {.if_absent = true};
    CHECK_OK(store_write(store, STR("k2"), data, &absent, &err));
    check_bytes(store, "k2", data);
    unsetenv("SSL_CERT_FILE");
}

/* Many at once. */

typedef struct Winners {
    Store *store;
    int round;
    _Atomic int won, lost, go;
} Winners;

static void *win_run(void *context) {
    Winners *w = context;
    Err mine = {0};
    char key[32], text[40];
    snprintf(key, sizeof key, "commit/%d", w->round);
    snprintf(text, sizeof text, "%p", (void *)&mine);
    PutCondition absent = {.if_absent = true};
    while (!w->go) continue;
    bool ok = store_write(w->store, str_from(key), bytes_of(str_from(text)), &absent, &mine);
    w->won += ok;
    w->lost += !ok && mine.kind == LH_PRECONDITION;
    return NULL;
}

TEST("50 times 16 writers of one absent key have exactly one winner each") {
    OWNED(store_close) Store *store = contract_store();
    for (int round = 0; round < 50; round++) {
        pthread_t threads[16];
        Winners w = {.store = store, .round = round};
        for (size_t i = 0; i < COUNT(threads); i++)
            CHECK(pthread_create(&threads[i], NULL, win_run, &w) == 0);
        w.go = 1;
        for (size_t i = 0; i < COUNT(threads); i++) pthread_join(threads[i], NULL);
        CHECK_INT(w.won, 1);
        CHECK_INT(w.lost, 15);
    }
}

typedef struct Crowd {
    Store *store;
    Bytes data;
    _Atomic int next;
} Crowd;

static void *crowd_run(void *context) {
    Crowd *crowd = context;
    OWNED(arena_close) Arena arena = {0};
    Err mine = {0};
    char key[32];
    ObjectList list;
    Bytes back;
    int number = crowd->next++;
    for (int i = 0; i < 4; i++) {
        Bytes data = {crowd->data.data, crowd->data.size - (size_t)(number * 1000 + i)};
        snprintf(key, sizeof key, "crowd/%d", number);
        if (!store_write(crowd->store, str_from(key), data, NULL, &mine)) return "write";
        if (!store_read(crowd->store, str_from(key), data.size, &arena, &back, &mine))
            return "read";
        if (back.size != data.size || memcmp(back.data, data.data, data.size) != 0) return "bytes";
        ListOptions options = {.prefix = STR("crowd/"), .limit = 100};
        if (!store_list(crowd->store, &options, &arena, &list, &mine)) return "list";
        if (!store_probe(crowd->store, &mine)) return "probe";
        if (!store_remove(crowd->store, str_from(key), &mine)) return "remove";
        arena_close(&arena);
    }
    return NULL;
}

TEST("16 threads write, read, list, probe and remove in one store at once") {
    OWNED(store_close) Store *store = contract_store();
    OWNED(arena_close) Arena arena = {0};
    Crowd crowd = {.store = store, .data = pattern(&arena, 9 * MIB)};
    pthread_t threads[16];
    for (size_t i = 0; i < COUNT(threads); i++)
        CHECK(pthread_create(&threads[i], NULL, crowd_run, &crowd) == 0);
    for (size_t i = 0; i < COUNT(threads); i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        if (failed) kit_fail(__FILE__, __LINE__, "a thread failed to %s", (char *)failed);
    }
}

/* A gateway that falls silent or dies; the last tests, for it does not come back. */

static Store *second_gateway(void) {
    S3Options options = kit_s3_options(ceph(), "contract");
    options.endpoint = str_from(ceph()->endpoints[1]);
    options.prefix = STR("second");
    options.limits.answer_timeout_ms = options.limits.stall_timeout_ms = 400;
    options.limits.connect_timeout_ms = 400;
    options.limits.retry_ms = 500;
    return open_store(&options);
}

/* Begins to read and to write, has `what` done to the gateway, and goes on with both. */
static void interrupt(int signal_number, Store *store, Bytes data) {
    OWNED(object_close) ObjectReader *reader = NULL;
    OWNED(writer_close) ObjectWriter *writer = NULL;
    OWNED(arena_close) Arena arena = {0};
    uint8_t *part = arena_alloc(&arena, MIB);
    size_t got;
    bool ok = true;
    int pid = kit_s3_pid(ceph(), "rgw2");
    CHECK(pid > 0);
    CHECK_OK(store_open(store, STR("big"), NULL, &reader, &err));
    CHECK_OK(store_create(store, STR("new"), NULL, &writer, &err));
    CHECK_OK(writer_write(writer, (Bytes){data.data, 20 * MIB}, &err));
    kill(pid, signal_number);
    int64_t start = clock_us();
    for (uint64_t at = 0; ok && at < data.size; at += got)
        ok = object_read(reader, at, part, MIB, &got, &err);
    check_offline(ok, "bucket_unreachable");
    ok = writer_write(writer, (Bytes){data.data, 30 * MIB}, &err) &&
         writer_commit(writer, NULL, &err);
    check_offline(ok, "bucket_unreachable");
    object_close(&reader);
    CHECK((clock_us() - start) / 1000 < 6000);
    start = clock_us();
    check_offline(store_probe(store, &err), "bucket_unreachable");
    CHECK((clock_us() - start) / 1000 < 1500);
    if (signal_number == SIGSTOP) kill(pid, SIGCONT);
}

TEST("a gateway that is stopped while objects move is out of reach in time, and back when it is") {
    OWNED(store_close) Store *store = second_gateway();
    OWNED(arena_close) Arena arena = {0};
    Bytes data = pattern(&arena, 60 * MIB);
    CHECK_OK(store_probe(store, &err));
    CHECK_OK(store_write(store, STR("big"), data, NULL, &err));
    interrupt(SIGSTOP, store, data);
    CHECK_OK(store_probe(store, &err));
    check_bytes(store, "big", data);
    check_missing(store, "new");
    CHECK_INT(uploads_left("contract"), 0);
}

TEST("a gateway that is killed while objects move is out of reach at once") {
    OWNED(store_close) Store *store = second_gateway();
    OWNED(arena_close) Arena arena = {0};
    CHECK_OK(store_probe(store, &err));
    interrupt(SIGKILL, store, pattern(&arena, 60 * MIB));
    ObjectInfo info;
    check_offline(store_head(store, STR("big"), &info, &err), "bucket_unreachable");
    int64_t start = clock_us(); /* it was found to be down: nobody waits for retries any more */
    check_offline(store_head(store, STR("big"), &info, &err), "bucket_unreachable");
    CHECK((clock_us() - start) / 1000 < 100);
    check_offline(put_if(store, "x", "1", (PutCondition){.if_absent = true}), "bucket_unreachable");
}

TEST("a gateway whose disks are gone takes requests and never answers: out of reach in time") {
    S3Options options = kit_s3_options(ceph(), "contract");
    OWNED(arena_close) Arena arena = {0};
    ObjectInfo info;
    options.limits.answer_timeout_ms = 500;
    options.limits.retry_ms = 300;
    OWNED(store_close) Store *store = open_store(&options);
    CHECK_OK(store_write(store, STR("k"), bytes_of(STR("x")), NULL, &err));
    kill(kit_s3_pid(ceph(), "osd0"), SIGKILL);
    int64_t start = clock_us();
    check_offline(store_head(store, STR("k"), &info, &err), "bucket_unreachable");
    check_offline(store_write(store, STR("k"), bytes_of(STR("y")), NULL, &err),
                  "bucket_unreachable");
    check_offline(store_write(store, STR("big"), pattern(&arena, 20 * MIB), NULL, &err),
                  "bucket_unreachable");
    check_offline(store_probe(store, &err), "bucket_unreachable");
    CHECK((clock_us() - start) / 1000 < 5000);
}
