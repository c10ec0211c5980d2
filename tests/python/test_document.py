"""What docs/writing-a-client.md says of the server, asked of the server, one frame at a time."""

import json
import re
import unittest

import common
from support import Json, Server, WireTest
from websockets.exceptions import ConnectionClosed


def greet(client, **payload):
    client.send("hello", payload={"version": 1, **payload})
    return client.of_type("welcome")["payload"]


def place(message):
    return {"epoch": message["epoch"], "offset": message["offset"]}


class Rules(WireTest):
    def other(self):
        client = self.json()
        greet(client)
        return client

    def closed(self, client):
        """The code with which the server closes."""
        try:
            while True:
                client.next()
        except ConnectionClosed as closed:
            return closed.rcvd.code

    def chat(self, client, room, text, **keys):
        client.send("chat", room, payload=text, **keys)

    def answer(self, client):
        """The next answer: an ack's pairs, or an error's code and number."""
        message = client.until(lambda it: it["type"] in ("ack", "error"))
        payload = message["payload"]
        if message["type"] == "error":
            return payload["code"], payload.get("seq", 0)
        return [(it["seq"], it["offset"]) for it in payload["acks"]]

    def test_the_messages_of_the_document_are_taken(self):
        text = (common.ROOT / "docs/writing-a-client.md").read_text()
        messages = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
        self.assertGreater(len(messages), 3)
        for message in messages:
            with self.subTest(message["type"]):
                client = self.json()
                if message["type"] != "hello":
                    greet(client)
                    if message["type"] != "join_room":
                        client.join(message["room_id"], first_seq=2)
                client.send_text(json.dumps(message))
                answer = {"hello": "welcome", "join_room": "joined", "skip": "ack"}[message["type"]]
                taken = client.until(lambda it, answer=answer: it["type"] in (answer, "error"))
                self.assertEqual(taken["type"], answer, taken)

    # --- 2, 3: hello and welcome ---

    def test_the_newest_token_and_the_one_before_are_good(self):
        client, tokens = self.json(), []
        welcome = greet(client)
        first = welcome["client_id"]
        for _ in range(2):
            tokens.append(welcome["resume_token"])
            client = self.json()
            welcome = greet(client, resume_token=tokens[-1])
            self.assertEqual((welcome["resumed"], welcome["client_id"]), (True, first))
        self.assertTrue(greet(self.json(), resume_token=tokens[-1])["resumed"], "the one before the newest")
        stale = greet(self.json(), resume_token=tokens[0])
        self.assertEqual((stale["resumed"], stale["client_id"] == first), (False, False))

    def test_rooms_come_by_themselves_named_or_not(self):
        client, room = self.json(), self.room()
        token = greet(client)["resume_token"]
        joined = client.join(room)
        client.join(f"{room}-2")
        speaker = self.other()
        for name in (room, f"{room}-2"):
            speaker.join(name)
            self.chat(speaker, name, "missed")
            speaker.of_type("chat")
        client = self.json()
        # The position is the one before its own `player_joined`.
        welcome = greet(client, resume_token=token, positions=[{"room_id": room, "since": place(joined)}])
        self.assertTrue(welcome["resumed"])
        told = {}
        for _ in range(2):
            message = client.of_type("joined")
            told[message["room_id"]] = message["payload"]
        self.assertTrue(told[room]["recovered"])
        self.assertEqual(told[room]["offset"], joined["offset"])
        self.assertFalse(told[f"{room}-2"]["recovered"])
        events = [it["type"] for it in client.seen if it.get("offset") and it["room_id"] == room]
        if "chat" not in events:
            events.append(client.until(lambda it: it["type"] == "chat" and it["room_id"] == room)["type"])
        self.assertEqual(events[-1], "chat")

    def test_a_room_of_the_session_comes_by_itself_each_time_and_of_others_nothing_is_said(self):
        client, room = self.json(), self.room()
        token = greet(client)["resume_token"]
        client.join(room)
        for _ in range(2):
            client.socket.close(4000)
            client = self.json()
            positions = [{"room_id": room, "first_seq": 1}, {"room_id": f"{room}-2", "first_seq": 1}]
            token = greet(client, resume_token=token, positions=positions)["resume_token"]
            told = client.of_type("joined")
            self.assertEqual((told["room_id"], "request_id" in told), (room, False))
            client.send("ping")
            client.of_type("pong")
            self.assertEqual([it for it in client.seen if it.get("room_id") == f"{room}-2"], [])
        self.assertEqual(client.join(f"{room}-2")["total"], 1)

    def test_a_hello_that_comes_late_ends_no_client(self):
        client = self.json()
        token = greet(client)["resume_token"]
        client.socket.close(4000)
        late, client = self.json(), self.json()
        welcome = greet(client, resume_token=token)
        self.assertTrue(welcome["resumed"])
        # The client gave this connection up, but its `hello` is still on its way.
        late.send("hello", payload={"version": 1, "resume_token": token})
        self.assertEqual(self.closed(late), 4000)
        client.send("ping")
        client.of_type("pong")

    def test_every_message_takes_one_from_a_bucket_that_is_full_on_each_connection(self):
        server = Server("--set", "limits.messages_per_second=1", "--set", "limits.burst=5")
        self.addCleanup(server.stop)
        for _ in range(2):
            client = Json(server.port)
            self.addCleanup(client.close)
            client.send("hello", payload={"version": 1})
            for number in range(30):
                client.send("ping", payload=number)
            answers = [client.next() for _ in range(10)]
            taken = [it["type"] for it in answers if it["type"] != "error"]
            self.assertEqual(taken[:5], ["welcome", "pong", "pong", "pong", "pong"])
            refused = next(it for it in answers if it["type"] == "error")["payload"]
            self.assertEqual((refused["code"], refused["request"]), ("rate_limited", "ping"))

    def test_who_sends_gets_a_copy_unless_the_message_or_the_kind_says_no(self):
        client, room = self.other(), self.room()
        client.join(room)
        self.chat(client, room, "mine")
        self.assertEqual(client.of_type("chat")["payload"], "mine")
        server = Server("--set", "kinds.silent.no_echo=true")
        self.addCleanup(server.stop)
        client = Json(server.port)
        self.addCleanup(client.close)
        client.join("silent:r")
        client.send("event", "silent:r", name="left_out")
        client.send("event", "silent:r", name="wanted", no_echo=False)
        self.assertEqual(client.of_type("event")["name"], "wanted")

    def test_a_hello_that_is_refused_leaves_the_connection(self):
        client = self.json()
        positions = [{"room_id": str(number)} for number in range(65)]
        client.send("hello", payload={"version": 1, "positions": positions})
        self.assertEqual(self.answer(client)[0], "too_many")
        client = self.json()
        client.send("hello", payload={"version": 2})
        self.assertEqual(self.answer(client)[0], "unsupported_version")
        for arguments, code in [((), "not_supported"), (("--set", f"auth.hs256_secret={'s' * 40}"), "unauthorized")]:
            server = Server(*arguments)
            self.addCleanup(server.stop)
            client = Json(server.port)
            self.addCleanup(client.close)
            client.send("hello", payload={"version": 1, "token": "e.y.J"})
            self.assertEqual(self.answer(client)[0], code)
            if code == "unauthorized":
                self.assertEqual(self.closed(client), 4502)

    # --- 4, 5: rooms and positions ---

    def test_joining_again_does_no_harm(self):
        client, room = self.other(), self.room()
        joined = client.join(room)
        since = place(joined)
        self.chat(client, room, "one")
        offset = client.of_type("chat")["offset"]
        again = client.join(room, since={**since, "offset": offset})
        self.assertEqual((again["recovered"], again["offset"]), (True, offset))
        again = client.join(room)
        self.assertEqual((again["recovered"], again["total"]), (True, 1))

    def test_leaving_is_answered_by_ones_own_player_left_or_not_in_room(self):
        client, room = self.other(), self.room()
        number = client.join(room)["player_num"]
        client.send("leave_room", room)
        self.assertEqual(client.of_type("player_left")["payload"]["player_num"], number)
        client.send("leave_room", room)
        self.assertEqual(client.of_type("error")["payload"]["code"], "not_in_room")
        self.assertEqual(client.seen[-1]["payload"]["request"], "leave_room")

    def test_ones_own_silent_events_leave_holes_in_the_offsets(self):
        client, room = self.other(), self.room()
        client.join(room)
        first = client.of_type("player_joined")["offset"]
        client.send("event", room, name="quiet", no_echo=True)
        self.chat(client, room, "heard")
        self.assertEqual(client.of_type("chat")["offset"], first + 2)

    def test_numbers_go_on_when_a_room_is_left_and_joined_again(self):
        client, room = self.other(), self.room()
        self.other().join(room)  # keeps it
        client.join(room)
        self.chat(client, room, "one", seq=1)
        self.assertEqual(self.answer(client)[0][0], 1)
        client.send("leave_room", room)
        client.of_type("player_left")
        client.join(room, first_seq=2)
        self.chat(client, room, "two", seq=2)
        self.assertEqual(self.answer(client)[0][0], 2)

    # --- 6, 7, 8: numbers ---

    def test_a_missing_number_is_told_once_and_all_after_it_are_sent_again(self):
        client, room = self.other(), self.room()
        client.join(room)
        for seq in (3, 4, 5):
            self.chat(client, room, str(seq), seq=seq)
        self.assertEqual(self.answer(client), ("seq_gap", 1))
        client.send("ping", payload="behind")
        client.of_type("pong")
        self.assertEqual([it["type"] for it in client.seen].count("error"), 1)
        self.chat(client, room, "1", seq=1)
        self.assertEqual(self.answer(client)[0][0], 1)
        client.send("skip", room, payload={"seq": 2})
        self.assertEqual(self.answer(client), [(2, 0)])
        for seq in (3, 4, 5):
            self.chat(client, room, str(seq), seq=seq)
        acked = []
        while len(acked) < 3:
            acked += self.answer(client)
        self.assertEqual([seq for seq, _ in acked], [3, 4, 5])
        said = [it["payload"] for it in client.seen if it["type"] == "chat"]
        while len(said) < 4:
            said.append(client.of_type("chat")["payload"])
        self.assertEqual(said, ["1", "3", "4", "5"])

    def test_a_missing_number_is_told_again_to_who_has_come_back(self):
        client, room = self.json(), self.room()
        token = greet(client)["resume_token"]
        client.join(room)
        self.chat(client, room, "two", seq=2)
        self.assertEqual(self.answer(client), ("seq_gap", 1))
        client.socket.close(4000)
        client = self.json()
        greet(client, resume_token=token, positions=[{"room_id": room, "first_seq": 1}])
        client.of_type("joined")
        self.chat(client, room, "two", seq=2)
        self.assertEqual(self.answer(client), ("seq_gap", 1))

    def test_what_is_sent_again_or_skipped_too_late_gets_its_first_answer(self):
        client, room = self.other(), self.room()
        client.join(room)
        self.chat(client, room, "one", seq=1)
        first = self.answer(client)
        self.assertGreater(first[0][1], 0)
        self.chat(client, room, "one", seq=1)
        self.assertEqual(self.answer(client), first)
        client.send("skip", room, payload={"seq": 1})
        self.assertEqual(self.answer(client), first)
        client.send("event", room, name="no name", seq=2)
        self.assertEqual(self.answer(client), ("invalid_name", 2))
        self.chat(client, room, "three", seq=3)
        self.assertEqual(self.answer(client)[0][0], 3, "a final refusal uses its number up")

    def test_one_that_is_too_large_has_no_answer_with_its_number(self):
        client, room = self.other(), self.room()
        client.join(room)
        self.chat(client, room, "x" * 70_000, seq=1)
        self.assertEqual(self.answer(client), ("too_large", 0))
        self.chat(client, room, "two", seq=2)
        self.assertEqual(self.answer(client), ("seq_gap", 1))

    def test_an_ack_may_come_with_the_offset_0(self):
        client, room = self.other(), self.room()
        client.join(room)
        client.send("game_action", room, payload={"action": "move", "position": {"x": 1}}, seq=1)
        self.assertEqual(self.answer(client), [(1, 0)])

    # --- 9: members ---

    def test_a_crowd_is_told_by_an_event_and_then_counted(self):
        server = Server("--set", "kinds.crowd.full_presence_limit=2")
        self.addCleanup(server.stop)
        clients = [Json(server.port) for _ in range(3)]
        for client in clients:
            self.addCleanup(client.close)
            greet(client)
        for client in clients[:2]:
            self.assertEqual(client.join("crowd:r")["presence"], "full")
        clients[2].join("crowd:r")
        told = clients[0].until(lambda it: it.get("name") == "roomcast.presence")
        self.assertEqual((told.get("from_client_id"), told["payload"]["presence"]), (None, "count"))
        self.assertGreaterEqual(told["payload"]["total"], 2)
        count = clients[0].until(lambda it: it["type"] == "presence")
        self.assertEqual(set(count["payload"]), {"total"})
        self.assertEqual(clients[0].join("crowd:r")["presence"], "count")

    # --- 10: direct messages ---

    def test_an_inbox_that_was_too_small_is_told(self):
        away, speaker = self.json(), self.other()
        welcome = greet(away)
        self.assertNotIn("inbox", welcome)
        to = welcome["client_id"]
        speaker.send("chat", to_client_id=to, payload=0)
        place_of = place(away.of_type("chat"))
        away.socket.close(4000)  # 1000 would end the session
        for number in range(1, 71):
            speaker.send("chat", to_client_id=to, payload=number, seq=number)
            # One more than in the sender's count: its place is that in the receiver's inbox.
            self.assertEqual(self.answer(speaker), [(number, number + 1)])
        away = self.json()
        back = greet(away, resume_token=welcome["resume_token"], inbox=place_of)
        self.assertEqual((back["resumed"], back["inbox_recovered"]), (True, False))
        told = [away.of_type("chat") for _ in range(64)]
        self.assertEqual(back["inbox"]["offset"], 7)
        self.assertEqual([it["offset"] for it in told], list(range(8, 72)))
        self.assertEqual(told[-1]["payload"], 70)

    def test_nobody_is_a_final_refusal(self):
        client = self.other()
        client.send("chat", to_client_id="nobody", payload=1, seq=1)
        self.assertEqual(self.answer(client), ("recipient_not_found", 1))
        client.send("chat", to_client_id="nobody", payload=1, seq=2)
        self.assertEqual(self.answer(client), ("recipient_not_found", 2))

    # --- 11, 15: codes that a client closes with ---

    def test_what_a_clients_close_code_does_to_its_session(self):
        room, watcher = self.room(), self.other()
        watcher.join(room)
        for code, resumes in [(1000, False), (1001, True), (4000, True), (4002, True)]:
            with self.subTest(code=code):
                client = self.json()
                welcome = greet(client)
                number = client.join(room)["player_num"]
                client.socket.close(code)

                def about(it, number=number):
                    return it["payload"].get("player_num") == number

                if resumes:
                    lost = watcher.until(lambda it: it["type"] == "presence" and about(it))
                    self.assertFalse(lost["payload"]["connected"])
                else:
                    watcher.until(lambda it: it["type"] == "player_left" and about(it))
                back = greet(self.json(), resume_token=welcome["resume_token"])
                self.assertEqual(back["resumed"], resumes)

    def test_a_second_connection_takes_the_session_over(self):
        client = self.json()
        token = greet(client)["resume_token"]
        self.assertTrue(greet(self.json(), resume_token=token)["resumed"])
        self.assertEqual(self.closed(client), 4501)


