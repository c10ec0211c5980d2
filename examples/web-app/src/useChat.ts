import { useCallback, useEffect, useRef, useState } from "react";
import { type Gap, type HistoryEvent, type Room, RoomcastError } from "roomcast";
import { useRoomEvent, useRoomSignal } from "roomcast/react";
import type { App, Me, Position } from "./types.js";

/** Lines of the history that are read at once. */
const PAGE = 50;
/** Letters of a line that are shown. */
const LONGEST = 2_000;

/** A line of the chat. */
export interface Line {
  /** Whose it is: the user of the sender's token, which Roomcast has verified. Empty: a remark of this page. */
  user: string;
  /** The sender's own name for it: so a line is known again when it comes back. */
  id: string;
  text: string;
  at: number;
  /** Its place in the room's log. Without one it is on its way, or was refused. */
  place?: Position;
  refused?: string;
}

type Lounge = Room<App["chat"]>;

/** The lines of a room: those of its history, those that come, and those on their way. */
export function useChat(room: Lounge, me: Me) {
  const [lines, setLines] = useState<Line[]>([]);
  const [loaded, setLoaded] = useState(false);
  /** Where older lines are to be read from. */
  const [older, setOlder] = useState<number>();

  /** Puts lines where they belong. What is there already is not there twice. */
  const put = useCallback((some: Line[]) => {
    setLines((lines) => {
      const all = new Map(lines.map((line) => [line.user + line.id, line]));
      for (const line of some) all.set(line.user + line.id, { ...all.get(line.user + line.id), ...line });
      return [...all.values()].sort(byPlace);
    });
  }, []);

  /** Reads the newest lines of the history, or those before an offset. Returns the first event that it has seen. */
  const read = useCallback(async (from?: number) => {
    const some: Line[] = [];
    let first: HistoryEvent | undefined;
    // The log has other events too: those who came, and those who left.
    for await (const event of room.history({ reverse: true, from })) {
      first = event;
      if (event.name === "message") some.push(...linesOf(event.data, event));
      if (some.length === PAGE) break;
    }
    put(some);
    setOlder(some.length === PAGE ? first?.offset : undefined);
    return first;
  }, [room, put]);

  // What was said before this page was open. Should the room be left meanwhile, nobody waits for it.
  useEffect(() => {
    read().then(() => setLoaded(true), () => {});
  }, [read]);

  useRoomEvent(room, "message", (data, event) => put(linesOf(data, event)));

  // The page was away for longer than the log reaches back, or the server was started anew.
  const gaps = useRef(0);
  useRoomSignal(room, "gap", ({ since }: Gap) => {
    const remark: Line = { user: "", id: `gap ${++gaps.current}`, text: "Some messages may be missing here.", at: 0 };
    setLines((lines) => [...lines, { ...remark, at: lines.findLast(({ place }) => place)?.at ?? 0, place: since ?? NOWHERE }]);
    read().then((first) => {
      const whole = first && since && first.epoch === since.epoch && first.offset! <= since.offset;
      if (whole) setLines((lines) => lines.filter(({ id }) => id !== remark.id));
    }, () => {});
  });

  /** Sends a line; with the `id` of one that was refused, that one again. */
  const send = useCallback(async (text: string, id: string = crypto.randomUUID()) => {
    const line: Line = { user: me.user.id, id, text, at: Date.now() };
    put([{ ...line, refused: "" }]);
    try {
      // While there is no connection it waits. Once it is in the log it comes back to this page too, with its place.
      await room.send("message", { id, text });
    } catch (error) {
      put([{ ...line, refused: error instanceof RoomcastError ? error.message : String(error) }]);
    }
  }, [room, me, put]);

  return { lines, loaded, older, read, send };
}

const NOWHERE: Position = { epoch: "", offset: 0 };

type Meta = Pick<HistoryEvent, "user" | "timestamp" | "epoch" | "offset">;

/** The line of an event. Types say what pages of ours send; a user may have a program that sends something else. */
function linesOf(data: unknown, { user = "", timestamp, epoch = "", offset = 0 }: Meta): Line[] {
  const { id, text } = Object(data);
  if (typeof id !== "string" || typeof text !== "string") return [];
  return [{ user, id, text: text.slice(0, LONGEST), at: timestamp, place: { epoch, offset } }];
}

/** A room's clock never goes back. What has no place comes last. */
function byPlace(one: Line, other: Line): number {
  return Number(!one.place) - Number(!other.place) || one.at - other.at || (one.place?.offset ?? 0) - (other.place?.offset ?? 0);
}
