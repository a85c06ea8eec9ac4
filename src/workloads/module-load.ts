/**
 * The `module_load` workload: modules are loaded and unloaded. Each takes up to seven pieces of the modules' range
 * (`module_memory_alloc`, `execmem_alloc_rw`); kernels with a cache of executable memory take the text from it. Protecting them purges
 * and flushes (`kernel/module/strict_rwx.c`), the init pieces go once the module runs, and every free of an area flushes
 * (`VM_FLUSH_RESET_PERMS`).
 */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import {
  type ExecmemType,
  execmemAllocRw,
  execmemFree,
  execmemIsRox,
  execmemRestoreRox,
  setMemoryNx,
  setMemoryRo,
  setMemoryRox,
  type Vmalloc,
} from "../../mm/index.ts";
import { integerParameter } from "../input/parameters.ts";
import type { WorkloadThread } from "./base/context.ts";
import { threadWorkload } from "./base/thread-workload.ts";

/** What becomes of a kind of memory when the module is complete: read-only, not executable, or read-only and executable. */
type Protection = "ro" | "nx" | "rox";

/** The kinds of a module's memory (`enum mod_mem_type`), with the most pages here, whether it is only for init, and its rights. */
const KINDS = [
  { name: "text", pagesMax: 64, isInit: false, protection: "rox" },
  { name: "data", pagesMax: 16, isInit: false, protection: "nx" },
  { name: "rodata", pagesMax: 24, isInit: false, protection: "ro" },
  { name: "ro_after_init", pagesMax: 1, isInit: false, protection: "nx" },
  { name: "init_text", pagesMax: 4, isInit: true, protection: "rox" },
  { name: "init_data", pagesMax: 2, isInit: true, protection: "nx" },
  { name: "init_rodata", pagesMax: 2, isInit: true, protection: "ro" },
] as const;
/** In this order rights are changed before init runs (`complete_formation`). */
const PROTECTIONS: readonly Protection[] = ["ro", "nx", "rox"];
const CALLER = "load_module+0x0/0x0";

/** A piece of a module's memory. */
interface Piece {
  readonly kind: (typeof KINDS)[number];
  readonly address: number;
  readonly sizeBytes: number;
}

interface Shared {
  readonly live: number;
  readonly modules: Piece[][];
  loaded: number;
}

/** Loading and unloading of modules. */
export const moduleLoad = threadWorkload<Shared>({
  name: "module_load",
  summary:
    "modules loaded and unloaded: memory of the modules' range, purged and flushed when protected and when freed",
  parameters: [
    { name: "live", kind: "integer", default: 100, low: 1, high: 2000, summary: "modules that are loaded at a time" },
  ],
  setUp: (_, parameters) => ({ live: integerParameter(parameters, "live"), modules: [], loaded: 0 }),
  *thread(thread, shared) {
    for (let i = 0; i < thread.operations; i++) {
      const pieces = yield* load(thread);
      if (pieces.length > 0) shared.modules.push(pieces);
      shared.loaded++;
      if (shared.modules.length <= shared.live) continue;
      const [unloaded] = shared.modules.splice(thread.random.between(0, shared.modules.length - 1), 1);
      for (const { address } of unloaded) {
        thread.expect(address, address | 0);
        yield* unload(thread, address);
      }
    }
  },
  report: (_, { loaded, modules }) => ({
    lines: [`${loaded} modules were loaded, ${modules.length} are at the end`],
    details: { modulesLoaded: loaded, modulesLive: modules.length },
  }),
});

function* load(thread: WorkloadThread): KernelCode<Piece[]> {
  const { vm } = thread.kernel;
  const pieces: Piece[] = [];
  for (const kind of KINDS) {
    const sizeBytes = thread.random.between(1, kind.pagesMax) * PAGE_SIZE;
    const call = () => execmemAllocRw(vm, typeOf(kind), sizeBytes, CALLER);
    const address = yield* thread.allocate("module_alloc", sizeBytes, call);
    if (address === 0) continue;
    // The section is copied in (`move_module`): no store waits for the one before.
    for (let page = 0; page < sizeBytes; page += PAGE_SIZE) thread.independent.store(address + page, address | 0);
    pieces.push({ kind, address, sizeBytes });
  }
  for (const protection of PROTECTIONS) {
    for (const piece of pieces) if (piece.kind.protection === protection) yield* protect(thread, piece, protection);
  }
  for (const piece of pieces) if (piece.kind.name === "ro_after_init") yield* protect(thread, piece, "ro");
  for (const { kind, address } of pieces) if (kind.isInit) yield* unload(thread, address);
  return pieces.filter(({ kind }) => !kind.isInit);
}

function* protect(
  thread: WorkloadThread,
  { kind, address, sizeBytes }: Piece,
  protection: Protection,
): KernelCode<void> {
  const { vm } = thread.kernel;
  if (protection === "rox" && execmemIsRox(vm, typeOf(kind))) {
    yield* thread.call("execmem_restore_rox", () => execmemRestoreRox(vm, address, sizeBytes));
  } else {
    const change = SET_MEMORY[protection];
    yield* thread.call(`set_memory_${protection}`, () => change(vm, address, sizeBytes / PAGE_SIZE));
  }
}

const SET_MEMORY: Readonly<Record<Protection, (vm: Vmalloc, address: number, pages: number) => KernelCode<number>>> = {
  ro: setMemoryRo,
  nx: setMemoryNx,
  rox: setMemoryRox,
};

function typeOf({ protection }: (typeof KINDS)[number]): ExecmemType {
  return protection === "rox" ? "module text" : "module data";
}

function* unload(thread: WorkloadThread, address: number): KernelCode<void> {
  yield* thread.call("execmem_free", () => execmemFree(thread.kernel.vm, address));
}
