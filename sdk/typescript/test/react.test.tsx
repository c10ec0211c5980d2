// The hooks in React, against the real server: what others see of a component's life, and how often it renders.

import "./dom.js"; // before react-dom looks for it
import { act, type ReactNode, StrictMode, Suspense, useState } from "react";
import { createRoot, hydrateRoot, type Root } from "react-dom/client";
import { renderToString } from "react-dom/server";
import WebSocket from "ws";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Client, HistoryEvent, Room, RoomcastError } from "../src/index.js";
import { useClientSignal, useDirectMessage, useMembers, useRoom, useRoomEvent, useRoomSignal, useStatus } from "../src/react.js";
import { closeAll, newClient, type Server, startServer, until } from "./server.js";

type App = {
  chat: { events: { message: { text: string } }; presence: { status?: string } };
  $direct: { events: { invite: { game: number } }; chat: string };
};

let server: Server;
let container: HTMLElement;
const mounted: Root[] = [];

beforeAll(async () => {
  (globalThis as any).IS_REACT_ACT_ENVIRONMENT = true;
  server = await startServer();
});
afterAll(() => server?.stop());
beforeEach(() => {
  container = document.createElement("div");
});
afterEach(async () => {
  await act(async () => mounted.splice(0).forEach((root) => root.unmount()));
  closeAll();
});

/** Shows it in the container. */
function render(element: ReactNode): Promise<void> {
  if (mounted.length === 0) mounted.push(createRoot(container));
  return act(async () => mounted[0]!.render(element));
}

const clientOf = (): Client<App> => newClient<App>(server.url, { WebSocket });

/** Waits, with React at work, until the text of the container is such. */
async function shows(text: string): Promise<void> {
  const end = Date.now() + 20_000;
  while (container.textContent !== text) {
    if (Date.now() > end) throw new Error(`"${text}" is not shown: "${container.textContent}"`);
    await act(() => new Promise((resolve) => setImmediate(resolve)));
  }
}

/** Somebody else in a room, who writes down what happens. */
async function watcher(name: `chat:${string}`): Promise<{ client: Client<App>; room: Room<App["chat"]>; events: HistoryEvent[] }> {
  const client = clientOf();
  const room = client.room(name, { nickname: "watcher" });
  const events: HistoryEvent[] = [];
  room.subscribe("any", (event) => events.push(event));
  await room.join();
  return { client, room, events };
}

const of = (events: HistoryEvent[], type: string) =>
  events.filter((event) => event.type === type && event.data.nickname !== "watcher");

describe("useRoom", () => {
  test("joins once under StrictMode, and leaves once", async () => {
    const { room, events } = await watcher("chat:strict");
    const client = clientOf();
    function Chat() {
      const room = useRoom(client, "chat:strict", { nickname: "Ada" });
      return <p>{useStatus(room)}</p>;
    }
    await render(<StrictMode><Chat /></StrictMode>);
    await shows("joined");
    await render(<StrictMode>gone</StrictMode>);
    await until((told) => room.subscribe("any", told), () => events.some(({ type }) => type === "player_left"), "the leave");
    // A message more: whatever was under way has come by then.
    await room.send("message", { text: "end" });
    await until((told) => room.subscribe("any", told), () => events.some(({ type }) => type === "event"), "the message");
    expect(of(events, "player_joined")).toHaveLength(1);
    expect(events.filter(({ type }) => type === "player_left")).toHaveLength(1);
    expect(client.room("chat:strict").status).toBe("left");
  });

  test("is shared by components, and follows its name", async () => {
    const { room, events } = await watcher("chat:shared");
    const client = clientOf();
    function Part({ name }: { name: `chat:${string}` }) {
      return <b>{useStatus(useRoom(client, name, { nickname: "Ada" }))} </b>;
    }
    await render(<><Part key="1" name="chat:shared" /><Part key="2" name="chat:shared" /></>);
    await shows("joined joined ");
    await render(<Part key="2" name="chat:shared" />);
    await shows("joined ");
    await render(<Part key="2" name="chat:another" />);
    await until((told) => room.subscribe("any", told), () => events.some(({ type }) => type === "player_left"), "the leave");
    await shows("joined ");
    expect(of(events, "player_joined")).toHaveLength(1);
    expect(client.room("chat:another").status).toBe("joined");
    expect(client.room("chat:shared").status).toBe("left");
  });

  test("tells what was refused", async () => {
    const errors: RoomcastError[] = [];
    const client = clientOf();
    function Part() {
      return <p>{useStatus(useRoom(client, "no spaces" as "chat:x", { onError: (error) => errors.push(error) }))}</p>;
    }
    await render(<Part />);
    await shows("left");
    const end = Date.now() + 20_000;
    while (errors.length === 0 && Date.now() < end) await act(() => new Promise((resolve) => setImmediate(resolve)));
    expect(errors.map(({ code }) => code)).toContain("invalid_name");
  });
});

