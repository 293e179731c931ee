#include "base/json_chars.h"

#include <charconv>

// Beyond what a double counts in ones, digits without an exponent would read as a large integer.
static const double whole_max = 1e15;

template <typename Real> static size_t write(Real value, char *out) {
    bool large = value >= Real(whole_max) || value <= Real(-whole_max);
    auto end = large
                   ? std::to_chars(out, out + JSON_CHARS_MAX, value, std::chars_format::scientific)
                   : std::to_chars(out, out + JSON_CHARS_MAX, value);
    return size_t(end.ptr - out);
}

size_t json_chars_int(int64_t value, char *out) {
    return size_t(std::to_chars(out, out + JSON_CHARS_MAX, value).ptr - out);
}
size_t json_chars_uint(uint64_t value, char *out) {
    return size_t(std::to_chars(out, out + JSON_CHARS_MAX, value).ptr - out);
}
size_t json_chars_real(double value, char *out) {
    return write(value, out);
}
size_t json_chars_float(float value, char *out) {
    return write(value, out);
}
