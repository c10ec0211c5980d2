import { type FormEvent, Fragment, useEffect, useLayoutEffect, useRef, useState } from "react";
import type { Client, Room } from "roomcast";
import { useMembers } from "roomcast/react";
import type { App, Me } from "./types.js";
import { type Line, useChat } from "./useChat.js";
import { useNames } from "./useNames.js";
import { useUnread } from "./useUnread.js";

/** Who types says so anew within this time, or has stopped. */
const TYPING_MS = 4_000;

interface Properties {
  client: Client<App>;
  room: Room<App["chat"]>;
  me: Me;
  onUnread: (count: number) => void;
}

export function Chat({ client, room, me, onUnread }: Properties) {
  const { lines, loaded, older, read, send } = useChat(room, me);
  const list = useRef<HTMLDivElement>(null);
  const bottom = useRef<HTMLDivElement>(null);
  useScroll(list, lines, loaded, me);
  const { unread, firstNew } = useUnread(client, lines, loaded, me, bottom);
  const nameOf = useNames(lines.map(({ user }) => user));
  const typing = useMembers(room, (members) =>
    members.filter(({ id, presence, connected }) => connected && presence.typing && id !== me.user.id).map(({ nickname }) => nickname));

  useEffect(() => onUnread(unread), [unread, onUnread]);

  return (
    <section className="chat" aria-label="Lounge">
      <div className="lines" ref={list} role="log" aria-label="Messages" tabIndex={0}>
        {older !== undefined && <button className="quiet older" onClick={() => void read(older).catch(() => {})}>Older messages</button>}
        {loaded && lines.length === 0 && <p className="remark">Nobody has said anything yet.</p>}
        {!loaded && <p className="remark">Loading…</p>}
        {lines.map((line, at) => (
          <Fragment key={line.user + line.id}>
            {line === firstNew && <p className="divider" id="first-new">New messages</p>}
            {line.user === "" ? <p className="remark">{line.text}</p> : (
              <Bubble
                line={line}
                name={line.user === me.user.id || (lines[at - 1]?.user === line.user && line !== firstNew) ? undefined : nameOf(line.user)}
                own={line.user === me.user.id}
                onAgain={() => void send(line.text, line.id)}
              />
            )}
          </Fragment>
        ))}
        <div ref={bottom} className="bottom" />
      </div>
      {unread > 0 && (
        <button className="jump primary" onClick={() => bottom.current?.scrollIntoView()}>{unread} new ↓</button>
      )}
      <p className="typing" aria-live="polite">{typing.length > 0 && `${typing.join(", ")} ${typing.length > 1 ? "are" : "is"} typing…`}</p>
      <Composer room={room} onSend={send} />
    </section>
  );
}

function Bubble({ line, name, own, onAgain }: { line: Line; name: string | undefined; own: boolean; onAgain: () => void }) {
  const state = line.place ? "sent" : line.refused ? "refused" : "sending";
  return (
    <article className={own ? "line own" : "line"} data-state={state}>
      {name !== undefined && <b className="name">{name}</b>}
      <p>{line.text}</p>
      <small>
        {state === "sent" ? <time dateTime={new Date(line.at).toISOString()}>{timeOf(line.at)}</time>
          : state === "sending" ? "Sending…"
          : <>Not sent: {line.refused} <button className="quiet" onClick={onAgain}>Send again</button></>}
      </small>
    </article>
  );
}

function Composer({ room, onSend }: { room: Room<App["chat"]>; onSend: (text: string) => Promise<void> }) {
  const [text, setText] = useState("");
  const types = text !== "";
  // A key of one's entry in the list of members: all see it, and it goes with the member.
  useEffect(() => {
    if (!types) return;
    room.updatePresence({ typing: true });
    const stop = () => room.updatePresence({ typing: null });
    const timer = setTimeout(stop, TYPING_MS);
    return () => {
      clearTimeout(timer);
      stop();
    };
  }, [room, types, text.length]);

  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (!text.trim()) return;
    void onSend(text.trim());
    setText("");
  };
  return (
    <form className="composer" onSubmit={submit}>
      <input aria-label="Message" placeholder="Say something" value={text} maxLength={500} autoComplete="off" onChange={(event) => setText(event.target.value)} />
      <button className="primary">Send</button>
    </form>
  );
}

/** Begins at what is new, or else at the end, and stays at the end for as long as one is there. */
function useScroll(list: { current: HTMLElement | null }, lines: Line[], loaded: boolean, me: Me): void {
  const began = useRef(false);
  const atEnd = useRef(true);
  useEffect(() => {
    const element = list.current;
    if (!element) return;
    const look = () => {
      atEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < 40;
    };
    element.addEventListener("scroll", look);
    return () => element.removeEventListener("scroll", look);
  }, [list]);
  const last = lines.at(-1);
  useLayoutEffect(() => {
    const element = list.current;
    if (!element || !loaded) return;
    const start = began.current ? null : document.getElementById("first-new");
    began.current = true;
    if (start) start.scrollIntoView();
    else if (atEnd.current || (last?.user === me.user.id && !last.place)) element.scrollTop = element.scrollHeight;
  }, [list, last, loaded, me]);
}

const timeOf = (at: number) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
