import { useEffect, useState } from "react";
import type { Client, Status } from "roomcast";
import type { App } from "./types.js";

/** How it stands with the connection, and when the next one is tried. */
export function Connection({ client, status, onAnew }: { client: Client<App>; status: Status; onAnew: () => void }) {
  const [now, setNow] = useState(Date.now);
  const waits = status.state === "reconnecting";
  useEffect(() => {
    if (!waits) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, [waits]);

  const seconds = waits ? Math.max(0, Math.ceil((status.at - now) / 1000)) : 0;
  return (
    <div className="connection" data-state={status.state}>
      <span role="status">
        {status.state === "connected" ? "Connected"
          : waits ? "Reconnecting"
          : status.state === "closed" ? `Disconnected: ${reason(status.reason.code)}`
          : "Connecting"}
      </span>
      {seconds > 0 && <span className="wait"> in {seconds} s</span>}
      {waits && <button onClick={() => client.wake()}>Now</button>}
      {status.state === "closed" && <button onClick={onAnew}>Connect</button>}
    </div>
  );
}

function reason(code: string): string {
  return code === "taken_over" ? "another tab has gone on with this session" : code.replaceAll("_", " ");
}
