"""A client for Roomcast in one file, on the package `websockets` and asyncio. Python 3.11 or newer.

    pip install websockets
    python roomcast.py ws://localhost:8080/ws room-123 --name Ann

It keeps one session over as many connections as it takes: what was sent is sent again until it is acked and never done
twice, what was missed comes in order, and what was lost is told as a `Gap`. Written from docs/writing-a-client.md; the
numbers in brackets are its sections. Take it, change it.

    async with Client("ws://localhost:8080/ws") as client:
        room = client.room("chat:42")
        await room.join(nickname="Ann")
        offset = await room.chat("hello")       # acked: it is in the room's log
        async for event in room:
            match event:
                case Message(type="chat"): print(event.sender, event.payload)
                case Gap(): print("something is missing here")
                case Left(): break
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import random
import re
import sys
import threading
import time
import unicodedata
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TextIO
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

ANSWER = 10.0  # seconds that an answer of the server may take
PAGE = 60.0  # seconds that a page of `history` may take
RESUMED = 5.0  # seconds that the `joined` of a resumed room may take
SHORTEST, LONGEST = 0.5, 20.0  # seconds to wait before a new attempt
RENEW = 1.0  # seconds between two tokens that are asked for on one connection, at least
LATE_HELLO = 120.0  # seconds after which a `hello` of a connection that was given up won't come any more
SEQ = 24  # bytes that a number adds to a message
OUTBOX = 1 << 20  # bytes of messages without an answer, in each outbox
EVENTS, BYTES = 10_000, 16 << 20  # events of a room, and their bytes, that wait for the application
LISTED = 10_000  # members of a room that are kept
FRAME = 16 << 20  # bytes of a message from the server
NESTING = 255  # objects and arrays inside each other, in a message from the server
BELIEVED = 600.0  # seconds: no server makes a client wait longer
LATER = ("rate_limited", "unavailable", "internal")  # a join, a leave or a `hello` is tried again after these

Json = dict[str, Any]


# --- what the application sees ---


class RoomcastError(Exception):
    """A stable `code` (docs/protocol.md; here also `closed`, `left`, `unconfirmed`, `outbox_full`, `unreadable`), and a
    sentence."""

    def __init__(self, code: str, message: str = "", retry_after: float = 0.0) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
        self.retry_after = retry_after  # seconds

    @staticmethod
    def of(payload: Json) -> RoomcastError:
        return RoomcastError(payload["code"], payload["message"], min(payload["retry_after_ms"] / 1000, BELIEVED))


@dataclass(frozen=True)
class Position:
    """A place in a log. Store that of the last event that was dealt with, and pass it as `since`."""

    epoch: str
    offset: int


@dataclass(frozen=True)
class Message:
    """What somebody said or did, or what the server tells of a room (`player_joined`, `presence`, `sync`)."""

    type: str
    payload: Any = None  # `bytes` where the sender declared them
    sender: str = ""  # the client_id; "": the room itself, or a service
    user: str = ""  # whom the sender's token names; "": nobody
    player: int = 0  # the sender's player_num; 0: it has none, as in a direct message
    service: str = ""  # what sent it, where no client did
    room: str = ""  # "": a direct message
    name: str = ""  # of an event
    timestamp: int = 0  # the server's clock, in milliseconds
    seq: int = 0  # the sender's number
    position: Position | None = None  # None: it is in no log
    size: int = field(default=0, repr=False, compare=False)  # bytes of what it came in


@dataclass(frozen=True)
class Gap:
    """What came between the two positions is lost."""

    since: Position | None
    now: Position | None


@dataclass(frozen=True)
class Joined:
    """The room was joined, or joined again. `recovered`: nothing is missing since the position of before."""

    recovered: bool


@dataclass(frozen=True)
class Left:
    """The room was left; with an error where nobody asked for that."""

    error: RoomcastError | None = None


@dataclass(frozen=True)
class Refused:
    """The server refused something that has no number: an ephemeral event, presence."""

    request: str
    error: RoomcastError


Event = Message | Gap | Joined | Left | Refused


@dataclass(frozen=True)
class Status:
    """`connecting`, `connected`, `reconnecting` (in `wait` seconds, because of `error`) or `closed`."""

    state: str
    resumed: bool = False
    error: RoomcastError | None = None
    wait: float = 0.0


@dataclass
class Member:
    player_id: str
    player_num: int
    nickname: str = ""
    presence: Json = field(default_factory=dict)
    connected: bool = True

    @staticmethod
    def of(keys: Json) -> Member:
        return Member(**{key: keys[key] for key in Member.__dataclass_fields__ if key in keys})


# --- the wire ---


class Unreadable(ValueError):
    """What the server sent is no message. `type` and `room` are its own, as far as they could be read."""

    type = ""
    room: str | None = None


Check = Callable[[Any], Any]  # gives the value, or what stands for None; raises `ValueError` for one of another kind


def a_text(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"a text is needed, not {type(value).__name__}")
    value.encode()  # half of a surrogate pair is no text
    return value


def a_flag(value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    raise ValueError(f"true or false is needed, not {type(value).__name__}")


def a_whole(most: int, least: int = 0) -> Check:
    def check(value: Any) -> int:
        if value is None:
            return 0
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"a whole number from {least} to {most} is needed")
        return value

    return check


def a_number(value: Any) -> float:
    if value is None or (type(value) in (int, float) and -1e308 <= value <= 1e308):
        return value or 0
    raise ValueError("a number is needed")


def an_epoch(value: Any) -> str:
    if len(a_text(value)) > 16:
        raise ValueError("an epoch has at most 16 characters")
    return value or ""


def keys(**checks: Check) -> Check:
    """An object with these keys. Others pass as they are."""

    def check(value: Any) -> Json:
        if not isinstance(value, dict | None):
            raise ValueError(f"an object is needed, not {type(value).__name__}")
        value = value or {}
        return value | {key: check(value.get(key)) for key, check in checks.items()}

    return check


def many(one: Check) -> Check:
    def check(value: Any) -> list[Any]:
        if not isinstance(value, list | None):
            raise ValueError(f"an array is needed, not {type(value).__name__}")
        return [one(it) for it in value or ()]

    return check


def needed(one: Check) -> Check:
    def check(value: Any) -> Any:
        if value is None:
            raise ValueError("a key is missing")
        return one(value)

    return check


def optional(one: Check) -> Check:
    return lambda value: None if value is None else one(value)


U32, I32, U64, I64 = a_whole(2**32 - 1), a_whole(2**31 - 1, -(2**31)), a_whole(2**64 - 1), a_whole(2**63 - 1, -(2**63))
PLACE = a_whole(2**53 - 1)  # a `seq` or an `offset`
AXES = keys(x=a_number, y=a_number, z=a_number)
MEMBER = keys(player_id=a_text, player_num=U32, nickname=a_text, presence=keys(), connected=a_flag)
STATE = keys(player_id=a_text, position=AXES, velocity=AXES, health=I32, score=I32, player_num=I32)
LIMITS = dict.fromkeys(("max_rooms", "messages_per_second", "burst", "max_name", "max_unanswered"), U32)
ENVELOPE = keys(
    from_client_id=a_text,
    to_client_id=a_text,
    to_user_id=a_text,
    room_id=a_text,
    timestamp=I64,
    seq=PLACE,
    offset=PLACE,
    epoch=an_epoch,
    payload_kind=a_text,
    name=a_text,
    ephemeral=a_flag,
    request_id=U32,
    from_user_id=a_text,
    from_player_num=U32,
    from_service=a_text,
)


def an_event(value: Any) -> Json:
    """A message in a page of `history`: not itself one, or pages could be in pages for ever."""
    if not isinstance(value, dict) or value.get("type") == "history":
        raise ValueError("an event is needed")
    return message_of(value)


# What each type's payload is; None: it is its sender's.
PAYLOADS: dict[str, Check | None] = {
    "chat": None,
    "event": None,
    "pong": None,
    "game_action": needed(keys(action=needed(a_text), position=AXES, target_id=I32, params=keys())),
    "welcome": keys(
        client_id=a_text,
        user_id=a_text,
        resume_token=a_text,
        resumed=a_flag,
        seq_acked=a_flag,
        direct_repeats_possible=a_flag,
        inbox_recovered=a_flag,
        inbox=optional(keys(epoch=an_epoch, offset=PLACE)),
        limits=keys(max_message=U64, max_presence=U64, **LIMITS),
        ping_interval_ms=U64,
        grace_ms=U64,
        server_time=I64,
        token_expires_at=I64,
        version=U32,
    ),
    "joined": keys(
        player_id=a_text,
        player_num=U32,
        mode=a_text,
        presence=a_text,
        members=many(needed(MEMBER)),
        total=U64,
        epoch=an_epoch,
        offset=PLACE,
        recovered=a_flag,
        repeats_possible=a_flag,
    ),
    "player_joined": MEMBER,
    "player_left": keys(player_id=a_text, player_num=U32),
    "presence": keys(player_id=a_text, player_num=U32, nickname=a_text, presence=keys(), connected=a_flag, total=U64),
    "sync": keys(
        frame_num=I64,
        players=many(needed(STATE)),
        timestamp=I64,
        full=a_flag,
        left=many(needed(a_text)),
        offset=PLACE,
    ),
    "ack": keys(acks=many(needed(keys(seq=PLACE, offset=PLACE)))),
    "error": keys(code=a_text, message=a_text, seq=PLACE, retry_after_ms=U64, request=a_text),
    "members": keys(members=many(needed(MEMBER)), total=U64, next=U32),
    "history": keys(events=many(an_event), next=PLACE, epoch=an_epoch),
    "auth": keys(token_expires_at=I64, user_id=a_text),
    "reconnect": keys(delay_ms=U64, url=a_text, reason=a_text),
}


def message_of(said: Json) -> Json:
    """A message with all keys of its type. Those that were not there are empty, 0, or false."""
    kind = a_text(needed(a_text)(said.get("type")))
    if kind not in PAYLOADS:
        return {"type": kind}
    message, payload = ENVELOPE(said), said.get("payload")
    match PAYLOADS[kind], message["payload_kind"]:
        case None, "bytes":
            payload = base64.b64decode(a_text(payload), validate=True)
        case None, "text":
            payload = a_text(payload)
        case None, "" | "json":
            pass
        case None, kind:
            raise ValueError(f"there is no `payload_kind` {kind!r}")
        case check, _:
            payload = check(payload)
    if message["type"] == "event" and not said.get("name"):
        raise ValueError("an event has a name")
    return message | {"payload": payload}


def too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(NESTING + 1):
        level = [it for it in level if isinstance(it, dict | list)]
        level = [inner for it in level for inner in (it.values() if isinstance(it, dict) else it)]
    return bool(level)


def an_integer(digits: str) -> Any:
    # Python refuses to read longer ones. A `Decimal` has all their digits.
    return int(digits) if len(digits) < 4_000 else Decimal(digits)


def no_json(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def decode(frame: str | bytes) -> Json:
    """A message of the server's. Raises `Unreadable` for what is none. One of an unknown type has nothing but that."""
    said: Any = None
    try:
        if not isinstance(frame, str):
            raise ValueError("a frame of JSON is a text frame")
        said = json.loads(frame, parse_int=an_integer, parse_constant=no_json)
        if not isinstance(said, dict) or too_deep(said):
            raise ValueError("it is no object, or nested too deeply")
        return message_of(said) | {"size": len(frame)}
    except (ValueError, RecursionError) as bad:
        unreadable = Unreadable(str(bad))
        with contextlib.suppress(ValueError):
            said = said if isinstance(said, dict) else {}
            unreadable.type = a_text(said.get("type"))
            unreadable.room = optional(a_text)(said.get("room_id"))
        raise unreadable from None


