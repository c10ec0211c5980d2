// How the entries are made short, for the build and for what finds the names of variables and private properties.

import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL("..", import.meta.url));
const file = `${here}scripts/names.json`;

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

/** What takes two per cent more off. */
export const TERSER = {
  module: true,
  ecma: 2022,
  compress: { passes: 3 },
};

/** The main entry, whose names were looked for (names.mjs), and are given at last (rename.mjs). */
export const MAIN = {
  esbuild: { ...ESBUILD, entryPoints: ["src/index.ts"], minifyIdentifiers: false, mangleProps: undefined },
  terser: { ...TERSER, mangle: false, format: { shorthand: false } },
  names: existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : {},
};
