r"""Chunks on disk: a directory that one process has for itself, and a file for each chunk.

A file is written whole under another name and then renamed, so that it is there complete or not at all. It is::

    NFCHUNK \x01                    magic, and the version of what follows
    length of the header, its CRC   4 bytes each, most significant first
    header                          msgpack: the chunk's id, tag and counts, the length of its entries and their CRC
    entries                         as they travel to the log shipper

The CRCs are those of zlib. The name is the chunk's number in 16 digits and ``.chunk``. What has such a name and is no
whole chunk is renamed to end in ``.bad``, and left for a person to look at.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import struct
import tempfile
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from nats_fluent.backlog import Stored, footprint
from nats_fluent.delivery import Chunk
from nats_fluent.errors import SettingsError, SpoolError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"NFCHUNK"
VERSION = 1
LOCK = "lock"
CHUNK, TEMPORARY, BAD = ".chunk", ".tmp", ".bad"

LOCK_WITHIN = 1.0
"""Seconds in which a process that is ending may still give up the directory."""

PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN})
"""Reasons for which a file cannot be read that say nothing about the file."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Reasons for which nothing can be written until there is room."""

_PREFIX = struct.Struct(">7sBII")
_NAME = re.compile(r"(\d{16})\.chunk(\.tmp|\.bad)?")
_MODE = 0o600  # records are nobody else's business


class _Header(msgspec.Struct, frozen=True):
    id: str
    tag: str
    count: int
    undecodable: int
    length: int
    crc: int


class Found(NamedTuple):
    """What was in the directory at the start.

    Attributes:
        chunks: in order.
        next_number: greater than that of any file.
        aside: files that were no whole chunks, each with the reason; they are renamed.
        foreign: names of other files, which are left alone.
    """

    chunks: list[Stored]
    next_number: int
    aside: list[tuple[str, str]]
    foreign: list[str]


class Inside(NamedTuple):
    """What is in a directory that this process does not hold.

    Attributes:
        chunks: how many.
        records: how many in all of them.
        size: bytes that they take on disk.
        bad: files that were set aside, or would be.
    """

    chunks: int
    records: int
    size: int
    bad: int


class Spool:
    """The directory. Every method may block; none is called by two threads at once.

    Args:
        directory: made where it is not there.
        fsync: whether what is written survives a crash of the machine, or of this process only.
    """

    def __init__(self, directory: str, *, fsync: bool) -> None:
        self.directory = Path(directory)
        self._fsync = fsync
        self._lock = -1
        self._handle = -1

    def open(self) -> Found:
        """Take the directory, and find what is in it.

        Raises:
            SettingsError: it cannot be used, or another process has it.
        """
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._handle = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
            self._take()
            _probe(self.directory)
            return self._find()
        except OSError as error:
            self.close()
            raise _unusable(self.directory, error) from error
        except SettingsError:
            self.close()
            raise

    def close(self) -> None:
        """Give the directory up."""
        for descriptor in (self._handle, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._handle = self._lock = -1

    def write(self, number: int, chunk: Chunk) -> Stored:
        """Write a chunk.

        Raises:
            OSError: it cannot be; nothing of it is left there.
        """
        path = self.path(number)
        temporary = path.with_suffix(CHUNK + TEMPORARY)
        head = encode_head(chunk)
        try:
            written = self._write(temporary, [head, chunk.entries])
            temporary.rename(path)
            if self._fsync:
                os.fsync(self._handle)
        except OSError:
            for each in (temporary, path):
                with contextlib.suppress(OSError):
                    each.unlink()
            raise
        size = footprint(len(head) + len(chunk.entries))
        return Stored(number, chunk.count, chunk.undecodable, len(chunk.entries), size, written)

    def _write(self, path: Path, parts: list[bytes]) -> float:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
        try:
            for part in parts:
                left = memoryview(part)
                while left:
                    left = left[os.write(descriptor, left) :]
            if self._fsync:
                os.fsync(descriptor)
            return os.fstat(descriptor).st_mtime
        finally:
            os.close(descriptor)

    def read(self, stored: Stored) -> Chunk:
        """Read a chunk.

        Raises:
            SpoolError: the file is no whole chunk.
            OSError: it cannot be read.
        """
        chunk = decode(self.path(stored.number).read_bytes())
        if (chunk.count, chunk.undecodable, len(chunk.entries)) != (
            stored.count,
            stored.undecodable,
            stored.length,
        ):
            raise SpoolError("foreign: it is another chunk than the one that was written")
        return chunk

    def remove(self, stored: Stored) -> None:
        """Remove a chunk. Without fsync of the directory: what comes back after a crash of the machine is sent twice.

        Raises:
            OSError: it cannot be.
        """
        self.path(stored.number).unlink(missing_ok=True)

    def set_aside(self, number: int) -> None:
        """Rename what is no whole chunk.

        Raises:
            OSError: it cannot be.
        """
        path = self.path(number)
        path.rename(path.with_suffix(CHUNK + BAD))

    def path(self, number: int) -> Path:
        """Return where the chunk of that number is."""
        return self.directory / f"{number:016}{CHUNK}"

    def _take(self) -> None:
        """Lock the directory, against every process on machines that share it with working locks."""
        self._lock = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT, _MODE)
        deadline = time.monotonic() + LOCK_WITHIN
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    holder = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
                    raise SettingsError(
                        f"spool.dir: {self.directory} is in use by another process (pid {holder}); "
                        "give each a directory of its own"
                    ) from error
                time.sleep(
                    LOCK_WITHIN / 20
                )  # flock() would wait for ever; this runs in the spool's own thread
            else:
                break
        with contextlib.suppress(OSError):  # a full disk; the number is for people only
            os.pwrite(self._lock, b"%-10d\n" % os.getpid(), 0)

    def _find(self) -> Found:
        found = Found([], 1, [], [])
        last = 0
        for path, number, ending in _files(self.directory):
            last = max(last, number)
            if number < 0:
                found.foreign.append(path.name)
            elif ending == TEMPORARY:
                path.unlink()  # its chunk was never said to be on disk
            elif ending != BAD:
                try:
                    found.chunks.append(read_stored(path, number))
                except PermissionError:
                    raise  # it may be good, and whoever started this can see to it
                except (SpoolError, OSError) as error:
                    with contextlib.suppress(OSError):
                        self.set_aside(number)
                    found.aside.append((path.name, str(error)))
        found.chunks.sort(key=lambda stored: stored.number)
        return found._replace(next_number=last + 1)


