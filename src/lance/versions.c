/* Which versions a table has: names in <path>/_versions/.
 *
 *     18446744073709551614.manifest   version 1: 2^64 - 1 - version in 20 digits, newest first
 *     1.manifest                      the same as old tables spell it
 *     d*.manifest                     detached from the history: not ours to see
 *
 * A table keeps to one spelling. Anything else in the folder is of no interest. */
#include "lance/versions.h"

#include <stdlib.h>

#define NEW_NAME_DIGITS 20

static bool name_read(Str name, bool *old_name, uint64_t *version) {
    uint64_t number;
    Str suffix = STR(".manifest");
    if (!str_ends(name, suffix)) return false;
    Str digits = str_slice(name, 0, name.len - suffix.len);
    if (!str_to_u64(digits, &number)) return false;
    *old_name = digits.len != NEW_NAME_DIGITS;
    *version = *old_name ? number : UINT64_MAX - number;
    return *version > 0;
}

static bool version_add(VersionList *list, Arena *arena, bool old_name, uint64_t version,
                        Err *err) {
    if (list->count > 0 && list->old_names != old_name)
        return err_set(err, LH_CORRUPT, "the table spells the names of its versions in two ways");
    list->old_names = old_name;
    if (list->count == list->cap) {
        size_t cap = list->cap ? list->cap * 2 : 64;
        uint64_t *grown = arena_array(arena, uint64_t, cap);
        for (size_t i = 0; i < list->count; i++) grown[i] = list->versions[i];
        list->versions = grown;
        list->cap = cap;
    }
    list->versions[list->count++] = version;
    return true;
}

static int by_value(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* One page of names; with new names the first is the newest, so that one page may be enough. */
static bool page_add(const ObjectList *page, size_t prefix, Arena *arena, VersionList *list,
                     Err *err) {
    for (size_t i = 0; i < page->object_count; i++) {
        bool old_name;
        uint64_t version;
        Str name = str_slice(page->objects[i].key, prefix, page->objects[i].key.len);
        if (name_read(name, &old_name, &version) &&
            !version_add(list, arena, old_name, version, err))
            return false;
    }
    return true;
}

bool versions_list(Store *store, Str path, bool newest_only, Arena *arena, VersionList *out,
                   Err *err) {
    VersionList list = {0};
    ListOptions options = {.prefix = arena_print(arena, "%.*s/_versions/", SHOW(path)),
                           .limit = STORE_LIST_MAX};
    for (;;) {
        ObjectList page;
        if (!store_list(store, &options, arena, &page, err) ||
            !page_add(&page, options.prefix.len, arena, &list, err))
            return false;
        bool enough = newest_only && list.count > 0 && !list.old_names;
        if (page.next.len == 0 || enough) break;
        options.after = page.next;
    }
    if (list.count) qsort(list.versions, list.count, sizeof *list.versions, by_value);
    *out = list;
    return true;
}
