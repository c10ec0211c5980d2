// The example cluster: three nodes, a Redis and a balancer, and four players on its page. A node is killed; its players go
// on elsewhere. Screenshots are kept in artifacts/.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { artifacts, startBrowser, startExample, until } from "./support.mjs";

/** How long a lease lasts, and all that comes after it. */
const PATIENCE = 30_000;

let browser;
let example;
before(async () => {
  browser = await startBrowser();
  example = await startExample("cluster", 0, "SIGTERM");
});
after(async () => {
  await browser?.close();
  await example?.stop();
});

describe("the example cluster", { timeout: 180_000 }, () => {
  test("says what is wrong with its flags, and ends", async () => {
    await assert.rejects(startExample("cluster", 0, "SIGTERM", ["--set", "server.bogus=1"]), /it ended with 78:/);
    await assert.rejects(startExample("cluster", 0, "SIGTERM", ["--help"]), /it ended with 0:/);
  });

  test("a killed node's players go on elsewhere: nothing is lost, nothing comes twice, and nobody left", async () => {
    const page = await browser.newPage({ viewport: { width: 1280, height: 1060 } });
    const problems = [];
    page.on("pageerror", (error) => problems.push(String(error.stack)));
    await page.goto(example.url);
    const [one, other, ...more] = await panes(page);
    const all = [one, other, ...more];
    for (const pane of all) await until(`${pane.name} on a node`, pane.node, PATIENCE);
    for (const pane of all) await receives(pane, 20);

    // Two on two nodes.
    const first = await one.node();
    if ((await other.node()) === first) {
      const elsewhere = ["A", "B", "C"].find((name) => name !== first);
      await other.part.getByRole("button", { name: `Move to ${elsewhere}` }).click();
      await until("the move", async () => (await other.node()) === elsewhere, PATIENCE);
      await receives(other, 10);
    }
    await page.screenshot({ path: `${artifacts}/cluster.png` });

    await one.part.locator(".kill").click();
    await until("the node is dead", async () => (await state(page, first)) !== "running");
    await say(other, "while you were away");
    await until("another node", async () => ![undefined, first].includes(await one.node()), PATIENCE);
    for (const pane of all) await until(`${pane.name} hears it`, async () => (await pane.said()).length > 0, PATIENCE);
    await page.screenshot({ path: `${artifacts}/cluster-killed.png` });
    await say(one, "and back");
    await until("the node is back", async () => (await state(page, first)) === "running", PATIENCE);
    for (const pane of all) {
      await receives(pane, 20);
      await until(`${pane.name} hears all`, async () => (await pane.said()).length >= 2, PATIENCE);
      assert.deepEqual(await pane.said(), ["Bob while you were away", "Ada and back"], pane.name);
      for (const figure of ["lost", "twice", "left"]) assert.equal(await pane.figure(figure), 0, `${pane.name}: ${figure}`);
    }
    assert.deepEqual(problems, []);
    await page.close();
  });
});

// --- Helpers ---

async function panes(page) {
  await until("four players", async () => (await page.locator(".pane").count()) === 4);
  return ["Ada", "Bob", "Cleo", "Dan"].map((name, at) => {
    const part = page.locator(".pane").nth(at);
    return {
      name,
      part,
      node: () => part.locator(".node").getAttribute("data-node").then((node) => node ?? undefined),
      said: () => part.locator(".log p:not(.note, .waits)").allTextContents(),
      figure: async (figure) => Number(await part.locator(`[data-figure=${figure}]`).textContent()),
    };
  });
}

/** Waits until so many events more have come. */
async function receives(pane, count) {
  const before = await pane.figure("received");
  await until(`${pane.name} to receive`, async () => (await pane.figure("received")) >= before + count, PATIENCE);
}

const state = (page, node) => page.locator(`#nodes [data-node=${node}]`).getAttribute("data-state");

async function say(pane, text) {
  await pane.part.locator("input").fill(text);
  await pane.part.locator("input").press("Enter");
}
