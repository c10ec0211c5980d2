// A proxy as some networks have one: it speaks HTTP, and does with WebSockets what it is told.

import { once } from "node:events";
import { createServer, request, type Server as HttpServer } from "node:http";
import { connect, type Socket } from "node:net";

export class Proxy {
  /** What becomes of a request for a WebSocket: 403, nothing at all, or it is let through. */
  upgrades: "refused" | "ignored" | "passed" = "refused";
  /** Answers each request so, or passes it on where it is 0. */
  status = 0;
  /** Requests to these paths lose their answers, so that a client sends them again: so many. */
  losesAnswers = 0;
  posts = 0;
  private sockets = new Set<Socket>();
  private server: HttpServer;

  constructor(private port: number) {
    this.server = createServer((near, answer) => {
      if (near.method == "POST") this.posts++;
      if (this.status) return void answer.writeHead(this.status).end("no");
      const { method, url, headers } = near;
      const far = request({ host: "127.0.0.1", port: this.port, method, path: url, headers, agent: false }, (from) => {
        if (method == "POST" && this.losesAnswers > 0) {
          this.losesAnswers--;
          from.resume();
          return void answer.socket?.destroy();
        }
        answer.writeHead(from.statusCode!, from.headers);
        answer.flushHeaders();
        from.pipe(answer);
        from.on("error", () => answer.destroy());
      });
      far.on("error", () => answer.destroy());
      answer.on("close", () => far.destroy());
      near.pipe(far);
    });
    this.server.on("connection", (socket) => {
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket)).on("error", () => {});
    });
    this.server.on("upgrade", (message, near: Socket) => {
      if (this.upgrades == "refused") return near.end("HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
      if (this.upgrades == "ignored") return;
      const far = connect(this.port, "127.0.0.1");
      const lines = [`GET ${message.url} HTTP/1.1`];
      for (let at = 0; at < message.rawHeaders.length; at += 2) lines.push(`${message.rawHeaders[at]}: ${message.rawHeaders[at + 1]}`);
      far.write(`${lines.join("\r\n")}\r\n\r\n`);
      near.pipe(far).pipe(near);
      for (const socket of [near, far]) socket.on("error", () => {}).on("close", () => [near, far].forEach((it) => it.destroy()));
    });
  }

  async listen(): Promise<string> {
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    return `ws://127.0.0.1:${(this.server.address() as { port: number }).port}/ws`;
  }

  /** The server is another one. */
  to(port: number): void {
    this.port = port;
  }

  /** All connections are gone, without a word. */
  cut(): void {
    for (const socket of this.sockets) socket.resetAndDestroy();
  }

  stop(): void {
    this.cut();
    this.server.close();
  }
}
