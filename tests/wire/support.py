"""What the tests here share: schemas compiled at run time, a real server, and clients of both formats."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import time
import types
import unittest

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEED = ROOT / "tests/vectors/seed.proto"
OURS = ROOT / "crates/protocol/proto/gameproto.proto"
DEADLINE = 20  # seconds; no test waits longer for anything


def compile_proto(path):
    """The messages and enums of a .proto, by name. Its text is not touched: each has a pool of its own."""
    with tempfile.NamedTemporaryFile(suffix=".pb") as out:
        arguments = ["protoc", f"-I{path.parent}", f"--descriptor_set_out={out.name}", str(path)]
        if protoc.main(arguments) != 0:
            raise RuntimeError(f"{path} does not compile")
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read())
    pool = descriptor_pool.DescriptorPool()
    schema = types.SimpleNamespace()
    for file in files.file:
        pool.Add(file)
        for message in file.message_type:
            descriptor = pool.FindMessageTypeByName(f"{file.package}.{message.name}")
            setattr(schema, message.name, message_factory.GetMessageClass(descriptor))
        for enum in file.enum_type:
            values = {value.name: value.number for value in enum.value}
            setattr(schema, enum.name, types.SimpleNamespace(**values))
    return schema


class Server:
    """`roomcast serve` on a port of its choice, with its defaults, or with the roomcast.toml of a directory."""

    def __init__(self, *arguments, directory=None):
        program = os.environ.get("ROOMCAST_BIN", ROOT / "target/release/roomcast")
        self.directory = tempfile.TemporaryDirectory(prefix="roomcast-wire-")  # where no roomcast.toml lies
        directory = directory or self.directory.name
        self.process = subprocess.Popen(
            [program, "serve", "--listen", "127.0.0.1:0", *arguments],
            cwd=directory,
            env={key: value for key, value in os.environ.items() if not key.startswith("ROOMCAST_")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = ""
        self.port = None
        self.told = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if not self.told.wait(DEADLINE) or self.port is None:
            self.stop()
            raise RuntimeError(f"the server does not say where it listens:\n{self.output}")

    def _read(self):
        for line in self.process.stdout:
            self.output += line
            match = re.search(r"127\.0\.0\.1:([1-9]\d*)\b", line)
            if match and self.port is None:
                self.port = int(match[1])
                self.told.set()
        self.told.set()

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()
        self.directory.cleanup()


class Client:
    """One WebSocket. What `next` and `until` pass over is kept in `seen`."""

    def __init__(self, port, subprotocol=None):
        self.stack = contextlib.ExitStack()
        opening = connect(
            f"ws://127.0.0.1:{port}/ws",
            subprotocols=[subprotocol] if subprotocol else None,
            compression=None,
            open_timeout=DEADLINE,
            close_timeout=DEADLINE,
        )
        self.socket = self.stack.enter_context(opening)
        self.seen = []

    def next(self, deadline=None):
        wait = DEADLINE if deadline is None else max(deadline - time.monotonic(), 0)
        message = self.read(self.socket.recv(timeout=wait))
        self.seen.append(message)
        return message

    def until(self, matches):
        """The next message for which `matches` is true."""
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                message = self.next(deadline)
            except (TimeoutError, ConnectionClosed) as error:
                tail = "\n".join(map(str, self.seen[-5:]))
                raise AssertionError(f"in vain ({error!r}); the last messages were\n{tail}") from None
            if matches(message):
                return message

    def of_type(self, kind):
        return self.until(lambda message: self.type_of(message) == kind)

    def close(self):
        self.stack.close()


class Json(Client):
    """A client that speaks JSON. Messages are dicts."""

    def send(self, type, room=None, **keys):
        message = {"type": type, **({"room_id": room} if room else {}), **keys}
        self.socket.send(json.dumps(message, ensure_ascii=False))

    def send_text(self, text):
        self.socket.send(text)

    def join(self, room, **payload):
        self.send("join_room", room, payload=payload)
        return self.of_type("joined")["payload"]

    @staticmethod
    def read(frame):
        if not isinstance(frame, str):
            raise AssertionError(f"a binary frame for a JSON client: {frame!r}")
        return json.loads(frame)

    @staticmethod
    def type_of(message):
        return message["type"]


class Protobuf(Client):
    """A client that knows a schema and nothing else. Messages are the schema's `Message`."""

    def __init__(self, port, schema):
        self.schema = schema
        super().__init__(port, "gameproto.v1.protobuf")

    def send(self, type, room="", payload=b"", **fields):
        if not isinstance(payload, bytes):
            payload = payload.SerializeToString()
        number = getattr(self.schema.MessageType, type)
        message = self.schema.Message(type=number, room_id=room, payload=payload, **fields)
        self.send_bytes(message.SerializeToString())

    def send_bytes(self, data):
        self.socket.send(data)

    def read(self, frame):
        if not isinstance(frame, bytes):
            raise AssertionError(f"a text frame for a Protobuf client: {frame!r}")
        return self.schema.Message.FromString(frame)

    @staticmethod
    def type_of(message):
        return message.type

    def of_type(self, kind):
        return super().of_type(getattr(self.schema.MessageType, kind) if isinstance(kind, str) else kind)


class WireTest(unittest.TestCase):
    """One server for the tests of a class; each test has a room of its own."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.stop)

    def room(self, kind=None):
        return f"{kind}:{self._testMethodName}" if kind else self._testMethodName

    def json(self):
        client = Json(self.server.port)
        self.addCleanup(client.close)
        return client

    def protobuf(self, schema):
        client = Protobuf(self.server.port, schema)
        self.addCleanup(client.close)
        return client
