// Counts what goes over the SDK's WebSocket, by looking over its shoulder.

/** A WebSocket class for `new Client`: `count(direction, bytes)` for each frame, "in" or "out". */
export function countingSocket(count) {
  return class extends WebSocket {
    constructor(...values) {
      super(...values);
      this.addEventListener("message", ({ data }) => count("in", size(data)));
    }

    send(data) {
      super.send(data);
      count("out", size(data));
    }
  };
}

const encoder = new TextEncoder();
const size = (data) => (typeof data === "string" ? encoder.encode(data).length : data.byteLength);
