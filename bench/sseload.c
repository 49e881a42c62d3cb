// sseload - load tool for streaming LLM proxies: mock upstream and client in one thread.
//
//   client (C connections) ---> proxy under test ---> mock OpenAI upstream
//
// Both ends live in this one process and share one clock, so each content chunk can
// carry its send time and the client can report the latency that the proxy adds per
// chunk.  Every request has an id; the mock keeps a CRC of the body it sent for that
// id and the client compares, so "byte_exact" counts answers that came through the
// proxy unchanged.
//
// Like OpenAI, the mock sends a usage event only when the request carries include_usage.
// With -noask the client does not ask: then a usage event that the proxy asked for by itself
// is not part of the expected bytes, and a proxy that lets it through fails the byte check.
//
// Build: cc -O2 -Wall -o sseload sseload.c -lm       (TLS mock: add -DWITH_TLS -lssl -lcrypto)
// Usage: sseload -h
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <dirent.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif
#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

typedef uint64_t u64;
typedef uint32_t u32;

static u64 now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (u64)ts.tv_sec * 1000000000ull + ts.tv_nsec;
}
static void die(const char *what) { perror(what); exit(2); }

// ---------------------------------------------------------------- configuration
enum mode { STREAM, UNARY, EMBED };
enum phase { STAY, L_HEAD, L_EVENT, L_MID, L_QUIET, L_UNARY };
static const char *const phases[] = {"", "head", "event", "mid", "quiet", "unary"};
static struct {
    int mock_port, tport, conns, n, prompt, nsrc, pin, spin, same, lax, abort_at, oneshot, noask, short_n;
    enum mode mode;
    enum phase leave;
    double dur, warm, ramp, t_ms, think_ms, timeout, drain, arrive, leave_wait;
    long reqs;
    const char *path, *model, *label, *cert, *key;
    char thost[64], hdrs[8192];
    int watch[64], nwatch;
} cfg = {.conns = 1, .n = 100, .prompt = 200, .pin = -1, .dur = 5, .warm = 1, .ramp = -1,
         .timeout = 30, .drain = 60, .leave_wait = 1, .short_n = 1, .model = "mock-model", .label = ""};

// ---------------------------------------------------------------- histogram (ns, ~1.5 %)
#define HB (64 * 60)
struct hist { u64 n, max, b[HB]; };
static void h_add(struct hist *h, u64 v) {
    int i = (int)v;
    if (v >= 64) {
        int shift = 63 - __builtin_clzll(v) - 6;
        i = (shift << 6) + (int)(v >> shift);
    }
    h->b[i]++, h->n++;
    if (v > h->max) h->max = v;
}
static double h_pct(const struct hist *h, double p) {  // in microseconds
    if (!h->n) return 0;
    u64 want = (u64)(p / 100 * h->n), seen = 0;
    if (want >= h->n) want = h->n - 1;
    for (int i = 0; i < HB; i++) {
        seen += h->b[i];
        if (seen > want) {
            if (i < 128) return i / 1e3;
            int shift = (i >> 6) - 1;
            double v = (double)(((u64)(i & 63) + 64) << shift) + (double)(1ull << shift) / 2;
            return (v > h->max ? h->max : v) / 1e3;
        }
    }
    return h->max / 1e3;
}

static struct stats {
    u64 ok, chunks, bytes, reads, exact, diff, nousage, reconnects, aborted;
    u64 e_status, e_trunc, e_done, e_count, e_seq, e_event, e_timeout, e_connect, e_reset, e_http;
    u64 busy, mock_req, mock_abort, mock_conn, arrivals;
    struct hist ttfb, ttfc, chunk, total, short_ttfb, short_total;
} st;
static int active, peak_active;     // client requests in flight
static int undrained;               // of them still running when the drain time was over
static long started, finished;      // requests begun / ended (either way), never reset
static int statuses[600];

// ---------------------------------------------------------------- incremental CRC32C
#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static u32 crc(u32 c, const char *p, size_t n) {
    u64 x = c;
    for (; n >= 8; p += 8, n -= 8) {
        u64 w;
        memcpy(&w, p, 8);
        x = __builtin_ia32_crc32di(x, w);
    }
    for (; n; p++, n--) x = __builtin_ia32_crc32qi((u32)x, (unsigned char)*p);
    return (u32)x;
}
#else
static u32 crc(u32 c, const char *p, size_t n) {  // FNV-1a elsewhere: also byte-wise
    for (; n; p++, n--) c = (c ^ (unsigned char)*p) * 16777619u;
    return c;
}
#endif
// what the mock sent, by request id (ring; in-flight requests are far fewer than this)
#define RING (1 << 17)
static struct sent { u64 id, len; u32 crc; } ring[RING];
// ids of short requests (-arrive) have this added; a multiple of RING, so they share the ring
#define SHORT_ID (RING * 4000000ull)

static u64 rng = 0x9e3779b97f4a7c15ull;  // xorshift64: the same arrivals in every run
static double rand01(void) {  // in (0, 1)
    rng ^= rng << 13, rng ^= rng >> 7, rng ^= rng << 17;
    return ((double)(rng >> 11) + 0.5) / 9007199254740992.0;
}

// ---------------------------------------------------------------- buffers, timers, epoll
struct buf { char *p; int len, cap; };
static void b_room(struct buf *b, int n) {
    if (b->cap - b->len >= n) return;
    int cap = b->cap ? b->cap : 1024;
    while (cap - b->len < n) cap *= 2;
    if (!(b->p = realloc(b->p, cap))) die("realloc");
    b->cap = cap;
}
static void b_add(struct buf *b, const char *p, int n) {
    b_room(b, n);
    memcpy(b->p + b->len, p, n);
    b->len += n;
}
static void b_drop(struct buf *b, int n) {
    b->len -= n;
    if (b->len) memmove(b->p, b->p + n, b->len);
}

enum kind { LISTENER, SRV, CLI, ARRIVAL };
struct obj { enum kind kind; int fd; u32 gen; };
struct timer { u64 due; struct obj *o; u32 gen; };
static struct timer *heap;
static int heap_n, heap_cap;
static void t_push(u64 due, struct obj *o) {
    if (heap_n == heap_cap && !(heap = realloc(heap, (heap_cap = heap_cap * 2 + 1024) * sizeof *heap))) die("realloc");
    int i = heap_n++;
    for (; i && heap[(i - 1) / 2].due > due; i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = (struct timer){due, o, o->gen};
}
static struct timer t_pop(void) {
    struct timer top = heap[0], last = heap[--heap_n];
    int i = 0, c;
    while ((c = 2 * i + 1) < heap_n) {
        if (c + 1 < heap_n && heap[c + 1].due < heap[c].due) c++;
        if (heap[c].due >= last.due) break;
        heap[i] = heap[c];
        i = c;
    }
    heap[i] = last;
    return top;
}
static int ep;
static void ep_set(int op, struct obj *o, u32 events) {
    struct epoll_event e = {.events = events, .data.ptr = o};
    if (epoll_ctl(ep, op, o->fd, &e) < 0) die("epoll_ctl");
}
static void nodelay(int fd) { int one = 1; setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); }

// case-insensitive header lookup in [p, p+n) (the head, blank line included)
static const char *header(const char *p, int n, const char *name, int *vlen) {
    int k = strlen(name);
    for (const char *e = p + n, *l = memchr(p, '\n', n); l && ++l < e; l = memchr(l, '\n', e - l)) {
        if (e - l <= k || l[k] != ':' || strncasecmp(l, name, k)) continue;
        const char *v = l + k + 1, *eol = memchr(v, '\n', e - v);
        if (!eol) return NULL;
        while (v < eol && *v == ' ') v++;
        while (eol > v && isspace((unsigned char)eol[-1])) eol--;
        *vlen = eol - v;
        return v;
    }
    return NULL;
}
static int has_token(const char *v, int n, const char *tok) {
    for (int k = strlen(tok), i = 0; v && i + k <= n; i++) if (!strncasecmp(v + i, tok, k)) return 1;
    return 0;
}
static void put_digits(char *at, u64 v, int n) { while (n--) at[n] = '0' + v % 10, v /= 10; }
static u64 get_digits(const char *p, int n) {
    u64 v = 0;
    for (; n; n--, p++) v = v * 10 + (unsigned)(*p - '0');
    return v;
}

