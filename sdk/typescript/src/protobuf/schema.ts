// The payloads of gameproto.proto as tables, which the reader and the writer walk. Names are those of the JSON form.

/** A message in its JSON form. */
export type Message = Record<string, unknown>;

/** What a field has: text, a number that is not negative, one that may be, a boolean, a double, the bytes of a message, a
 * map to JSON texts, a map to texts, or a message. */
export type FieldType = "text" | "uint" | "int" | "bool" | "double" | "bytes" | "json" | "texts" | Schema;

/** A field's name and type, and how it is written: `*` is a list, `?` is left out when unset, `!` too, and
 * is written when it is 0 or false. */
export type Field = readonly [name: string, type: FieldType, mark?: "*" | "?" | "!"];

/** A message's fields by their numbers. */
export type Schema = { readonly [number: number]: Field };

/** The types of messages, by their numbers. */
export const TYPES = (
  "unknown join_room leave_room game_action sync chat hello welcome joined player_joined player_left presence event ack " +
  "error ping pong members history skip reconnect auth"
).split(" ");

/** The kinds of payloads, by their numbers. */
export const KINDS = ["", "json", "text", "bytes"];
export const [JSON_TEXT, TEXT, BYTES] = [1, 2, 3];

export const ENVELOPE: Schema = {
  1: ["type", "uint"],
  2: ["from_client_id", "text", "?"],
  3: ["to_client_id", "text", "?"],
  4: ["room_id", "text", "?"],
  5: ["payload", "bytes", "?"],
  6: ["timestamp", "int", "?"],
  7: ["seq", "uint", "?"],
  8: ["offset", "uint", "?"],
  9: ["epoch", "text", "?"],
  10: ["payload_kind", "uint", "?"],
  11: ["name", "text", "?"],
  12: ["ephemeral", "bool", "?"],
  13: ["no_echo", "bool", "!"],
  14: ["to_user_id", "text", "?"],
  15: ["request_id", "uint", "?"],
  16: ["from_user_id", "text", "?"],
  17: ["from_player_num", "uint", "?"],
  18: ["from_service", "text", "?"],
};

const LOG_POSITION: Schema = { 1: ["epoch", "text"], 2: ["offset", "uint"] };
const VECTOR: Schema = { 1: ["x", "double"], 2: ["y", "double"], 3: ["z", "double"] };
const MEMBER: Schema = {
  1: ["player_id", "text"],
  2: ["player_num", "uint"],
  3: ["nickname", "text", "?"],
  4: ["presence", "json", "?"],
  5: ["connected", "bool"],
};
const ACTION: Schema = {
  1: ["action", "text"],
  2: ["position", VECTOR, "?"],
  3: ["target_id", "int", "?"],
  4: ["params", "texts", "?"],
};

/** What a client sends. */
export const CLIENT_PAYLOADS: { readonly [type: string]: Schema } = {
  hello: {
    1: ["version", "uint"],
    2: ["capabilities", "text", "*"],
    3: ["token", "text"],
    4: ["resume_token", "text"],
    5: ["positions", { 1: ["room_id", "text"], 2: ["since", LOG_POSITION], 3: ["first_seq", "uint"] }, "*"],
    6: ["inbox", LOG_POSITION],
    7: ["first_direct_seq", "uint"],
  },
  join_room: {
    1: ["room_id", "text"],
    3: ["nickname", "text"],
    4: ["since", LOG_POSITION],
    5: ["first_seq", "uint"],
    6: ["presence", "json"],
    7: ["token", "text"],
  },
  leave_room: { 1: ["room_id", "text"] },
  game_action: ACTION,
  presence: { 1: ["presence", "json"], 5: ["nickname", "text"] },
  members: { 1: ["after", "uint"], 2: ["limit", "uint"] },
  history: { 1: ["before", "uint"], 2: ["limit", "uint"], 3: ["after", "uint", "!"] },
  skip: { 1: ["seq", "uint"] },
  auth: { 1: ["token", "text"] },
};

/** What the server sends. */
export const SERVER_PAYLOADS: { readonly [type: string]: Schema } = {
  welcome: {
    1: ["client_id", "text"],
    2: ["resume_token", "text", "?"],
    3: ["resumed", "bool"],
    4: ["ping_interval_ms", "uint"],
    5: [
      "limits",
      {
        1: ["max_message", "uint"],
        2: ["max_rooms", "uint"],
        3: ["messages_per_second", "uint"],
        4: ["burst", "uint"],
        5: ["max_presence", "uint"],
        6: ["max_name", "uint"],
        7: ["max_unanswered", "uint"],
      },
    ],
    6: ["server_time", "int"],
    7: ["version", "uint"],
    8: ["seq_acked", "bool"],
    9: ["grace_ms", "uint"],
    10: ["inbox", LOG_POSITION, "?"],
    11: ["inbox_recovered", "bool"],
    12: ["user_id", "text", "?"],
    13: ["token_expires_at", "int"],
    14: ["direct_repeats_possible", "bool"],
  },
  joined: {
    1: ["members", MEMBER, "*"],
    2: ["total", "uint"],
    3: ["player_num", "uint"],
    4: ["epoch", "text"],
    5: ["offset", "uint"],
    6: ["recovered", "bool"],
    7: ["repeats_possible", "bool"],
    8: ["player_id", "text"],
    9: ["mode", "text"],
    10: ["presence", "text"],
    11: ["properties", "json", "?"],
  },
  player_joined: MEMBER,
  player_left: { 1: ["player_id", "text"], 2: ["player_num", "uint"] },
  presence: {
    1: ["presence", "json"],
    2: ["player_id", "text"],
    3: ["player_num", "uint"],
    4: ["total", "uint"],
    5: ["nickname", "text", "?"],
    6: ["connected", "bool"],
  },
  sync: {
    1: ["frame_num", "int"],
    2: [
      "players",
      {
        1: ["player_id", "text"],
        2: ["position", VECTOR],
        3: ["velocity", VECTOR],
        4: ["health", "int"],
        5: ["score", "int"],
        6: ["player_num", "uint"],
      },
      "*",
    ],
    3: ["timestamp", "int"],
    4: ["full", "bool"],
    5: ["left", "text", "*"],
    6: ["offset", "uint"],
  },
  game_action: ACTION,
  ack: { 1: ["acks", { 1: ["seq", "uint"], 2: ["offset", "uint"] }, "*"] },
  error: {
    1: ["code", "text"],
    2: ["message", "text"],
    3: ["seq", "uint", "?"],
    4: ["retry_after_ms", "uint", "?"],
    5: ["request", "text", "?"],
  },
  members: { 1: ["members", MEMBER, "*"], 2: ["total", "uint"], 3: ["next", "uint"] },
  history: { 1: ["events", "bytes", "*"], 2: ["next", "uint"], 3: ["epoch", "text"] },
  reconnect: { 1: ["delay_ms", "uint"], 2: ["url", "text", "?"], 3: ["reason", "text", "?"] },
  auth: { 2: ["token_expires_at", "int"], 3: ["user_id", "text", "?"] },
};
