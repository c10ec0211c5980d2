// Rooms under a clock and a server of the test's own: what a real one says only when it is hurt.

import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Client, type Room } from "../src/index.js";
import { FakeSocket, last, turn } from "./fake.js";

beforeEach(() => {
  FakeSocket.all = [];
  vi.useFakeTimers();
});
afterEach(() => void vi.useRealTimers());

const member = (num: number, presence = {}) => ({ player_id: "p" + num, player_num: num, presence, connected: true });

const joined = (payload: object = {}) => ({
  type: "joined",
  room_id: "a",
  payload: {
    members: [member(1)],
    total: 1,
    player_num: 1,
    player_id: "p1",
    epoch: "e",
    offset: 0,
    recovered: false,
    repeats_possible: false,
    mode: "relay",
    presence: "full",
    ...payload,
  },
  timestamp: 1,
});
const event = (offset: number, data: unknown, fields: object = {}) => ({
  type: "event",
  room_id: "a",
  name: "n",
  payload: data,
  from_client_id: "other",
  epoch: "e",
  offset,
  timestamp: 1,
  ...fields,
});
const error = (code: string, payload: object = {}) => ({ type: "error", room_id: "a", payload: { code, message: code, ...payload } });
const ack = (seq: number, offset: number) => ({ type: "ack", room_id: "a", payload: { acks: [{ seq, offset }] } });

async function joinA(options: object = {}) {
  const client = new Client("ws://host/ws", { WebSocket: FakeSocket });
  const room: Room<any> = client.room("a", options);
  const told: unknown[] = [];
  room.on("n", (data) => told.push(data));
  room.subscribe("gap", (gap) => told.push({ gap }));
  room.subscribe("error", ({ code }) => told.push(code));
  const done = room.join();
  await turn();
  last().welcome();
  last().says(joined());
  await done;
  return { client, room, told };
}

async function comeBack(client: Client, resumed = true, client_id = "c1") {
  last().onclose({ code: 1006, reason: "" });
  client.wake();
  await turn();
  last().welcome({ resumed, client_id });
}

it("tells who sent an event, live and in the history", async () => {
  const { room } = await joinA();
  const sent = { from_user_id: "ada", from_player_num: 7 };
  const told: unknown[] = [];
  const who = ({ from, user, player, service }: any) => [from, user, player, service];
  room.on("n", (_, meta) => told.push(who(meta)));
  last().says(event(1, "x", sent));
  last().says(event(2, "x", { from_client_id: undefined, from_service: "shop" }));
  last().says({ ...event(0, "x", sent), offset: undefined, epoch: undefined, ephemeral: true });
  expect(told).toEqual([["other", "ada", 7, undefined], ["", undefined, undefined, "shop"], ["other", "ada", 7, undefined]]);
  const page = room.history().next();
  await turn();
  const { request_id } = last().of("history")[0] as any;
  last().says({ type: "history", room_id: "a", request_id, payload: { events: [event(1, "x", sent)], next: 0, epoch: "e" } });
  expect(who((await page).value)).toEqual(["other", "ada", 7, undefined]);
});

it("changes one's nickname, and tells it again where it did not arrive", async () => {
  const { client, room, told } = await joinA({ nickname: "Ada" });
  room.setNickname("Ann");
  room.updatePresence({ colour: "red" });
  await turn();
  expect(last().of("presence")).toMatchObject([{ payload: { presence: { colour: "red" }, nickname: "Ann" } }]);
  // Nothing is known of it after a resume: the list has the one before.
  await comeBack(client);
  last().says(joined({ members: [{ ...member(1), nickname: "Ada", presence: { colour: "red" } }] }));
  await turn();
  expect(last().of("presence")).toMatchObject([{ payload: { presence: {}, nickname: "Ann" } }]);
  last().says({ type: "presence", room_id: "a", payload: { player_id: "p1", player_num: 1, nickname: "Ann", presence: {}, connected: true } });
  expect(room.self!.nickname).toBe("Ann");
  // A new session joins with it.
  await comeBack(client, false, "c2");
  await turn();
  expect(last().of("join_room")).toMatchObject([{ payload: { nickname: "Ann" } }]);
  last().says(joined({ members: [{ ...member(1), nickname: "Token" }] }));
  await turn();
  last().says({ ...error("forbidden", { request: "presence" }) });
  expect(told.at(-1)).toBe("forbidden");
  // What was refused is not asked again.
  await comeBack(client, false, "c3");
  await turn();
  expect(last().of("join_room")).toMatchObject([{ payload: { nickname: "Ada" } }]);
});

