// Chance that is the same for the same seed on every machine: sfc32 (Chris
// Doty-Humphrey, PractRand), a stream of its own for each purpose, so that what one
// part of a world draws does not shift what another gets.

/** Uniform in [0, 1), with 32 random bits. */
export type Random = () => number;

/** FNV-1a over the purpose's name (Fowler, Noll, Vo). */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  return hash >>> 0;
}

export function randomOf(seed: number, purpose: string): Random {
  let a = seed | 0;
  let b = hashOf(purpose) | 0;
  let c = 0x9e3779b9 | 0;
  let counter = 1;
  const draw = (): number => {
    const t = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return (t >>> 0) / 4_294_967_296;
  };
  // As its author says: the state is mixed well after twelve rounds.
  for (let i = 0; i < 12; i++) draw();
  return draw;
}
