/* The watched folder. A file is taken by renaming it to working/<id>-<name>, where the id is new
 * and becomes the source of the commit's lineage. So what a kill leaves in working/ is known to be
 * ingested when the dataset's history names its id, and otherwise is ingested then; moving a file
 * to done/ comes last.
 *
 * inotify tells of files that were closed or renamed in; a look through the folder at start and now
 * and then finds what came while nobody looked, and leaves out what somebody still writes (a lease
 * is refused on such a file). */
#include "ingest/ingest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_MS 5000
#define ID_LEN 16
#define FILES_MAX 100000 /* of one look; the rest is found by the next */

struct Watch {
    Catalog *catalog;
    Engine *engine;
    Buckets *buckets;
    WatchOptions options;
    char dir[PATH_MAX];
    int inotify, wake;
    pthread_t thread;
    atomic_bool closing;
    bool started;
    Arena arena;
};

typedef struct Names {
    char **items;
    size_t len, cap;
} Names;

static void names_close(Names *names) {
    for (size_t i = 0; i < names->len; i++) free(names->items[i]);
    free(names->items);
}

static void names_add(Names *names, const char *name) {
    if (names->len == names->cap) {
        names->cap = MAX(names->cap * 2, 64);
        names->items = realloc(names->items, names->cap * sizeof *names->items);
        if (!names->items) abort();
    }
    names->items[names->len] = strdup(name);
    if (!names->items[names->len++]) abort();
}

