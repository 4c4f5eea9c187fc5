"""`nats-fluent check`: real servers, and a Forward server that misbehaves."""

from __future__ import annotations

import asyncio
import socket
import subprocess

import pytest
from commands import COMMAND, ENVIRON, pub
from forward_server import ForwardServer, Shipper, close, garbage, silence
from programs import PATIENCE, FluentBit, NatsServer, free_port, started
from taking import Certificates, publish_raw, taking

from nats_fluent import check
from nats_fluent.addresses import FluentUrl
from nats_fluent.delivery import Chunk
from nats_fluent.errors import SettingsError
from nats_fluent.options import Secret
from nats_fluent.sections import FluentSettings, NatsSettings, SpoolSettings
from nats_fluent.settings import DEFAULT_TOPICS, Settings, load
from nats_fluent.spool import Spool


@pytest.fixture
def certificates(tmp_path):
    return Certificates(tmp_path)


def nobody():
    return NatsSettings(servers=(f"nats://127.0.0.1:{free_port()}",))


async def steps(*, nats=None, within=PATIENCE, **fluent):
    settings = Settings(nats=nats or nobody(), fluent=FluentSettings(**fluent))
    return await check.try_servers(settings, timeout=within)


async def attempts(**options):
    """How far each server came: its last step."""
    return list({attempt.server: attempt for attempt in await steps(**options)}.values())


async def nats_steps(**nats):
    """The steps with NATS, by name."""
    return {
        each.step: each
        for each in await steps(nats=NatsSettings(connect_timeout=PATIENCE, **nats))
        if each.server == "NATS"
    }


async def try_shipper(shipper, within=PATIENCE, **fluent):
    async with ForwardServer(shipper) as server:
        url = FluentUrl("forward", "127.0.0.1", server.port)
        _, attempt = await attempts(url=(url,), within=within, **fluent)
    assert attempt.server == str(url)
    return attempt


async def test_a_nats_server_and_standard_output(nats_server):
    *nats, stdout = await steps(nats=NatsSettings(servers=(nats_server.url,)))
    assert all(each.server == "NATS" and each.ok and not each.advice for each in nats)
    said = {each.step: each.detail for each in nats}
    version = said["connect"].partition(", version ")[2]
    assert version[0].isdigit()
    assert said == {
        "resolve": "127.0.0.1 is 127.0.0.1",
        "connect": f"127.0.0.1:{nats_server.port}, version {version}",
        "TLS": "none: what is sent can be read on the way",
        "login": "without a user",
        "subscribe": ", ".join(DEFAULT_TOPICS),
    }
    assert stdout == ("stdout:", True, "records go to standard output", "", False)


async def test_a_nats_server_with_tls(tmp_path, certificates):
    with started(NatsServer(tmp_path, certificates.server_config(verify=True))) as server:
        found = await nats_steps(
            servers=(server.url,),
            ca_file=certificates.ca_file,
            cert_file=certificates.cert_file,
            key_file=certificates.key_file(passphrase="open"),
            key_password=Secret("open"),
        )
    assert all(each.ok for each in found.values())
    assert found["TLS"].detail.startswith("certificate for 127.0.0.1, localhost (subject ")
    assert ", issued by O=trustme v" in found["TLS"].detail
    assert ", expires " in found["TLS"].detail
    assert found["login"].detail == "with the client certificate"


async def test_a_certificate_that_is_refused_is_shown(tmp_path, certificates):
    other = tmp_path / "other"
    other.mkdir()
    with started(NatsServer(tmp_path, certificates.server_config())) as server:
        (failed,) = (await nats_steps(servers=(server.url,), ca_file=Certificates(other).ca_file)).values()
    assert (failed.ok, failed.step) == (False, "TLS")
    assert "the server's certificate is refused: unable to get local issuer certificate" in failed.detail
    assert "; it shows a certificate for 127.0.0.1, localhost (subject " in failed.detail
    assert "nats.ca_file" in failed.advice


