// A document for React in Node. (vitest's own environment takes the place of Node's URL and streams, too.)

import { Window } from "happy-dom";

const window = new Window({ url: "http://localhost/" }) as any;
const names = ["document", "HTMLElement", "HTMLIFrameElement", "Element", "Node", "Event", "CustomEvent", "MutationObserver"];
if (!globalThis.navigator) names.push("navigator"); // which newer Nodes have
Object.assign(globalThis, { window, ...Object.fromEntries(names.map((name) => [name, window[name]])) });
