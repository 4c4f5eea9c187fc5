/* Times to text and back, and bytes to text. */

#include "_splice.h"

#define NS_PER_SECOND 1000000000u
#define SECONDS_PER_DAY 86400
/* 0001-01-01 and 9999-12-31T23:59:59 in seconds since 1970: the years that a datetime holds. */
#define FIRST_SECOND (-62135596800LL)
#define LAST_SECOND 253402300799LL
/* The last whole year that 64 bits hold the nanoseconds of. */
#define LAST_YEAR 2261
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

/* Read so many digits, of a number that is not above `most`; -1 where there is none. */
static int32_t read_digits(const uint8_t *at, int count, int32_t most)
{
    int32_t number = 0;
    for (int place = 0; place < count; place++) {
        if (at[place] < '0' || at[place] > '9') {
            return -1;
        }
        number = number * 10 + (at[place] - '0');
    }
    return number <= most ? number : -1;
}

/* As Go and most others write it: 2019-06-12T21:38:02.268588Z, with or without a fraction. -1 for all else. */
int64_t splice_time_ns(const uint8_t *text, size_t size)
{
    if (size < 20 || text[4] != '-' || text[7] != '-' || text[10] != 'T' || text[13] != ':' || text[16] != ':'
        || text[size - 1] != 'Z') {
        return -1;
    }
    int32_t year = read_digits(text, 4, LAST_YEAR), month = read_digits(text + 5, 2, 12);
    int32_t day = read_digits(text + 8, 2, 31), hour = read_digits(text + 11, 2, 23);
    int32_t minute = read_digits(text + 14, 2, 59), second = read_digits(text + 17, 2, 59);
    if (year < 1970 || month < 1 || day < 1 || hour < 0 || minute < 0 || second < 0) {
        return -1;
    }
    int leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (day > (month == 2 ? 28 + leap : 30 + ((month + (month >> 3)) & 1))) {
        return -1;
    }
    int32_t ns = 0;
    if (size > 20) {
        size_t digits = size - 21;
        if (text[19] != '.' || digits == 0) {
            return -1;
        }
        for (size_t place = 0; place < digits || place < 9; place++) {
            int32_t digit = place < digits ? read_digits(text + 20 + place, 1, 9) : 0;
            if (digit < 0) {
                return -1;
            }
            if (place < 9) { /* the others are cut off */
                ns = ns * 10 + digit;
            }
        }
    }
    /* H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil; years begin in March. */
    int32_t from_march = month > 2 ? month - 3 : month + 9;
    int32_t years = year - (month <= 2);
    int32_t days = years * 365 + years / 4 - years / 100 + years / 400 + (153 * from_march + 2) / 5 + day - 1;
    int64_t seconds = (int64_t)(days - DAYS_TO_EPOCH) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second;
    return seconds * NS_PER_SECOND + ns;
}