static int name_order(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool path_of(const Watch *watch, const char *folder, const char *name, char out[PATH_MAX],
                    Err *err) {
    int len = snprintf(out, PATH_MAX, "%s/%s%s%s", watch->dir, folder, folder[0] ? "/" : "", name);
    return len < PATH_MAX || err_set(err, LH_INVALID, "the path of '%s' is too long", name);
}

/* The regular files of a folder, in order of their names. Those that begin with a dot are not
 * meant yet: that is how many tools write a file before they rename it. */
static bool list_files(const Watch *watch, const char *folder, Names *out, Err *err) {
    char path[PATH_MAX];
    struct stat info;
    if (!path_of(watch, folder, "", path, err)) return false;
    DIR *dir = opendir(path);
    if (!dir) return err_errno(err, "cannot read '%s'", path);
    for (struct dirent *entry; out->len < FILES_MAX && (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') continue;
        if (fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(info.st_mode))
            names_add(out, entry->d_name);
    }
    closedir(dir);
    if (out->len) qsort(out->items, out->len, sizeof *out->items, name_order);
    return true;
}

/* Whether somebody has it open for writing. Where leases are not known, its age tells. */
static bool is_being_written(const char *path) {
    struct stat info;
    OWNED(fd_close) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return true;
    if (fcntl(fd, F_SETLEASE, F_RDLCK) == 0) return fcntl(fd, F_SETLEASE, F_UNLCK), false;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return true;
    return fstat(fd, &info) || clock_now_ms() - (int64_t)info.st_mtim.tv_sec * 1000 < LOOK_MS;
}

/* The dataset of a file: {name} is what stands before its first dot, as an identifier. */
static Str dataset_of(const Watch *watch, const char *file, Arena *arena) {
    OWNED(text_close) Text out = {0};
    size_t at;
    Str pattern = watch->options.dataset, rest = str_from(file), stem = str_until(&rest, '.');
    if (!str_find(pattern, STR("{name}"), &at)) return pattern;
    text_add(&out, str_slice(pattern, 0, at));
    for (size_t i = 0; i < stem.len && i < 63; i++) {
        char c = stem.data[i];
        if (c >= 'A' && c <= 'Z') c |= 0x20;
        bool fits = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (out.len == 0 && c >= '0' && c <= '9') text_add_byte(&out, '_');
        text_add_byte(&out, fits ? c : '_');
    }
    text_add(&out, str_slice(pattern, at + 6, pattern.len));
    return arena_copy(arena, text_str(&out));
}

/* Moving. */

static bool move_file(const char *from, const char *to, Err *err) {
    return rename(from, to) == 0 || err_errno(err, "cannot move '%s'", from);
}

static bool keep_reason(const char *file, const Err *why, Err *err) {
    char path[PATH_MAX + 16];
    char text[sizeof why->message + 64];
    snprintf(path, sizeof path, "%s.reason.txt", file);
    int len = snprintf(text, sizeof text, "%s: %s\n", err_word(why), why->message);
    return file_replace(path, bytes_of((Str){text, (size_t)len}), err);
}

/* done/ and failed/ keep every file: a name that is taken gets the id before it. `why` NULL: done;
 * else the reason is there before the file. */
static bool file_away(const Watch *watch, const char *working, const Err *why, Err *err) {
    char from[PATH_MAX], where[PATH_MAX];
    struct stat info;
    const char *folder = why ? "failed" : "done";
    const char *name = working + ID_LEN + 1;
    if (!path_of(watch, "working", working, from, err) || !path_of(watch, folder, name, where, err))
        return false;
    if (lstat(where, &info) == 0 && !path_of(watch, folder, working, where, err)) return false;
    return (!why || keep_reason(where, why, err)) && move_file(from, where, err);
}

/* Ingesting. */

static bool read_file(void *context, void *buffer, size_t size, size_t *got, Err *err) {
    ssize_t n;
    do n = read(*(int *)context, buffer, size);
    while (n < 0 && errno == EINTR);
    if (n < 0) return err_errno(err, "cannot read the file");
    *got = (size_t)n;
    return true;
}

static bool is_closing(void *context) {
    const Watch *watch = context;
    return watch->closing;
}

/* The first file of a name makes its dataset. */
static bool mode_now(Watch *watch, Str dataset, Str *mode, Err *err) {
    OWNED(table_release) Table *table = NULL;
    *mode = watch->options.mode;
    if (!str_is(*mode, "append") || catalog_load(watch->catalog, dataset, 0, &table, err))
        return true;
    if (err->kind != LH_MISSING) return false;
    *err = (Err){0};
    *mode = STR("create");
    return true;
}

static bool ingest_one(Watch *watch, const char *path, Str dataset, Str source, Err *err) {
    OWNED(text_close) Text result = {0};
    OWNED(fd_close) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return err_errno(err, "cannot open '%s'", path);
    IngestFile file = {.dataset = dataset,
                       .bucket = watch->options.bucket,
                       .format = STR("auto"),
                       .source_system = "watcher",
                       .source = source,
                       .cancelled = is_closing,
                       .context = watch};
    return mode_now(watch, dataset, &file.mode, err) &&
           ingest_file(watch->catalog, watch->engine, watch->buckets, &file, read_file, &fd,
                       &result, err);
}

/* What may pass by itself leaves the file in working/ for a later try; an unknown outcome too: the
 * dataset's history will tell. */
static bool passes(const Err *err) {
    return err->kind == LH_OFFLINE || err->kind == LH_TIMEOUT || err->kind == LH_CANCELLED ||
           err->kind == LH_BUSY || err->kind == LH_FULL;
}

static void work(Watch *watch, const char *working) {
    OWNED(arena_close) Arena arena = {0};
    char path[PATH_MAX];
    Err err = {0};
    bool known = false;
    Str dataset = dataset_of(watch, working + ID_LEN + 1, &arena);
    Str source = arena_print(&arena, "watch/%s", working);
    bool ok = path_of(watch, "working", working, path, &err) && dataset_name_check(dataset, &err) &&
              catalog_has_source(watch->catalog, dataset, source, &known, &err) &&
              (known || ingest_one(watch, path, dataset, source, &err));
    if (!ok && passes(&err)) {
        if (!watch->closing) log_warn("watched folder: '%s' waits: %s", working, err.message);
        return;
    }
    Err moving = {0};
    if (!ok) log_warn("watched folder: '%s': %s", working + ID_LEN + 1, err.message);
    if (!file_away(watch, working, ok ? NULL : &err, &moving))
        log_warn("watched folder: %s", moving.message);
}

static bool take(Watch *watch, const char *name, char working[NAME_MAX + 1], Err *err) {
    char from[PATH_MAX], to[PATH_MAX];
    int len = snprintf(working, NAME_MAX + 1, "%016llx-%s", (unsigned long long)random_u64(), name);
    if (len > NAME_MAX) return err_set(err, LH_INVALID, "the name '%s' is too long", name);
    return path_of(watch, "", name, from, err) && path_of(watch, "working", working, to, err) &&
           !is_being_written(from) && move_file(from, to, err);
}

static void look(Watch *watch) {
    OWNED(names_close) Names left = {0};
    OWNED(names_close) Names fresh = {0};
    Err err = {0};
    if (!list_files(watch, "working", &left, &err) || !list_files(watch, "", &fresh, &err))
        return log_warn("watched folder: %s", err.message);
    for (size_t i = 0; i < left.len && !watch->closing; i++)
        if (strlen(left.items[i]) > ID_LEN + 1) work(watch, left.items[i]);
    for (size_t i = 0; i < fresh.len && !watch->closing; i++) {
        char working[NAME_MAX + 1];
        err = (Err){0};
        if (take(watch, fresh.items[i], working, &err))
            work(watch, working);
        else if (err.kind != LH_OK && err.kind != LH_MISSING)
            log_warn("watched folder: %s", err.message);
    }
}

static void drain(int fd) {
    char buffer[16 << 10];
    while (read(fd, buffer, sizeof buffer) > 0) continue;
}

static void *watch_loop(void *context) {
    Watch *watch = context;
    while (!watch->closing) {
        struct pollfd fds[] = {
            {.fd = watch->inotify, .events = POLLIN},
            {.fd = watch->wake,    .events = POLLIN}
        };
        drain(watch->inotify); /* before the look: what comes during it wakes the next */
        look(watch);
        if (!watch->closing) poll(fds, COUNT(fds), LOOK_MS);
    }
    return NULL;
}

static bool make_folders(Watch *watch, Err *err) {
    static const char *const folders[] = {"working", "done", "failed"};
    char path[PATH_MAX];
    const char *dir = arena_cstr(&watch->arena, watch->options.dir);
    if (!dir_make(dir, err)) return false;
    if (!realpath(dir, watch->dir)) return err_errno(err, "cannot find '%s'", dir);
    for (size_t i = 0; i < COUNT(folders); i++)
        if (!path_of(watch, "", folders[i], path, err) || !dir_make(path, err)) return false;
    return true;
}

static bool options_check(const WatchOptions *options, Err *err) {
    size_t at;
    if (options->dataset.len == 0)
        return err_set(err, LH_INVALID, "a watched folder needs a dataset: a name, or '{name}'");
    if (!str_is(options->mode, "append") && !str_is(options->mode, "replace"))
        return err_set(err, LH_INVALID, "the mode of a watched folder is append or replace");
    return str_find(options->dataset, STR("{name}"), &at) ||
           dataset_name_check(options->dataset, err);
}

bool watch_folder_open(Catalog *catalog, Engine *engine, Buckets *buckets,
                       const WatchOptions *options, Watch **out, Err *err) {
    if (!options_check(options, err)) return false;
    OWNED(watch_folder_close) Watch *watch = calloc(1, sizeof *watch);
    if (!watch) abort();
    *watch = (Watch){.catalog = catalog,
                     .engine = engine,
                     .buckets = buckets,
                     .options = *options,
                     .inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC),
                     .wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (watch->inotify < 0 || watch->wake < 0) return err_errno(err, "cannot watch a folder");
    if (!make_folders(watch, err)) return false;
    if (inotify_add_watch(watch->inotify, watch->dir, IN_CLOSE_WRITE | IN_MOVED_TO) < 0)
        return err_errno(err, "cannot watch '%s'", watch->dir);
    if (pthread_create(&watch->thread, NULL, watch_loop, watch)) abort();
    watch->started = true;
    *out = TAKE(watch);
    return true;
}

void watch_folder_close(Watch **closing) {
    Watch *watch = TAKE(*closing);
    if (!watch) return;
    watch->closing = true;
    if (watch->started) {
        uint64_t one = 1;
        if (write(watch->wake, &one, sizeof one) < 0) log_warn("watched folder: cannot wake");
        pthread_join(watch->thread, NULL);
    }
    fd_close(&watch->inotify);
    fd_close(&watch->wake);
    arena_close(&watch->arena);
    free(watch);
}
