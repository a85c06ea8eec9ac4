/** Whether a host can be measured: what is known before, and what shows while it is. */
import { availableParallelism, freemem } from "node:os";
import { CalibrationError } from "../calibration/calibration-error.ts";
import { hostNs } from "./host-clock.ts";

/** What must be known of a host beforehand. */
export interface HostConditions {
  /** As Node calls it: `x64`. */
  readonly architecture: string;
  /** CPUs that this process may use. */
  readonly cpus: number;
  /** Memory that it may take, in bytes. */
  readonly freeBytes: number;
}

/** Pages that are touched, and their page tables. */
const NEEDED_BYTES = 256 * 2 ** 20;
const CPUS_MIN = 2;

/** Those of this host. */
export function hostConditions(): HostConditions {
  // A container may have less than the host has free.
  const freeBytes = Math.min(process.availableMemory?.() ?? freemem(), freemem());
  return { architecture: process.arch, cpus: availableParallelism(), freeBytes };
}

/** @throws CalibrationError for a host on which nothing that is measured could be relied on */
export function checkConditions({ architecture, cpus, freeBytes }: HostConditions): void {
  if (architecture !== "x64") {
    throw new CalibrationError(
      `this is a processor of architecture ${architecture}, not x86-64; --curves reads curves of another`,
    );
  }
  if (cpus < CPUS_MIN) {
    throw new CalibrationError(
      "there is one CPU only, so that everything else that runs would be measured too; give it a second one",
    );
  }
  if (freeBytes < NEEDED_BYTES) {
    const [free, needed] = [freeBytes, NEEDED_BYTES].map((bytes) => `${Math.floor(bytes / 2 ** 20)} MiB`);
    throw new CalibrationError(`${free} of memory are free, it needs ${needed}`);
  }
}

/** CPU time that this program must get, as a part of the time that passes. */
const SHARE_MIN = 0.15;
/** Nothing is said before this has passed. */
const PATIENCE_NS = 8e9;

/** Watches whether this program gets enough of a CPU. */
export class LoadWatch {
  private readonly startNs = hostNs();
  private readonly start = process.cpuUsage();

  /** @throws CalibrationError when too much else runs */
  check(): void {
    const { user, system } = process.cpuUsage(this.start);
    checkShare(((user + system) * 1e3) / this.elapsedNs, this.elapsedNs);
  }

  /** Nanoseconds since the watch was made. */
  get elapsedNs(): number {
    return hostNs() - this.startNs;
  }
}

/** @throws CalibrationError for a share of CPU time that is too small, once `elapsedNs` is enough to tell */
export function checkShare(share: number, elapsedNs: number): void {
  if (elapsedNs < PATIENCE_NS || share >= SHARE_MIN) return;
  const part = `${(share * 100).toFixed(0)} % of a CPU`;
  throw new CalibrationError(
    `too much else runs: this program got ${part}, it needs ${SHARE_MIN * 100} % at the least`,
  );
}
