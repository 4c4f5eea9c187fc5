/* The message frames of a NATS connection, many at a time.
 *
 * It does for `MSG` and `HMSG` what nats_fluent.source.parser does, where they are as nats-server writes them: fields
 * with one space between, numbers of digits, all of the message there, and a subscription that somebody wants. At
 * anything else it stops, and Python decides: another line, a message that is not whole, or what no server sends.
 *
 * Source of the frames: NATS client protocol.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

/* Bytes of the line before a message, at most: nats-server's max_control_line is 4096 by default. */
#define MAX_LINE 8192
/* "MSG", subject, sid, reply subject and size; "HMSG" has the size of the headers besides. */
#define MAX_FIELDS 6
/* Bytes of one message; more no server sends, as nats_fluent.source.parser has it. */
#define MAX_MESSAGE (65LL << 20)
/* Of a number; so many fit into 64 bits. */
#define MAX_DIGITS 18

typedef struct {
    const char *text;
    Py_ssize_t size;
} Field;

/* A message in the bytes that were read; `reply.size` is 0 without one, and `head` -1 without headers. */
typedef struct {
    Field subject;
    Field reply;
    long long sid;
    long long head;
    long long size;
    const char *payload; /* with the headers in front of it */
    const char *next;
} Frame;

static int number(Field field, long long *value)
{
    if (field.size == 0 || field.size > MAX_DIGITS)
        return 0;
    *value = 0;
    for (Py_ssize_t i = 0; i < field.size; i++) {
        if (field.text[i] < '0' || field.text[i] > '9')
            return 0;
        *value = *value * 10 + (field.text[i] - '0');
    }
    return 1;
}

/* Divide a line at its spaces; return how many fields there are, 0 where there are too many or white space is odd. */
static int divide(const char *at, const char *end, Field *fields)
{
    int count = 0;
    while (count < MAX_FIELDS) {
        const char *start = at;
        while (at < end && (unsigned char)*at > ' ')
            at++;
        if (at == start)
            return 0;
        fields[count].text = start;
        fields[count].size = at - start;
        count++;
        if (at == end)
            return count;
        if (*at != ' ')
            return 0;
        at++;
    }
    return 0;
}

/* Read the frame at `at`; return 0 where Python is to decide. */
static int read_frame(const char *at, const char *end, Frame *frame)
{
    Field fields[MAX_FIELDS];
    Py_ssize_t left = end - at;
    const char *stop = memchr(at, '\r', (size_t)(left < MAX_LINE ? left : MAX_LINE));
    if (stop == NULL || end - stop < 2 || stop[1] != '\n')
        return 0;
    int count = divide(at, stop, fields);
    int with_headers = count > 0 && fields[0].size == 4;
    if (count < 4 + with_headers || count > 5 + with_headers || fields[0].size != 3 + with_headers ||
        memcmp(fields[0].text, with_headers ? "HMSG" : "MSG", (size_t)fields[0].size) != 0)
        return 0;
    frame->head = -1;
    if (!number(fields[2], &frame->sid) || !number(fields[count - 1], &frame->size) ||
        (with_headers && !number(fields[count - 2], &frame->head)) || frame->head > frame->size ||
        frame->size > MAX_MESSAGE)
        return 0;
    frame->payload = stop + 2;
    if (end - frame->payload < 2 || frame->size > end - frame->payload - 2)
        return 0;
    frame->next = frame->payload + frame->size + 2;
    frame->subject = fields[1];
    frame->reply = fields[3];
    if (count == 4 + with_headers)
        frame->reply.size = 0;
    return 1;
}

static PyObject *text(Field field)
{
    return PyUnicode_DecodeUTF8(field.text, field.size, "replace");
}

/* What Python gets of a message. */
static PyObject *message(const Frame *frame, PyObject *mark, PyObject *subject)
{
    Py_ssize_t head = frame->head > 0 ? (Py_ssize_t)frame->head : 0;
    PyObject *reply = text(frame->reply);
    PyObject *payload = PyBytes_FromStringAndSize(frame->payload + head, (Py_ssize_t)frame->size - head);
    PyObject *headers = head > 0 ? PyBytes_FromStringAndSize(frame->payload, head) : Py_NewRef(Py_None);
    PyObject *made = NULL;
    if (reply != NULL && payload != NULL && headers != NULL)
        made = PyTuple_Pack(5, mark, subject, reply, payload, headers);
    Py_XDECREF(reply);
    Py_XDECREF(payload);
    Py_XDECREF(headers);
    return made;
}

static PyObject *frames(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 4 || !PyBytes_Check(args[0]) || !PyLong_Check(args[1]) || !PyDict_Check(args[2]) ||
        !PyList_Check(args[3])) {
        PyErr_SetString(PyExc_TypeError, "frames takes bytes, an index, a dict and a list");
        return NULL;
    }
    const char *data = PyBytes_AS_STRING(args[0]);
    Py_ssize_t size = PyBytes_GET_SIZE(args[0]);
    Py_ssize_t at = PyLong_AsSsize_t(args[1]);
    if (at < 0 || at > size) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_IndexError, "not an index of these bytes");
        return NULL;
    }
    Frame frame;
    Field known = {NULL, 0}; /* the subject of the message before, which often is that of the next */
    PyObject *subject = NULL;
    while (read_frame(data + at, data + size, &frame)) {
        PyObject *sid = PyLong_FromLongLong(frame.sid);
        if (sid == NULL)
            goto failed;
        PyObject *mark = PyDict_GetItemWithError(args[2], sid);
        Py_XINCREF(mark);
        Py_DECREF(sid);
        if (mark == NULL) {
            if (PyErr_Occurred())
                goto failed;
            break; /* nobody here wants it */
        }
        if (subject == NULL || known.size != frame.subject.size ||
            memcmp(known.text, frame.subject.text, (size_t)known.size) != 0) {
            Py_XSETREF(subject, text(frame.subject));
            known = frame.subject;
        }
        PyObject *made = subject == NULL ? NULL : message(&frame, mark, subject);
        Py_DECREF(mark);
        if (made == NULL)
            goto failed;
        int appended = PyList_Append(args[3], made);
        Py_DECREF(made);
        if (appended < 0)
            goto failed;
        at = frame.next - data;
    }
    Py_XDECREF(subject);
    return PyLong_FromSsize_t(at);
failed:
    Py_XDECREF(subject);
    return NULL;
}

PyDoc_STRVAR(frames_doc,
             "frames(data, at, marks, messages, /)\n--\n\n"
             "Read whole messages from an index of data on, up to what Python is to decide about, and return the index "
             "of that.\n\n"
             "Args:\n"
             "    data: bytes that came.\n"
             "    at: where a line begins.\n"
             "    marks: a dict by subscription id, of the subscriptions whose messages are read.\n"
             "    messages: a list, which gets a tuple for each: mark, subject, reply subject (or an empty string), "
             "payload, and the header block or None.");

static PyMethodDef methods[] = {
    {"frames", (PyCFunction)(void (*)(void))frames, METH_FASTCALL, frames_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "nats_fluent._frames",
    .m_doc = "The message frames of a NATS connection; nats_fluent.source.parser has the rest.",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__frames(void)
{
    return PyModuleDef_Init(&module);
}
