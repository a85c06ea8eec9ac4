/** The parameters of the kernel's test_vmalloc module, with its names, defaults and meanings. */
import type { ParameterSpec } from "../../input/parameters.ts";

const INT_MAX = 2 ** 31 - 1;

/** What `modprobe test_vmalloc NAME=VALUE` takes. */
export const TEST_VMALLOC_PARAMETERS: readonly ParameterSpec[] = [
  {
    name: "nr_threads",
    kind: "integer",
    default: 0,
    low: 0,
    high: 65535,
    summary: "workers that run the tests (0 is 1); worker i runs on CPU i mod CPUs",
  },
  {
    name: "sequential_test_order",
    kind: "boolean",
    default: false,
    summary: "run the tests in the order of their ids",
  },
  { name: "test_repeat_count", kind: "integer", default: 1, low: 0, high: INT_MAX, summary: "repeats of each test" },
  {
    name: "test_loop_count",
    kind: "integer",
    default: 1_000_000,
    low: 0,
    high: INT_MAX,
    summary: "loops of each test",
  },
  {
    name: "nr_pages",
    kind: "integer",
    unit: "pages",
    default: 0,
    low: 0,
    high: INT_MAX,
    summary: "pages of fix_size_alloc_test and vm_map_ram_test (0 is 1)",
  },
  {
    name: "use_huge",
    kind: "boolean",
    default: false,
    summary: "vmalloc_huge in fix_size_alloc_test",
  },
  {
    name: "run_test_mask",
    kind: "integer",
    default: INT_MAX,
    low: 0,
    high: INT_MAX,
    summary: "sum of the ids of the tests to run",
  },
];
