/* Masks: personal values that are changed before they are written, so that no file ever holds them.
 * `hash` keeps what joins and counts need, `partial` what a person needs to tell one from another,
 * `redact` nothing. A hash without a secret can be found by trying, when there are few values. */
#include "ingest/parts.h"

#define SHOWN_MAX 4 /* characters at the end that `partial` shows */

static bool read_word(const Json *value, Mask *out, Err *err) {
    static const char *const words[] = {
        [MASK_HASH] = "hash", [MASK_REDACT] = "redact", [MASK_PARTIAL] = "partial"};
    for (size_t i = MASK_HASH; i < COUNT(words); i++)
        if (value->kind == JSON_TEXT && str_is(value->text, words[i])) return *out = (Mask)i, true;
    return err_code(err, LH_INVALID, "bad_mask",
                    "the mask of '%.*s' must be one of hash, redact, partial", SHOW(value->name));
}

bool masks_read(const Json *json, const Schema *schema, Mask *out, Err *err) {
    if (!json || json->kind == JSON_NULL) return true;
    if (json->kind != JSON_OBJECT)
        return err_code(err, LH_INVALID, "bad_mask", "'mask' must be an object of columns");
    for (size_t i = 0; i < json->len; i++) {
        const Field *field = schema_find(schema, json->items[i].name);
        if (!field)
            return err_code(err, LH_INVALID, "bad_mask",
                            "'mask' names no column of the source: '%.*s'",
                            SHOW(json->items[i].name));
        if (!read_word(&json->items[i], &out[field - schema->fields], err)) return false;
    }
    return true;
}

Type mask_type(Mask mask, const Type *type) {
    if (mask == MASK_HASH || mask == MASK_PARTIAL) return (Type){.kind = TYPE_STRING};
    return *type;
}

/* A value of SHOWN_MAX characters or fewer would be shown whole: all of it is hidden. */
static void partial_sql(Str name, Text *out) {
    text_print(out,
               "CASE WHEN length(%.*s::VARCHAR) > %d THEN repeat('*', length(%.*s::VARCHAR) - %d) "
               "|| right(%.*s::VARCHAR, %d) ELSE repeat('*', length(%.*s::VARCHAR)) END",
               SHOW(name), SHOWN_MAX, SHOW(name), SHOWN_MAX, SHOW(name), SHOWN_MAX, SHOW(name));
}

void mask_sql(Mask mask, const Field *field, Text *out) {
    OWNED(text_close) Text name = {0};
    bool bytes = field->type.kind == TYPE_BINARY || field->type.kind == TYPE_FIXED;
    sql_quote_name(&name, field->name);
    switch (mask) {
    case MASK_NONE:
        text_add(out, text_str(&name));
        break;
    case MASK_HASH: /* of bytes themselves: their text would be an escaped form */
        text_print(out, "sha256(%.*s%s)", SHOW(text_str(&name)), bytes ? "" : "::VARCHAR");
        break;
    case MASK_REDACT:
        text_add(out, STR("NULL"));
        break;
    case MASK_PARTIAL:
        partial_sql(text_str(&name), out);
        break;
    }
}
