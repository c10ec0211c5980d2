// A WebSocket whose server is the test.

import { vi } from "vitest";

export class FakeSocket {
  static all: FakeSocket[] = [];
  sent: any[] = [];
  closed: number | undefined;
  bufferedAmount = 0;
  onopen!: () => void;
  onmessage!: (event: { data: string }) => void;
  onclose!: (event: { code: number; reason: string }) => void;
  constructor(readonly url: string) {
    FakeSocket.all.push(this);
  }
  send(data: string) {
    this.sent.push(JSON.parse(data));
  }
  close(code: number) {
    this.closed = code;
  }
  /** What the server says. */
  says(message: object) {
    this.onmessage({ data: JSON.stringify(message) });
  }
  welcome(payload: object = {}) {
    this.onopen();
    this.says({ type: "welcome", payload: { ...welcome, server_time: Date.now(), ...payload } });
  }
  of(type: string) {
    return this.sent.filter((it) => it.type == type);
  }
  pong() {
    this.says({ type: "pong", payload: this.of("ping").at(-1).payload, timestamp: Date.now() });
  }
}

export const welcome = {
  client_id: "c1",
  resume_token: "r1",
  resumed: false,
  ping_interval_ms: 30_000,
  limits: { max_message: 65536, max_unanswered: 32 },
  seq_acked: true,
  grace_ms: 30_000,
  inbox_recovered: false,
  token_expires_at: 0,
  direct_repeats_possible: false,
};

export const last = () => FakeSocket.all.at(-1)!;
export const turn = () => vi.advanceTimersByTimeAsync(0);
