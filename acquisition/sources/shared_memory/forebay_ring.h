/* Write frames straight into the ring of a recording that forebay makes on this machine.
 *
 *     struct forebay_geometry geometry = {FOREBAY_UINT16, 0, 2048, 2048, 100.0, 0.0, 0};
 *     struct forebay_ring ring;
 *     if (forebay_connect(&ring, "camera", &geometry, 60000) != 0)
 *         fprintf(stderr, "%s\n", ring.message);
 *     void *pixels = forebay_acquire(&ring, 0);
 *     if (pixels) {
 *         expose(pixels);
 *         forebay_publish(&ring, pixels, counter, forebay_now(), 0);
 *     }
 *     forebay_close(&ring);
 *
 * C11 or C++17, Linux, little-endian.  Nothing but this file is needed.  Include it before any
 * other header, or compile with -D_GNU_SOURCE.  Names that end in an underscore are its own.
 *
 * One thread may acquire while another publishes; otherwise a ring is used by one thread at a time.
 * What is written where is described in docs/reference/shared-memory-ring.md.
 */
#ifndef FOREBAY_RING_H
#define FOREBAY_RING_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#if !defined(MAP_POPULATE) || !defined(O_PATH) || !defined(POLLRDHUP)
#error "include forebay_ring.h before any other header, or compile with -D_GNU_SOURCE"
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "forebay_ring.h needs a little-endian machine"
#endif

/* The type of a pixel: its kind as a letter, and its size in bytes. */
enum forebay_dtype {
    FOREBAY_UINT8 = ('u' << 8) | 1,
    FOREBAY_UINT16 = ('u' << 8) | 2,
    FOREBAY_UINT32 = ('u' << 8) | 4,
    FOREBAY_UINT64 = ('u' << 8) | 8,
    FOREBAY_INT8 = ('i' << 8) | 1,
    FOREBAY_INT16 = ('i' << 8) | 2,
    FOREBAY_INT32 = ('i' << 8) | 4,
    FOREBAY_INT64 = ('i' << 8) | 8,
    FOREBAY_FLOAT16 = ('f' << 8) | 2,
    FOREBAY_FLOAT32 = ('f' << 8) | 4,
    FOREBAY_FLOAT64 = ('f' << 8) | 8
};

/* What is unusual about a frame; a sum of these. */
enum forebay_flag {
    FOREBAY_SATURATED = 1, /* at least one pixel is at the sensor's upper limit */
    FOREBAY_INCOMPLETE = 2 /* a part of the pixels was lost */
};

/* What every frame is like; rows follow each other without gaps, the first axis is the slowest. */
struct forebay_geometry {
    enum forebay_dtype dtype;
    uint64_t channels;       /* 0 where a frame has no axis of channels */
    uint64_t height;         /* rows */
    uint64_t width;          /* columns */
    double frame_rate;       /* nominal frames per second; 0 if unknown */
    double exposure_seconds; /* 0 if unknown */
    int waits;               /* whether this program waits for room; 0 if it skips frames */
};

/* A connection to a recording; to be read by its user: frame_bytes, slots and message. */
struct forebay_ring {
    size_t frame_bytes; /* bytes of pixels in a frame */
    uint32_t slots;     /* frames that the ring holds */
    char message[192];  /* what went wrong */
    int socket_;
    int free_bell_;
    int filled_bell_;
    uint32_t entries_;
    uint32_t free_count_;
    uint32_t free_next_;
    uint32_t filled_next_;
    int skipped_;
    uint64_t counted_;
    size_t stride_;
    size_t slots_bytes_;
    size_t control_bytes_;
    size_t free_offset_;
    size_t filled_offset_;
    unsigned char *slots_;
    unsigned char *control_;
};

struct forebay_hello_ {
    char magic[8];
    uint32_t version;
    uint32_t bytes;
    uint32_t dtype;
    uint32_t waits;
    uint64_t channels;
    uint64_t height;
    uint64_t width;
    double frame_rate;
    double exposure_seconds;
};

