/* Writing a text index: blocks of rows are cut into stems by all threads, then joined in the order
 * of rows to what each term has so far, so that the file is the same whatever the threads did. */
#include "vector/text_file.h"

#include "ai/ai.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK_ROWS 4096
#define TABLE_MIN 4096

typedef struct Term {
    uint64_t hash;
    Text postings;
    uint32_t last, count;
} Term;

typedef struct RowStems {
    Stem *stems;
    size_t count;
} RowStems;

typedef struct TextWriter {
    const TextRows *rows;
    Term *terms;
    size_t term_count, term_cap;
    uint32_t *table; /* open addressing: term number + 1 */
    size_t mask;
    Text lengths;
    double words;
    RowStems *block;
    size_t block_from;
    Text piece;
    uint32_t crc;
    int fd;
    Err err;
    pthread_mutex_t lock;
} TextWriter;

static void writer_close(TextWriter *writer) {
    for (size_t i = 0; i < writer->term_count; i++) text_close(&writer->terms[i].postings);
    for (size_t i = 0; i < BLOCK_ROWS; i++) free(writer->block[i].stems);
    free(writer->block);
    free(writer->terms);
    free(writer->table);
    text_close(&writer->lengths);
    text_close(&writer->piece);
    if (writer->fd >= 0) close(writer->fd);
}

static void table_grow(TextWriter *writer) {
    writer->mask = writer->mask ? writer->mask * 2 + 1 : TABLE_MIN - 1;
    free(writer->table);
    writer->table = calloc(writer->mask + 1, sizeof *writer->table);
    if (!writer->table) abort();
    for (size_t i = 0; i < writer->term_count; i++) {
        size_t at = writer->terms[i].hash & writer->mask;
        while (writer->table[at]) at = (at + 1) & writer->mask;
        writer->table[at] = (uint32_t)i + 1;
    }
}

static Term *term_add(TextWriter *writer, uint64_t hash) {
    if (writer->term_count == writer->term_cap) {
        writer->term_cap = MAX(writer->term_cap * 2, TABLE_MIN);
        writer->terms = realloc(writer->terms, writer->term_cap * sizeof *writer->terms);
        if (!writer->terms) abort();
    }
    writer->terms[writer->term_count] = (Term){.hash = hash};
    return &writer->terms[writer->term_count++];
}

static Term *term_of(TextWriter *writer, uint64_t hash) {
    if (writer->term_count * 2 >= writer->mask) table_grow(writer);
    size_t at = hash & writer->mask;
    while (writer->table[at] && writer->terms[writer->table[at] - 1].hash != hash)
        at = (at + 1) & writer->mask;
    if (writer->table[at]) return &writer->terms[writer->table[at] - 1];
    writer->table[at] = (uint32_t)writer->term_count + 1;
    return term_add(writer, hash);
}

static void add_varint(Text *out, uint64_t value) {
    for (; value >= 128; value >>= 7) text_add_byte(out, (char)(value | 128));
    text_add_byte(out, (char)value);
}

static void add_u32(Text *out, uint32_t value) {
    text_add(out, (Str){(const char *)&value, sizeof value});
}

static void add_u64(Text *out, uint64_t value) {
    text_add(out, (Str){(const char *)&value, sizeof value});
}

static void join_row(TextWriter *writer, uint32_t row, const RowStems *stems) {
    uint32_t length = 0;
    for (size_t i = 0; i < stems->count; i++) {
        Term *term = term_of(writer, stems->stems[i].hash);
        add_varint(&term->postings, row - term->last);
        add_varint(&term->postings, stems->stems[i].count);
        term->last = row;
        term->count++;
        length += stems->stems[i].count;
    }
    add_u32(&writer->lengths, length);
    writer->words += length;
}

/* ---- Cutting into stems ---- */

static void cut_range(void *context, size_t from, size_t to) {
    TextWriter *writer = context;
    OWNED(stems_close) Stems *stems = NULL;
    Err err = {0};
    if (!stems_open(&stems, &err)) {
        pthread_mutex_lock(&writer->lock);
        writer->err = err;
        pthread_mutex_unlock(&writer->lock);
        return;
    }
    for (size_t i = from; i < to; i++) {
        RowStems *row = &writer->block[i];
        Str text = writer->rows->text(writer->rows->context, writer->block_from + i);
        const Stem *list = stems_of(stems, text, &row->count);
        free(row->stems);
        row->stems = malloc(row->count * sizeof *list + 1);
        if (!row->stems) abort();
        if (row->count) memcpy(row->stems, list, row->count * sizeof *list);
    }
}

