/* The record of a publication: what it begins with, some fields, and the content that a reader made. */

#include "_splice.h"

/* What the first byte of a map, a number or a string can hold. */
#define MOST_FIELDS 15
#define MOST_FIXED_NUMBER 127
#define MOST_FIXED_STRING 31

static const uint8_t CONTENT[] = "\xa7" "content";

/* How many bytes a number takes in a head that holds it itself up to `most`. */
static int number_size(uint64_t number, uint64_t most)
{
    return number <= most ? 0 : number <= UINT8_MAX ? 1 : number <= UINT16_MAX ? 2 : number <= UINT32_MAX ? 4 : 8;
}

/* Write a head: `fixed` with the number in it, or the one of those from `first` on whose number has that size. */
static uint8_t *put_head(uint8_t *to, unsigned fixed, unsigned first, uint64_t number, int size)
{
    if (size == 0) {
        *to++ = (uint8_t)(fixed | number);
        return to;
    }
    *to++ = (uint8_t)(first + (unsigned)((size > 1) + (size > 2) + (size > 4)));
    for (int place = 8 * size - 8; place >= 0; place -= 8) {
        *to++ = (uint8_t)(number >> place);
    }
    return to;
}

/* Return how many bytes it takes, of a string or a number that is not negative; -1 for all else. */
static Py_ssize_t size_of(PyObject *value)
{
    if (PyUnicode_CheckExact(value)) {
        Py_ssize_t size;
        if (PyUnicode_AsUTF8AndSize(value, &size) != NULL && (uint64_t)size <= UINT32_MAX) {
            return 1 + number_size((uint64_t)size, MOST_FIXED_STRING) + size;
        }
    } else if (PyLong_CheckExact(value)) {
        unsigned long long number = PyLong_AsUnsignedLongLong(value);
        if (number != (unsigned long long)-1 || !PyErr_Occurred()) {
            return 1 + number_size(number, MOST_FIXED_NUMBER);
        }
    }
    return -1;
}

/* Write what has a size. */
static uint8_t *put_value(uint8_t *to, PyObject *value)
{
    if (PyLong_CheckExact(value)) {
        uint64_t number = PyLong_AsUnsignedLongLong(value);
        return put_head(to, 0, 0xcc, number, number_size(number, MOST_FIXED_NUMBER));
    }
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(value, &size);
    to = put_head(to, 0xa0, 0xd9, (uint64_t)size, number_size((uint64_t)size, MOST_FIXED_STRING));
    memcpy(to, text, (size_t)size);
    return to + size;
}

PyObject *splice_record(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 3 || !PyBytes_Check(args[0]) || PyBytes_GET_SIZE(args[0]) == 0 || !PyDict_CheckExact(args[1])
        || !PyBytes_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "record: bytes of a map, a dict and bytes of the content are wanted");
        return NULL;
    }
    const uint8_t *head = (const uint8_t *)PyBytes_AS_STRING(args[0]);
    Py_ssize_t fields = (head[0] & 15) + PyDict_GET_SIZE(args[1]) + 1;
    Py_ssize_t size = PyBytes_GET_SIZE(args[0]) + (Py_ssize_t)sizeof CONTENT - 1 + PyBytes_GET_SIZE(args[2]);
    Py_ssize_t place = 0;
    PyObject *key, *value;
    if (head[0] >> 4 != 8 || fields > MOST_FIELDS) {
        Py_RETURN_NONE;
    }
    while (PyDict_Next(args[1], &place, &key, &value)) {
        Py_ssize_t key_size = PyUnicode_CheckExact(key) ? size_of(key) : -1;
        Py_ssize_t value_size = key_size < 0 ? -1 : size_of(value);
        if (value_size < 0) {
            if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_MemoryError)) {
                return NULL;
            }
            PyErr_Clear(); /* half a surrogate pair, or a number of more than 64 bits, or a negative one */
            Py_RETURN_NONE;
        }
        size += key_size + value_size;
    }
    PyObject *made = PyBytes_FromStringAndSize(NULL, size);
    if (made == NULL) {
        return NULL;
    }
    uint8_t *to = (uint8_t *)PyBytes_AS_STRING(made);
    memcpy(to, head, (size_t)PyBytes_GET_SIZE(args[0]));
    *to = (uint8_t)(0x80 | fields);
    to += PyBytes_GET_SIZE(args[0]);
    place = 0;
    while (PyDict_Next(args[1], &place, &key, &value)) {
        to = put_value(put_value(to, key), value);
    }
    memcpy(to, CONTENT, sizeof CONTENT - 1);
    memcpy(to + sizeof CONTENT - 1, PyBytes_AS_STRING(args[2]), (size_t)PyBytes_GET_SIZE(args[2]));
    return made;
}
