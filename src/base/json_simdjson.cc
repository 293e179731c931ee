// The one file that sees simdjson: parses a document and hands each value, in document order, to a
// C callback. Depth, UTF-8 and number rules are simdjson's (RFC 8259); a number beyond 64 bits is
// refused rather than rounded. And it lends str.c its check of UTF-8.
#include "base/json_simdjson.h"

#include <simdjson.h>

using namespace simdjson;

namespace {
bool walk(dom::element value, const JsonVisitor *visit, int depth);

bool walk_array(dom::array array, const JsonVisitor *visit, int depth) {
    visit->open(visit->context, JSON_ARRAY, array.size());
    for (dom::element item : array)
        if (!walk(item, visit, depth + 1)) return false;
    return visit->close(visit->context);
}

bool walk_object(dom::object object, const JsonVisitor *visit, int depth) {
    visit->open(visit->context, JSON_OBJECT, object.size());
    for (dom::key_value_pair member : object) {
        visit->name(visit->context, member.key.data(), member.key.size());
        if (!walk(member.value, visit, depth + 1)) return false;
    }
    return visit->close(visit->context);
}

bool walk(dom::element value, const JsonVisitor *visit, int depth) {
    if (depth > JSON_DEPTH_MAX) return false;
    void *to = visit->context;
    switch (value.type()) {
    case dom::element_type::ARRAY:
        return walk_array(value, visit, depth);
    case dom::element_type::OBJECT:
        return walk_object(value, visit, depth);
    case dom::element_type::INT64:
        visit->integer(to, value.get_int64().value_unsafe());
        break;
    case dom::element_type::UINT64:
        visit->natural(to, value.get_uint64().value_unsafe());
        break;
    case dom::element_type::DOUBLE:
        visit->real(to, value.get_double().value_unsafe());
        break;
    case dom::element_type::BOOL:
        visit->flag(to, value.get_bool().value_unsafe());
        break;
    case dom::element_type::NULL_VALUE:
        visit->null(to);
        break;
    case dom::element_type::STRING: {
        std::string_view text = value.get_string().value_unsafe();
        visit->text(to, text.data(), text.size());
        break;
    }
    }
    return true;
}
} // namespace

extern "C" const char *json_simdjson_read(const char *text, size_t len, const JsonVisitor *visit) {
    // One parser a thread keeps its buffers, which is where simdjson's speed on small bodies is;
    // a large document gets one of its own so that a thread does not hold that memory for ever.
    static thread_local dom::parser kept;
    dom::parser own;
    dom::parser &parser = len < (1u << 20) ? kept : own;
    dom::element root;
    try {
        if (error_code code = parser.parse(text, len, true).get(root)) return error_message(code);
        return walk(root, visit, 1) ? nullptr : "";
    } catch (const std::exception &) {
        return "out of memory";
    }
}

bool json_simdjson_is_utf8(const char *text, size_t len) {
    return validate_utf8(text, len);
}
