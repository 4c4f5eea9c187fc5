/* The envelope of a publication: the msgpack map that the Go library bahamut writes around its data.
 *
 * It reads the fields that bahamut has, each once, in any order and in the form that is common; 0 for all else, which
 * nats_fluent.envelope reads. As there, what says no encoding is JSON.
 */

#include "_splice_msgpack.h"

/* The response mode of a publisher that waits for `ack`: nats_fluent.envelope.ACK_ASKED. */
#define ACK_ASKED 1

/* An integer of up to 32 bits. */
static int integer(Splicer *s, int64_t *found)
{
    if (s->at == s->end) {
        return 0;
    }
    uint8_t head = *s->at++;
    uint32_t bits;
    if (head <= 0x7f || head >= 0xe0) {
        *found = (int8_t)head;
        return 1;
    }
    if (head >= 0xcc && head <= 0xce && msgpack_length(s, 1 << (head - 0xcc), &bits)) {
        *found = bits;
        return 1;
    }
    if (head >= 0xd0 && head <= 0xd2 && msgpack_length(s, 1 << (head - 0xd0), &bits)) {
        int64_t sign = (int64_t)1 << (8 * (1 << (head - 0xd0)) - 1);
        *found = ((int64_t)bits ^ sign) - sign;
        return 1;
    }
    return 0;
}

static int data(Splicer *s, Envelope *envelope)
{
    if (s->at == s->end) {
        return 0;
    }
    uint8_t head = *s->at++;
    if (head < 0xc4 || head > 0xc6 || !msgpack_length(s, 1 << (head - 0xc4), &envelope->size)
        || envelope->size == 0 || (size_t)(s->end - s->at) < envelope->size) {
        return 0;
    }
    envelope->data = s->at;
    s->at += envelope->size;
    return 1;
}

/* What traces a request through the platform: nil, or a map of strings. No record has it. */
static int tracking(Splicer *s)
{
    const uint8_t *text;
    uint32_t count, size;
    if (s->at < s->end && *s->at == 0xc0) {
        s->at++;
        return 1;
    }
    if (!msgpack_map(s, &count)) {
        return 0;
    }
    for (uint32_t each = 0; each < count; each++) {
        if (!msgpack_string(s, &text, &size) || !msgpack_string(s, &text, &size)) {
            return 0;
        }
    }
    return 1;
}

int splice_envelope(Splicer *s, Envelope *envelope)
{
    uint32_t count;
    unsigned seen = 0;
    *envelope = (Envelope){.data = NULL};
    if (!msgpack_map(s, &count)) {
        return 0;
    }
    for (uint32_t each = 0; each < count; each++) {
        const uint8_t *key, *text;
        uint32_t key_size, size;
        int64_t value;
        unsigned field;
        int good;
        if (!msgpack_string(s, &key, &key_size)) {
            return 0;
        }
        if (is(key, key_size, "data")) {
            field = 1;
            good = data(s, envelope);
        } else if (is(key, key_size, "encoding")) {
            field = 2;
            good = msgpack_string(s, &text, &size);
            envelope->msgpack = good && is(text, size, "application/msgpack");
        } else if (is(key, key_size, "topic")) {
            field = 4;
            good = msgpack_string(s, &text, &size);
        } else if (is(key, key_size, "responseMode")) {
            field = 8;
            good = integer(s, &value);
            envelope->ack_asked = good && value == ACK_ASKED;
        } else if (is(key, key_size, "trackingData")) {
            field = 16;
            good = tracking(s);
        } else if (is(key, key_size, "trackingName")) {
            field = 32;
            good = msgpack_string(s, &text, &size);
        } else if (is(key, key_size, "partition")) {
            field = 64;
            good = integer(s, &value) && value <= INT32_MAX;
        } else {
            return 0;
        }
        if (!good || seen & field) {
            return 0;
        }
        seen |= field;
    }
    return envelope->data != NULL && s->at == s->end;
}
