import { defineConfig } from "vite";

export default defineConfig({
  // The page's Content-Security-Policy allows files of its own origin, and nothing inline.
  build: { assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  // `npx vite` beside `npm start`: a page that changes while it is written.
  server: { proxy: { "/api": { target: "http://127.0.0.1:3000", headers: { origin: "http://localhost:3000" } } } },
});
