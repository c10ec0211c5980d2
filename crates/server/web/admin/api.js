// The way to the API. The key is in a header, and nowhere else.

const PLACE = "roomcast.admin.key";
const BASE = "/api/v1";
/** A server that is away is asked again after this time. */
const AGAIN_MS = 2000;

/** Why something was not done, as the server says it. */
export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export const key = {
  get: () => sessionStorage.getItem(PLACE),
  set: (text) => sessionStorage.setItem(PLACE, text),
  forget: () => sessionStorage.removeItem(PLACE),
};

/** A segment of a path. */
export const part = (text) => encodeURIComponent(text);

export async function ask(path, { method = "GET", body } = {}) {
  const answer = await request(path, { method, body: body && JSON.stringify(body) });
  return answer.json();
}

async function request(path, { headers = {}, ...options }) {
  let answer;
  try {
    answer = await fetch(BASE + path, { ...options, headers: { ...headers, authorization: `Bearer ${key.get() ?? ""}` }, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "the server does not answer");
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Problem(answer.status, problem.detail ?? `the server answers with ${answer.status}`);
}

/**
 * Calls `hear` with each event of a room, until the signal is aborted. It goes on where it was when the server ends it, and
 * when a server is there again that was away.
 */
export async function listen(room, hear, signal) {
  let last;
  let heard = false;
  while (!signal.aborted) {
    const headers = last ? { "last-event-id": last } : {};
    let answer;
    try {
      answer = await request(`/rooms/${part(room)}/tail`, { headers, signal });
    } catch (error) {
      if (!heard || ![0, 429, 503].includes(error.status)) throw error;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      continue;
    }
    heard = true;
    hear({ event: "listening" });
    try {
      for await (const event of events(answer.body)) {
        last = event.id ?? last;
        hear(event);
      }
    } catch (error) {
      if (signal.aborted) return;
      // The connection was cut. What is missing is told after the next one.
    }
  }
}

/** Server-sent events, as far as this server makes them: `id`, `event` and one `data`. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const fields = text.slice(0, end).split("\n").map((line) => line.split(/: (.*)/s));
      text = text.slice(end + 2);
      const event = Object.fromEntries(fields.filter(([name]) => name));
      if (event.data) yield event;
    }
  }
}
