/* A relay between a client and a real server that misbehaves on demand: it loses answers, cuts
 * them, or keeps them back, so that a client's way out of each is tested against what really
 * happened on the server. Everything here is thread safe. */
#pragma once

#include <stdbool.h>

typedef struct Relay Relay;
typedef enum RelayFault {
    RELAY_LOSE_ANSWER,  /* the request is carried out, then the connection breaks */
    RELAY_LOSE_REQUEST, /* the connection breaks before the server hears of it */
    RELAY_CUT_ANSWER,   /* after 100,000 bytes of it */
    RELAY_KEEP_ANSWER,  /* nothing comes, the connection stays */
    RELAY_ANSWER_500,   /* carried out, answered with 500 all the same */
    RELAY_ANSWER_503,   /* not carried out, answered with 503 SlowDown */
} RelayFault;

Relay *relay_open(const char *url); /* http://127.0.0.1:PORT of the server */
void relay_close(Relay **relay);
const char *relay_url(const Relay *relay);
/* The next `times` requests whose first line has this part. One order at a time. */
void relay_fault(Relay *relay, const char *part, RelayFault fault, int times);
int relay_count(Relay *relay, const char *part); /* requests with this part so far */
void relay_forget(Relay *relay);                 /* counts from now on */
