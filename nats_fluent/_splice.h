/* What the readers of the compiled part share: what they write, the keys that they have seen, and their text.
 *
 * Small functions are here, so that the compiler can put each into its callers.
 */

#ifndef NATS_FLUENT_SPLICE_H
#define NATS_FLUENT_SPLICE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Containers in containers: nats_fluent.plain.FAST_DEPTH. */
#define MAX_LEVELS 60
/* Keys of all open maps that are remembered, so as to find one that is there twice. */
#define MAX_KEYS 2048
/* Comparisons of keys for each byte of the input, and those that any input may have. Without an end to them, 250,000
 * bytes of maps of 2,000 keys took 110 ms, and Python 10. */
#define COMPARISONS_PER_BYTE 8
#define LEAST_COMPARISONS 4096
/* Fields of a map that a caller may ask for. */
#define MAX_NAMES 32
/* The longest name of these. */
#define MAX_NAME 63
/* Maps that it may ask for fields of: the outermost one, and those under its fields. */
#define MAX_MAPS 8
/* The same byte, eight times. */
#define EIGHT(byte) (0x0101010101010101u * (uint64_t)(byte))
/* Bytes that the text of a time takes, at most. */
#define MOST_TIME 32

typedef struct {
    const uint8_t *text;
    uint32_t size;
} Key;

typedef struct {
    const uint8_t *run; /* msgpack: from here up to `at` goes out as it is, and is not copied yet */
    const uint8_t *at;
    const uint8_t *end;
    uint8_t *out;
    size_t used;
    size_t room;
    int no_memory;
    const uint8_t *watch; /* from here up to `watch_end` each watched key: its hash, its size, its text */
    const uint8_t *watch_end;
    uint64_t watched[4]; /* a bit for each hash of these */
    size_t comparisons; /* of keys that may be made still */
    size_t keys_used;
    Key keys[MAX_KEYS];
} Splicer;

struct Wanted;

typedef struct {
    const char *text;
    Py_ssize_t size;
    PyObject *name;
    struct Wanted *inside; /* what is wanted of the map that it holds, and of nothing else; or NULL */
} Field;

/* The fields of a map that were asked for. */
typedef struct Wanted {
    int no_entity; /* a map with this key may be an event, which is not for this pass */
    PyObject *found; /* a dict; that of a map within another is owned by the other's */
    Py_ssize_t count;
    uint64_t sizes; /* a bit for each size that a name has */
    Field fields[MAX_NAMES];
} Wanted;

/* What a msgpack event says of itself; where in the input, but for the time. */
typedef struct {
    const uint8_t *encoding, *identity, *type;
    uint32_t encoding_size, identity_size, type_size;
    uint8_t time[MOST_TIME];
    size_t time_size;
    int64_t seconds;
    uint32_t ns;
    unsigned seen;
} Event;

/* What is around the data of a publication. */
typedef struct {
    const uint8_t *data;
    uint32_t size;
    int msgpack; /* that is what the data is; else it is JSON */
    int ack_asked;
} Envelope;

/* The readers. Each returns 0 where Python is to decide, and where there is an exception or no memory. */
Py_LOCAL_SYMBOL int splice_msgpack(Splicer *s, Wanted *wanted);
Py_LOCAL_SYMBOL int splice_msgpack_event(Splicer *s, Event *event, Wanted *wanted);
Py_LOCAL_SYMBOL int splice_json(Splicer *s, Wanted *wanted);
Py_LOCAL_SYMBOL int splice_envelope(Splicer *s, Envelope *envelope);

