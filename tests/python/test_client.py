"""examples/python/roomcast.py against the real server, over wires that break."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request

from common import ROOT, ClientTest, chats, is_gap, next_of, seeded, soon, until

from roomcast import Gap, Joined, Left, Message, Position, Refused, RoomcastError

QUICK = ("--set", "limits.messages_per_second=0")


def is_back(status):
    return status.state == "connected" and status.resumed


KEY = "a-key-for-tests-0123456789abcdefghijkl"


class PutOut(ClientTest):
    arguments = (*QUICK, "--set", f"api_keys.k.key={KEY}", "--set", "api_keys.k.rights=moderate,manage")

    async def test_who_is_put_out_while_it_is_away_stays_out_until_it_joins_anew(self):
        ann, bob = await self.joined("r"), await self.joined("r", await self.client(direct=True))
        self.wire.down()
        await until(lambda: not bob.members[ann.player_num].connected, "the loss")
        url = f"http://127.0.0.1:{self.server.port}/api/v1/rooms/r/kick"
        body = json.dumps({"user": ann.client.client_id}).encode()
        kick = urllib.request.Request(url, body, {"authorization": f"Bearer {KEY}"})
        with await asyncio.to_thread(urllib.request.urlopen, kick) as answer:
            self.assertEqual(json.load(answer)["sessions"], 1)
        change = urllib.request.Request(url.replace("kick", "properties"), b'{"title":"tea"}', kick.headers, method="PATCH")
        with await asyncio.to_thread(urllib.request.urlopen, change) as answer:
            self.assertEqual(json.load(answer)["properties"], {"title": "tea"})
        await until(lambda: bob.properties == {"title": "tea"}, "the change")
        self.wire.up()
        left = await next_of(ann, lambda it: isinstance(it, Left))
        self.assertEqual(left.error.code, "removed")
        await soon(bob.chat("still here"))
        self.assertEqual(len(bob.members), 1)
        await soon(ann.join())
        await until(lambda: len(bob.members) == 2, "both")
        self.assertEqual(ann.properties, {"title": "tea"})


class BadWires(ClientTest):
    arguments = QUICK

    async def test_nothing_is_lost_and_nothing_comes_twice_where_connections_break_at_any_byte(self):
        seed = int(os.environ.get("ROOMCAST_SEED", "7"))
        chance = seeded(seed)
        peers, messages, cuts = 4, 100, 60
        self.wire.budget = lambda: chance.randint(400, 9000) if self.wire.connections <= cuts else None
        rooms = [await self.joined("many") for _ in range(peers)]

        async def speak(number, room):
            answers = [room.chat([number, it]) for it in range(messages)]
            return await soon(asyncio.gather(*answers))

        speaking = [speak(number, room) for number, room in enumerate(rooms)]
        heard = [chats(room, peers * messages) for room in rooms]
        results = await asyncio.gather(*speaking, *heard)
        offsets = sorted(offset for answers in results[:peers] for offset in answers)
        self.assertEqual(len(set(offsets)), peers * messages, "each has a place of its own")
        self.assertGreater(offsets[0], 0)
        order = results[peers]
        for other in results[peers + 1 :]:
            self.assertEqual(other, order, "all see one order")
        for number in range(peers):
            self.assertEqual([it for who, it in order if who == number], list(range(messages)))
        self.assertGreater(self.wire.connections, peers + 10, "nothing was cut")

    async def test_what_is_sent_without_a_connection_arrives_once_and_in_order(self):
        ann, bob = await self.joined("r"), await self.joined("r", await self.client(direct=True))
        self.wire.down()
        await self.status(ann.client, lambda it: it.state == "reconnecting")
        answers = [ann.chat(number) for number in range(50)]
        self.wire.up()
        offsets = await soon(asyncio.gather(*answers))
        self.assertEqual(offsets, sorted(set(offsets)))
        await soon(bob.chat("end"))
        for room in (ann, bob):
            self.assertEqual(await chats(room, 51), [*range(50), "end"])
        await self.status(ann.client, is_back)

    async def test_who_was_away_gets_what_was_missed_before_what_is_new(self):
        ann, bob = await self.joined("r"), await self.joined("r", await self.client(direct=True))
        offset = await soon(bob.chat("before"))
        self.assertEqual(await chats(ann, 1), ["before"])
        self.assertEqual(ann.position.offset, offset)
        self.wire.down()
        for number in range(200):
            await soon(bob.chat(number))
        self.wire.up()
        await self.status(ann.client, is_back)
        await soon(bob.chat("after"))
        self.assertEqual(await chats(ann, 201), [*range(200), "after"])
        self.assertEqual(ann.position, bob.position)

    async def test_one_whose_ack_was_lost_is_not_done_twice(self):
        ann, bob = await self.joined("r"), await self.joined("r", await self.client(direct=True))
        # The server takes what comes, and nothing comes back.
        self.wire.stalled = True
        answer = ann.chat("once")
        await asyncio.sleep(0)
        self.wire.stalled = False
        await chats(bob, 1)
        for _ in range(5):
            self.wire.cut()
            await until(lambda: ann.member, "the room")
        offset = await soon(answer)
        self.assertEqual(await soon(ann.chat("next")), offset + 1)
        self.assertEqual(await chats(bob, 1), ["next"])

    async def test_what_is_withdrawn_holds_nothing_up(self):
        ann, bob = await self.joined("r"), await self.joined("r", await self.client(direct=True))
        self.wire.stalled = True
        under_way = ann.chat("under way")
        await until(lambda: ann.outbox.sent == 1, "it to be sent")
        self.wire.down()
        self.wire.stalled = False
        never_sent = ann.chat("never sent")
        under_way.cancel()
        never_sent.cancel()
        self.wire.up()
        await soon(ann.chat("after"))
        await soon(ann.chat("end"))
        said = await chats(bob, 1)
        said += await chats(bob, 2) if said == ["under way"] else await chats(bob, 1)
        self.assertEqual(said[-2:], ["after", "end"])
        self.assertNotIn("never sent", said)

    async def test_a_dead_connection_is_noticed(self):
        ann = await self.joined("r", await self.client())
        ann.client._ping_every = 0.2
        self.wire.stalled = True
        await self.status(ann.client, lambda it: it.error and it.error.code == "heartbeat_timeout")
        self.wire.stalled = False
        await self.status(ann.client, is_back)
        self.assertGreater(await soon(ann.chat("alive")), 0)
        await until(ann.client.server_now, "the server's clock")


class Restarts(ClientTest):
    arguments = (*QUICK, "--set", "shutdown.delay=0")

    async def test_a_restart_is_told_as_a_gap_and_what_is_acked_after_it_arrives(self):
        ann, bob = await self.joined("r"), await self.joined("r")
        await soon(ann.chat("before"))
        for room in (ann, bob):
            await chats(room, 1)
        since = ann.position
        await self.restart()
        gap = await next_of(ann, is_gap)
        self.assertEqual(gap.since, since)
        self.assertNotEqual(gap.now.epoch, since.epoch)
        await next_of(bob, is_gap)
        self.assertGreater(await soon(ann.chat("after")), 0)
        self.assertEqual(await chats(bob, 1), ["after"])
        self.assertIn(False, [it.resumed for it in ann.client.told if it.state == "connected"][1:])

    async def test_what_was_sent_to_a_server_that_is_gone_is_unconfirmed_and_the_rest_arrives(self):
        ann = await self.joined("r")
        await soon(ann.chat("before"))
        self.wire.stalled = True
        under_way = ann.chat("under way")
        await until(lambda: ann.outbox.sent == 1, "it to be sent")
        self.wire.down()
        self.wire.stalled = False
        await self.status(ann.client, lambda it: it.state == "reconnecting")
        never_sent = ann.chat("never sent")
        await self.restart()
        self.wire.up()
        with self.assertRaises(RoomcastError) as told:
            await soon(under_way)
        self.assertEqual(told.exception.code, "unconfirmed")
        self.assertGreater(await soon(never_sent), 0)

    async def test_a_polite_end_is_no_failure(self):
        ann = await self.joined("r")
        self.server.process.send_signal(signal.SIGTERM)
        await self.status(ann.client, lambda it: it.error and it.error.code == "reconnect")
        await self.restart()
        await next_of(ann, is_gap)
        self.assertGreater(await soon(ann.chat("on")), 0)


class RestartsWithASecret(ClientTest):
    arguments = (*QUICK, "--set", f"session.secret={'x' * 40}")

    async def test_the_client_id_is_kept_and_numbers_go_on(self):
        ann = await self.joined("r")
        client_id = ann.client.client_id
        for number in range(3):
            await soon(ann.chat(number))
        self.wire.down()
        under_way = [ann.chat(number) for number in range(3, 6)]
        await self.restart()
        self.wire.up()
        await next_of(ann, is_gap)
        await soon(asyncio.gather(*under_way))
        self.assertEqual(ann.client.client_id, client_id)
        self.assertEqual(await chats(ann, 3), [3, 4, 5])
        self.assertEqual(ann.outbox.next_seq, 7)

    async def test_cuts_and_restarts_repeat_nothing_and_lose_only_what_a_gap_tells(self):
        chance = seeded(int(os.environ.get("ROOMCAST_SEED", "7")))
        self.wire.budget = lambda: chance.randint(400, 9000) if self.wire.connections <= 60 else None
        rooms = [await self.joined("many") for _ in range(3)]
        heard, gaps = [[] for _ in rooms], [0 for _ in rooms]

        async def listen(number, room):
            async for event in room:
                gaps[number] += isinstance(event, Gap)
                if isinstance(event, Message) and event.type == "chat":
                    heard[number].append(event.payload)

        listening = [asyncio.ensure_future(listen(*it)) for it in enumerate(rooms)]
        answers = []
        for part in range(4):
            for number, room in enumerate(rooms):
                answers += [room.chat([number, part * 40 + it]) for it in range(40)]
            await soon(answers[-chance.randint(1, 100)])
            if part < 3:
                await self.restart()
        self.assertTrue(all(offset > 0 for offset in await soon(asyncio.gather(*answers))))
        ends = [[number, "end"] for number in range(len(rooms))]
        for room, end in zip(rooms, ends, strict=True):
            await soon(room.chat(end))
        await until(lambda: all(ends[-1] in it for it in heard), "the last message")
        for said, times in zip(heard, gaps, strict=True):
            self.assertEqual(len({str(it) for it in said}), len(said), "nothing twice")
            for number in range(len(rooms)):
                own = [it for who, it in said if who == number and it != "end"]
                self.assertEqual(own, sorted(own), "in the sender's order")
                self.assertTrue(len(own) == 160 or times)
            self.assertEqual([it for it in said if it in ends], ends)
        for task in listening:
            task.cancel()

    async def test_numbers_whose_answers_only_the_old_server_knew_hold_nothing_up(self):
        ann = await self.joined("r")
        self.wire.stalled = True
        answers = [ann.chat(number) for number in range(5)]
        await until(lambda: ann.outbox.sent == 5, "all to be sent")
        # As if the second and the fourth had been answered before the connection was lost.
        ann.outbox.answered(2, error=RoomcastError("too_large"))
        ann.outbox.answered(4, offset=9)
        self.wire.down()
        self.wire.stalled = False
        await self.restart()
        self.wire.up()
        await soon(asyncio.gather(*answers, return_exceptions=True))
        self.assertEqual(await soon(ann.chat("on")) > 0, True)
        await next_of(ann, is_gap)
        self.assertEqual(await chats(ann, 4), [0, 2, 4, "on"])


class ShortLogs(ClientTest):
    arguments = (*QUICK, "--set", "kinds.short.log.events=8")

    async def test_a_log_that_has_moved_on_is_told_as_a_gap(self):
        ann, bob = await self.joined("short:r"), await self.joined("short:r", await self.client(direct=True))
        await chats(ann, 0)
        since = ann.position
        self.wire.down()
        for number in range(20):
            await soon(bob.chat(number))
        self.wire.up()
        gap = await next_of(ann, is_gap)
        self.assertEqual((gap.since, gap.now), (since, bob.position))
        await soon(bob.chat("on"))
        self.assertEqual(await chats(ann, 1), ["on"])


class Defaults(ClientTest):
    async def test_more_than_the_rate_limit_takes_arrives_in_order(self):
        ann = await self.joined("r")
        offsets = await asyncio.wait_for(asyncio.gather(*[ann.chat(number) for number in range(500)]), 60)
        self.assertEqual(offsets, sorted(set(offsets)))
        self.assertEqual(await chats(ann, 500), list(range(500)))

    async def test_a_final_refusal_is_told_and_what_follows_arrives(self):
        ann = await self.joined("r")
        before, bad, after = ann.chat(1), ann.event("x" * 65), ann.chat(2)
        with self.assertRaises(RoomcastError) as told:
            await soon(bad)
        self.assertEqual(told.exception.code, "invalid_name")
        self.assertEqual(await soon(after), await soon(before) + 1)

    async def test_what_is_too_large_is_told_and_holds_nothing_up(self):
        self.wire.down()
        client = await self.client()
        room = client.room("r")
        joining = asyncio.ensure_future(room.join())
        await self.status(client, lambda it: it.state == "reconnecting")
        # The limit is not known yet.
        answers = [room.chat(text) for text in ("one", "x" * 70_000, "two")]
        self.wire.up()
        await soon(joining)
        first, large, last = await soon(asyncio.gather(*answers, return_exceptions=True))
        self.assertEqual((large.code, last), ("too_large", first + 1))
        with self.assertRaises(RoomcastError) as told:
            await soon(room.chat("é" * 35_000))
        self.assertEqual(told.exception.code, "too_large")

    async def test_direct_messages_wait_for_who_is_away(self):
        ann, bob = await self.client(), await self.client(direct=True)
        await self.status(ann, lambda it: it.state == "connected")
        await self.status(bob, lambda it: it.state == "connected")
        self.assertEqual(await soon(bob.direct("first", client=ann.client_id)), 1)
        self.assertEqual(await chats(ann.inbox, 1), ["first"])
        self.wire.down()
        sent = [bob.direct(number, client=ann.client_id) for number in range(20)]
        self.assertEqual(await soon(asyncio.gather(*sent)), list(range(2, 22)))
        mine = [ann.direct(f"back {number}", user=bob.client_id) for number in range(3)]
        self.wire.up()
        self.assertEqual(await chats(ann.inbox, 20), list(range(20)))
        await soon(asyncio.gather(*mine))
        self.assertEqual(await chats(bob.inbox, 3), ["back 0", "back 1", "back 2"])
        with self.assertRaises(RoomcastError) as told:
            await soon(bob.direct("nobody", client="c-nobody"))
        self.assertEqual(told.exception.code, "recipient_not_found")
        self.assertEqual(await soon(bob.direct("on", client=ann.client_id)), 22)

    async def test_a_cut_is_no_leave_and_goodbye_is_one(self):
        ann, bob = await self.joined("r"), await self.joined("r", await self.client(direct=True), nickname="Bob")
        await until(lambda: len(bob.members) == 2, "both")
        self.wire.down()
        of_ann = bob.members[ann.player_num]
        await until(lambda: not bob.members[ann.player_num].connected, "the loss")
        self.wire.up()
        await until(lambda: bob.members[ann.player_num].connected, "the return")
        self.assertEqual(of_ann.player_id, ann.client.client_id)
        await ann.client.close()
        left = await next_of(bob, lambda it: isinstance(it, Message) and it.type == "player_left")
        self.assertEqual(left.payload["player_num"], ann.player_num)
        self.assertEqual([it.nickname for it in bob.members.values()], ["Bob"])
        with self.assertRaises(RoomcastError):
            ann.chat("too late")

    async def test_presence_that_changes_without_a_connection_is_told_after_it(self):
        ann, bob = await self.joined("r", presence={"a": 1, "b": 1}), None
        bob = await self.joined("r", await self.client(direct=True))
        self.assertEqual(bob.members[ann.player_num].presence, {"a": 1, "b": 1})
        self.wire.down()
        ann.update_presence(a=2, b=None, c=[3])
        self.wire.up()
        await until(lambda: bob.members[ann.player_num].presence == {"a": 2, "c": [3]}, "the newest")
        with self.assertRaises(RoomcastError) as told:
            ann.update_presence(a="x" * 3000)
        self.assertEqual(told.exception.code, "presence_too_large")
        ann.update_presence(**{f"k{number}": number for number in range(40)})
        refused = await next_of(ann, lambda it: isinstance(it, Refused))
        self.assertEqual(refused.error.code, "presence_too_large")
        self.wire.cut()
        self.assertGreater(await soon(ann.chat("still here")), 0)

    async def test_history_in_both_directions_and_signals(self):
        ann, bob = await self.joined("r"), await self.joined("r")
        for number in range(230):
            ann.chat(number)
        await soon(ann.chat(230))
        forward = [it.payload async for it in ann.history(after=0) if it.type == "chat"]
        self.assertEqual(forward, list(range(231)))
        backward = [it.payload async for it in ann.history() if it.type == "chat"]
        self.assertEqual(backward, forward[::-1])
        some = [it.position.offset async for it in ann.history(after=ann.position.offset - 2)]
        self.assertEqual(some, [ann.position.offset - 1, ann.position.offset])
        position = bob.position
        self.assertTrue(ann.signal("cursor", {"x": 1.5}))
        cursor = await next_of(bob, lambda it: isinstance(it, Message) and it.name == "cursor")
        self.assertEqual((cursor.payload, cursor.position, cursor.sender), ({"x": 1.5}, None, ann.client.client_id))
        self.assertGreaterEqual(bob.position.offset, position.offset)

    async def test_bytes_and_events_and_actions(self):
        ann, bob = await self.joined("r"), await self.joined("r")
        await soon(ann.event("stroke", b"\x00\x01\xff"))
        stroke = await next_of(bob, lambda it: isinstance(it, Message) and it.name == "stroke")
        self.assertEqual(stroke.payload, b"\x00\x01\xff")
        self.assertEqual(await soon(ann.action("move", position={"x": 3, "y": 4, "z": 0})), 0, "the logic took it")
        await next_of(
            bob,
            lambda it: (
                isinstance(it, Message)
                and it.type == "sync"
                and any(player["position"]["x"] == 3 for player in it.payload["players"])
            ),
        )
        await soon(ann.event("quiet", no_echo=True))
        await soon(ann.chat("end"))
        named = [it async for it in until_chat(ann)]
        self.assertNotIn("quiet", [it.name for it in named])

    async def test_leaving_and_joining_again(self):
        ann, bob = await self.joined("r"), await self.joined("r", await self.client(direct=True))
        await soon(ann.chat("one"))
        await soon(ann.leave())
        await next_of(ann, lambda it: it == Left())
        with self.assertRaises(RoomcastError):
            ann.chat("outside")
        await soon(bob.chat("unheard"))
        await soon(ann.join())
        await soon(ann.chat("two"))
        self.assertEqual(await chats(ann, 1), ["two"])
        self.assertEqual(ann.outbox.next_seq, 3, "numbers go on")
        # And at once, and without a connection.
        leaving = asyncio.ensure_future(ann.leave())
        await asyncio.sleep(0)
        await soon(ann.join())
        await soon(leaving)
        self.wire.down()
        await soon(ann.leave())
        self.wire.up()
        last = ann.player_num
        await next_of(
            bob, lambda it: isinstance(it, Message) and it.type == "player_left" and it.payload["player_num"] == last
        )

    async def test_a_position_that_was_stored_is_gone_on_from(self):
        ann = await self.joined("r")
        for number in range(5):
            await soon(ann.chat(number))
        at = Position(ann.position.epoch, ann.position.offset - 2)
        other = await self.joined("r", since=at)
        self.assertEqual(await chats(other, 2), [3, 4])
        third = await self.joined("r", since=Position("other", 1))
        self.assertIsInstance(await soon(anext(aiter(third))), Gap)
        self.assertEqual(await soon(anext(aiter(third))), Joined(recovered=False))

    async def test_a_session_that_is_taken_over_stops(self):
        ann = await self.joined("r")
        second = await self.client(direct=True)
        await self.status(second, lambda it: it.state == "connected")
        second._resume_token, second.client_id = ann.client._resume_token, ann.client.client_id
        second._connection.transport.abort()
        await self.status(ann.client, lambda it: it.state == "closed")
        self.assertEqual(ann.client.told[-1].error.code, "taken_over")
        self.assertEqual(await next_of(ann, lambda it: isinstance(it, Left)), Left(ann.client.told[-1].error))

    async def test_an_address_that_is_none_ends_and_an_absent_server_is_waited_for(self):
        wrong = await self.client()
        wrong.url = f"ws://127.0.0.1:{self.server.port}/nowhere"
        wrong._connection and wrong._connection.transport.abort()
        self.wire.cut()
        await self.status(wrong, lambda it: it.state == "closed")
        self.assertEqual(wrong.told[-1].error.code, "handshake_refused")
        self.wire.down()
        waits = await self.client(shortest=0.02, longest=0.3)
        await until(lambda: len(waits.told) >= 6, "some failures")
        self.assertTrue(all(0.02 <= it.wait <= 0.3 for it in waits.told))
        self.wire.up()
        await soon(waits.room("r").join())


class Tokens(ClientTest):
    arguments = ("--set", f"auth.hs256_secret={'s' * 40}", "--set", "auth.anonymous=false", "--set", "auth.leeway=0")

    def token(self, ttl, *more):
        program = os.environ.get("ROOMCAST_BIN", ROOT / "target/release/roomcast")
        made = subprocess.run(
            [program, "token", "--user", "u7", "--ttl", ttl, *more],
            env={"ROOMCAST_AUTH_HS256_SECRET": "s" * 40},
            cwd=tempfile.gettempdir(),
            capture_output=True,
            text=True,
            check=True,
        )
        return made.stdout.strip()

    async def test_a_token_is_renewed_on_the_connection_and_after_its_end(self):
        made = []

        async def fetch():
            made.append(await asyncio.to_thread(self.token, "3s" if len(made) < 2 else "1h"))
            return made[-1]

        ann = await self.joined("r", await self.client(token=fetch))
        self.assertEqual(ann.client.user_id, "u7")
        await until(lambda: len(made) == 3, "two renewals")
        await soon(ann.chat("on"))
        self.assertEqual([it.state for it in ann.client.told], ["connected"], "one connection")

    async def test_a_token_that_has_ended_costs_a_connection_and_no_session(self):
        made = []

        async def fetch():
            made.append(await asyncio.to_thread(self.token, "2s" if len(made) < 1 else "1h"))
            return made[-1]

        ann = await self.joined("r", await self.client(token=fetch))
        ann.client._renew_at = 0.0  # as a client that does not renew
        await self.status(ann.client, lambda it: it.error and it.error.code == "token_expired")
        await self.status(ann.client, is_back)
        await soon(ann.chat("on"))

    async def test_who_has_none_or_no_right_is_told(self):
        nobody = await self.client()
        await self.status(nobody, lambda it: it.state == "closed")
        self.assertEqual(nobody.told[-1].error.code, "unauthorized")
        bad = await self.client(token="e.y.J")
        await self.status(bad, lambda it: it.state == "closed")
        self.assertEqual(bad.told[-1].error.code, "unauthorized")
        some = await self.client(token=self.token("1h", "--room", "chat:1"))
        await soon(some.room("chat:1").join())
        with self.assertRaises(RoomcastError) as told:
            await soon(some.room("chat:2").join())
        self.assertEqual(told.exception.code, "forbidden")


class CommandLine(ClientTest):
    async def test_two_chat(self):
        script = ROOT / "examples/python/roomcast.py"
        url = f"ws://127.0.0.1:{self.server.port}"

        async def start(name):
            pipes = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
            child = await asyncio.create_subprocess_exec(sys.executable, script, url, "r", "--name", name, **pipes)
            self.addCleanup(lambda: child.returncode is None and child.kill())
            while b"you are" not in (line := await soon(child.stderr.readline())):
                self.assertTrue(line, "it has ended")
            return child, line.split()[3].rstrip(b";").decode()

        (ann, ann_id), (bob, _) = await start("Ann"), await start("Bob")
        bob.stdin.write(f"hello there\n\n/to {ann_id} psst\n".encode())
        lines = [await soon(ann.stdout.readline()) for _ in range(2)]
        # Rooms and direct messages have no order between them.
        self.assertEqual([line.split(b": ")[-1] for line in sorted(lines)], [b"psst\n", b"hello there\n"])
        self.assertIn(b"(to you)", sorted(lines)[0])
        bob.stdin.write_eof()
        self.assertEqual(await soon(bob.wait()), 0)
        ann.send_signal(signal.SIGINT)
        self.assertEqual(await soon(ann.wait()), 0)
        self.assertNotIn(b"Traceback", await ann.stderr.read() + await bob.stderr.read())


async def until_chat(events):
    """The messages up to the next chat."""
    while True:
        event = await soon(anext(aiter(events)))
        if isinstance(event, Message):
            yield event
            if event.type == "chat":
                return
