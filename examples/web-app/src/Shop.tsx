import { useEffect, useState } from "react";
import type { Client } from "roomcast";
import { useRoom, useStatus } from "roomcast/react";
import { Chat } from "./Chat.js";
import { Connection } from "./Connection.js";
import { Logo } from "./LogIn.js";
import { Bell, Toasts, useNotifications } from "./Notifications.js";
import { Orders, StaffOrders } from "./Orders.js";
import { People } from "./People.js";
import type { App, Me } from "./types.js";

const TABS = ["Chat", "People", "Orders"] as const;

interface Properties {
  me: Me;
  client: Client<App>;
  onLogOut: () => void;
  /** The client has ended, and will not come back by itself. */
  onEnded: () => void;
  /** Connects with a client of its own. */
  onAnew: () => void;
}

/** The page of a user who is logged in. */
export function Shop({ me, client, onLogOut, onEnded, onAnew }: Properties) {
  const status = useStatus(client);
  const notifications = useNotifications(client, me.notifications);
  const [problem, setProblem] = useState("");
  const room = useRoom(client, "chat:lounge", { onError: ({ message }) => setProblem(message) });
  const [tab, setTab] = useState<(typeof TABS)[number]>("Chat");
  const [unread, setUnread] = useState(0);

  useEffect(() => {
    document.title = unread ? `(${unread}) Harbour Coffee` : "Harbour Coffee";
  }, [unread]);

  // Sent away, or logged out in another tab: the backend knows which. Whatever else ended it is shown (`Connection`).
  const ended = status.state === "closed" ? status.reason.code : undefined;
  useEffect(() => {
    if (ended === "unauthorized" || ended === "disconnected") onEnded();
  }, [ended, onEnded]);

  return (
    <div className="shop" data-tab={tab}>
      <header>
        <Logo />
        <Connection client={client} status={status} onAnew={onAnew} />
        <Bell notifications={notifications} />
        <span className="who">{me.user.name}</span>
        <button className="quiet" onClick={onLogOut}>Log out</button>
      </header>
      {problem && <p className="notice" role="alert">{problem} <button onClick={() => setProblem("")}>Close</button></p>}
      <nav aria-label="Parts of the page">
        {TABS.map((name) => (
          <button key={name} aria-current={tab === name ? "page" : undefined} onClick={() => setTab(name)}>
            {name}{name === "Chat" && unread > 0 && <b className="count">{unread}</b>}
          </button>
        ))}
      </nav>
      <main>
        <Chat client={client} room={room} me={me} onUnread={setUnread} />
        <aside>
          <People room={room} me={me} />
          {me.user.role === "staff" ? <StaffOrders client={client} first={me.orders} /> : <Orders me={me} notifications={notifications.list} />}
        </aside>
      </main>
      <Toasts notifications={notifications} />
    </div>
  );
}
