/* A camera's program that writes its frames straight into a recording.
 *
 *     cc -std=c11 -O2 -I "$(python -m forebay.acquisition.sources.shared_memory)" camera.c -o camera
 *     forebay acquire shm:camera RUN &
 *     ./camera camera 512 512 1000 200
 *
 * The arguments are the name behind shm:, the width and the height of the frames, how many to
 * take, and how many per second; with 0 per second it takes as many as the recording keeps up with.
 * It prints how many frames it took, how many of them found no room, and the time that it needed.
 */
#include "forebay_ring.h" /* first, for it asks for what other headers are to declare */

#include <inttypes.h>

/* A diagonal ramp that moves by a pixel with each exposure. */
static void expose(uint16_t *pixels, uint64_t width, uint64_t height, uint64_t counter)
{
    for (uint64_t y = 0; y < height; ++y)
        for (uint64_t x = 0; x < width; ++x)
            pixels[y * width + x] = (uint16_t)(x + y + counter);
}

static void wait_until(int64_t monotonic)
{
    struct timespec due;
    due.tv_sec = (time_t)(monotonic / 1000000000);
    due.tv_nsec = (long)(monotonic % 1000000000);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) {
    }
}

static int64_t monotonic_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int main(int count, char **words)
{
    if (count != 6) {
        fprintf(stderr, "usage: %s NAME WIDTH HEIGHT FRAMES RATE\n", words[0]);
        return 2;
    }
    const uint64_t width = strtoull(words[2], NULL, 10);
    const uint64_t height = strtoull(words[3], NULL, 10);
    const uint64_t frames = strtoull(words[4], NULL, 10);
    const double rate = strtod(words[5], NULL);

    struct forebay_geometry geometry = {FOREBAY_UINT16, 0, height, width, rate, 0.0, rate == 0.0};
    struct forebay_ring ring;
    if (forebay_connect(&ring, words[1], &geometry, 60000) != 0) {
        fprintf(stderr, "%s\n", ring.message);
        return 1;
    }

    uint64_t skipped = 0;
    const int64_t began = monotonic_now();
    for (uint64_t counter = 0; counter < frames; ++counter) {
        if (rate > 0)
            wait_until(began + (int64_t)((double)counter / rate * 1e9));
        void *pixels = forebay_acquire(&ring, geometry.waits ? -1 : 0);
        if (!pixels && errno == EAGAIN) {
            ++skipped;
            forebay_skip(&ring, counter); /* forebay writes it down as dropped */
            continue;
        }
        if (!pixels) {
            perror("the recording has ended");
            forebay_close(&ring);
            return 1;
        }
        expose((uint16_t *)pixels, width, height, counter);
        forebay_publish(&ring, pixels, counter, forebay_now(), 0);
    }
    printf("%" PRIu64 " frames, %" PRIu64 " without room, %.6f s\n", frames, skipped,
           (double)(monotonic_now() - began) / 1e9);
    forebay_close(&ring);
    return 0;
}
