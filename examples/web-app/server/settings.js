// Where things are. All of it comes from the environment; `npm start` sets it.

const { env } = process;

export const settings = {
  /** What the backend listens on. */
  host: env.HOST ?? "127.0.0.1",
  port: Number(env.PORT ?? 3000),
  /** What users have in their address bar. Requests that change something have to come from a page of this origin. */
  origin: env.PUBLIC_ORIGIN ?? "http://localhost:3000",
  /** Where pages find Roomcast. */
  roomcast: env.ROOMCAST_URL ?? "ws://localhost:8080/ws",
  /** Where the backend asks Roomcast, at any of its nodes: their addresses, with commas between them. */
  api: (env.ROOMCAST_API ?? "http://127.0.0.1:8081").split(","),
  /** Keys, and what takes the place of a database. */
  data: env.DATA ?? "data",
};
