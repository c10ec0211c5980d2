// Gives the variables and the private properties of a bundle short names: those of names.json, where they are free, and else
// the first letters that are. A minifier looks for the fewest letters; names.json has the names that gzip packs best.

import { parse } from "acorn";

/** Letters of names, the first ones first. */
export const LETTERS = "esrtinaolcdupmhfgyvbwkxqjzESAMTCDLIPNORBWUFHGVXKYQJZ_$";

/** The nth name. */
const nth = (n) => (n < LETTERS.length ? "" : nth(Math.floor(n / LETTERS.length) - 1)) + LETTERS[n % LETTERS.length];

/** The code with its names from `table`, and the mappings of its source map moved to where things are now. */
export function rename(code, mappings, table = {}) {
  const { things, names, publicNames } = namesIn(code);
  const given = new Map();
  for (const it of [...things].sort((a, b) => b.places.length - a.places.length)) {
    const taken = new Set(it.rivals.map((other) => given.get(other)));
    const free = (name) => name && !taken.has(name) && !(it.isProperty ? publicNames : names).has(name);
    let n = 0;
    let name = table[it.key];
    while (!free(name)) name = nth(n++);
    given.set(it, name);
  }
  const renamed = put(code, things, (it) => given.get(it));
  if (shape(namesIn(renamed.code).things) != shape(things)) throw new Error("a short name hides another one");
  return { code: renamed.code, mappings: moved(mappings, renamed.moves) };
}

/** Code, and between it the things whose names are there. */
export function pieces(code, things) {
  const all = [];
  let at = 0;
  for (const { start, end, exported, it } of placesOf(things)) {
    const name = code.slice(start, end);
    all.push(code.slice(at, start), it);
    at = end;
    if (exported) all.push(` as ${name}`);
  }
  return [...all, code.slice(at)];
}

const placesOf = (things) => things.flatMap((it) => it.places.map((place) => ({ ...place, it }))).sort((a, b) => a.start - b.start);

/** For each place of a variable in turn the number of what it names: the same before and after, or something else is meant. */
const shape = (things) => {
  const numbers = new Map();
  return placesOf(things.filter((it) => !it.isProperty))
    .map(({ it }) => numbers.get(it) ?? numbers.set(it, numbers.size).get(it))
    .join();
};

function put(code, things, nameOf) {
  const moves = [];
  let text = "";
  for (const { start, end, exported, it } of [...placesOf(things), { start: code.length }]) {
    text += code.slice(moves.at(-1)?.end ?? 0, start);
    if (!it) break;
    text += nameOf(it) + (exported ? ` as ${code.slice(start, end)}` : "");
    moves.push({ end, by: text.length - end });
  }
  return { code: text, moves };
}

/** Mappings of one line, whose columns have moved. */
function moved(mappings, moves) {
  const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const write = (value) => {
    let rest = value < 0 ? (-value << 1) | 1 : value << 1;
    let text = "";
    do {
      text += DIGITS[(rest & 31) | (rest > 31 ? 32 : 0)];
      rest >>>= 5;
    } while (rest);
    return text;
  };
  const read = (text) => {
    const value = [...text].reduce((sum, digit, at) => sum | ((DIGITS.indexOf(digit) & 31) << (5 * at)), 0);
    return value & 1 ? -(value >> 1) : value >> 1;
  };
  let [column, newColumn, next, by] = [0, 0, 0, 0];
  return mappings
    .split(",")
    .map((segment) => {
      // The first number of a segment is its column, less that of the segment before.
      const [first] = /^[g-z0-9+/]*[A-Za-f]/.exec(segment);
      column += read(first);
      while (moves[next]?.end <= column) by = moves[next++].by;
      const now = column + by;
      const text = write(now - newColumn) + segment.slice(first.length);
      newColumn = now;
      return text;
    })
    .join();
}

/**
 * What has a name that may be another one, with its places: variables, and properties that begin with _. `rivals` are
 * those that can't have the same name. Properties of objects that are never in one class may have one name: those of an
 * Outbox and those of a Room.
 */
export function namesIn(code) {
  const ast = parse(code, { ecmaVersion: 2022, sourceType: "module" });
  const variables = variablesIn(ast);
  const properties = propertiesIn(ast);
  return { things: [...variables.all, ...properties.all], names: variables.globals, publicNames: properties.others };
}

const isNode = (it) => typeof it?.type == "string";
const children = (node) => Object.values(node).flat().filter(isNode);

