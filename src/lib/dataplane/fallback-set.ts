// The set that FALLBACK picks from: which backend owns each of a route's
// fallback slots. It depends on the endpoints alone, so every node fills it alike.

/** FNV-1a over UTF-16 code units, finished with MurmurHash3's mixer: 32 bits, seeded. */
function hash32(text: string, seed: number): number {
  let h = 0x811c9dc5 ^ seed;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * Maglev's table population (Eisenbud et al., NSDI 2016, section 3.4): the
 * shares differ by one slot at most and few slots move when an endpoint comes or
 * goes. `size` is a power of two; an odd step makes each preference list whole.
 * Returns for each slot the position of its owner in `endpoints`.
 */
export function fillFallback(endpoints: readonly string[], size: number): Uint32Array {
  const owners = new Uint32Array(size).fill(endpoints.length);
  // The order of the list must not matter, only its members.
  const order = endpoints
    .map((_, i) => i)
    .sort((a, b) => {
      const [x = '', y = ''] = [endpoints[a], endpoints[b]];
      return x < y ? -1 : x > y ? 1 : 0;
    });
  const cursors = order.map((position) => {
    const endpoint = endpoints[position] ?? '';
    return { position, at: hash32(endpoint, 1) % size, step: hash32(endpoint, 2) | 1 };
  });
  for (let filled = 0; filled < size && cursors.length > 0;) {
    for (const cursor of cursors) {
      if (filled === size) break;
      while (owners[cursor.at] !== endpoints.length)
        cursor.at = (cursor.at + cursor.step) & (size - 1);
      owners[cursor.at] = cursor.position;
      filled++;
    }
  }
  return owners;
}