async def test_the_step_that_failed_is_named_and_what_to_try(tmp_path):
    config = (
        'authorization { users: [{user: me, password: pw, permissions: {subscribe: {deny: "activities"}}}] }'
    )
    with started(NatsServer(tmp_path, config)) as server:
        wrong = await nats_steps(servers=(server.url,), user="me", password=Secret("hunter2"))
        right = await nats_steps(servers=(server.url,), user="me", password=Secret("pw"))
    assert [(each.step, each.ok) for each in wrong.values()] == [("login", False)]
    assert "nats.password" in wrong["login"].advice
    assert "hunter2" not in str(wrong)
    assert [(each.step, each.ok) for each in right.values()] == [
        ("resolve", True),
        ("connect", True),
        ("TLS", True),
        ("login", True),
        ("subscribe", False),
    ]
    assert right["login"].detail == "as me"
    assert right["subscribe"].detail == "denied for activities; tried without the queue group"
    (unknown,) = (await nats_steps(servers=("nats://no-such-host.invalid:4222",))).values()
    assert (unknown.ok, unknown.step) == (False, "resolve")
    assert "DNS" in unknown.advice


async def test_one_of_several_nats_servers_is_enough(nats_server):
    gone = f"nats://127.0.0.1:{free_port()}"
    found = await steps(nats=NatsSettings(servers=(gone, nats_server.url)))
    first, *others = [each for each in found if each.server == "NATS"]
    assert (first.ok, first.spare, first.step) == (False, True, "connect")
    assert all(each.ok for each in others)


async def test_looking_takes_no_message_from_a_consumer(nats_server):
    settings = NatsSettings(servers=(nats_server.url,))
    async with taking(settings, "activities") as taken:
        stop = asyncio.Event()

        async def look():
            while not stop.is_set():
                assert all(each.ok for each in await steps(nats=settings))

        looking = asyncio.create_task(look())
        for _ in range(20):
            await asyncio.to_thread(publish_raw, nats_server.port, *[pub("activities", b"x")] * 50)
        stop.set()
        await looking
        await taken.wait_for(1000)
        assert len(taken.deliveries) == 1000


async def test_a_log_shipper_with_tls_and_one_whose_certificate_is_refused(tmp_path, certificates):
    pem = certificates.server_file
    forward = f"    tls on\n    tls.verify off\n    tls.crt_file {pem}\n    tls.key_file {pem}"
    other = tmp_path / "other"
    other.mkdir()
    with started(FluentBit(tmp_path, forward=forward)) as server:
        url = FluentUrl("forward+tls", "localhost", server.port)
        good = await steps(url=(url,), ca_file=certificates.ca_file)
        bad = await steps(url=(url,), ca_file=Certificates(other).ca_file)
    shipper = [each for each in good if each.server == str(url)]
    assert [(each.step, each.ok) for each in shipper] == [
        (step, True) for step in ("resolve", "connect", "TLS", "handshake", "probe")
    ]
    assert ", certificate for 127.0.0.1, localhost (subject " in shipper[2].detail
    assert shipper[2].detail.startswith("TLSv1.")
    failed = bad[-1]
    assert (failed.ok, failed.step) == (False, "TLS")
    assert "; it shows a certificate for 127.0.0.1, localhost (subject " in failed.detail
    assert "fluent.ca_file" in failed.advice


async def test_no_nats_server():
    nats, _ = await attempts()
    assert not nats.ok
    assert "Connection refused" in nats.detail


async def test_a_real_fluent_bit_and_one_that_is_not_there(fluent_bit):
    here, gone = (
        FluentUrl("forward", "127.0.0.1", fluent_bit.port),
        FluentUrl("forward", "127.0.0.1", free_port()),
    )
    _, first, second = await attempts(url=(here, gone))
    assert first[:3] == (str(here), True, "it acknowledged an empty chunk")
    assert (second.server, second.ok) == (str(gone), False)
    assert "cannot connect" in second.detail
    assert fluent_bit.lines() == []


