"""What the tests of examples/python/roomcast.py share: a real server, and a wire to it that breaks."""

import asyncio
import contextlib
import pathlib
import random
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "examples/python"), str(ROOT / "tests/wire")]

from support import DEADLINE, Server  # noqa: E402

from roomcast import Client, Gap, Left, Message  # noqa: E402


class Wire:
    """Passes bytes between clients and a server, until it is cut or stalled."""

    def __init__(self, server):
        self.server = server  # its port; may change
        self.connections = 0
        self.open = True  # whether it takes new connections
        self.stalled = False
        self.budget = lambda: None  # the bytes after which a new connection breaks, in each direction
        self.pairs = set()

    async def start(self):
        self.listener = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.port = self.listener.sockets[0].getsockname()[1]
        return self

    async def _pass(self, near_in, near_out):
        if not self.open:
            near_out.transport.abort()
            return
        self.connections += 1
        budget = self.budget()
        try:
            far_in, far_out = await asyncio.open_connection("127.0.0.1", self.server)
        except OSError:
            near_out.transport.abort()
            return
        pair = (near_out, far_out)
        self.pairs.add(pair)
        ways = [asyncio.ensure_future(self._copy(*way, budget)) for way in ((near_in, far_out), (far_in, near_out))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        # What was read before an orderly end arrives; a cut is one wherever in a frame it is.
        for way, out in zip(ways, (far_out, near_out), strict=True):
            if way.done() and way.result() == "end":
                with contextlib.suppress(OSError):
                    out.write_eof()
                await asyncio.wait(ways, timeout=1)
        for way in ways:
            way.cancel()
        for out in pair:
            out.transport.abort()
        self.pairs.discard(pair)

    async def _copy(self, source, out, budget):
        while budget is None or budget > 0:
            try:
                data = await source.read(4096)
                if not data:
                    return "end"
                data = data if budget is None else data[:budget]
                budget = None if budget is None else budget - len(data)
                while self.stalled:
                    await asyncio.sleep(0.01)
                out.write(data)
                await out.drain()
            except OSError:
                return "cut"
        return "cut"

    def cut(self):
        """Breaks all connections, without a close frame."""
        for pair in list(self.pairs):
            for out in pair:
                out.transport.abort()

    def down(self):
        self.open = False
        self.cut()

    def up(self):
        self.open = True

    async def stop(self):
        self.listener.close()
        self.cut()


class ClientTest(unittest.IsolatedAsyncioTestCase):
    """A server of its own and a wire to it for each test."""

    arguments = ()
    maxDiff = None

    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)
        self.server = await asyncio.to_thread(Server, *self.arguments)
        self.wire = await Wire(self.server.port).start()

    async def asyncTearDown(self):
        await self.wire.stop()
        await asyncio.to_thread(self.server.stop)

    async def restart(self):
        """Kills the server, and starts another in its place."""
        before, self.server = self.server, await asyncio.to_thread(Server, *self.arguments)
        self.wire.server = self.server.port
        await asyncio.to_thread(before.stop)

    async def client(self, direct=False, **options):
        """A client that comes back quickly. Its statuses are kept in `client.told`."""
        told = []
        port = self.server.port if direct else self.wire.port
        options = {"shortest": 0.01, "longest": 0.05} | options
        client = Client(f"ws://127.0.0.1:{port}/ws", on_status=told.append, **options)
        client.told = told
        await client.__aenter__()
        self.addAsyncCleanup(client.close)
        return client

    async def joined(self, name, client=None, **options):
        room = (client or await self.client()).room(name)
        await soon(room.join(**options))
        return room

    async def status(self, client, wanted):
        """Waits until the client says so; what it said before counts."""
        await until(lambda: next((it for it in client.told if wanted(it)), None), "a status")


async def soon(what):
    """No test waits longer for anything."""
    return await asyncio.wait_for(what, DEADLINE)


async def until(check, what):
    end = asyncio.get_running_loop().time() + DEADLINE
    while not (found := check()):
        if asyncio.get_running_loop().time() > end:
            raise AssertionError(f"waited {DEADLINE} s in vain for {what}")
        await asyncio.sleep(0.01)
    return found


async def next_of(events, wanted):
    """The next event for which `wanted` is true."""
    while True:
        event = await soon(anext(aiter(events)))
        if wanted(event):
            return event


async def chats(events, count):
    """The next chats' payloads. A gap or the end of the stay is none of them."""
    said = []
    while len(said) < count:
        event = await soon(anext(aiter(events)))
        if isinstance(event, Gap | Left):
            raise AssertionError(f"{event} after {said[-3:]}")
        if isinstance(event, Message) and event.type == "chat":
            said.append(event.payload)
    return said


def is_gap(event):
    return isinstance(event, Gap)


def seeded(seed):
    print(f"(seed {seed}) ", end="", flush=True)
    return random.Random(seed)
