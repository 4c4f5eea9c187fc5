"""Where the records of a run with a fault end up: a Fluent Bit, or a Forward server that misbehaves as told."""

from __future__ import annotations

import asyncio
import json
import signal
import threading

import ways
from faults_load import came
from forward_server import ForwardServer, Shipper
from http_server import Answer, HttpServer
from programs import PATIENCE, FluentBit, free_port, wait_until, whole_lines

PATIENT = "    Flush                     1\n"


class Printed:
    """A Fluent Bit with the configuration that users get, to its stdout."""

    def __init__(self, directory):
        self.port = free_port()
        self.program = ways.fluent_bit(directory, FORWARD_PORT=self.port)
        self.program.port = self.port
        main = directory / "conf" / "fluent-bit.conf"
        patient = main.read_text()
        assert patient.count(PATIENT) == 1
        main.write_text(patient.replace(PATIENT, PATIENT.replace("1", "0.2")))
        self._files = [self.program.stdout]

    def __enter__(self):
        self.program.start()
        return self

    def __exit__(self, *_):
        if self.program.running():
            self.program.process.send_signal(signal.SIGCONT)
            self.program.kill()

    def start_again(self):
        """In another file: the last line before may be a part of one."""
        self.program.stdout = self.program.stdout.with_name(f"after-{len(self._files)}.out")
        self._files.append(self.program.stdout)
        self.program.start()

    def finish(self):
        """Let it print what it holds; what a crash left on its disk it would not touch when told to stop."""
        storage = self._files[0].parent / "storage"
        wait_until(lambda: not list(storage.rglob("*.flb")), what="Fluent Bit's disk is empty")
        assert self.program.stop() == 0

    def size(self):
        return sum(file.read_bytes().count(b"\n") for file in self._files)

    def last(self):
        """The record that came last."""
        return came(json.loads(whole_lines(self._files[-1])[-1]))

    def arrivals(self):
        lines = [line for file in self._files for line in whole_lines(file)]
        return [came(json.loads(line)) for line in lines]


class Posted:
    """A Fluent Bit without a disk, whose output is refused on demand: then its input is paused."""

    def __init__(self, directory):
        self._records = []
        self.refusing = False
        # First what may be missing on this machine, and then what is to be closed.
        self.program = FluentBit(
            directory,
            port=free_port(),
            forward="    Mem_Buf_Limit 1M\n",
            service="    Scheduler.Base 1\n    Scheduler.Cap 1\n",
        )
        self._http = HttpServer(self._answer)
        self.port = self.program.port
        conf = directory / "fluent-bit.conf"
        head = conf.read_text().partition("[OUTPUT]")[0]
        conf.write_text(
            f"{head}[OUTPUT]\n    Name http\n    Match *\n    Host 127.0.0.1\n    Port {self._http.port}\n"
            "    Format json\n    Retry_Limit no_limits\n"
        )

    def __enter__(self):
        self._http.__enter__()
        self.program.start()
        return self

    def __exit__(self, *_):
        if self.program.running():
            self.program.kill()
        self._http.__exit__()

    def paused(self):
        return self.program.stderr.read_text().count("paused (mem buf overlimit") > self.resumed()

    def resumed(self):
        return self.program.stderr.read_text().count("resume (mem buf overlimit")

    def finish(self):
        assert self.program.stop() == 0

    def size(self):
        return len(self._records)

    def arrivals(self):
        return [came(record) for record in self._records]

    def _answer(self, request):
        if self.refusing:
            return Answer(503)
        self._records += json.loads(request.body)
        return Answer(201)


class Taken:
    """The Forward server of the tests, in a thread, which misbehaves as told."""

    def __init__(self, _directory):
        self.shipper = Shipper()
        self.server = ForwardServer(self.shipper)
        self.port = self.server.port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="forward-server", daemon=True)

    def __enter__(self):
        self._thread.start()
        self.call(self.server.start())
        return self

    def __exit__(self, *_):
        self.call(self.server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, coroutine):
        """Run it where the server runs."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    def finish(self):
        """What it acknowledged it has."""

    def size(self):
        return sum(len(frame.entries) for frame in self.shipper.frames)

    def arrivals(self):
        return [came(record) for record in self.shipper.records()]
