/* Listing the local backend in byte order of keys.
 *
 * A folder's names are sorted with '/' behind those of folders; then walking them in order, depth
 * first, yields keys in byte order ("a.txt" before "a/b", for '.' sorts before '/'). The walk
 * starts in the folder that the prefix names and leaves out whatever lies before `after`, so that a
 * page costs its own folders and not the tree. Of a large folder only the names that can still fit
 * on the page are kept, in a heap: a page of it costs one pass over its names, and memory for a
 * page. */
#include "storage/store_local.h"

#include "base/file.h"
#include "base/owned.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

typedef struct Name {
    Str path; /* from the root; of a folder: with '/' behind it */
    Str name;
} Name;

/* The smallest names of a folder above `from`, at most one more than a page; a heap with the
 * largest on top while they are collected. */
typedef struct Names {
    Name *items;
    size_t len, cap, max;
    Str from;
    bool dropped; /* there are more above the largest */
} Names;

typedef struct Walk {
    LocalStore *store;
    const ListOptions *options;
    Arena *arena;   /* of what is answered */
    Arena *scratch; /* of names on the way */
    ObjectList *out;
    bool more; /* something follows the last that was taken */
} Walk;

static bool is_folder(Str path) {
    return path.len > 0 && path.data[path.len - 1] == '/';
}

/* Whether anything at or below `path` can be an answer. */
static bool walk_wants(const Walk *walk, Str path) {
    Str prefix = walk->options->prefix, after = walk->options->after;
    if (!str_starts(path, prefix) && !(is_folder(path) && str_starts(prefix, path))) return false;
    if (str_compare(path, after) > 0) return true;
    return is_folder(path) && str_starts(after, path);
}

static bool name_above(const Name *a, const Name *b) {
    return str_compare(a->path, b->path) > 0;
}

static void name_swap(Name *a, Name *b) {
    Name kept = *a;
    *a = *b;
    *b = kept;
}

static void heap_down(Names *names) {
    for (size_t at = 0;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < names->len && name_above(&names->items[child + 1], &names->items[child]))
            child++;
        if (child >= names->len || !name_above(&names->items[child], &names->items[at])) return;
        name_swap(&names->items[at], &names->items[child]);
        at = child;
    }
}

static void heap_up(Names *names, size_t at) {
    for (; at > 0 && name_above(&names->items[at], &names->items[(at - 1) / 2]); at = (at - 1) / 2)
        name_swap(&names->items[at], &names->items[(at - 1) / 2]);
}

static void names_grow(Names *names, Arena *scratch) {
    if (names->len < names->cap) return;
    names->cap = MIN(MAX(names->cap * 2, (size_t)64), names->max);
    Name *items = arena_array(scratch, Name, names->cap);
    if (names->len) memcpy(items, names->items, names->len * sizeof *items);
    names->items = items;
}

static void names_add(Names *names, Str path, size_t folder_len, Arena *scratch) {
    bool full = names->items && names->len == names->max;
    if (full) names->dropped = true;
    if (full && str_compare(path, names->items[0].path) > 0) return;
    Str copy = arena_copy(scratch, path);
    Name name = {copy, str_slice(copy, folder_len, copy.len - is_folder(copy))};
    if (full) {
        names->items[0] = name;
        heap_down(names);
    } else {
        names_grow(names, scratch);
        names->items[names->len] = name;
        heap_up(names, names->len++);
    }
}

static unsigned char type_of(int folder, const struct dirent *entry) {
    struct stat info;
    if (entry->d_type != DT_UNKNOWN) return entry->d_type;
    if (fstatat(folder, entry->d_name, &info, AT_SYMLINK_NOFOLLOW)) return DT_UNKNOWN;
    return S_ISDIR(info.st_mode) ? DT_DIR : S_ISREG(info.st_mode) ? DT_REG : DT_UNKNOWN;
}

/* Ours, or put there by somebody under a name that is no key: not listed. */
static bool is_key_part(Str path, Str name) {
    if (path.len == 0 && str_is(name, ".lakehouse")) return false;
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.data[i] < 0x20 || name.data[i] == 0x7f) return false;
    return str_is_utf8(name);
}

/* `full` begins with the folder's own path. */
static void names_take(Walk *walk, int folder, Str path, char full[STORE_KEY_MAX + 2],
                       const struct dirent *entry, Names *names) {
    unsigned char type = type_of(folder, entry);
    if (type != DT_REG && type != DT_DIR) return;
    Str name = str_from(entry->d_name);
    if (str_is(name, ".") || str_is(name, "..") || path.len + name.len > STORE_KEY_MAX) return;
    memcpy(full + path.len, name.data, name.len);
    Str key = {full, path.len + name.len};
    if (type == DT_DIR) full[key.len++] = '/';
    if (walk_wants(walk, key) && str_compare(key, names->from) > 0 && is_key_part(path, name))
        names_add(names, key, path.len, walk->scratch);
}

static int name_compare(const void *a, const void *b) {
    return str_compare(((const Name *)a)->path, ((const Name *)b)->path);
}

