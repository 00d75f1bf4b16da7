// What is deployed beside the agent: rules that promtool accepts and has tried, a place in
// the runbook for each alert, and a dashboard that asks for nothing that is not there.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';

import { catalogue } from '../../src/lib/audit/catalogue.js';
import { noPrometheus, promtool } from '../e2e/prometheus.js';

const root = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly runbook: string };
}

interface Tests {
  readonly tests: readonly {
    readonly alert_rule_test: readonly { alertname: string; exp_alerts: readonly unknown[] }[];
  }[];
}

interface Dashboard {
  readonly panels: readonly {
    readonly title: string;
    readonly targets?: readonly { readonly expr: string }[];
  }[];
}

const alerts = (
  parse(read('deploy/monitoring/alerts.yaml')) as { groups: { rules: Rule[] }[] }
).groups.flatMap(({ rules }) => rules);
const served = new Map(Object.values(catalogue).map((metric) => [metric.name, metric]));

/** The metrics that an expression asks for, and the values of labels that it asks them for. */
function asked(expression: string): { name: string; labels: [string, string][] }[] {
  return [...expression.matchAll(/\b(nity_[a-z_]+)(?:\{([^}]*)\})?/g)].map(
    ([, name = '', selector = '']) => ({
      name: served.has(name) ? name : name.replace(/_(bucket|sum|count)$/, ''),
      labels: [...selector.matchAll(/(\w+)(?:=|=~|!=|!~)"([^"]*)"/g)].map(
        ([, label = '', values = '']) => [label, values],
      ),
    }),
  );
}

function expectServed(expression: string): void {
  for (const { name, labels } of asked(expression)) {
    const metric = served.get(name);
    expect(metric, `${name} is no metric`).toBeDefined();
    for (const [label, values] of labels) {
      if (['job', 'instance'].includes(label)) continue;
      const allowed = (metric?.labels as Readonly<Record<string, unknown>> | undefined)?.[label];
      expect(allowed, `${name} has no label ${label}`).toBeDefined();
      if (Array.isArray(allowed))
        for (const value of values.split('|')) expect(allowed).toContain(value);
    }
  }
}

describe('the alerts', () => {
  it.skipIf(noPrometheus !== undefined)(
    'are rules, and fire when they should and only then',
    () => {
      const rules = promtool(['check', 'rules', join(root, 'deploy/monitoring/alerts.yaml')]);
      expect(rules.said).toContain(`SUCCESS: ${alerts.length} rules found`);
      const tried = promtool(['test', 'rules', join(root, 'deploy/monitoring/alerts.test.yaml')]);
      expect(tried.said).toContain('SUCCESS');
      expect([rules.code, tried.code]).toEqual([0, 0]);
    },
  );

  it('each have a case in which they fire', () => {
    const { tests } = parse(read('deploy/monitoring/alerts.test.yaml')) as Tests;
    const firing = tests.flatMap(({ alert_rule_test: cases }) =>
      cases
        .filter(({ exp_alerts: expected }) => expected.length > 0)
        .map(({ alertname }) => alertname),
    );
    expect([...new Set(firing)].sort()).toEqual(alerts.map(({ alert }) => alert).sort());
  });

  it.each(alerts)('$alert asks for what is served, and has its place in the runbook', (rule) => {
    expectServed(rule.expr);
    expect(rule.labels.severity).toMatch(/^(critical|warning|info)$/);
    expect(rule.annotations.runbook).toBe(`docs/ops/runbook.md#${rule.alert.toLowerCase()}`);
    const [, entry = ''] = read('docs/ops/runbook.md').split(`### ${rule.alert}\n`);
    const text = entry.split(/^##/m)[0] ?? '';
    expect(text).toContain('_Look:_');
    expect(text).toContain('_Do:_');
  });
});

describe('the rule for an autoscaler', () => {
  const [, text = ''] = /```yaml\n(groups:\n[^]*?)```/.exec(read('docs/ops/kubernetes.md')) ?? [];
  const [rule] = (parse(text) as { groups: { rules: { expr: string }[] }[] }).groups.flatMap(
    ({ rules }) => rules,
  );

  it('asks for what is served', () => {
    expectServed(rule?.expr ?? '');
  });

  it.skipIf(noPrometheus !== undefined)(
    'wants more replicas where nodes complain, else none',
    () => {
      const directory = mkdtempSync(join(tmpdir(), 'nity-scale-'));
      writeFileSync(join(directory, 'rules.yaml'), text);
      const hint = (node: string, service: string, why: string) => ({
        series: `nity_cluster_scale_hint{instance="${node}",service="${service}",why="${why}"}`,
        values: '1 1',
      });
      const nodes = ['a', 'b', 'c', 'd'].map((node) => ({
        series: `nity_cluster_synced{instance="${node}"}`,
        values: '1 1',
      }));
      const wanted = (value: number, ...hints: ReturnType<typeof hint>[]) => ({
        interval: '1m',
        input_series: [...nodes, ...hints],
        promql_expr_test: [
          {
            expr: 'nity_wanted_replicas_ratio',
            eval_time: '1m',
            exp_samples: [
              { labels: 'nity_wanted_replicas_ratio{namespace="shop", service="cart"}', value },
            ],
          },
        ],
      });
      const tests = [
        wanted(0, hint('a', 'shop/pay', 'soft')),
        wanted(1.125, hint('a', 'shop/cart', 'monopoly')),
        // Two ports of it on one node are one node's complaint.
        wanted(
          1.25,
          hint('a', 'shop/cart', 'soft'),
          hint('a', 'shop/cart', 'hard'),
          hint('b', 'shop/cart', 'soft'),
        ),
      ];
      const file = join(directory, 'test.yaml');
      writeFileSync(file, JSON.stringify({ rule_files: ['rules.yaml'], tests }));
      const tried = promtool(['test', 'rules', file]);
      rmSync(directory, { recursive: true });
      expect(tried.said).toContain('SUCCESS');
      expect(tried.code).toBe(0);
    },
  );
});

describe('the dashboard', () => {
  const { panels } = JSON.parse(read('deploy/monitoring/dashboard.json')) as Dashboard;

  it('asks for nothing that is not served', () => {
    const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
    expect(expressions.length).toBeGreaterThan(20);
    for (const expression of expressions) expectServed(expression);
  });

  it.skipIf(noPrometheus !== undefined)('asks in expressions that Prometheus understands', () => {
    const rules = panels
      .flatMap(({ targets = [] }) => targets)
      .map(({ expr }, i) => ({
        record: `panel:${i}`,
        expr: expr.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*'),
      }));
    const directory = mkdtempSync(join(tmpdir(), 'nity-dashboard-'));
    const file = join(directory, 'rules.yaml');
    writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
    const { said } = promtool(['check', 'rules', file]);
    rmSync(directory, { recursive: true });
    expect(said).not.toMatch(/parse error|FAILED/);
    expect(said).toContain('rules found');
  });
});
