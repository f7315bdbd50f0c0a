// One person at a browser: signs in to Open WebUI, types a question, and watches the answer. Prints what was seen, as JSON.
//
// The argument is JSON: { url, email, password, text, stop, title }. With `stop` the answer is stopped when some of it is there;
// with `title` the chat's title is waited for.
import { createRequire } from "node:module";

// The browser's driver is the one of the pages' own tests.
const { chromium } = createRequire(new URL("../browser/package.json", import.meta.url))("playwright-core");

const STEP_MS_MAX = 90_000;
// Characters of an answer that are there when it is stopped.
const STOPPED_AT = 40;

const { url, email, password, text, stop, title } = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});
try {
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: "en-GB" })).newPage();
  page.setDefaultTimeout(STEP_MS_MAX);

  await page.goto(`${url}/auth`);
  await page.getByRole("textbox", { name: "Email" }).fill(email);
  await page.getByRole("textbox", { name: "Password" }).fill(password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.locator("#chat-input").click();
  await page.keyboard.type(text);
  await page.evaluate(keepTextsSeen);
  await page.keyboard.press("Enter");

  const answer = page.locator(".chat-assistant").last();
  const stopButton = page.getByRole("button", { name: "Stop", exact: true });
  if (stop) {
    await page.waitForFunction((length) => window.textsSeen.at(-1)?.length > length, STOPPED_AT);
    await stopButton.click();
  }
  await page.waitForFunction(() => window.textsSeen.length > 0);
  await stopButton.waitFor({ state: "hidden" });
  if (title) await page.locator("#sidebar-chat-item", { hasText: title }).first().waitFor({ state: "attached" });
  console.log(JSON.stringify({ seen: await page.evaluate(() => window.textsSeen), answer: await answer.innerText(), title: await page.title() }));
} finally {
  await browser.close();
}

// Runs in the page: keeps each text of the answer in the order in which it was shown.
function keepTextsSeen() {
  window.textsSeen = [];
  new MutationObserver(() => {
    const shown = [...document.querySelectorAll(".chat-assistant")].at(-1)?.innerText.trim();
    if (shown && shown !== window.textsSeen.at(-1)) window.textsSeen.push(shown);
  }).observe(document.body, { childList: true, subtree: true, characterData: true });
}
