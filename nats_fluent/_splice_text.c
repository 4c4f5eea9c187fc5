/* What becomes text on its way: times and bytes. */

#include "_splice.h"

#define NS_PER_SECOND 1000000000u
#define SECONDS_PER_DAY 86400
/* 0001-01-01 and 9999-12-31T23:59:59 in seconds since 1970: the years that a datetime holds. */
#define FIRST_SECOND (-62135596800LL)
#define LAST_SECOND 253402300799LL
/* Days from 0000-03-01 to 1970-01-01 in the proleptic Gregorian calendar. */
#define DAYS_TO_EPOCH 719468

int splice_base64(Splicer *s, const uint8_t *from, size_t size)
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
size_t splice_rfc3339(uint8_t *text, int64_t seconds, uint32_t ns)
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