// ================================================================ the mock upstream
// One SSE event = one template: an HTTP chunk whose variable digits are patched in place.
struct tmpl { char *p; int len, body, blen; int id, ns, idx; };  // offsets, -1 = absent
static struct tmpl t_role, t_content, t_finish, t_usage, t_short_usage, t_done, t_unary, t_embed;
static const char STREAM_HEAD[] =
    "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    "Cache-Control: no-cache\r\nX-Request-Id: req_mock\r\nTransfer-Encoding: chunked\r\n\r\n";

static void tmpl_mark(struct tmpl *t) {
    char *m;
    t->id = (m = strstr(t->p, "chatcmpl-0000")) ? (int)(m + 9 - t->p) : -1;
    t->ns = (m = strstr(t->p, "@@")) ? (int)(m + 2 - t->p) : -1;
    t->idx = m && t->ns >= 0 ? t->ns + 20 : -1;
}
static void tmpl_event(struct tmpl *t, const char *json) {
    int n = strlen(json) + 8;  // "data: " json "\n\n"
    t->len = asprintf(&t->p, "%x\r\ndata: %s\n\n\r\n", n, json);
    t->body = strstr(t->p, "data: ") - t->p, t->blen = n;
    tmpl_mark(t);
}
static void tmpl_plain(struct tmpl *t, const char *json) {
    t->len = asprintf(&t->p, "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: application/json\r\n"
                             "X-Request-Id: req_mock\r\nContent-Length: %zu\r\n\r\n%s", strlen(json), json);
    t->blen = strlen(json), t->body = t->len - t->blen;
    tmpl_mark(t);
}
static void tmpl_init(void) {
    char j[16384], text[640];
#define PRE "{\"id\":\"chatcmpl-000000000000\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\"model\":\"%s\"," \
            "\"system_fingerprint\":\"fp_mock\",\"choices\":["
#define CHOICE(delta, fin) "{\"index\":0,\"delta\":{" delta "},\"logprobs\":null,\"finish_reason\":" fin "}]"
    snprintf(j, sizeof j, PRE CHOICE("\"role\":\"assistant\",\"content\":\"\",\"refusal\":null", "null") "}", cfg.model);
    tmpl_event(&t_role, j);
    snprintf(j, sizeof j, PRE CHOICE("\"content\":\"@@0000000000000000000#000000 \"", "null") "}", cfg.model);
    tmpl_event(&t_content, j);
    snprintf(j, sizeof j, PRE CHOICE("", "\"stop\"") "}", cfg.model);
    tmpl_event(&t_finish, j);
    for (int k = 0; k < 2; k++) {
        int n = k ? cfg.short_n : cfg.n;
        snprintf(j, sizeof j, PRE "],\"usage\":{\"prompt_tokens\":42,\"completion_tokens\":%d,\"total_tokens\":%d}}",
                 cfg.model, n, n + 42);
        tmpl_event(k ? &t_short_usage : &t_usage, j);
    }
    tmpl_event(&t_done, "[DONE]");
    for (int i = 0; i < (int)sizeof text - 1; i++) text[i] = "lorem ipsum dolor sit amet "[i % 27];
    text[sizeof text - 1] = 0;
    snprintf(j, sizeof j,
             "{\"id\":\"chatcmpl-000000000000\",\"object\":\"chat.completion\",\"created\":1760000000,\"model\":\"%s\","
             "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\",\"refusal\":null},"
             "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":42,\"completion_tokens\":120,"
             "\"total_tokens\":162},\"system_fingerprint\":\"fp_mock\"}", cfg.model, text);
    tmpl_plain(&t_unary, j);
    int n = snprintf(j, sizeof j, "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,\"embedding\":[");
    for (int i = 0; i < 256; i++) n += snprintf(j + n, sizeof j - n, "%s-0.%06d", i ? "," : "", i * 3571 % 1000000);
    snprintf(j + n, sizeof j - n, "]}],\"model\":\"%s\",\"usage\":{\"prompt_tokens\":42,\"total_tokens\":42}}", cfg.model);
    tmpl_plain(&t_embed, j);
}

enum sstate { S_IDLE, S_THINK, S_STREAM };
struct srv {
    struct obj o;
    enum sstate state;
    int step;            // 0 head, 1 role, 2.. content, n+2 finish, n+3 usage, n+4 [DONE], n+5 end
    int n, asked;        // content chunks; did the request that came here carry include_usage
    int blocked, close, firing;
    enum mode mode;
    u64 due, id, len;
    u32 crc;
    struct buf in, out;  // request bytes; unsent rest of an event
    struct srv *next;    // free list
#ifdef WITH_TLS
    SSL *ssl;
    int read_wants_write;
#endif
};
static struct srv *srv_free, **fire;
static int nfire, fire_cap;

static void fire_add(struct srv *s) {
    if (nfire == fire_cap && !(fire = realloc(fire, (fire_cap = fire_cap * 2 + 64) * sizeof *fire))) die("realloc");
    fire[nfire++] = s;
    s->firing = 1;
}
static void leave_soon(u64 id);
static void leave_seen(u64 id);

