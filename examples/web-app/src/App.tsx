import { useCallback, useEffect, useState } from "react";
import { Client } from "roomcast";
import { keepOverReload } from "roomcast/reload";
import { ApiError, ask, getToken } from "./api.js";
import { Banned, LogIn, Logo } from "./LogIn.js";
import { Shop } from "./Shop.js";
import type { App as Kinds, Me } from "./types.js";

/**
 * One client for each log-in. It is made where the log-in happens and not while React renders. After a reload the page goes
 * on with the session that it had, so the others don't see it leave. The user's id is part of the name that the session
 * has meanwhile: whoever logs in next must not find it.
 */
function connect(me: Me): Client<Kinds> {
  return keepOverReload(`roomcast:${me.user.id}`, (saved) => new Client<Kinds>(me.roomcast, { getToken, saved }));
}

/** `opened` counts log-ins: what one has shown is not for the next. */
type State = { me: Me; client: Client<Kinds> | undefined; opened: number } | "loading" | "logged out" | { problem: string };

export function App() {
  const [state, setState] = useState<State>("loading");

  const enter = useCallback((me: Me) => {
    const client = me.ban ? undefined : connect(me);
    setState((before) => ({ me, client, opened: typeof before === "object" && "opened" in before ? before.opened + 1 : 1 }));
  }, []);
  const load = useCallback(async (wanted: () => boolean = () => true) => {
    try {
      const me = await ask<Me>("GET", "/api/me");
      if (wanted()) enter(me);
    } catch (error) {
      if (!wanted()) return;
      if (error instanceof ApiError && error.code === "logged_out") setState("logged out");
      else setState({ problem: error instanceof Error ? error.message : String(error) });
    }
  }, [enter]);

  /** The client has ended: whether the user is banned or logged out. */
  const check = useCallback(async () => {
    const me = await ask<Me>("GET", "/api/me").catch((error) => error);
    if (me instanceof ApiError && me.code === "logged_out") setState("logged out");
    else if (me.ban) enter(me);
  }, [enter]);

  // Whom the cookie says is here.
  useEffect(() => {
    let mounted = true;
    void load(() => mounted);
    return () => {
      mounted = false;
    };
  }, [load]);

  if (state === "loading") return <main className="card"><Logo /><p role="status">Opening the shop…</p></main>;
  if (state === "logged out") return <LogIn onEnter={enter} />;
  if ("problem" in state) {
    return <main className="card"><Logo /><p role="alert">{state.problem}</p><button onClick={() => void load()}>Try again</button></main>;
  }

  const logOut = async () => {
    // Ends the session: the others see at once that this page is gone.
    if (state.client) state.client.close();
    await ask("POST", "/api/log-out").catch(() => {});
    setState("logged out");
  };
  if (!state.client) return <Banned me={state.me} onLogOut={logOut} onRetry={() => void load()} />;
  return <Shop key={state.opened} me={state.me} client={state.client} onLogOut={logOut} onEnded={check} onAnew={() => void load()} />;
}
