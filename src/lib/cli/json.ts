// JSON for machines: 64-bit integers as strings, nothing undefined.

export function toJson(value: unknown, indent?: number): string {
  return JSON.stringify(
    value,
    (_key, element: unknown) => (typeof element === 'bigint' ? element.toString() : element),
    indent,
  );
}
