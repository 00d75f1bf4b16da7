// Versions of the kernel as uname(2) tells them.

/** Whether `release` ("6.1.0-18-amd64") is `major`.`minor` or newer. */
export function newerThan(release: string, major: number, minor: number): boolean {
  const [ours = 0, least = 0] = release.split('.').map((part) => Number.parseInt(part, 10));
  return ours > major || (ours === major && least >= minor);
}
