/* The data files of a table that are open, by name, so that a row costs no opening of its file.
 * What nobody holds is closed when there are many, the longest unused first. Thread safe. Internal
 * to lance. */
#pragma once

#include "lance/data_file.h"
#include "lance/manifest.h"

#include <pthread.h>

#define OPEN_FILES_MAX 1024
#define OPEN_FILES_CHAINS 256

typedef struct OpenFile OpenFile;
typedef struct OpenFiles {
    pthread_mutex_t lock;
    OpenFile *chains[OPEN_FILES_CHAINS];
    size_t count;
    uint64_t clock; /* counts holds: who was used when */
} OpenFiles;

void open_files_init(OpenFiles *files);
void open_files_close(OpenFiles *files); /* nothing is held any more */
/* LH_CORRUPT when the file has not `rows` rows. Released once for each hold. */
bool open_files_hold(OpenFiles *files, Store *store, Str path, const LanceDataFile *entry,
                     uint64_t rows, LanceFile **out, Err *err);
void open_files_release(OpenFiles *files, LanceFile *file);
