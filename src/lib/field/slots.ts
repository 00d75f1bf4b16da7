// From weights to whole slots: largest remainders, floors, and viscosity.

/**
 * Largest-remainder (Hamilton) apportionment of `total` by `weights`: the sum is
 * exact. Equal remainders go to the earlier of `order`, so that who is listed
 * first does not matter, only who is.
 */
export function apportion(
  weights: readonly number[],
  total: number,
  order: readonly number[],
): number[] {
  const sum = weights.reduce((a, b) => a + b, 0);
  if (sum <= 0) return weights.map(() => 0);
  const counts: number[] = [];
  const remainders = new Float64Array(weights.length);
  let left = total;
  weights.forEach((weight, i) => {
    const exact = (weight / sum) * total;
    const whole = Math.floor(exact);
    counts.push(whole);
    remainders[i] = exact - whole;
    left -= whole;
  });
  if (left <= 0) return counts;
  // The `left` largest remainders are those above the cut, and as many at it as are wanting.
  const cut = remainders.slice().sort()[weights.length - left] ?? 0;
  const give = (i: number) => {
    counts[i] = (counts[i] ?? 0) + 1;
    left--;
  };
  for (const i of order) if ((remainders[i] ?? 0) > cut) give(i);
  for (const i of order) if (left > 0 && remainders[i] === cut) give(i);
  return counts;
}

/** Targets by weight, none below its floor: what the floors take, the others give by weight. */
export function targets(
  weights: readonly number[],
  floors: readonly number[],
  total: number,
  order: readonly number[],
): number[] {
  const free = weights.map((weight, i) => (floors[i] === 0 && weight === 0 ? 0 : weight));
  const fixed = new Set<number>();
  for (;;) {
    const taken = [...fixed].reduce((sum, i) => sum + (floors[i] ?? 0), 0);
    const counts = apportion(
      free.map((weight, i) => (fixed.has(i) ? 0 : weight)),
      Math.max(0, total - taken),
      order,
    );
    const under = order.filter((i) => !fixed.has(i) && (counts[i] ?? 0) < (floors[i] ?? 0));
    if (under.length === 0)
      return counts.map((count, i) => (fixed.has(i) ? (floors[i] ?? 0) : count));
    // With every backend at its floor there is nobody to give: weights alone decide.
    if (fixed.size + under.length === weights.length) return apportion(weights, total, order);
    for (const i of under) fixed.add(i);
  }
}

/** The targets before they were rounded: who is at his floor has it, others what is left by weight. */
export function exactly(
  weights: readonly number[],
  floors: readonly number[],
  target: readonly number[],
): number[] {
  const free = target.map((count, i) => count > (floors[i] ?? 0));
  let weight = 0;
  let slots = 0;
  free.forEach((isFree, i) => {
    if (!isFree) return;
    weight += weights[i] ?? 0;
    slots += target[i] ?? 0;
  });
  return target.map((count, i) =>
    free[i] === true && weight > 0 ? ((weights[i] ?? 0) / weight) * slots : count,
  );
}

/**
 * Targets for which those who may stay do so, as far as the sum allows: what the others
 * give up or take has to come from somewhere.
 */
export function steadied(
  current: readonly number[],
  target: readonly number[],
  stays: readonly boolean[],
  order: readonly number[],
): number[] {
  const wish = current.map((count, i) => (target[i] ?? 0) - count);
  const owed = wish.reduce((sum, delta, i) => (stays[i] === true ? sum + delta : sum), 0);
  const way = Math.sign(owed);
  const willing = wish.map((delta, i) => (stays[i] === true ? Math.max(0, delta * way) : 0));
  const moved = apportion(willing, Math.abs(owed), order);
  return current.map((count, i) =>
    stays[i] === true ? count + way * (moved[i] ?? 0) : (target[i] ?? 0),
  );
}

/**
 * One step from `current` towards `target`, both summing to the same, at most
 * `limit[i]` slots for each backend; the sum is kept.
 */
export function viscous(
  current: readonly number[],
  target: readonly number[],
  limit: readonly number[],
  order: readonly number[],
): number[] {
  const wish = current.map((count, i) => {
    const most = limit[i] ?? 0;
    return Math.max(-most, Math.min(most, (target[i] ?? 0) - count));
  });
  const gives = wish.map((delta) => Math.max(0, -delta));
  const takes = wish.map((delta) => Math.max(0, delta));
  const moved = Math.min(
    gives.reduce((a, b) => a + b, 0),
    takes.reduce((a, b) => a + b, 0),
  );
  const given = apportion(gives, moved, order);
  const taken = apportion(takes, moved, order);
  return current.map((count, i) => count - (given[i] ?? 0) + (taken[i] ?? 0));
}
