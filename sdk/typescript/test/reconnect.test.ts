import { expect, it } from "vitest";
import { Clock } from "../src/clock.js";
import { backoff, closeError, comesBack } from "../src/reconnect.js";

it("waits between 500 ms and 20 s, spread over all of it", () => {
  for (const attempts of [0, 1, 2, 5, 10, 100]) {
    expect(backoff(attempts, 0)).toBe(500);
    expect(backoff(attempts, 0.999999)).toBeLessThanOrEqual(20_000);
  }
  expect(backoff(0, 0.5)).toBe(1_250);
  expect(backoff(10, 0.5)).toBe(10_250);
});

it("obeys the server", () => {
  expect(backoff(0, 0, 30_000)).toBe(30_000);
  expect(backoff(0, 1, 30_000), "still spread").toBe(31_500);
});

it("comes back after the codes that say so", () => {
  for (const code of [1000, 1001, 1005, 1006, 1011, 1012, 4000, 4007, 4499, 3000]) expect(comesBack(code), `${code}`).toBe(true);
  for (const code of [1002, 1003, 1007, 1009, 4500, 4501, 4502, 4503, 4999]) expect(comesBack(code), `${code}`).toBe(false);
});

it("reads a close frame's reason", () => {
  expect(closeError(4001, "slow_reader; retry_after_ms=1000")).toMatchObject({ code: "slow_reader", retryAfterMs: 1000 });
  expect(closeError(1006, "")).toMatchObject({ code: "connection_lost", retryAfterMs: undefined });
  expect(closeError(4321, "").message).toBe("4321");
});

it("a slow answer does not move the clock", () => {
  const clock = new Clock();
  expect([clock._rtt, clock._ahead]).toEqual([undefined, undefined]);
  clock._add(100, 120, 1_000_110);
  clock._add(200, 900, 1_000_890);
  clock._add(1000, 1024, 1_001_012);
  expect([clock._rtt, clock._ahead]).toEqual([24, 1_000_000]);
  for (let sent = 3000; sent < 3800; sent += 100) clock._add(sent, sent + 40, 5_000_020 + sent);
  expect(clock._ahead, "the server's clock was set").toBe(5_000_000);
});
