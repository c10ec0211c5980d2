import type { Client } from "roomcast";
import { useClientSignal } from "roomcast/react";
import { ask } from "./api.js";
import type { App, Me } from "./types.js";

/**
 * Loads what the backend has, where the page may have missed what it was told: it was away for longer than its inbox was kept,
 * or than its session.
 */
export function useMissed(client: Client<App>, take: (me: Me) => void): void {
  const load = () => void ask<Me>("GET", "/api/me").then(take, () => {});
  useClientSignal(client, "gap", load);
  useClientSignal(client, "status", (status) => {
    if (status.state === "connected" && !status.resumed && client.stats.reconnects) load();
  });
}
