"""A client that has Roomcast's own .proto, compiled by protoc, in rooms with JSON clients: every message that a
client sends, every kind of payload in both directions, and what is refused."""

import base64
import json

from support import OURS, WireTest, compile_proto

proto = compile_proto(OURS)
JSON, TEXT, BYTES = 1, 2, 3


class FullSchema(WireTest):
    def client(self):
        return self.protobuf(proto)

    def pair(self, kind=None):
        """A Protobuf and a JSON client in one room."""
        room = self.room(kind)
        ours, theirs = self.client(), self.json()
        ours.send("JOIN_ROOM", room, proto.JoinRoomRequest(nickname="Ours"))
        ours.of_type("JOINED")
        theirs.join(room, nickname="Theirs")
        return room, ours, theirs

    def refused(self, client, code):
        """The next message is an error with that code."""
        error = proto.Error.FromString(client.of_type("ERROR").payload)
        self.assertEqual(error.code, code, error)
        return error

    def goes_on(self, client):
        client.send("PING", payload=b"on")
        self.assertEqual(client.of_type("PONG").payload, b"on")

    # --- the session ---

    def test_hello(self):
        client = self.client()
        client.send("HELLO", payload=proto.Hello(version=1, capabilities=["a", "b"]))
        message = client.of_type("WELCOME")
        welcome = proto.Welcome.FromString(message.payload)
        self.assertEqual((welcome.version, welcome.ping_interval_ms), (1, 30_000))
        self.assertEqual((welcome.limits.max_message, welcome.limits.burst), (65_536, 240))
        self.assertFalse(welcome.resumed)
        self.assertTrue(welcome.seq_acked and welcome.resume_token and welcome.grace_ms == 30_000)
        self.assertEqual(welcome.server_time, message.timestamp)
        client.send("JOIN_ROOM", self.room())
        self.assertEqual(proto.Joined.FromString(client.of_type("JOINED").payload).player_id, welcome.client_id)
        client.send("HELLO")
        self.assertEqual(self.refused(client, "unexpected").request, "hello")
        self.goes_on(client)

    def test_an_unknown_version(self):
        client = self.client()
        client.send("HELLO", payload=proto.Hello(version=9))
        self.refused(client, "unsupported_version")
        self.goes_on(client)

    def test_ping(self):
        client = self.client()
        for payload, kind, answered in [(b"", 0, 0), (b"\x00\xff", 0, BYTES), (b"17", JSON, JSON), (b"x", TEXT, TEXT)]:
            client.send("PING", payload=payload, payload_kind=kind)
            pong = client.of_type("PONG")
            self.assertEqual((pong.payload, pong.payload_kind), (payload, answered))
            self.assertGreater(pong.timestamp, 1_600_000_000_000)

    # --- rooms ---

    def test_joined_and_presence(self):
        room, ours, theirs = self.room(), self.client(), self.json()
        theirs.join(room, nickname="Theirs", presence={"colour": "red", "level": 3})
        request = proto.JoinRoomRequest(room_id=room, nickname="Grüße 😀")
        request.presence.update({"colour": '"blue"', "at": '{"x":[1,2]}'})
        ours.send("JOIN_ROOM", payload=request)
        joined = proto.Joined.FromString(ours.of_type("JOINED").payload)
        self.assertEqual((joined.total, joined.player_num, joined.mode, joined.presence), (2, 2, "state", "full"))
        first, second = joined.members
        self.assertEqual((first.nickname, dict(first.presence)), ("Theirs", {"colour": '"red"', "level": "3"}))
        self.assertEqual((second.nickname, dict(second.presence)), (request.nickname, dict(request.presence)))
        self.assertTrue(first.connected and second.connected)
        seen = theirs.until(lambda message: message["type"] == "player_joined" and message["payload"]["player_num"] == 2)
        self.assertEqual(seen["payload"]["presence"], {"colour": "blue", "at": {"x": [1, 2]}})
        self.assertEqual(proto.Member.FromString(ours.of_type("PLAYER_JOINED").payload), second)

        ours.send("PRESENCE", payload=proto.PresenceUpdate(presence={"colour": "", "typing": "true"}))
        seen = theirs.of_type("presence")["payload"]
        self.assertEqual((seen["player_num"], seen["presence"]), (2, {"at": {"x": [1, 2]}, "typing": True}))
        theirs.send("presence", payload={"presence": {"level": None, "colour": "green"}})
        seen = ours.until(lambda m: m.type == proto.MessageType.PRESENCE and m.from_client_id == first.player_id)
        self.assertEqual(dict(proto.PresenceUpdate.FromString(seen.payload).presence), {"colour": '"green"'})

        ours.send("MEMBERS", payload=proto.MembersRequest(limit=1))
        page = proto.Members.FromString(ours.of_type("MEMBERS").payload)
        self.assertEqual(([member.player_num for member in page.members], page.total, page.next), ([1], 2, 1))
        ours.send("MEMBERS", payload=proto.MembersRequest(after=page.next))
        page = proto.Members.FromString(ours.of_type("MEMBERS").payload)
        self.assertEqual(([member.player_num for member in page.members], page.total, page.next), ([2], 2, 0))

        ours.send("LEAVE_ROOM", payload=proto.LeaveRoomRequest(room_id=room))
        left = proto.PlayerLeft.FromString(ours.of_type("PLAYER_LEFT").payload)
        self.assertEqual((left.player_id, left.player_num), (joined.player_id, 2))
        self.assertEqual(theirs.of_type("player_left")["payload"], {"player_id": joined.player_id, "player_num": 2})

    def test_one_order(self):
        room, ours, theirs = self.pair()
        for n in range(50):
            ours.send("CHAT", room, f"o{n}".encode(), seq=n + 1)
            theirs.send("chat", room, payload=f"t{n}", seq=n + 1)
        seen = [ours.of_type("CHAT") for _ in range(100)]
        heard = [theirs.of_type("chat") for _ in range(100)]
        offsets = [message.offset for message in seen]
        self.assertEqual(offsets, list(range(offsets[0], offsets[0] + 100)))
        self.assertEqual(
            [(m.offset, m.epoch, m.seq, m.timestamp, m.from_client_id) for m in seen],
            [(m["offset"], m["epoch"], m["seq"], m["timestamp"], m["from_client_id"]) for m in heard],
        )
        stamps = [message.timestamp for message in seen]
        self.assertEqual(stamps, sorted(stamps))

    def test_sync(self):
        room, ours, theirs = self.pair()
        joined = proto.Joined.FromString(next(m for m in ours.seen if m.type == proto.MessageType.JOINED).payload)
        full = proto.StateSync.FromString(ours.of_type("SYNC").payload)
        self.assertTrue(full.full)
        where = proto.Position(x=3, y=-0.5)
        ours.send("GAME_ACTION", room, proto.GameAction(action="move", position=where))

        def mine(sync):
            return [player for player in sync.players if player.position == where]

        message = ours.until(lambda m: m.type == proto.MessageType.SYNC and mine(proto.StateSync.FromString(m.payload)))
        sync = proto.StateSync.FromString(message.payload)
        self.assertEqual([player.player_num for player in mine(sync)], [joined.player_num])
        self.assertFalse(sync.full)
        self.assertGreater(sync.frame_num, full.frame_num)
        self.assertEqual(message.offset, 0)
        theirs.send("leave_room", room)
        message = ours.until(lambda m: m.type == proto.MessageType.SYNC and proto.StateSync.FromString(m.payload).left)
        self.assertEqual(len(proto.StateSync.FromString(message.payload).left), 1)

    # --- payloads ---

    def test_payloads_to_json(self):
        room, ours, theirs = self.pair("relay")
        binary = bytes(range(256))
        for type, payload, kind, expected in [
            ("CHAT", "Grüße 😀".encode(), 0, ("Grüße 😀", "text")),
            ("CHAT", b'{"a":1}', TEXT, ('{"a":1}', "text")),
            ("CHAT", b'{"a":[1,null]}', JSON, ({"a": [1, None]}, None)),
            ("CHAT", binary, BYTES, (base64.b64encode(binary).decode(), "bytes")),
            ("EVENT", binary, 0, (base64.b64encode(binary).decode(), "bytes")),
            ("EVENT", b"plain", 0, (base64.b64encode(b"plain").decode(), "bytes")),
            ("EVENT", b"", 0, (None, None)),
            ("EVENT", b"", TEXT, ("", "text")),
            ("EVENT", b"", BYTES, ("", "bytes")),
            ("EVENT", b"null", JSON, (None, None)),
            ("EVENT", b" 17 ", JSON, (17, None)),
        ]:
            with self.subTest(type=type, payload=payload[:20], kind=kind):
                name = "e" if type == "EVENT" else ""
                ours.send(type, room, payload, payload_kind=kind, name=name)
                heard = theirs.of_type(type.lower())
                self.assertEqual((heard.get("payload"), heard.get("payload_kind")), expected)
                self.assertEqual(heard.get("name", ""), name)
                # To Protobuf as it was sent, with its kind written out.
                own = ours.of_type(type)
                self.assertEqual((own.payload, own.name), (payload, name))
                declared = kind or (TEXT if type == "CHAT" else BYTES if payload else 0)
                self.assertEqual(own.payload_kind, declared)

    def test_payloads_from_json(self):
        room, ours, theirs = self.pair("relay")
        for sent, kind, payload, told in [
            ('"hello"', None, b'"hello"', JSON),
            ('{ "b": 1.0, "a": [1e2, "\\u00e9"] }', None, b'{ "b": 1.0, "a": [1e2, "\\u00e9"] }', JSON),
            ("0", "json", b"0", JSON),
            ("false", None, b"false", JSON),
            ('"Gr\u00fc\u00dfe \\ud83d\\ude00\\n"', "text", "Grüße 😀\n".encode(), TEXT),
            ('""', "text", b"", TEXT),
            ('"AAEC/w=="', "bytes", b"\x00\x01\x02\xff", BYTES),
            ('""', "bytes", b"", BYTES),
        ]:
            with self.subTest(sent=sent, kind=kind):
                declared = f',"payload_kind":"{kind}"' if kind else ""
                theirs.send_text(f'{{"type":"event","name":"e","room_id":"{room}","payload":{sent}{declared}}}')
                heard = ours.of_type("EVENT")
                self.assertEqual((heard.payload, heard.payload_kind), (payload, told))
                own = theirs.of_type("event")
                self.assertEqual(own["payload"], json.loads(sent))
                self.assertEqual(own.get("payload_kind", "json"), kind or "json")
        theirs.send("event", room, name="bare")
        heard = ours.of_type("EVENT")
        self.assertEqual((heard.name, heard.payload, heard.payload_kind), ("bare", b"", 0))

    def test_ephemeral_and_no_echo(self):
        room, ours, theirs = self.pair("relay")
        ours.send("EVENT", room, name="typing", ephemeral=True, no_echo=True)
        heard = theirs.of_type("event")
        self.assertTrue(heard["ephemeral"])
        self.assertNotIn("offset", heard)
        self.assertNotIn("epoch", heard)
        theirs.send("event", room, name="cursor", ephemeral=True, no_echo=True, payload=[1, 2])
        heard = ours.of_type("EVENT")
        self.assertEqual((heard.name, heard.ephemeral, heard.offset, heard.epoch), ("cursor", True, 0, ""))
        ours.send("EVENT", room, name="end", no_echo=False)
        self.assertEqual([ours.of_type("EVENT").name, theirs.of_type("event")["name"]], ["end", "end"])

    def test_direct_messages(self):
        room, ours, theirs = self.pair("relay")
        listener = self.client()
        listener.send("JOIN_ROOM", room)
        listener.of_type("JOINED")
        ours.send("MEMBERS", room)
        mine, theirs_id, _ = [m.player_id for m in proto.Members.FromString(ours.of_type("MEMBERS").payload).members]
        for seq, target in enumerate([{"to_client_id": theirs_id}, {"to_user_id": theirs_id}], 1):
            ours.send("EVENT", payload=b"\x01", name="secret", seq=seq, **target)
            heard = theirs.of_type("event")
            self.assertEqual((heard["payload"], heard["payload_kind"], heard["name"]), ("AQ==", "bytes", "secret"))
            self.assertEqual((heard["from_client_id"], heard["seq"]), (mine, seq))
        theirs.send("chat", payload={"psst": True}, to_client_id=mine)
        heard = ours.until(lambda m: m.type == proto.MessageType.CHAT and m.from_client_id == theirs_id)
        self.assertEqual((json.loads(heard.payload), heard.payload_kind), ({"psst": True}, JSON))
        self.assertEqual(heard.to_client_id, mine)
        ours.send("CHAT", payload=b"lost", to_client_id="nobody", seq=8)
        self.assertEqual(self.refused(ours, "recipient_not_found").seq, 8)
        ours.send("CHAT", room, b"for all")
        self.assertEqual(listener.of_type("CHAT").payload, b"for all")
        self.assertFalse([m for m in listener.seen if m.type == proto.MessageType.EVENT])

    # --- what is refused ---

    def test_bad_messages(self):
        room, ours, theirs = self.pair()
        name = bytes([0x22, len(room)]) + room.encode()
        for data, code in [
            (b"", "missing_field"),
            (b"\x08", "invalid_protobuf"),
            (b"\x08\x05" + name[:-1], "invalid_protobuf"),
            (b"\x08\x05" + name + b"\x2a\x09text", "invalid_protobuf"),
            (b"\x08\x03" + name + b"\x2a\x03\x0a\x04mo", "invalid_protobuf"),
            (b"\x08\x05" + name + b"\x2a\x02\xc3\x28", "invalid_utf8"),
            (b"\x08\x05" + name + b"\x2a\x01\xff\x50\x02", "invalid_utf8"),
            (b"\x08\x01\x22\x02\xc0\x80", "invalid_utf8"),
            (b"\x08\x0c" + name + b"\x5a\x01\xff", "invalid_utf8"),
            (b"\x08\x63" + name, "unknown_type"),
            (b"\x08\x07" + name, "unknown_type"),
            (b"\x08\x05\x20\x05", "wrong_type"),
            (b"\x08\x0c" + name, "missing_field"),
            (b"\x08\x05" + name + b"\x2a\x01x\x50\x09", "invalid_value"),
            (b"\x08\x0c" + name + b"\x2a\x01{\x50\x01\x5a\x01e", "invalid_json"),
        ]:
            with self.subTest(data=data):
                ours.send_bytes(data)
                self.refused(ours, code)
                ours.send("CHAT", room, b"fine")
                self.assertEqual(theirs.of_type("chat")["payload"], "fine")
        # Bytes are bytes: what is no text is one when it says so.
        ours.send("CHAT", room, b"\xc3\x28", payload_kind=BYTES)
        self.assertEqual(theirs.of_type("chat")["payload"], "wyg=")

    def test_a_text_frame(self):
        client = self.client()
        client.socket.send('{"type":"ping"}')
        self.refused(client, "wrong_format")
        self.goes_on(client)
