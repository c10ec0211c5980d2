import { expect, it } from "vitest";
import { Received } from "../src/received.js";
import type { Gap } from "../src/types.js";

function log() {
  const received = new Received();
  const gaps: Gap[] = [];
  const take = (epoch: string, offset: number, from?: string, seq?: number) =>
    received._accept({ epoch, offset, from_client_id: from!, seq: seq! }, (gap) => gaps.push(gap));
  return { received, gaps, take };
}

it("takes each place once", () => {
  const { received, take, gaps } = log();
  expect([1, 2, 2, 1, 5, 4].map((offset) => take("a", offset))).toEqual([true, true, false, false, true, false]);
  expect(received.position).toEqual({ epoch: "a", offset: 5 });
  expect(gaps).toEqual([]);
});

it("tells of another log, and drops what comes again there by its sender's number", () => {
  const { received, take, gaps } = log();
  expect(take("a", 8, "ada", 3)).toBe(true);
  expect(take("b", 1, "ada", 3), "the same message, logged again").toBe(false);
  expect(take("b", 2, "bob", 3)).toBe(true);
  expect(take("b", 3, "ada", 4)).toBe(true);
  expect(gaps).toEqual([{ since: { epoch: "a", offset: 8 }, now: { epoch: "b", offset: 0 } }]);
  expect(received.position).toEqual({ epoch: "b", offset: 3 });
});

it("follows a log that goes on under another name", () => {
  const { received, take, gaps } = log();
  expect([take("a", 7), take("b", 8), take("b", 8), take("b", 10)]).toEqual([true, true, false, true]);
  expect(gaps).toEqual([]);
  expect(received.position).toEqual({ epoch: "b", offset: 10 });
});

it("knows a number again also where some are missing", () => {
  const { take } = log();
  let offset = 0;
  const isNew = (from: string, seq: number) => take("a", ++offset, from, seq);
  for (const seq of [1, 2, 5, 4, 70, 69]) {
    expect(isNew("ada", seq), String(seq)).toBe(true);
    expect(isNew("ada", seq), String(seq)).toBe(false);
  }
  expect(isNew("ada", 2 ** 53 - 1)).toBe(true);
});

it("remembers a bounded number of senders: those who speak", () => {
  const { take, received } = log();
  let offset = 0;
  for (let n = 0; n < 5000; n++) {
    expect(take("a", ++offset, "sender" + n, 1)).toBe(true);
    expect(take("a", ++offset, "talker", 1)).toBe(n == 0);
  }
  expect((received as any)._seen.size).toBeLessThanOrEqual(512);
});

it("takes what has no place", () => {
  const { received } = log();
  const event = { from_client_id: "ada" };
  expect([1, 2].map(() => received._accept(event, () => {}))).toEqual([true, true]);
});
