// The admin page as somebody uses it who runs a server: in a browser, against the real server, with real clients.
// Screenshots are kept in artifacts/.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { KEY, enter, member, startWithKey } from "./admin_support.mjs";
import { artifacts, startBrowser, until } from "./support.mjs";

const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };

describe("the admin page", { timeout: 180_000 }, () => {
  let server, browser;
  const members = [];

  before(async () => {
    server = await startWithKey();
    browser = await startBrowser();
  });

  after(async () => {
    for (const one of members) one.end();
    await browser?.close();
    await server?.stop();
  });

  const join = async (room, nickname) => {
    const one = await member(server, room, nickname);
    members.push(one);
    return one;
  };

  const using = async (options, use) => {
    const context = await browser.newContext(options);
    const problems = [];
    try {
      const page = await context.newPage();
      page.on("pageerror", (error) => problems.push(String(error)));
      page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
      await use(page, problems);
    } finally {
      await context.close();
    }
    return problems;
  };

  test("lets nobody in without a key", async () => {
    await using({}, async (page) => {
      await page.goto(`${server.url}/admin`);
      await page.fill("#key", "x".repeat(40));
      await page.click('#door button[type="submit"]');
      await until("it says no", async () => /nobody has this key/.test(await page.textContent("#problem")));
      assert.equal(await page.isVisible("#inside"), false);
      assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    });
  });

  test("shows rooms and members as they come, a room's tail, and puts somebody out", async () => {
    const ada = await join("chat:lobby", "Ada");
    const bob = await join("chat:lobby", "<img src=x onerror=alert(1)>");
    const problems = await using({ viewport: { width: 1280, height: 1000 } }, async (page) => {
      await enter(page, server);
      const said = (place, wanted) => until(`${place} says ${wanted}`, async () => wanted.test((await page.textContent(place)) ?? ""));
      await said("#nodes", /serving/);
      await said("#rooms", /chat:lobby/);
      await page.click("#rooms .link");
      await said("#members", /Ada/);
      await said("#room-total", /2 members/);
      const eve = await join("chat:lobby", "Eve");
      await said("#members", /Eve/);
      await said("#room-total", /3 members/);
      // What a client wrote is text.
      assert.equal(await page.locator("#members img").count(), 0);
      await said("#members", /onerror/);

      await page.click("#listen");
      await said("#no-tail", /Listening/);
      ada.chat("hello from <b>Ada</b>");
      await said("#tail", /hello from <b>Ada<\/b>/);
      assert.equal(await page.locator("#tail code b").count(), 0);
      let count = 0;
      const talk = setInterval(() => eve.chat({ count: (count += 1) }), 50);
      try {
        await until("the counter moves", async () => Number((await page.locator("#tiles li", { hasText: "Messages in" }).locator("strong").textContent()).replace(",", "")) > 0);
        await until("the rate is shown", async () => Number(await page.locator("#rooms tr td.number").first().textContent()) > 0);
      } finally {
        clearInterval(talk);
      }
      await page.screenshot({ path: `${artifacts}/admin-desktop.png`, fullPage: true });

      await page.locator("#members tr", { hasText: "onerror" }).getByRole("button", { name: "Kick" }).click();
      await page.click("#ask-yes");
      assert.equal((await bob.heard("error")).payload.code, "removed");
      await said("#room-total", /2 members/);
      // The key is nowhere but in the tab's storage.
      assert.equal(page.url(), `${server.url}/admin`);
      await page.reload();
      await page.locator("#inside").waitFor();
      await page.click("#leave");
      await page.locator("#door").waitFor();
      assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    });
    assert.deepEqual(problems, []);
  });

  test("sends a user away, and fits a phone", async () => {
    const cid = await join("chat:phone", "Cid");
    await using({ ...PHONE, colorScheme: "dark" }, async (page) => {
      await enter(page, server);
      const answer = await page.evaluate(
        ([key]) => fetch("/api/v1/rooms/chat%3Aphone/members", { headers: { authorization: `Bearer ${key}` } }).then((it) => it.json()),
        [KEY],
      );
      await page.fill("#room-name", "chat:phone");
      await page.click("#find-room button");
      await until("the member", async () => /Cid/.test(await page.textContent("#members")));
      assert.equal(await page.textContent("#room-total"), "1 member");
      await page.fill("#user-name", answer.members[0].player_id);
      await page.click("#find-user button");
      await page.locator("#disconnect").waitFor();
      await page.screenshot({ path: `${artifacts}/admin-phone.png`, fullPage: true });
      // A phone shows a page that is too wide smaller, and then says that it is wider itself.
      const width = await page.evaluate(() => Math.max(document.documentElement.scrollWidth, innerWidth));
      assert.ok(width <= PHONE.viewport.width, `the page is ${width} wide`);
      await page.click("#disconnect");
      await page.click("#ask-yes");
      assert.equal((await cid.closed)[0], 4503);
      await until("nobody is left", async () => /has no session/.test(await page.textContent("#user-title")));
    });
  });

  test("shows what a key may not do, and drains the server", async () => {
    const weak = await startWithKey("read");
    const dora = await member(weak, "chat:1", "Dora");
    try {
      await using({}, async (page) => {
        await enter(page, weak);
        await page.fill("#room-name", "chat:1");
        await page.click("#find-room button");
        await until("the member", async () => /Dora/.test(await page.textContent("#members")));
        await page.click("#listen");
        await until("it says no", async () => /lacks the right "tail"/.test(await page.textContent("#problem")));
      });
    } finally {
      dora.end();
      await weak.stop();
    }
    const other = await startWithKey();
    const eli = await member(other, "chat:1", "Eli");
    try {
      await using({}, async (page) => {
        await enter(page, other);
        await page.getByRole("button", { name: "Drain" }).click();
        await page.click("#ask-yes");
        assert.equal((await eli.closed)[0], 4000);
        await until("it has ended", async () => /does not answer/.test(await page.textContent("#status")));
        assert.equal(await other.ended(), 0);
      });
    } finally {
      await other.stop();
    }
  });
});
