#include "ingest/parts.h"
#include "kit/kit.h"

#include <stdlib.h>

static Err err;

/* In pieces of `step` bytes, so that every cut is met. */
static bool scan(const char *text, char delimiter, size_t step, CsvScan *out) {
    Str rest = str_from(text);
    *out = (CsvScan){.delimiter = delimiter};
    while (rest.len) {
        if (!csv_scan(out, bytes_of(str_slice(rest, 0, step)), false, &err)) return false;
        rest = str_slice(rest, step, rest.len);
    }
    return csv_scan(out, (Bytes){0}, true, &err);
}

static void check_types(const char *text, const char *types) {
    for (size_t step = 1; step < 40; step += 6) {
        OWNED(csv_close) CsvScan csv;
        OWNED(text_close) Text found = {0};
        CHECK_OK(scan(text, ',', step, &csv));
        for (size_t i = 0; i < csv.column_count; i++)
            text_print(&found, "%s%.*s:%s", i ? " " : "", SHOW(csv.columns[i].name),
                       csv_type(&csv.columns[i]));
        CHECK_STR(text_str(&found), types);
    }
}

TEST("types hold every value, and what would lose something is text") {
    check_types("a,b\n1,x\n-7,y\n", "a:BIGINT b:VARCHAR");
    check_types("a\n1\n5.7\n", "a:DOUBLE");
    check_types("a\n1\nx\n", "a:VARCHAR");
    check_types("zip\n12345\n01234\n", "zip:VARCHAR");
    check_types("a\n007\n", "a:VARCHAR");
    check_types("a\n0\n-1\n10\n", "a:BIGINT");
    check_types("a\n+4930123\n", "a:VARCHAR");
    check_types("a\n9223372036854775807\n-9223372036854775808\n", "a:BIGINT");
    check_types("a\n9223372036854775808\n", "a:VARCHAR");
    check_types("a\n12345678901234567890123\n", "a:VARCHAR");
    check_types("a\n1234567890123456\n1.5\n", "a:VARCHAR");
    check_types("a\n1.5\n-2e10\n.5\n1E-7\n", "a:DOUBLE");
    check_types("a\n0\n0.14285714285714285\n0.0012345678901234567\n", "a:DOUBLE");
    check_types("a\n1.\n", "a:VARCHAR");
    check_types("a\n0.1234567890123456789\n", "a:VARCHAR");
    check_types("a\n 5\n", "a:VARCHAR");
}

TEST("booleans, dates and times are ISO or text") {
    check_types("a,b\ntrue,yes\nFALSE,no\n", "a:BOOLEAN b:VARCHAR");
    check_types("a,b\n2024-02-29,01/02/2024\n", "a:DATE b:VARCHAR");
    check_types("a\n2023-02-29\n", "a:VARCHAR");
    check_types("a\n2024-13-01\n", "a:VARCHAR");
    check_types("a\n2024-01-01T10:00:00\n2024-01-01 23:59:59.123456\n", "a:TIMESTAMP");
    check_types("a\n2024-01-01T10:00:00Z\n2024-01-01 10:00:00+02:00\n",
                "a:TIMESTAMP WITH TIME ZONE");
    check_types("a\n2024-01-01T10:00:00Z\n2024-01-01 10:00:00\n", "a:VARCHAR");
    check_types("a\n2024-01-01 10:00:00.123456789\n", "a:VARCHAR");
    check_types("a\n24:00:00\n", "a:VARCHAR");
}

TEST("empty is NULL without quotes and text with them") {
    check_types("a,b\n1,\n,2\n", "a:BIGINT b:BIGINT");
    check_types("a,b\n1,\"\"\n2,3\n", "a:BIGINT b:VARCHAR");
    check_types("a,b\n,\n,\n", "a:VARCHAR b:VARCHAR");
    check_types("a,b\n\"1\",\"2.5\"\n", "a:BIGINT b:DOUBLE");
}

TEST("byte order marks, line ends, quoted newlines and a missing last newline") {
    check_types("\xef\xbb\xbf"
                "a,b\r\n1,2\r\n",
                "a:BIGINT b:BIGINT");
    check_types("a,b\r1,2\r", "a:BIGINT b:BIGINT");
    check_types("a,\"b \"\"q\"\"\"\n1,\"two\nlines\"\n3,x", "a:BIGINT b \"q\":VARCHAR");
    check_types("\n\na,b\n\n1,2\n\n", "a:BIGINT b:BIGINT");
    OWNED(csv_close) CsvScan csv;
    CHECK_OK(scan("a,b\r\n1,2\n3,4", ',', 3, &csv));
    CHECK(csv_mixed_newlines(&csv) && csv.rows == 2);
}

