/* JSON -> plain msgpack in one pass, without a Python object for each value.
 *
 * It does for one JSON object what nats_fluent.plain's fast_json and fast_pack do together, and answers None where these
 * would have to look closer: the caller then takes the way through Python values, which decides. So whatever is rare,
 * doubtful or broken is None here, and only what publishers write every day is handled:
 *
 *   - strings, checked to be UTF-8, with all escapes but half a surrogate pair; control characters only as escapes;
 *   - null, true, false, integers of 64 bits, and doubles, which CPython's own conversion makes: it rounds correctly;
 *   - arrays, and objects with none of their keys twice, and no escape in a key;
 *   - white space between these.
 *
 * How many items a map or an array has is known at its end, and how long a text with escapes is, too. So one byte is
 * left for the head of the former; where they are more than 15, the items are moved by the two or four bytes that the
 * head takes more. It is the shortest head, as the libraries for msgpack write it.
 *
 * Every read is bounded by `end`, every level by MAX_LEVELS, and memory by a small multiple of the input: what grows most
 * is `1e1`, which becomes 9 bytes.
 */

#include "_splice.h"

#include <math.h>

/* --- output ----------------------------------------------------------------------------------------------------- */

static void put_big_endian(uint8_t *to, uint64_t number, int size)
{
    for (int place = 0; place < size; place++) {
        to[place] = (uint8_t)(number >> 8 * (size - 1 - place));
    }
}

/* A byte that says what follows, and a number of `size` bytes. */
static int put_number(Splicer *s, uint8_t head, uint64_t number, int size)
{
    if (!reserve(s, 9)) {
        return 0;
    }
    s->out[s->used] = head;
    put_big_endian(s->out + s->used + 1, number, size);
    s->used += 1 + (size_t)size;
    return 1;
}

/* Write how many there are of what follows the byte at `head`, which was left for it: a map (0x80) or an array (0x90). */
static int put_count(Splicer *s, size_t head, uint8_t kind, size_t count)
{
    if (count <= 15) {
        s->out[head] = (uint8_t)(kind | count);
        return 1;
    }
    int size = count <= UINT16_MAX ? 2 : 4;
    if (count > UINT32_MAX || !reserve(s, (size_t)size)) {
        return 0;
    }
    uint8_t *items = s->out + head + 1;
    memmove(items + size, items, s->used - head - 1);
    s->used += (size_t)size;
    s->out[head] = (uint8_t)((kind == 0x80 ? 0xde : 0xdc) + (size == 4));
    put_big_endian(items, count, size);
    return 1;
}

/* --- text ------------------------------------------------------------------------------------------------------- */

/* Return the next byte that is no white space, and leave `at` there; 0, which begins nothing, at the end. */
static inline uint8_t next(Splicer *s)
{
    for (; s->at < s->end; s->at++) {
        uint8_t byte = *s->at;
        if (byte > ' ' || (byte != ' ' && byte != '\n' && byte != '\r' && byte != '\t')) {
            return byte;
        }
    }
    return 0;
}

/* A string, whose opening quote is before `at`. */
static int string(Splicer *s)
{
    uint64_t seen = 0;
    const uint8_t *stop = ordinary(s->at, s->end, &seen);
    if (stop == s->end || *stop != '"') {
        return splice_escaped(s, stop, seen);
    }
    const uint8_t *text = s->at;
    size_t size = (size_t)(stop - text);
    s->at = stop + 1;
    return (!(seen & EIGHT(0x80)) || is_utf8(text, size)) && string_head(s, size) && copy(s, text, size);
}

/* --- values ----------------------------------------------------------------------------------------------------- */

static int value(Splicer *s, int levels);
static int inside(Splicer *s, int levels, Wanted *wanted, const Field *field);

static inline int is_digit(const Splicer *s)
{
    return s->at < s->end && *s->at >= '0' && *s->at <= '9';
}

static int digits(Splicer *s)
{
    if (!is_digit(s)) {
        return 0;
    }
    while (is_digit(s)) {
        s->at++;
    }
    return 1;
}

/* A number with a fraction or an exponent, which begins at `from`. */
static int real(Splicer *s, const uint8_t *from)
{
    if (*s->at == '.') {
        s->at++;
        if (!digits(s)) {
            return 0;
        }
    }
    if (s->at < s->end && (*s->at | 0x20) == 'e') {
        s->at++;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-')) {
            s->at++;
        }
        if (!digits(s)) {
            return 0;
        }
    }
    /* The input is that of a bytes object, behind whose end is a NUL: so it stops there, too. */
    char *stop;
    double number = PyOS_string_to_double((const char *)from, &stop, NULL);
    if ((const uint8_t *)stop != s->at || !isfinite(number)) {
        return 0;
    }
    uint64_t bits;
    memcpy(&bits, &number, 8);
    return put_number(s, 0xcb, bits, 8);
}

