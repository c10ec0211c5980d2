import { useCallback, useState } from "react";
import type { Client } from "roomcast";
import { useDirectMessage } from "roomcast/react";
import { ask } from "./api.js";
import type { App, Notification } from "./types.js";
import { useMissed } from "./useMissed.js";

const TOAST_MS = 8_000;

/** The user's notifications: those that the backend has, and those that come. */
export function useNotifications(client: Client<App>, first: Notification[]) {
  const [list, setList] = useState(first);
  const [toasts, setToasts] = useState<Notification[]>([]);

  // Roomcast gives each once to a session. Loaded and told, one can come twice: it has an id.
  const add = useCallback((some: Notification[]) => {
    setList((list) => [...some.filter(({ id }) => !list.some((known) => known.id === id)), ...list].sort((one, other) => other.at - one.at));
  }, []);
  const dismiss = useCallback((id: string) => setToasts((toasts) => toasts.filter((toast) => toast.id !== id)), []);

  useDirectMessage(client, "notification", (notification) => {
    add([notification]);
    setToasts((toasts) => [...toasts.filter(({ id }) => id !== notification.id), notification].slice(-4));
    setTimeout(() => dismiss(notification.id), TOAST_MS);
  });
  useMissed(client, ({ notifications }) => add(notifications));

  const markSeen = useCallback(() => {
    setList((list) => list.map((notification) => ({ ...notification, seen: true })));
    ask("POST", "/api/seen").catch(() => {});
  }, []);

  return { list, toasts, dismiss, markSeen };
}

type Notifications = ReturnType<typeof useNotifications>;

export function Bell({ notifications: { list, markSeen } }: { notifications: Notifications }) {
  const [open, setOpen] = useState(false);
  const unseen = list.filter(({ seen }) => !seen).length;
  const toggle = () => {
    // Seen once they are closed again: until then the new ones stand out.
    if (open && unseen) markSeen();
    setOpen(!open);
  };
  return (
    <div className="bell">
      <button className="quiet" aria-expanded={open} aria-controls="notifications" aria-label={`Notifications, ${unseen} new`} onClick={toggle}>
        <svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true"><path d="M6 17V11a6 6 0 0 1 12 0v6l2 1.5H4zM10 20.500a2 2 0 0 0 4 0" fill="none" stroke="currentColor" strokeWidth="1.8" strokeLinejoin="round" strokeLinecap="round" /></svg>
        {unseen > 0 && <b className="count">{unseen}</b>}
      </button>
      <div id="notifications" className="panel" hidden={!open}>
        <h2>Notifications</h2>
        {list.length === 0 ? <p className="remark">Nothing yet.</p> : (
          <ul>{list.map(({ id, text, at, seen }) => <li key={id} data-new={!seen}>{text}<small>{new Date(at).toLocaleString()}</small></li>)}</ul>
        )}
      </div>
    </div>
  );
}

export function Toasts({ notifications: { toasts, dismiss } }: { notifications: Notifications }) {
  return (
    <div className="toasts" role="status" aria-label="New notifications">
      {toasts.map(({ id, text }) => (
        <div className="toast" key={id}><span>{text}</span><button className="quiet" aria-label="Close" onClick={() => dismiss(id)}>×</button></div>
      ))}
    </div>
  );
}
