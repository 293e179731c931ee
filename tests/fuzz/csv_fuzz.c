/* Any bytes as a body that is looked through before DuckDB sees it: the first byte picks the
 * delimiter and how the rest is cut. However it is cut, the answer is the same. */
#include "ingest/parts.h"

#include <assert.h>
#include <string.h>

typedef struct Seen {
    bool ok;
    Err err;
    uint64_t rows, line;
    size_t columns;
    char types[64];
} Seen;

static Seen look(Bytes body, char delimiter, size_t step) {
    CsvScan csv = {.delimiter = delimiter};
    Utf8 utf8 = {0};
    Seen seen = {.ok = true};
    for (Bytes rest = body; seen.ok && rest.size;) {
        Bytes piece = {rest.data, MIN(step, rest.size)};
        seen.ok = utf8_add(&utf8, piece, &seen.err) && csv_scan(&csv, piece, false, &seen.err);
        rest = (Bytes){rest.data + piece.size, rest.size - piece.size};
    }
    seen.ok = seen.ok && utf8_end(&utf8, &seen.err) && csv_scan(&csv, (Bytes){0}, true, &seen.err);
    seen.rows = csv.rows;
    seen.line = csv.line;
    seen.columns = csv.column_count;
    for (size_t i = 0; seen.ok && i < csv.column_count && i < sizeof seen.types - 1; i++)
        seen.types[i] = csv_type(&csv.columns[i])[0];
    csv_close(&csv);
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char delimiters[] = ",;\t|";
    if (size < 2) return 0;
    Bytes body = {data + 1, size - 1};
    char delimiter = delimiters[data[0] % 4];
    Seen whole = look(body, delimiter, size), cut = look(body, delimiter, 1 + data[0] / 4);
    assert(whole.ok || whole.err.message[0]);
    assert(strchr(delimiters, csv_delimiter(str_of(body))));
    assert(format_detect(FORMAT_AUTO, str_of(body)) != FORMAT_AUTO);
    bool utf8 = whole.ok || strcmp(err_word(&whole.err), "invalid_utf8") != 0;
    if (whole.ok) assert(str_is_utf8(str_of(body)));
    if (!utf8) return 0; /* the scanner may meet its own fault before or after */
    if (!cut.ok && strcmp(err_word(&cut.err), "invalid_utf8") == 0) return 0;
    assert(whole.ok == cut.ok && whole.rows == cut.rows && whole.line == cut.line);
    assert(whole.columns == cut.columns && strcmp(whole.types, cut.types) == 0);
    return 0;
}
