/* Listing with ListObjectsV2. Keys come percent-encoded (encoding-type=url), for XML cannot carry
 * each byte of them. What store.h refuses as a key is skipped: nobody could ask for it.
 *
 * `after` becomes start-after. Where it lies in a common prefix, servers differ on whether the
 * prefix is listed again: it is asked for what stands behind all of it, and what comes all the same
 * is dropped here. */
#include "storage/s3_store.h"

#include <string.h>

#define LAST_OF_PREFIX "\xf4\x8f\xbf\xbf" /* U+10FFFF */

typedef struct Listing {
    S3Store *store;
    const ListOptions *options;
    Arena *arena;
    ObjectList *out;
    Str token;
    bool more;
} Listing;

static size_t taken(const ObjectList *list) {
    return list->object_count + list->prefix_count;
}

static size_t page_query(const Listing *listing, size_t limit, S3Pair out[8]) {
    const ListOptions *options = listing->options;
    Arena *arena = listing->arena;
    const char *prefix = listing->store->prefix;
    size_t count = 0;
    out[count++] = (S3Pair){STR("list-type"), STR("2")};
    out[count++] = (S3Pair){STR("encoding-type"), STR("url")};
    out[count++] = (S3Pair){STR("max-keys"), arena_print(arena, "%zu", limit)};
    out[count++] =
        (S3Pair){STR("prefix"), arena_print(arena, "%s%.*s", prefix, SHOW(options->prefix))};
    if (options->delimiter.len) out[count++] = (S3Pair){STR("delimiter"), options->delimiter};
    if (listing->token.len) {
        out[count++] = (S3Pair){STR("continuation-token"), listing->token};
    } else if (options->after.len) {
        bool in_prefix = options->delimiter.len && str_ends(options->after, options->delimiter);
        Str after = arena_print(arena, "%s%.*s%s", prefix, SHOW(options->after),
                                in_prefix ? LAST_OF_PREFIX : "");
        out[count++] = (S3Pair){STR("start-after"), after};
    }
    return count;
}

static bool page_read(Listing *listing, size_t limit, S3Page *out, Err *err) {
    OWNED(s3_answer_close) S3Answer answer = {0};
    S3Client *client = listing->store->client;
    S3Pair query[8];
    size_t count = page_query(listing, limit, query);
    S3Call call = {.method = "GET", .query = query, .query_count = count};
    if (!s3_call(client, &call, &answer, err)) return false;
    if (answer.status != 200) return s3_refused(client, &answer, listing->options->prefix, err);
    return s3_xml_list(text_bytes(&answer.reply.body), limit, listing->arena, out, err);
}

/* The part behind the store's prefix; empty when the server sent what was not asked for. */
static Str own_part(const Listing *listing, Str key) {
    Str prefix = str_from(listing->store->prefix);
    if (!str_starts(key, prefix)) return (Str){0};
    key = str_slice(key, prefix.len, key.len);
    if (!str_starts(key, listing->options->prefix)) return (Str){0};
    return str_compare(key, listing->options->after) > 0 ? key : (Str){0};
}

static void take_object(Listing *listing, const ObjectEntry *entry) {
    Str key = own_part(listing, entry->key);
    Err ignored;
    if (!key_check(key, &ignored)) return;
    listing->out->objects[listing->out->object_count++] = (ObjectEntry){key, entry->info};
}

static void take_prefix(Listing *listing, Str full) {
    Str prefix = own_part(listing, full);
    Err ignored;
    if (!str_ends(prefix, STR("/")) || !key_check(str_slice(prefix, 0, prefix.len - 1), &ignored))
        return;
    listing->out->prefixes[listing->out->prefix_count++] = prefix;
}

static Str last_taken(const ObjectList *list) {
    Str key = {0}, prefix = {0};
    if (list->object_count) key = list->objects[list->object_count - 1].key;
    if (list->prefix_count) prefix = list->prefixes[list->prefix_count - 1];
    return str_compare(key, prefix) > 0 ? key : prefix;
}

bool s3_store_list(Store *base, const ListOptions *options, Arena *arena, ObjectList *out,
                   Err *err) {
    ObjectList list = {.objects = arena_array(arena, ObjectEntry, options->limit),
                       .prefixes = arena_array(arena, Str, options->limit)};
    Listing listing = {.store = (S3Store *)base, .options = options, .arena = arena, .out = &list};
    do {
        S3Page page = {0};
        size_t limit = options->limit - taken(&list);
        if (!page_read(&listing, limit, &page, err)) return false;
        if (page.object_count + page.prefix_count > limit)
            return err_code(err, LH_OFFLINE, "bucket_unreachable",
                            "the bucket's server listed more than it was asked for");
        for (size_t i = 0; i < page.object_count; i++) take_object(&listing, &page.objects[i]);
        for (size_t i = 0; i < page.prefix_count; i++) take_prefix(&listing, page.prefixes[i]);
        listing.more = page.truncated && page.token.len && !str_equal(page.token, listing.token);
        listing.token = page.token;
    } while (listing.more && taken(&list) < options->limit);
    if (listing.more) list.next = last_taken(&list);
    *out = list;
    return true;
}
