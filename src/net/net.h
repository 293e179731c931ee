/* HTTP and TLS, knowing nothing of our API: a server, a client, URLs. Other modules include this.
 */
#pragma once

#include "net/http_client.h"
#include "net/http_server.h"
#include "net/tls.h"
#include "net/url.h"
