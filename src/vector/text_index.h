/* An inverted index over the texts of an index's rows, ranked by BM25 (Robertson and Zaragoza,
 * 2009) with k1 = 1.2 and b = 0.75: modes "text" and "hybrid" of a search. It is a file of its own
 * beside the vectors, so that every backend has it; it depends on rows and their texts alone, not
 * on the configuration of the graph.
 *
 *     offset  meaning
 *     0       header: TextHeader, little-endian, its own CRC32C last
 *     ...     lengths: a uint32 a row, its words; hashes: a uint64 a term, ascending; ends: a
 * uint64 a term, where its postings end; counts: a uint32 a term, its rows; postings: for each row
 * of a term, ascending, the distance from the row before and the occurrences, as LEB128 varints
 *
 * Written once, mapped at start; what is followed from it is checked as it is followed. Thread
 * rule: an opened TextIndex is read from any thread. */
#pragma once

#include "vector/graph.h"

#include "ai/ai.h"

typedef struct TextIndex TextIndex;

/* Where the texts come from: row by row, from any thread. */
typedef struct TextRows {
    size_t count;
    Str (*text)(const void *context, size_t row);
    bool (*cancelled)(void *context); /* may be NULL */
    const void *context;
    void *cancel_context;
} TextRows;

/* `path` must not exist; it is made durable by whoever adopts it. LH_CANCELLED. Takes about 3 bytes
 * for each word of a row beside what a block of rows needs. */
bool text_index_write(const TextRows *rows, const char *path, Err *err);
bool text_index_open(const char *path, TextIndex **out, Err *err); /* LH_CORRUPT, LH_IMPOSSIBLE */
void text_index_close(TextIndex **index);
size_t text_index_rows(const TextIndex *index);
int64_t text_index_bytes(const TextIndex *index);
/* Up to k rows that hold a word of the query, best first; score is BM25's. */
bool text_index_search(const TextIndex *index, Str query, size_t k, const RowSet *allowed,
                       Hit *hits, size_t *count, Err *err);

/* A query's words with their weights in an index, to score texts that are not in it as if they
 * were: by how rare each word is there and how long its texts are. */
typedef struct TextWord {
    uint64_t hash;
    double idf;
} TextWord;
typedef struct TextQuery {
    TextWord *words;
    size_t count;
    double mean; /* words of a text */
} TextQuery;
bool text_query_open(const TextIndex *index, Str query, TextQuery *out, Err *err);
void text_query_close(TextQuery *query);
/* BM25's score of a text by its stems, ascending by hash, `words` of them in all; 0: no word of the
 * query is in it. */
float text_query_score(const TextQuery *query, const Stem *stems, size_t count, uint32_t words);
