// Builds dist/: each entry as one minified ES module, and the declarations. With --embed it also writes the bundles that
// the server serves at /sdk/ (crates/server/web/sdk), with --check it compares them with what is committed there.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { minify } from "terser";
import { ESBUILD, MAIN, TERSER } from "./options.mjs";
import { rename } from "./rename.mjs";

const here = fileURLToPath(new URL("..", import.meta.url));
const served = fileURLToPath(new URL("../../../crates/server/web/sdk/", import.meta.url));
/** The file that the server has, and the entry that it is. That of React wants an import map which names `react`. */
const SERVED = { "roomcast.js": "index.js", "protobuf.js": "protobuf.js", "reload.js": "reload.js", "fallback.js": "fallback.js", "react.js": "react.js" };

/** The declarations of those, each in one file, for who has no package: an editor, or Deno. */
const TYPES = { "roomcast.d.ts": "index", "protobuf.d.ts": "protobuf", "reload.d.ts": "reload", "fallback.d.ts": "fallback", "react.d.ts": "react" };

const { version } = JSON.parse(readFileSync(`${here}package.json`, "utf8"));
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
  declare(`${here}dist`);
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
  const scripts = Object.entries(SERVED).map(([name, entry]) => {
    const types = `// @ts-self-types="./${name.replace(".js", ".d.ts")}"\n`;
    return [name, `${types}${banner}${built.get(entry)}\n`];
  });
  const place = mkdtempSync(join(tmpdir(), "roomcast-types-"));
  declare(place);
  const types = Object.entries(TYPES).map(([name, entry]) => [name, banner + oneDeclaration(place, entry)]);
  rmSync(place, { recursive: true });
  return [...scripts, ...types];
}

function declare(place) {
  execFileSync(process.execPath, [tsc(), "-p", "tsconfig.build.json", "--outDir", place], { cwd: here, stdio: "inherit" });
}

/**
 * An entry's declarations with those that they need, in one file: what the entry exports is exported. The other entries
 * take their types from the first one.
 */
function oneDeclaration(place, entry) {
  // tsc leaves white space at the ends of some lines.
  const read = (name) => readFileSync(join(place, `${name}.d.ts`), "utf8").replace(/[ \t]+$/gm, "");
  const IMPORT = /^import (?:type )?\{[^}]*\} from "\.\/([^"]+)\.js";.*\n/gm;
  if (entry !== "index") {
    return read(entry).replace(IMPORT, (line) => line.replace(/"\.\/.*\.js"/, '"./roomcast.js"'));
  }
  const exported = [];
  const parts = new Map();
  const take = (name) => {
    if (parts.has(name)) return;
    parts.set(name, "");
    const text = read(name);
    for (const [, other] of text.matchAll(IMPORT)) take(other);
    parts.set(name, text.replace(IMPORT, "").replace(/^export (?!\{)/gm, "").replace(/^export \{\};\n/gm, "").replace(/^(?=(abstract )?class|const)/gm, "declare ").replace(/^declare declare /gm, "declare "));
  };
  for (const [, names, all, from] of read(entry).matchAll(/^export (?:type )?(?:\{ ([^}]*) \}|(\*)) from "\.\/([^"]+)\.js";/gm)) {
    take(from);
    exported.push(...(all ? [...read(from).matchAll(/^export (?:interface|type) (\w+)/gm)].map(([, name]) => name) : names.split(", ")));
  }
  return `${[...parts.values()].join("\n")}\nexport { ${exported.join(", ")} };\n`;
}

/** Bundled by esbuild; terser then takes two per cent more off, and the names of the main entry two and a half. */
async function entries() {
  const others = { esbuild: { ...ESBUILD, entryPoints: ["src/protobuf.ts", "src/reload.ts", "src/fallback.ts", "src/react.ts"] }, terser: TERSER };
  const built = await Promise.all(
    [MAIN, others].map(async ({ esbuild, terser, names }) => {
      const { outputFiles } = await build(esbuild);
      const scripts = outputFiles.filter(({ path }) => path.endsWith(".js"));
      return Promise.all(
        scripts.map(async ({ path, text }) => {
          const map = outputFiles.find((other) => other.path === `${path}.map`).text;
          const sourceMap = { content: map, includeSources: true, asObject: true };
          const shorter = await minify(text, { ...terser, sourceMap });
          const { code, mappings } = names ? rename(shorter.code, shorter.map.mappings, names) : { ...shorter, ...shorter.map };
          // The banner is a line more than the map knows of.
          return { name: basename(path), code, map: JSON.stringify({ ...shorter.map, mappings: `;${mappings}` }) };
        }),
      );
    }),
  );
  return built.flat();
}

function tsc() {
  return fileURLToPath(new URL("../node_modules/typescript/bin/tsc", import.meta.url));
}
