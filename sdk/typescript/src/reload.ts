/**
 * A page goes on with its session after a reload: nobody sees it leave its rooms.
 *
 * @packageDocumentation
 */
import type { Client } from "./client.js";
import type { Saved } from "./types.js";

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
export function keepOverReload<C extends Client<any>>(key: string, make: (saved?: Saved) => C): C {
  const take = (): Saved | undefined => {
    try {
      const saved = sessionStorage.getItem(key);
      sessionStorage.removeItem(key);
      return saved ? JSON.parse(saved) : undefined;
    } catch {
      // There is none here, or the user forbids it.
      return;
    }
  };
  const client = make(take());
  globalThis.addEventListener?.("pagehide", () => {
    const saved = client.save();
    try {
      if (saved && client.status.state != "closed") sessionStorage.setItem(key, JSON.stringify(saved));
    } catch {
      // Full, or forbidden: the next page has a session of its own.
    }
  });
  globalThis.addEventListener?.("pageshow", ({ persisted }) => {
    // Back from the browser's cache. If the session was taken, it is another page's.
    if (persisted && client.save() && !take()) client.forget();
  });
  return client;
}
