/** The host's clock, which the probe measures with. Nothing that is emulated sees it. */

/** Nanoseconds since some moment, by a clock that only goes forward. */
export function hostNs(): number {
  return performance.now() * 1e6;
}
