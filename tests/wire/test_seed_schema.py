"""A client that has nothing but the original .proto, in rooms with JSON clients.

What is newer than that .proto reaches it as enum values and fields that it does not know, and harms nothing.
"""

import time

from support import SEED, WireTest, compile_proto

seed = compile_proto(SEED)

# Types that the original lacks. It gets them as numbers.
JOINED, PLAYER_JOINED, PLAYER_LEFT, EVENT, ERROR = 8, 9, 10, 12, 14


class SeedSchema(WireTest):
    def seed_client(self):
        return self.protobuf(seed)

    def pair(self):
        """A client of the original schema and a JSON client in one room: both, their ids and their numbers."""
        room = self.room()
        old, new = self.seed_client(), self.json()
        old.send("JOIN_ROOM", payload=seed.JoinRoomRequest(room_id=room, user_id="forged", nickname="Old"))
        old.of_type(JOINED)
        joined = new.join(room, nickname="New")
        other = next(member for member in joined["members"] if member["player_num"] != joined["player_num"])
        self.assertEqual(other["nickname"], "Old")
        ids = Pair(old=other["player_id"], new=joined["player_id"])
        numbers = Pair(old=other["player_num"], new=joined["player_num"])
        return room, old, new, ids, numbers

    def state_of(self, client, player_id, matches):
        """The first sync that shows a player as `matches` wants it: the sync, and the player's state."""
        found = []

        def shows(message):
            if client.type_of(message) != seed.MessageType.SYNC:
                return False
            sync = seed.StateSync.FromString(message.payload)
            states = [state for state in sync.players if state.player_id == player_id and matches(state)]
            found.extend((sync, state) for state in states)
            return bool(states)

        client.until(shows)
        return found[0]

    def test_subprotocol(self):
        self.assertEqual(self.seed_client().socket.subprotocol, "gameproto.v1.protobuf")

    def test_join_by_payload(self):
        room, old, _, ids, _ = self.pair()
        sync, state = self.state_of(old, ids.new, lambda state: True)
        self.assertEqual((state.health, state.score), (100, 0))
        self.assertLess(abs(sync.timestamp - time.time() * 1000), 60_000)
        self.assertTrue(all(message.room_id == room for message in old.seen))

    def test_join_by_envelope(self):
        room = self.room()
        old = self.seed_client()
        old.send("JOIN_ROOM", room)
        self.assertEqual(old.of_type(PLAYER_JOINED).room_id, room)

    def test_move(self):
        room, old, new, ids, _ = self.pair()
        frame = 0
        for x, y, z in [(1.5, 0, -2), (0, 0, 0), (-1e6, 1e6, 0.1), (5e-324, 2**-40, 1 / 3)]:
            where = seed.Position(x=x, y=y, z=z)
            old.send("GAME_ACTION", payload=seed.GameAction(action="move", position=where))
            sync, state = self.state_of(old, ids.old, lambda state: state.position == where)
            self.assertGreater(sync.frame_num, frame)
            frame = sync.frame_num
            self.assertEqual(state.health, 100)
            new.until(
                lambda message: message["type"] == "sync"
                and any(
                    player["player_id"] == ids.old and player["position"] == {"x": x, "y": y, "z": z}
                    for player in message["payload"]["players"]
                )
            )
        # A second move away from there has a velocity.
        old.send("GAME_ACTION", room, seed.GameAction(action="move", position=seed.Position(x=100)))
        _, state = self.state_of(old, ids.old, lambda state: state.position.x == 100)
        self.assertGreater(state.velocity.x, 0)

    def test_move_of_a_json_client(self):
        _, old, new, ids, _ = self.pair()
        new.send("game_action", payload={"action": "move", "position": {"x": -7.25, "z": 1e-3}})
        _, state = self.state_of(old, ids.new, lambda state: state.position.x == -7.25)
        self.assertEqual((state.position.y, state.position.z), (0, 1e-3))

    def test_attack(self):
        room, old, new, ids, numbers = self.pair()
        old.send("GAME_ACTION", room, seed.GameAction(action="attack", target_id=numbers.new))
        self.state_of(old, ids.new, lambda state: state.health == 90)
        new.send("game_action", room, payload={"action": "attack", "target_id": numbers.old})
        self.state_of(old, ids.old, lambda state: state.health == 90)
        # A refusal is a message that the original doesn't know, and nothing else.
        old.send("GAME_ACTION", room, seed.GameAction(action="attack", target_id=99))
        self.assertEqual(old.of_type(ERROR).room_id, room)
        self.assert_goes_on(old, room)

    def test_chat_to_json(self):
        room, old, new, ids, _ = self.pair()
        for text in ["hello", "Grüße, 世界 😀", '{"not":"json"}', "two\nlines"]:
            old.send("CHAT", room, text.encode())
            heard = new.of_type("chat")
            self.assertEqual((heard["payload"], heard["payload_kind"]), (text, "text"))
            self.assertEqual((heard["from_client_id"], heard["room_id"]), (ids.old, room))
            own = old.of_type("CHAT")
            self.assertEqual((own.payload, own.from_client_id), (text.encode(), ids.old))
            self.assertEqual(own.timestamp, heard["timestamp"])

    def test_chat_from_json(self):
        room, old, new, ids, _ = self.pair()
        for sent, payload in [
            ('"hello"', b'"hello"'),
            ('{"text": "Gr\u00fc\u00dfe", "n": 1.0}', '{"text": "Gr\u00fc\u00dfe", "n": 1.0}'.encode()),
            ("17", b"17"),
        ]:
            new.send_text(f'{{"type":"chat","room_id":"{room}","payload":{sent}}}')
            heard = old.of_type("CHAT")
            self.assertEqual((heard.payload, heard.from_client_id), (payload, ids.new))
        new.send("chat", room, payload="plain", payload_kind="text")
        self.assertEqual(old.of_type("CHAT").payload, b"plain")

    def test_nobody_is_who_they_say(self):
        room, old, new, ids, _ = self.pair()
        old.send("CHAT", room, b"it is me", from_client_id=ids.new, timestamp=1)
        heard = new.of_type("chat")
        self.assertEqual(heard["from_client_id"], ids.old)
        self.assertGreater(heard["timestamp"], 1_600_000_000_000)

    def test_actions_of_ones_own(self):
        room, old, new, ids, _ = self.pair()
        action = seed.GameAction(action="cast", target_id=3, position=seed.Position(y=2.5))
        action.params["spell"] = "frost"
        action.params["power"] = "[1,2]"
        old.send("GAME_ACTION", room, action)
        heard = new.of_type("game_action")
        self.assertEqual(heard["from_client_id"], ids.old)
        self.assertEqual(
            heard["payload"],
            {
                "action": "cast",
                "target_id": 3,
                "position": {"x": 0, "y": 2.5, "z": 0},
                "params": {"spell": "frost", "power": "[1,2]"},
            },
        )
        self.assertEqual(seed.GameAction.FromString(old.of_type("GAME_ACTION").payload), action)

        sent = {"action": "cast", "spell": "fire", "power": [1, 2], "deep": {"a": None}, "params": {"on": "self"}}
        new.send("game_action", room, payload=sent)
        heard = seed.GameAction.FromString(old.of_type("GAME_ACTION").payload)
        self.assertEqual(heard.action, "cast")
        self.assertFalse(heard.HasField("position"))
        params = {key: value.replace(" ", "") for key, value in heard.params.items()}
        self.assertEqual(params, {"spell": "fire", "power": "[1,2]", "deep": '{"a":null}', "on": "self"})
        self.assertEqual(new.of_type("game_action")["payload"], sent)

    def test_direct_messages(self):
        room, old, new, ids, _ = self.pair()
        third = self.json()
        third.join(room)
        old.send("CHAT", room, b"for you", to_client_id=ids.new)
        heard = new.of_type("chat")
        self.assertEqual((heard["payload"], heard["to_client_id"]), ("for you", ids.new))
        self.assertEqual(heard["from_client_id"], ids.old)
        new.send("chat", to_client_id=ids.old, payload="back", payload_kind="text")
        heard = old.until(lambda message: message.type == seed.MessageType.CHAT and message.to_client_id == ids.old)
        self.assertEqual((heard.payload, heard.from_client_id), (b"back", ids.new))
        new.send("chat", room, payload="for all")
        self.assertEqual(third.of_type("chat")["payload"], "for all")

    def test_newer_types_are_only_numbers(self):
        room, old, new, ids, _ = self.pair()
        new.send("event", room, name="wave", payload={"hand": "left"})
        heard = old.of_type(EVENT)
        self.assertEqual((heard.payload, heard.from_client_id), (b'{"hand": "left"}', ids.new))
        new.send("leave_room", room)
        self.assertEqual(old.of_type(PLAYER_LEFT).from_client_id, ids.new)
        self.assert_goes_on(old, room)

    def test_unknown_type_is_refused(self):
        room, old, _, _, _ = self.pair()
        old.send_bytes(seed.Message(type=99, room_id=room).SerializeToString())
        old.of_type(ERROR)
        self.assert_goes_on(old, room)

    def test_unknown_fields_are_ignored(self):
        room, old, new, _, _ = self.pair()
        message = seed.Message(type=seed.MessageType.CHAT, room_id=room, payload=b"with more").SerializeToString()
        unknown = bytes.fromhex("c03e7b" "c23e03616263" "c13e0102030405060708" "c53e01020304" "c33e0801c43e")
        old.send_bytes(unknown + message + unknown)
        self.assertEqual(new.of_type("chat")["payload"], "with more")
        action = seed.GameAction(action="wave").SerializeToString()
        old.send("GAME_ACTION", room, unknown + action + unknown)
        self.assertEqual(new.of_type("game_action")["payload"]["action"], "wave")

    def test_cut_short(self):
        room, old, _, _, _ = self.pair()
        whole = seed.Message(type=seed.MessageType.CHAT, room_id=room, payload=b"whole").SerializeToString()
        for end in (1, len(whole) // 2, len(whole) - 1):
            old.send_bytes(whole[:end])
            old.of_type(ERROR)
            self.assert_goes_on(old, room)

    def test_bad_utf8(self):
        room, old, _, _, _ = self.pair()
        for bad in [
            bytes.fromhex("0805 2202 fffe 2a01 61"),  # the room
            bytes.fromhex("0805 1a01 ff 2a01 61"),  # the recipient
            bytes.fromhex("0805 2a02 c328"),  # a chat's text
            bytes.fromhex("0803 2a0b 0a0161 22060a016b1201ff"),  # a param
        ]:
            old.send_bytes(bad)
            old.of_type(ERROR)
            self.assert_goes_on(old, room)

    def test_leave(self):
        room, old, new, ids, _ = self.pair()
        old.send("LEAVE_ROOM", payload=seed.JoinRoomRequest(room_id=room))
        left = new.of_type("player_left")
        self.assertEqual(left["payload"]["player_id"], ids.old)
        new.until(lambda message: message["type"] == "sync" and ids.old in message["payload"]["left"])

    def assert_goes_on(self, client, room):
        client.send("CHAT", room, b"still here")
        client.until(lambda message: client.type_of(message) == seed.MessageType.CHAT and message.payload == b"still here")


class Pair:
    def __init__(self, **values):
        self.__dict__.update(values)