struct forebay_welcome_ {
    char magic[8];
    uint32_t version;
    uint32_t refused;
    uint32_t slots;
    uint32_t entries;
    uint64_t stride;
    uint64_t frame_bytes;
    uint64_t slots_bytes;
    uint64_t control_bytes;
    uint32_t free_offset;
    uint32_t filled_offset;
    char text[192];
};

struct forebay_filled_ {
    uint64_t counter;
    int64_t timestamp;
    uint32_t slot;
    uint32_t flags;
    uint64_t reserved;
};

static_assert(sizeof(struct forebay_hello_) == 64, "a hello is 64 bytes");
static_assert(sizeof(struct forebay_welcome_) == 256, "a welcome is 256 bytes");
static_assert(sizeof(struct forebay_filled_) == 32, "an entry of a filled slot is 32 bytes");

/* Nanoseconds since 1970-01-01 UTC. */
static inline int64_t forebay_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int64_t forebay_milliseconds_(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Wait for one of two files; 0 at the deadline, which is negative for none. */
static inline int forebay_wait_(struct pollfd *files, nfds_t count, int64_t deadline)
{
    for (;;) {
        int64_t left = -1;
        if (deadline >= 0) {
            left = deadline - forebay_milliseconds_();
            if (left < 0)
                left = 0;
            if (left > 1000000000)
                left = 1000000000;
        }
        int ready = poll(files, count, (int)left);
        if (ready >= 0 || errno != EINTR)
            return ready;
    }
}

static inline void forebay_release_(struct forebay_ring *ring)
{
    if (ring->slots_)
        munmap(ring->slots_, ring->slots_bytes_);
    if (ring->control_)
        munmap(ring->control_, ring->control_bytes_);
    if (ring->socket_ >= 0)
        close(ring->socket_);
    if (ring->free_bell_ >= 0)
        close(ring->free_bell_);
    if (ring->filled_bell_ >= 0)
        close(ring->filled_bell_);
    ring->slots_ = ring->control_ = NULL;
    ring->free_count_ = 0;
    ring->socket_ = ring->free_bell_ = ring->filled_bell_ = -1;
}

static inline int forebay_fail_(struct forebay_ring *ring, int error, const char *what)
{
    if (what)
        snprintf(ring->message, sizeof ring->message, "%s: %s", what, strerror(error));
    forebay_release_(ring);
    errno = error;
    return -1;
}

static inline int forebay_is_own_(const char *folder)
{
    struct stat found;
    return stat(folder, &found) == 0 && found.st_uid == geteuid();
}

/* The folder in which the sockets of this user lie. */
static inline void forebay_runtime_folder_(char *folder, size_t size)
{
    const char *names[] = {"TMPDIR", "TEMP", "TMP"};
    const char *base = getenv("XDG_RUNTIME_DIR");
    char usual[64];
    size_t each;
    if (base && base[0] == '/' && forebay_is_own_(base)) {
        snprintf(folder, size, "%s/forebay", base);
        return;
    }
    snprintf(usual, sizeof usual, "/run/user/%lu", (unsigned long)geteuid());
    if (forebay_is_own_(usual)) {
        snprintf(folder, size, "%s/forebay", usual);
        return;
    }
    base = "/tmp";
    for (each = 0; each < sizeof names / sizeof *names; ++each) {
        const char *given = getenv(names[each]);
        if (given && given[0] == '/') {
            base = given;
            break;
        }
    }
    snprintf(folder, size, "%s/forebay-%lu", base, (unsigned long)geteuid());
}

/* Connect by way of the open folder, for an address has room for 107 characters only. */
static inline int forebay_reach_(const char *name)
{
    char folder[4096];
    struct sockaddr_un address;
    const char *last = strrchr(name, '/');
    int held, found, error, length;
    if (last) {
        snprintf(folder, sizeof folder, "%.*s", (int)(last == name ? 1 : last - name), name);
        name = last + 1;
    } else {
        forebay_runtime_folder_(folder, sizeof folder);
    }
    held = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (held < 0)
        return -1;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    length = snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s%s", held,
                      name, last ? "" : ".ring");
    if (length < 0 || (size_t)length >= sizeof address.sun_path) {
        close(held);
        errno = ENAMETOOLONG;
        return -1;
    }
    found = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (found >= 0 && connect(found, (struct sockaddr *)&address, sizeof address) != 0) {
        error = errno;
        close(found);
        errno = error;
        found = -1;
    }
    error = errno;
    close(held);
    errno = error;
    return found;
}

