import { UnauthorizedError } from "roomcast";

/** The backend has refused something, or can't be reached (`unreachable`). The message is for people. */
export class ApiError extends Error {
  constructor(readonly code: string, message: string) {
    super(message);
  }
}

/** Asks the backend. The cookie goes along by itself. */
export async function ask<T = object>(method: "GET" | "POST" | "PUT" | "DELETE", path: string, body?: object): Promise<T> {
  let answer;
  try {
    answer = await fetch(path, {
      method,
      ...(body && { body: JSON.stringify(body), headers: { "content-type": "application/json" }, keepalive: true }),
    });
  } catch {
    throw new ApiError("unreachable", "The shop can't be reached. Are you online?");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new ApiError(said.code ?? "failed", said.message ?? "This did not work. Try again.");
  return said as T;
}

/** A token for Roomcast. The client asks for one before each connection, and before the old one ends. */
export async function getToken(): Promise<string> {
  const answer = await fetch("/api/roomcast-token");
  // Logged out, or banned: there is no use in asking again. Anything else passes.
  if (answer.status === 401 || answer.status === 403) throw new UnauthorizedError();
  if (!answer.ok) throw new Error(`no token: ${answer.status}`);
  return answer.text();
}