async def test_a_real_fluent_bit_with_a_shared_key_and_users(tmp_path):
    forward = "    Shared_Key hunter2\n    Self_Hostname shipper\n    Security.Users joe secret"
    with started(FluentBit(tmp_path, forward=forward)) as server:
        url = FluentUrl("forward", "127.0.0.1", server.port)
        good = {"shared_key": Secret("hunter2"), "user": "joe", "password": Secret("secret")}
        _, right = await attempts(url=(url,), **good)
        _, wrong = await attempts(url=(url,), **(good | {"shared_key": Secret("other")}))
        _, without = await attempts(url=(url,), shared_key=None)
    assert right[:3] == (str(url), True, "shipper acknowledged an empty chunk")
    assert not wrong.ok
    assert "fluent.shared_key" in wrong.detail
    assert not without.ok
    assert "asks for a shared key" in without.detail
    assert "hunter2" not in f"{right}{wrong}{without}"


async def test_the_probe_is_an_empty_chunk_and_nothing_else():
    shipper = Shipper()
    attempt = await try_shipper(shipper, mode="packed")
    assert attempt.ok
    (frame,) = shipper.frames
    assert (frame.tag, frame.mode, frame.entries) == ("nats-fluent.check", "forward", [])
    assert frame.chunk_id


@pytest.mark.parametrize(
    ("shipper", "detail"),
    [
        (Shipper(answer=silence), "connected, but no answer within 1 s"),
        (Shipper(answer=close), "the server closed the connection"),
        (Shipper(answer=garbage), "is this a Forward server?"),
        (Shipper(shared_key="other"), "the server refused the handshake: shared_key mismatch"),
        (Shipper(shared_key="key", hostname="me"), "set fluent.hostname to another name"),
    ],
    ids=["silent", "closing", "not Forward", "another key", "the same name"],
)
async def test_a_log_shipper_that_cannot_be_used(shipper, detail):
    key = {"shared_key": Secret("key"), "hostname": "me"} if shipper.shared_key else {}
    within = 1.0 if shipper.answer is silence else PATIENCE
    attempt = await try_shipper(shipper, within=within, **key)
    assert not attempt.ok
    assert detail in attempt.detail


