/**
 * The calls that are probed, as kprobes see them: which function of the kernel each is, by version, and where its arguments are. Who
 * writes such lines (`ftrace-text.ts`), who reads them, and the script that sets the probes up on a machine are made from this.
 *
 * A call is two events: `NAME_enter` with the arguments, `NAME_exit` with the result. ftrace prints them as
 * `vfree_enter: (vfree+0x0/0x90) addr=0xffffc90000005000` and `vfree_exit: (free_thread_stack+0x4e/0x80 <- vfree)`.
 */
import type { CallName } from "../kernel/call-probes.ts";

/** How an argument is written: hexadecimal of 64 bits, plain hexadecimal, a decimal number with its sign, a symbol, or a flag. */
export type CallArgumentKind = "address" | "hex" | "number" | "symbol";

/** One argument. */
export interface CallArgumentDefinition {
  readonly name: string;
  readonly kind: CallArgumentKind;
  /** Which of the function's arguments, from 1; each `>8` behind it follows the pointer to what lies at that offset. */
  readonly place: string;
  /** Bits of it that are read. */
  readonly bits: 32 | 64 | 8;
}

/** A function of the kernel, and arguments that it has elsewhere than the definition says. */
export interface ProbedFunction {
  readonly symbol: string;
  /** Places by argument; `null` for one that the function does not have. */
  readonly places?: Readonly<Record<string, string | null>>;
}

/** A probed call. */
export interface CallDefinition {
  /** Names that the function has had, the newest first: the first that a kernel has is probed. */
  readonly functions: readonly ProbedFunction[];
  readonly args: readonly CallArgumentDefinition[];
  /** Whether it returns an address. */
  readonly hasResult: boolean;
  /** What is recorded only when it is asked for, because it happens all the time: changes of address space. */
  readonly isOfUsers?: boolean;
}

const address = (name: string, place: string): CallArgumentDefinition => ({ name, kind: "address", place, bits: 64 });
const hex = (name: string, place: string, bits: 32 | 64 | 8 = 64): CallArgumentDefinition => ({
  name,
  kind: "hex",
  place,
  bits,
});
const number = (name: string, place: string, bits: 32 | 64 | 8 = 64): CallArgumentDefinition => ({
  name,
  kind: "number",
  place,
  bits,
});
const symbol = (name: string, place: string): CallArgumentDefinition => ({ name, kind: "symbol", place, bits: 64 });

/** `set_memory_ro(addr, numpages)` and its like. */
function changeOfRights(symbolName: string): CallDefinition {
  return {
    functions: [{ symbol: symbolName }],
    args: [address("addr", "1"), number("pages", "2", 32)],
    hasResult: false,
  };
}

/** By call. */
export const CALL_DEFINITIONS: Readonly<Record<CallName, CallDefinition>> = {
  vmalloc: {
    // `_noprof` since 6.10: memory allocation profiling calls the functions by macros.
    functions: [{ symbol: "__vmalloc_node_range_noprof" }, { symbol: "__vmalloc_node_range" }],
    args: [
      number("size", "1"),
      number("align", "2"),
      address("start", "3"),
      address("end", "4"),
      hex("gfp", "5", 32),
      hex("flags", "7"),
      number("node", "8", 32),
      symbol("caller", "9"),
    ],
    hasResult: true,
  },
  vmap: {
    functions: [{ symbol: "vmap" }],
    args: [number("count", "2", 32), hex("flags", "3")],
    hasResult: true,
  },
  vm_map_ram: {
    functions: [{ symbol: "vm_map_ram" }],
    args: [number("count", "2", 32), number("node", "3", 32)],
    hasResult: true,
  },
  vm_unmap_ram: {
    functions: [{ symbol: "vm_unmap_ram" }],
    args: [address("addr", "1"), number("count", "2", 32)],
    hasResult: false,
  },
  vfree: { functions: [{ symbol: "vfree" }], args: [address("addr", "1")], hasResult: false },
  vunmap: { functions: [{ symbol: "vunmap" }], args: [address("addr", "1")], hasResult: false },
  vrealloc: {
    functions: [
      { symbol: "vrealloc_node_align_noprof", places: { gfp: "4" } },
      { symbol: "vrealloc_noprof" },
      { symbol: "vrealloc" },
    ],
    args: [address("addr", "1"), number("size", "2"), hex("gfp", "3", 32)],
    hasResult: true,
  },
  ioremap: {
    functions: [{ symbol: "__ioremap_caller" }],
    args: [hex("phys", "1"), number("size", "2"), number("mode", "3", 32), symbol("caller", "4")],
    hasResult: true,
  },
  iounmap: { functions: [{ symbol: "iounmap" }], args: [address("addr", "1")], hasResult: false },
  vm_unmap_aliases: { functions: [{ symbol: "vm_unmap_aliases" }], args: [], hasResult: false },
  drain: { functions: [{ symbol: "drain_vmap_area_work" }], args: [], hasResult: false },
  purge: {
    functions: [{ symbol: "__purge_vmap_area_lazy" }],
    args: [address("start", "1"), address("end", "2")],
    hasResult: false,
  },
  flush_tlb_kernel_range: {
    functions: [{ symbol: "flush_tlb_kernel_range" }],
    args: [address("start", "1"), address("end", "2")],
    hasResult: false,
  },
  flush_tlb_all: { functions: [{ symbol: "flush_tlb_all" }], args: [], hasResult: false },
  set_memory_ro: changeOfRights("set_memory_ro"),
  set_memory_rw: changeOfRights("set_memory_rw"),
  set_memory_x: changeOfRights("set_memory_x"),
  set_memory_nx: changeOfRights("set_memory_nx"),
  // Since 6.2.
  set_memory_rox: changeOfRights("set_memory_rox"),
  // Of other changed attributes: no flush_tlb_kernel_range on x86. The argument is a struct cpa_data.
  cpa_flush: {
    functions: [{ symbol: "cpa_flush" }],
    args: [address("addr", "1>0>0"), number("pages", "1>32")],
    hasResult: false,
  },
  // The current process's memory. What the system calls do, whoever asks for it.
  mmap: {
    functions: [{ symbol: "vm_mmap_pgoff" }],
    args: [address("addr", "2"), number("size", "3"), hex("prot", "4"), hex("flags", "5")],
    hasResult: true,
    isOfUsers: true,
  },
  munmap: {
    functions: [{ symbol: "__vm_munmap" }],
    args: [address("addr", "1"), number("size", "2")],
    hasResult: false,
    isOfUsers: true,
  },
  flush_tlb_mm_range: {
    functions: [{ symbol: "flush_tlb_mm_range" }],
    args: [address("mm", "1"), address("start", "2"), address("end", "3"), number("freed", "5", 8)],
    hasResult: false,
    isOfUsers: true,
  },
  switch_mm: {
    functions: [{ symbol: "switch_mm_irqs_off" }],
    args: [address("next", "2")],
    hasResult: false,
    isOfUsers: true,
  },
  // A kernel thread goes on with the address space that is loaded.
  lazy_tlb: {
    functions: [{ symbol: "enter_lazy_tlb" }],
    args: [address("mm", "1")],
    hasResult: false,
    isOfUsers: true,
  },
};
