// Modules of the build itself, as an installed nity runs them: a transpiler on the fly
// decorates every closure, which is what would be measured then.

export function built<T>(module: string): Promise<T> {
  return import(`../dist/lib/${module}.js`) as Promise<T>;
}
