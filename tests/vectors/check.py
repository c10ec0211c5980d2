"""Holds the golden vectors against Protobuf code that is not Roomcast's.

    pip install protobuf grpcio-tools
    python tests/vectors/check.py

Compiles Roomcast's .proto, and the original one that Roomcast keeps to (seed.proto), builds each vector's message from
its JSON by the mapping that docs/protocol.md describes, and compares the bytes.
"""

import base64
import importlib
import json
import pathlib
import sys
import tempfile

from google.protobuf.descriptor import FieldDescriptor
from grpc_tools import protoc

HERE = pathlib.Path(__file__).resolve().parent
OURS = HERE / "../../crates/protocol/proto/gameproto.proto"
SEED = HERE / "seed.proto"

# The message in the payload, by type and direction. What is not here goes through untouched.
PAYLOADS = {
    ("client", "hello"): "Hello",
    ("client", "join_room"): "JoinRoomRequest",
    ("client", "leave_room"): "LeaveRoomRequest",
    ("client", "presence"): "PresenceUpdate",
    ("client", "game_action"): "GameAction",
    ("client", "skip"): "Skip",
    ("client", "members"): "MembersRequest",
    ("client", "history"): "HistoryRequest",
    ("client", "auth"): "Auth",
    ("server", "welcome"): "Welcome",
    ("server", "joined"): "Joined",
    ("server", "player_joined"): "Member",
    ("server", "player_left"): "PlayerLeft",
    ("server", "presence"): "PresenceUpdate",
    ("server", "sync"): "StateSync",
    ("server", "game_action"): "GameAction",
    ("server", "ack"): "Ack",
    ("server", "error"): "Error",
    ("server", "members"): "Members",
    ("server", "history"): "History",
    ("server", "auth"): "Auth",
    ("server", "reconnect"): "Reconnect",
}


def compile_proto(path, name):
    """Compiles a .proto as a module of that name, in a directory of its own."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix="roomcast-vectors-"))
    (directory / f"{name}.proto").write_text(
        # Two schemas of one package can't be loaded side by side.
        path.read_text().replace("package gameproto;", f"package {name};")
    )
    arguments = ["protoc", f"-I{directory}", f"--python_out={directory}", f"{name}.proto"]
    if protoc.main(arguments) != 0:
        sys.exit(f"{path} does not compile")
    sys.path.insert(0, str(directory))
    return importlib.import_module(f"{name}_pb2")


class Raw(str):
    """The text of a JSON number or value as it stands in the message."""


def pieces(text):
    """An object's keys, or an array's places, with the text of their values: Python's parser would lose how a value was
    written."""
    decoder, at, found = json.JSONDecoder(), 0, []
    array = text.lstrip().startswith("[")

    def white():
        nonlocal at
        while text[at] in " \t\r\n":
            at += 1

    at = text.index("[" if array else "{") + 1
    white()
    while text[at] not in "]}":
        key = len(found)
        if not array:
            key, at = decoder.raw_decode(text, at)
            white()
            at += 1  # the colon
            white()
        _, end = decoder.raw_decode(text, at)
        found.append((key, Raw(text[at:end])))
        at = end
        white()
        if text[at] == ",":
            at += 1
            white()
    return found


def is_map(field):
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def fill(message, text, map_text):
    """Sets a message's fields from the text of a JSON object. Unknown keys and nulls say nothing."""
    for key, raw in pieces(text):
        field = message.DESCRIPTOR.fields_by_name.get(key)
        value = json.loads(raw)
        if field is None or value is None:
            continue
        if is_map(field):
            target = getattr(message, key)
            for name, inner in pieces(raw):
                target[name] = map_text(inner)
        elif field.is_repeated:
            for element in value:
                if field.type == FieldDescriptor.TYPE_MESSAGE:
                    fill(getattr(message, key).add(), json.dumps(element), map_text)
                else:
                    getattr(message, key).append(element)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            getattr(message, key).SetInParent()
            fill(getattr(message, key), raw, map_text)
        elif field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_STRING):
            setattr(message, key, value)
        else:
            setattr(message, key, bool(value) if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else int(value))


def presence_text(raw):
    """A presence value: its JSON text; null is the empty text."""
    return "" if raw == "null" else str(raw)


def param_text(raw):
    """An action's parameter: a string as it is, other JSON as its text."""
    return json.loads(raw) if raw.startswith('"') else str(raw)


def game_action(proto, text):
    action = proto.GameAction()
    known = {key: raw for key, raw in pieces(text) if key in action.DESCRIPTOR.fields_by_name}
    fill(action, "{" + ",".join(f"{json.dumps(k)}:{v}" for k, v in known.items()) + "}", param_text)
    for key, raw in pieces(text):
        if key not in known:
            action.params[key] = param_text(raw)
    return action


