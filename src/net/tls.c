#include "net/tls.h"

#include "base/base.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORD_SIZE 16384 /* the most that one record of TLS carries */
#define TURN_SIZE 65536
/* Of TLS 1.2: forward secrecy, and no padding to get wrong. All of 1.3's are like that. */
#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"

struct TlsServer {
    const char *cert_path, *key_path;
    FileLook cert_look, key_look;
    bool stale; /* the files changed and cannot be used, which was said */
    SSL_CTX *context;
    BIO_METHOD *socket;
    Arena arena;
};

struct Tls {
    SSL *ssl;
    int fd;
    size_t turn; /* bytes that it may still take off the socket in this call */
    bool finished;
};

/* The socket. A client can send records that carry nothing (key updates, say) faster than they are
 * looked at, and OpenSSL would read on for as long: a turn ends it. No call here waits, so that
 * none is interrupted. */

static int on_read(BIO *bio, char *buffer, int size) {
    Tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t n = -1;
    errno = EAGAIN;
    if (tls->turn > 0) n = recv(tls->fd, buffer, MIN((size_t)size, tls->turn), MSG_DONTWAIT);
    if (n > 0) tls->turn -= (size_t)n;
    if (n < 0 && errno == EAGAIN) BIO_set_retry_read(bio);
    return (int)n;
}

static int on_write(BIO *bio, const char *data, int size) {
    const Tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t n = send(tls->fd, data, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) BIO_set_retry_write(bio);
    return (int)n;
}

static long on_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *socket_method(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "connection");
    if (!method) abort();
    BIO_meth_set_read(method, on_read);
    BIO_meth_set_write(method, on_write);
    BIO_meth_set_ctrl(method, on_control);
    return method;
}

/* The certificate and its key. */

/* Why OpenSSL could not, in its words. They hold nothing of the files. */
static const char *reason(void) {
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text ? text : "it cannot be read";
}

static int refuse_password(char *buffer, int size, int writing, void *asked) {
    (void)buffer, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1;
}

static bool key_read(const char *path, EVP_PKEY **out, Err *err) {
    bool asked = false;
    if (access(path, R_OK)) return err_errno(err, "cannot read tls_key '%s'", path);
    BIO *file = BIO_new_file(path, "r");
    EVP_PKEY *key = file ? PEM_read_bio_PrivateKey(file, NULL, refuse_password, &asked) : NULL;
    BIO_free(file);
    if (asked)
        return err_set(err, LH_INVALID, "tls_key '%s' is locked by a password: write it without",
                       path);
    if (!key)
        return err_set(err, LH_INVALID, "tls_key '%s' holds no private key in PEM: %s", path,
                       reason());
    *out = key;
    return true;
}

static bool key_use(const TlsServer *server, SSL_CTX *context, Err *err) {
    EVP_PKEY *key = NULL;
    if (!key_read(server->key_path, &key, err)) return false;
    bool fits = X509_check_private_key(SSL_CTX_get0_certificate(context), key) == 1;
    bool ok = fits && SSL_CTX_use_PrivateKey(context, key) == 1;
    EVP_PKEY_free(key);
    if (ok) return true;
    return err_set(err, LH_INVALID, "tls_key '%s' does not fit tls_cert '%s': %s", server->key_path,
                   server->cert_path, reason());
}

static bool cert_use(const TlsServer *server, SSL_CTX *context, Err *err) {
    const char *path = server->cert_path;
    if (access(path, R_OK)) return err_errno(err, "cannot read tls_cert '%s'", path);
    if (SSL_CTX_use_certificate_chain_file(context, path) == 1) return true;
    return err_set(err, LH_INVALID,
                   "tls_cert '%s' holds no certificate in PEM that can be used: %s", path,
                   reason());
}

/* A client that names protocols has to name ours. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *size,
                           const unsigned char *offered, unsigned offered_size, void *context) {
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;
    (void)ssl, (void)context;
    if (SSL_select_next_proto(&chosen, size, ours, sizeof ours - 1, offered, offered_size) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *context_new(void) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context || !SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) ||
        !SSL_CTX_set_cipher_list(context, CIPHERS))
        abort();
    SSL_CTX_set_options(context,
                        SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
    /* Nothing is resumed: the key that seals tickets would outlive the sessions that it opens.
     * Connections are kept open instead. */
    SSL_CTX_set_num_tickets(context, 0);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    return context;
}

static void warn_of_files(const TlsServer *server, const SSL_CTX *context) {
    struct stat info;
    if (stat(server->key_path, &info) == 0 && info.st_mode & S_IROTH)
        log_warn("everybody on this machine may read tls_key '%s': chmod 600 it", server->key_path);
    const X509 *cert = SSL_CTX_get0_certificate(context);
    if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
        log_warn("tls_cert '%s' has expired: clients will refuse it", server->cert_path);
}