class Forgotten(unittest.TestCase):
    """A server in the place of one that is gone, with the same secret."""

    def test_numbers_begin_where_the_client_says(self):
        secret = ("--set", f"session.secret={'x' * 40}")
        before, after = Server(*secret), Server(*secret)
        self.addCleanup(before.stop)
        self.addCleanup(after.stop)
        client = Json(before.port)
        welcome = greet(client)
        since = place(client.join("r"))
        client.close()
        client = Json(after.port)
        self.addCleanup(client.close)
        back = greet(client, resume_token=welcome["resume_token"])
        self.assertEqual((back["resumed"], back["client_id"]), (False, welcome["client_id"]))
        joined = client.join("r", since=since, first_seq=5)
        self.assertEqual((joined["recovered"], joined["repeats_possible"]), (False, True))
        self.assertNotEqual(joined["epoch"], since["epoch"])
        for seq in (5, 6):
            client.send("chat", "r", payload=seq, seq=seq)
            self.assertEqual(client.of_type("ack")["payload"]["acks"][0]["seq"], seq)
        # Without it they begin at 1.
        client.join("other")
        client.send("chat", "other", payload=5, seq=5)
        error = client.of_type("error")["payload"]
        self.assertEqual((error["code"], error["seq"]), ("seq_gap", 1))
