/* The clients' reader of name servers' answers, under sanitizers: seeds are answers that the test gives
 * as files, and each is changed, cut and lengthened in always the same ways. Every answer lies in memory
 * of exactly its size. The first line tells what the seeds themselves say. */
#include "names.c"

#include <stdlib.h>

#define ROUNDS 100000

static uint32_t state = 2463534242u;

static uint32_t next(void) {
    state ^= state << 13;
    state ^= state >> 17;
    return state ^= state << 5;
}

static const char *read_it(const uint8_t *answer, size_t bytes, size_t at, unsigned type) {
    struct sockaddr_storage to = {0};
    uint8_t *exactly = memcpy(malloc(bytes), answer, bytes);
    const char *why = read_answer(exactly, bytes, at, type, &to);

    free(exactly);
    return why;
}

int main(int argc, char **argv) {
    for (int n = 1; n + 2 < argc; n += 3) {
        uint8_t seed[ANSWER_BYTES], changed[ANSWER_BYTES];
        size_t behind = strtoull(argv[n + 1], NULL, 10);
        unsigned type = (unsigned)atoi(argv[n + 2]);
        int fd = open(argv[n], O_RDONLY);
        size_t bytes = (size_t)read(fd, seed, sizeof seed);
        const char *why = read_it(seed, bytes, behind, type);
        printf("%s\n", why ? why : "an address");
        for (int round = 0; round < ROUNDS; round++) {
            size_t length = bytes;
            memcpy(changed, seed, bytes);
            for (unsigned i = next() % 4; i; i--)
                changed[next() % bytes] = (uint8_t)(next() % 3 ? next() : 0xff);
            if (next() % 4 == 0)
                length = behind + next() % (bytes - behind + 1);
            read_it(changed, length, behind, type);
        }
        close(fd);
    }
    return 0;
}
