/**
 * The `module_load` workload: modules are loaded and unloaded. Each takes up to seven areas of the modules' range
 * (`module_memory_alloc`, `execmem_alloc`); protecting them flushes their ranges, the init areas go once the module runs,
 * and every free of such an area flushes (`VM_FLUSH_RESET_PERMS`).
 */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import {
  __vmallocNodeRange,
  flushTlbKernelRange,
  MODULES_END,
  MODULES_VADDR,
  VM_FLUSH_RESET_PERMS,
  VMALLOC_REQUEST,
  type VmallocRequest,
} from "../../mm/index.ts";
import { integerParameter } from "../input/parameters.ts";
import type { WorkloadThread } from "./base/context.ts";
import { threadWorkload } from "./base/thread-workload.ts";

/** The kinds of a module's memory (`enum mod_mem_type`), with the most pages here, and whether it is only for init. */
const KINDS = [
  { name: "text", pagesMax: 64, isInit: false, isProtected: true },
  { name: "data", pagesMax: 16, isInit: false, isProtected: false },
  { name: "rodata", pagesMax: 24, isInit: false, isProtected: true },
  { name: "ro_after_init", pagesMax: 1, isInit: false, isProtected: true },
  { name: "init_text", pagesMax: 4, isInit: true, isProtected: true },
  { name: "init_data", pagesMax: 2, isInit: true, isProtected: false },
  { name: "init_rodata", pagesMax: 2, isInit: true, isProtected: true },
] as const;
const CALLER = "load_module+0x0/0x0";

interface Shared {
  readonly live: number;
  readonly modules: number[][];
  loaded: number;
}

/** Loading and unloading of modules. */
export const moduleLoad = threadWorkload<Shared>({
  name: "module_load",
  summary: "modules loaded and unloaded: areas of the modules' range, flushed when protected and when freed",
  parameters: [
    { name: "live", kind: "integer", default: 100, low: 1, high: 2000, summary: "modules that are loaded at a time" },
  ],
  setUp: (_, parameters) => ({ live: integerParameter(parameters, "live"), modules: [], loaded: 0 }),
  *thread(thread, shared) {
    for (let i = 0; i < thread.operations; i++) {
      const areas = yield* load(thread);
      if (areas.length > 0) shared.modules.push(areas);
      shared.loaded++;
      if (shared.modules.length <= shared.live) continue;
      const [unloaded] = shared.modules.splice(thread.random.between(0, shared.modules.length - 1), 1);
      for (const area of unloaded) {
        thread.expect(area, area | 0);
        yield* thread.vfree(area);
      }
    }
  },
  report: (_, { loaded, modules }) => ({
    lines: [`${loaded} modules were loaded, ${modules.length} are at the end`],
    details: { modulesLoaded: loaded, modulesLive: modules.length },
  }),
});

/** What `module_alloc` asks for (`execmem_x86_init`). */
const MODULE_REQUEST: VmallocRequest = {
  ...VMALLOC_REQUEST,
  align: PAGE_SIZE,
  range: { start: MODULES_VADDR, end: MODULES_END },
  flags: VM_FLUSH_RESET_PERMS,
};

function* load(thread: WorkloadThread): KernelCode<number[]> {
  const { vm } = thread.kernel;
  const kept: number[] = [];
  const init: number[] = [];
  for (const { pagesMax, isInit, isProtected } of KINDS) {
    const sizeBytes = thread.random.between(1, pagesMax) * PAGE_SIZE;
    const call = () => __vmallocNodeRange(vm, sizeBytes, MODULE_REQUEST, CALLER);
    const area = yield* thread.allocate("module_alloc", sizeBytes, call);
    if (area === 0) continue;
    // The section is copied in (`move_module`): no store waits for the one before.
    for (let page = 0; page < sizeBytes; page += PAGE_SIZE) thread.independent.store(area + page, area | 0);
    (isInit ? init : kept).push(area);
    // set_memory_ro and set_memory_x change entries that may be cached (change_page_attr_set_clr, cpa_flush).
    if (isProtected) yield* thread.call("cpa_flush", flushTlbKernelRange(vm.flushing, area, area + sizeBytes, "call"));
  }
  for (const area of init) yield* thread.vfree(area);
  return kept;
}
