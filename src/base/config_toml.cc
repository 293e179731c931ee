// The one file that sees toml++: turns TOML into JSON text, which json_read then checks and keeps.
// Dates and times come out as text.
#include "base/config_toml.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <stdexcept>

// The parser asserts what a malformed file can make false ("[&"): that is bad input, not a bug.
[[noreturn]] static void not_toml() {
    throw std::invalid_argument("this is not TOML");
}
#define TOML_ASSERT(expr) ((expr) ? static_cast<void>(0) : not_toml())
#include <toml++/toml.h>

extern "C" char *config_toml_to_json(const char *text, size_t len, char *why, size_t why_size) {
    try {
        toml::table table = toml::parse(std::string_view(text, len));
        std::ostringstream out;
        out << toml::json_formatter{table};
        return strdup(out.str().c_str());
    } catch (const toml::parse_error &e) {
        std::snprintf(why, why_size, "line %u, column %u: %.*s", (unsigned)e.source().begin.line,
                      (unsigned)e.source().begin.column, (int)e.description().size(),
                      e.description().data());
    } catch (const std::invalid_argument &e) {
        std::snprintf(why, why_size, "%s", e.what());
    } catch (const std::exception &) {
        std::snprintf(why, why_size, "out of memory");
    }
    return nullptr;
}
