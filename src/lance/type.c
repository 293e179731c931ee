/* Logical types: the format's spelling of Arrow's types, and what of it decides how values lie. */
#include "lance/lance.h"

typedef struct TypeName {
    const char *name; /* the whole spelling, or what stands before the first ':' */
    LanceKind kind;
    uint32_t bits;
} TypeName;

static const TypeName type_names[] = {
    {"null",         LANCE_NULL,   0 },
    {"bool",         LANCE_BOOL,   1 },
    {"int8",         LANCE_INT,    8 },
    {"uint8",        LANCE_UINT,   8 },
    {"int16",        LANCE_INT,    16},
    {"uint16",       LANCE_UINT,   16},
    {"int32",        LANCE_INT,    32},
    {"uint32",       LANCE_UINT,   32},
    {"int64",        LANCE_INT,    64},
    {"uint64",       LANCE_UINT,   64},
    {"halffloat",    LANCE_FLOAT,  16},
    {"float",        LANCE_FLOAT,  32},
    {"double",       LANCE_FLOAT,  64},
    {"string",       LANCE_TEXT,   0 },
    {"large_string", LANCE_TEXT,   0 },
    {"binary",       LANCE_BINARY, 0 },
    {"large_binary", LANCE_BINARY, 0 },
    {"date32:day",   LANCE_INT,    32},
    {"date64:ms",    LANCE_INT,    64},
    {"time32:s",     LANCE_INT,    32},
    {"time32:ms",    LANCE_INT,    32},
    {"time64:us",    LANCE_INT,    64},
    {"time64:ns",    LANCE_INT,    64},
};

static bool is_time_unit(Str unit) {
    return str_is(unit, "s") || str_is(unit, "ms") || str_is(unit, "us") || str_is(unit, "ns");
}

static bool number_within(Str text, uint64_t max, uint64_t *out) {
    return str_to_u64(text, out) && *out >= 1 && *out <= max;
}

static LanceType type_simple(Str logical) {
    for (size_t i = 0; i < COUNT(type_names); i++)
        if (str_is(logical, type_names[i].name))
            return (LanceType){.kind = type_names[i].kind, .bits = type_names[i].bits};
    return (LanceType){.kind = LANCE_OTHER};
}

/* decimal:128:PRECISION:SCALE */
static bool decimal_is_known(Str rest) {
    uint64_t precision;
    int64_t scale;
    Str width = str_until(&rest, ':'), digits = str_until(&rest, ':');
    return str_is(width, "128") && number_within(digits, 38, &precision) &&
           str_to_i64(rest, &scale) && scale >= -38 && scale <= 38;
}

/* fixed_size_list:ITEM:DIMENSION, where ITEM is a type of fixed width that may hold ':' itself. */
static LanceType type_vector(Str rest) {
    size_t colon = rest.len;
    uint64_t dimension;
    while (colon > 0 && rest.data[colon - 1] != ':') colon--;
    if (colon == 0 ||
        !number_within(str_slice(rest, colon, rest.len), LANCE_DIMENSION_MAX, &dimension))
        return (LanceType){.kind = LANCE_OTHER};
    LanceType item = type_simple(str_slice(rest, 0, colon - 1));
    if (item.kind != LANCE_INT && item.kind != LANCE_UINT && item.kind != LANCE_FLOAT)
        return (LanceType){.kind = LANCE_OTHER};
    return (LanceType){.kind = LANCE_VECTOR,
                       .item = item.kind,
                       .bits = item.bits,
                       .dimension = (uint32_t)dimension};
}

static LanceType type_with_arguments(Str logical) {
    Str rest = logical, head = str_until(&rest, ':');
    uint64_t size;
    if (str_is(head, "timestamp") && is_time_unit(str_until(&rest, ':')) && rest.len > 0)
        return (LanceType){.kind = LANCE_INT, .bits = 64};
    if (str_is(head, "duration") && is_time_unit(rest))
        return (LanceType){.kind = LANCE_INT, .bits = 64};
    if (str_is(head, "decimal") && decimal_is_known(rest))
        return (LanceType){.kind = LANCE_FIXED, .bits = 128};
    if (str_is(head, "fixed_size_binary") && number_within(rest, LANCE_DIMENSION_MAX, &size))
        return (LanceType){.kind = LANCE_FIXED, .bits = (uint32_t)size * 8};
    if (str_is(head, "fixed_size_list")) return type_vector(rest);
    return (LanceType){.kind = LANCE_OTHER};
}

LanceType lance_type(Str logical) {
    LanceType type = type_simple(logical);
    if (type.kind == LANCE_OTHER) type = type_with_arguments(logical);
    if (type.dimension == 0) type.dimension = 1;
    type.logical = logical;
    return type;
}
