#include "base/journal.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct Journal {
    int fd;
    pthread_mutex_t lock;
    uint64_t size; /* bytes of whole records */
};

static uint32_t frame_crc(const uint8_t *header, Bytes payload) {
    return crc32c(crc32c(0, (Bytes){header, 4}), payload);
}

static void put_le32(uint8_t *out, uint32_t value) {
    for (int i = 0; i < 4; i++) out[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get_le32(const uint8_t *in) {
    return (uint32_t)in[0] | (uint32_t)in[1] << 8 | (uint32_t)in[2] << 16 | (uint32_t)in[3] << 24;
}

void frame_add(Text *out, Bytes payload) {
    uint8_t header[JOURNAL_HEADER_SIZE];
    put_le32(header, (uint32_t)payload.size);
    put_le32(header + 4, frame_crc(header, payload));
    text_add(out, str_of((Bytes){header, sizeof header}));
    text_add(out, str_of(payload));
}

FrameResult frame_next(Bytes *rest, Bytes *payload) {
    if (rest->size == 0) return FRAME_END;
    if (rest->size < JOURNAL_HEADER_SIZE) return FRAME_TORN;
    uint32_t size = get_le32(rest->data);
    if (size == 0 || size > JOURNAL_RECORD_MAX || size > rest->size - JOURNAL_HEADER_SIZE)
        return FRAME_TORN;
    Bytes record = {rest->data + JOURNAL_HEADER_SIZE, size};
    if (frame_crc(rest->data, record) != get_le32(rest->data + 4)) return FRAME_TORN;
    *payload = record;
    *rest = (Bytes){record.data + size, rest->size - JOURNAL_HEADER_SIZE - size};
    return FRAME_RECORD;
}

/* Visits every whole record of the mapped file; returns the bytes they take. */
static uint64_t journal_replay(const uint8_t *data, size_t size, JournalVisit *visit,
                               void *context) {
    Bytes rest = {data, size}, payload;
    while (frame_next(&rest, &payload) == FRAME_RECORD)
        if (visit) visit(context, payload);
    return size - rest.size;
}

static bool journal_recover(Journal *journal, const char *path, JournalVisit *visit, void *context,
                            Err *err) {
    struct stat info;
    if (fstat(journal->fd, &info)) return err_errno(err, "cannot read '%s'", path);
    size_t size = (size_t)info.st_size;
    if (size > 0) {
        void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, journal->fd, 0);
        if (map == MAP_FAILED) return err_errno(err, "cannot map '%s'", path);
        journal->size = journal_replay(map, size, visit, context);
        munmap(map, size);
    }
    if (journal->size < size) {
        log_warn("journal '%s' ends in a torn record: %llu bytes cut", path,
                 (unsigned long long)(size - journal->size));
        if (ftruncate(journal->fd, (off_t)journal->size) || fsync(journal->fd))
            return err_errno(err, "cannot cut '%s'", path);
    }
    return true;
}

bool journal_open(const char *path, JournalVisit *visit, void *context, Journal **out, Err *err) {
    OWNED(journal_close) Journal *journal = calloc(1, sizeof *journal);
    if (!journal) abort();
    pthread_mutex_init(&journal->lock, NULL);
    journal->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (journal->fd < 0) return err_errno(err, "cannot open '%s'", path);
    if (!journal_recover(journal, path, visit, context, err)) return false;
    *out = TAKE(journal);
    return true;
}

void journal_close(Journal **journal) {
    if (!*journal) return;
    if ((*journal)->fd >= 0) fdatasync((*journal)->fd);
    fd_close(&(*journal)->fd);
    pthread_mutex_destroy(&(*journal)->lock);
    free(*journal);
    *journal = NULL;
}

bool journal_append(Journal *journal, Bytes payload, Err *err) {
    if (payload.size == 0 || payload.size > JOURNAL_RECORD_MAX)
        return err_set(err, LH_TOO_BIG, "a journal record has 1 to %u bytes, not %zu",
                       JOURNAL_RECORD_MAX, payload.size);
    OWNED(text_close) Text frame = {0};
    frame_add(&frame, payload);
    pthread_mutex_lock(&journal->lock);
    bool ok = fd_write(journal->fd, text_bytes(&frame), err);
    if (ok) journal->size += frame.len;
    /* Half a record in the middle would hide all that follow: cut it now. */
    else if (ftruncate(journal->fd, (off_t)journal->size))
        log_error("cannot cut a torn record");
    pthread_mutex_unlock(&journal->lock);
    return ok;
}

bool journal_sync(Journal *journal, Err *err) {
    if (fdatasync(journal->fd)) return err_errno(err, "cannot make the journal durable");
    return true;
}
