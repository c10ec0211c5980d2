/**
 * Roomcast in React 18 and later.
 *
 * ```tsx
 * const client = new Client("wss://example.com/ws");
 *
 * function Chat({ id }: { id: string }) {
 *   const room = useRoom(client, `chat:${id}`, { nickname: "Ada" });
 *   const [lines, setLines] = useState<string[]>([]);
 *   useRoomEvent(room, "message", ({ text }) => setLines((lines) => [...lines, text]));
 *   const online = useMembers(room, (members) => members.filter(({ connected }) => connected).length);
 *   return <p>{useStatus(room)}, {online} here: {lines.join(" ")}</p>;
 * }
 * ```
 *
 * All hooks may be rendered on a server: they do no I/O there, and show nobody and nothing.
 *
 * @packageDocumentation
 */

import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import type {
  Client, ClientSignals, EventMeta, EventsOf, KindOf, Member, Position, PresenceOf, Room, RoomcastError, RoomOptions, RoomSignals,
  RoomStatus, Status,
} from "./index.js"; // types alone: this entry brings no second copy of the client's classes

/** Options of {@link useRoom}. */
export interface UseRoomOptions<P> extends RoomOptions<P> {
  /** The last event that the application has, to get what came after it. Used when the component is mounted. */
  since?: Position | undefined;
  /** The join was refused, or something else that no promise tells. */
  onError?: ((error: RoomcastError) => void) | undefined;
}

/**
 * A room that is joined as long as the component is mounted. Several components may use the same room; the last one that
 * goes leaves it. One that is mounted again at once (StrictMode, a change of page) stays in.
 */
export function useRoom<App, N extends string>(
  client: Client<App>,
  name: N,
  options: UseRoomOptions<PresenceOf<KindOf<App, N>>> = {},
): Room<KindOf<App, N>> {
  const latest = useLatest(options);
  const room = useMemo(() => {
    const { since: _, onError: __, ...ofRoom } = latest.current;
    return client.room(name, ofRoom as RoomOptions<PresenceOf<KindOf<App, N>>>);
  }, [client, name, latest]);
  useEffect(() => {
    let mounted = true;
    let ended = false;
    let told: RoomcastError | undefined;
    // A refused join is told by the signal and by its promise.
    const tell = (error: RoomcastError) => {
      ended ||= room.status == "left";
      if (mounted && told != error) latest.current.onError?.(error);
      told = error;
    };
    const { since } = latest.current;
    const stop = room.subscribe("error", tell);
    room.join(since && { since }).catch(tell);
    return () => {
      mounted = false;
      stop();
      // A stay that has ended is not ours to end: somebody else may have begun another one.
      if (!ended) void room.leave(); // which waits for a moment, and does nothing if the room is joined again
    };
  }, [room, latest]);
  return room;
}

/** How it stands with the connection, or with a room. */
export function useStatus(of: Pick<Client, "status" | "subscribe">): Status;
export function useStatus(of: Pick<Room, "status" | "subscribe" | "name">): RoomStatus;
export function useStatus(of: Pick<Client, "status" | "subscribe"> | Pick<Room, "status" | "subscribe" | "name">): Status | RoomStatus {
  const subscribe = useCallback((changed: () => void) => (of as Room).subscribe("status", changed), [of]);
  return useSyncExternalStore<Status | RoomStatus>(
    subscribe,
    () => of.status,
    () => ("name" in of ? "left" : IDLE),
  );
}

/** The members of a room, in the order of their numbers. */
export function useMembers<K>(room: Room<K>): readonly Member<PresenceOf<K>>[];
/**
 * What a selector makes of a room's members. The component renders again only when that changes; two lists with the same
 * entries are the same.
 */
export function useMembers<K, S>(
  room: Room<K>,
  selector: (members: readonly Member<PresenceOf<K>>[]) => S,
  isEqual?: (one: S, other: S) => boolean,
): S;
export function useMembers<K, S>(
  room: Room<K>,
  selector?: (members: readonly Member<PresenceOf<K>>[]) => S,
  isEqual: (one: S, other: S) => boolean = sameEntries,
): S | readonly Member<PresenceOf<K>>[] {
  type Members = readonly Member<PresenceOf<K>>[];
  const cache = useRef<{ members: Members; selector: unknown; selected: S } | undefined>(undefined);
  const subscribe = useCallback((changed: () => void) => room.subscribe("members", changed), [room]);
  // React asks often, and wants the same answer until something changed.
  const select = (members: Members): S | Members => {
    if (!selector) return members;
    const last = cache.current;
    if (last?.members === members && last.selector === selector) return last.selected;
    let selected = selector(members);
    if (last && isEqual(last.selected, selected)) selected = last.selected;
    cache.current = { members, selector, selected };
    return selected;
  };
  return useSyncExternalStore(
    subscribe,
    () => select(room.members),
    () => select(NOBODY),
  );
}

/** Calls the newest `handler` for each event with this name, in the room's order, each once. */
export function useRoomEvent<K, N extends keyof EventsOf<K> & string>(
  room: Room<K>,
  event: N,
  handler: (data: EventsOf<K>[N], meta: EventMeta) => void,
): void {
  useHandler(room, "on", event, handler);
}

/** Calls the newest `handler` for what the SDK tells of a room: `chat`, `sync`, `gap`, `error` and the others. */
export function useRoomSignal<K, S extends keyof RoomSignals<K>>(room: Room<K>, signal: S, handler: RoomSignals<K>[S]): void {
  useHandler(room, "subscribe", signal, handler);
}

/**
 * Calls the newest `handler` for each direct message with this name, each once. One that comes while no component listens
 * is not kept: use it in a component that stays.
 */
export function useDirectMessage<App, N extends keyof EventsOf<Direct<App>> & string>(
  client: Client<App>,
  event: N,
  handler: (data: EventsOf<Direct<App>>[N], meta: EventMeta) => void,
): void {
  useHandler(client, "on", event, handler);
}

/** Calls the newest `handler` for what the SDK tells of a client: direct `chat`, `gap`, `error` and the others. */
export function useClientSignal<App, S extends keyof ClientSignals<Direct<App>>>(
  client: Client<App>,
  signal: S,
  handler: ClientSignals<Direct<App>>[S],
): void {
  useHandler(client, "subscribe", signal, handler);
}

/** The kind of direct messages. */
type Direct<App> = KindOf<App, "$direct:">;

/** Attaches a handler as long as the component is mounted, and calls the newest one. */
function useHandler(of: any, how: "on" | "subscribe", what: string, handler: (...values: any[]) => void): void {
  const latest = useLatest(handler);
  useEffect(() => of[how](what, (...values: unknown[]) => latest.current(...values)), [of, how, what, latest]);
}

const IDLE: Status = { state: "idle" };
const NOBODY: readonly never[] = [];

/** The value of the last render that was shown. Its effect runs before those of the hooks that use it. */
function useLatest<T>(value: T): { current: T } {
  const latest = useRef(value);
  useEffect(() => {
    latest.current = value;
  });
  return latest;
}

function sameEntries(one: unknown, other: unknown): boolean {
  if (!Array.isArray(one) || !Array.isArray(other)) return Object.is(one, other);
  return one.length === other.length && one.every((entry, index) => Object.is(entry, other[index]));
}
