/* GET /openapi.json, made from the rows of routes[] and their option tables, and GET /, the same
 * for people: neither can disagree with what the server takes. */
#include "gateway/route.h"

#include <stdio.h>

static const char *const method_names[HTTP_METHOD_COUNT] = {"get",   "head",   "post",   "put",
                                                            "patch", "delete", "options"};

/* {*key} is spelled {key}. */
static Str path_of(const Route *route, Arena *arena) {
    OWNED(text_close) Text path = {0};
    for (const char *c = route->pattern; *c; c++)
        if (*c != '*') text_add_byte(&path, *c);
    return arena_copy(arena, text_str(&path));
}

static void write_fallback(const Option *option, JsonWriter *w) {
    if (!option->fallback || option_is_required(option)) return;
    jw_name(w, "default");
    if (option->type == LH_TEXT)
        jw_cstr(w, option->fallback);
    else
        jw_raw(w, str_from(option->fallback));
}

static void write_schema(const Option *option, JsonWriter *w) {
    static const char *const types[] = {[LH_TEXT] = "string",
                                        [LH_FLAG] = "boolean",
                                        [LH_INT] = "integer",
                                        [LH_REAL] = "number",
                                        [LH_FLOATS] = "array"};
    jw_object(w);
    if (option->type != LH_JSON) jw_member_text(w, "type", str_from(types[option->type]));
    if (option->type == LH_FLOATS) {
        jw_name(w, "items");
        jw_raw(w, STR("{\"type\":\"number\"}"));
    }
    if (option->min || option->max) {
        jw_member_real(w, "minimum", option->min);
        jw_member_real(w, "maximum", option->max);
    }
    if (option->choices) {
        Str rest = str_from(option->choices);
        jw_name(w, "enum");
        jw_array(w);
        while (rest.len) jw_text(w, str_until(&rest, '|'));
        jw_end(w);
    }
    write_fallback(option, w);
    jw_member_text(w, "description", str_from(option->help));
    jw_end(w);
}

static void write_parameter(const char *in, Str name, bool required, const Option *option,
                            JsonWriter *w) {
    jw_object(w);
    jw_member_text(w, "name", name);
    jw_member_text(w, "in", str_from(in));
    jw_member_flag(w, "required", required);
    jw_name(w, "schema");
    if (option)
        write_schema(option, w);
    else
        jw_raw(w, STR("{\"type\":\"string\"}"));
    jw_end(w);
}

static void write_parameters(const Route *route, JsonWriter *w) {
    static const Option wait = {"wait", LH_FLAG, 0, "false", "answer when the job has ended"};
    Str rest = str_from(route->pattern);
    jw_name(w, "parameters");
    jw_array(w);
    while (rest.len > 0) {
        str_until(&rest, '{');
        Str name = str_until(&rest, '}');
        if (name.len && name.data[0] == '*') name = str_slice(name, 1, name.len);
        if (name.len) write_parameter("path", name, true, NULL, w);
    }
    for (const Option *option = route->query; option && option->name; option++)
        write_parameter("query", str_from(option->name), option_is_required(option), option, w);
    if (route->job) write_parameter("query", str_from(wait.name), false, &wait, w);
    jw_end(w);
}

static void write_object_schema(const Option *options, JsonWriter *w) {
    bool any = false;
    jw_object(w);
    jw_member_text(w, "type", STR("object"));
    jw_member_flag(w, "additionalProperties", false);
    jw_name(w, "properties");
    jw_object(w);
    for (const Option *option = options; option->name; option++) {
        jw_name(w, option->name);
        write_schema(option, w);
        any |= option_is_required(option);
    }
    jw_end(w);
    if (any) {
        jw_name(w, "required");
        jw_array(w);
        for (const Option *option = options; option->name; option++)
            if (option_is_required(option)) jw_cstr(w, option->name);
        jw_end(w);
    }
    jw_end(w);
}

static void write_body(const Route *route, JsonWriter *w) {
    if (!route->body && route->kind != ROUTE_STREAM) return;
    jw_name(w, "requestBody");
    jw_object(w);
    jw_name(w, "content");
    jw_object(w);
    jw_name(w, route->body ? "application/json" : "application/octet-stream");
    jw_object(w);
    if (route->body) {
        jw_name(w, "schema");
        write_object_schema(route->body, w);
    }
    jw_end(w);
    jw_end(w);
    jw_end(w);
}

