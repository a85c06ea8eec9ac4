/** The workloads that can be run step by step: all but `test_vmalloc`, which the page has no use for. */
import type { Workload } from "./base/workload.ts";
import { forkStorm } from "./fork-storm.ts";
import { fsBufferCache } from "./fs-buffer-cache.ts";
import { hashTable } from "./hash-table.ts";
import { ioremapDriver } from "./ioremap-driver.ts";
import { mixed } from "./mixed.ts";
import { moduleLoad } from "./module-load.ts";
import { userProcesses } from "./user-processes.ts";

/** They, in the order in which they are listed. */
export const STEPPED_WORKLOADS: readonly Workload[] = [
  mixed,
  forkStorm,
  fsBufferCache,
  hashTable,
  ioremapDriver,
  moduleLoad,
  userProcesses,
];
