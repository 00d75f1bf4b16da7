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
  const credits = new Map([...counts.keys()].map((owner) => [owner, 0]));
  const dealt = Uint32Array.from({ length: size }, () => {
    let best = nobody;
    let most = -Infinity;
    for (const [owner, count] of counts) {
      const credit = (credits.get(owner) ?? 0) + count;
      credits.set(owner, credit);
      if (count > 0 && credit > most) [best, most] = [owner, credit];
    }
    credits.set(best, most - size);
    return best;
  });
  return dealt.map((_, slot) => dealt[(slot + phase) % size] ?? nobody);
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
