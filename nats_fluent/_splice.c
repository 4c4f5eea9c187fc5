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

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Containers in containers: nats_fluent.plain.FAST_DEPTH. */
#define MAX_LEVELS 60
/* Keys of all open maps that are remembered, so as to find one that is there twice. */
#define MAX_KEYS 2048
/* Fields of the outermost map that a caller may ask for. */
#define MAX_NAMES 32
/* The longest name of these. */
#define MAX_NAME 63
/* Bytes of the set of hashes that a watch list begins with. */
#define WATCH_HEAD 32

#define NS_PER_SECOND 1000000000u
#define SECONDS_PER_DAY 86400
/* 0001-01-01 and 9999-12-31T23:59:59 in seconds since 1970: the years that a datetime holds. */
#define FIRST_SECOND (-62135596800LL)
#define LAST_SECOND 253402300799LL
/* Days from 0000-03-01 to 1970-01-01 in the proleptic Gregorian calendar. */
#define DAYS_TO_EPOCH 719468

typedef struct {
    const uint8_t *text;
    uint32_t size;
} Key;

typedef struct {
    const uint8_t *run; /* from here up to `at` goes out as it is, and is not copied yet */
    const uint8_t *at;
    const uint8_t *end;
    uint8_t *out;
    size_t used;
    size_t room;
    int no_memory;
    const uint8_t *watch; /* from here up to `watch_end` each watched key: its hash, its size, its text */
    const uint8_t *watch_end;
    uint64_t watched[4]; /* a bit for each hash of these */
    size_t keys_used;
    Key keys[MAX_KEYS];
} Splicer;

/* What the outermost map was asked for. */
typedef struct {
    int no_entity; /* a map with this key may be an event, which is not for this pass */
    Py_ssize_t count;
    uint64_t sizes; /* a bit for each size that a name has */
    const char *text[MAX_NAMES];
    Py_ssize_t size[MAX_NAMES];
    PyObject *name[MAX_NAMES];
    PyObject *found;
} Wanted;

/* --- output ----------------------------------------------------------------------------------------------------- */

static int reserve(Splicer *s, size_t more)
{
    if (s->room - s->used >= more) {
        return 1;
    }
    size_t room = s->room;
    while (room - s->used < more) {
        if (room > PY_SSIZE_T_MAX / 2) {
            s->no_memory = 1;
            return 0;
        }
        room *= 2;
    }
    uint8_t *grown = PyMem_Realloc(s->out, room);
    if (grown == NULL) {
        s->no_memory = 1;
        return 0;
    }
    s->out = grown;
    s->room = room;
    return 1;
}

static int copy(Splicer *s, const uint8_t *from, size_t size)
{
    if (!reserve(s, size)) {
        return 0;
    }
    memcpy(s->out + s->used, from, size);
    s->used += size;
    return 1;
}

/* Copy what goes out as it is, up to here. */
static int copy_run(Splicer *s, const uint8_t *here)
{
    size_t size = (size_t)(here - s->run);
    s->run = here;
    return copy(s, here - size, size);
}

static int string_head(Splicer *s, size_t size)
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

static int base64(Splicer *s, const uint8_t *from, size_t size)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t text = (size + 2) / 3 * 4;
    if (!string_head(s, text) || !reserve(s, text)) {
        return 0;
    }
    uint8_t *to = s->out + s->used;
    s->used += text;
    for (; size >= 3; size -= 3, from += 3, to += 4) {
        uint32_t bits = (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2];
        to[0] = (uint8_t)letters[bits >> 18];
        to[1] = (uint8_t)letters[bits >> 12 & 63];
        to[2] = (uint8_t)letters[bits >> 6 & 63];
        to[3] = (uint8_t)letters[bits & 63];
    }
    if (size > 0) {
        uint32_t bits = (uint32_t)from[0] << 16 | (size > 1 ? (uint32_t)from[1] << 8 : 0);
        to[0] = (uint8_t)letters[bits >> 18];
        to[1] = (uint8_t)letters[bits >> 12 & 63];
        to[2] = size > 1 ? (uint8_t)letters[bits >> 6 & 63] : '=';
        to[3] = '=';
    }
    return 1;
}

static uint8_t *digits(uint8_t *to, uint32_t number, int count)
{
    for (int place = count - 1; place >= 0; place--) {
        to[place] = (uint8_t)('0' + number % 10);
        number /= 10;
    }
    return to + count;
}

