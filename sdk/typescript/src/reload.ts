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
  const take = (): string | null => {
    try {
      const saved = sessionStorage.getItem(key);
      sessionStorage.removeItem(key);
      return saved;
    } catch {
      // There is none here, or the user forbids it.
      return null;
    }
  };
  const parse = (text: string | null): Saved | undefined => {
    try {
      const saved = JSON.parse(text!);
      // One of an older version of this file has another form.
      if (Array.isArray(saved[3])) return saved;
    } catch {
      // Not ours.
    }
    return undefined;
  };
  const client = make(parse(take()));
  let left: string | undefined;
  globalThis.addEventListener?.("pagehide", () => {
    if (client.status.state == "closed") return;
    left = JSON.stringify(client.save());
    try {
      if (left) sessionStorage.setItem(key, left);
    } catch {
      // Full, or forbidden: the next page has a session of its own.
    }
  });
  globalThis.addEventListener?.("pageshow", ({ persisted }) => {
    // Back from the browser's cache. Where another page had the session meanwhile, this one's numbers are old.
    if (persisted && left && take() != left) location.reload();
  });
  return client;
}
