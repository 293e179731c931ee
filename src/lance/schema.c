/* Fields: lance.file.Field, in manifests and in data files. */
#include "lance/manifest.h"
#include "lance/wire.h"

enum { HINT_PLAIN = 1, HINT_VAR_BINARY = 2 }; /* what old readers took the encoding from */

void field_encode(Text *out, uint32_t number, const LanceField *field) {
    if (field->raw.size) return wire_put_bytes(out, number, field->raw);
    bool text = field->type.kind == LANCE_TEXT || field->type.kind == LANCE_BINARY;
    size_t begun = wire_begin(out, number);
    wire_put_text(out, 2, field->name);
    wire_put_nonzero(out, 3, (uint64_t)(int64_t)field->id);
    wire_put(out, 4, (uint64_t)-1); /* the parent: none */
    wire_put_text(out, 5, field->type.logical);
    wire_put_nonzero(out, 6, field->nullable);
    wire_put(out, 7, text ? HINT_VAR_BINARY : HINT_PLAIN);
    wire_end(out, begun);
}

bool field_read(Bytes message, LanceField *out, int32_t *parent, Err *err) {
    LanceField read = {.raw = message};
    int64_t id = 0, above = 0;
    Str logical = STR("");
    WireField field;
    WireReader reader = wire_read(message);
    while (wire_next(&reader, &field)) {
        if (field.number == 2) read.name = wire_text(&field);
        if (field.number == 3) id = (int64_t)field.value;
        if (field.number == 4) above = (int64_t)field.value;
        if (field.number == 5) logical = wire_text(&field);
        if (field.number == 6) read.nullable = field.value != 0;
    }
    if (!wire_whole(&reader, "a field of the schema", err)) return false;
    if (id < 0 || id > INT32_MAX || above < -1 || above > INT32_MAX || !str_is_utf8(read.name) ||
        !str_is_utf8(logical))
        return err_set(err, LH_CORRUPT, "a field of the schema has id %lld below %lld",
                       (long long)id, (long long)above);
    read.id = (int32_t)id;
    read.type = lance_type(logical);
    *parent = (int32_t)above;
    *out = read;
    return true;
}
