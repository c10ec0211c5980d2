// How the entries are made short, for the build and for what finds the names of private properties.

import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL("..", import.meta.url));
const names = `${here}scripts/names.json`;

export const ESBUILD = {
  absWorkingDir: here,
  outdir: "dist",
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  // Properties that begin with _ are private. No entry touches another's, so each may have its own short names.
  mangleProps: /^_/,
  external: ["react"],
  sourcemap: true,
  write: false,
  logLevel: "warning",
};

/** The main entry, whose private properties have names that were looked for (names.mjs). */
export const MAIN = {
  ...ESBUILD,
  entryPoints: ["src/index.ts"],
  mangleCache: existsSync(names) ? JSON.parse(readFileSync(names, "utf8")) : {},
};

/** Letters of names, the first ones first. */
export const LETTERS = "esrtinaolcdupmhfgyvbwkxqjzESAMTCDLIPNORBWUFHGVXKYQJZ_$";

/** The nth name of a variable: the same ones, whatever else is in the text. */
const get = (n) => (n < LETTERS.length ? "" : get(Math.floor(n / LETTERS.length) - 1)) + LETTERS[n % LETTERS.length];

/** What takes two per cent more off. */
export const TERSER = {
  module: true,
  ecma: 2022,
  compress: { passes: 3 },
  mangle: { nth_identifier: { get } },
};
