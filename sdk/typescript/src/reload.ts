import type { Client } from "./client.js";

/**
 * A page goes on with its session after a reload. `sessionStorage` belongs to one tab, but is copied when the tab is
 * duplicated: a second tab would take the session away from the first. So it is only there while no page is: written
 * when the page goes away, taken out when the next one starts.
 */
export const keepOverReload = (client: Client<any>, key: string): (() => void) | undefined => {
  const globals: any = globalThis;
  let storage: Storage;
  try {
    storage = globals.sessionStorage;
    const saved = JSON.parse(storage.getItem(key) ?? "null");
    storage.removeItem(key);
    if (saved) {
      [client.id, client._resumeToken, client._outbox._nextSeq, client._seqs] = saved;
      for (const [name, room] of client._rooms) room._outbox._nextSeq = client._seqs[name] ?? 1;
    }
  } catch {
    // There is none here, or the user forbids it.
    return;
  }
  const hide = () => {
    if (!client._resumeToken) return;
    // Numbers go on for as long as the id is the same: also in rooms that are not joined now.
    for (const [name, room] of client._rooms) client._seqs[name] = room._outbox._nextSeq;
    storage.setItem(
      key,
      JSON.stringify([client.id, client._resumeToken, client._outbox._nextSeq, client._seqs]),
    );
  };
  const show = ({ persisted }: PageTransitionEvent) => {
    if (!persisted) return;
    // Back from the browser's cache. If it was taken, the session is another page's.
    if (!storage.getItem(key)) client._resumeToken = undefined;
    storage.removeItem(key);
    client.wake();
  };
  globals.addEventListener("pagehide", hide);
  globals.addEventListener("pageshow", show);
  return () => {
    globals.removeEventListener("pagehide", hide);
    globals.removeEventListener("pageshow", show);
  };
};
