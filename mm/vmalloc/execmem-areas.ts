/** What the cache of executable memory knows of its regions (`struct execmem_cache`, `mm/execmem.c`). */

import type { LockGuard } from "../kernel/lockdep.ts";
import type { Mutex } from "../kernel/mutex.ts";
import type { Work } from "../kernel/work.ts";
import { AddressRanges } from "../lib/address-ranges.ts";

/** What serializes the cache, and its work items. */
export interface ExecmemWorkers {
  readonly mutex: Mutex;
  /** Gives regions back that are wholly free (`execmem_cache_clean_work`). */
  readonly cleanWork: Work;
  /** Frees what could not be freed at once (`execmem_cache_free_work`). */
  readonly freeWork: Work;
  /** Is asked by who uses the pieces whether it holds the mutex; null where nobody checks locks. */
  readonly guard: LockGuard | null;
}

/** Pieces of regions of executable memory: in use, and free. Together they cover each region. */
export class ExecmemAreas {
  readonly mutex: Mutex;
  readonly cleanWork: Work;
  readonly freeWork: Work;
  /** Starts of pieces in use whose free is put off, as there was no memory for it (`pending_free_cnt` of them). */
  readonly pendingFree = new Set<number>();
  private readonly guard: LockGuard | null;
  private readonly busyAreas = new AddressRanges();
  private readonly freeAreas = new AddressRanges();

  constructor({ mutex, cleanWork, freeWork, guard }: ExecmemWorkers) {
    this.guard = guard;
    this.mutex = mutex;
    this.cleanWork = cleanWork;
    this.freeWork = freeWork;
  }
  /** Pieces in use, each by itself (`busy_areas`). */
  get busy(): AddressRanges {
    this.guard?.check();
    return this.busyAreas;
  }

  /** Free pieces; none touches another (`free_areas`). */
  get free(): AddressRanges {
    this.guard?.check();
    return this.freeAreas;
  }
}