/* Receive the answer to the hello, and the four files that come with it. */
static inline int forebay_receive_(struct forebay_ring *ring, struct forebay_welcome_ *welcome,
                                   int files[4], int64_t deadline)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(4 * sizeof(int))];
    } control;
    size_t received = 0;
    int count;
    for (count = 0; count < 4; ++count)
        files[count] = -1;
    while (received < sizeof *welcome) {
        struct pollfd waiting;
        struct iovec part;
        struct msghdr message;
        struct cmsghdr *each;
        ssize_t got;
        waiting.fd = ring->socket_;
        waiting.events = POLLIN;
        waiting.revents = 0;
        count = forebay_wait_(&waiting, 1, deadline);
        if (count <= 0) {
            errno = count ? errno : ETIMEDOUT;
            return -1;
        }
        part.iov_base = (char *)welcome + received;
        part.iov_len = sizeof *welcome - received;
        memset(&message, 0, sizeof message);
        memset(&control, 0, sizeof control);
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control.room;
        message.msg_controllen = sizeof control.room;
        got = recvmsg(ring->socket_, &message, MSG_CMSG_CLOEXEC);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got ? errno : ECONNRESET;
            return -1;
        }
        received += (size_t)got;
        each = CMSG_FIRSTHDR(&message);
        if (each && each->cmsg_level == SOL_SOCKET && each->cmsg_type == SCM_RIGHTS &&
            each->cmsg_len == CMSG_LEN(4 * sizeof(int)) && files[0] < 0)
            memcpy(files, CMSG_DATA(each), 4 * sizeof(int));
    }
    return 0;
}

static inline unsigned char *forebay_map_(int file, size_t bytes)
{
    /* All pages are there from the beginning, so that no frame waits for one. */
    void *found = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file, 0);
    return found == MAP_FAILED ? NULL : (unsigned char *)found;
}

/* Map what came, if the layout is one that this file was written for. */
static inline int forebay_set_up_(struct forebay_ring *ring, const struct forebay_welcome_ *welcome,
                                  const int files[4])
{
    const uint64_t slots = welcome->slots, entries = welcome->entries;
    if (files[0] < 0 || slots == 0 || entries == 0 || welcome->frame_bytes != ring->frame_bytes ||
        welcome->stride < welcome->frame_bytes || welcome->stride > welcome->slots_bytes / slots ||
        entries > slots || welcome->free_offset + 4 * entries > welcome->control_bytes ||
        welcome->filled_offset + 32 * entries > welcome->control_bytes) {
        errno = EPROTO;
        return -1;
    }
    ring->slots = welcome->slots;
    ring->entries_ = welcome->entries;
    ring->stride_ = (size_t)welcome->stride;
    ring->free_offset_ = welcome->free_offset;
    ring->filled_offset_ = welcome->filled_offset;
    ring->slots_bytes_ = (size_t)welcome->slots_bytes;
    ring->control_bytes_ = (size_t)welcome->control_bytes;
    ring->slots_ = forebay_map_(files[0], ring->slots_bytes_);
    ring->control_ = forebay_map_(files[1], ring->control_bytes_);
    return ring->slots_ && ring->control_ ? 0 : -1;
}

/* Connect to a recording that was started as `forebay acquire shm:NAME RUN`.
 *
 * name        NAME; or the path of its socket, where it belongs to another user
 * geometry    what every frame is like
 * timeout_ms  longest time to wait for it, in milliseconds; negative for no limit
 *
 * Returns 0; or -1 with errno set and `ring->message` saying what went wrong.
 */
