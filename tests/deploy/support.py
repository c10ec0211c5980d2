"""What the tests here share: a Redis, nodes with deploy/roomcast.toml, and the proxies with the files of deploy/.

Only what can't be the same on a machine for tests is changed: addresses, ports, and where certificates are.
"""

import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from websockets.sync.client import connect

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PROGRAM = pathlib.Path(os.environ.get("ROOMCAST_BIN", ROOT / "target/release/roomcast")).resolve()
DEADLINE = 20  # seconds; no test waits longer for anything
HOST = "rooms.example.com"
sys.path.insert(0, str(ROOT / "examples/python"))


def until(check, what):
    end = time.monotonic() + DEADLINE
    while not (found := check()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {DEADLINE} s in vain for {what}")
        time.sleep(0.01)
    return found


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def replaced(text, *changes):
    """The text with each pattern replaced. Each is there, so that a changed file changes its test."""
    for pattern, new in changes:
        text, times = re.subn(pattern, new, text, flags=re.MULTILINE)
        if not times:
            raise AssertionError(f"there is no {pattern}")
    return text


class Program:
    """A process whose output goes to a file."""

    def __init__(self, directory, name, command, env=None):
        self.log_path = pathlib.Path(directory) / f"{name}.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                cwd=directory,
                env=env,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    def until(self, check, what):
        def or_ended():
            if found := check():
                return found
            if self.process.poll() is not None:
                raise AssertionError(f"ended instead of {what}:\n{self.log}")

        try:
            return until(or_ended, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from None

    def send(self, number):
        self.process.send_signal(number)

    def wait(self):
        """Its exit code."""
        return self.process.wait(DEADLINE + 20)

    def stop(self):
        """Ends it, and what it has started: nginx's workers outlive their master."""
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Redis(Program):
    def __init__(self, directory):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        options = ["--port", self.port, "--save", "", "--maxmemory-policy", "noeviction", "--appendonly", "yes"]
        super().__init__(directory, "redis", ["redis-server", "--dir", directory, *options])
        self.until(lambda: answers(self.port), "a Redis that answers")


class Node(Program):
    """`roomcast serve` with deploy/roomcast.toml, and secrets from files as in the systemd unit."""

    def __init__(self, directory, name, redis, *settings, ports=(0, 0)):
        self.directory, self.name, self.redis, self.settings = directory, name, redis, settings
        command = [PROGRAM, "serve", "--config", DEPLOY / "roomcast.toml", "--redis", redis.url, "--log-format", "json"]
        command += ["--listen", f"127.0.0.1:{ports[0]}", "--set", f"admin.listen=127.0.0.1:{ports[1]}"]
        for setting in ("server.trusted_proxies=127.0.0.1", *settings):
            command += ["--set", setting]
        super().__init__(directory, name, command, environment(directory))
        listens = self.until(
            lambda: re.search(r"listening on 127\.0\.0\.1:(\d+), 127\.0\.0\.1:(\d+)", self.log), "a node"
        )
        self.port, self.admin_port = int(listens[1]), int(listens[2])

    def ready(self):
        """Itself, when it opens rooms: after a lease."""
        self.until(self.is_ready, "a node that is ready")
        return self

    def again(self):
        """The node that starts in its place."""
        return Node(self.directory, self.name, self.redis, *self.settings, ports=(self.port, self.admin_port)).ready()

    def is_ready(self):
        return get(f"http://127.0.0.1:{self.admin_port}/readyz").status == 200

    def end(self):
        """SIGTERM, and its exit code."""
        self.send(signal.SIGTERM)
        return self.wait()

    def metric(self, name):
        """A metric's value, its labels summed."""
        text = get(f"http://127.0.0.1:{self.admin_port}/metrics").text
        values = re.findall(rf"^{name}(?:{{[^}}]*}})? ([0-9.e+-]+)$", text, re.MULTILINE)
        if not values:
            raise AssertionError(f"there is no {name}")
        return sum(map(float, values))


def environment(directory):
    """The secrets' files, and no other variable of ours."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("ROOMCAST_")}
    for variable in ("SESSION_SECRET", "AUTH_HS256_SECRET"):
        path = pathlib.Path(directory) / variable
        if not path.exists():
            path.write_text(os.urandom(32).hex())
        env[f"ROOMCAST_{variable}_FILE"] = str(path)
    return env


def token(directory, user):
    command = [PROGRAM, "token", "--user", user]
    made = subprocess.run(
        command, cwd=directory, env=environment(directory), capture_output=True, text=True, check=True
    )
    return made.stdout.strip()


class Answer:
    def __init__(self, status, body):
        self.status = status
        self.text = body.decode(errors="replace")

    def json(self):
        return json.loads(self.text)


def get(url, context=None):
    """Status 0: no answer."""
    try:
        with urllib.request.urlopen(url, timeout=5, context=context) as answer:
            return Answer(answer.status, answer.read())
    except urllib.error.HTTPError as refused:
        return Answer(refused.code, refused.read())
    except OSError:
        return Answer(0, b"")


class EventStream:
    """A client without a WebSocket. It never waits for longer than DEADLINE."""

    def __init__(self, port, context, token):
        self.port, self.context, self.batch = port, context, 0
        self.connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=DEADLINE, context=context)
        headers = {"Host": HOST, "Accept": "text/event-stream", "Authorization": f"Bearer {token}"}
        self.connection.request("GET", "/sse", headers=headers)
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200, self.answer.read()
        self.comment()
        name, first = self.event()
        assert name == "stream", name
        self.id = first["id"]

    def post(self, *messages, close=None):
        self.batch += 1
        headers = {"Host": HOST, "Roomcast-Stream": self.id, "Roomcast-Batch": str(self.batch)}
        if close:
            headers["Roomcast-Close"] = str(close)
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=DEADLINE, context=self.context)
        try:
            connection.request("POST", "/send", "\n".join(map(json.dumps, messages)), headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def event(self):
        """The next one, or a comment: its name and its data."""
        name, data = "", None
        line = self.answer.readline()
        assert line, "the stream has ended"
        while line := line.decode().strip():
            key, value = line.split(":", 1)
            if key == "event":
                name = value.strip()
            elif key == "data":
                data = json.loads(value)
            else:
                name = "comment"
            line = self.answer.readline()
        return name, data

    def comment(self):
        while self.event()[0] != "comment":
            pass

    def until(self, kind):
        while True:
            name, message = self.event()
            assert name in ("", "comment"), (name, message)
            if not name and message["type"] == kind:
                return message

    def closed(self):
        while True:
            name, data = self.event()
            if name == "close":
                return data

    def close(self):
        self.connection.close()


def connect_once(url):
    """A WebSocket that is opened, and closed in good order."""
    with connect(url, subprotocols=["gameproto.v1.json"]):
        pass


def make_certificate(directory):
    """A self-signed one, with its key in a file of its own and in one file with it."""
    directory = pathlib.Path(directory)
    names = f"subjectAltName=DNS:{HOST},IP:127.0.0.1"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={HOST}", "-addext", names]
    command += ["-keyout", directory / "key.pem", "-out", directory / "fullchain.pem"]
    subprocess.run(command, check=True, capture_output=True)
    both = (directory / "fullchain.pem").read_text() + (directory / "key.pem").read_text()
    (directory / "both.pem").write_text(both)
    return ssl.create_default_context(cafile=directory / "fullchain.pem")


class Nginx(Program):
    """deploy/nginx.conf, included by a file as Debian has it."""

    settings = ()

    def __init__(self, directory, nodes, changes=()):
        self.port = free_port()
        first, second = nodes
        site = replaced(
            (DEPLOY / "nginx.conf").read_text(),
            (r"^    listen 443 ssl;", f"    listen 127.0.0.1:{self.port} ssl;"),
            (r"^    listen \[::\]:443 ssl;\n", ""),
            (r"10\.0\.0\.11:8080", f"127.0.0.1:{first.port}"),
            (r"10\.0\.0\.12:8080", f"127.0.0.1:{second.port}"),
            (rf"/etc/ssl/{HOST}", str(directory)),
            *changes,
        )
        (pathlib.Path(directory) / "site.conf").write_text(site)
        temporary = "".join(
            f"{kind}_temp_path {directory}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (pathlib.Path(directory) / "nginx.conf").write_text(
            f"user root; daemon off; worker_processes 2; error_log stderr notice; pid {directory}/nginx.pid;\n"
            f"events {{ worker_connections 4000; }}\n"
            f"http {{ access_log off; {temporary} include {directory}/site.conf; }}\n"
        )
        command = ["nginx", "-p", directory, "-e", "stderr", "-c", f"{directory}/nginx.conf"]
        super().__init__(directory, "nginx", command)
        self.until(lambda: answers(self.port), "nginx")

    def sees(self, node, up):
        """nginx asks nobody: it passes on who is refused."""


class HAProxy(Program):
    """deploy/haproxy.cfg."""

    settings = ("server.proxy_protocol=v2",)

    def __init__(self, directory, nodes, changes=()):
        self.port = free_port()
        first, second = nodes
        self.socket = f"{directory}/haproxy.sock"
        text = replaced(
            (DEPLOY / "haproxy.cfg").read_text(),
            (r"^global\n", f"global\n    stats socket {self.socket}\n"),
            (r"^    (user|group) haproxy\n", ""),
            (r"^    maxconn 100000", "    maxconn 1000"),
            (r"bind :443 ", f"bind 127.0.0.1:{self.port} "),
            (rf"/etc/haproxy/{HOST}\.pem", f"{directory}/both.pem"),
            (r"10\.0\.0\.11:8080", f"127.0.0.1:{first.port}"),
            (r"10\.0\.0\.12:8080", f"127.0.0.1:{second.port}"),
            *changes,
        )
        path = pathlib.Path(directory) / "haproxy.cfg"
        path.write_text(text)
        super().__init__(directory, "haproxy", ["haproxy", "-db", "-f", path])
        self.until(lambda: answers(self.port), "HAProxy")

    def sees(self, node, up):
        """Waits until it takes the node to be up, or down."""
        state = "UP" if up else "DOWN"
        line = re.compile(rf"^nodes,{node.name},(.*,)?{state}", re.MULTILINE)
        self.until(lambda: line.search(self._stat()), f"{node.name} to be {state}")

    def _stat(self):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.socket)
            client.sendall(b"show stat\n")
            return b"".join(iter(lambda: client.recv(65536), b"")).decode()


@contextlib.contextmanager
def directory():
    with tempfile.TemporaryDirectory(prefix="roomcast-deploy-") as path:
        yield path
