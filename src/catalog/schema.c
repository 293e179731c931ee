/* Schemas as Iceberg's JSON, and the ids of their fields. Ids are the identity of a column: names
 * may change, ids never do and are never used again. */
#include "catalog/schema.h"

#include "base/base.h"
#include "catalog/type.h"

#include <stdio.h>
#include <string.h>

static const char *const type_names[] = {[TYPE_BOOLEAN] = "boolean",
                                         [TYPE_INT] = "int",
                                         [TYPE_LONG] = "long",
                                         [TYPE_FLOAT] = "float",
                                         [TYPE_DOUBLE] = "double",
                                         [TYPE_DECIMAL] = "decimal",
                                         [TYPE_DATE] = "date",
                                         [TYPE_TIME] = "time",
                                         [TYPE_TIMESTAMP] = "timestamp",
                                         [TYPE_TIMESTAMPTZ] = "timestamptz",
                                         [TYPE_STRING] = "string",
                                         [TYPE_UUID] = "uuid",
                                         [TYPE_FIXED] = "fixed",
                                         [TYPE_BINARY] = "binary",
                                         [TYPE_LIST] = "list",
                                         [TYPE_STRUCT] = "struct",
                                         [TYPE_MAP] = "map"};

const Field *schema_find(const Schema *schema, Str name) {
    for (size_t i = 0; i < schema->len; i++)
        if (str_equal(schema->fields[i].name, name)) return &schema->fields[i];
    return NULL;
}

bool type_equal(const Type *a, const Type *b) {
    if (a->kind != b->kind || a->field_count != b->field_count) return false;
    if (a->kind == TYPE_DECIMAL && (a->precision != b->precision || a->scale != b->scale))
        return false;
    if (a->kind == TYPE_FIXED && a->length != b->length) return false;
    for (size_t i = 0; i < a->field_count; i++)
        if (!type_equal(&a->fields[i].type, &b->fields[i].type)) return false;
    return true;
}

bool type_widens(const Type *from, const Type *to) {
    if (type_equal(from, to)) return true;
    if (from->kind == TYPE_INT) return to->kind == TYPE_LONG;
    if (from->kind == TYPE_FLOAT) return to->kind == TYPE_DOUBLE;
    return from->kind == TYPE_DECIMAL && to->kind == TYPE_DECIMAL && to->scale == from->scale &&
           to->precision > from->precision;
}

static void fields_assign_ids(Field *fields, size_t len, int32_t *last_id) {
    for (size_t i = 0; i < len; i++)
        if (fields[i].id == 0) fields[i].id = ++*last_id;
    for (size_t i = 0; i < len; i++)
        fields_assign_ids(fields[i].type.fields, fields[i].type.field_count, last_id);
}

void schema_assign_ids(Schema *schema, int32_t *last_id) {
    fields_assign_ids(schema->fields, schema->len, last_id);
}

Type type_copy(const Type *type, Arena *arena) {
    Type copy = *type;
    copy.fields = fields_copy(type->fields, type->field_count, arena);
    return copy;
}

Field *fields_copy(const Field *fields, size_t len, Arena *arena) {
    Field *copy = arena_array(arena, Field, len + 1);
    for (size_t i = 0; i < len; i++) {
        copy[i] = fields[i];
        copy[i].name = arena_copy(arena, fields[i].name);
        copy[i].doc = arena_copy(arena, fields[i].doc);
        copy[i].type = type_copy(&fields[i].type, arena);
    }
    return copy;
}

/* Writing. */

static void field_write(const Field *field, JsonWriter *w);

static void nested_write(const Type *type, JsonWriter *w) {
    jw_object(w);
    jw_member_text(w, "type", str_from(type_names[type->kind]));
    if (type->kind == TYPE_LIST) {
        jw_member_int(w, "element-id", type->fields[0].id);
        jw_name(w, "element"), type_write_json(&type->fields[0].type, w);
        jw_member_flag(w, "element-required", type->fields[0].required);
    } else if (type->kind == TYPE_MAP) {
        jw_member_int(w, "key-id", type->fields[0].id);
        jw_name(w, "key"), type_write_json(&type->fields[0].type, w);
        jw_member_int(w, "value-id", type->fields[1].id);
        jw_name(w, "value"), type_write_json(&type->fields[1].type, w);
        jw_member_flag(w, "value-required", type->fields[1].required);
    } else {
        jw_name(w, "fields"), jw_array(w);
        for (size_t i = 0; i < type->field_count; i++) field_write(&type->fields[i], w);
        jw_end(w);
    }
    jw_end(w);
}

void type_write_json(const Type *type, JsonWriter *w) {
    switch (type->kind) {
    case TYPE_LIST:
    case TYPE_STRUCT:
    case TYPE_MAP:
        nested_write(type, w);
        break;
    case TYPE_DECIMAL: /* as Java writes it, with the space */
        jw_print(w, "decimal(%d, %d)", type->precision, type->scale);
        break;
    case TYPE_FIXED:
        jw_print(w, "fixed[%d]", type->length);
        break;
    default:
        jw_cstr(w, type_names[type->kind]);
    }
}

static void field_write(const Field *field, JsonWriter *w) {
    jw_object(w);
    jw_member_int(w, "id", field->id);
    jw_member_text(w, "name", field->name);
    jw_member_flag(w, "required", field->required);
    jw_name(w, "type"), type_write_json(&field->type, w);
    if (field->doc.len) jw_member_text(w, "doc", field->doc);
    jw_end(w);
}

void schema_write_json(const Schema *schema, JsonWriter *w) {
    jw_object(w);
    jw_member_text(w, "type", STR("struct"));
    jw_member_int(w, "schema-id", schema->id);
    jw_name(w, "fields"), jw_array(w);
    for (size_t i = 0; i < schema->len; i++) field_write(&schema->fields[i], w);
    jw_end(w);
    jw_end(w);
}

