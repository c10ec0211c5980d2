"""What no good server sends, and what no good application passes: tests/odd, whose README says what holds."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
import unittest
import unittest.mock

from common import ROOT, ClientTest, soon, until
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from roomcast import Client, Gap, Message, Position, RoomcastError

ODD = ROOT / "tests/odd"
WELCOME = {
    "client_id": "me",
    "resume_token": "t",
    "resumed": False,
    "ping_interval_ms": 30_000,
    "limits": {"max_message": 65_536, "max_unanswered": 32},
    "seq_acked": True,
}
JOINED = {"player_id": "me", "player_num": 1, "epoch": "e", "offset": 0, "members": [], "total": 1}


class Hostile:
    """A server that answers `hello`, `join_room`, `chat` and `leave_room`, and says what it is told to say."""

    def __init__(self, before_welcome=(), welcome=None):
        self.before_welcome = before_welcome
        self.welcome = WELCOME | (welcome or {})
        self.joined = JOINED
        self.answers = {}  # of a type of message: what is said in place of the answer
        self.heard = []
        self.connections = 0
        self.offset = 100
        self.socket = None

    async def __aenter__(self):
        self.server = await serve(self._serve, "127.0.0.1", 0, subprotocols=["gameproto.v1.json"])
        self.url = f"ws://127.0.0.1:{self.server.sockets[0].getsockname()[1]}/ws"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def _serve(self, socket):
        self.connections += 1
        self.socket = socket
        async for frame in frames(socket):
            message = json.loads(frame)
            self.heard.append(message)
            kind = message["type"]
            if kind in self.answers:
                for answer in self.answers[kind]:
                    await self.say(answer)
            elif kind == "hello":
                for odd in self.before_welcome:
                    await self.say(odd)
                await self.say({"type": "welcome", "payload": self.welcome})
            elif kind == "ping":
                await self.say({"type": "pong", "payload": message["payload"], "timestamp": 1})
            elif kind == "join_room":
                await self.say({"type": "joined", "room_id": message["room_id"], "payload": self.joined})
            elif kind == "chat" and "room_id" in message:
                self.offset += 1
                acks = {"acks": [{"seq": message["seq"], "offset": self.offset}]}
                await self.say({"type": "ack", "room_id": message["room_id"], "payload": acks})
                keys = {"from_client_id": "c2", "offset": self.offset, "epoch": "e", "payload": f"good {self.offset}"}
                await self.say({"type": "chat", "room_id": message["room_id"], **keys})

    async def hang_up(self, code, reason=""):
        await self.socket.close(code, reason)

    async def say(self, message):
        with contextlib.suppress(ConnectionClosed):
            await self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))


async def frames(socket):
    with contextlib.suppress(ConnectionClosed):
        async for frame in socket:
            yield frame


class OddTest(unittest.IsolatedAsyncioTestCase):
    maxDiff = None

    async def client(self, server, **options):
        told = []
        options = {"shortest": 0.01, "longest": 0.05} | options
        client = Client(server.url, on_status=told.append, **options)
        client.told = told
        await client.__aenter__()
        self.addAsyncCleanup(client.close)
        return client

    async def goes_on(self, room, server):
        """The next message is answered, and the next event arrives. What came before it is returned."""
        self.assertGreater(await soon(room.chat("next")), 100)
        before = []
        while True:
            event = await soon(anext(aiter(room)))
            before.append(event)
            if isinstance(event, Message) and event.payload == f"good {server.offset}":
                return before[:-1]


def messages():
    listed = json.loads((ODD / "server_messages.json").read_text())["messages"]
    return [it for it in listed if it["format"] == "json"]


def frame_of(odd):
    if "hex" in odd:
        return bytes.fromhex(odd["hex"])
    fill = odd.get("fill", {"text": "", "times": 0})
    times = fill["times"]
    return odd["text"].replace("§", fill["text"] * times + fill.get("middle", "") + fill.get("and", "") * times)


class ServerMessages(OddTest):
    def check(self, odd, client, events):
        told = [it for it in client.told if it.error]
        delivered = [it for it in events if isinstance(it, Message)]
        match odd["then"]:
            case "told":
                self.assertEqual([it.error.code for it in told], ["unreadable"], "it is not told")
                self.assertEqual(delivered, [])
            case "quiet":
                self.assertEqual(told, [])
            case "delivered":
                self.assertEqual((len(delivered), told), (1, []))
        self.assertLessEqual({it.state for it in client.told}, {"connecting", "connected"}, "the connection lives on")

    async def test_an_odd_message_does_not_outlive_itself(self):
        for odd in messages():
            with self.subTest(odd["name"]):
                first = [frame_of(odd)] if odd.get("when") == "hello" else []
                async with Hostile(first) as server:
                    client = await self.client(server)
                    room = client.room("r")
                    await soon(room.join())
                    await soon(anext(aiter(room)))
                    if not first:
                        await server.say(frame_of(odd))
                    events = await self.goes_on(room, server)
                    self.check(odd, client, events)
                    self.assertEqual(server.connections, 1)
                    await client.close()

    async def test_all_of_them_one_after_the_other_leave_a_client_that_works(self):
        async with Hostile() as server:
            client = await self.client(server)
            room = client.room("r")
            await soon(room.join())
            for odd in messages():
                with self.subTest(odd["name"]):
                    if odd.get("when") != "hello":
                        await server.say(frame_of(odd))
                        await self.goes_on(room, server)
            self.assertEqual(server.connections, 1)

    async def test_an_event_that_cannot_be_read_is_told_as_a_gap(self):
        async with Hostile() as server:
            client = await self.client(server)
            room, other = client.room("r"), client.room("other")
            for it in (room, other):
                await soon(it.join())
                await soon(anext(aiter(it)))
            keys = {"type": "event", "name": "e", "payload": "?", "payload_kind": "bytes", "offset": 7, "epoch": "e"}
            await server.say({"room_id": "r", **keys})
            self.assertEqual([type(it) for it in await self.goes_on(room, server)], [Gap])
            self.assertEqual(await self.goes_on(other, server), [])
            # Of one that names no room nobody knows where it belonged.
            await server.say("[")
            for it in (room, other):
                self.assertEqual([type(it) for it in await self.goes_on(it, server)], [Gap])


class Hangs(OddTest):
    """What a server could make a client wait for, or do, for ever."""

    async def test_a_page_that_cannot_be_read_fails_its_call_alone(self):
        async with Hostile() as server:
            client = await self.client(server)
            room = client.room("r")
            await soon(room.join())
            page = {"type": "history", "room_id": "r"}
            good = page | {"payload": {"events": [], "next": 0, "epoch": "e"}}
            for bad in (page | {"payload": {"events": [5]}}, page | {"payload": {"next": "x"}}, page | {"payload": 5}):
                server.answers["history"] = [bad]
                with self.assertRaises(RoomcastError) as told:
                    await soon(anext(aiter(room.history())))
                self.assertEqual(told.exception.code, "unreadable")
                server.answers["history"] = [good]
                self.assertEqual([it async for it in room.history()], [])

    async def test_a_page_that_does_not_come_is_an_error_and_its_late_answer_is_none_of_the_next(self):
        async with Hostile() as server:
            client = await self.client(server)
            room = client.room("r")
            await soon(room.join())
            server.answers["history"] = []
            asking = asyncio.ensure_future(anext(aiter(room.history())))
            await until(lambda: room.page_id, "the question")
            late, room.page_due = room.page_id, 0.0  # as if its time were over
            with self.assertRaises(RoomcastError) as told:
                await soon(asking)
            self.assertEqual(told.exception.code, "unanswered")
            asking = asyncio.ensure_future(self.read(room.history(after=3)))
            await until(lambda: room.page_id > late, "the next question")
            page = {"type": "history", "room_id": "r", "payload": {"events": [], "next": 1, "epoch": "e"}}
            await server.say(page | {"request_id": late})
            await server.say(page | {"request_id": room.page_id, "payload": {"events": [], "next": 0}})
            await soon(asking)

    async def test_a_refused_join_is_known_by_its_number_where_the_room_is_not_repeated(self):
        async with Hostile() as server:
            client = await self.client(server)
            await soon(client.room("r").join())
            server.answers["join_room"] = []
            joining = asyncio.ensure_future(client.room("x").join())
            await until(lambda: server.heard[-1].get("room_id") == "x", "the join")
            refused = {"code": "invalid_name", "message": "", "request": "join_room"}
            await server.say({"type": "error", "payload": refused, "request_id": server.heard[-1]["request_id"] - 1})
            await server.say({"type": "error", "payload": refused, "request_id": server.heard[-1]["request_id"]})
            with self.assertRaises(RoomcastError) as told:
                await soon(joining)
            self.assertEqual(told.exception.code, "invalid_name")

    async def test_pages_that_do_not_end_are_an_error(self):
        async with Hostile() as server:
            client = await self.client(server)
            room = client.room("r")
            await soon(room.join())
            for options, next in [({"after": 0}, 1), ({"before": 50}, 50), ({}, 7)]:
                page = {"events": [], "next": next, "epoch": "e"}
                server.answers["history"] = [{"type": "history", "room_id": "r", "payload": page}]
                with self.assertRaises(RoomcastError) as told:
                    await soon(self.read(room.history(**options)))
                self.assertEqual(told.exception.code, "invalid_value")

    async def read(self, events):
        async for _ in events:
            pass

    async def test_a_server_that_asks_to_come_back_at_once_again_and_again_is_backed_off_from(self):
        async with Hostile() as server:
            server.answers["hello"] = [
                {"type": "welcome", "payload": WELCOME},
                {"type": "reconnect", "payload": {"delay_ms": 0}},
            ]
            client = await self.client(server, shortest=0.2, longest=0.5)
            await until(lambda: server.connections == 6, "six connections")
            waits = [it.wait for it in client.told if it.state == "reconnecting"]
            self.assertEqual(waits[:3], [0, 0, 0], "the first ones are believed")
            self.assertTrue(all(it >= 0.2 for it in waits[3:]), waits)

    async def test_a_session_that_a_late_hello_of_its_own_took_over_goes_on_once(self):
        async with Hostile() as server:
            client = await self.client(server)
            await soon(client.room("r").join())
            server.answers["hello"] = []
            await server.hang_up(4000)
            await until(lambda: [it["type"] for it in server.heard].count("hello") == 2, "a hello without an answer")
            del server.answers["hello"]
            await server.hang_up(4000)
            await until(lambda: server.connections == 3 and client.status.state == "connected", "an answer")
            await server.hang_up(4501, "taken_over")
            await until(lambda: server.connections == 4 and client.status.state == "connected", "the client to come back")
            await server.hang_up(4501, "taken_over")
            await until(lambda: client.status.state == "closed", "the end")
            self.assertEqual(client.status.error.code, "taken_over")

    async def test_a_place_that_is_none_is_not_gone_to_twice(self):
        for url in ("no url at all", "ws://[", "http://127.0.0.1:1/", "ws://127.0.0.1:1/ws", ""):
            async with Hostile() as server:
                client = await self.client(server)
                await soon(client.room("r").join())
                await server.say({"type": "reconnect", "payload": {"delay_ms": 0, "url": url}})
                await until(lambda server=server: server.connections == 2, url)
                self.assertNotEqual(client.status.state, "closed")
                await client.close()

    async def test_no_time_that_a_server_names_is_for_ever(self):
        async with Hostile() as server:
            client = await self.client(server)
            room = client.room("r")
            await soon(room.join())
            for error in (
                {"code": "rate_limited", "request": "chat", "seq": 900},
                {"code": "rate_limited", "request": "presence"},
                {"code": "unavailable", "request": "history"},
            ):
                error |= {"message": "", "retry_after_ms": 2**53 - 1}
                await server.say({"type": "error", "room_id": "r", "payload": error})
            await server.say({"type": "pong", "payload": 1})
            await until(lambda: True, "")
            self.assertLess(RoomcastError.of(error).retry_after, 700)
            self.assertLess(room.outbox.paused_until - asyncio.get_running_loop().time(), 700)
            await server.say({"type": "reconnect", "payload": {"delay_ms": 2**53 - 1}})
            await until(lambda: client._reconnect, "the message")
            self.assertLess(client._reconnect[0] - asyncio.get_running_loop().time(), 700)
            await server.hang_up(4000, f"reconnect; retry_after_ms={'9' * 80}")
            await until(lambda: client.status.state == "reconnecting", "the end")
            self.assertLess(client.status.wait, 700)

    async def test_tokens_that_end_at_once_are_not_asked_for_at_once(self):
        made = []

        async def token():
            made.append(1)
            return "token"

        async with Hostile(welcome={"token_expires_at": 1000, "server_time": 1000}) as server:
            server.answers["auth"] = [{"type": "auth", "payload": {"token_expires_at": 1000}, "timestamp": 1000}]
            client = await self.client(server, token=token)
            await soon(client.room("r").join())
            for _ in range(20):
                await server.say({"type": "auth", "payload": {"token_expires_at": 1000}, "timestamp": 1000})
                await soon(client.room("r").chat("x"))
            self.assertLessEqual(len(made), 2)

    async def test_a_source_of_tokens_that_gives_none_stops_no_pings(self):
        async def token():
            if tokens := server.heard:
                await asyncio.Event().wait()
            return "token" if not tokens else ""

        welcome = {"token_expires_at": 1000, "server_time": 1000, "ping_interval_ms": 200}
        async with Hostile(welcome=welcome) as server:
            client = await self.client(server, token=token)
            await soon(client.room("r").join())
            await until(lambda: sum(it["type"] == "ping" for it in server.heard) >= 3, "three pings")

    async def test_rooms_that_nobody_asked_for_leave_nothing_behind(self):
        async with Hostile() as server:
            client = await self.client(server)
            room = client.room("r")
            await soon(room.join())
            server.answers["leave_room"] = []  # no answer
            for number in range(500):
                await server.say({"type": "joined", "room_id": f"x{number}", "payload": JOINED})
            await self.goes_on(room, server)
            self.assertEqual(list(client._rooms), ["r"])
            left = [it["room_id"] for it in server.heard if it["type"] == "leave_room"]
            self.assertIn("x0", left)

    async def test_what_is_kept_of_a_room_is_bounded(self):
        async with Hostile() as server:
            client = await self.client(server)
            room = client.room("r")
            await soon(room.join())
            await soon(anext(aiter(room)))
            for number in range(2, 12_000):
                member = {"player_id": "x", "player_num": number, "connected": True}
                room.heard({"type": "player_joined", "room_id": "r", "payload": member, "timestamp": 1})
            self.assertLessEqual(len(room.members), 10_000)
            self.assertEqual(room.total, 11_999)
            for _ in range(100):
                client._ping()
            self.assertLessEqual(len(client._pings), 8)

    async def test_a_callback_that_fails_ends_nothing(self):
        def fails(status):
            raise RuntimeError(status)

        async with Hostile() as server:
            client = Client(server.url, on_status=fails)
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)
            async with client:
                await soon(client.room("r").join())
                await self.goes_on(client.room("r"), server)


HALF = "\ud800"


class Elsewhere(Exception):
    """This can't be made, or passed, in Python."""