/* Take up what `watch` made; 0 with an exception. */
Py_LOCAL_SYMBOL int splice_read_watch(Splicer *s, PyObject *list);
Py_LOCAL_SYMBOL PyObject *splice_watch(PyObject *module, PyObject *names);
Py_LOCAL_SYMBOL PyObject *splice_record(PyObject *module, PyObject *const *args, Py_ssize_t count);
/* Keep what a field became, when it is a string or a number. */
Py_LOCAL_SYMBOL int splice_keep(Wanted *wanted, const Field *field, const uint8_t *made, size_t size);
/* Begin with the fields of a map that a field holds. */
Py_LOCAL_SYMBOL int splice_enter(Wanted *wanted, const Field *field);
/* Make room for so much more. */
Py_LOCAL_SYMBOL int splice_grow(Splicer *s, size_t more);
/* Write the time to `text`, which has room for MOST_TIME; return how long it is, 0 for one that is beyond. */
Py_LOCAL_SYMBOL size_t splice_rfc3339(uint8_t *text, int64_t seconds, uint32_t ns);
/* Return the nanoseconds since 1970 of a time as RFC 3339; -1 where Python is to decide. */
Py_LOCAL_SYMBOL int64_t splice_time_ns(const uint8_t *text, size_t size);
Py_LOCAL_SYMBOL int splice_base64(Splicer *s, const uint8_t *from, size_t size);
/* A string that begins at `at` and whose first escape, or another end, is at `stop`; `seen` as of `ordinary`. */
Py_LOCAL_SYMBOL int splice_escaped(Splicer *s, const uint8_t *stop, uint64_t seen);

/* --- output ----------------------------------------------------------------------------------------------------- */

static inline int reserve(Splicer *s, size_t more)
{
    return s->room - s->used >= more || splice_grow(s, more);
}

static inline int put(Splicer *s, uint8_t byte)
{
    if (!reserve(s, 1)) {
        return 0;
    }
    s->out[s->used++] = byte;
    return 1;
}

static inline int copy(Splicer *s, const uint8_t *from, size_t size)
{
    if (!reserve(s, size)) {
        return 0;
    }
    memcpy(s->out + s->used, from, size);
    s->used += size;
    return 1;
}

static inline int string_head(Splicer *s, size_t size)
{
    if (!reserve(s, 5)) {
        return 0;
    }
    uint8_t *to = s->out + s->used;
    if (size < 32) {
        to[0] = (uint8_t)(0xa0 | size);
        s->used += 1;
    } else if (size <= UINT8_MAX) {
        to[0] = 0xd9;
        to[1] = (uint8_t)size;
        s->used += 2;
    } else if (size <= UINT16_MAX) {
        to[0] = 0xda;
        to[1] = (uint8_t)(size >> 8);
        to[2] = (uint8_t)size;
        s->used += 3;
    } else if (size <= UINT32_MAX) {
        to[0] = 0xdb;
        to[1] = (uint8_t)(size >> 24);
        to[2] = (uint8_t)(size >> 16);
        to[3] = (uint8_t)(size >> 8);
        to[4] = (uint8_t)size;
        s->used += 5;
    } else {
        return 0;
    }
    return 1;
}

/* --- input ------------------------------------------------------------------------------------------------------- */

static inline uint64_t big_endian(const uint8_t *from, int size)
{
    uint64_t number = 0;
    for (int place = 0; place < size; place++) {
        number = number << 8 | from[place];
    }
    return number;
}

/* --- text and keys ---------------------------------------------------------------------------------------------- */

/* Whether it is UTF-8 as Unicode has it: the shortest form, no surrogate, up to U+10FFFF. */
static inline int is_utf8(const uint8_t *at, size_t size)
{
    const uint8_t *end = at + size;
    if (size >= 4 && size <= 16) { /* most are ASCII, and so short: the first bytes and the last are all of them */
        uint64_t first = 0, last = 0;
        if (size >= 8) {
            memcpy(&first, at, 8);
            memcpy(&last, end - 8, 8);
        } else {
            memcpy(&first, at, 4);
            memcpy(&last, end - 4, 4);
        }
        if (((first | last) & EIGHT(0x80)) == 0) {
            return 1;
        }
    }
    for (;;) {
        uint64_t eight;
        while (end - at >= 8) {
            memcpy(&eight, at, 8);
            if (eight & EIGHT(0x80)) {
                break;
            }
            at += 8;
        }
        if (size >= 8 && end - at < 8) { /* the last eight, some of them once more */
            memcpy(&eight, end - 8, 8);
            if ((eight & EIGHT(0x80)) == 0) {
                return 1;
            }
        }
        while (at < end && *at < 0x80) {
            at++;
        }
        if (at == end) {
            return 1;
        }
        uint8_t first = *at;
        int more;
        uint8_t low = 0x80, high = 0xbf; /* of the second byte */
        if (first >= 0xc2 && first <= 0xdf) {
            more = 1;
        } else if (first >= 0xe0 && first <= 0xef) {
            more = 2;
            low = first == 0xe0 ? 0xa0 : 0x80;
            high = first == 0xed ? 0x9f : 0xbf;
        } else if (first >= 0xf0 && first <= 0xf4) {
            more = 3;
            low = first == 0xf0 ? 0x90 : 0x80;
            high = first == 0xf4 ? 0x8f : 0xbf;
        } else {
            return 0;
        }
        if (end - at <= more || at[1] < low || at[1] > high) {
            return 0;
        }
        for (int place = 2; place <= more; place++) {
            if ((at[place] & 0xc0) != 0x80) {
                return 0;
            }
        }
        at += more + 1;
    }
}