/* Reading. */

static bool type_from_json(const Json *json, Arena *arena, int depth, Type *out, Err *err);

static bool id_from_json(const Json *json, const char *name, int32_t *out, Err *err) {
    int64_t id = json_get_int(json, name, -1);
    if (id < 0 || id > INT32_MAX)
        return err_set(err, LH_CORRUPT, "a schema has a field without a usable '%s'", name);
    *out = (int32_t)id;
    return true;
}

static bool child_from_json(const Json *json, const char *name, Arena *arena, int depth, Field *out,
                            Err *err) {
    char key[24];
    out->name = str_from(name);
    snprintf(key, sizeof key, "%s-id", name);
    if (!id_from_json(json, key, &out->id, err)) return false;
    snprintf(key, sizeof key, "%s-required", name);
    out->required = json_get_flag(json, key, false);
    return type_from_json(json_get(json, name), arena, depth + 1, &out->type, err);
}

static bool fields_from_json(const Json *json, Arena *arena, int depth, Field **out, size_t *len,
                             Err *err) {
    const Json *list = json_get(json, "fields");
    if (!list || list->kind != JSON_ARRAY || list->len > TYPE_FIELDS_MAX)
        return err_set(err, LH_CORRUPT, "a schema has no list of at most %d fields",
                       TYPE_FIELDS_MAX);
    Field *fields = arena_array(arena, Field, list->len + 1);
    for (size_t i = 0; i < list->len; i++) {
        const Json *item = &list->items[i];
        fields[i].name = arena_copy(arena, json_get_text(item, "name", (Str){0}));
        fields[i].doc = arena_copy(arena, json_get_text(item, "doc", (Str){0}));
        fields[i].required = json_get_flag(item, "required", false);
        if (fields[i].name.len == 0) return err_set(err, LH_CORRUPT, "a field has no name");
        if (!id_from_json(item, "id", &fields[i].id, err) ||
            !type_from_json(json_get(item, "type"), arena, depth + 1, &fields[i].type, err))
            return err_while(err, "field '%.*s'", SHOW(fields[i].name));
    }
    *out = fields;
    *len = list->len;
    return true;
}

static bool nested_from_json(const Json *json, Arena *arena, int depth, Type *out, Err *err) {
    Str word = json_get_text(json, "type", (Str){0});
    Type type = {0};
    type.fields = arena_array(arena, Field, 2);
    if (str_is(word, "list")) {
        type.kind = TYPE_LIST;
        type.field_count = 1;
        if (!child_from_json(json, "element", arena, depth, &type.fields[0], err)) return false;
    } else if (str_is(word, "map")) {
        type.kind = TYPE_MAP;
        type.field_count = 2;
        if (!child_from_json(json, "key", arena, depth, &type.fields[0], err) ||
            !child_from_json(json, "value", arena, depth, &type.fields[1], err))
            return false;
        type.fields[0].required = true;
    } else if (str_is(word, "struct")) {
        type.kind = TYPE_STRUCT;
        if (!fields_from_json(json, arena, depth, &type.fields, &type.field_count, err))
            return false;
    } else {
        return err_set(err, LH_CORRUPT, "a type is neither list, map nor struct");
    }
    *out = type;
    return true;
}

/* "decimal(12, 2)", "decimal(12,2)", "fixed[16]" */
static bool sized_from_text(Str text, Type *out) {
    char copy[40];
    int consumed = 0;
    if (text.len >= sizeof copy) return false;
    snprintf(copy, sizeof copy, "%.*s", SHOW(text));
    if (sscanf(copy, "decimal(%d ,%d )%n", &out->precision, &out->scale, &consumed) == 2 &&
        consumed == (int)text.len) {
        out->kind = TYPE_DECIMAL;
        return out->precision >= 1 && out->precision <= 38 && out->scale >= 0 &&
               out->scale <= out->precision;
    }
    if (sscanf(copy, "fixed[%d]%n", &out->length, &consumed) == 1 && consumed == (int)text.len) {
        out->kind = TYPE_FIXED;
        return out->length >= 0;
    }
    return false;
}

static bool type_from_json(const Json *json, Arena *arena, int depth, Type *out, Err *err) {
    if (!json || depth > TYPE_DEPTH_MAX)
        return err_set(err, LH_CORRUPT, "a type is missing or nested more than %d deep",
                       TYPE_DEPTH_MAX);
    if (json->kind == JSON_OBJECT) return nested_from_json(json, arena, depth, out, err);
    if (json->kind != JSON_TEXT) return err_set(err, LH_CORRUPT, "a type is no text");
    for (size_t kind = 0; kind < COUNT(type_names); kind++)
        if (str_is(json->text, type_names[kind]) && kind < TYPE_LIST && kind != TYPE_DECIMAL &&
            kind != TYPE_FIXED) {
            *out = (Type){.kind = (TypeKind)kind};
            return true;
        }
    Type type = {0};
    if (!sized_from_text(json->text, &type))
        return err_set(err, LH_IMPOSSIBLE, "the type '%.*s' is not one of Iceberg version 2",
                       (int)MIN(json->text.len, (size_t)60), json->text.data);
    *out = type;
    return true;
}

bool schema_from_json(const Json *json, Arena *arena, Schema *out, Err *err) {
    Schema schema = {.id = (int32_t)json_get_int(json, "schema-id", 0)};
    if (!fields_from_json(json, arena, 0, &schema.fields, &schema.len, err))
        return err_while(err, "reading a schema");
    *out = schema;
    return true;
}
