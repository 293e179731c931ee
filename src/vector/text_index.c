/* Reading: the query's stems, a binary search for each, and its postings added up row by row. */
#include "vector/text_file.h"

#include "ai/ai.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define K1 1.2
#define B 0.75

struct TextIndex {
    const uint8_t *map;
    size_t size;
    const TextHeader *header;
    const uint32_t *lengths, *counts;
    const uint64_t *hashes, *ends;
    Bytes postings;
};

static bool damaged(Err *err) {
    return err_set(err, LH_CORRUPT, "the text index is damaged: refresh the index to rebuild it");
}

static const void *section(const TextIndex *index, TextSection number, uint64_t size, bool *ok) {
    uint64_t offset = index->header->offsets[number];
    *ok = *ok && offset % 8 == 0 && offset <= index->size && size <= index->size - offset;
    return index->map + (*ok ? offset : 0);
}

static bool take_sections(TextIndex *index, Err *err) {
    const TextHeader *header = index->header;
    bool ok = header->rows <= GRAPH_ROWS_MAX && header->terms <= index->size / 8;
    index->lengths = section(index, TEXT_LENGTHS, header->rows * sizeof(uint32_t), &ok);
    index->hashes = section(index, TEXT_HASHES, header->terms * sizeof(uint64_t), &ok);
    index->ends = section(index, TEXT_ENDS, header->terms * sizeof(uint64_t), &ok);
    index->counts = section(index, TEXT_COUNTS, header->terms * sizeof(uint32_t), &ok);
    index->postings =
        (Bytes){section(index, TEXT_POSTINGS, header->postings_size, &ok), header->postings_size};
    return ok || damaged(err);
}

static bool check_header(const TextIndex *index, Err *err) {
    const TextHeader *header = index->header;
    if (index->size < sizeof *header ||
        memcmp(header->magic, TEXT_MAGIC, sizeof header->magic) != 0)
        return damaged(err);
    if (header->version != TEXT_VERSION)
        return err_set(err, LH_IMPOSSIBLE,
                       "the text index has format %u and this program reads %d: refresh the index",
                       header->version, TEXT_VERSION);
    return header->crc == text_header_crc(header) || damaged(err);
}

bool text_index_open(const char *path, TextIndex **out, Err *err) {
    struct stat info;
    OWNED(text_index_close) TextIndex *index = calloc(1, sizeof *index);
    if (!index) abort();
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return err_errno(err, "cannot open the text index");
    bool ok = fstat(fd, &info) == 0 && info.st_size >= (off_t)sizeof(TextHeader);
    void *map = ok ? mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    close(fd);
    if (map == MAP_FAILED) return damaged(err);
    index->map = map;
    index->size = (size_t)info.st_size;
    index->header = map;
    if (!check_header(index, err) || !take_sections(index, err)) return false;
    *out = TAKE(index);
    return true;
}

void text_index_close(TextIndex **index) {
    if (!*index) return;
    if ((*index)->map) munmap((void *)(uintptr_t)(*index)->map, (*index)->size);
    free(*index);
    *index = NULL;
}

size_t text_index_rows(const TextIndex *index) {
    return index->header->rows;
}

int64_t text_index_bytes(const TextIndex *index) {
    return (int64_t)index->size;
}

/* ---- Search ---- */

typedef struct Scores {
    float *of; /* by row; 0: not met */
    uint32_t *met;
    size_t met_count;
} Scores;

static void scores_close(Scores *scores) {
    free(scores->of);
    free(scores->met);
}

static bool find_term(const TextIndex *index, uint64_t hash, size_t *out) {
    size_t low = 0, high = index->header->terms;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (index->hashes[middle] < hash)
            low = middle + 1;
        else
            high = middle;
    }
    *out = low;
    return low < index->header->terms && index->hashes[low] == hash;
}

static bool read_varint(Bytes *from, uint64_t *out) {
    *out = 0;
    for (int shift = 0; shift < 35 && from->size; shift += 7) {
        uint8_t byte = *from->data++;
        from->size--;
        *out |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return true;
    }
    return false;
}

