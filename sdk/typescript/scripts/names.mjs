// Finds short names for the variables and the private properties of the main entry, so that gzip finds more that is alike,
// and writes them to names.json, which the build reads. The build is right without it, or with an old one: what has no name
// there is given one. To be run after changes that add or remove many: `npm run names`, and then `npm run embed`. With a
// number of seconds it takes longer and finds more: `npm run names 600`.

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify } from "terser";
import { MAIN } from "./options.mjs";
import { LETTERS, namesIn, pieces } from "./rename.mjs";

const SECONDS = Number(process.argv[2] ?? 60);
const here = fileURLToPath(new URL("..", import.meta.url));

const { outputFiles } = await build({ ...MAIN.esbuild, sourcemap: false });
const { code } = await minify(outputFiles[0].text, MAIN.terser);
const { things, names, publicNames } = namesIn(code);
const single = [...LETTERS];
const pairs = single.flatMap((a) => single.slice(0, 20).map((b) => a + b));
const POOLS = {
  variable: single.filter((it) => !names.has(it)),
  property: [...single, ...pairs].filter((it) => !publicNames.has(it)).slice(0, 150),
};
const poolOf = (it) => (it.isProperty ? POOLS.property : POOLS.variable);

// It goes on from what was found before.
things.sort((a, b) => b.places.length - a.places.length);
for (const it of things) {
  const free = (name) => name && !it.rivals.some((other) => other.now == name);
  it.now = [MAIN.names[it.key], ...poolOf(it)].find(free);
}
const parts = pieces(code, things);
const size = () => {
  let text = "";
  for (const it of parts) text += typeof it == "string" ? it : it.now;
  return gzipSync(text, { level: 9 }).length;
};

// The same each time, but for how far it gets. A worse state is left again the sooner, the later it is.
let seed = 1;
const random = (below) => {
  seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
  return Math.floor((seed / 0x80000000) * below);
};
let now = size();
let best = { size: now, names: things.map((it) => it.now) };
console.log(`${things.length} names, ${now} bytes`);
const began = Date.now();
for (let part = 0; part < 1; part = (Date.now() - began) / (SECONDS * 1000)) {
  const it = things[random(things.length)];
  const pool = poolOf(it);
  const next = pool[random(random(3) ? Math.min(16, pool.length) : pool.length)];
  const before = it.now;
  if (next == before) continue;
  // Who has it takes the other one, where nobody else has that.
  const moved = it.rivals.filter((other) => other.now == next);
  if (moved.some((other) => other.rivals.some((third) => third != it && third.now == before))) continue;
  it.now = next;
  for (const other of moved) other.now = before;
  const then = size();
  if (then <= now || random(1e6) / 1e6 < Math.exp((now - then) / (1.5 * (1 - part) + 0.01))) {
    now = then;
    if (now < best.size) best = { size: now, names: things.map((it) => it.now) };
  } else {
    it.now = before;
    for (const other of moved) other.now = next;
  }
}
console.log(`${best.size} bytes`);
const sorted = things.map((it, at) => [it.key, best.names[at]]).sort(([a], [b]) => (a < b ? -1 : 1));
writeFileSync(`${here}scripts/names.json`, `${JSON.stringify(Object.fromEntries(sorted), null, 1)}\n`);