function variablesIn(ast) {
  const all = [];
  const scopes = new Map();
  // With the words of the language that are so short.
  const globals = new Set(["as", "do", "if", "in", "of"]);
  const declare = (name, scope, kind) => {
    while (kind == "var" && !scope.isFunction) scope = scope.parent;
    if (scope.has.has(name)) return;
    const path = `${scope.path}${name}`;
    const same = all.filter((it) => it.path == path).length;
    const it = { path, key: same ? `${path} ${same + 1}` : path, scope, live: new Set([scope]), places: [] };
    scope.has.set(name, it);
    all.push(it);
  };
  const declareAll = (pattern, scope, kind) => {
    if (pattern?.type == "Identifier") declare(pattern.name, scope, kind);
    else if (pattern?.type == "AssignmentPattern") declareAll(pattern.left, scope, kind);
    else if (pattern?.type == "Property") declareAll(pattern.value, scope, kind);
    else if (pattern) for (const it of children(pattern)) declareAll(it, scope, kind);
  };
  const open = (node, scope, path) => {
    const isFunction = /Function|Program/.test(node.type);
    if (isFunction || /^(Block|For|Catch|Switch)/.test(node.type)) {
      scope = { parent: scope, isFunction, path, has: new Map() };
      scopes.set(node, scope);
    }
    if (/^(Function|Arrow)/.test(node.type)) for (const it of node.params) declareAll(it, scope);
    if (node.type == "CatchClause") declareAll(node.param, scope);
    if (node.type == "VariableDeclaration") for (const it of node.declarations) declareAll(it.id, scope, node.kind);
    // A bundle has none of these, and so nothing here knows them.
    if (node.shorthand || /^((Function|Class)Declaration|Import.*)$/.test(node.type) || (/^(Function|Class)Expression$/.test(node.type) && node.id)) throw new Error(`${node.type} at ${node.start}`);
    for (const it of children(node)) {
      const name = node.type == "VariableDeclarator" ? node.init == it && /Class|Function/.test(it.type) && node.id.name : /^(Method|Property)Definition$/.test(node.type) && node.key.name;
      open(it, scope, name ? `${path}${name}.` : path);
    }
  };
  const use = ({ name, start, end }, scope, exported) => {
    for (let it = scope; it; it = it.parent) {
      const found = it.has.get(name);
      if (!found) continue;
      for (let at = scope; at != it; at = at.parent) found.live.add(at);
      return found.places.push({ start, end, exported });
    }
    globals.add(name);
  };
  const walk = (node, scope) => {
    scope = scopes.get(node) ?? scope;
    if (node.type == "Identifier") use(node, scope);
    else if (node.type == "ExportSpecifier") use(node.local, scope, node.local.start == node.exported.start);
    else {
      const name = node.computed ? undefined : node.type == "MemberExpression" ? node.property : node.key;
      for (const it of children(node)) if (it != name) walk(it, scope);
    }
  };
  open(ast, undefined, "");
  walk(ast);
  const clash = (a, b) => a != b && (a.live.has(b.scope) || b.live.has(a.scope));
  for (const it of all) it.rivals = all.filter((other) => clash(it, other));
  return { all, globals };
}

function propertiesIn(ast) {
  const known = new Map();
  const roots = new Map();
  const others = new Set();
  const root = (name) => (roots.has(name) ? root(roots.get(name)) : name);
  const add = ({ name, start, end }) => {
    if (!/^_./.test(name)) return void others.add(name);
    if (!known.has(name)) known.set(name, { key: name, isProperty: true, places: [], owners: new Set() });
    known.get(name).places.push({ start, end });
    return known.get(name);
  };
  const walk = (node, owner) => {
    if (node.type == "VariableDeclarator" && node.init?.type == "ClassExpression") {
      owner = node.id.name;
      if (node.init.superClass) roots.set(owner, node.init.superClass.name);
    }
    const name = node.computed ? undefined : node.type == "MemberExpression" ? node.property : node.key;
    if (name?.type == "Identifier") {
      const it = add(name);
      if (node.type == "Property") it?.owners.add("{}");
      else if (node.type != "MemberExpression" || /^(This|Super)/.test(node.object.type)) it?.owners.add(owner);
    }
    for (const it of children(node)) walk(it, node.type == "ObjectExpression" && it.method ? "{}" : owner);
  };
  walk(ast, "");
  const all = [...known.values()];
  for (const it of all) it.owners = new Set([...it.owners].map(root));
  const clash = (a, b) => a != b && (!a.owners.size || !b.owners.size || [...a.owners].some((owner) => b.owners.has(owner)));
  for (const it of all) it.rivals = all.filter((other) => clash(it, other));
  return { all, others };
}
