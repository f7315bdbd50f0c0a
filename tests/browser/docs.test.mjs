// The pages under `/docs/`, as a newcomer uses them: sign in, and chat with what is filled in.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Api } from "./api.mjs";
import { DESKTOP, PASSWORD, startBrowser } from "./visitor.mjs";

const URL = process.env.LGW_DOCS_URL;
const USER = "newcomer@example.org";
// A model on a busy machine needs its time.
const ANSWER_MS_MAX = 120_000;

let browser, page, faults = [];

before(async () => {
  await (await Api.of(URL)).approved(USER);
  browser = await startBrowser();
  const context = await browser.newContext({ viewport: DESKTOP, baseURL: URL });
  context.setDefaultTimeout(30_000);
  page = await context.newPage();
  page.on("pageerror", (error) => faults.push(`error in the script: ${error}`));
  context.on("request", (request) => {
    if (!request.url().startsWith(URL) && !request.url().startsWith("data:")) faults.push(`a request to ${request.url()}`);
  });
  await page.goto("/docs/");
  await page.locator(".opblock-tag-section").first().waitFor();
});

after(() => browser?.close());

test("the groups come in the order in which they are needed, each with its description, and the schemas are folded", async () => {
  const groups = await page.locator(".opblock-tag").evaluateAll((tags) => tags.map((tag) => tag.dataset.tag));
  const described = await page.locator(".opblock-tag small").allInnerTexts();

  assert.deepEqual(groups, ["chat", "ollama", "models", "account", "tokens", "queue", "users", "record", "usage", "settings", "notices", "host"]);
  assert.ok(described.length === groups.length && described.every((text) => text.length > 10), described.join(" | "));
  assert.equal(await page.locator(".model-container").count(), 0);
  await shot("page");
});

test("a person authorizes with name and password", async () => {
  await page.locator(".btn.authorize").first().click();
  await page.locator("#oauth_username").fill(USER);
  await page.locator("#oauth_password").fill(PASSWORD);
  await shot("authorize");
  await page.locator(".auth-container", { has: page.locator("#oauth_username") }).locator("button.authorize").click();
  await page.locator("button", { hasText: "Logout" }).waitFor();
  await page.locator(".btn-done").first().click();
});

for (const [operation, text] of [
  ["create_chat_completion", (answer) => answer.choices[0].message.content],
  ["chat", (answer) => answer.message.content],
  ["create_completion", (answer) => answer.choices[0].text],
]) {
  test(`the body that is filled in is answered by ${operation}`, async () => {
    const block = page.locator(`#operations-chat-${operation}`);
    await block.locator(".opblock-summary-control").click();
    await block.locator(".execute").click();
    const live = block.locator(".live-responses-table .response").first();
    await live.waitFor({ timeout: ANSWER_MS_MAX });

    await shot(operation);
    assert.match(await live.locator(".response-col_status").innerText(), /^200/);
    const answer = JSON.parse(await live.locator(".highlight-code pre, pre.microlight").first().innerText());
    assert.ok(text(answer).length > 0, JSON.stringify(answer));
    await block.locator(".opblock-summary-control").click();
  });
}

test("nothing failed on the way, and nothing was asked of another host", () => {
  assert.deepEqual(faults, []);
});

// For people who want to look: `SHOTS=folder`.
async function shot(name) {
  if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/docs-${name}.png`, fullPage: true });
}
