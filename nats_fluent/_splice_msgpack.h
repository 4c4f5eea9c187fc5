/* The heads of msgpack that more than one reader reads. */

#ifndef NATS_FLUENT_SPLICE_MSGPACK_H
#define NATS_FLUENT_SPLICE_MSGPACK_H

#include "_splice.h"

/* Read a number of `size` bytes that says how much follows. */
static inline int msgpack_length(Splicer *s, int size, uint32_t *found)
{
    if (s->end - s->at < size) {
        return 0;
    }
    *found = (uint32_t)big_endian(s->at, size);
    s->at += size;
    return 1;
}

/* Read the head of a string, and check what follows; leave `at` behind it. */
static inline int msgpack_string(Splicer *s, const uint8_t **text, uint32_t *size)
{
    if (s->at == s->end) {
        return 0;
    }
    uint8_t head = *s->at++;
    if (head >= 0xa0 && head <= 0xbf) {
        *size = head & 31;
    } else if (head < 0xd9 || head > 0xdb || !msgpack_length(s, 1 << (head - 0xd9), size)) {
        return 0;
    }
    if ((size_t)(s->end - s->at) < *size || !is_utf8(s->at, *size)) {
        return 0;
    }
    *text = s->at;
    s->at += *size;
    return 1;
}

/* Read the head of a map. */
static inline int msgpack_map(Splicer *s, uint32_t *count)
{
    if (s->at == s->end) {
        return 0;
    }
    uint8_t head = *s->at++;
    if (head >= 0x80 && head <= 0x8f) {
        *count = head & 15;
        return 1;
    }
    return (head == 0xde || head == 0xdf) && msgpack_length(s, 2 << (head - 0xde), count);
}

#endif
