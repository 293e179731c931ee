#include "vector/chunk.h"

const Option chunk_options[] = {
    {"size",           LH_INT, AT(ChunkOptions, size), "1000", "bytes of a chunk", .min = 50, .max = 100000},
    {"overlap", LH_INT, AT(ChunkOptions, overlap), "200", "bytes that chunks share", .max = 50000},
    {0         },
};

Chunker chunker(Str text, const ChunkOptions *options) {
    return (Chunker){.text = text, .options = *options};
}

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Whether a sentence ends before `at`: after . ! ? and a space, an empty line, or a list's next
 * line. */
static bool is_boundary(Str text, size_t at) {
    if (at >= text.len) return true;
    char last = text.data[at - 1], next = text.data[at];
    if (last == '\n') return next == '\n' || next == ' ' || next == '*' || next == '-';
    if (!is_space(last) || at < 2) return false;
    char before = text.data[at - 2];
    return before == '.' || before == '!' || before == '?';
}

/* Where to cut when no sentence ends in time: after the last space, else between two characters. */
static size_t forced_end(Str text, size_t from, size_t limit) {
    for (size_t at = limit; at > from + (limit - from) / 2; at--)
        if (is_space(text.data[at - 1])) return at;
    while (limit > from + 1 && ((unsigned char)text.data[limit] & 0xC0) == 0x80) limit--;
    return limit;
}

static size_t chunk_end(const Chunker *chunker, size_t from) {
    Str text = chunker->text;
    size_t limit = from + (size_t)chunker->options.size, end = 0;
    if (limit >= text.len) return text.len;
    for (size_t at = from + 1; at <= limit; at++)
        if (is_boundary(text, at)) end = at;
    return end ? end : forced_end(text, from, limit);
}

/* The earliest start of a sentence within the overlap before `end`, but past `from`. */
static size_t overlap_start(const Chunker *chunker, size_t from, size_t end) {
    size_t overlap = (size_t)MIN(chunker->options.overlap, chunker->options.size / 2);
    size_t earliest = end > overlap ? end - overlap : 0;
    for (size_t at = MAX(earliest, from + 1); at < end; at++)
        if (is_boundary(chunker->text, at)) return at;
    return end;
}

bool chunk_next(Chunker *chunker, Str *out) {
    Str text = chunker->text;
    while (chunker->next < text.len && is_space(text.data[chunker->next])) chunker->next++;
    if (chunker->ended || chunker->next == text.len) return false;
    size_t from = chunker->next, end = chunk_end(chunker, from);
    chunker->ended = end == text.len;
    chunker->next = overlap_start(chunker, from, end);
    *out = str_trim(str_slice(text, from, end));
    return true;
}
