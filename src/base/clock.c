#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

int64_t clock_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

Str clock_text(int64_t unix_ms, char buffer[CLOCK_TEXT_SIZE]) {
    int64_t ms = ((unix_ms % 1000) + 1000) % 1000;
    time_t seconds = (time_t)((unix_ms - ms) / 1000);
    struct tm t = {0};
    gmtime_r(&seconds, &t);
    int len = snprintf(buffer, CLOCK_TEXT_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                       (t.tm_year + 1900) % 10000, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min,
                       t.tm_sec, (int)ms);
    return (Str){buffer, (size_t)len};
}

/* "Z" or "+hh:mm" in minutes east of Greenwich. */
static bool read_zone(Str zone, int *minutes) {
    int hours, rest;
    char sign, z[8] = "";
    if (str_is(zone, "Z") || str_is(zone, "z")) return *minutes = 0, true;
    if (zone.len != 6) return false;
    memcpy(z, zone.data, zone.len);
    if (sscanf(z, "%c%2d:%2d", &sign, &hours, &rest) != 3 || (sign != '+' && sign != '-'))
        return false;
    *minutes = (sign == '-' ? -1 : 1) * (hours * 60 + rest);
    return true;
}

bool clock_read(Str text, int64_t *unix_ms) {
    char buffer[40] = "";
    struct tm t = {0};
    int used = 0, minutes;
    if (text.len < 20 || text.len >= sizeof buffer) return false;
    memcpy(buffer, text.data, text.len);
    if (sscanf(buffer, "%4d-%2d-%2d%*1[Tt ]%2d:%2d:%2d%n", &t.tm_year, &t.tm_mon, &t.tm_mday,
               &t.tm_hour, &t.tm_min, &t.tm_sec, &used) != 6)
        return false;
    int64_t ms = 0;
    size_t at = (size_t)used;
    if (buffer[at] == '.') {
        int64_t scale = 100;
        for (at++; buffer[at] >= '0' && buffer[at] <= '9'; at++, scale /= 10)
            ms += (buffer[at] - '0') * scale;
    }
    if (!read_zone(str_slice(text, at, text.len), &minutes)) return false;
    t.tm_year -= 1900;
    t.tm_mon--;
    *unix_ms = ((int64_t)timegm(&t) - minutes * 60) * 1000 + ms;
    return true;
}
