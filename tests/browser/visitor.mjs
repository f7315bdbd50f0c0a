// A person at a browser: finds things by their role and label, and is asked after each page whether it is sound.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

export { eventually } from "../sdk/eventually.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const GRAVE = ["serious", "critical"];
// A step that takes longer has failed. Passwords are hashed meanwhile, and others work on the same cores.
const STEP_MS_MAX = 15_000;

export const ADMIN_PASSWORD = "seven grey herons wade";
export const PASSWORD = "quiet lamps over water";
export const DESKTOP = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };

export function startBrowser(args = []) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", ...args],
  });
}

export class Visitor {
  // `variant`: { viewport, script, scheme }.
  static async of(browser, url, variant) {
    const { viewport = DESKTOP, script = true, scheme = "light" } = variant;
    const context = await browser.newContext({
      viewport, javaScriptEnabled: script, colorScheme: scheme, baseURL: url, acceptDownloads: true, locale: "en-GB",
    });
    context.setDefaultTimeout(STEP_MS_MAX);
    await context.addInitScript(() => {
      window.violations = [];
      document.addEventListener("securitypolicyviolation", (event) =>
        window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
    });
    return new Visitor(context, await context.newPage(), url, variant);
  }

  constructor(context, page, url, variant) {
    Object.assign(this, { context, page, url, variant, name: undefined, faults: [], seen: new Set(), moderate: new Set() });
    page.on("console", (message) => {
      // What the browser itself says of a page that answers 400, as a form with a mistake does, is no fault of the page.
      const isStatus = /Failed to load resource: the server responded with a status of (4\d\d|503)/.test(message.text());
      if (["error", "warning"].includes(message.type()) && !isStatus) this.fault(`console: ${message.text()}`);
    });
    page.on("pageerror", (error) => this.fault(`error in the script: ${error}`));
    page.on("dialog", (dialog) => {
      this.fault(`a dialog opened: ${dialog.message()}`);
      dialog.dismiss();
    });
    context.on("request", (request) => {
      if (new URL(request.url()).origin !== url) this.fault(`a request to ${request.url()}`);
    });
    context.on("response", (response) => {
      const isPage = response.request().resourceType() === "document" && response.headers()["content-type"]?.startsWith("text/html");
      if (isPage && !soundPolicy(response.headers()["content-security-policy"])) this.fault(`no sound CSP on ${response.url()}`);
    });
  }

  fault(text) {
    this.faults.push(`${text} (on ${this.page.url().replace(this.url, "")})`);
  }

  async open(path) {
    const response = await this.page.goto(path);
    return response;
  }

  // Looks at the page that is open, as someone who is meticulous would. Says what is wrong with it.
  async inspect() {
    const { page } = this;
    const at = page.url().replace(this.url, "");
    const wide = await page.evaluate(() => document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth);
    if (wide > 0) this.fault(`scrolls sideways by ${wide} px: ${await this.widest()}`);
    if (this.variant.script !== false) {
      for (const violation of await page.evaluate(() => window.violations.splice(0))) this.fault(`CSP: ${violation}`);
      for (const { impact, id, nodes } of await this.axe()) {
        const text = `axe ${impact}: ${id}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ")}`;
        if (GRAVE.includes(impact)) this.fault(text);
        else this.moderate.add(`${text} (on ${at})`);
      }
    }
    return this.faults.splice(0);
  }

  // Fails unless the page that is open is sound.
  async isSound() {
    none(await this.inspect());
  }

  async axe() {
    // By the debugger's way in, which the CSP of the page does not stop.
    await this.page.evaluate(AXE);
    const { violations } = await this.page.evaluate((tags) => axe.run(document, {
      runOnly: { type: "tag", values: tags }, resultTypes: ["violations"],
    }), TAGS);
    return violations;
  }

  widest() {
    return this.page.evaluate(() => {
      const width = document.documentElement.clientWidth;
      const wide = [...document.querySelectorAll("main *, .phone *")].filter((node) => node.getBoundingClientRect().right > width + 1);
      return wide.slice(0, 4).map((node) => node.outerHTML.slice(0, 100)).join(" | ");
    });
  }

  // --- what a person does ---

  field(label) {
    return this.page.getByLabel(label, { exact: true });
  }

  async fill(fields) {
    for (const [label, value] of Object.entries(fields)) await this.field(label).fill(value);
  }

  button(name, where = this.page) {
    return where.getByRole("button", { name, exact: typeof name === "string" });
  }

  async press(name, where) {
    await Promise.all([this.page.waitForEvent("load"), this.button(name, where).click()]);
  }

  link(name, where = this.page.getByRole("main")) {
    return where.getByRole("link", { name, exact: typeof name === "string" });
  }

  async follow(name, where) {
    await Promise.all([this.page.waitForEvent("load"), this.link(name, where).first().click()]);
  }

  // Sends a form that may ask for the password again first.
  async pressAndProve(name, password, where) {
    await this.press(name, where);
    const asked = this.page.getByLabel("Your password", { exact: true });
    if (this.page.url().includes("/sign-in") || !(await asked.count())) return;
    if (await this.button("Go on").count()) {
      await asked.fill(password);
      await this.press("Go on");
    }
  }

  async signIn(name, password) {
    await this.open("/sign-in");
    await this.fill({ "E-mail address": name, Password: password });
    await this.press("Sign in");
    this.name = name;
  }

  async says(text) {
    await this.page.getByText(text).first().waitFor();
  }

  async heading() {
    return (await this.page.getByRole("heading", { level: 1 }).innerText()).trim();
  }

  path() {
    return this.page.url().replace(this.url, "");
  }

  close() {
    return this.context.close();
  }
}

function soundPolicy(policy = "") {
  return policy.includes("default-src 'none'") && !policy.includes("unsafe-") && policy.includes("frame-ancestors 'none'");
}

// Fails if there are faults, and says so many of them.
export function none(faults, shown = 40) {
  if (!faults.length) return;
  const more = faults.length > shown ? `\n... and ${faults.length - shown} more` : "";
  throw new Error(`${faults.slice(0, shown).join("\n")}${more}`);
}
