/* How many objects a second this file system can make durable with no server around it: each of
 * several threads writes a file beside its place, syncs it, renames it and syncs the folder, which
 * is what a PUT has to do.
 *
 *     objects_durable FOLDER SIZE THREADS SECONDS      prints writes per second */
#include "base/base.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define THREADS_MAX 256
#define NAMES 64 /* of a thread: written again and again */

typedef struct Load {
    int folder;
    char *bytes;
    size_t size;
    int64_t until_us;
    _Atomic int64_t next_thread, writes;
} Load;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void write_once(const Load *load, const char *temporary, const char *name) {
    int fd = openat(load->folder, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) fail(temporary);
    for (size_t at = 0; at < load->size;) {
        ssize_t n = write(fd, load->bytes + at, load->size - at);
        if (n < 0) fail("write");
        at += (size_t)n;
    }
    if (fsync(fd) || renameat(load->folder, temporary, load->folder, name) || fsync(load->folder))
        fail(name);
    close(fd);
}

static void *write_on(void *context) {
    Load *load = context;
    char temporary[40], name[60];
    int thread = (int)load->next_thread++;
    snprintf(temporary, sizeof temporary, "temporary-%d", thread);
    for (int i = 0; clock_us() < load->until_us; i++) {
        snprintf(name, sizeof name, "%d-%d", thread, i % NAMES);
        write_once(load, temporary, name);
        load->writes++;
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t threads[THREADS_MAX];
    if (argc != 5)
        return fprintf(stderr, "usage: objects_durable FOLDER SIZE THREADS SECONDS\n"), 2;
    int count = (int)MIN(atoi(argv[3]), THREADS_MAX);
    double seconds = atof(argv[4]);
    Load load = {.size = (size_t)atoll(argv[2])};
    mkdir(argv[1], 0755);
    load.folder = open(argv[1], O_DIRECTORY | O_CLOEXEC);
    load.bytes = calloc(1, load.size);
    if (load.folder < 0 || !load.bytes) fail(argv[1]);
    int64_t began_us = clock_us();
    load.until_us = began_us + (int64_t)(seconds * 1e6);
    for (int i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, write_on, &load)) fail("a thread");
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
    printf("%.1f\n", (double)load.writes / ((double)(clock_us() - began_us) / 1e6));
    free(load.bytes);
    close(load.folder);
    return 0;
}
