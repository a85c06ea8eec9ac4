/**
 * Code that never comes back. What a schedule leaves behind may be a list or a tree that runs in a circle, and plain code that walks it
 * never gives a scheduler the chance to stop it. A host that can end code from outside says how (`src/explore/host-limit.ts` does, with
 * Node); in a web page such code hangs its worker.
 */

/**
 * Makes a call, and ends it when it takes longer than so many milliseconds of the host's time; whether it ended by itself. Throws what
 * the call throws.
 */
export type LimitedCall = (milliseconds: number, call: () => void) => boolean;

let limited: LimitedCall = (_milliseconds, call) => {
  call();
  return true;
};

let worked: () => number = () => 0;

/** The host can end calls. @param hostWorkedMs milliseconds that it has worked for this program */
export function limitCallsBy(host: LimitedCall, hostWorkedMs: () => number): void {
  limited = host;
  worked = hostWorkedMs;
}

/** Milliseconds that the host has worked for this program, on all cores; 0 where it cannot end calls. */
export function workedMs(): number {
  return worked();
}

/** Makes a call, and ends it when it takes too long, if the host can; whether it ended by itself. @throws what the call throws */
export function endsWithin(milliseconds: number, call: () => void): boolean {
  return limited(milliseconds, call);
}
