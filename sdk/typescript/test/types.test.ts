// What the compiler says: this file has to compile, and each expected error has to be one.

import { expect, it } from "vitest";
import { Client, type Room } from "../src/index.js";

interface App {
  chat: {
    events: { message: { text: string }; typing: undefined };
    presence: { status: "here" | "away"; colour: string };
  };
  arena: { actions: { move: { x: number }; jump: undefined } };
  default: { events: { tick: number } };
  $direct: { events: { invite: { game: number } } };
}

it("one type names what is said in rooms of each kind", () => {
  const compiled = () => {
    const client = new Client<App>("ws://host/ws");
    const chat = client.room("chat:42", { presence: { colour: "red" } });
    void chat.send("message", { text: "hello" });
    void chat.send("typing");
    // @ts-expect-error: no such event
    void chat.send("massage", { text: "hello" });
    // @ts-expect-error: not its payload
    void chat.send("message", { txt: "hello" });
    // @ts-expect-error: it has a payload
    void chat.send("message");
    chat.on("message", ({ text }, { from, offset }) => [text.length, from.length, offset]);
    chat.updatePresence({ status: "away", colour: null });
    // @ts-expect-error: no such status
    chat.updatePresence({ status: "gone" });
    const colour: string | undefined = chat.members[0]?.presence.colour;
    // @ts-expect-error: a snapshot is never changed
    chat.members.push(chat.members[0]!);
    void chat.chat("hello");

    const arena = client.room("arena:1");
    void arena.action("move", { x: 1 });
    void arena.action("jump");
    // @ts-expect-error: no such action
    void arena.action("fly");
    arena.subscribe("action", (action) => action.action == "move" && action.x.toFixed());

    client.room("lobby").on("tick", (data) => data.toFixed());
    // A kind that the app says nothing of takes anything.
    void client.room("other:1").send("anything", [1, 2]);

    void client.direct({ client: "c1" }, "invite", { game: 7 });
    client.on("invite", ({ game }) => game.toFixed());
    // @ts-expect-error: no such direct message
    void client.direct({ user: "u1" }, "invitation", { game: 7 });

    const anything = new Client("ws://host/ws");
    void anything.room("x").send("whatever", { deep: [1] });
    const any: Room<any> = anything.room("x");
    any.on("n", (data) => data.what);
    client.subscribe("status", (status) => status.state == "reconnecting" && [status.reason.code, status.at]);
    return colour;
  };
  expect(compiled).toBeTypeOf("function");
});
