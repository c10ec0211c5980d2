import { type FormEvent, useState } from "react";
import { ask } from "./api.js";
import type { Me } from "./types.js";

export function Logo() {
  return <h1 className="logo"><img src="/icon.svg" alt="" width="32" height="32" />Harbour Coffee</h1>;
}

export function LogIn({ onEnter }: { onEnter: (me: Me) => void }) {
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);

  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const { name, password } = Object.fromEntries(new FormData(event.currentTarget));
    const isNew = (event.nativeEvent as SubmitEvent).submitter?.dataset["new"] !== undefined;
    setBusy(true);
    try {
      onEnter(await ask<Me>("POST", isNew ? "/api/sign-up" : "/api/log-in", { name, password }));
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
      setBusy(false);
    }
  };

  return (
    <main className="card">
      <Logo />
      <p>Order beans, and talk with those who drink them.</p>
      <form onSubmit={submit}>
        <label>Name<input name="name" autoComplete="username" required maxLength={24} autoCapitalize="none" /></label>
        <label>Password<input name="password" type="password" autoComplete="current-password" required maxLength={200} /></label>
        <p className="problem" role="alert">{problem}</p>
        <div className="row">
          <button className="primary" disabled={busy}>Log in</button>
          <button disabled={busy} data-new>Make an account</button>
        </div>
      </form>
    </main>
  );
}

/** What a banned user sees: why, and for how long. */
export function Banned({ me, onLogOut, onRetry }: { me: Me; onLogOut: () => void; onRetry: () => void }) {
  return (
    <main className="card banned">
      <Logo />
      <h2>You can’t come in, {me.user.name}</h2>
      <p>The shop has sent you away: <q>{me.ban?.reason}</q></p>
      <p>You may come back on {new Date(me.ban?.until ?? 0).toLocaleString()}.</p>
      <div className="row">
        <button onClick={onRetry}>Try again</button>
        <button onClick={onLogOut}>Log out</button>
      </div>
    </main>
  );
}