def made(value):
    """The argument that an entry of arguments.json stands for."""
    if isinstance(value, list):
        return [made(it) for it in value]
    if not isinstance(value, dict) or "$" not in value:
        return {key: made(it) for key, it in value.items()} if isinstance(value, dict) else value
    match value["$"]:
        case "nan":
            return float("nan")
        case "infinity":
            return float("inf")
        case "cycle":
            cycle = {}
            cycle["self"] = cycle
            return cycle
        case "not_json":
            return {1, 2}
        case "nested":
            nested = 0
            for _ in range(value["depth"]):
                nested = [nested]
            return nested
        case "text":
            return value["of"] * value["times"]
        case "digits":
            return 10 ** value["times"] - 1
        case "half":
            return HALF
        case "half_key":
            return {HALF: 1}


class Arguments(ClientTest):
    arguments = ("--set", "limits.messages_per_second=0", "--set", "limits.max_offences=0")

    async def call(self, room, call, given):
        client = room.client
        match call:
            case "join":
                other = client.room(given.pop("room", "odd"))
                if since := given.get("since"):
                    given["since"] = Position(since["epoch"], since["offset"])
                try:
                    await other.join(**given)
                finally:
                    await other.leave()
            case "chat":
                await room.chat(**given)
            case "event":
                await room.event(**given)
            case "direct":
                if given.get("client") == "self":
                    given["client"] = client.client_id
                await client.direct(**given)
            case "action":
                await room.action(given["action"], **given.get("keys", {}))
            case "presence":
                room.update_presence(**given["keys"])
            case "signal":
                room.signal(**given)
            case "history":
                async for _ in room.history(**given):
                    pass
            case "members":
                raise Elsewhere

    async def test_an_odd_argument_does_not_outlive_its_call(self):
        client = await self.client()
        room = await self.joined("r", client)
        sent = []
        send = client._connection.send

        async def watched(frame):
            sent.append(frame)
            await send(frame)

        client._connection.send = watched
        seqs, direct = 0, 0
        for entry in json.loads((ODD / "arguments.json").read_text())["calls"]:
            with self.subTest(entry["name"]):
                sent.clear()
                try:
                    await soon(self.call(room, entry["call"], made(entry["with"])))
                    error = None
                except Elsewhere:
                    continue
                except RoomcastError as failed:
                    error = failed
                match entry["then"]:
                    case "refused":
                        self.assertIsNotNone(error, "nothing was refused")
                    case "refused_here":
                        self.assertIsNotNone(error, "nothing was refused")
                        about = [it for it in sent if '"ping"' not in it]
                        self.assertEqual(about, [], error)
                    case "works":
                        self.assertIsNone(error)
                self.assertGreater(await soon(room.chat("next")), 0)
                self.assertGreater(await soon(client.direct("next", client=client.client_id)), 0)
                self.assertEqual({it.state for it in client.told}, {"connected"})
                self.assertEqual(self.wire.connections, 1)
                self.assertEqual((room.outbox.waiting, client._direct.waiting), ([], []))
        self.assertNotIn("seq_gap", "".join(map(str, client.told)))

    async def test_what_was_refused_breaks_no_later_connection(self):
        room = await self.joined("r", await self.client())
        client = room.client
        for nickname in (HALF, "x" * 70_000, "a\nb"):
            with self.assertRaises(RoomcastError):
                await soon(client.room("other").join(nickname=nickname))
        with self.assertRaises(RoomcastError):
            room.update_presence(a=float("nan"))
        kept = {"colour": ["red"]}
        room.update_presence(**kept)
        kept["colour"].append(float("nan"))  # what was passed is a copy
        self.wire.cut()
        await self.status(client, lambda it: it.state == "connected" and it.resumed)
        self.assertGreater(await soon(room.chat("on")), 0)
        other = await self.joined("r", await self.client(direct=True))
        await until(lambda: other.members[room.player_num].presence == {"colour": ["red"]}, "what was passed")



