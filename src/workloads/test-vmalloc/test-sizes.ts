/** How much the tests of test_vmalloc keep at a time. */

import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";

/** What tests keep at a time, whatever test_loop_count says. */
export interface TestSizes {
  /** Areas of full_fit_alloc_test, for each bit of the number of CPUs; half of them are freed before the loops. */
  readonly fitAreas: number;
  /** Areas that long_busy_list_alloc_test keeps. */
  readonly busyAreas: number;
  /** Objects of pcpu_alloc_test. */
  readonly percpuObjects: number;
}

/** The sizes of the kernel's tests. */
export const KERNEL_SIZES: TestSizes = {
  fitAreas: (32 * 1024 * 1024) / PAGE_SIZE,
  busyAreas: 15_000,
  percpuObjects: 35_000,
};
