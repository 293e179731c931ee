/* Who asks, and whether they may: the request's key against the route's column in routes.c, then
 * the profile that the key is bound to, within which the handler's thread works (vector.h,
 * profile_enter). Without keys whoever can connect may do everything. */
#include "gateway/route.h"

unsigned route_scope(const Route *route) {
    return route->access == NEEDS_ADMIN ? KEY_ADMIN : route->access & (KEY_READ | KEY_WRITE);
}

bool route_is_whole(const Route *route) {
    return route->access == NEEDS_ADMIN || route->access & WHOLE_SERVER;
}

/* RFC 6750, 2.1. Empty where there is none. */
static Str bearer(const Request *request) {
    Str rest = str_trim(request_header(request, "authorization")), scheme = str_until(&rest, ' ');
    return str_equal_nocase(scheme, STR("bearer")) ? str_trim(rest) : (Str){0};
}

Caller caller_of(const App *app, const Request *request) {
    Str secret = bearer(request);
    if (app->keys.len == 0 || secret.len == 0) return (Caller){0};
    return (Caller){.key = keys_find(&app->keys, secret), .sent = true};
}

static bool refuse_unknown(const Caller *caller, Err *err) {
    if (caller->sent)
        return err_code(err, LH_UNKNOWN_USER, "wrong_key", "this server has no such access key");
    return err_code(err, LH_UNKNOWN_USER, "no_key",
                    "this needs an access key: send 'Authorization: Bearer KEY' (the command line "
                    "takes it from LAKEHOUSE_KEY or --key-file)");
}

static bool refuse_scope(const AccessKey *key, unsigned scope, Err *err) {
    OWNED(text_close) Text needed = {0}, has = {0};
    key_scopes_write(scope, &needed);
    key_scopes_write(key->scopes, &has);
    return err_code(err, LH_DENIED, "missing_scope",
                    "this needs the scope '%.*s'; the key '%.*s' has %.*s", SHOW(text_str(&needed)),
                    SHOW(key->name), SHOW(text_str(&has)));
}

bool caller_is_whole(const Caller *caller, Err *err) {
    return !caller_profile(caller).len ||
           err_code(err, LH_DENIED, "out_of_scope",
                    "this concerns the whole server; the key '%.*s' is bound to profile '%.*s'",
                    SHOW(caller->key->name), SHOW(caller->key->profile));
}

bool access_check(const App *app, const Route *route, const Caller *caller, Err *err) {
    unsigned scope = route_scope(route);
    if (!scope || app->keys.len == 0) return true;
    if (!caller->key) return refuse_unknown(caller, err);
    if (!(caller->key->scopes & (scope | KEY_ADMIN))) return refuse_scope(caller->key, scope, err);
    return !route_is_whole(route) || caller_is_whole(caller, err);
}

bool access_enter(App *app, const Call *call, Err *err) {
    Str profile = caller_profile(&call->caller);
    return access_check(app, call->route, &call->caller, err) &&
           (!profile.len || profile_enter(app->profiles, profile, call->arena, err));
}

void access_leave(void) {
    profile_leave();
}
