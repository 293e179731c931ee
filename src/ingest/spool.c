/* A body is decoded, checked and looked through while it arrives, and written to a file on the
 * bucket's own file system. Nothing is synced: a crash leaves a file in staging, which is swept. */
#include "ingest/parts.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool spool_open(Store *store, Format format, Spool **out, Err *err) {
    OWNED(spool_close) Spool *spool = calloc(1, sizeof *spool);
    if (!spool) abort();
    spool->fd = -1;
    spool->format = format;
    spool->blank = true;
    if (!store_staging(store, spool->path, err)) return spool->path[0] = 0, false;
    spool->fd = open(spool->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (spool->fd < 0) return err_errno(err, "cannot make the spool file");
    *out = TAKE(spool);
    return true;
}

void spool_close(Spool **spool) {
    Spool *s = TAKE(*spool);
    if (!s) return;
    fd_close(&s->fd);
    if (s->path[0]) unlink(s->path);
    text_close(&s->head);
    csv_close(&s->csv);
    free(s);
}

static bool is_csv(const Spool *spool) {
    return spool->format == FORMAT_CSV || spool->format == FORMAT_TSV;
}

static bool look_at(Spool *spool, Bytes piece, Err *err) {
    if (spool->format == FORMAT_PARQUET) return true;
    if (spool->blank) spool->blank = str_trim(str_of(piece)).len == 0;
    if (!utf8_add(&spool->utf8, piece, err)) return false;
    return !is_csv(spool) || csv_scan(&spool->csv, piece, false, err);
}

/* A .csv that was written where the comma is the decimal sign has semicolons. */
static char choose_delimiter(Format format, bool guess, Str head) {
    size_t at;
    Str rest = head, line = str_until(&rest, '\n');
    if (format == FORMAT_TSV) return '\t';
    return !guess && str_find(line, STR(","), &at) ? ',' : csv_delimiter(head);
}

/* With enough of the body, or all of it, in `head`. */
static bool tell_format(Spool *spool, Err *err) {
    Str head = text_str(&spool->head);
    bool guess = spool->format == FORMAT_AUTO;
    spool->format = format_detect(spool->format, head);
    spool->csv.delimiter = choose_delimiter(spool->format, guess, head);
    spool->told = true;
    return look_at(spool, text_bytes(&spool->head), err);
}

/* DecodeSink. */
static bool take(void *context, Bytes piece, Err *err) {
    Spool *spool = context;
    spool->size += piece.size;
    if (spool->size > SPOOL_SIZE_MAX)
        return err_code(err, LH_TOO_BIG, "body_too_large", "a body may have at most %lld bytes",
                        SPOOL_SIZE_MAX);
    if (!fd_write(spool->fd, piece, err)) return err_while(err, "spooling the body");
    if (spool->told) return look_at(spool, piece, err);
    text_add(&spool->head, str_of(piece));
    return spool->head.len < SPOOL_HEAD_SIZE || tell_format(spool, err);
}

/* Up to a whole piece, so that a source of small bits costs no more. */
static bool fill_piece(IngestSource *source, void *context, uint8_t *piece, size_t *size,
                       Err *err) {
    size_t got;
    for (*size = 0; *size < SPOOL_PIECE_SIZE; *size += got) {
        if (!source(context, piece + *size, SPOOL_PIECE_SIZE - *size, &got, err)) return false;
        if (got == 0) break;
    }
    return true;
}

static bool finish(Spool *spool, Err *err) {
    if (!spool->told && !tell_format(spool, err)) return false;
    if (spool->size == 0 || (spool->blank && spool->format != FORMAT_PARQUET))
        return err_code(err, LH_INVALID, "empty_file", "the body is empty");
    if (spool->format == FORMAT_PARQUET) return true;
    if (!utf8_end(&spool->utf8, err)) return false;
    return !is_csv(spool) || csv_scan(&spool->csv, (Bytes){0}, true, err);
}

static bool copy_all(Spool *spool, const IngestFile *file, IngestSource *source, void *context,
                     Decoder **decoder, Err *err) {
    OWNED(arena_close) Arena arena = {0};
    uint8_t *piece = arena_alloc(&arena, SPOOL_PIECE_SIZE);
    int64_t received = 0;
    for (bool first = true;; first = false) {
        size_t size;
        if (file->cancelled && file->cancelled(file->context))
            return err_set(err, LH_CANCELLED, "the ingest was cancelled");
        if (!fill_piece(source, context, piece, &size, err)) return false;
        Bytes bytes = {piece, size};
        if (first && !decoder_open(file->encoding, bytes, decoder, err)) return false;
        if (size == 0) return decoder_end(*decoder, err) && finish(spool, err);
        if (!(*decoder ? decoder_add(*decoder, bytes, take, spool, err) : take(spool, bytes, err)))
            return false;
        received += (int64_t)size;
        if (file->progress) file->progress(file->context, received);
    }
}

bool spool_fill(Spool *spool, const IngestFile *file, IngestSource *source, void *context,
                Err *err) {
    OWNED(decoder_close) Decoder *decoder = NULL;
    if (!copy_all(spool, file, source, context, &decoder, err)) return false;
    fd_close(&spool->fd);
    return true;
}
