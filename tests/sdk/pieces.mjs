// The bytes of a stream in pieces of at most `longest`, cut anywhere, from a seed.
export function inPieces(text, seed, longest = 200) {
  const bytes = new TextEncoder().encode(text);
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      seed = (seed * 1103515245 + 12345) % 2147483648;
      const end = at + 1 + (seed % longest);
      controller.enqueue(bytes.slice(at, end));
      at = end;
    },
  });
}
