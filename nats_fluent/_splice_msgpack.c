/* msgpack -> plain msgpack in one pass, without a Python object for each value.
 *
 * It does for one msgpack map what nats_fluent.plain's fast_msgpack and fast_pack do together, and answers None where
 * these would have to look closer: the caller then takes the way through Python values, which decides. So whatever is
 * rare, doubtful or broken is None here, and only what the Go libraries write every day is handled:
 *
 *   - strings (checked to be UTF-8), nil, booleans, integers and finite floats: copied; a float32 becomes a float64;
 *   - times (extension type -1) of the years 1 to 9999: RFC 3339 text, the fraction without trailing zeros;
 *   - bytes: base64 text;
 *   - arrays, and maps with string keys, none of them twice.
 *
 * Every read is bounded by `end`, every level by MAX_LEVELS, and memory by a small multiple of the input: a time of 10
 * bytes becomes 36 at most, a float32 of 5 becomes 9, and bytes grow by a third.
 */

#include "_splice_msgpack.h"

#include <math.h>

/* Copy what goes out as it is, up to here. */
static int copy_run(Splicer *s, const uint8_t *here)
{
    size_t size = (size_t)(here - s->run);
    s->run = here;
    return copy(s, here - size, size);
}

/* --- values ----------------------------------------------------------------------------------------------------- */

static int value(Splicer *s, int levels);
static int inside(Splicer *s, int levels, Wanted *wanted, const Field *field);

/* Read a msgpack timestamp: seconds since 1970 and nanoseconds. */
static int time_read(const uint8_t *data, size_t size, int64_t *seconds, uint32_t *ns)
{
    if (size == 8) {
        uint64_t both = big_endian(data, 8);
        *seconds = (int64_t)(both & 0x3ffffffffu);
        *ns = (uint32_t)(both >> 34);
    } else if (size == 4) {
        *seconds = (int64_t)big_endian(data, 4);
        *ns = 0;
    } else if (size == 12) {
        *seconds = (int64_t)big_endian(data + 4, 8);
        *ns = (uint32_t)big_endian(data, 4);
    } else {
        return 0;
    }
    return 1;
}

/* An extension, whose head begins at `from`; of any other type than a time it is rare. */
static int extension(Splicer *s, const uint8_t *from, uint32_t size)
{
    int64_t seconds;
    uint32_t ns;
    uint8_t text[MOST_TIME];
    if (s->end - s->at < (ptrdiff_t)size + 1 || (int8_t)*s->at != -1
        || !time_read(s->at + 1, size, &seconds, &ns)) {
        return 0;
    }
    size_t made = splice_rfc3339(text, seconds, ns);
    if (made == 0 || !copy_run(s, from)) {
        return 0;
    }
    s->at += size + 1;
    s->run = s->at;
    return string_head(s, made) && copy(s, text, made);
}

static int bytes(Splicer *s, const uint8_t *from, uint32_t size)
{
    if ((size_t)(s->end - s->at) < size || !copy_run(s, from)) {
        return 0;
    }
    const uint8_t *data = s->at;
    s->at += size;
    s->run = s->at;
    return splice_base64(s, data, size);
}

static int array(Splicer *s, uint32_t count, int levels)
{
    if (count > 0 && levels == 0) {
        return 0;
    }
    for (uint32_t each = 0; each < count; each++) {
        if (!value(s, levels - 1)) {
            return 0;
        }
    }
    return 1;
}

static int map(Splicer *s, uint32_t count, int levels, Wanted *wanted)
{
    if (count > 0 && levels == 0) {
        return 0;
    }
    uint64_t seen[4] = {0, 0, 0, 0};
    size_t first = s->keys_used;
    for (uint32_t each = 0; each < count; each++) {
        const uint8_t *key;
        uint32_t key_size;
        if (!msgpack_string(s, &key, &key_size) || !new_key(s, seen, first, key, key_size)) {
            return 0;
        }
        if (wanted != NULL && wanted->no_entity && is(key, key_size, "entity")) {
            return 0;
        }
        const uint8_t *from = s->at;
        size_t before = s->used + (size_t)(from - s->run);
        const Field *field = asked(wanted, key, key_size);
        if (field != NULL && field->inside != NULL) {
            if (!inside(s, levels - 1, wanted, field)) {
                return 0;
            }
            continue;
        }
        if (!value(s, levels - 1)) {
            return 0;
        }
        if (field != NULL) {
            /* What goes out as it is stands in the input still. */
            int as_it_is = s->run <= from;
            const uint8_t *made = as_it_is ? from : s->out + before;
            size_t size = as_it_is ? (size_t)(s->at - from) : s->used - before;
            if (!splice_keep(wanted, field, made, size)) {
                return 0;
            }
        }
    }
    s->keys_used = first;
    return 1;
}

/* A float32, whose head begins at `from`. */
static int float64(Splicer *s, const uint8_t *from, float half)
{
    uint64_t bits;
    uint8_t to[9] = {0xcb};
    double number = (double)half;
    if (!isfinite(number) || !copy_run(s, from)) {
        return 0;
    }
    s->run = s->at;
    memcpy(&bits, &number, 8);
    for (int place = 0; place < 8; place++) {
        to[1 + place] = (uint8_t)(bits >> (56 - 8 * place));
    }
    return copy(s, to, 9);
}