test("useRoomEvent calls the newest handler, each event once, under StrictMode", async () => {
  const { room } = await watcher("chat:events");
  const client = clientOf();
  const heard: string[] = [];
  function Chat({ prefix }: { prefix: string }) {
    const room = useRoom(client, "chat:events");
    useRoomEvent(room, "message", ({ text }) => heard.push(prefix + text));
    const [chats, setChats] = useState(0);
    useRoomSignal(room, "chat", () => setChats((chats) => chats + 1));
    return <p>{useStatus(room)} {chats}</p>;
  }
  const show = (prefix: string) => render(<StrictMode><Chat prefix={prefix} /></StrictMode>);
  await show("a ");
  await shows("joined 0");
  await act(() => room.send("message", { text: "one" }));
  await act(() => room.chat("hello"));
  await shows("joined 1");
  await show("b ");
  await act(() => room.send("message", { text: "two" }));
  await act(() => room.chat("hello"));
  await shows("joined 2");
  expect(heard).toEqual(["a one", "b two"]);
});

test("useDirectMessage calls the newest handler, each message once, under StrictMode, and useClientSignal the rest", async () => {
  const other = clientOf();
  const client = clientOf();
  const heard: string[] = [];
  function Invitations({ prefix }: { prefix: string }) {
    const [chats, setChats] = useState("");
    useDirectMessage(client, "invite", ({ game }, { from }) => heard.push(`${prefix} ${game} ${from === other.id}`));
    useClientSignal(client, "chat", (text) => setChats((chats) => chats + text));
    return <p>{useStatus(client).state} {chats}</p>;
  }
  const show = (prefix: string) => render(<StrictMode><Invitations prefix={prefix} /></StrictMode>);
  await show("a");
  await act(async () => client.connect());
  await shows("connected ");
  let arrived = 0;
  client.subscribe("any", () => arrived++);
  const tell = (game: number) =>
    act(async () => {
      await Promise.all([other.direct({ client: client.id }, "invite", { game }), other.chat({ client: client.id }, `${game}`)]);
      await until((told) => client.subscribe("any", told), () => arrived === 2 * game, "both messages");
    });
  await tell(1);
  await shows("connected 1");
  await show("b");
  await tell(2);
  await shows("connected 12");
  // Nobody listens any more; and nobody hears it later.
  await render(<p>gone</p>);
  await tell(3);
  await show("c");
  await tell(4);
  await shows("connected 4");
  expect(heard).toEqual(["a 1 true", "b 2 true", "c 4 true"]);
});

test("useMembers renders again only when what the selector gives has changed", async () => {
  const client = clientOf();
  let renders = 0;
  function Names() {
    const room = useRoom(client, "chat:members", { nickname: "Ada" });
    // A new array and a new selector each time: neither may make it render for ever.
    const names = useMembers(room, (members) => members.map(({ nickname }) => nickname));
    renders += 1;
    return <p>{names.join()}</p>;
  }
  function All() {
    const room = useRoom(client, "chat:members", { nickname: "Ada" });
    return <i> {useMembers(room).map(({ presence }) => presence.status ?? "-").join()}</i>;
  }
  await render(<><Names /><All /></>);
  await shows("Ada -");
  const { room } = await act(() => watcher("chat:members"));
  await shows("Ada,watcher -,-");
  const before = renders;
  room.updatePresence({ status: "away" });
  await shows("Ada,watcher -,away");
  expect(renders).toBe(before);
});

test("useStatus follows the connection", async () => {
  const client = clientOf();
  function State() {
    const status = useStatus(client);
    return <p>{status.state}</p>;
  }
  await render(<State />);
  await shows("idle");
  await act(async () => client.connect());
  await shows("connected");
  await act(async () => client.pullCable(60_000));
  await shows("reconnecting");
  await act(async () => client.wake());
  await shows("connected");
  await act(async () => client.close());
  await shows("closed");
});

test("renders on a server without any I/O, and goes on from that in the browser", async () => {
  const client = clientOf();
  function Page() {
    const room = useRoom(client, "chat:hydrated", { nickname: "Ada" });
    return <Suspense>{useStatus(client).state} {useStatus(room)} {useMembers(room, (members) => members.length)}</Suspense>;
  }
  const html = renderToString(<Page />);
  expect(client.status.state).toBe("idle");
  container.innerHTML = html;
  expect(container.textContent).toBe("idle left 0");
  const faults: unknown[] = [];
  await act(async () => {
    mounted.push(hydrateRoot(container, <Page />, { onRecoverableError: (error) => faults.push(error) }));
  });
  await shows("connected joined 1");
  expect(faults).toEqual([]);
});
