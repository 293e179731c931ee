#include "gateway/route.h"
#include "kit/kit.h"

static const Route *find(HttpMethod method, const char *path, Str params[], unsigned *allowed) {
    return route_find(method, str_from(path), params, allowed);
}

TEST("every route is found by a path of its pattern, and by no earlier row") {
    for (size_t i = 0; i < route_count; i++) {
        Str params[ROUTE_PARAMS_MAX];
        unsigned allowed;
        char path[256];
        size_t len = 0;
        bool inside = false;
        for (const char *c = routes[i].pattern; *c; c++) {
            if (*c == '{') path[len++] = 'x';
            inside = *c == '{' || (inside && *c != '}');
            if (!inside && *c != '}') path[len++] = *c;
        }
        path[len] = 0;
        const Route *found = find(routes[i].method, path, params, &allowed);
        if (found != &routes[i])
            kit_fail(__FILE__, __LINE__, "%s finds %s", path, found ? found->pattern : "nothing");
    }
}

TEST("parameters are the segments, and the rest of the path for {*key}") {
    Str params[ROUTE_PARAMS_MAX];
    unsigned allowed;
    const Route *route = find(HTTP_GET, "/storage/buckets/b%20b/objects/x//y/", params, &allowed);
    CHECK(route && route->handler == object_get);
    CHECK_STR(params[0], "b%20b");
    CHECK_STR(params[1], "x//y/");
}

TEST("HEAD goes where GET goes, other methods are told what is allowed") {
    Str params[ROUTE_PARAMS_MAX];
    unsigned allowed;
    CHECK(find(HTTP_HEAD, "/health", params, &allowed) ==
          find(HTTP_GET, "/health", params, &allowed));
    CHECK(!find(HTTP_PUT, "/storage/buckets", params, &allowed));
    CHECK_INT(allowed, 1u << HTTP_GET | 1u << HTTP_POST);
}

TEST("near misses are no route") {
    static const char *const paths[] = {"/healthz",
                                        "/health/",
                                        "//health",
                                        "/storage/buckets/",
                                        "/jobs//events",
                                        "/storage/buckets/b/objects/",
                                        "/x"};
    for (size_t i = 0; i < COUNT(paths); i++) {
        Str params[ROUTE_PARAMS_MAX];
        unsigned allowed;
        if (find(HTTP_GET, paths[i], params, &allowed))
            kit_fail(__FILE__, __LINE__, "%s", paths[i]);
        CHECK_INT(allowed, 0);
    }
}

TEST("what GET answers needs read or no key, and other methods but POST need more") {
    for (size_t i = 0; i < route_count; i++) {
        unsigned scope = route_scope(&routes[i]);
        bool get = routes[i].method == HTTP_GET, post = routes[i].method == HTTP_POST;
        if (get ? scope & ~KEY_READ : scope == 0 || (!post && scope == KEY_READ))
            kit_fail(__FILE__, __LINE__, "%s needs %u", routes[i].pattern, scope);
    }
}

TEST("a route that says nothing needs admin, which no key of a profile has") {
    const Route forgotten = {HTTP_GET, "/new", health, "", ROUTE_POOL};
    CHECK_INT(route_scope(&forgotten), KEY_ADMIN);
    CHECK(route_is_whole(&forgotten));
}

TEST("dates are written and read as HTTP has them") {
    char buffer[HTTP_DATE_SIZE];
    int64_t at;
    CHECK_STR(http_date(784111777000, buffer), "Sun, 06 Nov 1994 08:49:37 GMT");
    CHECK(http_date_read(STR("Sun, 06 Nov 1994 08:49:37 GMT"), &at));
    CHECK_INT(at, 784111777000);
    CHECK(!http_date_read((Str){0}, &at)); /* of a header that was not sent */
    CHECK(!http_date_read(STR("yesterday"), &at));
    CHECK(!http_date_read(STR("Sun, 06 Nov 1994 08:49:37 GMTx"), &at));
}
