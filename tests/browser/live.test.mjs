// Live parts: looking at them keeps no session alive and writes no act.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Api } from "./api.mjs";
import { ADMIN_PASSWORD, Visitor, eventually, startBrowser } from "./visitor.mjs";

const url = process.env.LGW_SHORT_URL;
const PARTS = ["/live/now", "/live/queue", "/live/today", "/live/needs", "/live/record", "/live/record?after=1", "/live/me"];
const ROUNDS = 50;

describe("live parts", () => {
  let browser, admin, api;
  before(async () => {
    api = await Api.of(url);
    browser = await startBrowser();
    admin = await Visitor.of(browser, url, {});
    await admin.signIn("admin", ADMIN_PASSWORD);
  });
  after(() => browser?.close());

  // A page keeps it; where the machine is slow, a minute is short.
  const keepSession = async () => assert.equal((await admin.context.request.get("/me")).status(), 200);

  test("never write an act", async () => {
    const before = await api.acts();
    for (let round = 0; round < ROUNDS; round += 1) {
      await keepSession();
      for (const part of PARTS) {
        const answer = await admin.context.request.get(part);
        // Rows that came after a given one: without it, there is nothing new.
        assert.ok([200, 304].includes(answer.status()), `${part} answers ${answer.status()}`);
        assert.ok(answer.headers()["content-security-policy"], part);
      }
    }
    assert.deepEqual(await api.acts(), before);
  });

  test("are not sent again while they stay the same", async () => {
    await keepSession();
    // Between two requests something may change, as the free space does. Then the tag has changed, too.
    await eventually("nothing has changed", async () => {
      const { etag } = (await admin.context.request.get("/live/needs")).headers();
      const again = await admin.context.request.get("/live/needs", { headers: { "if-none-match": etag } });
      if (again.status() === 304) return true;
      assert.notEqual(again.headers().etag, etag);
      return false;
    });
  });

  test("keep no session alive, and the page says so when it has ended", async () => {
    await admin.open("/admin/queue");
    await admin.page.waitForRequest("**/live/queue");
    const left = Date.now() + 75_000;
    // The page asks by itself; this asks more often than it would.
    await eventually("signed out", async () => (await admin.context.request.get("/live/queue")).status() === 401, left);
    await admin.page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    await admin.says("You were signed out after 30 minutes.");
    await admin.page.getByRole("alert").getByRole("link", { name: "Sign in" }).click();
    await admin.page.waitForURL("**/sign-in?*");
    await admin.fill({ "E-mail address": "admin", Password: ADMIN_PASSWORD });
    await admin.press("Sign in");
    assert.equal(admin.path(), "/admin/queue");
    await admin.isSound();
  });
});
