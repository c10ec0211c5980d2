import { describe, expect, it } from "vitest";
import { RoomcastError } from "../src/errors.js";
import { type Entry, Outbox } from "../src/outbox.js";

/** An outbox with messages named 1, 2, …, and what became of them. */
function outbox(messages: number) {
  const told: Record<number, string> = {};
  const box = new Outbox();
  const entries: Entry[] = [];
  for (let name = 1; name <= messages; name++) {
    const entry: Entry = {
      _message: { type: "chat", payload: name },
      _settle: (error) => void (told[name] ??= error?.code ?? "done"),
    };
    entries.push(entry);
    box._entries.push(entry);
  }
  return { box, told, entries };
}

/** Sends what may be sent: each number, negative where it is skipped. */
function send(box: Outbox, window = 32): number[] {
  const seqs: number[] = [];
  for (let entry; (entry = box._next(window)); ) {
    const seq = box._give(entry);
    seqs.push(entry._error ? -seq : seq);
  }
  return seqs;
}

describe("the outbox", () => {
  it("gives numbers once, and sends again on a new connection", () => {
    const { box } = outbox(5);
    expect(send(box, 3)).toEqual([1, 2, 3]);
    expect(box._answered(2)?._message?.payload).toBe(2);
    expect(box._answered(2)).toBeUndefined();
    expect(send(box, 3)).toEqual([4]);
    expect(box._firstSeq()).toBe(1);
    box._newLink();
    expect(send(box)).toEqual([1, 3, 4, 5]);
    for (const seq of [5, 4, 3, 1]) expect(box._answered(seq)).toBeDefined();
    expect(box._firstSeq()).toBe(6);
  });

  it("sends what is missing again, with all after it", () => {
    const { box } = outbox(4);
    send(box);
    expect(box._retry(2, 100)).toBe(100);
    expect(send(box), "its answer to 1 is on its way").toEqual([]);
    expect(box._answered(1)).toBeDefined();
    expect(send(box), "carefully").toEqual([2, 3]);
    expect(box._gap(2)).toBe(25);
    expect(send(box)).toEqual([2]);
    expect(box._gap(2), "the second time it waits longer").toBe(50);
    expect(send(box)).toEqual([2]);
    expect(box._answered(2)).toBeDefined();
    expect(send(box)).toEqual([3, 4]);
  });

  it("skips numbers of a life before this one", () => {
    const { box } = outbox(1);
    box._nextSeq = 7;
    expect(send(box)).toEqual([7]);
    expect(box._gap(5)).toBe(25);
    expect(send(box)).toEqual([-5]);
    expect(box._answered(5)).toBeDefined();
    expect(send(box)).toEqual([7]);
    box._gap(6);
    expect(send(box)).toEqual([-6]);
    expect(box._firstSeq()).toBe(6);
    expect(box._gap(9), "never used").toBeGreaterThan(0);
    expect(send(box)).toEqual([]);
  });

  it("skips what is given up if it was ever sent", () => {
    const { box, told, entries } = outbox(3);
    const expired = new RoomcastError("expired");
    expect(send(box, 2)).toEqual([1, 2]);
    box._giveUp(entries[2]!, expired);
    expect(told[3]).toBe("expired");
    box._giveUp(entries[0]!, expired);
    expect(told[1], "its answer is on its way").toBeUndefined();
    expect(send(box)).toEqual([]);
    box._newLink();
    expect(send(box)).toEqual([-1, 2]);
    expect(box._answered(1)?._error).toBe(expired);
  });

  it("counts from 1 as another client, and repeats nothing that no receiver could tell", () => {
    const { box, told } = outbox(4);
    expect(send(box, 2)).toEqual([1, 2]);
    box._beginAgain();
    expect(told).toEqual({ 1: "unconfirmed", 2: "unconfirmed" });
    expect(send(box)).toEqual([1, 2]);
    expect(box._answered(1)?._message?.payload).toBe(3);
  });

  it("gives up a message whose number the server can't read", () => {
    const { box } = outbox(2);
    let skipped = false;
    for (let n = 0; n < 20; n++) {
      skipped ||= send(box).includes(-1);
      box._gap(1);
    }
    expect(skipped).toBe(true);
  });

  it("waits longer from refusal to refusal, and not for ever", () => {
    const { box } = outbox(1);
    const waits = Array.from({ length: 20 }, () => (send(box), box._retry(1)));
    expect(waits[0]).toBe(25);
    expect(waits[1]).toBe(50);
    expect(Math.max(...waits)).toBe(6400);
    expect(box._answered(1)).toBeDefined();
  });
});
