// The whole life of an account, as the admin and the person live it in their browsers.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { Api, openai } from "./api.mjs";
import { ADMIN_PASSWORD, PASSWORD, Visitor, eventually, none, startBrowser } from "./visitor.mjs";
import { walk } from "./walk.mjs";

const ANN = "ann@example.org";
const MODEL = process.env.LGW_MODEL;
const WORD = "zeppelinpost";
// Pages of the site map that a walk along the links must have come by.
const OF_ADMINS = ["/admin", "/admin/queue", "/admin/users", "/admin/users/{id}", "/admin/users/{id}/limits", "/admin/users/{id}/tokens",
  "/admin/users/{id}/history", "/admin/tokens", "/admin/record", "/admin/record/{id}", "/admin/usage", "/admin/models",
  "/admin/settings/limits", "/admin/settings/queue", "/admin/settings/runaways", "/admin/settings/sizes", "/admin/settings/record", "/admin/settings/file",
  "/admin/settings/check"];
const OF_EVERYBODY = ["/me", "/me/usage", "/me/record", "/me/record/{id}", "/me/export", "/me/setup", "/me/account", "/me/tokens",
  "/me/tokens/new"];

export function life(name, url, variant) {
  const script = variant.script !== false;

  describe(`the life of an account, ${name}`, () => {
    let browser, admin, ann, api, secret, id, file;
    before(async () => {
      browser = await startBrowser();
      admin = await Visitor.of(browser, url, variant);
      ann = await Visitor.of(browser, url, variant);
    });
    after(() => browser?.close());

    const ask = (text) => openai(url, secret).chat.completions.create({
      model: MODEL, max_tokens: 16, temperature: 0, messages: [{ role: "user", content: text }],
    });

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
      api = await Api.of(url);
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

      await admin.open("/admin/users");
      await admin.says(ANN);
      await admin.isSound();
      await admin.pressAndProve("Approve", ADMIN_PASSWORD);
      await admin.says(`${ANN} may sign in now.`);
      await admin.isSound();
      ({ id } = await api.user(ANN));

      if (script) await ann.page.waitForURL("**/me");
      else await ann.follow("Look again");
      assert.equal(ann.path(), "/me");
      await ann.isSound();
    });

    test("an access token made on a page opens the models to a real client", async () => {
      await ann.open("/me/tokens");
      await ann.says("No access tokens yet.");
      await ann.isSound();
      await ann.follow("New access token");
      await ann.isSound();
      await ann.field("Name").fill("laptop");
      await ann.pressAndProve("Make the access token", PASSWORD);
      secret = (await ann.page.getByRole("dialog").locator("code").first().innerText()).trim();
      await ann.isSound();

      const answer = await ask(`Say one word about a ${WORD}.`);
      assert.ok(answer.usage.completion_tokens > 0);

      const created = ann.path();
      await ann.open(created);
      await ann.says("It was shown once.");
      assert.ok(!(await ann.page.content()).includes(secret));
      await ann.isSound();
    });

    test("a limit edited on a page is felt on the next request", async () => {
      await admin.open(`/admin/users/${id}`);
      await admin.isSound();
      await admin.follow("Limits");
      await admin.isSound();
      await ask("Within the minute.");
      await admin.field("Requests a minute").fill("1");
      await admin.pressAndProve(/^Save/, ADMIN_PASSWORD);
      await admin.page.getByRole("status").getByText(/Saved/).first().waitFor();

      await assert.rejects(ask("Once more."), { status: 429 });
      await admin.isSound();

      await admin.open(`/admin/users/${id}/limits`);
      assert.equal(await admin.field("Requests a minute").inputValue(), "1");
      await admin.field("Requests a minute").fill("");
      await admin.pressAndProve(/^Save/, ADMIN_PASSWORD);
      await ask("And again.");
    });

    test("a setting edited on a page is felt on the next request", async () => {
      await admin.open("/admin/settings/limits");
      const field = admin.field("Requests a minute");
      const before = await field.inputValue();
      await field.fill("many");
      await admin.press("Save", admin.page.locator(".savebar"));
      assert.match(await admin.page.title(), /^Problem: /);
      await admin.isSound();
      assert.equal(await field.inputValue(), "many");
      await ask("Within the minute.");
      await field.fill("1");
      await admin.press("Save", admin.page.locator(".savebar"));
      await admin.says("Saved. Felt on the next request.");
      await assert.rejects(ask("Too often."), { status: 429 });
      await admin.isSound();
      await admin.field("Requests a minute").fill(before);
      await admin.press("Save", admin.page.locator(".savebar"));
      await admin.says("Saved. Felt on the next request.");
    });

    test("a record is searched and opened, and both looks are on the record", async () => {
      await eventually("the words are indexed", async () => (await api.record(`&text=${WORD}`)).length > 0);
      const looks = async () => (await api.record(`&kind=act&subject_id=${id}`)).filter((row) => row.act === "contents_viewed").length;
      const searches = async () => (await api.record("&kind=act")).filter((row) => row.act === "contents_searched").length;
      const before = { looks: await looks(), searches: await searches() };

      await admin.open("/admin/record");
      await admin.isSound();
      await admin.page.getByRole("searchbox").fill(WORD);
      await Promise.all([admin.page.waitForEvent("load"), admin.page.getByRole("searchbox").press("Enter")]);
      await admin.says("This search is on the record.");
      await admin.isSound();
      assert.equal(await searches(), before.searches + 1);
      await admin.follow(ANN, admin.page.getByRole("table", { name: "Rows of the record" }));
      await admin.says(`Say one word about a ${WORD}.`);
      await admin.says("That you opened it is on the record.");
      await admin.isSound();
      assert.equal(await looks(), before.looks + 1);
    });

    test("each page that links lead to is sound, for an admin", async () => {
      const found = await walk(admin, ["/admin"]);
      none([...Object.values(found).flat(), ...missing(found, OF_ADMINS)]);
    });

    test("each page that links lead to is sound, for a person", async () => {
      const found = await walk(ann, ["/me"]);
      none([...Object.values(found).flat(), ...missing(found, OF_EVERYBODY)]);
      assert.deepEqual(Object.keys(found).filter((kind) => kind.startsWith("/admin")), []);
    });

    test("a person signs out everywhere else", async () => {
      const elsewhere = await Visitor.of(browser, url, variant);
      await elsewhere.signIn(ANN, PASSWORD);
      await elsewhere.open("/me");
      await ann.open("/me/account");
      await ann.isSound();
      await ann.press("Sign out everywhere else");
      await ann.isSound();
      await elsewhere.open("/me");
      assert.match(elsewhere.path(), /^\/sign-in/);
      await ann.open("/me");
      assert.equal(ann.path(), "/me");
      await elsewhere.close();
    });

    test("an export has its receipt in the last line", async () => {
      await admin.open(`/admin/users/${id}`);
      await admin.follow("Disable");
      await admin.isSound();
      await admin.press(/^Disable/);
      await admin.isSound();
      await ann.open("/me");
      assert.match(ann.path(), /^\/sign-in/);

      await admin.open(`/admin/users/${id}/delete`);
      await admin.isSound();
      await ownPassword(admin);
      file = await download(admin, () => admin.button("Export").first().click());
      assert.match(last(file), /receipt/);
      assert.ok(readFileSync(file, "utf8").includes(WORD));
    });

    test("a deletion is refused without the receipt, and then done", async () => {
      await admin.open(`/admin/users/${id}/delete`);
      await admin.isSound();
      await admin.field("Receipt").fill("not-a-receipt");
      await ownPassword(admin);
      await admin.press(`Delete ${ANN} for good`);
      await admin.page.getByRole("alert").first().waitFor();
      await admin.isSound();
      assert.equal((await api.user(ANN))?.status, "disabled");

      // Whoever has no receipt exports once more.
      await ownPassword(admin);
      file = await download(admin, () => admin.button("Export").first().click());
      await admin.open(`/admin/users/${id}/delete`);
      await admin.isSound();
      if (script) await admin.page.locator("input[type=file]").setInputFiles(file);
      else await admin.field("Receipt").fill(receipt(file));
      await eventually("the receipt is read", async () => (await admin.field("Receipt").inputValue()) === receipt(file));
      await ownPassword(admin);
      await admin.press(`Delete ${ANN} for good`);
      await admin.says(`${ANN} is gone.`);
      await admin.isSound();
      await eventually("erased", async () => (await api.acts()).includes("contents_erased"));
      const found = await api.record(`&text=${WORD}`);
      assert.deepEqual(found, []);
    });

    test("an admin signs out", async () => {
      await admin.open("/admin");
      if (variant.viewport.width < 761) await admin.page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: "Menu" }).click();
      await admin.press("Sign out");
      await admin.isSound();
      await admin.open("/admin");
      assert.match(admin.path(), /^\/sign-in/);
    });

    test("nothing that axe calls moderate or minor", () => none([...new Set([...admin.moderate, ...ann.moderate])]));
  });
}

function missing(found, pages) {
  return pages.filter((page) => !Object.keys(found).some((kind) => kind.split("?")[0] === page)).map((page) => `no link leads to ${page}`);
}

// Gives the password again, where the form asks for it.
async function ownPassword({ page }) {
  const field = page.getByLabel(/^Your own password/).first();
  if (await field.count()) await field.fill(ADMIN_PASSWORD);
}

// Presses what makes a file, and returns where the browser put it.
async function download({ page }, press) {
  const [file] = await Promise.all([page.waitForEvent("download"), press()]);
  return file.path();
}

function last(file) {
  return readFileSync(file, "utf8").trimEnd().split("\n").at(-1);
}

function receipt(file) {
  return last(file).match(/receipt\W{1,5}([\w-]{8,})/)[1];
}
