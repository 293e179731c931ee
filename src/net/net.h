/* HTTP, knowing nothing of our API: a server, a client, TLS, URLs. Other modules include this one.
 */
#pragma once

#include "net/http_client.h"
#include "net/http_server.h"
#include "net/tls.h"
#include "net/url.h"