static bool cut_all(TextWriter *writer, Err *err) {
    const TextRows *rows = writer->rows;
    for (; writer->block_from < rows->count; writer->block_from += BLOCK_ROWS) {
        size_t count = MIN(rows->count - writer->block_from, BLOCK_ROWS);
        if (rows->cancelled && rows->cancelled(rows->cancel_context))
            return err_set(err, LH_CANCELLED, "cancelled");
        parallel_for(parallel_threads(), count, 256, cut_range, writer);
        if (writer->err.kind != LH_OK) return *err = writer->err, false;
        for (size_t i = 0; i < count; i++)
            join_row(writer, (uint32_t)(writer->block_from + i), &writer->block[i]);
    }
    return true;
}

/* ---- The file ---- */

static int term_order(const void *a, const void *b) {
    uint64_t x = ((const Term *)a)->hash, y = ((const Term *)b)->hash;
    return (x > y) - (x < y);
}

static bool put(TextWriter *writer, Str data, Err *err) {
    writer->crc = crc32c(writer->crc, bytes_of(data));
    for (size_t done = 0; done < data.len;) {
        ssize_t wrote = write(writer->fd, data.data + done, data.len - done);
        if (wrote < 0) return err_errno(err, "cannot write a text index");
        done += (size_t)wrote;
    }
    return true;
}

/* The piece that was collected, as the section `number`. */
static bool put_section(TextWriter *writer, TextHeader *header, TextSection number, Text *data,
                        uint64_t *offset, Err *err) {
    while (data->len % 8) text_add_byte(data, 0);
    header->offsets[number] = *offset;
    *offset += data->len;
    return put(writer, text_str(data), err);
}

static bool put_terms(TextWriter *writer, TextHeader *header, uint64_t *offset, Err *err) {
    Text *piece = &writer->piece;
    for (size_t i = 0; i < writer->term_count; i++) add_u64(piece, writer->terms[i].hash);
    if (!put_section(writer, header, TEXT_HASHES, piece, offset, err)) return false;
    text_clear(piece);
    for (size_t i = 0; i < writer->term_count; i++)
        add_u64(piece, header->postings_size += writer->terms[i].postings.len);
    if (!put_section(writer, header, TEXT_ENDS, piece, offset, err)) return false;
    text_clear(piece);
    for (size_t i = 0; i < writer->term_count; i++) add_u32(piece, writer->terms[i].count);
    if (!put_section(writer, header, TEXT_COUNTS, piece, offset, err)) return false;
    header->offsets[TEXT_POSTINGS] = *offset;
    for (size_t i = 0; i < writer->term_count; i++)
        if (!put(writer, text_str(&writer->terms[i].postings), err)) return false;
    return true;
}

static bool put_file(TextWriter *writer, const char *path, Err *err) {
    TextHeader header = {.magic = TEXT_MAGIC,
                         .version = TEXT_VERSION,
                         .rows = writer->rows->count,
                         .terms = writer->term_count,
                         .words = writer->words};
    uint64_t offset = sizeof header;
    if (writer->term_count)
        qsort(writer->terms, writer->term_count, sizeof *writer->terms, term_order);
    writer->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (writer->fd < 0) return err_errno(err, "cannot make a text index");
    if (lseek(writer->fd, (off_t)offset, SEEK_SET) < 0 ||
        !put_section(writer, &header, TEXT_LENGTHS, &writer->lengths, &offset, err) ||
        !put_terms(writer, &header, &offset, err))
        return false;
    header.sections_crc = writer->crc;
    header.crc = text_header_crc(&header);
    return pwrite(writer->fd, &header, sizeof header, 0) == (ssize_t)sizeof header ||
           err_errno(err, "cannot write a text index");
}

bool text_index_write(const TextRows *rows, const char *path, Err *err) {
    OWNED(writer_close)
    TextWriter writer = {.rows = rows, .fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER};
    writer.block = calloc(BLOCK_ROWS, sizeof *writer.block);
    if (!writer.block) abort();
    bool ok = cut_all(&writer, err) && put_file(&writer, path, err);
    if (!ok && writer.fd >= 0) unlink(path);
    return ok;
}