// ---------------------------------------------------------------- the mock's sockets, plain or TLS
#ifdef WITH_TLS
static SSL_CTX *tls;
static void tls_init(void) {
    if (!(tls = SSL_CTX_new(TLS_server_method()))) die("SSL_CTX_new");
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    if (SSL_CTX_use_certificate_chain_file(tls, cfg.cert) != 1 || SSL_CTX_use_PrivateKey_file(tls, cfg.key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(tls) != 1) {
        ERR_print_errors_fp(stderr);
        exit(2);
    }
}
static void s_open(struct srv *s) {
    s->ssl = NULL, s->read_wants_write = 0;
    if (!tls) return;
    if (!(s->ssl = SSL_new(tls)) || SSL_set_fd(s->ssl, s->o.fd) != 1) die("SSL_new");
    SSL_set_accept_state(s->ssl);
}
static void s_shut(struct srv *s) {
    if (!s->ssl) return;
    ERR_clear_error();
    if (SSL_is_init_finished(s->ssl)) SSL_shutdown(s->ssl);  // close_notify, as a real server does
    SSL_free(s->ssl);
    s->ssl = NULL;
}
// OpenSSL's outcome in terms of recv() and send()
static ssize_t tls_result(struct srv *s, int k, int reading) {
    if (k > 0) return k;
    switch (SSL_get_error(s->ssl, k)) {
    case SSL_ERROR_ZERO_RETURN: return 0;
    case SSL_ERROR_WANT_WRITE:
        if (reading && !s->read_wants_write) s->read_wants_write = 1, ep_set(EPOLL_CTL_MOD, &s->o, EPOLLIN | EPOLLOUT);
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_WANT_READ: errno = EAGAIN; return -1;
    default: errno = ECONNRESET; return -1;
    }
}
static ssize_t s_recv(struct srv *s, char *p, int n) {
    if (!s->ssl) return recv(s->o.fd, p, n, 0);
    ERR_clear_error();
    return tls_result(s, SSL_read(s->ssl, p, n), 1);
}
static ssize_t s_send(struct srv *s, const char *p, int n) {
    if (!s->ssl) return send(s->o.fd, p, n, MSG_NOSIGNAL);
    ERR_clear_error();
    return tls_result(s, SSL_write(s->ssl, p, n), 0);
}
#define IS_TLS(s) ((s)->ssl != NULL)
#define READ_WANTS_WRITE(s) ((s)->read_wants_write)
#define READ_RETRIED(s) ((s)->read_wants_write = 0)
#else
static void s_open(struct srv *s) { (void)s; }
static void s_shut(struct srv *s) { (void)s; }
static ssize_t s_recv(struct srv *s, char *p, int n) { return recv(s->o.fd, p, n, 0); }
static ssize_t s_send(struct srv *s, const char *p, int n) { return send(s->o.fd, p, n, MSG_NOSIGNAL); }
#define IS_TLS(s) 0
#define READ_WANTS_WRITE(s) 0
#define READ_RETRIED(s) (void)0
#endif

static void srv_close(struct srv *s) {
    if (s->state != S_IDLE) {
        st.mock_abort++;
        if (cfg.leave) leave_seen(s->id);
    }
    s_shut(s);
    close(s->o.fd);
    s->o.fd = -1, s->o.gen++;
    s->state = S_IDLE, s->blocked = 0, s->in.len = s->out.len = 0;
    if (!s->firing) s->next = srv_free, srv_free = s;  // else the fire round frees it
}
// send all of it or keep the rest and wait for EPOLLOUT; -1: the connection is gone
static int srv_send(struct srv *s, const char *p, int n) {
    ssize_t k = s_send(s, p, n);
    if (k < 0 && errno != EAGAIN) return srv_close(s), -1;
    if (k < 0) k = 0;
    if (k < n) {
        b_add(&s->out, p + k, n - k);
        s->blocked = 1;
        ep_set(EPOLL_CTL_MOD, &s->o, EPOLLIN | EPOLLOUT);
    }
    return 0;
}
static void srv_process(struct srv *s);
static void srv_record(struct srv *s) {
    struct sent *r = &ring[s->id % RING];
    r->id = s->id, r->len = s->len, r->crc = s->crc;
}
static int srv_event(struct srv *s, struct tmpl *t) {
    if (t->id >= 0) put_digits(t->p + t->id, s->id, 12);
    if (t->ns >= 0) put_digits(t->p + t->ns, now_ns(), 19), put_digits(t->p + t->idx, s->step - 2, 6);
    if (s->step != s->n + 3 || !cfg.noask) {  // a usage event that the client did not ask for must not arrive there
        s->crc = crc(s->crc, t->p + t->body, t->blen);
        s->len += t->blen;
    }
    return srv_send(s, t->p, t->len);
}
static void srv_end(struct srv *s) {
    s->state = S_IDLE;
    st.mock_req++;
    if (s->close) srv_close(s);
    else if (s->in.len) srv_process(s);
}
// send the next event of a stream; -1: closed
static int srv_step(struct srv *s) {
    int k = s->step, n = s->n, r = 0;
    if (k == 0) r = srv_send(s, STREAM_HEAD, sizeof STREAM_HEAD - 1);
    else if (k == n + 5) r = srv_send(s, "0\r\n\r\n", 5);
    else if (k != n + 3 || s->asked) {
        struct tmpl *usage = s->id >= SHORT_ID ? &t_short_usage : &t_usage;
        r = srv_event(s, k == 1 ? &t_role : k < n + 2 ? &t_content : k == n + 2 ? &t_finish : k == n + 3 ? usage : &t_done);
        if (k == n + 4 && !r) srv_record(s);
    }
    if (r) return -1;
    s->step++;
    return 0;
}
// paced stream: send what is due, then set the timer for the next content chunk
static void srv_paced(struct srv *s) {
    for (u64 t = now_ns(); !s->blocked; ) {
        int k = s->step;
        if (k > s->n + 5) { srv_end(s); return; }
        if (cfg.leave == L_QUIET && k == cfg.abort_at + 2) return;  // says no more: only the client's exit ends it
        if (k > 2 && k <= s->n + 2 && s->due > t) { t_push(s->due, &s->o); return; }
        if (srv_step(s)) return;
        if (k >= 2 && k < s->n + 2) s->due += (u64)(cfg.t_ms * 1e6);
    }
}
static void srv_answer(struct srv *s) {  // the think time is over
    s->crc = 0, s->len = 0;
    if (s->mode == STREAM) {
        s->state = S_STREAM, s->step = 0, s->due = now_ns();
        if (cfg.leave == L_EVENT) { if (!srv_step(s)) leave_soon(s->id); }
        else if (cfg.t_ms > 0) srv_paced(s);
        else fire_add(s);
        return;
    }
    struct tmpl *t = s->mode == EMBED ? &t_embed : &t_unary;
    if (t->id >= 0) put_digits(t->p + t->id, s->id, 12);
    s->crc = crc(0, t->p + t->body, t->blen), s->len = t->blen;
    srv_record(s);
    if (!srv_send(s, t->p, t->len)) srv_end(s);
}
static void fire_round(void) {  // one event of each unpaced stream: fair by construction
    int i = 0;
    while (i < nfire) {
        struct srv *s = fire[i];
        int drop = 0;
        if (s->o.fd < 0) s->firing = 0, s->next = srv_free, srv_free = s, drop = 1;
        else if (!s->blocked) {
            if (s->step <= s->n + 5 && srv_step(s)) continue;  // closed: dropped on the next look
            if (s->step > s->n + 5 && !s->blocked) drop = 1, s->firing = 0;
        }
        if (!drop) { i++; continue; }
        fire[i] = fire[--nfire];
        if (s->o.fd >= 0) srv_end(s);
    }
}
static int is_true(const char *b, int n, const char *key) {  // does the JSON text hold "key": true
    int k = strlen(key);
    for (const char *p = b, *e = b + n; (p = memmem(p, e - p, key, k)); ) {
        p += k;
        while (p < e && isspace((unsigned char)*p)) p++;
        if (p >= e || *p++ != ':') continue;
        while (p < e && isspace((unsigned char)*p)) p++;
        if (e - p >= 4 && !memcmp(p, "true", 4)) return 1;
    }
    return 0;
}
// length of the chunked body at p, 0 if not complete yet, -1 if malformed
static int chunked_len(const char *p, int n) {
    for (int at = 0; ; ) {
        const char *nl = memchr(p + at, '\n', n - at);
        if (!nl) return 0;
        long k = strtol(p + at, NULL, 16);
        at = nl + 1 - p;
        if (k < 0 || k > 1 << 28) return -1;
        if (k == 0) {  // trailers up to a blank line
            for (;;) {
                if (!(nl = memchr(p + at, '\n', n - at))) return 0;
                int blank = nl - (p + at) <= 1;
                at = nl + 1 - p;
                if (blank) return at;
            }
        }
        if ((at += k + 2) > n) return 0;
    }
}
static void srv_small(struct srv *s, const char *status, const char *json) {
    char out[1024];
    int n = snprintf(out, sizeof out, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                     status, strlen(json), json);
    if (!srv_send(s, out, n) && s->close) srv_close(s);
}
static int path_ends(const char *p, int n, const char *end) {
    int k = strlen(end);
    const char *q = memchr(p, '?', n);
    if (q) n = q - p;
    return n >= k && !memcmp(p + n - k, end, k);
}
static void srv_process(struct srv *s) {
    while (s->o.fd >= 0 && s->state == S_IDLE && s->in.len) {
        char *p = s->in.p, *he = memmem(p, s->in.len, "\r\n\r\n", 4);
        if (!he) return;
        int hlen = he + 4 - p, vl, blen = 0, chunked = 0;
        const char *v;
        if ((v = header(p, hlen, "transfer-encoding", &vl)) && has_token(v, vl, "chunked")) chunked = 1;
        else if ((v = header(p, hlen, "content-length", &vl))) blen = atoi(v);
        if (chunked) {
            blen = chunked_len(p + hlen, s->in.len - hlen);
            if (blen < 0) { srv_close(s); return; }
        }
        if ((chunked && !blen) || s->in.len < hlen + blen) {
            if (s->in.len == hlen && (v = header(p, hlen, "expect", &vl)) && has_token(v, vl, "100-continue"))
                srv_send(s, "HTTP/1.1 100 Continue\r\n\r\n", 25);
            return;
        }
        v = header(p, hlen, "connection", &vl);
        s->close = v && has_token(v, vl, "close");
        char *sp = memchr(p, ' ', hlen), *path = sp ? sp + 1 : p;
        char *pe = memchr(path, ' ', p + hlen - path);
        int plen = pe ? pe - path : 0;
        if (pe && !memcmp(pe, " HTTP/1.0", 9) && !(v && has_token(v, vl, "keep-alive"))) s->close = 1;
        int post = !memcmp(p, "POST ", 5), chat = path_ends(path, plen, "/chat/completions");
        if (post && (chat || path_ends(path, plen, "/embeddings"))) {
            const char *id = memmem(p + hlen, blen, "req-", 4);
            s->id = id && id + 16 <= p + hlen + blen ? get_digits(id + 4, 12) % 1000000000000ull : 0;
            s->mode = !chat ? EMBED : is_true(p + hlen, blen, "\"stream\"") ? STREAM : UNARY;
            s->asked = is_true(p + hlen, blen, "\"include_usage\"");
            s->n = s->id >= SHORT_ID ? cfg.short_n : cfg.n;
            s->state = S_THINK;
            b_drop(&s->in, hlen + blen);
            if (cfg.leave == L_HEAD || cfg.leave == L_UNARY) leave_soon(s->id);  // and never answers
            else if (cfg.think_ms > 0) t_push(now_ns() + (u64)(cfg.think_ms * 1e6), &s->o);
            else srv_answer(s);
            continue;
        }
        int get = !memcmp(p, "GET ", 4) || !memcmp(p, "HEAD ", 5), models = path_ends(path, plen, "/models");
        char js[512];
        snprintf(js, sizeof js, models ? "{\"object\":\"list\",\"data\":[{\"id\":\"%s\",\"object\":\"model\",\"owned_by\":\"mock\"}]}"
                                       : "{\"status\":\"ok\",\"model_path\":\"%s\"}", cfg.model);
        b_drop(&s->in, hlen + blen);
        if (get) srv_small(s, "200 OK", js);
        else srv_small(s, "404 Not Found", "{\"error\":{\"message\":\"mock: no such route\"}}");
    }
}
static void srv_accept(int lfd) {
    for (;;) {
        int fd = accept4(lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE) fprintf(stderr, "mock: out of file descriptors\n");
            return;
        }
        nodelay(fd);
        struct srv *s = srv_free;
        if (s) srv_free = s->next;
        else if (!(s = calloc(1, sizeof *s))) die("calloc");
        s->o.kind = SRV, s->o.fd = fd, s->close = 0;
        s_open(s);
        st.mock_conn++;
        ep_set(EPOLL_CTL_ADD, &s->o, EPOLLIN);
    }
}
static void srv_ready(struct srv *s, u32 ev) {
    if (s->o.fd < 0) return;
    if (ev & EPOLLOUT && s->blocked) {
        ssize_t k = s_send(s, s->out.p, s->out.len);
        if (k < 0 && errno != EAGAIN) { srv_close(s); return; }
        if (k > 0) b_drop(&s->out, k);
        if (!s->out.len) {
            s->blocked = 0;
            ep_set(EPOLL_CTL_MOD, &s->o, EPOLLIN);
            if (s->state == S_STREAM && !s->firing) srv_paced(s);
        }
        if (s->o.fd < 0) return;
    }
    if (ev & EPOLLOUT && READ_WANTS_WRITE(s)) {
        READ_RETRIED(s);
        ep_set(EPOLL_CTL_MOD, &s->o, s->blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
    } else if (!(ev & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    for (;;) {
        b_room(&s->in, 2048);
        int room = s->in.cap - s->in.len;
        ssize_t k = s_recv(s, s->in.p + s->in.len, room);
        if (k == 0 || (k < 0 && errno != EAGAIN)) { srv_close(s); return; }
        if (k < 0) break;
        s->in.len += k;
        if (k < room && !IS_TLS(s)) break;  // a TLS read stops at a record: more may be decrypted already
    }
    srv_process(s);
}
static void mock_listen(int port) {
    static struct obj l = {.kind = LISTENER};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    l.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(l.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(l.fd, (void *)&a, sizeof a) < 0) die("mock: bind");
    if (listen(l.fd, 8192) < 0) die("mock: listen");
    ep_set(EPOLL_CTL_ADD, &l, EPOLLIN);
}

// ================================================================ the client
enum cstate { C_OFF, C_CONNECT, C_HEAD, C_BODY };
enum framing { F_LENGTH, F_CHUNKED, F_CLOSE };
enum chst { K_SIZE, K_EXT, K_DATA, K_DATA_END, K_TRAILER };
struct cli {
    struct obj o;
    int index, used;              // used: requests answered on this connection
    enum cstate state;
    enum framing framing;
    enum chst ch;
    int status, close, trail, ndigits;
    long left;                    // bytes left of the body / HTTP chunk
    int n, brief;                 // content chunks expected; one of the -arrive requests
    int waiting;                  // has left; the mock has not seen it yet
    u64 left_at;
    struct cli *next;             // free list of brief ones
    int chunks, seq_bad, done, usage, err_event;
    u64 id, t0, t_last, len;
    int got_first, got_content;
    u32 crc;
    struct buf in, out;           // head or split line so far; unsent rest of the request
};
static struct cli **clis, *brief_free, *by_id[RING];
static int nclis, clis_cap;
static struct obj arrival = {.kind = ARRIVAL, .fd = -1};
static u64 next_arrival;
static double leave_ms[100000];
static int nleave, nmissed;
static char *req;                 // the request, its id patched in place
static int req_len, req_id_at, stopping;
static u64 next_id = 1;

static void req_init(void) {
    char *body, *fill = malloc(cfg.prompt + 1);
    for (int i = 0; i < cfg.prompt; i++) fill[i] = "Tell me something about the sea and the sky. "[i % 45];
    fill[cfg.prompt] = 0;
    int n;
    if (cfg.mode == EMBED)
        n = asprintf(&body, "{\"model\":\"%s\",\"input\":\"req-000000000000 %s\"}", cfg.model, fill);
    else
        n = asprintf(&body, "{\"model\":\"%s\",\"messages\":[{\"role\":\"system\",\"content\":\"You are a helpful assistant.\"},"
                            "{\"role\":\"user\",\"content\":\"req-000000000000 %s\"}],\"temperature\":0.7,\"max_tokens\":%d%s}",
                     cfg.model, fill, cfg.n > 16 ? cfg.n : 16,
                     cfg.mode != STREAM ? "" : cfg.noask ? ",\"stream\":true" :
                     ",\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    req_len = asprintf(&req, "POST %s HTTP/1.1\r\nHost: %s:%d\r\nAccept: */*\r\nUser-Agent: sseload\r\n%s"
                             "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                       cfg.path, cfg.thost, cfg.tport, cfg.hdrs, n, body);
    req_id_at = strstr(req, "req-000000000000") + 4 - req;
    free(body), free(fill);
}
static struct cli *cli_new(int brief) {
    if (nclis == clis_cap && !(clis = realloc(clis, (clis_cap = clis_cap * 2 + 64) * sizeof *clis))) die("realloc");
    struct cli *c = calloc(1, sizeof *c);
    if (!c) die("calloc");
    c->o = (struct obj){CLI, -1, 0};
    c->index = nclis, c->brief = brief, c->n = brief ? cfg.short_n : cfg.n;
    return clis[nclis++] = c;
}
static void cli_off(struct cli *c) {  // drop the connection
    if (c->o.fd >= 0) close(c->o.fd);
    c->o.fd = -1, c->o.gen++, c->state = C_OFF, c->used = 0;
    c->in.len = c->out.len = 0;
}
static int may_start(void) { return !stopping && (!cfg.reqs || started < cfg.reqs); }
static void cli_request(struct cli *c, u64 t0) {  // on an open connection
    c->id = cfg.same ? 0 : next_id++ + (c->brief ? SHORT_ID : 0);
    by_id[c->id % RING] = c;
    put_digits(req + req_id_at, c->id, 12);
    c->state = C_HEAD, c->t0 = c->t_last = t0;
    c->status = c->chunks = c->seq_bad = c->done = c->usage = c->err_event = 0;
    c->got_first = c->got_content = 0, c->crc = 0, c->len = 0, c->in.len = 0;
    ssize_t k = send(c->o.fd, req, req_len, MSG_NOSIGNAL);
    if (k < 0) k = 0;  // an error shows up again as EPOLLERR / EPOLLHUP
    if (k < req_len) {
        b_add(&c->out, req + k, req_len - k);
        ep_set(EPOLL_CTL_MOD, &c->o, EPOLLIN | EPOLLOUT);
    }
}
static void cli_connect(struct cli *c) {
    if (!may_start()) {
        if (c->brief) c->next = brief_free, brief_free = c;
        return;
    }
    started++;
    if (++active > peak_active) peak_active = active;
    c->t0 = c->t_last = now_ns();
    c->state = C_CONNECT;
    c->o.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->o.fd < 0) die("socket");
    nodelay(c->o.fd);
    struct sockaddr_in a = {.sin_family = AF_INET};
    if (cfg.nsrc) {
        int one = 1;
        setsockopt(c->o.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + c->index % cfg.nsrc);
        if (bind(c->o.fd, (void *)&a, sizeof a) < 0) die("bind source");
    }
    a.sin_port = htons(cfg.tport);
    inet_pton(AF_INET, cfg.thost, &a.sin_addr);
    connect(c->o.fd, (void *)&a, sizeof a);  // the outcome comes by epoll
    ep_set(EPOLL_CTL_ADD, &c->o, EPOLLIN | EPOLLOUT);
}
static void cli_next(struct cli *c) {  // the request has ended; go on
    active--, finished++;
    if (c->brief) {  // its connection, if still open, serves the next arrival
        c->state = C_OFF, c->next = brief_free, brief_free = c;
        return;
    }
    if (c->o.fd < 0) {
        if (may_start()) st.reconnects++, cli_connect(c);
        return;
    }
    if (!may_start() || cfg.oneshot) { if (cfg.oneshot) cli_off(c); else c->state = C_OFF; return; }
    started++;
    if (++active > peak_active) peak_active = active;
    cli_request(c, now_ns());
}
static void cli_fail(struct cli *c, u64 *counter) {
    ++*counter;
    cli_off(c);
    active--, finished++;
    if (c->brief) c->next = brief_free, brief_free = c;
    else t_push(now_ns() + 20000000, &c->o);  // retry after 20 ms
}
// ---------------------------------------------------------------- clients that leave (-leave)
static void leave_now(struct cli *c) {
    st.aborted++;
    c->left_at = now_ns(), c->waiting = 1;
    cli_off(c);
    t_push(c->left_at + (u64)(cfg.leave_wait * 1e9), &c->o);
}
static void leave_later(struct cli *c) {  // the proxy has had 10 to 50 ms to come to rest in this phase
    t_push(now_ns() + (u64)((10 + 40 * rand01()) * 1e6), &c->o);
}
static void leave_soon(u64 id) {  // the mock has reached the phase
    struct cli *c = by_id[id % RING];
    if (c && c->id == id && c->o.fd >= 0) leave_later(c);
}
static void leave_over(struct cli *c) {  // this try has ended, either way
    c->waiting = 0, c->o.gen++;
    active--, finished++;
    t_push(now_ns() + 10000000, &c->o);
}
static void leave_seen(u64 id) {  // the mock's connection for this request has closed
    struct cli *c = by_id[id % RING];
    if (!c || c->id != id || !c->waiting) return;
    if (nleave < (int)(sizeof leave_ms / sizeof *leave_ms)) leave_ms[nleave++] = (now_ns() - c->left_at) / 1e6;
    leave_over(c);
}
// ---------------------------------------------------------------- requests at random times (-arrive)
static void arrive(void) {
    if (stopping) return;
    next_arrival += (u64)(-log(rand01()) / cfg.arrive * 1e9);
    t_push(next_arrival, &arrival);
    struct cli *c = brief_free;
    if (c) brief_free = c->next;
    else c = cli_new(1);
    st.arrivals++;
    if (c->o.fd < 0) { cli_connect(c); return; }
    started++;
    if (++active > peak_active) peak_active = active;
    cli_request(c, now_ns());
}
static void cli_complete(struct cli *c, u64 t) {
    c->used++;
    if (c->status != 200) {
        if (c->status > 0 && c->status < 600) statuses[c->status]++;
        cli_fail(c, &st.e_status);
        return;
    }
    if (cfg.mode == STREAM) {
        u64 *bad = c->err_event ? &st.e_event : !c->done && !cfg.lax ? &st.e_done : c->seq_bad ? &st.e_seq : c->chunks != c->n ? &st.e_count : NULL;
        if (bad) { cli_fail(c, bad); return; }
        if (!c->usage && !cfg.noask) st.nousage++;
    }
    st.ok++;
    h_add(c->brief ? &st.short_total : &st.total, t - c->t0);
    struct sent *r = &ring[c->id % RING];
    if (!cfg.same) { if (r->id == c->id && r->len == c->len && r->crc == c->crc) st.exact++; else st.diff++; }
    if (c->close) cli_off(c);
    cli_next(c);
}
static void sse_line(struct cli *c, const char *p, int n, u64 t) {
    if (n && p[n - 1] == '\r') n--;
    if (n < 6 || memcmp(p, "data:", 5)) return;
    p += 5, n -= 5;
    if (*p == ' ') p++, n--;
    if (n >= 6 && !memcmp(p, "[DONE]", 6)) { c->done = 1; return; }
    const char *m = memmem(p, n, "@@", 2);
    if (!m || m + 28 > p + n) {
        if (memmem(p, n, "\"prompt_tokens\"", 15)) c->usage = 1;
        if (n > 9 && !memcmp(p, "{\"error\"", 8)) c->err_event = 1;
        return;
    }
    for (; m; m = memmem(m + 28, p + n - m - 28, "@@", 2)) {  // a proxy may merge deltas
        if (m + 28 > p + n) { c->seq_bad = 1; break; }
        u64 sent = get_digits(m + 2, 19);
        if (get_digits(m + 22, 6) != (u64)c->chunks) c->seq_bad = 1;
        c->chunks++;
        if (!c->brief) st.chunks++, h_add(&st.chunk, t > sent ? t - sent : 0);
    }
    if (!c->got_content) {
        c->got_content = 1;
        if (!c->brief) h_add(&st.ttfc, t - c->t0);
    }
}
static void cli_body(struct cli *c, const char *p, int n, u64 t) {
    c->crc = crc(c->crc, p, n);
    c->len += n;
    if (cfg.mode != STREAM || c->status != 200) return;
    while (n) {
        const char *nl = memchr(p, '\n', n);
        if (!nl) { b_add(&c->in, p, n); return; }
        int k = nl - p;
        if (c->in.len) {
            b_add(&c->in, p, k);
            sse_line(c, c->in.p, c->in.len, t);
            c->in.len = 0;
        } else sse_line(c, p, k, t);
        p += k + 1, n -= k + 1;
    }
}
// chunked decoder; returns 1 at the end of the body, -1 if malformed
static int cli_chunked(struct cli *c, const char *p, int n, u64 t) {
    for (const char *e = p + n; p < e; ) {
        switch (c->ch) {
        case K_SIZE: {
            int d = *p, v = d >= '0' && d <= '9' ? d - '0' : (d | 32) >= 'a' && (d | 32) <= 'f' ? (d | 32) - 'a' + 10 : -1;
            if (v < 0) {
                if (!c->ndigits) return -1;
                c->ch = K_EXT;
                break;
            }
            if (++c->ndigits > 8) return -1;
            c->left = c->left * 16 + v;
            p++;
            break;
        }
        case K_EXT:
            if (*p++ == '\n') c->ch = c->left ? K_DATA : K_TRAILER, c->trail = 0;
            break;
        case K_DATA: {
            int k = e - p < c->left ? (int)(e - p) : (int)c->left;
            cli_body(c, p, k, t);
            p += k;
            if (!(c->left -= k)) c->ch = K_DATA_END, c->trail = 0;
            break;
        }
        case K_DATA_END:
            if (*p != "\r\n"[c->trail]) return -1;
            p++;
            if (++c->trail == 2) c->ch = K_SIZE, c->left = 0, c->ndigits = 0;
            break;
        case K_TRAILER:
            if (*p == '\n' && c->trail == 0) return p + 1 == e ? 1 : -1;
            if (*p == '\n') c->trail = 0;
            else if (*p != '\r') c->trail++;
            p++;
        }
    }
    return 0;
}
static int cli_data(struct cli *c, const char *p, int n, u64 t) {  // same return values
    if (c->framing == F_CHUNKED) return cli_chunked(c, p, n, t);
    if (c->framing == F_LENGTH && n > c->left) return -1;
    cli_body(c, p, n, t);
    return c->framing == F_LENGTH && (c->left -= n) == 0;
}
static int cli_head(struct cli *c) {  // 1: head parsed and dropped from c->in
    char *p = c->in.p, *he;
    for (;;) {
        if (!(he = memmem(p, c->in.len, "\r\n\r\n", 4))) return 0;
        c->status = c->in.len > 12 && !memcmp(p, "HTTP/1.", 7) ? atoi(p + 9) : -1;
        if (c->status != 100) break;
        b_drop(&c->in, he + 4 - p);
    }
    int hlen = he + 4 - p, vl;
    const char *v = header(p, hlen, "connection", &vl);
    c->close = (v && has_token(v, vl, "close")) || (p[7] == '0' && !(v && has_token(v, vl, "keep-alive")));
    if ((v = header(p, hlen, "transfer-encoding", &vl)) && has_token(v, vl, "chunked"))
        c->framing = F_CHUNKED, c->ch = K_SIZE, c->left = 0, c->ndigits = 0;
    else if ((v = header(p, hlen, "content-length", &vl))) c->framing = F_LENGTH, c->left = atol(v);
    else c->framing = F_CLOSE, c->close = 1;
    c->state = C_BODY;
    return hlen;
}
static void cli_ready(struct cli *c, u32 ev) {
    static char rb[256 * 1024];
    if (c->o.fd < 0) return;
    if (c->state == C_CONNECT) {
        int err = 0;
        socklen_t l = sizeof err;
        getsockopt(c->o.fd, SOL_SOCKET, SO_ERROR, &err, &l);
        if (err || ev & (EPOLLERR | EPOLLHUP)) { cli_fail(c, &st.e_connect); return; }
        ep_set(EPOLL_CTL_MOD, &c->o, EPOLLIN);
        cli_request(c, c->t0);
        return;
    }
    if (ev & EPOLLOUT && c->out.len) {
        ssize_t k = send(c->o.fd, c->out.p, c->out.len, MSG_NOSIGNAL);
        if (k > 0) b_drop(&c->out, k);
        if (!c->out.len) ep_set(EPOLL_CTL_MOD, &c->o, EPOLLIN);
    }
    if (!(ev & (EPOLLIN | EPOLLERR | EPOLLHUP))) return;
    ssize_t n = recv(c->o.fd, rb, sizeof rb, 0);
    if (n < 0 && errno == EAGAIN) return;
    u64 t = now_ns();
    if (c->state == C_OFF) { cli_off(c); return; }  // idle after the run, or stray bytes
    if (n <= 0) {
        if (c->state == C_BODY && n == 0 && c->framing == F_CLOSE) {
            if (c->in.len && cfg.mode == STREAM) sse_line(c, c->in.p, c->in.len, t);
            cli_complete(c, t);
        } else if (c->state == C_HEAD && !c->got_first && c->used) {
            // the proxy closed an idle keep-alive connection: ask again on a new one
            cli_off(c);
            active--, started--, st.reconnects++;
            cli_connect(c);
        } else cli_fail(c, c->state == C_HEAD ? &st.e_reset : &st.e_trunc);
        return;
    }
    if (!c->brief) st.reads++, st.bytes += n;
    c->t_last = t;
    if (!c->got_first) c->got_first = 1, h_add(c->brief ? &st.short_ttfb : &st.ttfb, t - c->t0);
    int r = 0;
    if (c->state == C_HEAD) {
        b_add(&c->in, rb, n);
        int hlen = cli_head(c);
        if (!hlen) return;
        int rest = c->in.len - hlen;
        memcpy(rb, c->in.p + hlen, rest);
        c->in.len = 0;
        if (c->framing == F_LENGTH && !c->left) r = 1;
        else if (rest) r = cli_data(c, rb, rest, t);
    } else r = cli_data(c, rb, n, t);
    if (r < 0) cli_fail(c, &st.e_http);
    else if (r) cli_complete(c, t);
    else if (cfg.leave == L_MID && c->chunks >= cfg.abort_at) leave_now(c);
    else if (cfg.leave == L_QUIET && c->chunks >= cfg.abort_at) leave_later(c);
    else if (!cfg.leave && cfg.abort_at && c->chunks >= cfg.abort_at) { st.aborted++; cli_off(c); cli_next(c); }
}

// ================================================================ watching the proxy
struct usage { double cpu; long rss_kb; int threads, procs; };
static int wpid[256], nw;
static int stat_of(int pid, int *ppid, double *cpu, int *threads) {
    char path[64], b[1024], *p;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC), n = fd < 0 ? -1 : (int)read(fd, b, sizeof b - 1);
    if (fd >= 0) close(fd);
    if (n <= 0) return -1;
    b[n] = 0;
    unsigned long ut, sy;
    if (!(p = strrchr(b, ')')) || sscanf(p + 2, "%*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %d",
                                          ppid, &ut, &sy, threads) != 4) return -1;
    *cpu = (double)(ut + sy) / sysconf(_SC_CLK_TCK);
    return 0;
}
static void watch_tree(void) {  // the watched pids and all their descendants
    int pids[4096], pp[4096], n = 0, th;
    double cpu;
    DIR *d = opendir("/proc");
    for (struct dirent *e; d && (e = readdir(d)) && n < 4096; )
        if (isdigit((unsigned char)e->d_name[0]) && !stat_of(atoi(e->d_name), &pp[n], &cpu, &th)) pids[n++] = atoi(e->d_name);
    if (d) closedir(d);
    memcpy(wpid, cfg.watch, sizeof(int) * (nw = cfg.nwatch));
    for (int i = 0; i < nw; i++)
        for (int j = 0; j < n && nw < 256; j++) {
            int known = 0;
            for (int k = 0; k < nw; k++) known |= wpid[k] == pids[j];
            if (pp[j] == wpid[i] && !known) wpid[nw++] = pids[j];
        }
}
static struct usage usage(void) {
    struct usage u = {0};
    for (int i = 0; i < nw; i++) {
        int pp, th;
        double cpu;
        char path[64], b[128] = "";
        long sz, rss = 0;
        if (stat_of(wpid[i], &pp, &cpu, &th)) continue;
        snprintf(path, sizeof path, "/proc/%d/statm", wpid[i]);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) { if (read(fd, b, sizeof b - 1) > 0) sscanf(b, "%ld %ld", &sz, &rss); close(fd); }
        u.cpu += cpu, u.rss_kb += rss * (sysconf(_SC_PAGESIZE) / 1024), u.threads += th, u.procs++;
    }
    return u;
}

// ================================================================ main
static void print_hist(const char *name, const struct hist *h) {
    if (!h->n) { printf(",\"%s\":{\"n\":0}", name); return; }
    printf(",\"%s\":{\"n\":%lu,\"p50\":%.1f,\"p95\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f}", name, h->n,
           h_pct(h, 50), h_pct(h, 95), h_pct(h, 99), h_pct(h, 99.9), h->max / 1e3);
}
static u64 errors_in(const struct stats *s) {
    return s->e_status + s->e_trunc + s->e_done + s->e_count + s->e_seq + s->e_event + s->e_timeout + s->e_connect + s->e_reset + s->e_http;
}
static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static void print_leave(void) {
    qsort(leave_ms, nleave, sizeof *leave_ms, by_size);
    printf(",\"leave_ms\":{\"phase\":\"%s\",\"tries\":%lu,\"closed\":%d,\"missed\":%d", phases[cfg.leave], st.aborted, nleave, nmissed);
    if (nleave)
        printf(",\"min\":%.3f,\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f", leave_ms[0], leave_ms[nleave / 2],
               leave_ms[(int)(nleave * 0.99)], leave_ms[nleave - 1]);
    printf("}");
}
static void report(double secs, struct usage a, struct usage b, long rss_start, long rss_peak, const struct stats *run) {
    u64 errs = errors_in(&st);
    printf("{\"label\":\"%s\",\"mode\":\"%s\",\"target\":\"%s:%d\",\"conns\":%d,\"n\":%d,\"t_ms\":%g,\"secs\":%.3f,\"requests\":%lu,\"errors\":%lu",
           cfg.label, cfg.mode == STREAM ? "stream" : cfg.mode == UNARY ? "unary" : "embed", cfg.thost, cfg.tport, cfg.conns, cfg.n, cfg.t_ms, secs, st.ok, errs);
    printf(",\"req_s\":%.1f,\"chunks\":%lu,\"chunks_s\":%.1f,\"bytes\":%lu,\"chunks_per_read\":%.2f,\"byte_exact\":%lu,\"byte_diff\":%lu,\"no_usage\":%lu",
           st.ok / secs, st.chunks, st.chunks / secs, st.bytes, st.reads ? (double)st.chunks / st.reads : 0, st.exact, st.diff, st.nousage);
    printf(",\"err\":{\"status\":%lu,\"truncated\":%lu,\"no_done\":%lu,\"chunk_count\":%lu,\"sequence\":%lu,\"error_event\":%lu,\"timeout\":%lu,\"connect\":%lu,\"reset\":%lu,\"http\":%lu}",
           st.e_status, st.e_trunc, st.e_done, st.e_count, st.e_seq, st.e_event, st.e_timeout, st.e_connect, st.e_reset, st.e_http);
    if (st.e_status) {
        printf(",\"statuses\":{");
        for (int i = 0, k = 0; i < 600; i++) if (statuses[i]) printf("%s\"%d\":%d", k++ ? "," : "", i, statuses[i]);
        printf("}");
    }
    print_hist("ttfb_us", &st.ttfb);
    if (cfg.mode == STREAM) print_hist("ttfc_us", &st.ttfc), print_hist("chunk_us", &st.chunk);
    print_hist("total_us", &st.total);
    if (cfg.arrive > 0) {
        printf(",\"arrivals\":%lu", st.arrivals);
        print_hist("short_ttfb_us", &st.short_ttfb), print_hist("short_total_us", &st.short_total);
    }
    if (cfg.leave) print_leave();
    printf(",\"asked\":%s,\"run\":{\"requests\":%lu,\"errors\":%lu,\"byte_exact\":%lu,\"byte_diff\":%lu}",
           cfg.noask ? "false" : "true", run->ok, errors_in(run), run->exact, run->diff);
    printf(",\"peak_active\":%d,\"undrained\":%d,\"reconnects\":%lu,\"aborted\":%lu,\"tool_busy\":%.3f", peak_active, undrained, st.reconnects, st.aborted, st.busy / 1e9 / secs);
    if (cfg.nwatch) {
        double cpu = b.cpu - a.cpu;
        printf(",\"proxy\":{\"cpu_s\":%.2f,\"cpu_pct\":%.1f,\"us_per_req\":%.1f,\"us_per_chunk\":%.2f,\"rss_start_kb\":%ld,\"rss_peak_kb\":%ld,\"rss_end_kb\":%ld,\"procs\":%d,\"threads\":%d}",
               cpu, 100 * cpu / secs, st.ok ? cpu * 1e6 / st.ok : 0, st.chunks ? cpu * 1e6 / st.chunks : 0, rss_start, rss_peak, b.rss_kb, b.procs, b.threads);
    }
    if (cfg.mock_port) printf(",\"mock\":{\"answered\":%lu,\"aborted\":%lu,\"accepted\":%lu}", st.mock_req, st.mock_abort, st.mock_conn);
    printf("}\n");
    fflush(stdout);
}
static void help(void) {
    fputs("sseload [-mock PORT] [-target HOST:PORT] [options]      one JSON line on stdout\n"
          "  -mock PORT     run the mock upstream on 127.0.0.1:PORT (without -target: serve until killed)\n"
          "  -target H:P    load this proxy (numeric address); the mock's own port gives the direct baseline\n"
          "  -mode M        stream (default), unary or embed\n"
          "  -c C           connections (1)          -d S     seconds measured (5)    -warm S  warm-up, not counted (1)\n"
          "  -r R           stop after R requests in all instead of -d (no warm-up)   -oneshot each connection asks once\n"
          "  -n N           content chunks per stream (100)       -t MS    interval between chunks, 0 = firehose (0)\n"
          "  -think MS      mock's delay before it answers (0)    -ramp S  spread the connection starts (auto)\n"
          "  -path P        (/v1/chat/completions)   -model NAME (mock-model)         -prompt BYTES (200)\n"
          "  -H 'K: V'      extra request header, repeatable       -auth TOKEN  short for -H 'Authorization: Bearer TOKEN'\n"
          "  -same          the same body in every request (to hit caches; no byte check)\n"
          "  -drain S       after the measured time let running requests end, uncounted, so that the next\n"
          "                 run does not start with their remains (60)\n"
          "  -noask         the request does not carry include_usage: a usage event that arrives is a byte_diff\n"
          "  -arrive RATE   beside the C connections: short streams at random (Poisson) times, RATE per second;\n"
          "                 short_ttfb_us is theirs alone, no other figure but the errors has them   -short N  their chunks (1)\n"
          "  -leave PHASE   clients leave, R tries (200): head (the mock has the request), event (it has sent its head),\n"
          "                 mid (after -abort K chunks, default 5, of a running stream), quiet (the same, but the mock\n"
          "                 is silent by then), unary; leave_ms: close() to the mock seeing its connection closed\n"
          "  -leavewait S   after this a leave counts as missed (1)\n"
          "  -cert F -key F the mock speaks TLS with this chain and key (PEM)\n"
          "  -lax           a stream without [DONE] is no error\n"
          "  -abort K       hang up after K content chunks (then see mock.aborted)\n"
          "  -src K         use source addresses 127.0.0.2 .. 127.0.0.(K+1)   -timeout S  silence that counts as error (30)\n"
          "  -watch PID     report CPU and RSS of the proxy and its descendants, repeatable\n"
          "  -spin          busy-wait (lower clock noise on an own core)      -pin CPU    -label TEXT\n", stderr);
    exit(2);
}
static void args(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *o = argv[i] + (argv[i][0] == '-') + (argv[i][0] == '-' && argv[i][1] == '-');
        if (!strcmp(o, "spin")) { cfg.spin = 1; continue; }
        if (!strcmp(o, "same")) { cfg.same = 1; continue; }
        if (!strcmp(o, "lax")) { cfg.lax = 1; continue; }
        if (!strcmp(o, "oneshot")) { cfg.oneshot = 1; continue; }
        if (!strcmp(o, "noask")) { cfg.noask = 1; continue; }
        if (argv[i][0] != '-' || i + 1 >= argc) help();
        char *v = argv[++i];
        size_t hl = strlen(cfg.hdrs);
        if (!strcmp(o, "mock")) cfg.mock_port = atoi(v);
        else if (!strcmp(o, "target")) { if (sscanf(v, "%63[^:]:%d", cfg.thost, &cfg.tport) != 2) help(); }
        else if (!strcmp(o, "mode")) cfg.mode = v[0] == 's' ? STREAM : v[0] == 'u' ? UNARY : v[0] == 'e' ? EMBED : (help(), 0);
        else if (!strcmp(o, "c")) cfg.conns = atoi(v);
        else if (!strcmp(o, "d")) cfg.dur = atof(v);
        else if (!strcmp(o, "warm")) cfg.warm = atof(v);
        else if (!strcmp(o, "r")) cfg.reqs = atol(v);
        else if (!strcmp(o, "n")) cfg.n = atoi(v);
        else if (!strcmp(o, "t")) cfg.t_ms = atof(v);
        else if (!strcmp(o, "think")) cfg.think_ms = atof(v);
        else if (!strcmp(o, "ramp")) cfg.ramp = atof(v);
        else if (!strcmp(o, "path")) cfg.path = v;
        else if (!strcmp(o, "model")) cfg.model = v;
        else if (!strcmp(o, "prompt")) cfg.prompt = atoi(v);
        else if (!strcmp(o, "H")) snprintf(cfg.hdrs + hl, sizeof cfg.hdrs - hl, "%s\r\n", v);
        else if (!strcmp(o, "auth")) snprintf(cfg.hdrs + hl, sizeof cfg.hdrs - hl, "Authorization: Bearer %s\r\n", v);
        else if (!strcmp(o, "abort")) cfg.abort_at = atoi(v);
        else if (!strcmp(o, "arrive")) cfg.arrive = atof(v);
        else if (!strcmp(o, "short")) cfg.short_n = atoi(v);
        else if (!strcmp(o, "leavewait")) cfg.leave_wait = atof(v);
        else if (!strcmp(o, "cert")) cfg.cert = v;
        else if (!strcmp(o, "key")) cfg.key = v;
        else if (!strcmp(o, "leave")) {
            for (int k = L_HEAD; k <= L_UNARY; k++) if (!strcmp(v, phases[k])) cfg.leave = k;
            if (!cfg.leave) help();
        }
        else if (!strcmp(o, "src")) cfg.nsrc = atoi(v);
        else if (!strcmp(o, "drain")) cfg.drain = atof(v);
        else if (!strcmp(o, "timeout")) cfg.timeout = atof(v);
        else if (!strcmp(o, "watch")) { if (cfg.nwatch < 64) cfg.watch[cfg.nwatch++] = atoi(v); }
        else if (!strcmp(o, "pin")) cfg.pin = atoi(v);
        else if (!strcmp(o, "label")) cfg.label = v;
        else help();
    }
    if ((!cfg.mock_port && !cfg.tport) || cfg.n < 1 || cfg.n > 900000 || cfg.conns < 1 || cfg.short_n < 1) help();
    if (cfg.arrive > 0 && (cfg.reqs || cfg.leave || cfg.mode != STREAM)) help();
    if (cfg.leave) {
        if (!cfg.mock_port || !cfg.tport || cfg.tport == cfg.mock_port) help();  // both ends and a proxy between
        cfg.mode = cfg.leave == L_UNARY ? UNARY : STREAM;
        if (!cfg.reqs) cfg.reqs = 200;
        if (!cfg.abort_at) cfg.abort_at = 5;
        if (cfg.t_ms <= 0) cfg.t_ms = 20;
        cfg.n = 900000;  // never ends by itself
    }
    if (!cfg.cert != !cfg.key) help();
#ifndef WITH_TLS
    if (cfg.cert) { fputs("sseload: built without TLS\n", stderr); exit(2); }
#endif
    if (!cfg.path) cfg.path = cfg.mode == EMBED ? "/v1/embeddings" : "/v1/chat/completions";
    if (cfg.reqs) cfg.warm = 0;
    if (cfg.ramp < 0) {  // spread over one interval, and at most 4000 new connections/s
        cfg.ramp = cfg.conns / 4000.0;
        if (cfg.t_ms / 1e3 > cfg.ramp) cfg.ramp = cfg.t_ms / 1e3;
    }
}
static void dispatch(struct obj *o, u32 ev) {
    if (o->kind == LISTENER) srv_accept(o->fd);
    else if (o->kind == SRV) srv_ready((struct srv *)o, ev);
    else cli_ready((struct cli *)o, ev);
}
static void timer_fired(struct obj *o) {
    if (o->kind == ARRIVAL) arrive();
    else if (o->kind == CLI) {
        struct cli *c = (struct cli *)o;
        if (c->waiting) nmissed++, leave_over(c);
        else if (cfg.leave && c->o.fd >= 0) leave_now(c);
        else if (c->state == C_OFF && c->o.fd < 0) cli_connect(c);
    } else {
        struct srv *s = (struct srv *)o;
        if (s->state == S_THINK) srv_answer(s);
        else if (s->state == S_STREAM && !s->blocked) srv_paced(s);
    }
}
int main(int argc, char **argv) {
    args(argc, argv);
    if (cfg.pin >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(cfg.pin, &set);
        if (sched_setaffinity(0, sizeof set, &set)) die("sched_setaffinity");
    }
    struct rlimit rl;
    getrlimit(RLIMIT_NOFILE, &rl);
    rlim_t need = 2 * cfg.conns + 1000 + (rlim_t)(cfg.arrive * 10);
    if (rl.rlim_cur < need) {
        rl.rlim_cur = need;
        if (rl.rlim_max < need) rl.rlim_max = need;  // works for root
        if (setrlimit(RLIMIT_NOFILE, &rl)) fprintf(stderr, "warning: %lu file descriptors are too few for %d connections (2 each)\n", (unsigned long)rl.rlim_cur, cfg.conns);
    }
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1000);
    ep = epoll_create1(EPOLL_CLOEXEC);
    tmpl_init();
#ifdef WITH_TLS
    if (cfg.cert) tls_init();
#endif
    if (cfg.mock_port) mock_listen(cfg.mock_port);
    if (cfg.nwatch) watch_tree();
    u64 t0 = now_ns();
    if (cfg.tport) {
        req_init();
        for (int i = 0; i < cfg.conns; i++) {
            struct cli *c = cli_new(0);
            double golden = 0.6180339887 * i;  // paced streams: evenly spread phases too
            t_push(t0 + (u64)(cfg.ramp * 1e9 * i / cfg.conns + cfg.t_ms * 1e6 * (golden - (long)golden)), &c->o);
        }
        if (cfg.arrive > 0) next_arrival = t0 + (u64)(cfg.ramp * 1e9), t_push(next_arrival, &arrival);
    }
    struct usage u0 = usage();
    long rss_start = u0.rss_kb, rss_peak = u0.rss_kb;
    int measuring = !cfg.tport || cfg.reqs || cfg.warm <= 0;
    u64 warm_end = t0 + (u64)((cfg.warm + (cfg.reqs ? 0 : cfg.ramp)) * 1e9), begin = t0, tick = t0;
    u64 end = t0;
    struct usage u1 = u0;
    long peak = rss_peak;
    static struct stats before, snap;  // of the warm-up; of the measured time
    static struct epoll_event ev[512];
    for (;;) {
        u64 t = now_ns(), wait = nfire || cfg.spin ? 0 : 50000000;
        if (wait && heap_n) wait = heap[0].due <= t ? 0 : heap[0].due - t < wait ? heap[0].due - t : wait;
        struct timespec ts = {0, (long)wait};
        int n = epoll_pwait2(ep, ev, 512, &ts, NULL), work = n > 0 || nfire;
        if (n < 0 && errno != EINTR) die("epoll_wait");
        u64 a = now_ns();
        if (!wait) a = t;  // a poll is part of the work; a sleep is not
        for (int i = 0; i < n; i++) dispatch(ev[i].data.ptr, ev[i].events);
        t = now_ns();
        for (int k = 0; k < 64 && heap_n && heap[0].due <= t; k++, work = 1) {
            struct timer x = t_pop();
            if (x.gen == x.o->gen) timer_fired(x.o);
        }
        fire_round();
        t = now_ns();
        if (work) st.busy += t - a;
        if (!cfg.tport) continue;
        if (t - tick > 200000000) {  // 5 Hz: memory of the proxy, silent connections
            tick = t;
            if (cfg.nwatch) { long r = usage().rss_kb; if (r > rss_peak) rss_peak = r; }
            for (int i = 0; i < nclis; i++)
                if (clis[i]->state != C_OFF && t > clis[i]->t_last && t - clis[i]->t_last > (u64)(cfg.timeout * 1e9)) cli_fail(clis[i], &st.e_timeout);
        }
        if (!measuring && t >= warm_end) {
            before = st;
            memset(&st, 0, sizeof st), memset(statuses, 0, sizeof statuses);
            measuring = 1, peak_active = active;
            u0 = usage();
            begin = t = now_ns();
        }
        if (!stopping && (cfg.reqs ? finished >= cfg.reqs : measuring && t > begin && t - begin >= (u64)(cfg.dur * 1e9))) {
            stopping = 1, snap = st, u1 = usage(), end = t, peak = rss_peak;  // measured; now drain
            if (u1.rss_kb > peak) peak = u1.rss_kb;
        }
        if (stopping && (!active || t - end >= (u64)(cfg.drain * 1e9))) break;
    }
    undrained = active;
    static struct stats run;  // warm-up, measured time and drain: what must be free of errors
    run = st;
    run.ok += before.ok, run.exact += before.exact, run.diff += before.diff, run.e_status += errors_in(&before);
    st = snap;
    report((end - begin) / 1e9, u0, u1, rss_start, peak, &run);
    return 0;
}