static inline int forebay_connect(struct forebay_ring *ring, const char *name,
                                  const struct forebay_geometry *geometry, int timeout_ms)
{
    const int64_t deadline = timeout_ms < 0 ? -1 : forebay_milliseconds_() + timeout_ms;
    const uint64_t channels = geometry->channels ? geometry->channels : 1;
    struct forebay_hello_ hello;
    struct forebay_welcome_ welcome;
    int files[4], each, error;
    memset(ring, 0, sizeof *ring);
    ring->socket_ = ring->free_bell_ = ring->filled_bell_ = -1;
    ring->frame_bytes =
        (size_t)(channels * geometry->height * geometry->width * (geometry->dtype & 255));
    memset(&hello, 0, sizeof hello);
    memcpy(hello.magic, "fbayring", 8);
    hello.version = 1;
    hello.bytes = sizeof hello;
    hello.dtype = (uint32_t)geometry->dtype;
    hello.waits = geometry->waits ? 1 : 0;
    hello.channels = geometry->channels;
    hello.height = geometry->height;
    hello.width = geometry->width;
    hello.frame_rate = geometry->frame_rate;
    hello.exposure_seconds = geometry->exposure_seconds;
    /* Whether the recording is started before this program or after it does not matter. */
    while ((ring->socket_ = forebay_reach_(name)) < 0) {
        struct timespec pause;
        if (errno != ENOENT && errno != ECONNREFUSED && errno != EINTR)
            return forebay_fail_(ring, errno, "cannot connect to the recording");
        if (deadline >= 0 && forebay_milliseconds_() >= deadline)
            return forebay_fail_(ring, errno, "no recording waits for frames there");
        pause.tv_sec = 0;
        pause.tv_nsec = 20000000;
        nanosleep(&pause, NULL);
    }
    /* If it was turned away before it could say that, the answer tells why. */
    if (send(ring->socket_, &hello, sizeof hello, MSG_NOSIGNAL) < 0 && errno != EPIPE)
        return forebay_fail_(ring, errno, "cannot say hello to the recording");
    if (forebay_receive_(ring, &welcome, files, deadline) != 0) {
        error = errno;
        for (each = 0; each < 4; ++each)
            if (files[each] >= 0)
                close(files[each]);
        return forebay_fail_(ring, error, "the recording did not begin");
    }
    ring->free_bell_ = files[2];
    ring->filled_bell_ = files[3];
    error = 0;
    if (memcmp(welcome.magic, "fbayring", 8) != 0 || welcome.version != 1) {
        error = EPROTO;
    } else if (welcome.refused) {
        error = ECONNREFUSED;
        memcpy(ring->message, welcome.text, sizeof ring->message);
        ring->message[sizeof ring->message - 1] = 0;
    } else if (forebay_set_up_(ring, &welcome, files) != 0) {
        error = errno;
    }
    for (each = 0; each < 2; ++each)
        if (files[each] >= 0)
            close(files[each]);
    if (error)
        return forebay_fail_(ring, error,
                             ring->message[0] ? NULL : "cannot use the memory of the recording");
    return 0;
}

/* Get memory for the pixels of a frame.
 *
 * timeout_ms  longest time to wait for it, in milliseconds; 0 for no wait, negative for no limit
 *
 * Returns memory of `ring->frame_bytes` bytes, aligned to 64 bytes, that holds an older frame.  It
 * is the caller's until it is published; several may be held at a time.  Returns NULL with errno
 * set to EAGAIN if there is none in time: count the exposure, and skip it.  Returns NULL with errno
 * set to EPIPE if the recording has ended.
 */