def history(proto, text):
    """A page: whole messages inside of one."""
    keys = dict(pieces(text))
    page = proto.History(next=json.loads(keys["next"]), epoch=json.loads(keys["epoch"]))
    page.events.extend(build(proto, "server", raw) for _, raw in pieces(keys["events"]))
    return page


def build(proto, direction, text):
    """The Protobuf message that a JSON message stands for."""
    keys = dict(pieces(text))
    envelope = {key: json.loads(raw) for key, raw in keys.items()}
    message = proto.Message()
    message.type = proto.MessageType.Value(envelope["type"].upper())
    settable = [field for field in message.DESCRIPTOR.fields if field.name not in ("type", "payload", "payload_kind")]
    for field in settable:
        # What a client says about the server's own fields is not passed on.
        ours = direction == "server" or field.name not in ("from_client_id", "timestamp", "offset", "epoch")
        if ours and envelope.get(field.name) is not None:
            setattr(message, field.name, envelope[field.name])
    payload = keys.get("payload")
    kind = PAYLOADS.get((direction, envelope["type"]))
    if kind == "GameAction":
        message.payload = game_action(proto, payload).SerializeToString(deterministic=True)
    elif kind == "History":
        message.payload = history(proto, payload).SerializeToString(deterministic=True)
    elif kind is not None and payload is not None:
        body = getattr(proto, kind)()
        fill(body, payload, presence_text)
        if kind == "JoinRoomRequest":
            message.room_id = message.room_id or body.room_id
            body.ClearField("room_id")
            body.ClearField("user_id")
        message.payload = body.SerializeToString(deterministic=True)
    elif payload is not None:
        declared = envelope.get("payload_kind") or "json"
        message.payload_kind = proto.PayloadKind.Value(f"PAYLOAD_KIND_{declared.upper()}")
        if declared == "json":
            message.payload = payload.encode()
        elif declared == "text":
            message.payload = json.loads(payload).encode()
        else:
            message.payload = base64.b64decode(json.loads(payload), validate=True)
    elif envelope.get("payload_kind"):
        message.payload_kind = proto.PayloadKind.Value(f"PAYLOAD_KIND_{envelope['payload_kind'].upper()}")
    return message


def check_seed(seed, ours, wire):
    """A program that knows only the seed's schema reads the same in the fields that it has."""
    theirs, mine = seed.Message.FromString(wire), ours.Message.FromString(wire)
    for field in seed.Message.DESCRIPTOR.fields:
        assert getattr(theirs, field.name) == getattr(mine, field.name), field.name
    body = {1: "JoinRoomRequest", 3: "GameAction", 4: "StateSync"}.get(theirs.type)
    if body:
        old = getattr(seed, body).FromString(theirs.payload)
        new = getattr(ours, body).FromString(theirs.payload)
        for field in old.DESCRIPTOR.fields:
            if field.type != FieldDescriptor.TYPE_MESSAGE or is_map(field):
                assert getattr(old, field.name) == getattr(new, field.name), field.name
        for one, other in zip(getattr(old, "players", []), getattr(new, "players", []), strict=True):
            assert (one.player_id, one.position.x, one.velocity.z, one.health, one.score) == (
                other.player_id,
                other.position.x,
                other.velocity.z,
                other.health,
                other.score,
            )


def check_schema(seed, ours):
    """Every name and number of the seed's schema is in ours."""
    for name, enum in seed.DESCRIPTOR.enum_types_by_name.items():
        for value in enum.values:
            assert ours.DESCRIPTOR.enum_types_by_name[name].values_by_name[value.name].number == value.number
    for name, message in seed.DESCRIPTOR.message_types_by_name.items():
        for field in message.fields:
            mine = ours.DESCRIPTOR.message_types_by_name[name].fields_by_name[field.name]
            assert (mine.number, mine.type, mine.is_repeated) == (field.number, field.type, field.is_repeated), field


def main():
    seed, ours = compile_proto(SEED, "seed"), compile_proto(OURS, "gameproto")
    check_schema(seed, ours)
    count, failed = 0, []
    for file in ("client.json", "server.json", "mapping.json"):
        for vector in json.loads((HERE / file).read_text())["vectors"]:
            count += 1
            wire = bytes.fromhex(vector["protobuf"])
            built = build(ours, vector["direction"], vector["json"]).SerializeToString(deterministic=True)
            if built != wire:
                failed.append(f"{file}: {vector['name']}\n  built    {built.hex()}\n  vector   {wire.hex()}")
            check_seed(seed, ours, wire)
    print("\n".join([*failed, f"{count} vectors, {len(failed)} differ"]))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
