// The kernel plane that is installed here: the schema that this build speaks and the
// libbpf that would load it. It looks at no pin and needs no privilege.
import { libbpfVersion } from './native.js';
import { describeSchema, schemaWord } from './plane.js';

export function describeBuild(): { readonly schema: string; readonly libbpf: string } {
  return { schema: describeSchema(schemaWord), libbpf: libbpfVersion() };
}