static inline void *forebay_acquire(struct forebay_ring *ring, int timeout_ms)
{
    const int64_t deadline = timeout_ms < 0 ? -1 : forebay_milliseconds_() + timeout_ms;
    uint32_t slot;
    while (ring->free_count_ == 0) {
        struct pollfd files[2];
        uint64_t more = 0;
        int ready;
        /* Entries that were written before the bell was rung are seen after it is read. */
        if (read(ring->free_bell_, &more, sizeof more) == (ssize_t)sizeof more) {
            if (more > ring->entries_) {
                errno = EPROTO;
                return NULL;
            }
            ring->free_count_ = (uint32_t)more;
            break;
        }
        if (errno != EAGAIN && errno != EINTR)
            return NULL;
        files[0].fd = ring->free_bell_;
        files[0].events = POLLIN;
        files[1].fd = ring->socket_;
        files[1].events = POLLIN | POLLRDHUP;
        files[0].revents = files[1].revents = 0;
        ready = forebay_wait_(files, 2, deadline);
        if (ready < 0)
            return NULL;
        if (ready == 0 || (!files[0].revents && files[1].revents)) {
            errno = ready ? EPIPE : EAGAIN;
            return NULL;
        }
    }
    memcpy(&slot, ring->control_ + ring->free_offset_ + 4 * (size_t)ring->free_next_, 4);
    ring->free_next_ = (ring->free_next_ + 1) % ring->entries_;
    --ring->free_count_;
    if (slot >= ring->slots) {
        errno = EPROTO;
        return NULL;
    }
    return ring->slots_ + slot * ring->stride_;
}

/* Hand a frame over; its memory is not the caller's any more.  Never waits.
 *
 * pixels        what forebay_acquire returned
 * counter       the camera's count; it grows by one for each exposure, published or not
 * timestamp_ns  when the frame was taken, in nanoseconds since 1970-01-01 UTC
 * flags         a sum of forebay_flag
 *
 * Returns 0; or -1 with errno set.
 */
static inline int forebay_publish(struct forebay_ring *ring, const void *pixels, uint64_t counter,
                                  int64_t timestamp_ns, uint32_t flags)
{
    const size_t begin = (size_t)((uintptr_t)pixels - (uintptr_t)ring->slots_);
    const uint64_t one = 1;
    struct forebay_filled_ filled;
    ssize_t written;
    if (!ring->slots_ || begin % ring->stride_ != 0 || begin / ring->stride_ >= ring->slots) {
        errno = EINVAL;
        return -1;
    }
    ring->skipped_ = 0;
    filled.counter = counter;
    filled.timestamp = timestamp_ns;
    filled.slot = (uint32_t)(begin / ring->stride_);
    filled.flags = flags;
    filled.reserved = 0;
    memcpy(ring->control_ + ring->filled_offset_ + 32 * (size_t)ring->filled_next_, &filled, 32);
    ring->filled_next_ = (ring->filled_next_ + 1) % ring->entries_;
    /* The call to the system orders what was written before it, pixels and entry. */
    do
        written = write(ring->filled_bell_, &one, sizeof one);
    while (written < 0 && errno == EINTR);
    return written == (ssize_t)sizeof one ? 0 : -1;
}

/* Skip an exposure for which there was no memory; called by the thread that publishes.
 *
 * Exposures that are skipped between two frames show by the counter.  This is for the last ones,
 * which nothing follows: they are written down as dropped, too.
 *
 * counter  the camera's count of the exposure
 */
static inline void forebay_skip(struct forebay_ring *ring, uint64_t counter)
{
    ring->skipped_ = 1;
    ring->counted_ = counter;
}

/* Say that no frame will come any more, and disconnect; what was published is recorded. */
static inline void forebay_close(struct forebay_ring *ring)
{
    char goodbye[16];
    memcpy(goodbye, ring->skipped_ ? "fbaylast" : "fbayends", 8);
    memcpy(goodbye + 8, &ring->counted_, 8);
    if (ring->socket_ >= 0 &&
        send(ring->socket_, goodbye, ring->skipped_ ? 16 : 8, MSG_NOSIGNAL) < 0) {
        /* The recording has ended before: there is nobody to tell. */
    }
    forebay_release_(ring);
}

#endif