/* H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days. */
/* Write the time to `text`, which has room for 32; return how long it is, 0 for one that is beyond. */
static size_t rfc3339(uint8_t *text, int64_t seconds, uint32_t ns)
{
    if (seconds < FIRST_SECOND || seconds > LAST_SECOND || ns >= NS_PER_SECOND) {
        return 0;
    }
    int64_t days = seconds / SECONDS_PER_DAY;
    int32_t rest = (int32_t)(seconds % SECONDS_PER_DAY);
    if (rest < 0) {
        rest += SECONDS_PER_DAY;
        days -= 1;
    }
    uint32_t z = (uint32_t)(days + DAYS_TO_EPOCH); /* from year 1 on it is positive */
    uint32_t era = z / 146097;
    uint32_t day_of_era = z - era * 146097;
    uint32_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint32_t month_from_march = (5 * day_of_year + 2) / 153;
    uint32_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    uint32_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    uint32_t year = year_of_era + era * 400 + (month <= 2);

    uint8_t *to = digits(text, year, 4);
    *to++ = '-';
    to = digits(to, month, 2);
    *to++ = '-';
    to = digits(to, day, 2);
    *to++ = 'T';
    to = digits(to, (uint32_t)rest / 3600, 2);
    *to++ = ':';
    to = digits(to, (uint32_t)rest / 60 % 60, 2);
    *to++ = ':';
    to = digits(to, (uint32_t)rest % 60, 2);
    if (ns != 0) {
        *to++ = '.';
        to = digits(to, ns, 9);
        while (to[-1] == '0') {
            to--;
        }
    }
    *to++ = 'Z';
    return (size_t)(to - text);
}

/* --- input ------------------------------------------------------------------------------------------------------ */

static uint64_t big_endian(const uint8_t *from, int size)
{
    uint64_t number = 0;
    for (int place = 0; place < size; place++) {
        number = number << 8 | from[place];
    }
    return number;
}

/* Read a number of `size` bytes that says how much follows. */
static int length(Splicer *s, int size, uint32_t *found)
{
    if (s->end - s->at < size) {
        return 0;
    }
    *found = (uint32_t)big_endian(s->at, size);
    s->at += size;
    return 1;
}

