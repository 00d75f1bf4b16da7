// Kubernetes' own schemas, as npm carries them: the values are checked by JSON schema, and the
// names of fields by the compiler, since a schema lets unknown ones pass as the API server does.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

import type { KubernetesObject } from './kustomize.js';

/** Where the packages keep each kind. */
const models: Readonly<Record<string, string>> = {
  'v1/Namespace': 'kubernetes-models/v1/Namespace',
  'v1/ServiceAccount': 'kubernetes-models/v1/ServiceAccount',
  'apps/v1/DaemonSet': 'kubernetes-models/apps/v1/DaemonSet',
  'autoscaling/v2/HorizontalPodAutoscaler':
    'kubernetes-models/autoscaling/v2/HorizontalPodAutoscaler',
  'rbac.authorization.k8s.io/v1/ClusterRole':
    'kubernetes-models/rbac.authorization.k8s.io/v1/ClusterRole',
  'rbac.authorization.k8s.io/v1/ClusterRoleBinding':
    'kubernetes-models/rbac.authorization.k8s.io/v1/ClusterRoleBinding',
  'monitoring.coreos.com/v1/PodMonitor':
    '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor',
};

function modelOf({ apiVersion, kind }: KubernetesObject): string {
  const model = models[`${apiVersion}/${kind}`];
  if (model === undefined) throw new Error(`${apiVersion}/${kind} is no kind that is known here`);
  return model;
}

type Model = new (object: unknown) => { validate(): void };

/** What is wrong with these objects, in words; nothing if nothing is. */
export async function problems(objects: readonly KubernetesObject[]): Promise<string[]> {
  const values = await Promise.all(
    objects.map(async (object) => {
      const module = (await import(modelOf(object))) as Record<string, Model>;
      const Kind = module[object.kind];
      if (Kind === undefined) throw new Error(`${modelOf(object)} has no ${object.kind}`);
      try {
        new Kind(object).validate();
        return [];
      } catch (error) {
        return [`${object.kind} ${object.metadata.name}: ${(error as Error).message}`];
      }
    }),
  );
  return [...values.flat(), ...unknownFields(objects)];
}

/** An object literal may have no field that its type has not. */
function unknownFields(objects: readonly KubernetesObject[]): string[] {
  const lines = objects.flatMap((object, i) => [
    `import type { I${object.kind} as T${i} } from '${modelOf(object)}';`,
    `export const object${i}: T${i} = ${JSON.stringify(object)};`,
  ]);
  const file = join(import.meta.dirname, 'literal.ts');
  const options: ts.CompilerOptions = {
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: [],
  };
  const host = ts.createCompilerHost(options);
  const fileExists = host.fileExists.bind(host);
  const readFile = host.readFile.bind(host);
  host.fileExists = (path) => path === file || fileExists(path);
  host.readFile = (path) => (path === file ? lines.join('\n') : readFile(path));
  const getSourceFile = host.getSourceFile.bind(host);
  host.getSourceFile = (path, target) =>
    path === file
      ? ts.createSourceFile(path, lines.join('\n'), target)
      : getSourceFile(path, target);
  const program = ts.createProgram([file], options, host);
  const source = program.getSourceFile(file);
  return [
    ...program.getSyntacticDiagnostics(source),
    ...program.getSemanticDiagnostics(source),
  ].map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' '));
}

/** The version of this nity, which the manifests' image has too. */
export function packageVersion(): string {
  const text = readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
