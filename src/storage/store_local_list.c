/* Listing the local backend in byte order of keys.
 *
 * A folder's names are read at once and sorted with '/' behind those of folders; then walking them
 * in order, depth first, yields keys in byte order ("a.txt" before "a/b", for '.' sorts before
 * '/'). The walk starts in the folder that the prefix names and leaves out whatever lies before
 * `after`, so that a page costs its own folders and not the tree. */
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

typedef struct Names {
    Name *items;
    size_t len, cap;
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
    return is_folder(path) && str_starts(after, path) && path.len <= after.len;
}

static void names_add(Names *names, Name name, Arena *scratch) {
    if (names->len == names->cap) {
        size_t cap = MAX(names->cap * 2, 64);
        Name *items = arena_array(scratch, Name, cap);
        if (names->len) memcpy(items, names->items, names->len * sizeof *items);
        *names = (Names){items, names->len, cap};
    }
    names->items[names->len++] = name;
}

static unsigned char type_of(int folder, const struct dirent *entry) {
    struct stat info;
    if (entry->d_type != DT_UNKNOWN) return entry->d_type;
    if (fstatat(folder, entry->d_name, &info, AT_SYMLINK_NOFOLLOW)) return DT_UNKNOWN;
    return S_ISDIR(info.st_mode) ? DT_DIR : S_ISREG(info.st_mode) ? DT_REG : DT_UNKNOWN;
}

static void names_take(Walk *walk, int folder, Str path, const struct dirent *entry, Names *names) {
    Err ignored;
    unsigned char type = type_of(folder, entry);
    if (type != DT_REG && type != DT_DIR) return;
    Str name = str_from(entry->d_name);
    if (str_is(name, ".") || str_is(name, "..")) return;
    char full[STORE_KEY_MAX + 1];
    size_t len = path.len + name.len;
    if (len + 1 > sizeof full) return;
    if (path.len) memcpy(full, path.data, path.len);
    memcpy(full + path.len, name.data, name.len);
    Str key = {full, len};
    if (!key_check(key, &ignored)) return; /* ours, or put there by somebody under no key */
    if (type == DT_DIR) full[key.len++] = '/';
    if (!walk_wants(walk, key)) return;
    Str copy = arena_copy(walk->scratch, key);
    names_add(names, (Name){copy, str_slice(copy, path.len, len)}, walk->scratch);
}

static int name_compare(const void *a, const void *b) {
    return str_compare(((const Name *)a)->path, ((const Name *)b)->path);
}

static bool names_read(Walk *walk, int folder, Str path, Names *names, Err *err) {
    int again = openat(folder, ".", O_DIRECTORY | O_CLOEXEC);
    DIR *dir = again < 0 ? NULL : fdopendir(again);
    if (!dir) return local_errno(err, "cannot list '%.*s'", SHOW(path));
    for (struct dirent *entry; (entry = readdir(dir));)
        names_take(walk, folder, path, entry, names);
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
    bool found = false;
    int again = openat(folder, ".", O_DIRECTORY | O_CLOEXEC);
    DIR *dir = again < 0 ? NULL : fdopendir(again);
    for (struct dirent *entry; dir && !found && (entry = readdir(dir));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
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

static bool walk_folder(Walk *walk, int folder, Str path, Err *err) {
    Names names = {0};
    if (!names_read(walk, folder, path, &names, err)) return false;
    for (size_t i = 0; i < names.len && !walk->more; i++)
        if (!walk_name(walk, folder, &names.items[i], err)) return false;
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
