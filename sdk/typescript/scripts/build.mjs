// Builds dist/: each entry as one minified ES module, and the declarations. With --embed it also writes the bundles that
// the server serves at /sdk/ (crates/server/web/sdk), with --check it compares them with what is committed there.

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { minify } from "terser";

const here = fileURLToPath(new URL("..", import.meta.url));
const served = fileURLToPath(new URL("../../../crates/server/web/sdk/", import.meta.url));
/** The file that the server has, and the entry that it is. React has no place in a page without a build step. */
const SERVED = { "roomcast.js": "index.js", "protobuf.js": "protobuf.js", "reload.js": "reload.js" };

const { version } = JSON.parse(readFileSync(`${here}package.json`, "utf8"));
const options = {
  absWorkingDir: here,
  entryPoints: ["src/index.ts", "src/protobuf.ts", "src/reload.ts", "src/react.ts"],
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
const banner = `/* roomcast ${version}, Apache-2.0 OR MIT */\n`;

const failed = process.argv.includes("--check") ? await check() : await write();
process.exit(failed ? 1 : 0);

async function write() {
  rmSync(`${here}dist`, { recursive: true, force: true });
  mkdirSync(`${here}dist`);
  for (const { name, code, map } of await entries()) {
    writeFileSync(`${here}dist/${name}`, `${banner}${code}\n//# sourceMappingURL=${name}.map\n`);
    writeFileSync(`${here}dist/${name}.map`, map);
  }
  execFileSync(process.execPath, [tsc(), "-p", "tsconfig.build.json"], { cwd: here, stdio: "inherit" });
  if (process.argv.includes("--embed")) {
    mkdirSync(served, { recursive: true });
    for (const [name, content] of await bundles()) writeFileSync(`${served}${name}`, content);
  }
}

async function check() {
  let differ = false;
  for (const [name, content] of await bundles()) {
    if (readFileSync(`${served}${name}`, "utf8") === content) continue;
    console.error(`crates/server/web/sdk/${name} is not what the sources give: npm run embed`);
    differ = true;
  }
  return differ;
}

/** What the server is given: the same, without the reference to a source map. */
async function bundles() {
  const built = new Map((await entries()).map(({ name, code }) => [name, code]));
  return Object.entries(SERVED).map(([name, entry]) => [name, `${banner}${built.get(entry)}\n`]);
}

/** Bundled by esbuild; terser then takes two per cent more off. */
async function entries() {
  const { outputFiles } = await build(options);
  const scripts = outputFiles.filter(({ path }) => path.endsWith(".js"));
  return Promise.all(
    scripts.map(async ({ path, text }) => {
      const map = outputFiles.find((other) => other.path === `${path}.map`).text;
      // The banner is a line more than the map knows of.
      const sourceMap = { content: map, includeSources: true, asObject: true };
      const shorter = await minify(text, { module: true, ecma: 2022, compress: { passes: 2 }, sourceMap });
      const { mappings, ...rest } = shorter.map;
      return { name: basename(path), code: shorter.code, map: JSON.stringify({ ...rest, mappings: `;${mappings}` }) };
    }),
  );
}

function tsc() {
  return fileURLToPath(new URL("../node_modules/typescript/bin/tsc", import.meta.url));
}