static int number(Splicer *s)
{
    const uint8_t *from = s->at;
    int minus = *from == '-';
    s->at += minus;
    const uint8_t *first = s->at;
    if (!is_digit(s)) {
        return 0;
    }
    uint64_t size = 0;
    if (*first == '0') {
        s->at++;
    } else {
        for (; is_digit(s); s->at++) {
            size = size * 10 + (uint64_t)(*s->at - '0');
        }
    }
    if (s->at < s->end && (*s->at == '.' || (*s->at | 0x20) == 'e')) {
        return real(s, from);
    }
    /* What has 19 digits is in 64 bits; of 20 digits, what begins with 1 and did not come round to less. */
    ptrdiff_t places = s->at - first;
    if (places > 19 && (places > 20 || *first != '1' || size < 10000000000000000000u)) {
        return 0;
    }
    if (!minus) {
        return size <= 0x7f         ? put(s, (uint8_t)size)
               : size <= UINT8_MAX  ? put_number(s, 0xcc, size, 1)
               : size <= UINT16_MAX ? put_number(s, 0xcd, size, 2)
               : size <= UINT32_MAX ? put_number(s, 0xce, size, 4)
                                    : put_number(s, 0xcf, size, 8);
    }
    uint64_t negative = 0 - size;
    return size <= 0x20          ? put(s, (uint8_t)negative)
           : size <= 0x80        ? put_number(s, 0xd0, negative, 1)
           : size <= 0x8000      ? put_number(s, 0xd1, negative, 2)
           : size <= 0x80000000u ? put_number(s, 0xd2, negative, 4)
                                 : size <= (uint64_t)1 << 63 && put_number(s, 0xd3, negative, 8);
}

static int word(Splicer *s, const char *text, uint8_t made)
{
    size_t size = strlen(text);
    if ((size_t)(s->end - s->at) < size || memcmp(s->at, text, size) != 0) {
        return 0;
    }
    s->at += size;
    return put(s, made);
}

/* The comma or the end of what `last` closes; 0 where it is neither, 1 where an item follows, 2 at the end. */
static int after_item(Splicer *s, uint8_t last)
{
    uint8_t byte = next(s);
    if (byte != ',' && byte != last) {
        return 0;
    }
    s->at++;
    return byte == last ? 2 : 1;
}

/* The items of an array, whose opening bracket is before `at`. */
static int array(Splicer *s, int levels)
{
    size_t head = s->used, count = 0;
    if (!put(s, 0x90)) {
        return 0;
    }
    if (next(s) == ']') {
        s->at++;
        return 1;
    }
    if (levels == 0) {
        return 0;
    }
    for (int more = 1; more == 1;) {
        if (!value(s, levels - 1) || (more = after_item(s, ']')) == 0) {
            return 0;
        }
        count++;
    }
    return put_count(s, head, 0x90, count);
}

/* Read a key with its colon, and write it. */
static int key(Splicer *s, const uint8_t **text, uint32_t *size)
{
    if (next(s) != '"') {
        return 0;
    }
    uint64_t seen = 0;
    const uint8_t *from = s->at + 1, *stop = ordinary(from, s->end, &seen);
    if (stop == s->end || *stop != '"' || (size_t)(stop - from) > UINT32_MAX) {
        return 0;
    }
    *text = from;
    *size = (uint32_t)(stop - from);
    s->at = stop + 1;
    if ((seen & EIGHT(0x80) && !is_utf8(from, *size)) || next(s) != ':') {
        return 0;
    }
    s->at++;
    return string_head(s, *size) && copy(s, from, *size);
}

/* The members of an object, whose opening brace is before `at`. */
static int map(Splicer *s, int levels, Wanted *wanted)
{
    size_t head = s->used, count = 0, first = s->keys_used;
    uint64_t seen[4] = {0, 0, 0, 0};
    if (!put(s, 0x80)) {
        return 0;
    }
    if (next(s) == '}') {
        s->at++;
        return 1;
    }
    if (levels == 0) {
        return 0;
    }
    for (int more = 1; more == 1; count++) {
        const uint8_t *text;
        uint32_t size;
        if (!key(s, &text, &size) || !new_key(s, seen, first, text, size)) {
            return 0;
        }
        size_t before = s->used;
        const Field *field = asked(wanted, text, size);
        if (field == NULL) {
            if (!value(s, levels - 1)) {
                return 0;
            }
        } else if (field->inside != NULL) {
            if (!inside(s, levels - 1, wanted, field)) {
                return 0;
            }
        } else if (!value(s, levels - 1) || !splice_keep(wanted, field, s->out + before, s->used - before)) {
            return 0;
        }
        more = after_item(s, '}');
        if (more == 0) {
            return 0;
        }
    }
    s->keys_used = first;
    return put_count(s, head, 0x80, count);
}

/* An object, of whose fields some are wanted. */
static int inside(Splicer *s, int levels, Wanted *wanted, const Field *field)
{
    if (next(s) != '{' || !splice_enter(wanted, field)) {
        return 0;
    }
    s->at++;
    return map(s, levels, field->inside);
}

static int value(Splicer *s, int levels)
{
    switch (next(s)) {
    case '"':
        s->at++;
        return string(s);
    case '{':
        s->at++;
        return map(s, levels, NULL);
    case '[':
        s->at++;
        return array(s, levels);
    case 't':
        return word(s, "true", 0xc3);
    case 'f':
        return word(s, "false", 0xc2);
    case 'n':
        return word(s, "null", 0xc0);
    default:
        return next(s) != 0 && number(s);
    }
}

int splice_json(Splicer *s, Wanted *wanted)
{
    if (next(s) != '{') {
        return 0;
    }
    s->at++;
    return map(s, MAX_LEVELS, wanted) && next(s) == 0 && s->at == s->end;
}
