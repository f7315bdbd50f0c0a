// The whole life of an account, as the admin and the person live it in their browsers.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Api } from "./api.mjs";
import { ADMIN_PASSWORD, PASSWORD, Visitor, startBrowser } from "./visitor.mjs";

const ANN = "ann@example.org";

export function life(name, url, variant) {
  const script = variant.script !== false;

  describe(`the life of an account, ${name}`, () => {
    let browser, admin, ann;
    before(async () => {
      browser = await startBrowser();
      admin = await Visitor.of(browser, url, variant);
      ann = await Visitor.of(browser, url, variant);
    });
    after(() => browser?.close());

    test("the first admin chooses a password before anything else", async () => {
      await admin.open("/");
      assert.equal(await admin.heading(), "Sign in");
      await admin.isSound();

      await admin.signIn("admin", "admin123");
      assert.equal(await admin.heading(), "Choose the first password");
      await admin.isSound();
      await admin.open("/admin");
      assert.equal(admin.path(), "/password?must=1");
      await admin.fill({ "New password": ADMIN_PASSWORD, "The same once more": ADMIN_PASSWORD });
      await admin.press("Save the new password");
      assert.equal(admin.path(), "/admin");
      await admin.isSound();
    });

    test("a person asks for an account", async () => {
      await ann.open("/sign-in");
      await ann.follow("Ask for an account");
      await ann.says("with your name, the time and your address");
      await ann.isSound();
      await ann.fill({ "E-mail address": ANN, Password: PASSWORD, "The same once more": "something else altogether" });
      await ann.press("Ask for an account");
      assert.match(await ann.page.title(), /^Problem: /);
      await ann.isSound();
      assert.equal(await ann.field("E-mail address").inputValue(), ANN);
      assert.equal(await ann.field("Password").inputValue(), "");
      await ann.fill({ Password: PASSWORD, "The same once more": PASSWORD });
      await ann.press("Ask for an account");
      assert.equal(await ann.heading(), "Sign in");
      await ann.isSound();
    });

    test("the waiting page opens by itself when an admin has let them in", async () => {
      await ann.signIn(ANN, PASSWORD);
      assert.equal(await ann.heading(), `Hello, ${ANN}`);
      await ann.isSound();

      const api = await Api.of(url);
      const { id } = await api.user(ANN);
      await api.expect(200, "POST", `/api/v1/users/${id}/approve`);

      if (script) await ann.page.waitForURL("**/me");
      else await ann.follow("Look again");
      assert.equal(ann.path(), "/me");
      await ann.isSound();
    });
  });
}
