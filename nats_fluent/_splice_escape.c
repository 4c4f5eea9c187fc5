/* JSON strings with escapes; they are few, and so they have a way of their own. */

#include "_splice.h"

/* The longest head of a string in msgpack. */
#define MOST_HEAD 5

/* Read four hexadecimal digits; -1 where these are not there. */
static int32_t hexadecimal(const uint8_t *at, const uint8_t *end)
{
    int32_t number = 0;
    if (end - at < 4) {
        return -1;
    }
    for (int place = 0; place < 4; place++) {
        uint8_t digit = at[place], letter = digit | 0x20;
        if (digit >= '0' && digit <= '9') {
            number = number << 4 | (digit - '0');
        } else if (letter >= 'a' && letter <= 'f') {
            number = number << 4 | (letter - 'a' + 10);
        } else {
            return -1;
        }
    }
    return number;
}

/* Write the UTF-8 of a character. */
static int put_character(Splicer *s, uint32_t character)
{
    if (!reserve(s, 4)) {
        return 0;
    }
    uint8_t *to = s->out + s->used;
    if (character < 0x80) {
        *to++ = (uint8_t)character;
    } else {
        if (character < 0x800) {
            *to++ = (uint8_t)(0xc0 | character >> 6);
        } else {
            if (character < 0x10000) {
                *to++ = (uint8_t)(0xe0 | character >> 12);
            } else {
                *to++ = (uint8_t)(0xf0 | character >> 18);
                *to++ = (uint8_t)(0x80 | (character >> 12 & 63));
            }
            *to++ = (uint8_t)(0x80 | (character >> 6 & 63));
        }
        *to++ = (uint8_t)(0x80 | (character & 63));
    }
    s->used = (size_t)(to - s->out);
    return 1;
}

/* What follows a backslash; leave `at` behind it. */
static int escape(Splicer *s)
{
    if (s->at == s->end) {
        return 0;
    }
    switch (*s->at++) {
    case '"':
        return put(s, '"');
    case '\\':
        return put(s, '\\');
    case '/':
        return put(s, '/');
    case 'b':
        return put(s, '\b');
    case 'f':
        return put(s, '\f');
    case 'n':
        return put(s, '\n');
    case 'r':
        return put(s, '\r');
    case 't':
        return put(s, '\t');
    case 'u':
        break;
    default:
        return 0;
    }
    int32_t character = hexadecimal(s->at, s->end);
    if (character < 0 || (character >= 0xdc00 && character <= 0xdfff)) {
        return 0;
    }
    s->at += 4;
    if (character >= 0xd800 && character <= 0xdbff) {
        if (s->end - s->at < 6 || s->at[0] != '\\' || s->at[1] != 'u') {
            return 0;
        }
        int32_t low = hexadecimal(s->at + 2, s->end);
        if (low < 0xdc00 || low > 0xdfff) {
            return 0;
        }
        s->at += 6;
        character = 0x10000 + (character - 0xd800) * 0x400 + (low - 0xdc00);
    }
    return put_character(s, (uint32_t)character);
}

int splice_escaped(Splicer *s, const uint8_t *stop, uint64_t seen)
{
    size_t head = s->used;
    if (!reserve(s, MOST_HEAD)) {
        return 0;
    }
    s->used += MOST_HEAD;
    for (;;) {
        /* No character of UTF-8 goes on behind a backslash or a quote: so each part is looked at for itself. */
        size_t size = (size_t)(stop - s->at);
        if ((seen & EIGHT(0x80) && !is_utf8(s->at, size)) || !copy(s, s->at, size) || stop == s->end) {
            return 0;
        }
        s->at = stop + 1;
        if (*stop == '"') {
            break;
        }
        if (*stop != '\\' || !escape(s)) {
            return 0;
        }
        seen = 0;
        stop = ordinary(s->at, s->end, &seen);
    }
    size_t text = head + MOST_HEAD, size = s->used - text;
    s->used = head;
    if (!string_head(s, size)) {
        return 0;
    }
    memmove(s->out + s->used, s->out + text, size);
    s->used += size;
    return 1;
}
