// Takes the pictures of the main pages, in both themes and both widths, into docs/screens/. Arguments: names of some of them.
import { spawnSync } from "node:child_process";
import { mkdirSync, statSync } from "node:fs";
import { DESKTOP, PASSWORD, PHONE, Visitor, startBrowser } from "./visitor.mjs";

// The name under which the browser asks, as people would; it is told where that is.
const { LGW_URL, LGW_IDS, LGW_SHOWN_AS } = process.env;
const url = `http://${LGW_SHOWN_AS}`;
const ids = JSON.parse(LGW_IDS);
const FOLDER = "docs/screens";
const BYTES_MAX = 150_000;
// Of a longer page, the rest is left out.
const HEIGHT_MAX = { 1280: 1500, 390: 1400 };

const person = `/admin/users/${ids.jonas}`;
const PAGES = {
  "sign-in": ["nobody", "/sign-in"],
  overview: ["maria", "/admin"],
  queue: ["maria", "/admin/queue"],
  people: ["maria", "/admin/users"],
  person: ["maria", person],
  record: ["maria", "/admin/record"],
  search: ["maria", "/admin/record?text=deploy"],
  story: ["maria", story],
  usage: ["maria", "/admin/usage"],
  settings: ["maria", "/admin/settings/limits"],
  delete: ["maria", `/admin/users/${ids.carl}/delete`],
  me: ["jonas", "/me"],
};

const wanted = process.argv.slice(2);
mkdirSync(FOLDER, { recursive: true });
const browser = await startBrowser([`--host-resolver-rules=MAP ${LGW_SHOWN_AS} ${new URL(LGW_URL).host}`]);
let tooLarge = 0;
for (const scheme of ["light", "dark"]) {
  for (const viewport of [DESKTOP, PHONE]) {
    const visitors = {};
    for (const [name, [who, path]] of Object.entries(PAGES)) {
      if (wanted.length && !wanted.includes(name)) continue;
      visitors[who] ??= await enter(who, { viewport, scheme });
      const file = `${FOLDER}/${name}-${viewport.width}-${scheme}.png`;
      await picture(visitors[who], typeof path === "string" ? path : await path(visitors[who]), file);
      const { size } = statSync(file);
      console.log(`${file} ${Math.ceil(size / 1000)} kB${size > BYTES_MAX ? ", TOO LARGE" : ""}`);
      tooLarge += size > BYTES_MAX;
    }
    for (const visitor of Object.values(visitors)) await visitor.close();
  }
}
await browser.close();
process.exit(tooLarge ? 1 : 0);

async function enter(who, variant) {
  const visitor = await Visitor.of(browser, url, variant);
  if (who !== "nobody") await visitor.signIn(`${who}@example.org`, PASSWORD);
  return visitor;
}

// The newest request of wei's that has ended.
async function story({ page, context }) {
  await page.goto(`/admin/record?user_id=${ids.wei}&outcome=completed`);
  const links = await page.evaluate(() => [...document.querySelectorAll("main a[href^='/admin/record/']")].map((link) => link.getAttribute("href")));
  return links.find((link) => /\/admin\/record\/[0-9a-f-]{36}$/.test(link)) ?? "/admin/record";
}

async function picture({ page }, path, file) {
  const { width, height } = page.viewportSize();
  await page.goto(path, { waitUntil: "networkidle" });
  const long = await page.evaluate(() => document.documentElement.scrollHeight);
  // A window as high as the page: bars at the bottom then are at the bottom.
  await page.setViewportSize({ width, height: Math.min(Math.max(long, height), HEIGHT_MAX[width]) });
  await page.screenshot({ path: file, animations: "disabled" });
  await page.setViewportSize({ width, height });
  // Few colours: 256 of them look the same, in a third of the bytes.
  const made = spawnSync("pngquant", ["--force", "--speed", "1", "--strip", "--output", file, "256", file]);
  if (made.status !== 0) throw new Error(`pngquant: ${made.error ?? made.stderr}`);
}
