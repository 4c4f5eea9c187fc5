/* The keys to look out for: what `watch` makes of them, and what a reader takes up of that. */

#include "_splice.h"

/* Bytes of the set of hashes that a watch list begins with. */
#define WATCH_HEAD 32

/* Take up what `watch` made; it is checked, as anybody can make bytes. */
int splice_read_watch(Splicer *s, PyObject *list)
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

PyObject *splice_watch(PyObject *module, PyObject *names)
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