static bool server_read(TlsServer *server, Err *err) {
    SSL_CTX *context = context_new();
    ERR_clear_error();
    bool ok = cert_use(server, context, err) && key_use(server, context, err);
    ERR_clear_error();
    if (!ok) return SSL_CTX_free(context), false;
    warn_of_files(server, context);
    SSL_CTX_free(server->context); /* connections hold their own reference */
    server->context = context;
    return true;
}

/* The two files are not replaced in one moment: between them nothing fits, and what was read
 * before stays in use. */
static void server_refresh(TlsServer *server) {
    Err err = {0};
    if (!file_look_is_due(&server->cert_look)) return;
    bool changed = file_look_changed(&server->cert_look, server->cert_path);
    changed |= file_look_changed(&server->key_look, server->key_path);
    if (!changed) return;
    if (server_read(server, &err)) {
        server->stale = false;
        log_info("tls_cert '%s' was renewed", server->cert_path);
        return;
    }
    if (!server->stale)
        log_warn("tls_cert or tls_key changed and cannot be used, those before stay: %s",
                 err.message);
    server->stale = true;
    server->cert_look = (FileLook){.at_us = server->cert_look.at_us}; /* read at the next look */
}

bool tls_server_open(Str cert_path, Str key_path, TlsServer **out, Err *err) {
    OWNED(tls_server_close) TlsServer *server = calloc(1, sizeof *server);
    if (!server) abort();
    server->cert_path = arena_cstr(&server->arena, cert_path);
    server->key_path = arena_cstr(&server->arena, key_path);
    server->socket = socket_method();
    file_look_changed(&server->cert_look, server->cert_path);
    file_look_changed(&server->key_look, server->key_path);
    if (!server_read(server, err)) return false;
    *out = TAKE(server);
    return true;
}

void tls_server_close(TlsServer **slot) {
    TlsServer *server = *slot;
    if (!server) return;
    SSL_CTX_free(server->context);
    BIO_meth_free(server->socket);
    arena_close(&server->arena);
    free(server);
    *slot = NULL;
}

/* A connection. */

Tls *tls_accept(TlsServer *server, int fd) {
    server_refresh(server);
    Tls *tls = calloc(1, sizeof *tls);
    SSL *ssl = SSL_new(server->context);
    BIO *bio = BIO_new(server->socket);
    if (!tls || !ssl || !bio) abort();
    *tls = (Tls){.ssl = ssl, .fd = fd};
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_accept_state(ssl);
    return tls;
}

void tls_close(Tls **tls) {
    if (!*tls) return;
    SSL_free((*tls)->ssl);
    free(*tls);
    *tls = NULL;
}

static void begin(Tls *tls) {
    tls->turn = TURN_SIZE;
    ERR_clear_error(); /* SSL_get_error() looks at the thread's, whoever left them */
}

static ssize_t failed(Tls *tls, int result) {
    int why = SSL_get_error(tls->ssl, result);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
        errno = tls->turn == 0 && why == SSL_ERROR_WANT_READ ? EINTR : EAGAIN;
        return -1;
    }
    ERR_clear_error();
    tls->finished = true; /* OpenSSL forbids any further word after a fatal error */
    errno = ECONNRESET;
    return -1;
}

ssize_t tls_read(Tls *tls, void *buffer, size_t size) {
    begin(tls);
    int n = SSL_read(tls->ssl, buffer, (int)MIN(size, (size_t)TURN_SIZE));
    if (n > 0) return n;
    return SSL_get_error(tls->ssl, n) == SSL_ERROR_ZERO_RETURN ? 0 : failed(tls, n);
}

static ssize_t write_record(Tls *tls, const char *data, size_t size) {
    begin(tls);
    int n = SSL_write(tls->ssl, data, (int)size);
    return n > 0 ? n : failed(tls, n);
}

/* The parts are laid together: each call of SSL_write makes a record and a packet of its own. */
ssize_t tls_write(Tls *tls, const struct iovec *parts, size_t count) {
    char record[RECORD_SIZE];
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size_t n = MIN(parts[i].iov_len, sizeof record - size);
        if (n) memcpy(record + size, parts[i].iov_base, n);
        size += n;
    }
    return write_record(tls, record, size);
}

ssize_t tls_send_file(Tls *tls, int file, uint64_t offset, uint64_t size) {
    char record[RECORD_SIZE];
    ssize_t n = pread(file, record, (size_t)MIN(size, (uint64_t)sizeof record), (off_t)offset);
    return n > 0 ? write_record(tls, record, (size_t)n) : n;
}

short tls_waits_for(const Tls *tls) {
    return SSL_want_write(tls->ssl) ? POLLOUT : POLLIN;
}

/* Before the end of the handshake there is nobody to tell. */
bool tls_finish(Tls *tls) {
    if (tls->finished || SSL_in_init(tls->ssl)) return true;
    begin(tls);
    bool full = SSL_shutdown(tls->ssl) < 0 && SSL_want_write(tls->ssl);
    tls->finished = !full;
    ERR_clear_error();
    return !full;
}
