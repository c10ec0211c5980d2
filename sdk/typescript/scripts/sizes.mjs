// Sizes of the built entries after gzip: fails over a limit, and when README.md says another size.
// `--write` puts the sizes into README.md.

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const here = fileURLToPath(new URL("..", import.meta.url));
/** The most bytes that an entry may have after gzip. */
const LIMITS = {
  roomcast: ["index", 7_616],
  "roomcast/protobuf": ["protobuf", 3_584],
  "roomcast/reload": ["reload", 512],
  "roomcast/fallback": ["fallback", 2_304],
  "roomcast/react": ["react", 1_024],
};

let readme = readFileSync(`${here}README.md`, "utf8");
let wrong = 0;
for (const [entry, [file, limit]] of Object.entries(LIMITS)) {
  const code = readFileSync(`${here}dist/${file}.js`, "utf8").replace(/\n\/\/# sourceMappingURL=.*\s*$/, "\n");
  const size = gzipSync(code, { level: 9 }).length;
  console.log(`${entry}: ${size} bytes after gzip, of at most ${limit}`);
  if (size > limit) {
    console.error(`${entry} is over its limit by ${size - limit} bytes`);
    wrong += 1;
  }
  // zlib differs by a few bytes between versions: what is written down has to be true to the nearest tenth of a KiB.
  const row = new RegExp(`(\\| \`${entry}\` \\|.*\\| )([\\d.]+)( KiB \\|)`);
  const shown = (size / 1024).toFixed(1);
  const written = row.exec(readme)?.[2];
  if (written !== undefined && process.argv.includes("--write")) readme = readme.replace(row, `$1${shown}$3`);
  else if (written === undefined || Math.abs(Number(written) * 1024 - size) > 110) {
    console.error(`README.md says ${written ?? "nothing"} of ${entry}, and it has ${shown} KiB: npm run sizes -- --write`);
    wrong += 1;
  }
}
if (process.argv.includes("--write")) writeFileSync(`${here}README.md`, readme);
process.exit(wrong ? 1 : 0);
