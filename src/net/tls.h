/* TLS 1.2 and 1.3 for the server's connections, over OpenSSL; of a connection only its bytes go
 * through here, what they mean is the server's business.
 *
 * A TlsServer is a certificate and its key. Their files are looked at again when a connection is
 * accepted, at most once a second, and read again when they changed; connections that are there go
 * on with what they began with. Thread rule: one thread accepts; a Tls is its connection's. */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <sys/types.h>
#include <sys/uio.h>

typedef struct TlsServer TlsServer;
typedef struct Tls Tls;

/* Errors name the setting: tls_cert, a PEM file with the certificate and those between it and its
 * authority, or tls_key. Warns of a key that everybody may read. */
bool tls_server_open(Str cert_path, Str key_path, TlsServer **out, Err *err);
void tls_server_close(TlsServer **server); /* no Tls may be left */

Tls *tls_accept(TlsServer *server, int fd); /* the fd stays the caller's */
void tls_close(Tls **tls);                  /* says nothing to the client */

/* As recv, sendmsg and sendfile on a socket that does not block: they may take less than they were
 * given, say -1 with EAGAIN when they have to wait (see tls_waits_for) and with EINTR when it is
 * others' turn. The first calls shake hands. After EAGAIN the next write has to begin with the
 * same bytes. */
ssize_t tls_read(Tls *tls, void *buffer, size_t size);
ssize_t tls_write(Tls *tls, const struct iovec *parts, size_t count);
ssize_t tls_send_file(Tls *tls, int file, uint64_t offset, uint64_t size);
/* POLLIN or POLLOUT: a read may have to send first, and a write to receive. */
short tls_waits_for(const Tls *tls);
/* Tells the client that all was said; false when it has to be called again once there is room. */
bool tls_finish(Tls *tls);
