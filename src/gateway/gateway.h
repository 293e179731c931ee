/* The HTTP API over an opened App: a table of routes (routes.c) and thin handlers. */
#pragma once

#include "app/app.h"

typedef struct Gateway Gateway;

bool gateway_open(App *app, Gateway **out, Err *err); /* listens */
int gateway_port(const Gateway *gateway);
void gateway_close(Gateway **gateway, int64_t grace_ms);
