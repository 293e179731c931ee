/* The data files of a table that are open: see open_files.h. */
#include "lance/open_files.h"

#include <stdlib.h>
#include <string.h>

struct OpenFile {
    OpenFile *next; /* of its chain */
    LanceFile *file;
    int holders;
    uint64_t used;
    char name[];
};

void open_files_init(OpenFiles *files) {
    *files = (OpenFiles){0};
    pthread_mutex_init(&files->lock, NULL);
}

static void open_file_free(OpenFile *open) {
    lance_file_close(&open->file);
    free(open);
}

void open_files_close(OpenFiles *files) {
    for (size_t i = 0; i < OPEN_FILES_CHAINS; i++)
        for (OpenFile *next; files->chains[i]; files->chains[i] = next) {
            next = files->chains[i]->next;
            open_file_free(files->chains[i]);
        }
    pthread_mutex_destroy(&files->lock);
}

static size_t chain_of(Str name) {
    return hash64(bytes_of(name)) % OPEN_FILES_CHAINS;
}

static OpenFile *find(OpenFiles *files, Str name) {
    for (OpenFile *open = files->chains[chain_of(name)]; open; open = open->next)
        if (str_is(name, open->name)) return open;
    return NULL;
}

static OpenFile **oldest_idle(OpenFiles *files) {
    OpenFile **oldest = NULL;
    for (size_t i = 0; i < OPEN_FILES_CHAINS; i++)
        for (OpenFile **at = &files->chains[i]; *at; at = &(*at)->next)
            if ((*at)->holders == 0 && (!oldest || (*at)->used < (*oldest)->used)) oldest = at;
    return oldest;
}

/* Under the lock. */
static void evict(OpenFiles *files) {
    OpenFile **place = files->count > OPEN_FILES_MAX ? oldest_idle(files) : NULL;
    if (!place) return;
    OpenFile *open = *place;
    *place = open->next;
    files->count--;
    open_file_free(open);
}

static OpenFile *hold(OpenFiles *files, OpenFile *open) {
    open->holders++;
    open->used = ++files->clock;
    return open;
}

static OpenFile *open_new(Str name, LanceFile *file) {
    OpenFile *open = malloc(sizeof *open + name.len + 1);
    if (!open) abort();
    *open = (OpenFile){.file = file};
    memcpy(open->name, name.data, name.len);
    open->name[name.len] = 0;
    *lance_file_tag(file) = open;
    return open;
}

/* Opened outside of the lock: whoever is first puts it in. */
static OpenFile *put_in(OpenFiles *files, Str name, LanceFile *file) {
    pthread_mutex_lock(&files->lock);
    OpenFile *open = find(files, name);
    if (open) {
        lance_file_close(&file);
    } else {
        OpenFile **chain = &files->chains[chain_of(name)];
        open = open_new(name, file);
        open->next = *chain;
        *chain = open;
        files->count++;
    }
    hold(files, open);
    evict(files);
    pthread_mutex_unlock(&files->lock);
    return open;
}

bool open_files_hold(OpenFiles *files, Store *store, Str path, const LanceDataFile *entry,
                     uint64_t rows, LanceFile **out, Err *err) {
    pthread_mutex_lock(&files->lock);
    OpenFile *open = find(files, entry->path);
    if (open) hold(files, open);
    pthread_mutex_unlock(&files->lock);
    if (!open) {
        OWNED(arena_close) Arena arena = {0};
        LanceFile *file;
        if (!lance_file_open(store, data_key(path, entry->path, &arena), entry->size, &file, err))
            return false;
        open = put_in(files, entry->path, file);
    }
    if (lance_file_rows(open->file) != rows) {
        err_set(err, LH_CORRUPT, "'%.*s' has %llu rows, its table says %llu", SHOW(entry->path),
                (unsigned long long)lance_file_rows(open->file), (unsigned long long)rows);
        open_files_release(files, open->file);
        return false;
    }
    *out = open->file;
    return true;
}

void open_files_release(OpenFiles *files, LanceFile *file) {
    pthread_mutex_lock(&files->lock);
    ((OpenFile *)*lance_file_tag(file))->holders--;
    evict(files);
    pthread_mutex_unlock(&files->lock);
}
