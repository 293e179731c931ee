/* One detector per column. A column is told by its values and by the words of its name, both: "the
 * most common kind" alone would call a column of addresses a column of links, "the surest match"
 * alone would let one value speak for ten thousand. So the kind with the highest confidence wins
 * among those that enough of the sample supports; a word of the name lowers what is enough.
 *
 * Names count by whole words (first_name, FirstName and "first name" are first and name), because
 * context looked for inside words finds `lic` in `public`. */
#include "ingest/parts.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_SIZE 512
#define KINDS_MAX 16
#define VALUE_SIZE_MAX 4096     /* of a longer text the beginning is looked at */
#define ENOUGH_WITH_CONTEXT 0.1 /* share of matches when the name speaks for the kind */
#define ENOUGH_WITHIN 0.02      /* share of texts that hold one */
#define MATCHES_MIN 2           /* unless the column has fewer values */

struct PiiColumn {
    char words[WORDS_SIZE]; /* of the name, lower case, a space around each */
    int64_t sampled;
    int64_t matched[KINDS_MAX], within[KINDS_MAX];
};

/* Words that say what the digits are, when they are no person's. */
static const char denies_numbers[] =
    " ean gtin upc isbn issn sku order orders invoice tracking serial lat lon lng latitude "
    "longitude "
    "coordinates epoch timestamp ts price amount total qty quantity version versions ver release "
    "build hash checksum sha md5 uuid guid commit ";
static const char denies_names[] =
    " product company brand model package file filename city country region state street city host "
    "domain table column event game project repo repository bucket dataset category class app "
    "device "
    "school team title song album movie book street department color colour species ";
static const char names_a_person[] = " first last full given family middle maiden sur ";

static void split_words(Str name, char words[WORDS_SIZE]) {
    size_t len = 0;
    words[len++] = ' ';
    for (size_t i = 0; i < name.len && len + 3 < WORDS_SIZE; i++) {
        unsigned char c = (unsigned char)name.data[i],
                      before = i ? (unsigned char)name.data[i - 1] : 0;
        unsigned char after = i + 1 < name.len ? (unsigned char)name.data[i + 1] : 0;
        bool word = isalnum(c) || c >= 0x80;
        bool starts = word && isupper(c) &&
                      (islower(before) || isdigit(before) || (isupper(before) && islower(after)));
        if ((starts || !word) && words[len - 1] != ' ') words[len++] = ' ';
        if (word) words[len++] = (char)tolower(c);
    }
    if (words[len - 1] != ' ') words[len++] = ' ';
    words[len] = 0;
}

/* Whether a word of the name is in the list. */
static bool says(const PiiColumn *column, const char *list) {
    char wanted[WORDS_SIZE];
    Str rest = str_trim(str_from(column->words));
    while (rest.len) {
        Str word = str_until(&rest, ' ');
        snprintf(wanted, sizeof wanted, " %.*s ", SHOW(word));
        if (strstr(list, wanted)) return true;
    }
    return false;
}

static bool has_word(const PiiColumn *column, const char *word) {
    return strstr(column->words, word) != NULL;
}

bool pii_open(Str column_name, PiiColumn **out, Err *err) {
    if (pii_kind_count > KINDS_MAX) return err_set(err, LH_BUG, "more than %d kinds", KINDS_MAX);
    PiiColumn *column = calloc(1, sizeof *column);
    if (!column) abort();
    split_words(column_name, column->words);
    *out = column;
    return true;
}

void pii_close(PiiColumn **column) {
    free(*column);
    *column = NULL;
}

void pii_add(PiiColumn *column, Str value) {
    value = str_trim(str_slice(value, 0, VALUE_SIZE_MAX));
    if (value.len == 0) return;
    column->sampled++;
    for (size_t i = 0; i < pii_kind_count; i++) {
        if (pii_kinds[i].match(value))
            column->matched[i]++;
        else if (pii_kinds[i].within && pii_kinds[i].within(value))
            column->within[i]++;
    }
}

static bool is_kind(const PiiKind *kind, const char *name) {
    return strcmp(kind->name, name) == 0;
}

/* A name that speaks for the kind. */
static bool has_context(const PiiColumn *column, const PiiKind *kind) {
    bool person = says(column, names_a_person) && has_word(column, " name ");
    if (is_kind(kind, "name")) return says(column, kind->context) || person;
    if (is_kind(kind, "ip") && !has_word(column, " ip "))
        return has_word(column, " ipv4 ") || has_word(column, " ipv6 ");
    if (is_kind(kind, "email") && !says(column, " email emails mail ")) return false;
    return says(column, kind->context);
}

static bool is_denied(const PiiColumn *column, const PiiKind *kind) {
    if (is_kind(kind, "name")) return says(column, denies_names);
    bool numbers = is_kind(kind, "phone") || is_kind(kind, "ssn") || is_kind(kind, "ip") ||
                   is_kind(kind, "card");
    return numbers && says(column, denies_numbers);
}

/* `name` alone says little about persons: those kinds that any letters match need more. */
static bool needs_person(const PiiKind *kind) {
    return is_kind(kind, "name") && kind->alone > 1;
}

static double judge(const PiiColumn *column, size_t i) {
    const PiiKind *kind = &pii_kinds[i];
    if (is_denied(column, kind)) return 0;
    bool context = has_context(column, kind);
    if (needs_person(kind) && !says(column, kind->context) &&
        !(says(column, names_a_person) && has_word(column, " name ")))
        return 0;
    double share = (double)column->matched[i] / (double)column->sampled;
    double held = (double)(column->matched[i] + column->within[i]) / (double)column->sampled;
    int64_t needed = MIN(MATCHES_MIN, column->sampled);
    double enough = context && kind->alone > 1 ? 0.5 : context ? ENOUGH_WITH_CONTEXT : kind->alone;
    if (column->matched[i] >= needed && share >= enough)
        return kind->confidence * (context ? 0.6 + 0.4 * share : 0.3 + 0.7 * share);
    if (kind->within && column->matched[i] + column->within[i] >= needed && held >= ENOUGH_WITHIN)
        return kind->confidence * (0.5 + 0.3 * held);
    return 0;
}

PiiVerdict pii_verdict(const PiiColumn *column) {
    PiiVerdict best = {.sampled = column->sampled};
    for (size_t i = 0; column->sampled && i < pii_kind_count; i++) {
        double confidence = judge(column, i);
        if (confidence <= best.confidence) continue;
        best.kind = pii_kinds[i].name;
        best.confidence = confidence;
        best.matched = column->matched[i] + column->within[i];
    }
    return best;
}
