import { type RefObject, useCallback, useEffect, useRef, useState } from "react";
import type { Client } from "roomcast";
import { useDirectMessage } from "roomcast/react";
import { ask } from "./api.js";
import type { App, Me, Read } from "./types.js";
import type { Line } from "./useChat.js";
import { useMissed } from "./useMissed.js";

/** What is unread, and since when. The backend keeps how far the user has read, so it is the same on all devices. */
export function useUnread(client: Client<App>, lines: Line[], loaded: boolean, me: Me, bottom: RefObject<HTMLElement | null>) {
  const [read, setRead] = useState(me.read);
  /** Where the line "new messages" is: it stays while one reads on. */
  const [divider, setDivider] = useState(me.read);
  const reading = useReading(bottom, loaded);
  const store = useStore();

  const isNew = (line: Line, since: Read | null) => line.user !== me.user.id && isAfter(placeOf(line), since);
  const unread = lines.filter((line) => isNew(line, read));
  const last = lines.findLast(placeOf);

  useEffect(() => {
    const next = last && placeOf(last);
    if (!reading || !next || !isAfter(next, read)) return;
    setRead(next);
    store(next);
  }, [reading, last, read, store]);

  // Another page of the user has read on: the backend tells all of them.
  const readOn = (told: Read | null) => setRead((read) => (told && isAfter(told, read) ? told : read));
  useDirectMessage(client, "read", readOn);
  useMissed(client, (me) => readOn(me.read));

  // When the first new line comes to somebody who looks elsewhere, the divider moves there.
  const none = unread.length === 0;
  useEffect(() => {
    if (none && !reading) setDivider(read);
  }, [none, reading, read]);

  return { unread: unread.length, firstNew: divider ? lines.find((line) => isNew(line, divider)) : undefined };
}

/** Where a line is. One on its way has no place, and neither has a remark of this page. */
function placeOf({ user, place, at }: Line): Read | undefined {
  return user && place ? { ...place, at } : undefined;
}

/** Whether a place is after what was read. Where the log has begun anew, its time says so. */
function isAfter(place: Read | undefined, read: Read | null): boolean {
  if (!place || !read) return Boolean(place);
  return place.epoch === read.epoch ? place.offset > read.offset : place.at > read.at;
}

/** Whether somebody has the newest line before their eyes. */
function useReading(bottom: RefObject<HTMLElement | null>, loaded: boolean): boolean {
  const [reading, setReading] = useState(false);
  useEffect(() => {
    // The end of an empty list is before their eyes too.
    if (!bottom.current || !loaded) return;
    let inView = false;
    const update = () => setReading(inView && document.visibilityState === "visible");
    const observer = new IntersectionObserver((entries) => {
      inView = entries.at(-1)?.isIntersecting ?? false;
      update();
    });
    observer.observe(bottom.current);
    document.addEventListener("visibilitychange", update);
    return () => {
      observer.disconnect();
      document.removeEventListener("visibilitychange", update);
    };
  }, [bottom, loaded]);
  return reading;
}

/** Tells the backend: one request at a time, and the newest value last. */
function useStore(): (read: Read) => void {
  const wanted = useRef<Read>(undefined);
  const busy = useRef(false);
  return useCallback(async (read: Read) => {
    wanted.current = read;
    if (busy.current) return;
    busy.current = true;
    while (wanted.current) {
      const next = wanted.current;
      wanted.current = undefined;
      // Where it fails, the next one says more.
      await ask("PUT", "/api/read", next).catch(() => {});
    }
    busy.current = false;
  }, []);
}
