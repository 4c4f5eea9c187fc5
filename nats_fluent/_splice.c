/* The Python side of the compiled part, `nats_fluent._splice`: arguments, answers, and the keys to look out for. */

#include "_splice.h"

/* Bytes of the set of hashes that a watch list begins with. */
#define WATCH_HEAD 32

int splice_grow(Splicer *s, size_t more)
{
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

/* Return the Python value of a string or a number in plain msgpack; NULL, and no exception, for any other. */
static PyObject *scalar(const uint8_t *made, size_t size)
{
    uint8_t head = made[0];
    if (head <= 0x7f || head >= 0xe0) {
        return PyLong_FromLong((int8_t)head);
    }
    if ((head >= 0xa0 && head <= 0xbf) || (head >= 0xd9 && head <= 0xdb)) {
        size_t before = head <= 0xbf ? 1 : 1 + ((size_t)1 << (head - 0xd9));
        return PyUnicode_DecodeUTF8((const char *)made + before, (Py_ssize_t)(size - before), NULL);
    }
    if (head >= 0xcc && head <= 0xcf) {
        return PyLong_FromUnsignedLongLong(big_endian(made + 1, 1 << (head - 0xcc)));
    }
    if (head >= 0xd0 && head <= 0xd3) {
        int bytes = 1 << (head - 0xd0);
        uint64_t sign = (uint64_t)1 << (8 * bytes - 1);
        return PyLong_FromLongLong((int64_t)((big_endian(made + 1, bytes) ^ sign) - sign));
    }
    if (head == 0xcb) {
        double number;
        uint64_t bits = big_endian(made + 1, 8);
        memcpy(&number, &bits, 8);
        return PyFloat_FromDouble(number);
    }
    return NULL;
}

int splice_keep(Wanted *wanted, const Field *field, const uint8_t *made, size_t size)
{
    PyObject *value = scalar(made, size);
    if (value == NULL) {
        return !PyErr_Occurred();
    }
    int failed = PyDict_SetItem(wanted->found, field->name, value);
    Py_DECREF(value);
    return !failed;
}

int splice_enter(Wanted *wanted, const Field *field)
{
    PyObject *found = PyDict_New();
    if (found == NULL) {
        return 0;
    }
    int failed = PyDict_SetItem(wanted->found, field->name, found);
    Py_DECREF(found);
    field->inside->found = found;
    return !failed;
}

/* Read the names of fields, a tuple, into `wanted`. A pair of a name and such a tuple is of the fields of the map that
 * the field holds, for which one of those from `*spare` up to `end` is taken. */
static int read_names(PyObject *names, Wanted *wanted, Wanted **spare, const Wanted *end)
{
    wanted->no_entity = 0;
    wanted->found = NULL;
    wanted->count = PyTuple_GET_SIZE(names);
    wanted->sizes = 0;
    if (wanted->count > MAX_NAMES) {
        PyErr_Format(PyExc_ValueError, "splice: %zd names; %d is the most", wanted->count, MAX_NAMES);
        return 0;
    }
    for (Py_ssize_t each = 0; each < wanted->count; each++) {
        Field *field = &wanted->fields[each];
        PyObject *name = PyTuple_GET_ITEM(names, each);
        field->inside = NULL;
        if (PyTuple_Check(name)) {
            if (PyTuple_GET_SIZE(name) != 2 || !PyTuple_Check(PyTuple_GET_ITEM(name, 1))) {
                PyErr_SetString(PyExc_TypeError, "splice: a name, or a name and a tuple of names, is wanted");
                return 0;
            }
            if (*spare == end) {
                PyErr_Format(PyExc_ValueError, "splice: names of more than %d maps", MAX_MAPS);
                return 0;
            }
            field->inside = (*spare)++;
            if (!read_names(PyTuple_GET_ITEM(name, 1), field->inside, spare, end)) {
                return 0;
            }
            name = PyTuple_GET_ITEM(name, 0);
        }
        field->text = PyUnicode_AsUTF8AndSize(name, &field->size);
        if (field->text == NULL) {
            return 0;
        }
        if (field->size > MAX_NAME) {
            PyErr_Format(PyExc_ValueError, "splice: %R is longer than %d bytes", name, MAX_NAME);
            return 0;
        }
        field->name = name;
        wanted->sizes |= (uint64_t)1 << field->size;
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

/* Read the arguments, and begin; 0 with an exception. `s->out` and what is found are for `end` to free. */
static int begin(Splicer *s, Wanted wanted[MAX_MAPS], PyObject *const *args, Py_ssize_t count)
{
    s->no_memory = 0;
    s->out = NULL;
    wanted->found = NULL;
    if (count < 2 || count > 3 || !PyBytes_Check(args[0]) || !PyTuple_Check(args[1])
        || (count == 3 && !PyBytes_Check(args[2]))) {
        PyErr_SetString(PyExc_TypeError, "splice: bytes, a tuple of names and what watch made are wanted");
        return 0;
    }
    Wanted *spare = wanted + 1;
    if (!read_names(args[1], wanted, &spare, wanted + MAX_MAPS)) {
        return 0;
    }
    Py_ssize_t size = PyBytes_GET_SIZE(args[0]);
    s->run = s->at = (const uint8_t *)PyBytes_AS_STRING(args[0]);
    s->end = s->at + size;
    s->used = 0;
    s->room = (size_t)size + (size_t)size / 4 + 64; /* the events of the platform grow by 5 to 15% */
    s->comparisons = LEAST_COMPARISONS + COMPARISONS_PER_BYTE * (size_t)size;
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

static PyObject *of_map(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Splicer s;
    Wanted wanted[MAX_MAPS];
    PyObject *answer = NULL;
    if (begin(&s, wanted, args, count)) {
        wanted->no_entity = 1;
        if (splice_msgpack(&s, wanted)) {
            answer = Py_BuildValue("y#O", (const char *)s.out, (Py_ssize_t)s.used, wanted->found);
        }
    }
    return end(&s, wanted, answer);
}

static PyObject *of_event(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Splicer s;
    Wanted wanted[MAX_MAPS];
    Event event = {.seen = 0};
    PyObject *answer = NULL;
    if (begin(&s, wanted, args, count) && splice_msgpack_event(&s, &event, wanted)) {
        answer = Py_BuildValue("y#Os#s#z#LI", (const char *)s.out, (Py_ssize_t)s.used, wanted->found,
                               (const char *)event.identity, (Py_ssize_t)event.identity_size,
                               (const char *)event.type, (Py_ssize_t)event.type_size,
                               event.time_size == 0 ? NULL : (const char *)event.time, (Py_ssize_t)event.time_size,
                               (long long)event.seconds, (unsigned int)event.ns);
    }
    return end(&s, wanted, answer);
}

static PyObject *of_json(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    Splicer s;
    Wanted wanted[MAX_MAPS];
    PyObject *answer = NULL;
    if (begin(&s, wanted, args, count) && splice_json(&s, wanted)) {
        answer = Py_BuildValue("y#O", (const char *)s.out, (Py_ssize_t)s.used, wanted->found);
    }
    return end(&s, wanted, answer);
}

static PyObject *time_ns(PyObject *module, PyObject *text)
{
    (void)module;
    if (!PyUnicode_Check(text)) {
        PyErr_SetString(PyExc_TypeError, "time_ns: a text is wanted");
        return NULL;
    }
    int64_t ns = -1;
    if (PyUnicode_IS_COMPACT_ASCII(text)) {
        ns = splice_time_ns(PyUnicode_1BYTE_DATA(text), (size_t)PyUnicode_GET_LENGTH(text));
    }
    if (ns < 0) {
        Py_RETURN_NONE;
    }
    return PyLong_FromLongLong(ns);
}

PyDoc_STRVAR(splice_doc,
             "splice(data, names, watched=b'', /)\n--\n\n"
             "Return the plain msgpack of one msgpack map, and a dict of those of its fields that are named and become "
             "a string or a number; None where Python values are to decide, or where it may be an event, as it has an "
             "entity.\n\n"
             "Args:\n"
             "    data: bytes of one msgpack map.\n"
             "    names: a tuple of up to 32 names, of up to 63 bytes each. A name and such a tuple, as a pair, are of "
             "the fields of a map that the field holds, which come as a dict; where it holds anything else, the answer "
             "is None. There are names of 8 maps at most.\n"
             "    watched: what watch made of the keys, at any depth, whose values Python is to look at.");

PyDoc_STRVAR(watch_doc,
             "watch(names, /)\n--\n\n"
             "Return a list of keys for splice to look out for; each is a text of up to 255 bytes.");

PyDoc_STRVAR(splice_event_doc,
             "splice_event(data, names, watched=b'', /)\n--\n\n"
             "The same for an event, whose entity is msgpack within bytes, and the names those of its fields; after "
             "the dict come identity, type, time as text (or None), and its seconds since 1970 and nanoseconds.");

PyDoc_STRVAR(splice_json_doc,
             "splice_json(data, names, watched=b'', /)\n--\n\n"
             "The same for one JSON object, whether it is an event or not.");

PyDoc_STRVAR(time_ns_doc,
             "time_ns(text, /)\n--\n\n"
             "Return the nanoseconds since 1970 of an RFC 3339 time in UTC, of the years 1970 to 2261; None for all "
             "else.");

static PyMethodDef methods[] = {
    {"splice", (PyCFunction)(void (*)(void))of_map, METH_FASTCALL, splice_doc},
    {"splice_event", (PyCFunction)(void (*)(void))of_event, METH_FASTCALL, splice_event_doc},
    {"splice_json", (PyCFunction)(void (*)(void))of_json, METH_FASTCALL, splice_json_doc},
    {"time_ns", time_ns, METH_O, time_ns_doc},
    {"watch", watch, METH_O, watch_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "nats_fluent._splice",
    .m_doc = "msgpack and JSON to plain msgpack in one pass; nats_fluent.plain says what plain is.",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__splice(void)
{
    return PyModuleDef_Init(&module);
}