/* Whether it is UTF-8 as Unicode has it: the shortest form, no surrogate, up to U+10FFFF. */
static int is_utf8(const uint8_t *at, size_t size)
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
        if (((first | last) & 0x8080808080808080u) == 0) {
            return 1;
        }
    }
    for (;;) {
        uint64_t eight;
        while (end - at >= 8) {
            memcpy(&eight, at, 8);
            if (eight & 0x8080808080808080u) {
                break;
            }
            at += 8;
        }
        if (size >= 8 && end - at < 8) { /* the last eight, some of them once more */
            memcpy(&eight, end - 8, 8);
            if ((eight & 0x8080808080808080u) == 0) {
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

/* Read the head of a string, and check what follows; leave `at` behind it. */
static int string(Splicer *s, const uint8_t **text, uint32_t *size)
{
    if (s->at == s->end) {
        return 0;
    }
    uint8_t head = *s->at++;
    if (head >= 0xa0 && head <= 0xbf) {
        *size = head & 31;
    } else if (head < 0xd9 || head > 0xdb || !length(s, 1 << (head - 0xd9), size)) {
        return 0;
    }
    if ((size_t)(s->end - s->at) < *size || !is_utf8(s->at, *size)) {
        return 0;
    }
    *text = s->at;
    s->at += *size;
    return 1;
}

/* A place among 256; keys of one map that have the same one are compared. */
static unsigned place_of(const uint8_t *text, uint32_t size)
{
    if (size == 0) {
        return 0;
    }
    return (size * 31u + text[0] * 7u + text[size / 2] * 13u + text[size - 1] * 59u) & 255;
}

/* Whether the values are to be looked at, as they stand under a key that is watched. */
static int is_watched(const Splicer *s, unsigned bit, const uint8_t *text, uint32_t size)
{
    for (const uint8_t *each = s->watch; each < s->watch_end; each += 2 + each[1]) {
        if (each[0] == bit && each[1] == size && memcmp(each + 2, text, size) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Remember a key of the map whose keys begin at `first`; 0 when it is there already, or watched. */
static int new_key(Splicer *s, uint64_t seen[4], size_t first, const uint8_t *text, uint32_t size)
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

static int is(const uint8_t *key, uint32_t size, const char *name)
{
    return size == strlen(name) && memcmp(key, name, size) == 0;
}

/* Keep what a field of the outermost map became, when it was asked for and is a string. */
static int keep(Wanted *wanted, const uint8_t *key, uint32_t key_size, const uint8_t *made, size_t size)
{
    size_t head = made[0] >= 0xa0 && made[0] <= 0xbf ? 1
                  : made[0] >= 0xd9 && made[0] <= 0xdb ? 1 + ((size_t)1 << (made[0] - 0xd9))
                                                       : 0;
    if (head == 0) {
        return 1;
    }
    for (Py_ssize_t each = 0; each < wanted->count; each++) {
        if (wanted->size[each] == (Py_ssize_t)key_size && memcmp(wanted->text[each], key, key_size) == 0) {
            PyObject *text = PyUnicode_DecodeUTF8((const char *)made + head, (Py_ssize_t)(size - head), NULL);
            if (text == NULL) {
                return 0;
            }
            int failed = PyDict_SetItem(wanted->found, wanted->name[each], text);
            Py_DECREF(text);
            return !failed;
        }
    }
    return 1;
}

/* --- values ----------------------------------------------------------------------------------------------------- */

static int value(Splicer *s, int levels);

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
    uint8_t text[32];
    if (s->end - s->at < (ptrdiff_t)size + 1 || (int8_t)*s->at != -1
        || !time_read(s->at + 1, size, &seconds, &ns)) {
        return 0;
    }
    size_t made = rfc3339(text, seconds, ns);
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
    return base64(s, data, size);
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
    int wants = wanted != NULL && wanted->count > 0;
    for (uint32_t each = 0; each < count; each++) {
        const uint8_t *key;
        uint32_t key_size;
        if (!string(s, &key, &key_size) || !new_key(s, seen, first, key, key_size)) {
            return 0;
        }
        if (wanted != NULL && wanted->no_entity && is(key, key_size, "entity")) {
            return 0;
        }
        const uint8_t *from = s->at;
        size_t before = s->used + (size_t)(from - s->run);
        if (!value(s, levels - 1)) {
            return 0;
        }
        if (wants && key_size <= MAX_NAME && wanted->sizes >> key_size & 1) {
            /* What goes out as it is stands in the input still. */
            int as_it_is = s->run <= from;
            const uint8_t *made = as_it_is ? from : s->out + before;
            size_t size = as_it_is ? (size_t)(s->at - from) : s->used - before;
            if (!keep(wanted, key, key_size, made, size)) {
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
        return length(s, 1 << (head - 0xc4), &count) && bytes(s, from, count);
    case 0xc7:
        return length(s, 1, &count) && extension(s, from, count);
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
        return length(s, 2 << (head - 0xdc), &count) && array(s, count, levels);
    case 0xde:
    case 0xdf:
        return length(s, 2 << (head - 0xde), &count) && map(s, count, levels, NULL);
    default:
        break;
    }
    const uint8_t *text;
    uint32_t size;
    s->at = from;
    return string(s, &text, &size);
}

/* A map, which ends where the input does. */
static int whole(Splicer *s, Wanted *wanted)
{
    uint32_t count;
    if (s->at == s->end) {
        return 0;
    }
    uint8_t head = *s->at++;
    if (head >= 0x80 && head <= 0x8f) {
        count = head & 15;
    } else if ((head != 0xde && head != 0xdf) || !length(s, 2 << (head - 0xde), &count)) {
        return 0;
    }
    return map(s, count, MAX_LEVELS, wanted) && s->at == s->end;
}

/* What an event says of itself; where in the input, but for the time. */
typedef struct {
    const uint8_t *encoding, *identity, *type;
    uint32_t encoding_size, identity_size, type_size;
    uint8_t time[32];
    size_t time_size;
    int64_t seconds;
    uint32_t ns;
    unsigned seen;
} Event;

/* The entity of an event is msgpack within bytes: it goes out as a map. */
static int entity(Splicer *s, Wanted *wanted)
{
    const uint8_t *from = s->at, *end = s->end;
    uint32_t size;
    if (s->at == s->end) {
        return 0;
    }
    uint8_t head = *s->at++;
    if (head < 0xc4 || head > 0xc6 || !length(s, 1 << (head - 0xc4), &size) || (size_t)(end - s->at) < size
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
    } else if (head != 0xc7 || !length(s, 1, &size)) {
        return 0;
    }
    if (s->end - s->at < (ptrdiff_t)size + 1 || (int8_t)*s->at != -1
        || !time_read(s->at + 1, size, &event->seconds, &event->ns)) {
        return 0;
    }
    event->time_size = rfc3339(event->time, event->seconds, event->ns);
    s->at += size + 1;
    if (event->time_size == 0 || !copy_run(s, from)) {
        return 0;
    }
    s->run = s->at;
    return string_head(s, event->time_size) && copy(s, event->time, event->time_size);
}

/* The five fields of an event, each once, in any order. */
static int whole_event(Splicer *s, Event *event, Wanted *wanted)
{
    if (s->at == s->end || *s->at++ != 0x85) {
        return 0;
    }
    for (int each = 0; each < 5; each++) {
        const uint8_t *key;
        uint32_t size;
        unsigned field;
        int good;
        if (!string(s, &key, &size)) {
            return 0;
        }
        if (is(key, size, "encoding")) {
            field = 1;
            good = string(s, &event->encoding, &event->encoding_size);
        } else if (is(key, size, "entity")) {
            field = 2;
            good = entity(s, wanted);
        } else if (is(key, size, "identity")) {
            field = 4;
            good = string(s, &event->identity, &event->identity_size);
        } else if (is(key, size, "timestamp")) {
            field = 8;
            good = event_time(s, event);
        } else if (is(key, size, "type")) {
            field = 16;
            good = string(s, &event->type, &event->type_size);
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

/* --- Python ----------------------------------------------------------------------------------------------------- */

static int read_names(PyObject *names, Wanted *wanted)
{
    wanted->count = PyTuple_GET_SIZE(names);
    wanted->sizes = 0;
    if (wanted->count > MAX_NAMES) {
        PyErr_Format(PyExc_ValueError, "splice: %zd names; %d is the most", wanted->count, MAX_NAMES);
        return 0;
    }
    for (Py_ssize_t each = 0; each < wanted->count; each++) {
        PyObject *name = PyTuple_GET_ITEM(names, each);
        Py_ssize_t size;
        const char *text = PyUnicode_AsUTF8AndSize(name, &size);
        if (text == NULL) {
            return 0;
        }
        if (size > MAX_NAME) {
            PyErr_Format(PyExc_ValueError, "splice: %R is longer than %d bytes", name, MAX_NAME);
            return 0;
        }
        wanted->name[each] = name;
        wanted->text[each] = text;
        wanted->size[each] = size;
        wanted->sizes |= (uint64_t)1 << size;
    }
    return 1;
}

/* Take up what `watch` made; it is checked, as anybody can make bytes. */
static int read_watch(PyObject *list, Splicer *s)
{
    memset(s->watched, 0, sizeof s->watched);
    s->watch = s->watch_end = NULL;
    if (list == NULL || PyBytes_GET_SIZE(list) == 0) {
        return 1;
    }
    const uint8_t *from = (const uint8_t *)PyBytes_AS_STRING(list);
    size_t size = (size_t)PyBytes_GET_SIZE(list);
    size_t at = WATCH_HEAD;
    while (at + 2 <= size) {
        at += 2 + (size_t)from[at + 1];
    }
    if (at != size) {
        PyErr_SetString(PyExc_ValueError, "splice: this is not what watch made");
        return 0;
    }
    memcpy(s->watched, from, WATCH_HEAD);
    s->watch = from + WATCH_HEAD;
    s->watch_end = from + size;
    return 1;
}

static PyObject *watch(PyObject *module, PyObject *names)
{
    (void)module;
    uint64_t bits[4] = {0, 0, 0, 0};
    if (!PyTuple_Check(names)) {
        PyErr_SetString(PyExc_TypeError, "watch: a tuple of names is wanted");
        return NULL;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(names);
    Py_ssize_t room = WATCH_HEAD;
    for (Py_ssize_t each = 0; each < count; each++) {
        Py_ssize_t size;
        if (PyUnicode_AsUTF8AndSize(PyTuple_GET_ITEM(names, each), &size) == NULL) {
            return NULL;
        }
        if (size > UINT8_MAX) {
            PyErr_Format(PyExc_ValueError, "watch: %R is longer than 255 bytes", PyTuple_GET_ITEM(names, each));
            return NULL;
        }
        room += 2 + size;
    }
    PyObject *list = PyBytes_FromStringAndSize(NULL, room);
    if (list == NULL) {
        return NULL;
    }
    uint8_t *to = (uint8_t *)PyBytes_AS_STRING(list) + WATCH_HEAD;
    for (Py_ssize_t each = 0; each < count; each++) {
        Py_ssize_t size;
        const char *text = PyUnicode_AsUTF8AndSize(PyTuple_GET_ITEM(names, each), &size);
        unsigned bit = place_of((const uint8_t *)text, (uint32_t)size);
        bits[bit >> 6] |= (uint64_t)1 << (bit & 63);
        *to++ = (uint8_t)bit;
        *to++ = (uint8_t)size;
        memcpy(to, text, (size_t)size);
        to += size;
    }
    memcpy(PyBytes_AS_STRING(list), bits, WATCH_HEAD);
    return list;
}

/* Read the arguments, and begin; 0 with an exception. `s->out` and `wanted->found` are the caller's to free. */
static int begin(Splicer *s, Wanted *wanted, PyObject *const *args, Py_ssize_t count, int no_entity)
{
    wanted->no_entity = no_entity;
    s->out = NULL;
    wanted->found = NULL;
    if (count < 2 || count > 3 || !PyBytes_Check(args[0]) || !PyTuple_Check(args[1])
        || (count == 3 && !PyBytes_Check(args[2]))) {
        PyErr_SetString(PyExc_TypeError, "splice: bytes, a tuple of names and what watch made are wanted");
        return 0;
    }
    if (!read_names(args[1], wanted)) {
        return 0;
    }
    Py_ssize_t size = PyBytes_GET_SIZE(args[0]);
    s->run = s->at = (const uint8_t *)PyBytes_AS_STRING(args[0]);
    s->end = s->at + size;
    s->used = 0;
    s->room = (size_t)size + (size_t)size / 4 + 64; /* the events of the platform grow by 5 to 15% */
    s->no_memory = 0;
    s->keys_used = 0;
    if (!read_watch(count == 3 ? args[2] : NULL, s)) {
        return 0;
    }
    s->out = PyMem_Malloc(s->room);
    if (s->out == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    wanted->found = PyDict_New();
    return wanted->found != NULL;
}

static PyObject *end(Splicer *s, Wanted *wanted, PyObject *answer)
{
    PyMem_Free(s->out);
    Py_XDECREF(wanted->found);
    if (answer == NULL && !PyErr_Occurred()) {
        if (s->no_memory) {
            return PyErr_NoMemory();
        }
        Py_RETURN_NONE;
    }
    return answer;
}

static PyObject *splice(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Splicer s;
    Wanted wanted;
    PyObject *answer = NULL;
    s.no_memory = 0;
    if (begin(&s, &wanted, args, count, 1) && whole(&s, &wanted) && copy_run(&s, s.at)) {
        answer = Py_BuildValue("y#O", (const char *)s.out, (Py_ssize_t)s.used, wanted.found);
    }
    return end(&s, &wanted, answer);
}

static PyObject *splice_event(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Splicer s;
    Wanted wanted;
    Event event = {.seen = 0};
    PyObject *answer = NULL;
    s.no_memory = 0;
    if (begin(&s, &wanted, args, count, 0) && whole_event(&s, &event, &wanted)) {
        answer = Py_BuildValue("y#Os#s#z#LI", (const char *)s.out, (Py_ssize_t)s.used, wanted.found,
                               (const char *)event.identity, (Py_ssize_t)event.identity_size,
                               (const char *)event.type, (Py_ssize_t)event.type_size,
                               event.time_size == 0 ? NULL : (const char *)event.time, (Py_ssize_t)event.time_size,
                               (long long)event.seconds, (unsigned int)event.ns);
    }
    return end(&s, &wanted, answer);
}

PyDoc_STRVAR(splice_doc,
             "splice(data, names, watched=b'', /)\n--\n\n"
             "Return the plain msgpack of one msgpack map, and a dict of those of its fields that are named and become "
             "a string; None where Python values are to decide, or where it may be an event, as it has an entity.\n\n"
             "Args:\n"
             "    data: bytes of one msgpack map.\n"
             "    names: a tuple of up to 32 names, of up to 63 bytes each.\n"
             "    watched: what watch made of the keys, at any depth, whose values Python is to look at.");

PyDoc_STRVAR(watch_doc,
             "watch(names, /)\n--\n\n"
             "Return a list of keys for splice to look out for; each is a text of up to 255 bytes.");

PyDoc_STRVAR(splice_event_doc,
             "splice_event(data, names, watched=b'', /)\n--\n\n"
             "The same for an event, whose entity is msgpack within bytes, and the names those of its fields; after "
             "the dict come identity, type, time as text (or None), and its seconds since 1970 and nanoseconds.");

static PyMethodDef methods[] = {
    {"splice", (PyCFunction)(void (*)(void))splice, METH_FASTCALL, splice_doc},
    {"splice_event", (PyCFunction)(void (*)(void))splice_event, METH_FASTCALL, splice_event_doc},
    {"watch", watch, METH_O, watch_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "nats_fluent._splice",
    .m_doc = "msgpack to plain msgpack in one pass; nats_fluent.plain says what plain is.",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__splice(void)
{
    return PyModuleDef_Init(&module);
}
