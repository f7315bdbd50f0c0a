// What others wrote stays text, on every page that shows it: T11 of the threats.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Api, openai } from "./api.mjs";
import { HIDDEN, OWN_SET, PAYLOADS, strangers } from "./payloads.mjs";
import { ADMIN_PASSWORD, PASSWORD, Visitor, none, startBrowser } from "./visitor.mjs";
import { kindOf, walk } from "./walk.mjs";

const url = process.env.LGW_TOLD_URL;
const MALLORY = "mallory@example.org";
// So many requests are sent at a time.
const AT_ONCE = 4;
// An account may make so many access tokens in a minute.
const TOKENS = 28;

describe("200 texts that look like markup", () => {
  let browser, admin, mallory, api, taken;
  before(async () => {
    api = await Api.of(url);
    taken = await spread(api);
    browser = await startBrowser();
    admin = await Visitor.of(browser, url, {});
    await admin.signIn("admin", ADMIN_PASSWORD);
    mallory = await Visitor.of(browser, url, {});
    await mallory.signIn(MALLORY, PASSWORD);
  });
  after(() => browser?.close());

  test("there are 200 of them, each another one", () => {
    assert.equal(new Set(PAYLOADS).size, 200);
  });

  test("reach the record as prompt and answer, and other places as far as these take them", async () => {
    assert.equal(taken.chats, 200);
    assert.ok(taken.tokens >= 20, `${taken.tokens} names of access tokens`);
    assert.ok(taken.notes >= 1);
    assert.equal(taken.browsers, 10);
    assert.ok(taken.names >= 10, `${taken.names} names of people`);
  });

  test("stay text on each page that an admin can reach", () => stayText(() => admin, ["/admin"]));

  test("stay text on each page that a person can reach", () => stayText(() => mallory, ["/me"]));

  test("stay text in the story of each request", async () => {
    const rows = (await api.record("&kind=request")).filter((row) => row.request_id);
    assert.ok(rows.length >= 200, `${rows.length} rows`);
    const faults = [];
    let shown = 0;
    for (const row of rows) {
      faults.push(...await look(admin, `/admin/record/${row.request_id}`));
      shown += await admin.page.evaluate(() => document.body.innerText.includes("__pwned"));
    }
    none(faults);
    // Not all have the word that this looks for.
    assert.ok(shown >= 120, `only ${shown} stories show a text`);
  });

  async function stayText(visitor, starts) {
    const faults = [];
    const found = await walk(visitor(), starts, { inspect: (path) => look(visitor(), path) });
    for (const [kind, of] of Object.entries(found)) faults.push(...of.map((fault) => `${kind}: ${fault}`));
    none(faults);
  }
});

// Opens a page and says what in it came out of a text.
async function look(visitor, path) {
  const { page, url } = visitor;
  const response = await page.goto(path);
  const html = await response.text();
  const faults = (await page.evaluate(strangers, OWN_SET)).map((fault) => `${path}: ${fault}`);
  if (response.status() !== 200) faults.push(`${path} answers ${response.status()}`);
  if (await page.evaluate(() => window.__pwned !== undefined)) faults.push(`${path}: something ran`);
  if (HIDDEN.test(html)) faults.push(`${path}: a character that can't be seen: ${JSON.stringify(html.match(HIDDEN)[0])}`);
  for (const text of PAYLOADS) {
    if (/[<>"]/.test(text) && html.includes(text)) faults.push(`${path}: as it was sent: ${text}`);
  }
  faults.push(...await page.evaluate(() => window.violations.splice(0)), ...visitor.faults.splice(0));
  return faults.filter((fault) => !fault.includes(`${url}/favicon.ico`));
}

// Puts the texts wherever people and model servers can put one. Returns how many were taken.
async function spread(api) {
  const taken = { chats: 0, tokens: 0, notes: 0, names: 0, browsers: 0 };
  const tell = (told) => fetch(`${process.env.FAKE_URL}/tell`, { method: "POST", body: JSON.stringify(told) });
  await tell({ models: ["told:latest", ...PAYLOADS.slice(0, 50)] });
  const { id } = await api.approved(MALLORY);
  const token = await api.tokenOf(MALLORY);
  const secrets = [];
  const plain = PAYLOADS.filter((text) => !HIDDEN.test(text) && text.length <= 100);
  for (const name of plain.slice(0, TOKENS)) {
    const made = await api.send("POST", "/api/v1/tokens", { name }, token);
    if (made.status !== 201) continue;
    taken.tokens += 1;
    secrets.push(made.json.token);
  }
  for (const note of PAYLOADS.slice(0, 5)) taken.notes += (await api.send("PATCH", `/api/v1/users/${id}`, { note })).status === 200;
  // Of an address, few of such letters are left.
  for (const [n, name] of plain.slice(0, TOKENS).entries()) {
    const email = `${n}${name.replaceAll(/[^\x21-\x7e]|[<>"(),:;@[\]\\]/g, "").slice(0, 50)}@example.org`;
    taken.names += (await api.send("POST", "/api/v1/register", { email, password: PASSWORD }, "")).status === 202;
  }
  // The name that a browser gives itself stands among the open sessions.
  for (const text of plain.slice(0, 10)) {
    const form = new URLSearchParams({ username: MALLORY, password: PASSWORD });
    const headers = { origin: url, "user-agent": text.replaceAll(/[^\x20-\x7e]/g, "") };
    const answer = await fetch(`${url}/sign-in`, { method: "POST", headers, body: form, redirect: "manual" });
    taken.browsers += answer.status === 303;
  }
  for (let n = 0; n < PAYLOADS.length; n += AT_ONCE) {
    await tell({ answer: PAYLOADS.slice(n, n + AT_ONCE).join("\n"), thinking: PAYLOADS[n] });
    const sent = PAYLOADS.slice(n, n + AT_ONCE).map((text, place) => chat(text, secrets[(n + place) % secrets.length]));
    taken.chats += (await Promise.all(sent)).filter(Boolean).length;
  }
  return taken;
}

async function chat(text, secret) {
  const body = { model: "told:latest", messages: [{ role: "system", content: text }, { role: "user", content: text, name: "x" }], user: text };
  const headers = { "content-type": "application/json", authorization: `Bearer ${secret}`, "user-agent": text.replaceAll(/[^\x20-\x7e]/g, "") };
  const answer = await fetch(`${url}/v1/chat/completions`, { method: "POST", headers, body: JSON.stringify(body) });
  assert.equal(answer.status, 200, await answer.clone().text());
  return true;
}
