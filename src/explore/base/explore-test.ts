/** What the explorer tries: a small situation, what each CPU does in it, and what must hold afterwards. */
import type { KernelCode } from "../../../arch/index.ts";
import type { Kernel, KernelConfig } from "../../machine/kernel.ts";

/** What one CPU does. A method, so that tests of different situations are of one type, `ExploreTest<unknown>`. */
export type ThreadOf<Situation> = {
  run(kernel: Kernel, situation: Situation): KernelCode<void>;
}["run"];

/** A test: a file of one's own exports one as `default`. */
export interface ExploreTest<Situation = unknown> {
  /** What it is called on the command line: small letters and hyphens. */
  readonly name: string;
  /** What happens in it, in one line. */
  readonly summary: string;
  /** CPUs of the machine; absent: one a thread. */
  readonly cpus?: number;
  /** Settings of the kernel that differ from `EXPLORED_KERNEL`. */
  readonly kernel?: Partial<KernelConfig>;
  /** Makes the situation in which the threads begin. Whatever it returns is as it was at the beginning of each schedule. */
  setup(kernel: Kernel): Situation;
  /** Thread number i runs on CPU i. */
  readonly threads: readonly ThreadOf<Situation>[];
  /** Addresses of which any CPU may prefetch the translation at any time. */
  watched?(situation: Situation): readonly number[];
  /** What must hold when all threads have ended. @throws anything when it does not */
  check?(kernel: Kernel, situation: Situation): void;
  /** Warnings of the kernel that are right in this test. */
  readonly expectedWarnings?: RegExp;
}
