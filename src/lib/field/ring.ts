// Which slot is whose: counts become places on the ring. Owners keep their
// slots, so a change moves as few as the counts allow, and each owner's slots
// stay spread, so the gear sends no bursts.

/** No owner. */
const nobody = 0;

/** Distance on the ring from `slot` to the nearest other slot of `owner`; the ring's size if none. */
function isolation(owners: Uint32Array, slot: number, owner: number): number {
  const size = owners.length;
  for (let distance = 1; distance <= size / 2; distance++) {
    if (
      owners[(slot + distance) % size] === owner ||
      owners[(slot - distance + size) % size] === owner
    ) {
      return distance;
    }
  }
  return size;
}

/**
 * Smooth weighted order (nginx's smooth weighted round robin): every owner's
 * turns come as evenly as its count allows.
 */
function dealSmoothly(
  size: number,
  counts: ReadonlyMap<number, number>,
  phase: number,
): Uint32Array {
  // Arrays: of a new route with many backends this is most of what a tick does.
  const owners = Uint32Array.from(counts.keys());
  const shares = Float64Array.from(counts.values());
  const credits = new Float64Array(owners.length);
  const ring = new Uint32Array(size).fill(nobody);
  for (let turn = 0; turn < size; turn++) {
    let best = -1;
    let most = -Infinity;
    for (let i = 0; i < owners.length; i++) {
      const share = shares[i] ?? 0;
      const credit = (credits[i] ?? 0) + share;
      credits[i] = credit;
      if (share > 0 && credit > most) [best, most] = [i, credit];
    }
    if (best < 0) break;
    credits[best] = most - size;
    ring[(turn + size - (phase % size)) % size] = owners[best] ?? nobody;
  }
  return ring;
}

/**
 * The owners for new `counts` (owner → slots, summing to the ring's size). As
 * many slots change hands as the counts differ by, and no more. A fresh ring
 * begins at the node's own `phase`, or all nodes would open with the same backend.
 */
export function assignRing(
  before: Uint32Array,
  counts: ReadonlyMap<number, number>,
  phase = 0,
): Uint32Array {
  const size = before.length;
  const have = new Map<number, number>();
  for (const owner of before) have.set(owner, (have.get(owner) ?? 0) + 1);
  if ((have.get(nobody) ?? 0) === size) return dealSmoothly(size, counts, phase);

  const owners = before.slice();
  const open: number[] = [];
  for (const [owner, held] of have) {
    let surplus = held - (owner === nobody ? 0 : (counts.get(owner) ?? 0));
    while (surplus-- > 0) open.push(giveUp(owners, owner));
  }
  for (const [owner, count] of counts) {
    let deficit = count - (have.get(owner) ?? 0);
    while (deficit-- > 0) take(owners, open, owner);
  }
  return owners;
}

/** An owner gives up its most crowded slot. */
function giveUp(owners: Uint32Array, owner: number): number {
  let chosen = -1;
  let least = Infinity;
  for (let slot = 0; slot < owners.length; slot++) {
    if (owners[slot] !== owner) continue;
    const distance = owner === nobody ? 0 : isolation(owners, slot, owner);
    if (distance < least) [chosen, least] = [slot, distance];
  }
  owners[chosen] = freed;
  return chosen;
}

/** Marks a slot between owners while a ring is being reassigned. */
const freed = 0xffff_ffff;

/** A taker gets the open slot farthest from its own. */
function take(owners: Uint32Array, open: number[], owner: number): void {
  let at = 0;
  let most = -1;
  open.forEach((slot, i) => {
    const distance = isolation(owners, slot, owner);
    if (distance > most) [at, most] = [i, distance];
  });
  const [slot] = open.splice(at, 1);
  if (slot !== undefined) owners[slot] = owner;
}
