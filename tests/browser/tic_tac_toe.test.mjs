// The example tic_tac_toe as its players meet it: two of them in a browser, a third who watches. The screenshot is kept
// in artifacts/.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { artifacts, startBrowser, startExample, until } from "./support.mjs";

describe("the example tic_tac_toe", { timeout: 180_000 }, () => {
  let example, browser;

  before(async () => {
    example = await startExample("tic_tac_toe");
    browser = await startBrowser();
  });

  after(async () => {
    await browser?.close();
    await example?.stop();
  });

  test("is played to its end by two, while a third watches", async () => {
    await using(async (open) => {
      const x = await open(example.url);
      await says(x, "You are X. Waiting for the other player.");
      const link = x.url();
      const o = await open(link);
      const watcher = await open(link);
      await Promise.all([says(x, "Your turn: you are X."), says(o, "You are O. It is X’s turn."), says(watcher, "You are watching. It is X’s turn.")]);
      for (const page of [x, o, watcher]) await until("three of them", async () => (await page.textContent("#here")) === "3");

      // Out of turn, on a taken cell, or without a seat: the server refuses, and nothing changes.
      await place(o, 0);
      await refused(o, "it is not your turn");
      await place(x, 4);
      await board(["", "", "", "", "X", "", "", "", ""], [x, o, watcher]);
      await says(o, "Your turn: you are O.");
      await place(o, 4);
      await refused(o, "`cell` is a free one, 0 to 8");
      await place(watcher, 1);
      await refused(watcher, "it is not your turn");

      await place(o, 0);
      await board(["O", "", "", "", "X", "", "", "", ""], [x, o, watcher]);
      await place(x, 2);
      await board(["O", "", "X", "", "X", "", "", "", ""], [x, o, watcher]);
      await place(o, 1);
      await board(["O", "O", "X", "", "X", "", "", "", ""], [x, o, watcher]);
      await place(x, 6);
      await board(["O", "O", "X", "", "X", "", "X", "", ""], [x, o, watcher]);
      await Promise.all([says(x, "You have won."), says(o, "You have lost."), says(watcher, "X has won.")]);
      await x.screenshot({ path: `${artifacts}/tic-tac-toe.png` });

      await place(o, 8);
      await refused(o, "the game is over");
      assert.equal(await watcher.isVisible("#again"), false);
      await o.click("#again");
      await board(Array(9).fill(""), [x, o, watcher]);
      await Promise.all([says(o, "Your turn: you are X."), says(x, "You are O. It is X’s turn.")]);
    });
  });

  test("ends in a draw when no line is made, and goes on without one who leaves", async () => {
    await using(async (open) => {
      const x = await open(example.url);
      const o = await open(x.url());
      await says(x, "Your turn: you are X.");
      const cells = Array(9).fill("");
      for (const [turn, cell] of [0, 1, 2, 4, 3, 5, 7, 6, 8].entries()) {
        const page = turn % 2 ? o : x;
        await until("its turn", async () => (await page.textContent("#state")).startsWith("Your turn"));
        await place(page, cell);
        cells[cell] = turn % 2 ? "O" : "X";
        await board(cells, [x, o]);
      }
      for (const page of [x, o]) await says(page, "A draw.");
      await x.click("#again");
      await says(x, "You are O. It is X’s turn.");
      await o.close();
      await says(x, "You are O. Waiting for the other player.");
      const next = await open(x.url());
      await says(next, "Your turn: you are X.");
      await says(x, "You are O. It is X’s turn.");
    });
  });

  test("believes no board but the server's, and keeps the seat of a page that is loaded again", async () => {
    await using(async (open) => {
      const x = await open(example.url);
      const o = await open(x.url());
      const watcher = await open(x.url());
      await says(x, "Your turn: you are X.");
      await place(x, 4);
      const cells = ["", "", "", "", "X", "", "", "", ""];
      await board(cells, [x, o, watcher]);

      // A spectator says that it has won, from a client of its own.
      const answer = await watcher.evaluate(async () => {
        const { Client } = await import("/sdk/roomcast.js");
        const client = new Client(`ws://${location.host}/ws`);
        const room = client.room(new URLSearchParams(location.search).get("room"));
        await room.join();
        const forged = { cells: Array(9).fill("O"), turn: "X", winner: "O", x: 1, o: 2 };
        const refused = await room.send("board", forged).catch((error) => error.code);
        await room.send("hello").catch(() => {}); // refused too: whatever was sent before it has arrived
        client.close();
        return refused;
      });
      assert.equal(answer, "reserved_event");
      await says(o, "Your turn: you are O.");
      await board(cells, [x, o, watcher]);

      await o.reload();
      await says(o, "Your turn: you are O.");
      await place(o, 0);
      cells[0] = "O";
      await board(cells, [x, o, watcher]);
      await x.reload();
      await says(x, "Your turn: you are X.");
      await board(cells, [x, o, watcher]);
    });
  });

  test("has a room for each link", async () => {
    await using(async (open) => {
      const [one, other] = [await open(example.url), await open(example.url)];
      assert.notEqual(one.url(), other.url());
      for (const page of [one, other]) await says(page, "You are X. Waiting for the other player.");
    });
  });

  // --- Helpers ---

  /** Gives `steps` a way to open pages, and checks that none of them logged an error. */
  async function using(steps) {
    const context = await browser.newContext({ viewport: { width: 480, height: 760 } });
    context.setDefaultTimeout(30_000);
    const problems = [];
    context.on("page", (page) => {
      page.on("console", (message) => ["error", "warning"].includes(message.type()) && problems.push(message.text()));
      page.on("pageerror", (error) => problems.push(String(error.stack)));
    });
    try {
      await steps(async (url) => {
        const page = await context.newPage();
        await page.goto(url);
        return page;
      });
      assert.deepEqual(problems, []);
    } finally {
      await context.close();
    }
  }
});

/** Clicks on a cell, as one who looks at that page. */
async function place(page, cell) {
  await page.bringToFront();
  await page.locator("#board button").nth(cell).click();
}

const says = (page, text) => until(`"${text}"`, async () => (await page.textContent("#state")) === text);
const refused = (page, text) => until(`refused: ${text}`, async () => (await page.textContent("#refused")) === text);

/** Waits until all pages show these marks. */
async function board(marks, pages) {
  for (const page of pages) {
    await until(`the board ${JSON.stringify(marks)}`, async () => {
      const shown = await page.locator("#board button").allTextContents();
      return shown.join() === marks.join();
    });
  }
}
