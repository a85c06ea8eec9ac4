/** Rights of kernel pages that are changed (set_memory), and memory for code that comes from the cache of execmem. */
import type { KernelCode } from "../../../arch/index.ts";
import {
  directMapAddress,
  execmemAlloc,
  execmemFree,
  setMemoryRo,
  setMemoryRw,
  vmalloc,
  wait,
} from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { expect, store32, tryStore32, turn } from "../base/accesses.ts";
import type { ExploreTest } from "../base/explore-test.ts";

const PAGE = 4096;

/** An area that all CPUs have written to, at its address and by its frames' other address, and whether the call on CPU 0 has returned. */
interface Aliased {
  readonly address: number;
  readonly alias: number;
  isDone: boolean;
}

function storeOnAll({ machine }: Kernel, addresses: readonly number[]): void {
  for (const cpu of machine.cpus) for (const address of addresses) cpu.store(address, 4, 1);
}

/** The address of a mapped page in the direct map. */
function inDirectMap({ machine }: Kernel, address: number): number {
  return directMapAddress(machine.cpus[0].probe(address).physical ?? 0);
}

/** Makes the first page read-only. */
function* makeReadOnly(kernel: Kernel, situation: Aliased): KernelCode<void> {
  expect((yield* setMemoryRo(kernel.vm, situation.address, 1)) === 0, "a page can be made read-only");
  situation.isDone = true;
}

/** Writes to both addresses of the page. */
function* storeToBoth(kernel: Kernel, situation: Aliased): KernelCode<void> {
  for (const address of [situation.address, situation.alias]) {
    yield* turn(kernel, "store");
    const { isDone } = situation;
    const stored = yield* tryStore32(kernel, address, 7);
    expect(!stored || !isDone, `no page can be written once set_memory_ro has returned (0x${address.toString(16)})`);
  }
}

const readOnly: ExploreTest<Aliased> = {
  name: "set-memory-ro-against-stores",
  summary: "a page becomes read-only while the other CPU writes to it, also by the direct map: then writes fault",
  setup(kernel) {
    const address = kernel.vmalloc(2 * PAGE);
    const alias = inDirectMap(kernel, address);
    storeOnAll(kernel, [address, alias]);
    return { address, alias, isDone: false };
  },
  threads: [makeReadOnly, storeToBoth],
};

const staleAlias: ExploreTest<Aliased> = {
  name: "set-memory-ro-and-lazy-alias",
  summary:
    "a page of the direct map becomes read-only, whose mapping by vmap is lazily freed: no CPU writes by that any more",
  setup(kernel) {
    const frames = kernel.allocFrames(1);
    const address = directMapAddress(frames[0] * PAGE);
    const alias = kernel.vmap(frames);
    storeOnAll(kernel, [address, alias]);
    kernel.vunmap(alias);
    return { address, alias, isDone: false };
  },
  threads: [makeReadOnly, storeToBoth],
};

const staleAliasOfSmallPage: ExploreTest<Aliased> = {
  ...staleAlias,
  name: "set-memory-ro-and-lazy-alias-of-small-page",
  summary:
    "the same where the direct map has small pages already: nothing is split, and set_memory_ro flushes one page itself",
  setup(kernel) {
    const frames = kernel.allocFrames(1);
    const address = directMapAddress(frames[0] * PAGE);
    // What splits a page flushes everything.
    kernel.run(() => setMemoryRo(kernel.vm, address, 1));
    kernel.run(() => setMemoryRw(kernel.vm, address, 1));
    const alias = kernel.vmap(frames);
    storeOnAll(kernel, [address, alias]);
    kernel.vunmap(alias);
    return { address, alias, isDone: false };
  },
};

/** Each CPU makes a page of its own read-only, in one large page: the last of them must not undo what the first has done. */
function* makeOwnPageReadOnly(kernel: Kernel, address: number, cpu: number): KernelCode<void> {
  const own = address + cpu * PAGE;
  expect((yield* setMemoryRo(kernel.vm, own, 1)) === 0, "a page can be made read-only");
  expect(!(yield* tryStore32(kernel, own, 7)), "no page can be written once set_memory_ro has returned");
}

const splitByTwo: ExploreTest<{ readonly address: number }> = {
  name: "large-page-split-by-two",
  summary:
    "both CPUs make a page of the same 2 MiB page read-only: it is split once, and the other pages stay writable",
  kernel: { memoryBytes: 32 * 2 ** 20 },
  setup(kernel) {
    const address = kernel.vmallocHuge(2 ** 21);
    storeOnAll(kernel, [address, address + PAGE, address + 2 * PAGE]);
    return { address };
  },
  threads: [0, 1].map(
    (cpu) =>
      function* (kernel, { address }) {
        yield* makeOwnPageReadOnly(kernel, address, cpu);
        yield* store32(kernel, address + 2 * PAGE, cpu);
      },
  ),
};

const backAndForth: ExploreTest<Aliased> = {
  ...readOnly,
  name: "set-memory-rw-against-vmalloc",
  summary: "a page becomes read-only and writable again while the other CPU allocates: what is writable can be written",
  threads: [
    function* (kernel, situation) {
      yield* makeReadOnly(kernel, situation);
      yield* setMemoryRw(kernel.vm, situation.address, 1);
      yield* store32(kernel, situation.address, 8);
      yield* store32(kernel, situation.alias, 9);
    },
    function* (kernel) {
      const other = yield* wait(vmalloc(kernel.vm, PAGE));
      yield* store32(kernel, other, 2);
    },
  ],
};

/** Two pieces of the cache's one region, which has little room besides. */
interface Pieces {
  readonly freed: number;
  taken: number;
}

const cachePieces: ExploreTest<Pieces> = {
  name: "execmem-free-against-alloc",
  summary: "a piece of the cache of executable memory is given back while the other CPU asks for one (7.3)",
  kernel: { kernel: "7.3", memoryBytes: 32 * 2 ** 20 },
  setup(kernel) {
    const freed = kernel.run(() => execmemAlloc(kernel.vm, "module text", PAGE));
    kernel.run(() => execmemAlloc(kernel.vm, "module text", PAGE));
    return { freed, taken: 0 };
  },
  threads: [
    function* (kernel, { freed }) {
      yield* execmemFree(kernel.vm, freed);
    },
    function* (kernel, situation) {
      yield* turn(kernel, "execmem_alloc");
      situation.taken = yield* wait(execmemAlloc(kernel.vm, "module text", PAGE));
      expect(situation.taken !== 0, "there is room in the cache");
      expect(!(yield* tryStore32(kernel, situation.taken, 7)), "memory of the cache cannot be written");
    },
  ],
};

/** Tests of rights that change. */
export const ATTRIBUTE_TESTS = [readOnly, staleAlias, staleAliasOfSmallPage, splitByTwo, backAndForth, cachePieces];
