/* The Python side of the compiled part, `nats_fluent._splice`: arguments and answers. */

#include "_splice.h"

/* How the Go libraries begin an event, and no object of theirs: nats_fluent.publication.EVENT_HEAD. */
#define EVENT_HEAD "\x85\xa8" "encoding"
#define NS 1000000000
/* Seconds since 1970 whose nanoseconds are of 64 bits. */
#define MOST_SECONDS 9223372035

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

/* Begin to read, and take up what is to be looked out for; 0 with an exception. */
static int begin(Splicer *s, PyObject *data, PyObject *watched)
{
    Py_ssize_t size = PyBytes_GET_SIZE(data);
    s->no_memory = 0;
    s->out = NULL;
    s->run = s->at = (const uint8_t *)PyBytes_AS_STRING(data);
    s->end = s->at + size;
    s->used = 0;
    s->room = (size_t)size + (size_t)size / 4 + 64; /* the events of the platform grow by 5 to 15% */
    s->comparisons = LEAST_COMPARISONS + COMPARISONS_PER_BYTE * (size_t)size;
    s->keys_used = 0;
    return splice_read_watch(s, watched);
}

/* Make ready for what is found, and for what goes out; 0 with an exception. Both are for `end` to free. */
static int want(Splicer *s, Wanted wanted[MAX_MAPS], PyObject *names)
{
    Wanted *spare = wanted + 1;
    if (!read_names(names, wanted, &spare, wanted + MAX_MAPS)) {
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

/* One map, read by `reader`. */
static PyObject *of_map(int (*reader)(Splicer *, Wanted *), int no_entity, PyObject *const *args, Py_ssize_t count)
{
    if (count < 2 || count > 3 || !PyBytes_Check(args[0]) || !PyTuple_Check(args[1])
        || (count == 3 && !PyBytes_Check(args[2]))) {
        PyErr_SetString(PyExc_TypeError, "splice: bytes, a tuple of names and what watch made are wanted");
        return NULL;
    }
    Splicer s;
    Wanted wanted[MAX_MAPS];
    PyObject *answer = NULL;
    wanted->found = NULL;
    if (begin(&s, args[0], count == 3 ? args[2] : NULL) && want(&s, wanted, args[1])) {
        wanted->no_entity = no_entity;
        if (reader(&s, wanted)) {
            answer = Py_BuildValue("y#O", (const char *)s.out, (Py_ssize_t)s.used, wanted->found);
        }
    }
    return end(&s, wanted, answer);
}

static PyObject *of_msgpack(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    return of_map(splice_msgpack, 1, args, count);
}

static PyObject *of_json(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    return of_map(splice_json, 0, args, count);
}

static PyObject *text_of(const uint8_t *text, size_t size)
{
    return PyUnicode_DecodeUTF8((const char *)text, (Py_ssize_t)size, NULL);
}

/* Read what is in an envelope into `s` and `wanted`; 0 where there is no answer. */
static int read_data(Splicer *s, const Envelope *envelope, Event *event, Wanted *wanted, PyObject *names)
{
    s->run = s->at = envelope->data;
    s->end = s->at + envelope->size;
    if (!envelope->msgpack) {
        return want(s, wanted, PyTuple_GET_ITEM(names, 2)) && splice_json(s, wanted);
    }
    if (envelope->size >= sizeof EVENT_HEAD - 1 && memcmp(s->at, EVENT_HEAD, sizeof EVENT_HEAD - 1) == 0) {
        return want(s, wanted, PyTuple_GET_ITEM(names, 0)) && splice_msgpack_event(s, event, wanted)
               && event->seconds >= -MOST_SECONDS && event->seconds <= MOST_SECONDS;
    }
    if (!want(s, wanted, PyTuple_GET_ITEM(names, 1))) {
        return 0;
    }
    wanted->no_entity = 1;
    return splice_msgpack(s, wanted);
}

static PyObject *of_publication(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 3 || !PyBytes_Check(args[0]) || !PyTuple_Check(args[1]) || PyTuple_GET_SIZE(args[1]) != 3
        || !PyBytes_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "splice: bytes, three tuples of names and what watch made are wanted");
        return NULL;
    }
    for (Py_ssize_t each = 0; each < 3; each++) {
        if (!PyTuple_Check(PyTuple_GET_ITEM(args[1], each))) {
            PyErr_SetString(PyExc_TypeError, "splice: each of the names is to be a tuple");
            return NULL;
        }
    }
    Splicer s;
    Wanted wanted[MAX_MAPS];
    Envelope envelope;
    Event event = {.seen = 0};
    PyObject *answer = NULL;
    wanted->found = NULL;
    if (begin(&s, args[0], args[2]) && splice_envelope(&s, &envelope)
        && read_data(&s, &envelope, &event, wanted, args[1])) {
        int timed = event.time_size != 0;
        answer = Py_BuildValue("NNONNNN", PyBool_FromLong(envelope.ack_asked),
                               PyBytes_FromStringAndSize((const char *)s.out, (Py_ssize_t)s.used), wanted->found,
                               event.seen ? text_of(event.identity, event.identity_size) : Py_NewRef(Py_None),
                               event.seen ? text_of(event.type, event.type_size) : Py_NewRef(Py_None),
                               timed ? text_of(event.time, event.time_size) : Py_NewRef(Py_None),
                               timed ? PyLong_FromLongLong(event.seconds * NS + event.ns) : Py_NewRef(Py_None));
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

PyDoc_STRVAR(splice_publication_doc,
             "splice_publication(payload, names, watched, /)\n--\n\n"
             "Return what is in a publication: whether its publisher waits for an answer; its content as plain msgpack; "
             "a dict of named fields; of an event in msgpack its identity, type, time as text and in nanoseconds since "
             "1970, else None for each. Or None where Python values are to decide.\n\n"
             "Args:\n"
             "    payload: bytes of a publication, whose envelope is msgpack.\n"
             "    names: three tuples as of splice: for the entity of an event in msgpack, for any other object in "
             "msgpack, and for an object or an event in JSON.\n"
             "    watched: what watch made.");

PyDoc_STRVAR(splice_json_doc,
             "splice_json(data, names, watched=b'', /)\n--\n\n"
             "The same for one JSON object, whether it is an event or not.");

PyDoc_STRVAR(time_ns_doc,
             "time_ns(text, /)\n--\n\n"
             "Return the nanoseconds since 1970 of an RFC 3339 time in UTC, of the years 1970 to 2261; None for all "
             "else.");

PyDoc_STRVAR(record_doc,
             "record(head, fields, content, /)\n--\n\n"
             "Return the msgpack of a map: the fields that `head` has, the `fields`, and `content`.\n\n"
             "Args:\n"
             "    head: the msgpack of a map of up to 15 fields.\n"
             "    fields: a dict of texts and of integers that are not negative; where there is anything else, or the "
             "map would have more than 15 fields, the answer is None.\n"
             "    content: the msgpack of what the field `content` holds.");

static PyMethodDef methods[] = {
    {"record", (PyCFunction)(void (*)(void))splice_record, METH_FASTCALL, record_doc},
    {"splice", (PyCFunction)(void (*)(void))of_msgpack, METH_FASTCALL, splice_doc},
    {"splice_json", (PyCFunction)(void (*)(void))of_json, METH_FASTCALL, splice_json_doc},
    {"splice_publication", (PyCFunction)(void (*)(void))of_publication, METH_FASTCALL, splice_publication_doc},
    {"time_ns", time_ns, METH_O, time_ns_doc},
    {"watch", splice_watch, METH_O, watch_doc},
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