def _files(directory: Path) -> Iterator[tuple[Path, int, str]]:
    """Yield each file with its number, -1 where it has none, and the ending that follows ``.chunk``."""
    for path in sorted(directory.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match:
            yield path, int(match[1]), match[2] or ""
        elif path.name != LOCK and not path.is_dir():  # lost+found, on a disk of its own
            yield path, -1, ""


def _probe(directory: Path) -> None:
    """Fail where no file can be made; a full disk is for later."""
    try:
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        if error.errno not in FULL:
            raise


def _unusable(directory: Path, error: OSError) -> SettingsError:
    where = f"{error.filename}: " if error.filename not in (None, str(directory)) else ""
    return SettingsError(
        f"spool.dir: cannot use {directory} ({where}{error.strerror or error}); "
        "give a directory that this program may write"
    )


def inspect(directory: str) -> Inside | None:
    """Look into the directory and change nothing, also while another process has it; None where it is not there.

    Raises:
        SettingsError: it cannot be used, or not be made.
    """
    path = Path(directory)
    chunks = records = size = bad = 0
    try:
        if not path.exists():
            _probe(next(parent for parent in path.absolute().parents if parent.exists()))
            return None
        _probe(path)
        for file, number, ending in _files(path):
            if ending == BAD:
                bad += 1
            elif number >= 0 and not ending:
                try:
                    stored = read_stored(file, number)
                except FileNotFoundError:
                    continue  # delivered meanwhile
                except SpoolError:
                    bad += 1
                else:
                    chunks, records, size = chunks + 1, records + stored.count, size + stored.size
    except OSError as error:
        raise _unusable(path, error) from error
    return Inside(chunks, records, size, bad)


# A file


def encode_head(chunk: Chunk) -> bytes:
    """Return what stands before the entries of a chunk."""
    header = msgspec.msgpack.encode(
        _Header(
            chunk.id, chunk.tag, chunk.count, chunk.undecodable, len(chunk.entries), zlib.crc32(chunk.entries)
        )
    )
    return _PREFIX.pack(MAGIC, VERSION, len(header), zlib.crc32(header)) + header


def read_stored(path: Path, number: int) -> Stored:
    """Read the header of a file, and hold its length against that of the file.

    Raises:
        SpoolError: it is no chunk, or not a whole one.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(_PREFIX.size)
        header = _header(start + file.read(_header_length(start)))
        found = os.fstat(file.fileno())
    _whole(header, found.st_size - _PREFIX.size - _header_length(start))
    size = footprint(found.st_size)
    return Stored(number, header.count, header.undecodable, header.length, size, found.st_mtime)


def decode(data: bytes) -> Chunk:
    """Read a chunk from the bytes of its file.

    Raises:
        SpoolError: it is no chunk, or not a whole one.
    """
    header = _header(data)
    entries = data[_PREFIX.size + _header_length(data) :]
    _whole(header, len(entries))
    if zlib.crc32(entries) != header.crc:
        raise SpoolError("damaged: the entries do not have the checksum that they were written with")
    return Chunk(
        id=header.id,
        tag=header.tag,
        entries=entries,
        count=header.count,
        undecodable=header.undecodable,
    )


def _header_length(data: bytes) -> int:
    """Return the length of the header."""
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise SpoolError("foreign: it does not begin as a chunk")
    if len(data) < _PREFIX.size:
        raise SpoolError(f"torn: it ends after {len(data)} bytes, in the header")
    _, version, length, _ = _PREFIX.unpack_from(data)
    if version != VERSION:
        raise SpoolError(f"of version {version}, and this program reads {VERSION}")
    return int(length)


def _header(data: bytes) -> _Header:
    raw = data[_PREFIX.size : _PREFIX.size + _header_length(data)]
    if zlib.crc32(raw) != _PREFIX.unpack_from(data)[3]:
        raise SpoolError("torn or damaged: the header does not have the checksum that it was written with")
    try:
        return msgspec.msgpack.decode(raw, type=_Header)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SpoolError(f"foreign: its header is not one of this program ({error})") from error


def _whole(header: _Header, length: int) -> None:
    if length != header.length:
        raise SpoolError(f"torn: {length} bytes of entries where {header.length} were written")
