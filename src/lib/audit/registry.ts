// Metrics as prom-client keeps them, made from the catalogue, so that none can exist
// that is not in it and no label can be misspelt.
import { collectDefaultMetrics, Counter, Gauge, type Histogram, type Registry } from 'prom-client';

import { catalogue, type Metric } from './catalogue.js';

type Catalogue = typeof catalogue;
type LabelsOf<M extends Metric> = Extract<keyof M['labels'], string>;
type KindOf<M extends Metric> = M['type'] extends 'counter'
  ? Counter<LabelsOf<M>>
  : M['type'] extends 'gauge'
    ? Gauge<LabelsOf<M>>
    : CountedHistogram;

export type Metrics = { readonly [K in keyof Catalogue]: KindOf<Catalogue[K]> };

/**
 * A histogram that takes many observations of one value at once: the kernel has counted
 * them already, and prom-client's own would be told of them one by one.
 */
class CountedHistogram {
  private readonly counts: number[];
  private sum = 0;

  constructor(
    readonly name: string,
    readonly help: string,
    private readonly bounds: readonly number[],
  ) {
    this.counts = Array.from({ length: bounds.length + 1 }, () => 0);
  }

  add(value: number, count: number): void {
    let at = 0;
    while (at < this.bounds.length && value > (this.bounds[at] ?? 0)) at++;
    this.counts[at] = (this.counts[at] ?? 0) + count;
    this.sum += value * count;
  }

  /** What a registry asks of each of its metrics. */
  get() {
    const { name, help } = this;
    let total = 0;
    const buckets = this.counts.map((count, i) => {
      total += count;
      return {
        metricName: `${name}_bucket`,
        labels: { le: this.bounds[i] ?? '+Inf' },
        value: total,
      };
    });
    const values = [
      ...buckets,
      { metricName: `${name}_sum`, labels: {}, value: this.sum },
      { metricName: `${name}_count`, labels: {}, value: total },
    ];
    return Promise.resolve({ name, help, type: 'histogram', values, aggregator: 'sum' });
  }
}

function make(metric: Metric, registry: Registry): Counter | Gauge | CountedHistogram {
  const { type, name, help, labels, buckets } = metric;
  const configuration = { name, help, labelNames: Object.keys(labels), registers: [registry] };
  switch (type) {
    case 'counter':
      return new Counter(configuration);
    case 'gauge':
      return new Gauge(configuration);
    case 'histogram': {
      const histogram = new CountedHistogram(name, help, buckets ?? []);
      // A registry takes whatever has a name and get(); its types know the library's classes only.
      registry.registerMetric(histogram as unknown as Histogram);
      return histogram;
    }
  }
}

export function makeMetrics(registry: Registry): Metrics {
  return Object.fromEntries(
    Object.entries(catalogue).map(([key, metric]) => [key, make(metric, registry)]),
  ) as unknown as Metrics;
}

/** prom-client's own of the process; those of Node are many, and named against the conventions. */
export function addProcessMetrics(registry: Registry): void {
  collectDefaultMetrics({ register: registry });
  for (const { name } of registry.getMetricsAsArray()) {
    if (name.startsWith('nodejs_')) registry.removeSingleMetric(name);
  }
}
