// Walks through every page that links lead to, and says of each what is wrong with it.

const PAGES_MAX = 150;
// Of one page with different ids, so many are looked at, and of one page with different questions.
const OF_ONE_KIND_MAX = 2, QUESTIONS_MAX = 4;
// The description of the API is no page of the control plane.
const EXCEPT = ["/docs/"];

// Returns the pages that were seen, by kind, with what is wrong with each: { "/me/tokens/{id}": [faults] }. `inspect` opens a page.
export async function walk(visitor, starts, { inspect = (path) => openAndInspect(visitor, path) } = {}) {
  const waiting = [...starts], known = new Set(starts), counts = new Map(), found = {};
  for (let pages = 0; waiting.length && pages < PAGES_MAX;) {
    const path = waiting.shift(), kind = kindOf(path);
    if (EXCEPT.includes(kind) || !isWanted(kind, counts)) continue;
    const faults = (found[kind] ??= []);
    const answer = await visitor.context.request.fetch(path, { method: "HEAD", headers: { accept: "text/html" } });
    const { "content-type": type = "text/html", "content-disposition": isFile } = answer.headers();
    if (isFile || !type.startsWith("text/html")) {
      if (answer.status() >= 400) faults.push(`${path} answers ${answer.status()}`);
      continue;
    }
    pages += 1;
    faults.push(...await inspect(path));
    for (const link of await visitor.page.evaluate(() => [...document.querySelectorAll("a[href]")].map((link) => new URL(link.getAttribute("href"), location.href).href))) {
      const { origin, pathname, search } = new URL(link);
      const next = pathname + search;
      if (origin !== visitor.url) faults.push(`${path}: a link to ${link}`);
      else if (!known.has(next)) {
        known.add(next);
        waiting.push(next);
      }
    }
  }
  return found;
}

// Counts a page, unless enough of its kind were seen.
function isWanted(kind, counts) {
  const [path, asked] = kind.split("?");
  const places = asked ? [[kind, 1], [`${path}?`, QUESTIONS_MAX]] : [[kind, OF_ONE_KIND_MAX]];
  if (places.some(([place, most]) => (counts.get(place) ?? 0) >= most)) return false;
  for (const [place] of places) counts.set(place, (counts.get(place) ?? 0) + 1);
  return true;
}

async function openAndInspect(visitor, path) {
  const response = await visitor.open(path);
  const faults = await visitor.inspect();
  if (response.status() !== 200) faults.push(`answers ${response.status()}`);
  return faults.map((fault) => `${path}: ${fault}`);
}

// Returns what pages with other ids and other questions have in common.
export function kindOf(path) {
  const { pathname, searchParams } = new URL(path, "http://x");
  const words = pathname.split("/").map((word) => (/\d/.test(word) && word.length > 5 ? "{id}" : word));
  const asked = [...new Set(searchParams.keys())].sort();
  return words.join("/") + (asked.length ? `?${asked.join("&")}` : "");
}
