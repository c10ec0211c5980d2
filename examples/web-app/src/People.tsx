import { type FormEvent, useEffect, useRef, useState } from "react";
import type { Room } from "roomcast";
import { useMembers, useStatus } from "roomcast/react";
import { ask } from "./api.js";
import type { App, Me, Visitor } from "./types.js";

/** Roomcast tells the backend a moment after it has told the page. */
const TOLD_MS = 1_000;

/** Who is in the lounge. Several pages of one user are one entry. */
export function People({ room, me }: { room: Room<App["chat"]>; me: Me }) {
  const members = useMembers(room);
  // While this page is not in the room itself, the list is what it was.
  const current = useStatus(room) === "joined";
  const gone = useVisitors(members.length).filter((visitor) => !members.some(({ id }) => id === visitor.id));
  const [banning, setBanning] = useState<{ id: string; name: string }>();
  return (
    <section className="people" aria-labelledby="people">
      <h2 id="people">In the lounge <b className="count">{members.length}</b></h2>
      <ul data-current={current}>
        {members.map(({ id, num, nickname, connected, presence }) => (
          <li key={num} data-connected={connected}>
            <span className="dot" aria-hidden="true" />
            <span className="grow">{nickname}{id === me.user.id && " (you)"}</span>
            <small>{!connected ? "Connection lost" : presence.typing ? "Typing" : ""}</small>
            {me.user.role === "staff" && id !== me.user.id && (
              <button onClick={() => setBanning({ id, name: nickname ?? "" })} aria-label={`Ban ${nickname}`}>Ban</button>
            )}
          </li>
        ))}
        {gone.map(({ id, name, leftAt }) => (
          <li key={id} data-gone>
            <span className="dot" aria-hidden="true" />
            <span className="grow">{name}</span>
            <small>Here until {new Date(leftAt).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}</small>
          </li>
        ))}
      </ul>
      {banning && <BanDialog {...banning} key={banning.id} onDone={() => setBanning(undefined)} />}
    </section>
  );
}

/** Who was here: the backend knows, as Roomcast tells it who leaves. */
function useVisitors(members: number): Visitor[] {
  const [visitors, setVisitors] = useState<Visitor[]>([]);
  useEffect(() => {
    const timer = setTimeout(() => ask<Visitor[]>("GET", "/api/visitors").then(setVisitors, () => {}), TOLD_MS);
    return () => clearTimeout(timer);
  }, [members]);
  return visitors;
}

function BanDialog({ id, name, onDone }: { id: string; name: string; onDone: () => void }) {
  const [problem, setProblem] = useState("");
  const opened = useRef(false);
  const open = (dialog: HTMLDialogElement | null) => {
    if (dialog && !opened.current) dialog.showModal();
    opened.current = dialog !== null;
  };
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const { minutes, reason } = Object.fromEntries(new FormData(event.currentTarget));
    try {
      await ask("POST", `/api/users/${id}/ban`, { minutes: Number(minutes), reason });
      onDone();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  };
  return (
    <dialog ref={open} onClose={onDone} aria-labelledby="ban-title">
      <form onSubmit={submit}>
        <h2 id="ban-title">Ban {name}</h2>
        <label>Why<input name="reason" required maxLength={100} /></label>
        <label>For<select name="minutes"><option value="60">an hour</option><option value="1440">a day</option><option value="10080">a week</option></select></label>
        <p className="problem" role="alert">{problem}</p>
        <div className="row"><button className="primary">Ban</button><button type="button" onClick={onDone}>Cancel</button></div>
      </form>
    </dialog>
  );
}
