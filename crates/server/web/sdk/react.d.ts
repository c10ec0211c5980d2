/* roomcast 0.1.0, Apache-2.0 OR MIT */
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
import type { Client, ClientSignals, EventMeta, EventsOf, KindOf, Member, Position, PresenceOf, Room, RoomcastError, RoomOptions, RoomSignals, RoomStatus, Status } from "./roomcast.js";
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
export declare function useRoom<App, N extends string>(client: Client<App>, name: N, options?: UseRoomOptions<PresenceOf<KindOf<App, N>>>): Room<KindOf<App, N>>;
/** How it stands with the connection, or with a room. */
export declare function useStatus(of: Pick<Client, "status" | "subscribe">): Status;
export declare function useStatus(of: Pick<Room, "status" | "subscribe" | "name">): RoomStatus;
/** The members of a room, in the order of their numbers. */
export declare function useMembers<K>(room: Room<K>): readonly Member<PresenceOf<K>>[];
/**
 * What a selector makes of a room's members. The component renders again only when that changes; two lists with the same
 * entries are the same.
 */
export declare function useMembers<K, S>(room: Room<K>, selector: (members: readonly Member<PresenceOf<K>>[]) => S, isEqual?: (one: S, other: S) => boolean): S;
/** Calls the newest `handler` for each event with this name, in the room's order, each once. */
export declare function useRoomEvent<K, N extends keyof EventsOf<K> & string>(room: Room<K>, event: N, handler: (data: EventsOf<K>[N], meta: EventMeta) => void): void;
/** Calls the newest `handler` for what the SDK tells of a room: `chat`, `sync`, `gap`, `error` and the others. */
export declare function useRoomSignal<K, S extends keyof RoomSignals<K>>(room: Room<K>, signal: S, handler: RoomSignals<K>[S]): void;
/**
 * Calls the newest `handler` for each direct message with this name, each once. One that comes while no component listens
 * is not kept: use it in a component that stays.
 */
export declare function useDirectMessage<App, N extends keyof EventsOf<Direct<App>> & string>(client: Client<App>, event: N, handler: (data: EventsOf<Direct<App>>[N], meta: EventMeta) => void): void;
/** Calls the newest `handler` for what the SDK tells of a client: direct `chat`, `gap`, `error` and the others. */
export declare function useClientSignal<App, S extends keyof ClientSignals<Direct<App>>>(client: Client<App>, signal: S, handler: ClientSignals<Direct<App>>[S]): void;
/** The kind of direct messages. */
type Direct<App> = KindOf<App, "$direct:">;
export {};