def event_of(message: Json) -> Message:
    offset = message.get("offset", 0)
    return Message(
        type=message["type"],
        payload=message.get("payload"),
        sender=message.get("from_client_id", ""),
        user=message.get("from_user_id", ""),
        player=message.get("from_player_num", 0),
        service=message.get("from_service", ""),
        room=message.get("room_id", ""),
        name=message.get("name", ""),
        timestamp=message.get("timestamp", 0),
        seq=message.get("seq", 0),
        position=Position(message.get("epoch", ""), offset) if offset else None,
        size=message.get("size", 0),
    )


def encode(type: str, room: str = "", payload: Any = None, request_id: int | None = None, **keys: Any) -> Json:
    """A message to the server, without the keys that say nothing."""
    # Before the payload, so that it is read whatever is wrong with that.
    message = {"type": type, "request_id": request_id, "room_id": room, "payload": payload, **keys}
    if isinstance(payload, bytes):
        message |= {"payload": base64.b64encode(payload).decode(), "payload_kind": "bytes"}
    return {key: value for key, value in message.items() if value is not None and (value != "" or key == "payload")}


def to_frame(message: Json) -> str:
    """Raises `RoomcastError` for what is no JSON: then nothing of it is kept, and no connection meets it."""
    try:
        # NaN and infinities are no JSON.
        frame = json.dumps(message, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        if not is_text(frame):  # half of a surrogate pair passes as it is written in JSON
            frame = json.dumps(message, separators=(",", ":"), allow_nan=False)
        return frame
    except (ValueError, TypeError, RecursionError) as bad:
        raise RoomcastError("invalid_value", f"this can't be sent as JSON: {bad}") from None


def is_text(text: str) -> bool:
    """Without half of a surrogate pair."""
    try:
        text.encode()
        return True
    except UnicodeEncodeError:
        return False


def check_name(name: Any, what: str, most: int = 0) -> str:
    """A name of a room, an event or an action, or an id. Raises `RoomcastError` for one that no server takes."""
    good = isinstance(name, str) and is_text(name) and name != "" and not re.search(r"[\s\x00-\x1f\x7f-\x9f]", name)
    if not good or 0 < most < len(name.encode()):
        raise RoomcastError("invalid_name", f"this can't be {what}")
    return name


def copy_of(value: Any) -> Any:
    """As it is now: the application may change its own. Raises `RoomcastError` for what is no JSON."""
    return json.loads(to_frame(value))


def comes_back(code: int) -> bool:
    """Whether a client connects again after a close code (12)."""
    return code not in (1002, 1003, 1007, 1009) and not 4500 <= code <= 4999


def new_future() -> asyncio.Future[Any]:
    """One that nobody has to await."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda it: it.cancelled() or it.exception())
    return future


def settle(future: asyncio.Future[Any] | None, result: Any = None) -> None:
    if future and not future.done():
        future.set_exception(result) if isinstance(result, Exception) else future.set_result(result)


# --- messages that wait for their answers (6, 7, 8) ---


@dataclass(eq=False)
class Sending:
    """A message in an outbox, without its number. Cancelling `answer` withdraws it."""

    frame: str
    answer: asyncio.Future[int]
    size: int = 0
    seq: int = 0  # 0: it was never sent
    given_up: RoomcastError | None = None

    def is_given_up(self) -> bool:
        return self.given_up is not None or self.answer.cancelled()


class Outbox:
    """The messages to a room, or the direct ones. Those that have a number come first, in the order of numbers."""

    def __init__(self, room: str) -> None:
        self.room = room  # "": direct messages
        self.waiting: list[Sending] = []
        self.next_seq = 1
        self.size = 0
        self.sent = 0  # so many of them were sent on this connection
        self.paused_until = 0.0
        self.pauses = 0

    def put(self, message: Json) -> asyncio.Future[int]:
        # As text: the application may change its object, but a number keeps its message.
        frame = to_frame(message)
        size = len(frame.encode())
        if self.size + size > OUTBOX:
            raise RoomcastError("outbox_full", "too many messages wait for their answers")
        self.size += size
        self.waiting.append(Sending(frame, new_future(), size))
        return self.waiting[-1].answer

    def first_seq(self) -> int:
        """The lowest number without an answer (2)."""
        return (self.waiting[0].seq if self.waiting else 0) or self.next_seq

    def next(self, limit: int, most: int) -> str | None:
        """What is to be sent now, with at most `limit` messages under way, each of at most `most` bytes."""
        while self.sent < min(limit, len(self.waiting)) and self.paused_until <= time.monotonic():
            sending = self.waiting[self.sent]
            if sending.size + SEQ > most and not sending.is_given_up():
                sending.given_up = RoomcastError("too_large", f"a message has at most {most} bytes")
            if sending.is_given_up() and not sending.seq:
                settle(self._take(self.sent).answer, sending.given_up)
                continue
            self.sent += 1
            if sending.is_given_up():
                return to_frame(encode("skip", self.room, {"seq": sending.seq}))
            if not sending.seq:
                sending.seq = self.next_seq
                self.next_seq += 1
            # First, so that it is read whatever is wrong with what follows.
            return f'{{"seq":{sending.seq},{sending.frame[1:]}'
        return None

    def answered(self, seq: int, offset: int = 0, error: RoomcastError | None = None) -> None:
        """An answer for good (7). A number that was given up and has an offset had arrived before."""
        at = self._index(seq)
        if at < len(self.waiting) and self.waiting[at].seq == seq:
            sending = self._take(at)
            self.pauses = 0
            settle(sending.answer, error or (None if offset else sending.given_up) or offset)

    def refused(self, seq: int, retry_after: float) -> None:
        """An answer that leaves the number open: it is sent again, with all after it."""
        at = self._index(seq)
        if at < self.sent and self.waiting[at].seq == seq:
            self.sent = at
            self.pause(retry_after)

    def gap(self, missing: int) -> None:
        """The server lacks a number: it is sent again, with all after it, or skipped where nobody has it."""
        if 0 < missing < self.next_seq:
            at = self._index(missing)
            if at == len(self.waiting) or self.waiting[at].seq != missing:
                self._skip(at, missing)
            self.sent = min(self.sent, at)

    def start(self, forgotten: bool = False) -> None:
        """A new connection: all is sent again. A server that has forgotten the answers lacks their numbers (8)."""
        self.sent, self.paused_until, self.pauses = 0, 0.0, 0
        if forgotten and self.waiting and self.waiting[0].seq:
            for seq in range(self.waiting[0].seq, self.next_seq):
                at = self._index(seq)
                if at == len(self.waiting) or self.waiting[at].seq != seq:
                    self._skip(at, seq)

    def start_over(self) -> None:
        """The server counts from 1 again, and nobody knows what became of those that were sent (8)."""
        self.fail_sent()
        self.next_seq = 1
        self.start()

    def fail_sent(self) -> None:
        error = RoomcastError("unconfirmed", "it was sent and has no answer: it may have been done")
        while self.waiting and self.waiting[0].seq:
            settle(self._take(0).answer, error)

    def fail_unsent(self, error: RoomcastError) -> None:
        while self.waiting and not self.waiting[-1].seq:
            settle(self._take(len(self.waiting) - 1).answer, error)

    def _take(self, at: int) -> Sending:
        sending = self.waiting.pop(at)
        self.size -= sending.size
        self.sent -= at < self.sent
        return sending

    def _index(self, seq: int) -> int:
        """Where a number is, or would be."""
        return next((at for at, it in enumerate(self.waiting) if not 0 < it.seq < seq), len(self.waiting))

    def _skip(self, at: int, seq: int) -> None:
        nobody = new_future()
        nobody.cancel()
        self.waiting.insert(at, Sending("", nobody, seq=seq))

    def pause(self, seconds: float) -> None:
        self.pauses += 1
        wait = seconds or 0.025 * 2 ** min(self.pauses, 8)
        self.paused_until = max(self.paused_until, time.monotonic() + wait)


# --- what was received (5) ---


class Log:
    """How far a log was received: a room's, or the inbox. Its events wait here for the application."""

    def __init__(self) -> None:
        self.position: Position | None = None
        self.events: deque[Event] = deque()
        self.size = 0  # bytes of the messages that they came in
        self.arrived = asyncio.Event()
        self.ended = False
        self.taken: Position | None = None  # of the last event that the application took
        self.numbers: dict[str, deque[int]] = {}  # the last ones of each sender

    def take(self, event: Message) -> bool:
        """Delivers an event, unless it was delivered before."""
        if place := event.position:
            before = self.position
            is_old = before and place.offset <= before.offset
            if is_old and before.epoch == place.epoch:
                return False
            # A log may go on under another name; one that begins anew counts anew.
            if is_old:
                self.gap(Position(place.epoch, place.offset - 1))
            self.position = place
            if event.seq and not self._is_new(event.sender, event.seq):
                return False
        self.put(event)
        return True

    def gap(self, now: Position | None) -> None:
        since, self.position = self.position, now
        self.put(Gap(since, now))

    def put(self, event: Event) -> None:
        size = event.size if isinstance(event, Message) else 0
        if len(self.events) >= EVENTS or (self.events and self.size + size > BYTES):
            self.events.clear()  # the application doesn't come along (14)
            self.size = 0
            event, size = (event if isinstance(event, Left) else Gap(self.taken, self.position)), 0
        self.size += size
        self.events.append(event)
        self.arrived.set()

    def end(self) -> None:
        self.ended = True
        self.arrived.set()

    def _is_new(self, sender: str, seq: int) -> bool:
        numbers = self.numbers.pop(sender, deque(maxlen=64))
        self.numbers[sender] = numbers  # those who spoke last are at the end
        if len(self.numbers) > 1024:
            del self.numbers[next(iter(self.numbers))]
        if seq in numbers:
            return False
        numbers.append(seq)
        return True

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self.events:
            if self.ended:
                raise StopAsyncIteration
            self.arrived.clear()
            await self.arrived.wait()
        event = self.events.popleft()
        match event:
            case Message(size=size):
                self.size -= size
        match event:
            case Message(position=Position() as place) | Gap(now=Position() as place):
                self.taken = place
        return event


# --- rooms (4, 9) ---


class Room:
    """A room's handle: `client.room(name)`. Iterate over it for its events; they wait from the beginning on."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self.members: dict[int, Member] = {}  # by player_num; at most 100 of a big room's
        self.total = 0
        self.properties: Json = {}  # what the application's backend says of the room
        self.player_num = 0
        self.outbox = Outbox(name)
        self.log = Log()
        self.wanted = False
        self.held = False  # the server's session has it, as far as is known
        self.member = False  # `joined` has come on this connection
        self.asked = ""  # `join_room` or `leave_room` waits for its answer
        self.ask_at = 0.0  # not asked (again) before
        self.ask_id = 0  # the number of that request
        self._epoch = ""
        self._listed_at = 0
        self._options: Json = {}
        self._presence: Json = {}  # one's own keys as they are to be
        self._unsent: Json = {}  # those to be sent
        self._nickname = ""  # what one wants to be called, once it was changed
        self._renamed = False  # and it is to be sent
        self._joining: asyncio.Future[None] | None = None
        self._leaving: asyncio.Future[None] | None = None
        self._pages: deque[tuple[Json, asyncio.Future[Json]]] = deque()  # `history`, one page at a time
        self.page_id = 0  # the number of the request for the first of them, if it was sent
        self.page_due = 0.0

    @property
    def position(self) -> Position | None:
        """The last event that was received."""
        return self.log.position

    def __aiter__(self) -> AsyncIterator[Event]:
        return self.log

    async def join(
        self,
        nickname: str | None = None,
        presence: Json | None = None,
        since: Position | None = None,
        token: str | None = None,
    ) -> None:
        """Joins, and joins again after each reconnection, until `leave`."""
        if not self.wanted:
            self.client.check_room(self.name)
            # What can't be said is an error here, and not of each connection that comes.
            options = {"nickname": nickname, "token": token}
            for key, value in options.items():
                if value is not None and not (isinstance(value, str) and is_text(value)):
                    raise RoomcastError("invalid_value", f"`{key}` is no text")
            presence, since = copy_of(dict(presence or {})), check_position(since)
            self._options, self._presence, self.log.position = options, presence, since
            try:
                self.client.check_size(to_frame(self.join_message()))
            except RoomcastError:
                self._options, self._presence, self.log.position = {}, {}, None
                raise
            self.wanted, self._joining = True, new_future()
        self.client.ask(self)
        if self._joining:
            await asyncio.shield(self._joining)

    async def leave(self) -> None:
        """Leaves. What was not sent yet fails with `left`."""
        if self.wanted:
            self.end(RoomcastError("left", "the room was left before"))
            self.log.put(Left())
            self._leaving = new_future()
            self.client.ask(self)
            if self.asked:
                await asyncio.shield(self._leaving)

    def chat(self, payload: Any) -> Awaitable[int]:
        """Says something. Await it for its offset in the log, or don't; cancel it to withdraw it."""
        return self.client.put(self, encode("chat", self.name, payload))

    def event(self, name: str, payload: Any = None, no_echo: bool | None = None) -> Awaitable[int]:
        """The same, with an event of that name."""
        check_name(name, "the name of an event")
        return self.client.put(self, encode("event", self.name, payload, name=name, no_echo=no_echo))

    def action(self, action: str, **keys: Any) -> Awaitable[int]:
        """The same, with an action. Its offset is 0 where the room's logic took it."""
        check_name(action, "an action")
        return self.client.put(self, encode("game_action", self.name, {"action": action, **keys}))

    def signal(self, name: str, payload: Any = None, no_echo: bool | None = True) -> bool:
        """Sends an ephemeral event, now or not at all."""
        check_name(name, "the name of an event")
        message = encode("event", self.name, payload, name=name, ephemeral=True, no_echo=no_echo)
        frame = self.client.check_size(to_frame(message))
        return self.member and self.client.send(frame)

    def update_presence(self, **keys: Any) -> None:
        """Sets keys of one's own entry; None removes one. The newest values arrive."""
        keys = copy_of(keys)
        after = {key: value for key, value in (self._presence | keys).items() if value is not None}
        self.client.check_size(to_frame(after), "max_presence", "presence_too_large")
        self._presence |= keys
        self._unsent |= keys
        self.client.wake.set()

    def set_nickname(self, nickname: str) -> None:
        """Changes one's nickname, also for later joins."""
        if not (isinstance(nickname, str) and is_text(nickname) and nickname):
            raise RoomcastError("invalid_name", "this can't be a nickname")
        self._nickname, self._renamed = nickname, True
        self._options = {**self._options, "nickname": nickname}
        self.client.wake.set()

    async def history(self, after: int | None = None, before: int | None = None) -> AsyncIterator[Message]:
        """Events of the log: after an offset, the oldest first; or before one or the end, the newest first."""
        if not self.wanted:
            raise RoomcastError("not_joined", "join the room first")
        forward = after is not None
        at = check_offset(after if forward else before)
        if forward and before is not None:
            raise RoomcastError("invalid_value", "a page is after an offset or before one")
        while at != 0 or (forward and after == 0):
            self._pages.append(({"after" if forward else "before": at}, new_future()))
            self.client.wake.set()
            page = await self._pages[-1][1]
            for message in page["events"]:
                yield event_of(message)
            before, at, after = at, page["next"], None
            if at and before is not None and (at <= before if forward else at >= before):
                raise RoomcastError("invalid_value", "the server's pages don't go on")

    def next(self, limit: int, most: int) -> str | None:
        if not self.member:
            return None
        if (self._unsent or self._renamed) and self.outbox.paused_until <= time.monotonic():
            update: Json = {"presence": self._unsent}
            if self._renamed:
                update["nickname"] = self._nickname
            self._unsent, self._renamed = {}, False
            return to_frame(encode("presence", self.name, update))
        if self._pages and not self.page_id:
            self.page_id, self.page_due = self.client.new_request(), time.monotonic() + PAGE
            return to_frame(encode("history", self.name, self._pages[0][0], self.page_id))
        return self.outbox.next(limit, most)

    def place(self) -> Json:
        """Where the application is in this room."""
        since = {"since": since_of(self.position)} if self.position else {}
        return {"room_id": self.name, **since, "first_seq": self.outbox.first_seq()}

    def join_message(self, request_id: int | None = None) -> Json:
        presence = {key: value for key, value in self._presence.items() if value is not None}
        options = {key: value for key, value in (self._options | {"presence": presence}).items() if value}
        place = {key: value for key, value in self.place().items() if key != "room_id"}
        return encode("join_room", self.name, options | place, request_id)

    def joined(self, told: Json, timestamp: int) -> None:
        now, since = Position(told["epoch"], told["offset"]), self.position
        if since and not told["recovered"] and now != since:
            self.log.gap(now)
        elif not since:
            self.log.position = now
        self.members = {it["player_num"]: Member.of(it) for it in told["members"]}
        self.properties = told.get("properties") or {}
        self.total, self._listed_at = told["total"], timestamp
        self.log.put(Joined(told["recovered"]))
        if not self.member:
            self.member = True
            self.outbox.start(told["repeats_possible"] or now.epoch != self._epoch)
            known = self.members.get(self.player_num)
            own = known.presence if known else {}
            self._renamed = self._nickname not in ("", known.nickname if known else None)
            self._unsent = {key: value for key, value in self._presence.items() if own.get(key) != value}
        self._epoch = now.epoch
        settle(self._joining)

    def heard(self, message: Json) -> None:
        """An event, or state."""
        event = event_of(message)
        if not self.log.take(event):
            return
        keys = event.payload if isinstance(event.payload, dict) else {}
        num = keys.get("player_num", 0)
        if event.type == "presence" and num in self.members:
            self.members[num] = Member.of(keys)
        elif "total" in keys and (event.type == "presence" or (event.name == "roomcast.presence" and not event.sender + event.service)):
            self.total = keys["total"]
        elif event.timestamp < self._listed_at:
            pass  # it is in the list already
        elif event.name == "roomcast.properties" and not event.sender + event.service:
            self.properties = keys
        elif event.type == "player_joined" and num not in self.members:
            if len(self.members) < LISTED:
                self.members[num] = Member.of(keys)
            self.total += 1
        elif event.type == "player_left" and num in self.members:
            del self.members[num]
            self.total -= 1

    def page(self, answer: Json | RoomcastError) -> None:
        if self.page_id:
            self.page_id = 0
            settle(self._pages.popleft()[1], answer)

    def presence_refused(self, error: RoomcastError) -> None:
        if error.code in LATER:
            self._unsent = self._presence | self._unsent
            self._renamed = bool(self._nickname)
            self.outbox.pause(error.retry_after)
        else:  # it would be refused again, and with it the next join
            known = self.members.get(self.player_num)
            self._presence = dict(known.presence) if known else {}
            if self._nickname:
                self._nickname = self._options["nickname"] = ""
            self.log.put(Refused("presence", error))

    def left(self) -> None:
        """The server says so."""
        self.asked, self.ask_at, self.held, self.member = "", 0.0, False, False
        if not self.wanted:
            self.outbox.fail_sent()
        settle(self._leaving)

    def put_out(self, error: RoomcastError) -> None:
        """The server does not want it."""
        if self.wanted:
            self.log.put(Left(error))
        self.end(error)
        self.left()
        settle(self._joining, error)

    def end(self, error: RoomcastError) -> None:
        """What belongs to the stay ends. Numbers go on when the room is joined again."""
        self.wanted = self.member = False
        self.outbox.fail_unsent(error)
        self.log.position = None
        self.members, self.total, self._unsent, self.page_id = {}, 0, {}, 0
        while self._pages:
            settle(self._pages.popleft()[1], error)

    def connection_lost(self) -> None:
        held = self.held or bool(self.asked)  # a join may have arrived, a leave may not have
        if not self.wanted:
            self.left()
        self.held, self.asked, self.ask_at, self.member, self.page_id = held, "", 0.0, False, 0


def check_offset(offset: Any) -> int | None:
    """None, or an offset. Raises `RoomcastError` for what is none."""
    try:
        return optional(PLACE)(offset)
    except ValueError as bad:
        raise RoomcastError("invalid_value", f"this is no offset: {bad}") from None


def check_position(position: Position | None) -> Position | None:
    """Raises `RoomcastError` for one that no server gave."""
    try:
        return Position(an_epoch(position.epoch), PLACE(position.offset)) if position else None
    except ValueError as bad:
        raise RoomcastError("invalid_value", f"this is no position: {bad}") from None


def since_of(position: Position | None) -> Json | None:
    return {"epoch": position.epoch, "offset": position.offset} if position else None


# --- the client ---

Token = str | Callable[[], Awaitable[str]] | None


class Lost(Exception):
    """A connection is over, or there was none. `wait`: seconds, instead of a random time."""

    def __init__(self, error: RoomcastError, final: bool = False, wait: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.final, self.wait = error, final, wait

    @staticmethod
    def closed(closed: ConnectionClosed) -> Lost:
        """What a close frame says, or that there was none."""
        if closed.rcvd is None:
            return Lost(RoomcastError("connection_lost", str(closed)))
        code, reason = closed.rcvd.code, closed.rcvd.reason
        wait = re.search(r"retry_after_ms=([0-9]+)", reason)
        name = reason.split(";")[0] or f"close_{code}"
        error = RoomcastError(name, f"closed with {code}", min(int(wait[1]) / 1000, BELIEVED) if wait else 0.0)
        return Lost(error, final=not comes_back(code))


class Client:
    """One session with a server. `token` is one, or a function that fetches a fresh one; what that raises as a
    `RoomcastError` ends the client, anything else is tried again."""

    def __init__(
        self,
        url: str,
        token: Token = None,
        on_status: Callable[[Status], None] = lambda status: None,
        shortest: float = SHORTEST,
        longest: float = LONGEST,
    ) -> None:
        self.url = url if urlsplit(url).path.strip("/") else url.rstrip("/") + "/ws"
        self.client_id = ""
        self.user_id = ""
        self.inbox = Log()  # iterate over it for direct messages
        self.status = Status("connecting")
        self.wake = asyncio.Event()  # there may be something to send
        self._token, self._on_status = token, on_status
        self._shortest, self._longest = shortest, longest
        self._rooms: dict[str, Room] = {}
        self._direct = Outbox("")
        self._resume_token = ""
        self._most_positions = 64
        self._limits: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        # Of the connection.
        self._connection: ClientConnection | None = None
        self._open = False  # `welcome` has come
        self._acked = True  # the server acks
        self._requests = 0  # the number of the last request
        self._control: deque[str] = deque()
        self._heard_at = 0.0
        self._paid_until = 0.0
        self._ping_every = 30.0
        self._pings: dict[int, float] = {}
        self._clock: deque[tuple[float, float]] = deque(maxlen=8)  # a ping's way; the server's clock minus ours (ms)
        self._opened_at = 0.0
        self._renew_at = 0.0
        self._renewed_at = 0.0
        self._renewing: asyncio.Task[None] | None = None
        self._reconnect: tuple[float, str] | None = None  # when, and where
        self._late: deque[float] = deque()  # until when a `hello` of a connection that was given up may still come

    async def __aenter__(self) -> Client:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def room(self, name: str) -> Room:
        """The room's handle, always the same one. Does nothing yet. A name that no room can have is an error."""
        self.check_room(name)
        if name not in self._rooms:
            self._rooms[name] = Room(self, name)
        return self._rooms[name]

    def direct(
        self, payload: Any, client: str | None = None, user: str | None = None, name: str = ""
    ) -> Awaitable[int]:
        """A chat (with a name: an event) to a session or a user. Await it for the offset in the inbox (10)."""
        kind = "event" if name else "chat"
        # Checked before a number is taken: without a recipient the server would take it for a message to a room.
        if (client is None) == (user is None):
            raise RoomcastError("invalid_value", "a direct message is for a client or for a user")
        check_name(client if user is None else user, "anybody's id")
        if name:
            check_name(name, "the name of an event")
        return self.put(None, encode(kind, "", payload, to_client_id=client, to_user_id=user, name=name))

    def server_now(self) -> float | None:
        """The server's clock, in milliseconds since the Unix epoch, as the quickest of the last pings told it."""
        return time.monotonic() * 1000 + min(self._clock)[1] if self._clock else None

    async def close(self) -> None:
        """Says goodbye: the session ends (15). Await what is to be acked before."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._connection:
            await self._connection.close(1000)
        self._end(RoomcastError("closed", "the client was closed"))

    # --- for rooms ---

    def put(self, room: Room | None, message: Json) -> Awaitable[int]:
        """A message that is to have an answer."""
        if self.status.state == "closed" or (room and not room.wanted):
            raise RoomcastError("closed" if self.status.state == "closed" else "not_joined", "join the room first")
        frame = self.check_size(to_frame(message))
        self.wake.set()
        if self._acked:
            return (room.outbox if room else self._direct).put(message)
        sent = new_future()
        settle(sent, 0 if self.send(frame) else RoomcastError("connection_lost"))
        return sent

    def send(self, frame: str) -> bool:
        """Sends now, or not at all."""
        if self._open:
            self._control.append(frame)
            self.wake.set()
        return self._open

    def new_request(self) -> int:
        """A number, by which the answer is known."""
        self._requests = self._requests % (2**32 - 1) + 1
        return self._requests

    def check_size(self, frame: str, limit: str = "max_message", code: str = "too_large") -> str:
        """Raises `RoomcastError` where the server takes less, as far as that is known."""
        if 0 < self._limits.get(limit, 0) < len(frame.encode()):
            raise RoomcastError(code, f"the server takes at most {self._limits[limit]} bytes")
        return frame

    def check_room(self, name: str) -> None:
        check_name(name, "a room's name", self._limits.get("max_name", 0))

    def ask(self, room: Room) -> None:
        """Asks the server for what the application wants, if nothing else is asked."""
        if not self._open or room.asked or room.ask_at > time.monotonic():
            return
        if room.wanted and not room.member:
            try:  # once more, as the limits are known now, and those of another server may be others
                self.check_room(room.name)
                room.ask_id = self.new_request()
                frame = self.check_size(to_frame(room.join_message(room.ask_id)))
            except RoomcastError as error:
                return room.put_out(error)
            room.asked = "join_room"
            self.send(frame)
        elif not room.wanted and room.held:
            room.asked, room.ask_id = "leave_room", self.new_request()
            self.send(to_frame(encode("leave_room", room.name, None, room.ask_id)))
        elif not room.wanted:
            room.left()
        room.ask_at = time.monotonic() + ANSWER if room.asked else 0.0

    # --- one connection after the other (1, 12) ---

    async def _run(self) -> None:
        failures, url = 0, self.url
        while True:
            try:
                await self._live(await self._connect(url))
            except Lost as lost:
                lived = time.monotonic() - self._opened_at if self._open else 0.0
                self._connection_lost()
                await self._hang_up()
                # What a place that the server named says is not the last word.
                final = lost.final and (url == self.url or self._opened_at)
                if final and not (lost.error.code == "taken_over" and self._took_over_itself()):
                    return self._end(lost.error)
                wait, url, self._opened_at = lost.wait, self.url, 0.0
                failures = 0 if lived > 5 else failures
                most = min(self._longest, self._shortest * 4 * 2 ** min(failures, 20))
                jitter = random.uniform(0, most - self._shortest)
                if wait is None and self._reconnect:
                    wait, url = max(0.0, self._reconnect[0] - time.monotonic()), self._place(self._reconnect[1])
                    # A server that says so again and again is not believed at once. Servers that are restarted one after
                    # the other each say it.
                    wait = max(wait, self._shortest + jitter if failures >= 1 else 0.0)
                    failures += 0.4
                elif wait is None:
                    wait = max(self._shortest, lost.error.retry_after) + jitter
                    failures += 1
                self._reconnect = None
                self._tell(Status("reconnecting", error=lost.error, wait=wait))
                await asyncio.sleep(wait)
            except Exception as bug:
                self._end(RoomcastError("internal", repr(bug)))
                raise

    def _place(self, url: str) -> str:
        """Where the server asked to come back, if it is a place, and a token is as safe there."""
        with contextlib.suppress(ValueError):
            there = urlsplit(url)
            safe = there.scheme == "wss" or (there.scheme == "ws" and urlsplit(self.url).scheme == "ws")
            if safe and there.hostname:
                return url
        return self.url

    async def _connect(self, url: str) -> ClientConnection:
        token = await self._fresh_token()
        try:
            return await connect(
                url,
                subprotocols=[Subprotocol("gameproto.v1.json")],
                additional_headers={"Authorization": f"Bearer {token}"} if token else None,
                compression=None,
                max_size=FRAME,
                open_timeout=ANSWER,
                ping_interval=None,  # `_watch` does that
                close_timeout=1,
            )
        except InvalidStatus as refused:
            status, wait = refused.response.status_code, refused.response.headers.get("Retry-After", "")
            code = "unauthorized" if status in (401, 403) else "handshake_refused"
            seconds = min(float(wait), BELIEVED) if re.fullmatch(r"[0-9]{1,9}", wait) else 0.0
            error = RoomcastError(code, f"HTTP status {status}", seconds)
            raise Lost(error, final=status not in (408, 425, 429) and status < 500) from None
        except (InvalidURI, ValueError) as wrong:
            raise Lost(RoomcastError("bad_url", str(wrong)), final=True) from None
        except (OSError, TimeoutError, InvalidHandshake, EOFError) as failed:
            raise Lost(RoomcastError("connection_lost", str(failed) or type(failed).__name__)) from None

    async def _fresh_token(self) -> str:
        token = self._token
        try:
            if token is not None and not isinstance(token, str):
                async with asyncio.timeout(ANSWER):
                    token = await token()
        except RoomcastError as error:
            raise Lost(error, final=True) from None
        except Exception as failed:
            raise Lost(RoomcastError("token_unavailable", repr(failed))) from failed
        if token and not re.fullmatch(r"[!-~]+", token):
            raise Lost(RoomcastError("unauthorized", "this is no token"), final=True)
        return token or ""

    async def _live(self, connection: ClientConnection) -> None:
        """From `hello` to the end of the connection, which is raised."""
        self._connection = connection
        self._heard_at, self._paid_until = time.monotonic(), 0.0
        self._control = deque([to_frame(self._hello())])
        tasks = [asyncio.create_task(it) for it in (self._read(connection), self._write(connection), self._watch())]
        if self._resume_token:  # until its answer comes
            self._late.append(time.monotonic() + LATE_HELLO)
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            error = next(error for it in done if (error := it.exception()))
            raise Lost.closed(error) if isinstance(error, ConnectionClosed) else error
        finally:
            tasks += [self._renewing] if self._renewing else []
            self._renewing = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, connection: ClientConnection) -> None:
        while True:
            frame = await connection.recv()
            self._heard_at = time.monotonic()
            try:
                message = decode(frame)
            except Unreadable as bad:
                self._skipped(bad)
            else:
                self._take(message)
            self.wake.set()

    def _skipped(self, bad: Unreadable) -> None:
        """Something came that can't be read. It is told, and may have been an event."""
        error = RoomcastError("unreadable", str(bad))
        self._tell(Status(self.status.state, self.status.resumed, error))
        room = self._rooms.get(bad.room or "")
        if bad.type == "history" and room:
            return room.page(error)
        for name, log in [("", self.inbox), *((it.name, it.log) for it in self._rooms.values() if it.member)]:
            if bad.room is None or bad.room == name:
                log.put(Gap(log.position, log.position))

    async def _write(self, connection: ClientConnection) -> None:
        while True:
            self.wake.clear()
            while frame := self._next():
                await connection.send(frame)
                await asyncio.sleep(self._pace())
            outboxes = [self._direct, *(room.outbox for room in self._rooms.values())]
            pauses = [it.paused_until - time.monotonic() for it in outboxes if it.waiting]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min((it for it in pauses if it > 0), default=None)):
                    await self.wake.wait()

    def _pace(self) -> float:
        """Counts a message that was sent, in a bucket like the server's. Seconds until the next one may go (6)."""
        rate, burst = self._limits.get("messages_per_second", 0), self._limits.get("burst", 0)
        if not rate:
            return 0.0
        now = time.monotonic()
        self._paid_until = max(self._paid_until, now) + 1 / rate
        # Not all of it, as messages that were sent apart may arrive together.
        return max(0.0, self._paid_until - now - 0.9 * burst / rate)

    def _next(self) -> str | None:
        """What is to be sent now: answers to the server and questions first, then one message of each room in turn."""
        if self._control:
            return self._control.popleft()
        if not self._open:
            return None
        limit = min(self._limits["max_unanswered"] or 32, 32)
        most = self._limits["max_message"] or 1 << 60
        for name in list(self._rooms):
            if message := self._rooms[name].next(limit, most):
                self._rooms[name] = self._rooms.pop(name)  # its next turn comes last
                return message
        return self._direct.next(limit, most)

    async def _watch(self) -> None:
        """All that has its time: `welcome`, pings, tokens, `reconnect`, joins that were not answered."""
        begun = pinged_at = time.monotonic()
        next_ping = 0.0  # one early, for the clock
        while True:
            await asyncio.sleep(0.1)
            now = time.monotonic()
            if not self._open:
                if now - begun > ANSWER:
                    raise Lost(RoomcastError("heartbeat_timeout", "no `welcome`"))
                continue
            if now >= next_ping:
                if next_ping and self._heard_at < pinged_at:
                    raise Lost(RoomcastError("heartbeat_timeout", "nothing was heard for two pings"))
                self._ping()
                next_ping, pinged_at = now + self._ping_every, now
            for room in list(self._rooms.values()):
                if room.asked and now > room.ask_at:
                    room.asked, room.ask_id = "", 0
                if room.page_id and now > room.page_due:
                    room.page(RoomcastError("unanswered", "the server doesn't answer"))
                self.ask(room)
            if self._renew_at and now >= self._renew_at and (self._renewing is None or self._renewing.done()):
                self._renewed_at, self._renew_at = now, now + RENEW  # should it fail
                self._renewing = asyncio.create_task(self._renew())
            if self._reconnect and now >= self._reconnect[0]:
                raise Lost(RoomcastError("reconnect", "the server asked for it"))

    def _ping(self) -> None:
        now = time.monotonic()
        while len(self._pings) >= 8:
            del self._pings[next(iter(self._pings))]
        self._pings[int(now * 1000)] = now
        self.send(to_frame(encode("ping", payload=int(now * 1000))))

    async def _renew(self) -> None:
        """A new token, on the connection that there is."""
        with contextlib.suppress(Lost):
            self.send(to_frame(encode("auth", payload={"token": await self._fresh_token()})))

    def _took_over_itself(self) -> bool:
        """A `hello` of a connection that was given up may have come late, and taken the session from the newer one (12)."""
        while self._late and self._late[0] < time.monotonic():
            self._late.popleft()
        return bool(self._late) and bool(self._late.popleft())

    async def _hang_up(self) -> None:
        # Not with 1000, which would end the session (11).
        connection, self._connection = self._connection, None
        if connection:
            await connection.close(4000)

    def _connection_lost(self) -> None:
        self._open, self._renew_at = False, 0.0
        self._pings.clear()
        self._direct.start()
        for room in self._rooms.values():
            room.connection_lost()

    # --- hello, welcome (2, 3) ---

    def _hello(self) -> Json:
        payload: Json = {"version": 1}
        if self._resume_token:
            wanted = [room for room in self._rooms.values() if room.wanted][: self._most_positions]
            payload["resume_token"] = self._resume_token
            payload["positions"] = [room.place() for room in wanted]
            payload["first_direct_seq"] = self._direct.first_seq()
            if self.inbox.position:
                payload["inbox"] = since_of(self.inbox.position)
        return encode("hello", payload=payload)

    def _welcome(self, told: Json) -> None:
        if self._resume_token:  # this `hello` was not late
            self._late.pop()
        known, same = bool(self.client_id), told["client_id"] == self.client_id
        self.client_id, self.user_id = told["client_id"], told.get("user_id", "")
        self._resume_token = told.get("resume_token", "")
        self._limits, self._acked = told["limits"], told["seq_acked"]
        self._ping_every = min(max((told["ping_interval_ms"] or 30_000) / 1000, 0.1), BELIEVED)
        self._token_lasts(told["token_expires_at"], told["server_time"])
        if known and not same:
            for outbox in [self._direct, *(room.outbox for room in self._rooms.values())]:
                outbox.start_over()
        self._direct.start(told["direct_repeats_possible"] or not told["resumed"])
        inbox = told["inbox"]
        start = Position(inbox["epoch"], inbox["offset"]) if inbox else None
        if (inbox and not told["inbox_recovered"]) if told["resumed"] else self.inbox.position:
            self.inbox.gap(start)
        elif not self.inbox.position:
            self.inbox.position = start
        self._open, self._opened_at = True, time.monotonic()
        for room in list(self._rooms.values()):
            room.held = room.held and told["resumed"]
            if room.wanted and room.held:  # its `joined` comes by itself
                room.asked, room.ask_at = "join_room", time.monotonic() + RESUMED
            else:
                self.ask(room)
        self._tell(Status("connected", resumed=told["resumed"]))

    def _token_lasts(self, expires_at: int, server_time: int) -> None:
        left = (expires_at - server_time) / 1000
        renewable = expires_at and not isinstance(self._token, str | None)
        at = max(time.monotonic() + left - min(60.0, left / 5), self._renewed_at + RENEW)
        self._renew_at = at if renewable else 0.0

    # --- what the server says ---

    def _take(self, message: Json) -> None:
        kind, name = message["type"], message.get("room_id", "")
        payload: Any = message.get("payload")
        room, request = self._rooms.get(name), message.get("request_id", 0)
        outbox = room.outbox if room else None if name else self._direct
        match kind:
            case "welcome" if not self._open:
                self._welcome(payload)
            case "error" if not self._open:
                self._hello_refused(RoomcastError.of(payload))
            case _ if not self._open:
                pass
            case "joined" if room:
                self._joined(room, payload, message["timestamp"])
            case "joined" if len(self._control) < 1000:  # of a session before; should this be lost, it comes again
                self.send(to_frame(encode("leave_room", name)))
            case "ack" if outbox:
                for it in payload["acks"]:
                    outbox.answered(it["seq"], it["offset"])
            case "error":
                # Also that of a name that could not be repeated.
                asking = [it for it in self._rooms.values() if request and request in (it.ask_id, it.page_id)]
                self._refused(asking[0] if asking else room, outbox, payload, request)
            case "pong" if type(payload) is int and payload in self._pings:
                sent, now = self._pings.pop(payload), time.monotonic()
                self._clock.append((now - sent, message["timestamp"] - (sent + now) * 500))
            case "reconnect":
                self._reconnect = (time.monotonic() + min(payload["delay_ms"] / 1000, BELIEVED), payload["url"])
            case "auth":
                self._token_lasts(payload["token_expires_at"], message["timestamp"])
            case "history" if room and request in (0, room.page_id):
                room.page(payload)
            case "player_left" if room and room.asked == "leave_room" and payload["player_num"] == room.player_num:
                room.left()
                self.ask(room)
            case "chat" | "event" | "game_action" | "player_joined" | "player_left" | "presence" | "sync":
                if room and room.member:
                    room.heard(message)
                    if kind == "player_left" and payload["player_num"] == room.player_num:
                        room.put_out(RoomcastError("not_in_room", "the server has put this client out of the room"))
                elif not name:
                    self.inbox.take(event_of(message))

    def _hello_refused(self, error: RoomcastError) -> None:
        if self._resume_token:  # this `hello` was not late
            self._late.pop()
        if error.code in ("too_many", "too_large") and self._most_positions:
            self._most_positions //= 2
            raise Lost(error, wait=0.0)
        if error.code != "unauthorized":  # the close that follows says the rest
            raise Lost(error, final=error.code not in LATER)

    def _joined(self, room: Room, told: Json, timestamp: int) -> None:
        room.held, room.player_num = True, told["player_num"]
        if room.asked != "leave_room":
            room.asked, room.ask_at = "", 0.0
            if room.wanted:
                room.joined(told, timestamp)
            self.ask(room)

    def _refused(self, room: Room | None, outbox: Outbox | None, payload: Json, number: int) -> None:
        error, request, seq = RoomcastError.of(payload), payload["request"], payload["seq"]
        match request, error.code:
            case (("chat" | "event" | "game_action" | "skip"), code) if seq:
                if outbox and code == "seq_gap":
                    outbox.gap(seq)
                elif outbox and code in ("rate_limited", "unavailable", "too_many_unanswered"):
                    outbox.refused(seq, error.retry_after)
                elif outbox:
                    outbox.answered(seq, error=error)
            case (("join_room" | "leave_room"), code) if room:
                if request != room.asked or number not in (0, room.ask_id):
                    return
                room.asked, room.ask_at = "", time.monotonic() + (error.retry_after or 1)
                if code == "not_in_room":
                    room.left()
                    self.ask(room)
                elif code not in LATER and request == "join_room":
                    room.put_out(error)
            case "history", _ if room and number in (0, room.page_id):
                room.page(error)
            case "history", _:
                pass
            case "presence", _ if room:
                room.presence_refused(error)
            case "", ("room_failed" | "removed" | "banned") if room:
                room.put_out(error)
            case ("ping" | "join_room" | "leave_room" | "skip"), _:
                pass
            case _:
                (room.log if room else self.inbox).put(Refused(request, error))

    def _tell(self, status: Status) -> None:
        self.status = status
        try:
            self._on_status(status)
        except Exception as bug:  # of the application, whose sessions it would end
            context = {"message": "`on_status` has failed", "exception": bug}
            asyncio.get_running_loop().call_exception_handler(context)

    def _end(self, error: RoomcastError) -> None:
        if self.status.state == "closed":
            return
        self._open = False
        for room in list(self._rooms.values()):
            if room.wanted:
                room.put_out(error)
            room.left()
            room.log.end()
        self._direct.fail_sent()
        self._direct.fail_unsent(error)
        self.inbox.end()
        self._tell(Status("closed", error=error))


# --- python roomcast.py URL ROOM ---


def plain(said: Any) -> str:
    """What somebody said, without what a terminal obeys or can't write."""
    shown = said if isinstance(said, str) else ascii(said)
    hidden = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # but what joins two signs into one
    return "".join("?" if unicodedata.category(it) in hidden and it not in "\u200c\u200d" else it for it in shown)


def show_line(text: str, to: TextIO) -> None:
    encoding = to.encoding or "ascii"
    print(plain(text).encode(encoding, "replace").decode(encoding), file=to, flush=True)


def note(text: str) -> None:
    show_line(f"-- {text}", sys.stderr)


def status_changed(status: Status) -> None:
    note(f"{status.state} ({status.error}; in {status.wait:.1f} s)" if status.error else status.state)


async def show(events: AsyncIterator[Event]) -> None:
    async for event in events:
        match event:
            case Message(type="chat", sender=sender, payload=said, room=room):
                show_line(f"{sender[:8]}{'' if room else ' (to you)'}: {plain(said)}", sys.stdout)
            case Message(type="player_joined" | "player_left" as what, payload=member):
                note(f"{member.get('nickname') or member['player_id'][:8]} {what[7:]}")
            case Gap():
                note("something is missing here")
            case Left(error=error) if error:
                note(f"left: {error}")


async def chat(url: str, room_name: str, nickname: str | None, token: str | None) -> None:
    lines: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:  # in a thread, as a terminal blocks; unbuffered, as a buffer's lock would hold up the exit
        with open(0, "rb", buffering=0, closefd=False) as stdin:
            while line := stdin.readline():
                loop.call_soon_threadsafe(lines.put_nowait, line.decode(errors="replace"))
        loop.call_soon_threadsafe(lines.put_nowait, "")

    async with Client(url, token, status_changed) as client:
        room = client.room(room_name)
        shows = [asyncio.create_task(show(it)) for it in (aiter(room), client.inbox)]
        await room.join(nickname)
        note(f"you are {client.client_id}; /to ID TEXT tells one of them alone")
        threading.Thread(target=read, daemon=True).start()
        sent: list[Awaitable[int]] = []
        while line := await lines.get():
            try:
                match line.split(maxsplit=2):
                    case ["/to", to, text]:
                        sent.append(client.direct(text.strip(), client=to))
                    case [_, *_]:
                        sent.append(room.chat(line.strip()))
            except RoomcastError as error:
                note(f"not sent: {error}")
        for result in await asyncio.gather(*sent, return_exceptions=True):
            if isinstance(result, Exception):
                note(f"not sent: {result}")
        for task in shows:
            task.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description="Chats in a room.")
    parser.add_argument("url", help="ws://localhost:8080/ws")
    parser.add_argument("room")
    parser.add_argument("--name", help="the nickname")
    parser.add_argument("--token", help="where the server asks for one")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(chat(options.url, options.room, options.name, options.token))


if __name__ == "__main__":
    main()
