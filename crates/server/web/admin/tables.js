// How things are shown. Everything that comes from the server is a text node: clients write much of it.

export function element(name, { text, type, title, ...attributes } = {}, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = String(text);
  if (type) made.type = type;
  if (title) made.title = title;
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute === "className" ? "class" : attribute, value);
  made.append(...children);
  return made;
}

export const cell = (text, className = "") => element("td", { text, className });
export const number = (value) => cell(shown(value), "number");

/** A button that does something with what its row is about. */
export function button(text, act, className = "quiet") {
  const made = element("button", { text, type: "button", className });
  made.addEventListener("click", act);
  return made;
}

/** A whole number with its thousands apart, or a small one with a digit behind the point. */
export function shown(value) {
  if (typeof value !== "number") return "–";
  return value.toLocaleString("en", { maximumFractionDigits: value < 10 && value % 1 ? 1 : 0 });
}

/** So many of something: "1 member", "2 members". */
export const count = (number, one) => `${shown(number)} ${one}${number === 1 ? "" : "s"}`;

export function bytes(value) {
  for (const unit of ["B", "KiB", "MiB"]) {
    if (value < 1024) return `${shown(value)} ${unit}`;
    value /= 1024;
  }
  return `${shown(value)} GiB`;
}

/** Replaces rows, but leaves those that are the same where they are: whoever is about to press a button keeps it. */
export function fill(place, rows) {
  const before = new Map([...place.children].map((row) => [row.dataset.key, row]));
  const kept = rows.map((row) => {
    const known = before.get(row.dataset.key);
    if (!known) return row;
    if (known.textContent === row.textContent) return known;
    if (!known.contains(document.activeElement)) return row;
    // Its texts are new; what has the focus stays.
    [...known.children].forEach((old, nth) => {
      const now = row.children[nth];
      if (now && !old.contains(document.activeElement)) old.replaceWith(now.cloneNode(true));
    });
    return known;
  });
  if (kept.length === place.children.length && kept.every((row, nth) => row === place.children[nth])) return;
  const focused = document.activeElement;
  place.replaceChildren(...kept);
  if (focused && place.contains(focused)) focused.focus();
}

export function row(key, ...cells) {
  const made = element("tr", {}, ...cells);
  made.dataset.key = key;
  return made;
}

/** The last values as a line; it says nothing that the number beside it doesn't. */
export function spark(values) {
  const most = Math.max(1, ...values);
  const points = values.map((value, nth) => `${(nth * 100) / Math.max(1, values.length - 1)},${24 - (22 * value) / most}`);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 100 26");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  line.setAttribute("points", points.join(" "));
  svg.append(line);
  return svg;
}

/** A connection, as a line of a list. */
export function connection(line) {
  const who = line.user_id ?? line.client_id;
  const where = `${line.format}, ${count(line.rooms, "room")}, server ${line.node}`;
  const pending = line.pending.events + line.pending.state + line.pending.answers;
  const made = element(
    "li",
    { className: line.lagging ? "lags" : "" },
    element("strong", { text: who }),
    element("span", { text: line.why }),
    element("small", { text: pending ? `${bytes(pending)} wait · ${where}` : where }),
  );
  made.dataset.key = line.client_id;
  return made;
}