/* Return the first byte that does not stand for itself in a string: a quote, a backslash, a control character; `end`
 * where there is none. Bit 7 of one of the bytes of `seen` is set when there are others than ASCII before it. */
static inline const uint8_t *ordinary(const uint8_t *at, const uint8_t *end, uint64_t *seen)
{
    while (end - at >= 8) {
        uint64_t bytes;
        memcpy(&bytes, at, 8);
        uint64_t quote = bytes ^ EIGHT('"'), backslash = bytes ^ EIGHT('\\');
        uint64_t found = ((quote - EIGHT(1)) & ~quote) | ((backslash - EIGHT(1)) & ~backslash)
                         | ((bytes - EIGHT(' ')) & ~bytes);
        found &= EIGHT(0x80);
        if (found != 0) {
#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            /* The lowest bit is that of the first of them; borrows make wrong ones above it alone. */
            *seen |= bytes & ((found & (0 - found)) - 1);
            return at + __builtin_ctzll(found) / 8;
#else
            break; /* which of them comes first is seen below */
#endif
        }
        *seen |= bytes;
        at += 8;
    }
    while (at < end && *at >= ' ' && *at != '"' && *at != '\\') {
        *seen |= *at++;
    }
    return at;
}

/* A place among 256; keys of one map that have the same one are compared. */
static inline unsigned place_of(const uint8_t *text, uint32_t size)
{
    if (size == 0) {
        return 0;
    }
    return (size * 31u + text[0] * 7u + text[size / 2] * 13u + text[size - 1] * 59u) & 255;
}

/* Whether the values are to be looked at, as they stand under a key that is watched. */
static inline int is_watched(const Splicer *s, unsigned bit, const uint8_t *text, uint32_t size)
{
    for (const uint8_t *each = s->watch; each < s->watch_end; each += 2 + each[1]) {
        if (each[0] == bit && each[1] == size && memcmp(each + 2, text, size) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Remember a key of the map whose keys begin at `first`; 0 when it is there already, or watched, or when that takes too
 * long to tell. */
static inline int new_key(Splicer *s, uint64_t seen[4], size_t first, const uint8_t *text, uint32_t size)
{
    if (s->keys_used == MAX_KEYS) {
        return 0;
    }
    unsigned bit = place_of(text, size);
    uint64_t mask = (uint64_t)1 << (bit & 63);
    if (s->watched[bit >> 6] & mask && is_watched(s, bit, text, size)) {
        return 0;
    }
    if (seen[bit >> 6] & mask) {
        if (s->keys_used - first > s->comparisons) {
            return 0;
        }
        s->comparisons -= s->keys_used - first;
        for (size_t each = first; each < s->keys_used; each++) {
            if (s->keys[each].size == size && memcmp(s->keys[each].text, text, size) == 0) {
                return 0;
            }
        }
    }
    seen[bit >> 6] |= mask;
    s->keys[s->keys_used++] = (Key){text, size};
    return 1;
}

static inline int is(const uint8_t *key, uint32_t size, const char *name)
{
    return size == strlen(name) && memcmp(key, name, size) == 0;
}

/* Return the field with that key that was asked for; NULL where none was. */
static inline const Field *asked(const Wanted *wanted, const uint8_t *key, uint32_t size)
{
    if (wanted == NULL || size > MAX_NAME || !(wanted->sizes >> size & 1)) {
        return NULL;
    }
    for (Py_ssize_t each = 0; each < wanted->count; each++) {
        const Field *field = &wanted->fields[each];
        if (field->size == (Py_ssize_t)size && memcmp(field->text, key, size) == 0) {
            return field;
        }
    }
    return NULL;
}

#endif