it("has the properties that a room was joined with, and those that it is told of later", async () => {
  const { client, room } = await joinA();
  expect(room.properties).toEqual({});
  const change = (offset: number, data: object, fields = {}) => ({ ...event(offset, data, fields), name: "roomcast.properties" });
  const told: unknown[] = [];
  room.on("roomcast.properties", (data) => told.push(data));
  last().says(change(1, { title: "tea" }, { from_client_id: undefined, timestamp: 9 }));
  expect([room.properties, told]).toEqual([{ title: "tea" }, [{ title: "tea" }]]);
  // Of somebody else it is an event like others.
  last().says(change(2, { title: "no" }, { timestamp: 9 }));
  expect(room.properties).toEqual({ title: "tea" });
  await comeBack(client);
  last().says(joined({ recovered: true, properties: { title: "coffee" } }));
  expect(room.properties).toEqual({ title: "coffee" });
  await comeBack(client);
  last().says(joined({ recovered: true }));
  expect(room.properties).toEqual({});
});

it("takes members and place from a `joined` that comes unasked", async () => {
  const { room, told, client } = await joinA();
  last().says(event(1, "x"));
  last().says(joined({ offset: 90, members: [member(1), member(7)], total: 2 }));
  last().says(event(91, "y"));
  expect(told).toEqual(["x", { gap: { since: { epoch: "e", offset: 1 }, now: { epoch: "e", offset: 90 } } }, "y"]);
  expect(room.members.map((it) => it.num)).toEqual([1, 7]);
  expect(client.stats.gaps).toBe(1);
});

it("tells of a log that is another one without a word", async () => {
  const { told, client } = await joinA();
  last().says(event(5, "x", { seq: 4 }));
  last().says(event(1, "x", { epoch: "f", seq: 4 }));
  last().says(event(2, "y", { epoch: "f", seq: 5 }));
  expect(told).toEqual(["x", { gap: { since: { epoch: "e", offset: 5 }, now: { epoch: "f", offset: 0 } } }, "y"]);
  expect(client.stats).toMatchObject({ gaps: 1, repeats: 1 });
});

it("asks for a room that a resumed session does not tell of", async () => {
  const { client, room } = await joinA();
  last().says(event(3, "x"));
  await comeBack(client);
  expect(last().sent[0].payload.positions).toEqual([{ room_id: "a", since: { epoch: "e", offset: 3 }, first_seq: 1 }]);
  expect(last().of("join_room")).toEqual([]);
  expect(room.status).toBe("joining");
  last().says(error("not_in_room", { request: "join_room" }));
  expect(last().of("join_room").length).toBe(1);
  expect(last().of("join_room")[0].payload.since).toEqual({ epoch: "e", offset: 3 });

  // The answer to this join is lost: the session may have the room, or not.
  await comeBack(client);
  expect(last().sent[0].payload.positions.length).toBe(1);
  expect(last().of("join_room").length).toBe(1);
  last().says(joined({ recovered: true, offset: 3 }));
  expect(room.status).toBe("joined");

  await comeBack(client);
  await vi.advanceTimersByTimeAsync(9_999);
  expect(last().of("join_room")).toEqual([]);
  await vi.advanceTimersByTimeAsync(1);
  expect(last().of("join_room").length).toBe(1);
});

