/** The tests that are timed, with the times that a real kernel is known to need. */
import { KERNEL_SIZES } from "../../src/workloads/test-vmalloc/test-sizes.ts";
import { VMALLOC_TESTS } from "../../src/workloads/test-vmalloc/tests.ts";

/** What the emulator may be put beside: microseconds a loop, from .. to. */
export interface TimedTest {
  readonly test: string;
  readonly parameters: readonly string[];
  /** Linux 6.12, one CPU, under full-system emulation (QEMU 7.2 TCG), on a machine of the kind that this is developed on. */
  readonly tcgUsec: readonly [number, number];
  /** A Threadripper (LKML 2020). */
  readonly bareMetalUsec?: number;
}

/** The parameters of the default command: all tests. */
export const ALL_TESTS: readonly string[] = ["run_test_mask=2047"];
const PCPU_OBJECTS = KERNEL_SIZES.percpuObjects;

/** In the order of their ids, then those with parameters of their own. */
export const TIMED_TESTS: readonly TimedTest[] = [
  { test: "fix_size_alloc_test", parameters: ALL_TESTS, tcgUsec: [2.67, 2.67], bareMetalUsec: 0.43 },
  { test: "full_fit_alloc_test", parameters: ALL_TESTS, tcgUsec: [3.6, 3.6], bareMetalUsec: 0.57 },
  { test: "long_busy_list_alloc_test", parameters: ALL_TESTS, tcgUsec: [31, 31], bareMetalUsec: 7.7 },
  { test: "random_size_alloc_test", parameters: ALL_TESTS, tcgUsec: [16, 23], bareMetalUsec: 3.9 },
  { test: "fix_align_alloc_test", parameters: ALL_TESTS, tcgUsec: [8, 28], bareMetalUsec: 1.4 },
  { test: "random_size_align_alloc_test", parameters: ALL_TESTS, tcgUsec: [13, 29] },
  { test: "pcpu_alloc_test", parameters: ALL_TESTS, tcgUsec: [370_000 / PCPU_OBJECTS, 700_000 / PCPU_OBJECTS] },
  { test: "kvfree_rcu_1_arg_vmalloc_test", parameters: ALL_TESTS, tcgUsec: [3.3, 3.3] },
  { test: "kvfree_rcu_2_arg_vmalloc_test", parameters: ALL_TESTS, tcgUsec: [3.3, 3.3] },
  { test: "vm_map_ram_test", parameters: ALL_TESTS, tcgUsec: [0.57, 0.57] },
  { test: "fix_size_alloc_test", parameters: ["run_test_mask=1", "nr_pages=16"], tcgUsec: [6.2, 6.2] },
  { test: "vm_map_ram_test", parameters: ["run_test_mask=1024", "nr_pages=64"], tcgUsec: [3, 3] },
  { test: "vm_map_ram_test", parameters: ["run_test_mask=1024", "nr_pages=80"], tcgUsec: [3.6, 3.6] },
];

/** Loops that a test really makes where the kernel is told to make `loops`. */
export function loopsOf(test: string, loops: number): number {
  return VMALLOC_TESTS.find(({ name }) => name === test)?.ownLoops ?? loops;
}
