"""The golden vectors, read and written by examples/python/roomcast.py: the check list of docs/writing-a-client.md."""

import json
import re
import unittest
from collections import deque

from common import ROOT

from roomcast import Client, Log, Member, Position, RoomcastError, decode, encode, event_of, to_frame

VECTORS = ROOT / "tests/vectors"
GREATEST = 2**53 - 1
ROOM = "room-123"


def vectors(file):
    return {it["name"]: it for it in json.loads((VECTORS / file).read_text())["vectors"]}


# What a client sends, as this one makes it. `hello` and `join_room` come from a client's state: see below.
SENT = {
    "leave_room": encode("leave_room", ROOM),
    "leave_room_numbered": encode("leave_room", ROOM, None, 2**32 - 1),
    "join_room_numbered": encode("join_room", ROOM, {}, 7),
    "chat_numbered": encode("chat", ROOM, "hello", 1),
    "chat_text": encode("chat", ROOM, "hello", seq=1, payload_kind="text"),
    "chat_json": encode("chat", ROOM, {"b": 1, "a": [True, None]}),
    "chat_escapes": encode("chat", ROOM, '"q" \\ \b\f\n\r\t\0\x1f é 🎮 / \u2028', payload_kind="text"),
    "chat_direct": encode("chat", "", "psst", to_client_id="c2", payload_kind="text"),
    "chat_direct_user": encode("chat", "", "psst", to_user_id="u7", seq=3, payload_kind="text"),
    "chat_seq_greatest": encode("chat", ROOM, 1, seq=GREATEST),
    "event_json": encode("event", "board:1", {"x": 1.5}, name="cursor"),
    "event_bytes": encode("event", "board:1", b"\0\1\2\3\xff", name="stroke"),
    "event_no_payload": encode("event", "board:1", name="typing", ephemeral=True, no_echo=True),
    "event_echo": encode("event", "board:1", "", name="note", no_echo=False, payload_kind="text"),
    "presence_nickname": encode("presence", ROOM, {"presence": {"status": "away"}, "nickname": "Ada"}),
    "presence": encode("presence", "board:1", {"presence": {"a": 1, "status": "away", "typing": None}}),
    "game_action_protobuf": encode(
        "game_action",
        ROOM,
        {
            "action": "cast",
            "position": {"x": 1.5, "y": -2.25, "z": 1e21},
            "target_id": 2,
            "params": {"power": "9", "spell": "frost"},
        },
        seq=12,
    ),
    "skip": encode("skip", ROOM, {"seq": 5}),
    "skip_greatest": encode("skip", ROOM, {"seq": GREATEST}),
    "ping": encode("ping"),
    "ping_payload": encode("ping", payload=17),
    "members": encode("members", ROOM, {"after": 100, "limit": 50}),
    "history": encode("history", ROOM, {"before": 41, "limit": 20}),
    "history_newest": encode("history", ROOM, {}),
    "history_after": encode("history", ROOM, {"after": 40, "limit": 100}),
    "history_from_the_start": encode("history", ROOM, {"after": 0}),
    "auth": encode("auth", payload={"token": "ey.J.s"}),
}
# Those of a client that says more, or less, than this one.
NOT_SENT = {"hello_empty", "hello_resume", "hello_inbox_from_the_start", "join_room", "presence_nickname_alone"}


class Written(unittest.IsolatedAsyncioTestCase):
    def same(self, name, message):
        self.assertEqual(json.loads(to_frame(message)), json.loads(self.vectors[name]["json"]), name)

    def setUp(self):
        self.vectors = vectors("client.json")

    def test_messages_are_those_of_the_vectors(self):
        for name, message in SENT.items():
            with self.subTest(name):
                self.same(name, message)
        self.assertRaises(RoomcastError, to_frame, encode("chat", ROOM, float("nan")))

    async def test_hello_is_that_of_the_vectors(self):
        client = Client("ws://localhost")
        self.same("hello", client._hello())
        client._resume_token, client.inbox.position = "r1", Position("i7", 9)
        client._direct.next_seq = 4
        said = client._hello()
        self.assertEqual(said["payload"].pop("positions"), [])
        self.same("hello_resume_inbox", said)

    async def test_positions_and_joins_are_those_of_the_vectors(self):
        client = Client("ws://localhost")
        client._resume_token = "r1"
        for name, since, seq in [("arena:42", Position("k3x9", 7), 4), ("部屋", None, 1)]:
            room = client.room(name)
            room.wanted, room.log.position, room.outbox.next_seq = True, since, seq
        wanted = json.loads(self.vectors["hello_resume"]["json"])["payload"]["positions"]
        wanted[1]["first_seq"] = 1
        self.assertEqual(client._hello()["payload"]["positions"], wanted)
        room = client.room("arena:42")
        room.log.position, room.outbox.next_seq = Position("k3x9", GREATEST), GREATEST
        wanted = json.loads(self.vectors["join_room_everything"]["json"])
        room._options = {key: wanted["payload"][key] for key in ("nickname", "token")}
        room._presence = wanted["payload"]["presence"]
        self.same("join_room_everything", room.join_message())

    def test_every_vector_is_looked_at(self):
        checked = {*SENT, "hello", "hello_resume_inbox", "join_room_everything", *NOT_SENT}
        self.assertEqual(checked, set(self.vectors))