TEST("a header alone has columns and no rows; names are trimmed, empty ones are numbered") {
    OWNED(csv_close) CsvScan csv;
    CHECK_OK(scan(" a , ,b,,\n", ',', 2, &csv));
    CHECK_INT(csv.column_count, 5);
    CHECK_INT(csv.rows, 0);
    CHECK_STR(csv.columns[0].name, "a");
    CHECK_STR(csv.columns[1].name, "column_2");
    CHECK_STR(csv.columns[4].name, "column_5");
    size_t at;
    CHECK(str_find(text_str(&csv.warnings), STR("column 2 has no name"), &at));
}

TEST("a header that looks like data is kept as a header, and said") {
    OWNED(csv_close) CsvScan csv;
    size_t at;
    CHECK_OK(scan("1,x\n2,y\n", ',', 100, &csv));
    CHECK(csv.rows == 1 &&
          str_find(text_str(&csv.warnings), STR("first line names the columns"), &at));
}

static void check_refused(const char *text, const char *code, const char *message) {
    for (size_t step = 1; step < 40; step += 6) {
        OWNED(csv_close) CsvScan csv;
        CHECK(!scan(text, ',', step, &csv));
        CHECK(err.kind == LH_INVALID);
        CHECK_STR(str_from(err_word(&err)), code);
        if (!strstr(err.message, message))
            kit_fail(__FILE__, __LINE__, "'%s' lacks '%s'", err.message, message);
    }
}

TEST("each fault names its line") {
    check_refused("a,b\n1,2\n3\n", "ragged_row", "line 3 has 1 field, the header has 2");
    check_refused("a,b\n1,2,3\n", "ragged_row", "line 2 has 3 fields");
    check_refused("a,b\n\"x\ny\nz\",1\n2\n", "ragged_row", "line 5 has 1 field");
    check_refused("a,b\n\n\n1\n", "ragged_row", "line 4");
    check_refused("a,b\n1,2\n\"x,3\n", "bad_quote", "line 3: a quote is opened");
    check_refused("a,b\n1,\"x\"y\n", "bad_quote", "line 2: a closing quote");
    check_refused("a,b,A\n", "duplicate_column", "columns 1 and 3 are both called");
}

TEST("an absurdly wide header and an endless row meet their limits") {
    OWNED(text_close) Text text = {0};
    OWNED(csv_close) CsvScan csv = {.delimiter = ','}, longer = {.delimiter = ','};
    for (size_t i = 0; i < 5000; i++) text_print(&text, "c%zu,", i);
    text_add(&text, STR("\n"));
    CHECK(!csv_scan(&csv, text_bytes(&text), true, &err));
    CHECK(!strcmp(err_word(&err), "too_many_columns") && strstr(err.message, "4096"));
    text_clear(&text);
    text_add(&text, STR("a\n\""));
    while (text.len < 1 << 20) text_add(&text, STR("xxxxxxxxxxxxxxxx"));
    bool ok = true;
    for (size_t i = 0; ok && i < 20; i++) {
        ok = csv_scan(&longer, text_bytes(&text), false, &err);
        if (i == 0) text.len -= 4;
        for (size_t k = 0; i == 0 && k < 4; k++) text.data[k] = 'x';
    }
    CHECK(!ok && !strcmp(err_word(&err), "record_too_long") && strstr(err.message, "line 2"));
}

TEST("the delimiter is the one that the first line has most of, outside quotes") {
    CHECK(csv_delimiter(STR("a,b,c\n1;2;3;4;5\n")) == ',');
    CHECK(csv_delimiter(STR("a;b;c\n1,5;2;3\n")) == ';');
    CHECK(csv_delimiter(STR("a\tb\n")) == '\t');
    CHECK(csv_delimiter(STR("a|b|c\n")) == '|');
    CHECK(csv_delimiter(STR("\"a,b,c\";d\n")) == ';');
    CHECK(csv_delimiter(STR("single\n")) == ',');
}