static bool term_postings(const TextIndex *index, size_t term, Bytes *out) {
    uint64_t from = term ? index->ends[term - 1] : 0, to = index->ends[term];
    if (from > to || to > index->postings.size) return false;
    *out = (Bytes){index->postings.data + from, to - from};
    return true;
}

static double mean_words(const TextIndex *index) {
    return MAX(index->header->words / (double)MAX(index->header->rows, 1), 1e-9);
}

/* Of a word that n rows hold, so many times in the query. */
static double idf_of(const TextIndex *index, double n, uint32_t times) {
    return log(1 + ((double)index->header->rows - n + 0.5) / (n + 0.5)) * times;
}

/* What one word adds to a row's score. */
static double word_score(double idf, double tf, double words, double mean) {
    return MAX(idf * tf * (K1 + 1) / (tf + K1 * (1 - B + B * words / mean)), 1e-30);
}

static bool add_term(const TextIndex *index, size_t term, uint32_t weight, const RowSet *allowed,
                     Scores *scores, Err *err) {
    Bytes postings;
    uint64_t rows = index->header->rows, row = 0, step, occurrences;
    if (!term_postings(index, term, &postings)) return damaged(err);
    double mean = mean_words(index), idf = idf_of(index, index->counts[term], weight);
    for (bool first = true; postings.size; first = false) {
        if (!read_varint(&postings, &step) || !read_varint(&postings, &occurrences) ||
            (step == 0 && !first) || (row += step) >= rows)
            return damaged(err);
        if (!rowset_has(allowed, row)) continue;
        if (scores->of[row] == 0) scores->met[scores->met_count++] = (uint32_t)row;
        scores->of[row] += (float)word_score(idf, (double)occurrences, index->lengths[row], mean);
    }
    return true;
}

bool text_index_search(const TextIndex *index, Str query, size_t k, const RowSet *allowed,
                       Hit *hits, size_t *count, Err *err) {
    OWNED(stems_close) Stems *stems = NULL;
    OWNED(scores_close) Scores scores = {0};
    size_t words, term;
    *count = 0;
    if (!stems_open(&stems, err)) return false;
    const Stem *list = stems_of(stems, query, &words);
    scores.of = calloc(index->header->rows + 1, sizeof *scores.of);
    scores.met = malloc((index->header->rows + 1) * sizeof *scores.met);
    if (!scores.of || !scores.met) abort();
    for (size_t i = 0; i < words; i++)
        if (find_term(index, list[i].hash, &term) &&
            !add_term(index, term, list[i].count, allowed, &scores, err))
            return false;
    for (size_t i = 0; i < scores.met_count; i++)
        hits_add(hits, count, k, (Hit){scores.met[i], scores.of[scores.met[i]]});
    return true;
}

/* ---- Texts beside the index ---- */

bool text_query_open(const TextIndex *index, Str query, TextQuery *out, Err *err) {
    OWNED(stems_close) Stems *stems = NULL;
    size_t words, term;
    if (!stems_open(&stems, err)) return false;
    const Stem *list = stems_of(stems, query, &words);
    out->words = malloc((words + 1) * sizeof *out->words);
    if (!out->words) abort();
    out->mean = mean_words(index);
    for (out->count = 0; out->count < words; out->count++) {
        bool known = find_term(index, list[out->count].hash, &term);
        double n = known ? index->counts[term] : 0;
        out->words[out->count] =
            (TextWord){list[out->count].hash, idf_of(index, n, list[out->count].count)};
    }
    return true;
}

void text_query_close(TextQuery *query) {
    free(query->words);
    *query = (TextQuery){0};
}

static uint32_t stem_times(const Stem *stems, size_t count, uint64_t hash) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (stems[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && stems[low].hash == hash ? stems[low].count : 0;
}

float text_query_score(const TextQuery *query, const Stem *stems, size_t count, uint32_t words) {
    float score = 0;
    for (size_t i = 0; i < query->count; i++) {
        uint32_t times = stem_times(stems, count, query->words[i].hash);
        if (times) score += (float)word_score(query->words[i].idf, times, words, query->mean);
    }
    return score;
}
