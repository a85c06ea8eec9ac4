/** Pages that parent and child share after a fork: they cannot be written, until they are copied. */
import type { KernelCode } from "../../../arch/index.ts";
import { doWpPage, dupMm, type MmStruct, mprotect } from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { expect, tryLoad32, tryStore32, turn } from "../base/accesses.ts";
import type { ExploreTest, ThreadOf } from "../base/explore-test.ts";
import { END, PAGE, type Processes, processes, START } from "./processes.ts";

/** A process and, once it has forked, its children. */
interface Family extends Processes {
  child: MmStruct | null;
  second: MmStruct | null;
}

function spacesOf({ mms, child, second }: Family): readonly MmStruct[] {
  return [...mms, child, second].filter((mm) => mm !== null);
}

/** The process has forked. */
function forked(kernel: Kernel): Family {
  const situation = processes(kernel, 1);
  const child = kernel.run(() => dupMm(situation.spaces, situation.mms[0]));
  // All have read the page since.
  for (const cpu of kernel.machine.cpus) cpu.load(START, 4);
  return { ...situation, child, second: null };
}

/** What parent and children share is read-only for all of them. */
function checkShared(_kernel: Kernel, family: Family): void {
  const holders = new Map<number, boolean[]>();
  for (const { tables } of spacesOf(family)) {
    for (let at = START; at < END; at += PAGE) {
      tables.cursor.seek(at);
      const { isLeaf, frame, isWritable } = tables.cursor;
      if (isLeaf) holders.set(frame, [...(holders.get(frame) ?? []), isWritable]);
    }
  }
  for (const writable of holders.values()) {
    expect(writable.length === 1 || !writable.includes(true), "no page can be written that another process has too");
  }
}

/** Stores as a program does, whose faults the kernel handles. */
function* write(kernel: Kernel, { spaces, mms }: Family, address: number, value: number): KernelCode<void> {
  while (!(yield* tryStore32(kernel, address, value))) {
    expect((yield* doWpPage(spaces, mms[0], address)) === 0, "a write fault is handled");
  }
}

const forkAgainstStores: ExploreTest<Family> = {
  name: "fork-against-stores",
  summary: "a process forks while a thread of it writes: once fork returns, writes fault",
  setup: (kernel) => ({ ...processes(kernel, 1), child: null, second: null }),
  check: checkShared,
  threads: [
    function* (_kernel, situation) {
      situation.child = yield* dupMm(situation.spaces, situation.mms[0]);
      situation.isDone = true;
    },
    function* (kernel, situation) {
      yield* turn(kernel, "store");
      const { isDone } = situation;
      const stored = yield* tryStore32(kernel, START, 7);
      expect(!stored || !isDone, "no page can be written once fork has returned");
    },
  ],
};

const copyAgainstLoads: ExploreTest<Family> = {
  name: "copy-against-loads",
  summary: "a page that a fork has left shared is copied and written while a thread reads it: what was written is seen",
  setup: forked,
  check: checkShared,
  threads: [
    function* (kernel, situation) {
      yield* write(kernel, situation, START, 7);
      situation.isDone = true;
    },
    function* (kernel, situation) {
      yield* turn(kernel, "load");
      const { isDone } = situation;
      const value = yield* tryLoad32(kernel, START);
      expect(value === 7 || !isDone, "what a thread has written is read by another");
    },
  ],
};

const twoCopies: ExploreTest<Family> = {
  ...copyAgainstLoads,
  name: "two-copies",
  summary:
    "two threads write to a page that a fork has left shared, and a third reads it: it is copied once, and what was written is seen",
  cpus: 3,
  threads: [
    ...[0, 1].map(
      (cpu): ThreadOf<Family> =>
        function* (kernel, situation) {
          yield* write(kernel, situation, START + 8 * cpu, 7);
          situation.isDone ||= cpu === 1;
        },
    ),
    function* (kernel, situation) {
      yield* turn(kernel, "load");
      const { isDone } = situation;
      const value = yield* tryLoad32(kernel, START + 8);
      expect(value === 7 || !isDone, "what a thread has written is read by another");
    },
  ],
};

const forkAgainstCopy: ExploreTest<Family> = {
  ...forkAgainstStores,
  name: "fork-against-copy",
  summary: "a process forks again while a thread of it copies a page: the child's memory is not written by its parent",
  setup: forked,
  threads: [
    function* (_kernel, situation) {
      situation.second = yield* dupMm(situation.spaces, situation.mms[0]);
      situation.isDone = true;
    },
    function* (kernel, situation) {
      yield* turn(kernel, "fault");
      yield* doWpPage(situation.spaces, situation.mms[0], START);
      yield* tryStore32(kernel, START, 7);
    },
  ],
};

const forkAgainstMprotect: ExploreTest<Family> = {
  ...forkAgainstStores,
  name: "fork-against-mprotect",
  summary:
    "a process forks while a thread of it makes the same pages read-only, which may find them so: once mprotect returns, writes fault",
  threads: [
    forkAgainstStores.threads[0],
    function* (kernel, { spaces, mms }) {
      yield* mprotect(spaces, mms[0], START, END, false);
      for (let at = START; at < END; at += PAGE) {
        expect(!(yield* tryStore32(kernel, at, 7)), "no page can be written by who has called mprotect");
      }
    },
  ],
};

const mprotectAgainstFork: ExploreTest<Family> = {
  ...forkAgainstStores,
  name: "mprotect-against-fork",
  summary:
    "pages become read-only while another thread of the process forks, which may find them so: once fork returns, writes fault",
  threads: [
    function* (_kernel, { spaces, mms }) {
      yield* mprotect(spaces, mms[0], START, END, false);
    },
    function* (kernel, situation) {
      const { spaces, mms } = situation;
      situation.child = yield* dupMm(spaces, mms[0]);
      for (let at = START; at < END; at += PAGE) {
        expect(!(yield* tryStore32(kernel, at, 7)), "no page can be written by who has forked");
      }
    },
  ],
};

/** Tests of forks. */
export const FORK_TESTS = [
  forkAgainstStores,
  copyAgainstLoads,
  twoCopies,
  forkAgainstCopy,
  forkAgainstMprotect,
  mprotectAgainstFork,
];