static void write_responses(const Route *route, JsonWriter *w) {
    jw_name(w, "responses");
    jw_object(w);
    jw_name(w, "2XX");
    jw_raw(w, STR("{\"description\":\"done\"}"));
    if (route->job) {
        jw_name(w, "202");
        jw_raw(w,
               STR("{\"description\":\"a job has begun: {\\\"job\\\":id}, Location names it\"}"));
    }
    jw_name(w, "default");
    jw_raw(w,
           STR("{\"description\":\"RFC 9457\",\"content\":{\"application/problem+json\":{\"schema\""
               ":{\"$ref\":\"#/components/schemas/Problem\"}}}}"));
    jw_end(w);
}

/* OpenAPI 3.1, "Security Requirement Object": what a bearer needs are roles. */
static void write_security(const Route *route, JsonWriter *w) {
    OWNED(text_close) Text scope = {0};
    key_scopes_write(route_scope(route), &scope);
    jw_name(w, "security");
    jw_array(w);
    if (scope.len) {
        jw_object(w);
        jw_name(w, "key");
        jw_array(w);
        jw_text(w, text_str(&scope));
        jw_end(w);
        jw_end(w);
    }
    jw_end(w);
    jw_member_flag(w, "x-whole-server", route_is_whole(route));
}

static void write_operation(const Route *route, JsonWriter *w) {
    jw_name(w, method_names[route->method]);
    jw_object(w);
    jw_member_text(w, "summary", str_from(route->help));
    write_security(route, w);
    write_parameters(route, w);
    write_body(route, w);
    write_responses(route, w);
    jw_end(w);
}

static bool is_first_of_path(size_t i) {
    for (size_t j = 0; j < i; j++)
        if (str_is(str_from(routes[j].pattern), routes[i].pattern)) return false;
    return true;
}

static void write_paths(Arena *arena, JsonWriter *w) {
    jw_name(w, "paths");
    jw_object(w);
    for (size_t i = 0; i < route_count; i++) {
        if (!is_first_of_path(i)) continue;
        jw_name_str(w, path_of(&routes[i], arena));
        jw_object(w);
        for (size_t j = i; j < route_count; j++)
            if (str_is(str_from(routes[j].pattern), routes[i].pattern))
                write_operation(&routes[j], w);
        jw_end(w);
    }
    jw_end(w);
}

static const char components[] =
    "{\"securitySchemes\":{\"key\":{\"type\":\"http\",\"scheme\":\"bearer\",\"description\":"
    "\"where access keys are configured; x-whole-server: not for a key that is bound to a "
    "profile\"}"
    "},\"schemas\":{\"Problem\":{\"type\":\"object\",\"required\":[\"type\",\"title\",\"status\","
    "\"code\",\"detail\"],\"properties\":{\"type\":{\"type\":\"string\"},\"title\":{\"type\":"
    "\"string\"},\"status\":{\"type\":\"integer\"},\"code\":{\"type\":\"string\",\"description\":"
    "\"a stable word for programs\"},\"detail\":{\"type\":\"string\"}}}}}";

bool openapi(App *app, Call *call, Err *err) {
    Text text = {0};
    JsonWriter w = {.out = &text};
    (void)app, (void)err;
    jw_object(&w);
    jw_member_text(&w, "openapi", STR("3.1.0"));
    jw_name(&w, "info");
    jw_object(&w);
    jw_member_text(&w, "title", STR("lakehouse"));
    jw_member_text(&w, "version", STR(LAKEHOUSE_VERSION));
    jw_end(&w);
    write_paths(call->arena, &w);
    jw_name(&w, "components");
    jw_raw(&w, str_from(components));
    jw_end(&w);
    answer_json(call, 200, &text);
    return true;
}

/* Patterns and helps are ours and hold nothing that HTML would take for markup. */
bool home(App *app, Call *call, Err *err) {
    Text text = {0};
    (void)app, (void)err;
    text_print(&text,
               "<!doctype html><meta charset=utf-8><title>lakehouse</title>"
               "<style>body{font:15px system-ui;max-width:64em;margin:2em auto;padding:0 1em}"
               "td{padding:.2em 1em .2em 0;vertical-align:top}code{white-space:nowrap}</style>"
               "<h1>lakehouse %s</h1><p><a href=/openapi.json>OpenAPI</a> &middot; "
               "<a href=/metrics>metrics</a> &middot; <a href=/ready>ready</a><table>",
               LAKEHOUSE_VERSION);
    for (size_t i = 0; i < route_count; i++)
        text_print(&text, "<tr><td><code>%s</code><td><code>%s</code><td>%s",
                   method_names[routes[i].method], routes[i].pattern, routes[i].help);
    text_add(&text, STR("</table>"));
    response_take(call->response, "text/html; charset=utf-8", &text);
    return true;
}
