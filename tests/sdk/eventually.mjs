import assert from "node:assert/strict";

// Waits until `check` gives something, usually at most 15 seconds.
export async function eventually(what, check, end = Date.now() + 15_000) {
  for (;;) {
    const found = await check();
    if (found) return found;
    assert.ok(Date.now() < end, `not in time: ${what}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}