class Read(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.vectors = vectors("server.json")

    async def test_every_message_is_taken(self):
        """By a client with that connection and that room: nothing is unreadable."""
        for name, vector in self.vectors.items():
            with self.subTest(name):
                client = Client("ws://localhost")
                message = decode(vector["json"])
                client._open = message["type"] != "welcome"
                if room_id := message.get("room_id"):
                    room = client.room(room_id)
                    room.wanted = room.member = True
                client._take(message)

    async def test_a_welcome_tells_who_one_is(self):
        client = Client("ws://localhost")
        client._take(decode(self.vectors["welcome_everything"]["json"]))
        told = json.loads(self.vectors["welcome_everything"]["json"])["payload"]
        self.assertEqual((client.client_id, client._resume_token), ("c1", "r2"))
        self.assertEqual((client.user_id, client.status.resumed), (told["user_id"], True))
        self.assertEqual(client._hello()["payload"]["resume_token"], "r2")

    async def test_events_have_their_place_and_payload(self):
        wanted = {
            "chat_text": ('hello "you"\n', 1, 5),
            "chat_json": ("hello", 0, 5),
            "chat_direct": ("psst", 0, 0),
            "chat_direct_inbox": ("psst", 3, 9),
            "event_bytes": (b"\0\1\2\3\xff", 0, 6),
            "event_ephemeral": (None, 0, 0),
            "event_to_user": ([1, 2], 0, 0),
        }
        for name, (payload, seq, offset) in wanted.items():
            with self.subTest(name):
                event = event_of(decode(self.vectors[name]["json"]))
                place = event.position.offset if event.position else 0
                self.assertEqual((event.payload, event.seq, place), (payload, seq, offset))

    async def test_acks_answer_what_waits(self):
        client = Client("ws://localhost")
        client._open = True
        room = client.room(ROOM)
        room.wanted = room.member = True
        first, second = room.chat("one"), room.chat("two")
        while room.next(32, 1000):
            pass
        second.cancel()
        client._take(decode(self.vectors["ack"]["json"]))
        self.assertEqual((await first, room.outbox.waiting), (5, []))
        fourth = [room.chat(number) for number in range(3, 6)][1]
        while room.next(32, 1000):
            pass
        client._take(decode(self.vectors["error_seq_gap"]["json"]))
        again = [json.loads(room.next(32, 1000))["seq"] for _ in range(2)]
        self.assertEqual(again, [4, 5], "from the missing one on")
        client._take(decode(self.vectors["error"]["json"]))
        with self.assertRaises(RoomcastError) as told:
            await fourth
        self.assertEqual((told.exception.code, told.exception.message), ("not_in_room", "you are not in this room"))

    async def test_a_list_of_members(self):
        members = decode(self.vectors["joined"]["json"])["payload"]["members"]
        first, second = map(Member.of, members)
        self.assertEqual((first.nickname, first.presence, first.connected), ("Ada", {"colour": "#f80"}, True))
        self.assertEqual((second.player_num, second.nickname, second.connected), (2, "", False))

    def test_errors_say_when_to_try_again(self):
        error = RoomcastError.of(decode(self.vectors["error_retry"]["json"])["payload"])
        self.assertEqual((error.code, error.retry_after), ("rate_limited", 0.25))

    def test_what_is_no_message_is_told(self):
        for frame in ["", "[1]", "{}", '{"type":1}', "{", b"\x08\x01"]:
            self.assertRaises(ValueError, decode, frame)


class Repeats(unittest.IsolatedAsyncioTestCase):
    """Rules of section 5 that a good server gives no reason for."""

    async def test_what_comes_again_is_dropped_also_in_another_log(self):
        log = Log()

        def event(epoch, offset, seq=0, sender="a"):
            return event_of({"type": "chat", "from_client_id": sender, "seq": seq, "epoch": epoch, "offset": offset})

        self.assertTrue(log.take(event("one", 3, 1)))
        self.assertFalse(log.take(event("one", 3, 1)))
        self.assertTrue(log.take(event("one", 7, 2)), "a jump is no loss")
        self.assertFalse(log.take(event("two", 1, 1)), "a repeat in another log")
        self.assertEqual(log.position, Position("two", 1))
        self.assertTrue(log.take(event("two", 2, 1, "b")))
        self.assertEqual([type(it).__name__ for it in log.events], ["Message", "Message", "Gap", "Message"])

    async def test_an_application_that_does_not_read_is_told_of_a_gap(self):
        log = Log()
        log.events = deque(maxlen=None)
        for offset in range(1, 10_050):
            log.take(event_of({"type": "chat", "epoch": "one", "offset": offset}))
        gap = await anext(log)
        self.assertEqual((gap.since, gap.now), (None, Position("one", 10_001)))
        self.assertEqual((await anext(log)).position.offset, 10_002)


class Document(unittest.TestCase):
    def test_the_check_list_has_every_vector(self):
        text = (ROOT / "docs/writing-a-client.md").read_text()
        table = text[text.index("## Check list") :]
        named = set(re.findall(r"`([a-z0-9_]+)`", table))
        for file in ("client.json", "server.json"):
            self.assertEqual(set(vectors(file)) - named - {"hello_empty"}, set(), file)
