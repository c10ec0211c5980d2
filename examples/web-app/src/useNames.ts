import { useEffect, useState } from "react";
import { ask } from "./api.js";

/** Names of users whom the backend was asked about. */
const known = new Map<string, string>();

/**
 * The names of users, by their ids. A message says whose it is by the id of a verified token; those who spoke may have
 * left the room, so their names come from the backend.
 */
export function useNames(ids: string[]): (id: string) => string {
  const [, setCount] = useState(0);
  const missing = [...new Set(ids)].filter((id) => id && !known.has(id)).slice(0, 100).join(",");
  useEffect(() => {
    if (!missing) return;
    let mounted = true;
    ask<Record<string, string>>("GET", `/api/names?ids=${missing}`).then((names) => {
      for (const id of missing.split(",")) known.set(id, names[id] ?? "Somebody");
      if (mounted) setCount((count) => count + 1);
    }, () => {});
    return () => {
      mounted = false;
    };
  }, [missing]);
  return (id) => known.get(id) ?? "…";
}