static int value(Splicer *s, int levels)
{
    if (s->at == s->end) {
        return 0;
    }
    const uint8_t *from = s->at;
    uint8_t head = *s->at++;
    uint32_t count;
    if (head <= 0x7f || head >= 0xe0 || head == 0xc0 || head == 0xc2 || head == 0xc3) {
        return 1;
    }
    if (head <= 0x8f) {
        return map(s, head & 15, levels, NULL);
    }
    if (head <= 0x9f) {
        return array(s, head & 15, levels);
    }
    switch (head) {
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return msgpack_length(s, 1 << (head - 0xc4), &count) && bytes(s, from, count);
    case 0xc7:
        return msgpack_length(s, 1, &count) && extension(s, from, count);
    case 0xca:
    case 0xcb: {
        int size = head == 0xca ? 4 : 8;
        if (s->end - s->at < size) {
            return 0;
        }
        uint64_t bits = big_endian(s->at, size);
        s->at += size;
        if (head == 0xca) {
            uint32_t half = (uint32_t)bits;
            float number;
            memcpy(&number, &half, 4);
            return float64(s, from, number);
        }
        double number;
        memcpy(&number, &bits, 8);
        return isfinite(number);
    }
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3: {
        int size = 1 << ((head - 0xcc) & 3);
        if (s->end - s->at < size) {
            return 0;
        }
        s->at += size;
        return 1;
    }
    case 0xd6:
        return extension(s, from, 4);
    case 0xd7:
        return extension(s, from, 8);
    case 0xdc:
    case 0xdd:
        return msgpack_length(s, 2 << (head - 0xdc), &count) && array(s, count, levels);
    case 0xde:
    case 0xdf:
        return msgpack_length(s, 2 << (head - 0xde), &count) && map(s, count, levels, NULL);
    default:
        break;
    }
    const uint8_t *text;
    uint32_t size;
    s->at = from;
    return msgpack_string(s, &text, &size);
}

/* A map, of whose fields some are wanted. */
static int inside(Splicer *s, int levels, Wanted *wanted, const Field *field)
{
    uint32_t count;
    return msgpack_map(s, &count) && splice_enter(wanted, field) && map(s, count, levels, field->inside);
}

/* A map, which ends where the input does. */
static int whole(Splicer *s, Wanted *wanted)
{
    uint32_t count;
    return msgpack_map(s, &count) && map(s, count, MAX_LEVELS, wanted) && s->at == s->end;
}

int splice_msgpack(Splicer *s, Wanted *wanted)
{
    return whole(s, wanted) && copy_run(s, s->at);
}

/* --- events --------------------------------------------------------------------------------------------------------- */

/* The entity of an event is msgpack within bytes: it goes out as a map. */
static int entity(Splicer *s, Wanted *wanted)
{
    const uint8_t *from = s->at, *end = s->end;
    uint32_t size;
    if (s->at == s->end) {
        return 0;
    }
    uint8_t head = *s->at++;
    if (head < 0xc4 || head > 0xc6 || !msgpack_length(s, 1 << (head - 0xc4), &size) || (size_t)(end - s->at) < size
        || !copy_run(s, from)) {
        return 0;
    }
    s->run = s->at;
    s->end = s->at + size;
    if (!whole(s, wanted)) {
        return 0;
    }
    s->end = end;
    return 1;
}

static int event_time(Splicer *s, Event *event)
{
    const uint8_t *from = s->at;
    uint32_t size;
    if (s->at == s->end) {
        return 0;
    }
    uint8_t head = *s->at++;
    if (head == 0xc0) {
        return 1;
    }
    if (head == 0xd6) {
        size = 4;
    } else if (head == 0xd7) {
        size = 8;
    } else if (head != 0xc7 || !msgpack_length(s, 1, &size)) {
        return 0;
    }
    if (s->end - s->at < (ptrdiff_t)size + 1 || (int8_t)*s->at != -1
        || !time_read(s->at + 1, size, &event->seconds, &event->ns)) {
        return 0;
    }
    event->time_size = splice_rfc3339(event->time, event->seconds, event->ns);
    s->at += size + 1;
    if (event->time_size == 0 || !copy_run(s, from)) {
        return 0;
    }
    s->run = s->at;
    return string_head(s, event->time_size) && copy(s, event->time, event->time_size);
}

/* The five fields of an event, each once, in any order. */
int splice_msgpack_event(Splicer *s, Event *event, Wanted *wanted)
{
    if (s->at == s->end || *s->at++ != 0x85) {
        return 0;
    }
    for (int each = 0; each < 5; each++) {
        const uint8_t *key;
        uint32_t size;
        unsigned field;
        int good;
        if (!msgpack_string(s, &key, &size)) {
            return 0;
        }
        if (is(key, size, "encoding")) {
            field = 1;
            good = msgpack_string(s, &event->encoding, &event->encoding_size);
        } else if (is(key, size, "entity")) {
            field = 2;
            good = entity(s, wanted);
        } else if (is(key, size, "identity")) {
            field = 4;
            good = msgpack_string(s, &event->identity, &event->identity_size);
        } else if (is(key, size, "timestamp")) {
            field = 8;
            good = event_time(s, event);
        } else if (is(key, size, "type")) {
            field = 16;
            good = msgpack_string(s, &event->type, &event->type_size);
        } else {
            return 0;
        }
        if (!good || event->seen & field) {
            return 0;
        }
        event->seen |= field;
    }
    return is(event->encoding, event->encoding_size, "application/msgpack") && s->at == s->end
           && copy_run(s, s->at);
}
