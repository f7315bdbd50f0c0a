// Live parts, copying and keys. Every page works without this script.
(() => {
const body = document.body, sec = 1000;
const all = (what, where = document) => [...where.querySelectorAll(what)];
const $ = (what, where) => all(what, where)[0];
const byId = id => document.getElementById(id);
const on = (kind, act) => document.addEventListener(kind, act);
const make = (home, tag, kind, text = "") => home.appendChild(Object.assign(document.createElement(tag), { className: kind, textContent: text }));
const top = () => $("dialog:modal") || body;
const clock = () => new Date().toLocaleTimeString("en-GB");
const isLocal = path => /^\/(?![\/\\])/.test(path);
const words = (node, text) => node.textContent === text || (node.textContent = text);
const say = make(body, "div", "hidden");
say.role = "status";

// Patching keeps nodes, by their ids. Open folds and `data-keep` are the reader's.
let held;
function morph(old, fresh) {
	if (old.nodeType !== 1) return words(old, fresh.data);
	if (old.hasAttribute("data-keep")) return;
	const ours = ({ name }) => name !== "open" || old.localName !== "details";
	for (const at of fresh.attributes) if (ours(at) && old.getAttribute(at.name) !== at.value) old.setAttribute(at.name, at.value);
	for (const at of [...old.attributes]) if (ours(at) && !fresh.hasAttribute(at.name)) old.removeAttribute(at.name);
	const kids = [...old.children].filter(kid => kid.id);
	const like = node => kids.find(kid => kid.id === node.id);
	// A row under the pointer or with focus stays where it is until that ends.
	const order = node => all(":scope > *", node).map(kid => kid.id).join();
	if (order(old) !== order(fresh) && kids.some(kid => kid.matches(":hover, :focus-within"))) {
		held = true;
		for (const node of fresh.children) if (like(node)) morph(like(node), node);
		return;
	}
	let at = old.firstChild;
	for (const node of [...fresh.childNodes]) {
		const match = node.id ? like(node) : at && !at.id && at.nodeName === node.nodeName && at;
		if (at && match === at) at = at.nextSibling;
		else old.insertBefore(match || node, at);
		if (match) morph(match, node);
		else if (node.id) node.classList.add("new");
	}
	while (at) {
		old = at;
		at = at.nextSibling;
		old.remove();
	}
}

const parts = all("[data-live]").map(node => ({ node, start: node.dataset.every * sec || 30 * sec }));
let paused = sessionStorage.paused, isOut, lost, skew = 0, saidAt = 0;
const isIdle = () => paused || isOut || document.hidden;
const tell = text => all("[data-live-text]").forEach(node => {
	words(node, text);
	node.closest(".live").classList.toggle("off", !text.startsWith("Live"));
});
function show(part, html) {
	const page = new DOMParser().parseFromString(html, "text/html"), go = $("[data-go]", page)?.dataset.go;
	if (go && isLocal(go)) return location.replace(go);
	const focus = document.activeElement;
	held = false;
	for (const fresh of [...page.body.children]) {
		const old = fresh.id && byId(fresh.id);
		if (old) morph(old, fresh);
	}
	if (focus.isConnected && document.activeElement !== focus) focus.focus({ preventScroll: true });
	part.late = held && html;
	const { title, status } = part.node.dataset;
	if (title) document.title = title;
	if (status && Date.now() - saidAt > 30 * sec) {
		words(say, status);
		saidAt = Date.now();
	}
	ready();
}
async function look(part) {
	clearTimeout(part.timer);
	if (isIdle() || part.busy) return;
	part.busy = true;
	try {
		const answer = await fetch(part.node.dataset.live, { cache: "no-store", headers: part.tag ? { "If-None-Match": part.tag } : {} });
		if (answer.status === 401) return signedOut();
		const ahead = Date.parse(answer.headers.get("date")) - Date.now();
		if (Math.abs(ahead) > 2 * sec) skew = ahead;
		if (answer.status === 304) part.wait = Math.min(part.wait * 1.5, part.start < 15 * sec ? 15 * sec : 30 * sec);
		else if (answer.ok) {
			part.tag = answer.headers.get("etag");
			part.wait = part.start;
			show(part, await answer.text());
		} else throw 0;
		lost = "";
		tell("Live · " + clock());
	} catch {
		lost ||= clock();
		tell(`No answer since ${lost}. Trying again.`);
		part.wait = Math.min(part.wait * 2, 60 * sec);
	} finally {
		part.busy = false;
	}
	plan(part);
}
function plan(part) {
	part.wait ||= part.start;
	part.timer = setTimeout(look, part.wait * (.9 + Math.random() / 5), part);
}
function signedOut() {
	if (isOut) return;
	isOut = true;
	all("[data-private]").forEach(node => node.replaceChildren());
	const bar = make(top(), "div", "bar-out", "You were signed out after 30 minutes. ");
	bar.role = "alert";
	make(bar, "a", "", "Sign in").href = "/sign-in?next=" + encodeURIComponent(location.pathname + location.search);
	tell("Signed out");
}
function pause(isOn) {
	sessionStorage.paused = isOn ? 1 : "";
	paused = isOn;
	all("[data-pause]").forEach(node => node.ariaPressed = isOn);
	isOn ? tell("Paused") : parts.forEach(look);
}
on("visibilitychange", () => parts.forEach(look));
for (const kind of ["pointerout", "focusout"]) on(kind, () => setTimeout(() => parts.forEach(part => part.late && show(part, part.late)), 50));

// Seconds count here, so that a live part stays the same.
const pair = (s, size, big, small) => `${Math.floor(s / size)} ${big} ${String(Math.floor(s % size * 60 / size)).padStart(2, 0)} ${small}`;
const length = s => s < 60 ? Math.floor(s) + " s" : s < 3600 ? pair(s, 60, "min", "s") : pair(s, 3600, "h", "min");
setInterval(() => isIdle() || all("[data-since]").forEach(node =>
	words(node, length(Math.max(0, Date.now() + skew - node.dataset.since) / sec))), sec);

// Not `navigator.clipboard`: it does not exist on plain HTTP.
function copy(button) {
	const from = byId(button.dataset.copy), area = make(top(), "textarea", "hidden", from.value ?? from.textContent);
	area.select();
	const toast = make(top(), "div", "toast", document.execCommand("copy") ? "Copied" : "Select and copy it");
	area.remove();
	button.focus();
	toast.role = "status";
	setTimeout(() => toast.remove(), 2 * sec);
}
on("click", ({ target }) => {
	const button = target.closest("[data-copy], [data-pause]");
	if (button) button.dataset.copy ? copy(button) : pause(!paused);
});
on("submit", event => {
	const form = event.target;
	if (form.isSent) event.preventDefault();
	form.isSent = true;
	setTimeout(() => form.isSent = false, 2 * sec);
});
// The receipt is in the last line.
on("change", async ({ target }) => {
	const field = byId(target.dataset.receipt), file = target.files?.[0];
	if (!field || !file) return;
	field.value = (await file.slice(-4096).text()).match(/.*receipt\W{1,5}([\w-]{8,})/s)?.[1] || "";
	field.focus();
	if (!field.value) make(field.parentNode, "p", "error", "This download was not complete: its last line is no receipt. Export again.").role = "alert";
});

let wentAt;
if (body.dataset.keys !== "off") on("keydown", event => {
	const { key, target } = event;
	if (event.ctrlKey || event.metaKey || event.altKey || target.closest("input, select, textarea")) return;
	const link = Date.now() - wentAt < 1500 && all(".nav a").find(link => link.innerText.trim()[0].toLowerCase() === key);
	wentAt = key === "g" && Date.now();
	if (link) link.click();
	else if (key === "/") $("[data-search]")?.focus();
	else if ("[]".includes(key)) $(`[data-key="${key}"]`)?.click();
	else if (key === ".") pause(!paused);
	else if (key === "?") keys();
	else return;
	event.preventDefault();
});
function keys() {
	const box = make(top(), "dialog", "sheet");
	make(box, "h2", "", "Keys");
	make(box, "p", "text", "/ search\ng, then o q p r u s: Overview, Queue, ...\n[ ] newer, older\n. pause");
	make(box, "button", "btn", "Close").onclick = () => box.close();
	box.onclose = () => box.remove();
	box.ariaLabel = "Keys";
	box.showModal();
}

ready();
for (const sheet of all("dialog[data-modal]")) {
	sheet.open = false;
	sheet.showModal();
	sheet.onclose = () => isLocal(sheet.dataset.modal) && location.assign(sheet.dataset.modal);
}
function ready() {
	all("[data-pause], [data-copy], .needs-script").forEach(node => node.hidden = false);
	all("[data-refresh]").forEach(node => node.hidden = true);
}
if (paused) pause(true);
else parts.forEach(part => "atOnce" in part.node.dataset ? look(part) : plan(part));
})();
