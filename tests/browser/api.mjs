// The API, for what has to stand before a browser looks at it, and for what has to hold afterwards.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { ADMIN_PASSWORD, PASSWORD } from "./visitor.mjs";

// The client that `tests/sdk` installs and tests.
const { OpenAI } = createRequire(new URL("../sdk/package.json", import.meta.url))("openai");

// A client as people use it, with what it was given on a page.
export function openai(url, secret) {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: secret, maxRetries: 0, timeout: 120_000 });
}

// An admin at the API. The first password is changed if nobody did so before.
export class Api {
  static async of(url) {
    const api = new Api();
    api.url = url;
    const passwords = { username: "admin", current_password: "admin123", new_password: ADMIN_PASSWORD };
    await api.send("POST", "/api/v1/password", passwords);
    api.token = await api.tokenOf("admin", ADMIN_PASSWORD);
    return api;
  }

  async send(method, path, body, token = this.token) {
    const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
    const answer = await fetch(this.url + path, { method, headers, body: body && JSON.stringify(body) });
    const text = await answer.text();
    return { status: answer.status, json: text.startsWith("{") || text.startsWith("[") ? JSON.parse(text) : undefined, text };
  }

  async expect(status, method, path, body, token) {
    const answer = await this.send(method, path, body, token);
    assert.equal(answer.status, status, `${method} ${path}: ${answer.text}`);
    return answer.json;
  }

  async tokenOf(username, password = PASSWORD) {
    return (await this.expect(200, "POST", "/auth/token", { username, password })).access_token;
  }

  async user(name) {
    return (await this.expect(200, "GET", `/api/v1/users?search=${encodeURIComponent(name)}`)).items[0];
  }

  async register(email) {
    await this.expect(202, "POST", "/api/v1/register", { email, password: PASSWORD });
    return this.user(email);
  }

  async approved(email) {
    const { id } = await this.register(email);
    return this.expect(200, "POST", `/api/v1/users/${id}/approve`);
  }

  // The newest rows of the record, as `what` filters them.
  async record(what = "") {
    return (await this.expect(200, "GET", `/api/v1/audit?limit=500${what}`)).items;
  }

  async acts() {
    return (await this.record("&kind=act")).map((row) => row.act);
  }
}