it("waits as long as the server asks, with a join and with a page of history", async () => {
  const client = new Client("ws://host/ws", { WebSocket: FakeSocket });
  const room = client.room("a");
  const done = room.join();
  await turn();
  last().welcome();
  last().says(error("rate_limited", { request: "join_room", retry_after_ms: 3000 }));
  await vi.advanceTimersByTimeAsync(2_999);
  expect(last().of("join_room").length).toBe(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(last().of("join_room").length).toBe(2);
  last().says(joined());
  await done;
  const page = room.history({ limit: 1 }).next();
  await turn();
  last().says(error("rate_limited", { request: "history", retry_after_ms: 2000 }));
  await vi.advanceTimersByTimeAsync(2_000);
  expect(last().of("history")).toMatchObject(Array(2).fill({ type: "history", room_id: "a", payload: { after: 0, limit: 1 } }));
  last().says({ type: "history", room_id: "a", payload: { events: [event(1, "x")], next: 0, epoch: "e" } });
  expect((await page).value).toMatchObject({ type: "event", name: "n", data: "x", from: "other", offset: 1 });
});

it("is put out of a room, or not let in", async () => {
  const { room, told } = await joinA();
  last().says({ ...event(1, { player_num: 1, player_id: "p1" }), type: "player_left" });
  expect([room.status, told]).toEqual(["left", ["not_in_room"]]);
  const full = room.join();
  last().says(error("room_full", { request: "join_room" }));
  await expect(full).rejects.toMatchObject({ code: "room_full" });
  expect(room.status).toBe("left");
  await vi.advanceTimersByTimeAsync(60_000);
  expect(last().of("join_room").length).toBe(2);
});

it.each(["room_failed", "removed", "banned"])("is out of a room that says %s by itself, and does not come back", async (code) => {
  const { room, told } = await joinA();
  last().says(error(code));
  expect([room.status, told]).toEqual(["left", [code]]);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(room.status).toBe("left");
});

it.each(["removed", "banned"])("is out of a room that says %s in the place of its joined, and does not come back", async (code) => {
  const { client, room, told } = await joinA();
  last().says(event(3, "x"));
  await comeBack(client);
  last().says(error(code));
  expect([room.status, told]).toEqual(["left", ["x", code]]);
  await vi.advanceTimersByTimeAsync(10_000);
  await comeBack(client, false);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(last().of("join_room")).toEqual([]);
  // Where that was lost, the join that asks for the room is refused.
  const done = room.join();
  await turn();
  expect(last().of("join_room")[0]!.payload.since).toBe(undefined);
  last().says(joined());
  await done;
  await comeBack(client);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(last().of("join_room").length).toBe(1);
  last().says(error(code, { request: "join_room" }));
  expect(room.status).toBe("left");
  await vi.advanceTimersByTimeAsync(10_000);
  expect(last().of("join_room").length).toBe(1);
});

it("joins again where the server calls it a stranger", async () => {
  const { room } = await joinA();
  const sent = room.send("n", 1);
  last().says(error("not_in_room", { seq: 1, request: "event" }));
  await expect(sent).rejects.toMatchObject({ code: "not_in_room" });
  expect(last().of("join_room").length).toBe(2);
  last().says(joined());
  expect(room.status).toBe("joined");
});

it("keeps numbers, windows and answers over connections", async () => {
  const { client, room } = await joinA();
  const sends = Array.from({ length: 40 }, (_, n) => room.send("n", n));
  expect(last().of("event").map((it) => it.seq)).toEqual(Array.from({ length: 32 }, (_, n) => n + 1));
  last().says(ack(1, 10));
  expect(last().of("event").length).toBe(33);
  expect(await sends[0]).toEqual({ seq: 1, offset: 10 });
  await comeBack(client);
  expect(last().of("event")).toEqual([]);
  last().says(joined({ recovered: true, offset: 0 }));
  expect(last().of("event").map((it) => it.seq)).toEqual(Array.from({ length: 32 }, (_, n) => n + 2));
});

it("as another client sends what never left, with numbers from 1, and not what may have been done", async () => {
  const { client, room } = await joinA();
  const sends = Array.from({ length: 34 }, (_, n) => room.send("n", n));
  await comeBack(client, false, "c2");
  for (const it of sends.slice(0, 32)) await expect(it).rejects.toMatchObject({ code: "unconfirmed" });
  expect(last().of("join_room")[0].payload.first_seq).toBe(1);
  last().says(joined({ epoch: "f" }));
  expect(last().of("event").map((it) => [it.seq, it.payload])).toEqual([[1, 32], [2, 33]]);
  last().says(ack(1, 1));
  expect(await sends[32]).toEqual({ seq: 1, offset: 1 });
});

it("does not say that it was done where the server has forgotten", async () => {
  const { client, room } = await joinA();
  const sent = room.send("n", 1);
  await comeBack(client);
  last().says(joined({ repeats_possible: true, recovered: true }));
  last().says(ack(1, 0));
  await expect(sent).rejects.toMatchObject({ code: "unconfirmed" });
});

it("gives up a presence that is refused, before it is in the way of a join", async () => {
  const { client, room, told } = await joinA({ presence: { kept: 1 } });
  expect(last().of("join_room")[0].payload.presence).toEqual({ kept: 1 });
  last().says({ type: "presence", room_id: "a", payload: member(1, { kept: 1 }) });
  room.updatePresence({ large: "x" });
  room.updatePresence({ other: "y" });
  await turn();
  expect(last().of("presence").map((it) => it.payload.presence)).toEqual([{ kept: 1 }, { large: "x", other: "y" }]);
  last().says(error("presence_too_large", { request: "presence" }));
  expect(told).toEqual(["presence_too_large"]);
  await comeBack(client, false);
  expect(last().of("join_room")[0].payload.presence).toEqual({ kept: 1 });
});

it("tells of no gap where all was recovered, whatever place is named", async () => {
  const { client, told } = await joinA();
  last().says(event(4, "x"));
  await comeBack(client);
  last().says(joined({ recovered: true, offset: 9 }));
  last().says(event(5, "y"));
  expect(told).toEqual(["x", "y"]);
});

it("does not send again what was sent before the room was left", async () => {
  const { room } = await joinA();
  const before = room.send("n", 1);
  void room.leave();
  await turn();
  void room.join();
  const after = room.send("n", 2);
  last().says({ ...event(1, member(1)), type: "player_left" });
  last().says(joined({ offset: 1 }));
  await expect(before).rejects.toMatchObject({ code: "unconfirmed" });
  expect(last().of("event").map((it) => it.payload)).toEqual([1, 2]);
  expect(last().of("skip")).toMatchObject([{ type: "skip", room_id: "a", payload: { seq: 1 } }]);
  last().says(ack(2, 2));
  expect(await after).toEqual({ seq: 2, offset: 2 });
});

it("does not count again what happened before the list was made", async () => {
  const { room } = await joinA();
  last().says({ ...joined({ total: 50, recovered: true, presence: "count" }), timestamp: 100 });
  last().says({ ...event(1, member(9)), type: "player_joined", timestamp: 99 });
  last().says({ ...event(2, { presence: "count", total: 7 }), name: "roomcast.presence", from_client_id: undefined, timestamp: 99 });
  expect([room.total, room.members.length]).toEqual([50, 1]);
  last().says({ ...event(2, { presence: "count", total: 7 }), name: "roomcast.presence", from_client_id: undefined, from_service: "shop", timestamp: 101 });
  expect(room.total).toBe(50);
  last().says({ ...event(3, member(10)), type: "player_joined", timestamp: 101 });
  expect([room.total, room.members.length]).toEqual([51, 2]);
});

it("replays who came and went to the same list", async () => {
  const { client, room } = await joinA();
  await comeBack(client);
  // The list is of now; what was missed comes after it.
  last().says(joined({ recovered: true, offset: 0, members: [member(1), member(3, { new: true })], total: 2 }));
  last().says({ ...event(1, member(2)), type: "player_joined" });
  last().says({ ...event(2, member(3, { old: true })), type: "player_joined" });
  last().says({ ...event(3, member(2)), type: "player_left" });
  expect([room.members.map((it) => it.num), room.total]).toEqual([[1, 3], 2]);
  expect(room.members[1]!.presence).toEqual({ new: true });
});

it("counts where a room has become too big for a list", async () => {
  const { room } = await joinA();
  const totals: number[] = [];
  room.subscribe("members", () => totals.push(room.total));
  last().says({ type: "event", room_id: "a", name: "roomcast.presence", payload: { presence: "count", total: 257 }, epoch: "e", offset: 1, timestamp: 1 });
  last().says({ type: "presence", room_id: "a", payload: { total: 300 }, timestamp: 1 });
  expect(totals).toEqual([257, 300]);
});

it("leaves a room that is left while it is away, when it is back", async () => {
  const { client, room } = await joinA();
  last().onclose({ code: 1006, reason: "" });
  void room.leave();
  client.wake();
  await turn();
  last().welcome({ resumed: true });
  last().says(joined({ recovered: true }));
  expect(last().of("leave_room").length).toBe(1);
  expect(last().of("join_room")).toEqual([]);
  last().says({ ...event(1, member(1)), type: "player_left" });
  void room.join();
  expect(last().of("join_room").length).toBe(1);
});

it("a room that is left and joined again meanwhile is joined when the leave is answered", async () => {
  const { room, told } = await joinA();
  void room.leave();
  await turn();
  const again = room.join();
  expect(last().of("join_room").length).toBe(1);
  last().says(event(1, "between"));
  last().says({ ...event(2, member(1)), type: "player_left" });
  expect(last().of("join_room").length).toBe(2);
  last().says(joined({ offset: 2 }));
  await again;
  last().says(event(3, "after"));
  expect(told).toEqual(["after"]);
});

it("tells of a gap where the answer is to a join from before the room was left", async () => {
  const client = new Client("ws://host/ws", { WebSocket: FakeSocket });
  const room = client.room("a");
  const gaps: unknown[] = [];
  room.subscribe("gap", (gap) => gaps.push(gap));
  void room.join({ since: { epoch: "e", offset: 8 } });
  await turn();
  last().welcome();
  void room.leave();
  await turn();
  void room.join({ since: { epoch: "e", offset: 2 } });
  last().says(joined({ recovered: true, offset: 8 }));
  expect(gaps).toEqual([{ since: { epoch: "e", offset: 2 }, now: { epoch: "e", offset: 8 } }]);
});

it("may be closed by the handler of a gap", async () => {
  const { client, room } = await joinA();
  last().says(event(1, "x"));
  await comeBack(client);
  room.subscribe("gap", () => client.close());
  room.updatePresence({ x: 1 });
  last().says(joined({ recovered: false, offset: 9 }));
  await turn();
  expect([client.status.state, room.status]).toEqual(["closed", "left"]);
});

it("knows oneself where the list has only others", async () => {
  const { room } = await joinA({ nickname: "Ann", presence: { colour: "red" } });
  last().says(joined({ recovered: true, members: [member(7)], total: 200 }));
  expect(room.self).toMatchObject({ id: "p1", num: 1, nickname: "Ann", presence: { colour: "red" } });
});

it.each(["constructor", "__proto__", "toString"])("counts from 1 in a room named %s", async (name) => {
  const client = new Client("ws://host/ws", { WebSocket: FakeSocket });
  const room: Room<any> = client.room(name);
  const done = room.join();
  await turn();
  last().welcome();
  last().says({ ...joined(), room_id: name });
  await done;
  void room.send("n", 1);
  expect(last().of("event").map((it) => it.seq)).toEqual([1]);
});

it("refuses what JSON can't say, and actions that come too soon, with a code", async () => {
  const { room } = await joinA();
  expect(() => room.updatePresence({ n: 1n })).toThrow(TypeError);
  await expect(room.send("n", 1n)).rejects.toMatchObject({ code: "invalid_value" });
});

it("sends no more actions than the server takes, and says when the next one may come", async () => {
  const client = new Client("ws://host/ws", { WebSocket: FakeSocket });
  const room: Room<any> = client.room("a");
  const done = room.join();
  await turn();
  last().welcome({ limits: { max_message: 65536, max_unanswered: 32, messages_per_second: 10, burst: 10 } });
  last().says(joined());
  await done;
  const tries = await Promise.allSettled(Array.from({ length: 30 }, () => room.action("move", { x: 1 })));
  const refused = tries.filter((it) => it.status == "rejected").map((it) => it.reason);
  expect(last().of("game_action").length).toBe(30 - refused.length);
  expect(last().of("game_action").length).toBeLessThanOrEqual(10);
  expect(refused.every((it) => it.code == "rate_limited" && it.retryAfterMs > 0)).toBe(true);
  await vi.advanceTimersByTimeAsync(refused[0].retryAfterMs);
  await room.action("move", { x: 2 });
});