static bool names_read(Walk *walk, int folder, Str path, Names *names, Err *err) {
    char full[STORE_KEY_MAX + 2];
    int again = openat(folder, ".", O_DIRECTORY | O_CLOEXEC);
    DIR *dir = again < 0 ? NULL : fdopendir(again);
    if (!dir) return local_errno(err, "cannot list '%.*s'", SHOW(path));
    if (path.len) memcpy(full, path.data, path.len);
    for (struct dirent *entry; (entry = readdir(dir));)
        names_take(walk, folder, path, full, entry, names);
    closedir(dir);
    if (names->len) qsort(names->items, names->len, sizeof *names->items, name_compare);
    return true;
}

/* False once the page is full: there is more. */
static bool walk_room(Walk *walk) {
    walk->more = walk->out->object_count + walk->out->prefix_count == walk->options->limit;
    return !walk->more;
}

static void take_object(Walk *walk, int folder, const Name *name) {
    struct stat info;
    const char *leaf = arena_cstr(walk->scratch, name->name);
    if (fstatat(folder, leaf, &info, AT_SYMLINK_NOFOLLOW) || !S_ISREG(info.st_mode)) return;
    if (!walk_room(walk)) return;
    ObjectEntry *entry = &walk->out->objects[walk->out->object_count++];
    entry->key = arena_copy(walk->arena, name->path);
    local_info(&info, &entry->info);
    walk->out->next = entry->key;
}

/* Whether a folder holds an object at any depth: an empty one is no common prefix. */
static bool holds_object(int folder) {
    Str below = STR("/"); /* anywhere but at the root */
    bool found = false;
    int again = openat(folder, ".", O_DIRECTORY | O_CLOEXEC);
    DIR *dir = again < 0 ? NULL : fdopendir(again);
    for (struct dirent *entry; dir && !found && (entry = readdir(dir));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (!is_key_part(below, str_from(entry->d_name))) continue;
        unsigned char type = type_of(folder, entry);
        if (type == DT_REG) found = true;
        if (type != DT_DIR) continue;
        OWNED(fd_close)
        int inner = openat(folder, entry->d_name, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        found = inner >= 0 && holds_object(inner);
    }
    if (dir) closedir(dir);
    return found;
}

static void take_prefix(Walk *walk, int folder, const Name *name) {
    if (str_compare(name->path, walk->options->after) <= 0 || !holds_object(folder)) return;
    if (!walk_room(walk)) return;
    Str prefix = arena_copy(walk->arena, name->path);
    walk->out->prefixes[walk->out->prefix_count++] = prefix;
    walk->out->next = prefix;
}

static bool walk_folder(Walk *walk, int folder, Str path, Err *err);

static bool walk_name(Walk *walk, int folder, const Name *name, Err *err) {
    if (!is_folder(name->path)) return take_object(walk, folder, name), true;
    const char *leaf = arena_cstr(walk->scratch, name->name);
    OWNED(fd_close) int inner = openat(folder, leaf, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (inner < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)) return true;
    if (inner < 0) return local_errno(err, "cannot list '%.*s'", SHOW(name->path));
    bool below_prefix = name->path.len > walk->options->prefix.len;
    if (walk->options->delimiter.len && below_prefix) return take_prefix(walk, inner, name), true;
    return walk_folder(walk, inner, name->path, err);
}

/* Nearly always one round: another only when names were dropped and folders among the kept ones
 * turned out to hold nothing. */
static bool walk_folder(Walk *walk, int folder, Str path, Err *err) {
    Names names = {.max = walk->options->limit + 1};
    do {
        Str from = names.len ? names.items[names.len - 1].path : (Str){0};
        names = (Names){.max = walk->options->limit + 1, .from = from};
        if (!names_read(walk, folder, path, &names, err)) return false;
        for (size_t i = 0; i < names.len && !walk->more; i++)
            if (!walk_name(walk, folder, &names.items[i], err)) return false;
    } while (names.dropped && !walk->more);
    return true;
}

/* The folder part of the prefix, with its '/', or empty. */
static Str prefix_folder(Str prefix) {
    while (prefix.len > 0 && prefix.data[prefix.len - 1] != '/') prefix.len--;
    return prefix;
}

bool local_list(Store *base, const ListOptions *options, Arena *arena, ObjectList *out, Err *err) {
    LocalStore *store = (LocalStore *)base;
    OWNED(arena_close) Arena scratch = {0};
    ObjectList list = {.objects = arena_array(arena, ObjectEntry, options->limit),
                       .prefixes = arena_array(arena, Str, options->limit)};
    Walk walk = {store, options, arena, &scratch, &list, false};
    Str start = prefix_folder(options->prefix);
    const char *path = start.len ? arena_cstr(&scratch, str_slice(start, 0, start.len - 1)) : ".";
    if (!local_ready(store, err)) return false;
    OWNED(fd_close) int folder = local_resolve(store->root_fd, path, O_DIRECTORY);
    if (folder < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP && errno != EXDEV &&
        errno != ENAMETOOLONG)
        return local_errno(err, "cannot list '%.*s'", SHOW(options->prefix));
    if (folder >= 0 && !walk_folder(&walk, folder, start, err)) return false;
    if (!walk.more) list.next = (Str){0};
    *out = list;
    return true;
}