async def test_a_log_shipper_that_does_not_even_connect():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        # The kernel holds as many connections as the backlog takes, and lets the next one wait.
        waiting = [socket.socket() for _ in range(2)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        _, attempt = await attempts(url=(FluentUrl("forward", "127.0.0.1", port),), within=0.3)
        for each in waiting:
            each.close()
    assert attempt.detail == "no connection within 0.3 s"


def tls_settings(certificates, section, **changes):
    given = {
        "cert_file": certificates.cert_file,
        "key_file": certificates.key_file(passphrase="open"),
        "key_password": Secret("open"),
    } | changes
    if section == "nats":
        return Settings(nats=NatsSettings(**given))
    return Settings(fluent=FluentSettings(url=(FluentUrl("forward+tls", "a", 1),), **given))


@pytest.mark.parametrize("section", ["nats", "fluent"])
def test_files_that_fit(certificates, section):
    check.verify_files(tls_settings(certificates, section))
    check.verify_files(
        tls_settings(certificates, section, key_file=certificates.key_file(), key_password=None)
    )


@pytest.mark.parametrize("section", ["nats", "fluent"])
def test_files_that_do_not_fit(tmp_path, certificates, section):
    other = tmp_path / "other"
    other.mkdir()
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    for changes, names in (
        ({"key_password": Secret("hunter2")}, ["key_password"]),
        ({"key_password": None}, ["key_password"]),
        ({"key_file": Certificates(other).key_file()}, ["key_file"]),
        ({"cert_file": junk}, ["cert_file", str(junk)]),
        ({"ca_file": junk}, ["ca_file", str(junk)]),
    ):
        with pytest.raises(SettingsError) as caught:
            check.verify_files(tls_settings(certificates, section, **changes))
        (problem,) = caught.value.problems
        assert problem.startswith(f"{section}.")
        assert all(name in problem for name in names), problem
        assert problem.isprintable()
        assert "hunter2" not in problem


def test_all_files_are_checked_at_once(certificates):
    wrong = {"key_password": Secret("hunter2")}
    settings = Settings(
        nats=tls_settings(certificates, "nats", **wrong).nats,
        fluent=tls_settings(certificates, "fluent", **wrong).fluent,
    )
    with pytest.raises(SettingsError) as caught:
        check.verify_files(settings)
    assert [problem.partition(".")[0] for problem in caught.value.problems] == ["nats", "fluent"]


def test_run_prints_a_line_for_each_server(nats_server, capsys):
    gone = f"forward://127.0.0.1:{free_port()}"
    loaded = load(flags={"nats_servers": nats_server.url, "fluent_url": gone}, environ={}, file=None)
    assert check.run(loaded, timeout=PATIENCE) == 1
    *_, subscribed, _, _, _, login, failed, resolved, advice = capsys.readouterr().out.splitlines()
    assert subscribed.startswith("ok      NATS  subscribe: squall-events, activities, ")
    assert login == "        login: without a user"
    assert failed.startswith(f"failed  {gone}  connect: cannot connect")
    assert resolved == "        resolve: 127.0.0.1 is 127.0.0.1"
    assert advice.startswith("        Is a Forward input listening there")
    loaded = load(flags={"nats_servers": nats_server.url}, environ={}, file=None)
    assert check.run(loaded, timeout=PATIENCE) == 0
    assert check.run(loaded, timeout=None) == 0


def test_the_spool(tmp_path, capsys):
    directory = tmp_path / "spool"
    flags = {"spool_mode": "always", "spool_dir": str(directory), "spool_max_bytes": "1MB"}
    loaded = load(flags=flags, environ={}, file=None)

    def says():
        assert check.run(loaded, timeout=None) == 0
        return capsys.readouterr().out.splitlines()[-1]

    assert says() == f"spool   {directory}  is not there yet, and can be made"
    assert not directory.exists()
    spool = Spool(str(directory), fsync=False)
    spool.open()
    for number in (1, 2):
        spool.write(number, Chunk(id="i", tag="t", entries=b"x" * 5000, count=7))
    assert says() == f"spool   {directory}  14 records in 2 chunks, 16384 of 1000000 bytes"
    (directory / "0000000000000003.chunk").write_bytes(b"torn")
    assert says().endswith(" bytes; set aside as no whole chunks: 1")
    spool.close()


def test_a_spool_that_cannot_be_used(tmp_path, certificates):
    file = tmp_path / "file"
    file.write_text("")
    wrong = tls_settings(certificates, "nats", key_password=Secret("hunter2"))
    settings = Settings(nats=wrong.nats, spool=SpoolSettings(mode="always", dir=str(file)))
    with pytest.raises(SettingsError) as caught:
        check.verify_files(settings)
    assert [problem.partition(":")[0] for problem in caught.value.problems][-1] == "spool.dir"
    assert len(caught.value.problems) == 2


def test_the_command_says_nothing_beside_the_steps(tmp_path, certificates):
    with started(NatsServer(tmp_path, certificates.server_config())) as server:
        done = subprocess.run(
            [*COMMAND, "check", "--connect", "--timeout", str(PATIENCE)],
            check=False,
            capture_output=True,
            env=ENVIRON
            | {
                "NATS_FLUENT_NATS_SERVERS": server.url,
                "NATS_FLUENT_NATS_CA_FILE": str(certificates.ca_file),
            },
            timeout=PATIENCE,
        )
    assert (done.returncode, done.stderr) == (0, b"")
    said = [line.split()[0] for line in done.stdout.decode().splitlines()[-6:]]
    assert said == ["ok", "resolve:", "connect:", "TLS:", "login:", "ok"]
