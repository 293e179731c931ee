#include "query/engine.h"

static void add_doubling(Text *out, Str text, char quote) {
    text_add_byte(out, quote);
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == quote) text_add_byte(out, quote);
        text_add_byte(out, text.data[i]);
    }
    text_add_byte(out, quote);
}

void sql_quote_text(Text *out, Str text) {
    add_doubling(out, text, '\'');
}

void sql_quote_name(Text *out, Str name) {
    add_doubling(out, name, '"');
}

static void add_dataset(Text *out, Str name, Str separator) {
    size_t dot;
    if (!str_find(name, STR("."), &dot)) dot = name.len;
    text_add_byte(out, '"');
    text_add(out, str_slice(name, 0, dot));
    if (dot < name.len) text_add(out, separator);
    text_add(out, str_slice(name, dot + 1, name.len));
    text_add_byte(out, '"');
}

void sql_quote_dataset(Text *out, Str name) {
    add_dataset(out, name, STR("\".\""));
}

void sql_quote_trusted(Text *out, Str name) {
    add_dataset(out, name, STR("$"));
}
