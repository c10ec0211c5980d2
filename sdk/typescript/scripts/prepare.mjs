// What npm runs when this folder is installed or packed: builds dist/. Where the tools for that are missing, as in
// `npm install path/to/this/folder`, they are installed next to a copy of the sources, and are gone afterwards: were they
// here, a bundle of an application would find the React of our tests beside its own.

import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL("..", import.meta.url));
const SOURCES = ["package.json", "package-lock.json", "tsconfig.json", "tsconfig.build.json", "scripts", "src"];

if (existsSync(join(here, "node_modules", "esbuild"))) {
  build(here);
} else {
  const place = mkdtempSync(join(tmpdir(), "roomcast-build-"));
  try {
    for (const name of SOURCES) cpSync(join(here, name), join(place, name), { recursive: true });
    const windows = process.platform === "win32";
    const options = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    // What npm tells its scripts is about the application that it installs into.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_(config_(global|local_prefix|prefix|install_links|omit|dev|production)|package)/i.test(name)));
    execFileSync(windows ? "npm.cmd" : "npm", options, { cwd: place, env: { ...env, NODE_ENV: "development" }, stdio: "inherit", shell: windows });
    build(place);
    rmSync(join(here, "dist"), { recursive: true, force: true });
    cpSync(join(place, "dist"), join(here, "dist"), { recursive: true });
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

function build(folder) {
  execFileSync(process.execPath, [join(folder, "scripts", "build.mjs")], { cwd: folder, stdio: "inherit" });
}
