// Finds short names for the private properties of the main entry, so that gzip finds more that is alike, and writes them
// to names.json, which the build reads. The build is right without it, or with an old one: what has no name there is
// given one. To be run after changes that add or remove many: `npm run names`, and then `npm run embed`.
//
// Properties of objects that are never in one class may have one name: those of an Outbox and those of a Room.

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { parse } from "acorn";
import { build } from "esbuild";
import { minify } from "terser";
import { LETTERS, MAIN, TERSER } from "./options.mjs";

const SECONDS = Number(process.argv[2] ?? 60);
const here = fileURLToPath(new URL("..", import.meta.url));
const options = { ...MAIN, sourcemap: false };

/** Names that are public, or no names at all. */
const TAKEN = new Set(["on", "id", "as", "do", "if", "in", "is", "of"]);

const groups = await owners();
const { mangleCache } = await build({ ...options, mangleCache: {} });
const placeholders = Object.fromEntries(Object.keys(mangleCache).map((name) => [name, `$$${name}$$`]));
const { outputFiles } = await build({ ...options, mangleCache: placeholders });
const { code } = await minify(outputFiles[0].text, TERSER);
/** Code and names in turn. */
const pieces = code.split(/\$\$(_\w+?)\$\$/);
const uses = pieces.filter((_, at) => at % 2);
const count = (name) => uses.filter((it) => it == name).length;
const names = [...new Set(uses)].sort((a, b) => count(b) - count(a));
const clash = (a, b) => !groups.has(a) || !groups.has(b) || [...groups.get(a)].some((owner) => groups.get(b).has(owner));
const rivals = new Map(names.map((name) => [name, names.filter((other) => other != name && clash(name, other))]));
const pool = [...LETTERS, ...[...LETTERS].flatMap((a) => [...LETTERS.slice(0, 20)].map((b) => a + b))]
  .filter((it) => !TAKEN.has(it))
  .slice(0, 150);

const short = {};
// It goes on from what was found before.
for (const name of names) {
  const free = (it) => it && !rivals.get(name).some((other) => short[other] == it);
  short[name] = [MAIN.mangleCache[name], ...pool].find(free);
}
const size = () => gzipSync(pieces.map((it, at) => (at % 2 ? short[it] : it)).join(""), { level: 9 }).length;

// The same each time, but for how far it gets. A worse state is left again the sooner, the later it is.
let seed = 1;
const random = (below) => {
  seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
  return Math.floor((seed / 0x80000000) * below);
};
let now = size();
let best = { size: now, short: { ...short } };
console.log(`${names.length} names, ${now} bytes`);
const began = Date.now();
for (let part = 0; part < 1; part = (Date.now() - began) / (SECONDS * 1000)) {
  const name = names[random(names.length)];
  const next = pool[random(pool.length)];
  const before = short[name];
  if (next == before) continue;
  // Who has it takes the other one, where nobody else has that.
  const moved = rivals.get(name).filter((other) => short[other] == next);
  if (moved.some((it) => rivals.get(it).some((other) => other != name && short[other] == before))) continue;
  short[name] = next;
  for (const it of moved) short[it] = before;
  const then = size();
  if (then <= now || random(1e6) / 1e6 < Math.exp((now - then) / (1.5 * (1 - part) + 0.01))) {
    now = then;
    if (now < best.size) best = { size: now, short: { ...short } };
  } else {
    short[name] = before;
    for (const it of moved) short[it] = next;
  }
}
console.log(`${best.size} bytes`);
const sorted = Object.fromEntries(Object.entries(best.short).sort(([a], [b]) => (a < b ? -1 : 1)));
writeFileSync(`${here}scripts/names.json`, `${JSON.stringify(sorted, null, 2)}\n`);

/** The objects that have a property: a class, those that it extends or that extend it being one; or no class's. */
async function owners() {
  const { outputFiles } = await build({ ...options, minify: false, mangleProps: undefined });
  const found = new Map();
  const roots = new Map();
  const root = (name) => (roots.has(name) ? root(roots.get(name)) : name);
  const add = (name, owner) => /^_/.test(name ?? "") && found.set(name, (found.get(name) ?? new Set()).add(owner));
  const walk = (node, owner) => {
    if (!node || typeof node != "object") return;
    if (Array.isArray(node)) return node.forEach((it) => walk(it, owner));
    if (node.type == "VariableDeclarator" && node.init?.type == "ClassExpression") {
      owner = node.id.name;
      if (node.init.superClass) roots.set(owner, node.init.superClass.name);
    }
    if (/^(MethodDefinition|PropertyDefinition)$/.test(node.type)) add(node.key.name, owner);
    if (node.type == "MemberExpression" && /^(This|Super)/.test(node.object.type)) add(node.property.name, owner);
    if (node.type == "ObjectExpression") {
      for (const { key } of node.properties) add(key?.name, "{}");
      for (const it of node.properties) walk(it.type == "Property" ? it.value : it, it.method ? "{}" : owner);
      return;
    }
    for (const it of Object.values(node)) walk(it, owner);
  };
  walk(parse(outputFiles[0].text, { ecmaVersion: 2022, sourceType: "module" }), "");
  return new Map([...found].map(([name, all]) => [name, new Set([...all].map(root))]));
}