class CommandLine(OddTest):
    async def start(self, server, **environment):
        script = ROOT / "examples/python/roomcast.py"
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
        environment = os.environ | environment
        child = await asyncio.create_subprocess_exec(sys.executable, script, server.url, "r", env=environment, **pipes)
        self.addCleanup(lambda: child.returncode is None and child.kill())
        while b"you are" not in (line := await soon(child.stderr.readline())):
            self.assertTrue(line, "it has ended")
        return child

    async def test_a_terminal_is_shown_text_and_nothing_that_it_obeys(self):
        async with Hostile() as server:
            for encoding in ("utf-8", "ascii", "latin-1"):
                child = await self.start(server, PYTHONIOENCODING=encoding)
                offset = 200
                for odd in ("\x1b[2J\x1b]0;owned\x07", "\ud800", "\u202etxt.exe", "a\rb\nc\x9b31m", {"\x1b": "\ud800"}, "é🎮"):
                    offset += 1
                    keys = {"from_client_id": "\x1b[31mc2", "offset": offset, "epoch": "e", "payload": odd}
                    await server.say({"type": "chat", "room_id": "r", **keys})
                    line = (await soon(child.stdout.readline())).decode(encoding)
                    self.assertIn("c2: ", line)
                    self.assertRegex(line, r"^[^\x00-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]+\n$")
                member = {"player_id": "c3", "player_num": 3, "nickname": "\x1b[5mBob\x07", "connected": True}
                await server.say({"type": "player_joined", "room_id": "r", "payload": member, "timestamp": 1})
                line = (await soon(child.stderr.readline())).decode(encoding)
                self.assertIn("Bob", line)
                self.assertRegex(line, r"^[^\x00-\x1f\x7f-\x9f]+\n$")
                # What can't be read is told, and what can't be sent as well.
                await server.say("null")
                self.assertIn(b"unreadable", await soon(child.stderr.readline()))
                child.stdin.write(b"/to \xff\xfe x\n/to " + b"x" * 200 + b" x\n" + b"x" * 70_000 + b"\nlast\n")
                self.assertIn(b"missing", await soon(child.stderr.readline()))
                await until(lambda: any(it.get("payload") == "last" for it in server.heard), "what comes after it")
                server.heard.clear()
                child.send_signal(signal.SIGINT)
                self.assertEqual(await soon(child.wait()), 0)
                self.assertNotIn(b"Traceback", await child.stderr.read())


class Clocks(OddTest):
    async def test_a_clock_that_is_set_stops_nothing(self):
        async with Hostile(welcome={"ping_interval_ms": 100}) as server:
            client = await self.client(server)
            room = client.room("r")
            await soon(room.join())
            for hours in (-1, 1, -10_000):
                was = time.time
                with unittest.mock.patch("time.time", lambda was=was, hours=hours: was() + hours * 3600):
                    await self.goes_on(room, server)
                    server.heard.clear()
                    await until(lambda: sum(it["type"] == "ping" for it in server.heard) >= 3, "three pings")
                    connections = server.connections
                    await server.hang_up(4000)
                    await until(lambda n=connections: server.connections > n, "the next connection")
                    await until(lambda: room.member, "the room")
            self.assertEqual([it for it in client.told if it.state == "closed"], [])
