/* Who asks, and whether they may: the request's key against the route's column in routes.c, then
 * the profile that the key is bound to, within which the handler's thread works (vector.h,
 * profile_enter). Without keys whoever can connect may do everything. */
#include "gateway/route.h"

typedef struct Need {
    unsigned scope; /* 0: no key is asked for */
    bool whole;     /* of the server: not for keys that are bound to a profile */
} Need;

static Need need_of(const Route *route) {
    static const Need needs[] = {
        [NEEDS_ADMIN] = {KEY_ADMIN, true },
          [NEEDS_NO_KEY] = {0,         false},
        [NEEDS_READ] = {KEY_READ,  false},
          [NEEDS_WRITE] = {KEY_WRITE, false},
        [NEEDS_READ_ALL] = {KEY_READ,  true },
          [NEEDS_WRITE_ALL] = {KEY_WRITE, true },
    };
    return needs[route->access];
}

unsigned route_scope(const Route *route, bool *whole) {
    Need need = need_of(route);
    *whole = need.whole;
    return need.scope;
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
    Need need = need_of(route);
    if (!need.scope || app->keys.len == 0) return true;
    if (!caller->key) return refuse_unknown(caller, err);
    if (!(caller->key->scopes & need.scope)) return refuse_scope(caller->key, need.scope, err);
    return !need.whole || caller_is_whole(caller, err);
}

bool access_enter(App *app, const Call *call, Err *err) {
    Str profile = caller_profile(&call->caller);
    return access_check(app, call->route, &call->caller, err) &&
           (!profile.len || profile_enter(app->profiles, profile, call->arena, err));
}

void access_leave(void) {
    profile_leave();
}
