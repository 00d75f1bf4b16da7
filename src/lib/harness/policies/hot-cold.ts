// Prequal's hot-cold lexicographic rule over asynchronous probes (B. Wydrowski, R.
// Kleinberg, S. Rumble, A. Archer, "Load is not what you should balance: Introducing
// Prequal", NSDI 2024). Each request sends a few probes; answers wait in a small pool. A
// probe is hot when its requests in flight exceed the pool's quantile Q_RIF: if any is
// cold, the cold one of least latency is taken, else the one with the fewest in flight.
// Not reproduced: the guard against sinkholes by error rate, and synchronous mode.
import type { Load, MakeBalancer } from '../balancer.js';
import { Roster } from './roster.js';

/** The paper's baseline parameters (section 5). */
const probesPerRequest = 3;
const poolSize = 16;
const oldestMs = 1000;
/** 2^-0.25. */
const hotQuantile = 0.84;
/** Probes that are taken out of the pool with each request, the worst and the oldest in turn. */
const removedPerRequest = 1;
/** With fewer than this a request goes anywhere. */
const leastPool = 2;

interface Probe {
  readonly backend: number;
  readonly heardMs: number;
  readonly latencyMs: number;
  inFlight: number;
  uses: number;
}

/**
 * How often a probe may be used (the paper's equation 1, with δ = 1): so that the pool
 * neither runs dry nor fills with what is stale.
 */
function mostUses(backends: number): number {
  const rate =
    (1 - poolSize / Math.max(backends, poolSize + 1)) * probesPerRequest - removedPerRequest;
  return rate <= 0 ? 2 : Math.max(1, 2 / rate);
}

export const hotCold: MakeBalancer = (view) => {
  const roster = new Roster();
  let pool: Probe[] = [];
  let worstNext = true;

  const hear = (backend: number, { inFlight, latencyMs }: Load) => {
    if (roster.place(backend) < 0) return;
    if (pool.length >= poolSize) pool.shift();
    pool.push({ backend, heardMs: view.nowMs(), latencyMs, inFlight, uses: 0 });
  };
  const hotFrom = (): number => {
    const sorted = pool.map(({ inFlight }) => inFlight).sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(hotQuantile * sorted.length))] ?? Infinity;
  };
  /** The better of two by the rule; `hot` is the least number in flight that is hot. */
  const better = (a: Probe, b: Probe, hot: number): boolean => {
    const aHot = a.inFlight > hot;
    const bHot = b.inFlight > hot;
    if (aHot !== bHot) return bHot;
    return aHot ? a.inFlight < b.inFlight : a.latencyMs < b.latencyMs;
  };
  const remove = () => {
    if (pool.length <= leastPool) return;
    if (worstNext) {
      const hot = hotFrom();
      let worst = 0;
      pool.forEach((probe, i) => {
        const known = pool[worst];
        if (known !== undefined && better(known, probe, hot)) worst = i;
      });
      pool.splice(worst, 1);
    } else {
      pool.shift();
    }
    worstNext = !worstNext;
  };
  const anywhere = () => Math.floor(view.random() * roster.size);
  const ask = () => {
    for (let i = 0; i < probesPerRequest; i++) {
      const backend = roster.backends[anywhere()];
      if (backend !== undefined) {
        view.probe(backend, (load) => {
          hear(backend, load);
        });
      }
    }
  };
  const choose = (): number => {
    const nowMs = view.nowMs();
    pool = pool.filter(({ heardMs }) => nowMs - heardMs <= oldestMs);
    if (pool.length < leastPool) return anywhere();
    const hot = hotFrom();
    const best = pool.reduce((known, probe) => (better(probe, known, hot) ? probe : known));
    best.inFlight++;
    best.uses++;
    if (best.uses >= mostUses(roster.size)) pool = pool.filter((probe) => probe !== best);
    return roster.place(best.backend);
  };
  return {
    serve(backends) {
      roster.serve(backends);
      pool = pool.filter(({ backend }) => roster.place(backend) >= 0);
    },
    pick() {
      if (roster.size === 0) return -1;
      const place = choose();
      for (let i = 0; i < removedPerRequest; i++) remove();
      ask();
      return roster.began(place);
    },
    ended(_request, backend) {
      roster.ended(backend);
    },
  };
};
