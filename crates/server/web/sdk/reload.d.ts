/* roomcast 0.1.0, Apache-2.0 OR MIT */
/**
 * A page goes on with its session after a reload: nobody sees it leave its rooms.
 *
 * @packageDocumentation
 */
import type { Client } from "./roomcast.js";
import type { Saved } from "./roomcast.js";
/**
 * Makes a client that goes on with the session of the page before this one.
 *
 * ```ts
 * const client = keepOverReload("game", (saved) => new Client(url, { saved }));
 * client.room("arena:1").join();
 * ```
 *
 * `sessionStorage` belongs to one tab, but is copied when the tab is duplicated: a second tab would take the session
 * away from the first. So the session is only there while no page is: written when the page goes away, taken out when
 * the next one starts. Rooms that are not joined before the connection is open are left.
 *
 * @param key its name in `sessionStorage`
 */
export declare function keepOverReload<C extends Client<any>>(key: string, make: (saved?: Saved) => C): C;
