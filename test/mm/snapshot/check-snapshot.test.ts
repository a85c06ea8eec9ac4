import { describe, expect, it } from "vitest";
import { RestoreError, restoreVmalloc, type VmallocSnapshot } from "../../../mm/index.ts";
import { busyKernel, freshKernel, type Recorded, record, restored } from "./recorded-kernel.ts";

const PAGE = 4096;
const VERSION = "6.12";

type Changed<T> = { -readonly [K in keyof T]: T[K] };
type Draft = { snapshot: Changed<VmallocSnapshot>; details: Recorded["details"]; runs: Recorded["runs"] };

/** Replaces one record of a list. */
function put<T>(list: readonly T[], at: number, change: Partial<T>): T[] {
  return list.map((each, i) => (i === at ? { ...each, ...change } : each));
}

/** What is changed, and how the contradiction is told. */
const CONTRADICTIONS: readonly (readonly [string, RegExp, (draft: Draft, nodes: number) => void])[] = [
  [
    "a busy area in the last node but one more",
    /^the area at 0x\w+ is in vmap node \d+, but there are \d+$/,
    ({ snapshot }, nodes) => {
      snapshot.busy = put(snapshot.busy, 0, { node: nodes });
    },
  ],
  [
    "a lazily freed area in a node that is not there",
    /is in vmap node/,
    ({ snapshot }, nodes) => {
      snapshot.lazy = put(snapshot.lazy, 0, { node: nodes });
    },
  ],
  [
    "a pooled area in a node that is not there",
    /is in vmap node/,
    ({ snapshot }, nodes) => {
      snapshot.pool = put(snapshot.pool, 0, { node: nodes });
    },
  ],
  [
    "a pool that is not there",
    /^the area at 0x\w+ is in pool 256, but there are 256$/,
    ({ snapshot }) => {
      snapshot.pool = put(snapshot.pool, 0, { index: 256 });
    },
  ],
  [
    "a block of a CPU that is not there",
    /^the vmap block at 0x\w+ is of CPU 2, hash \d: there are 2 CPUs$/,
    ({ snapshot }) => {
      snapshot.blocks = put(snapshot.blocks, 0, { cpu: 2 });
    },
  ],
  [
    "a block filed under a CPU that is not there",
    /^the vmap block at 0x\w+ is of CPU \d, hash 2: there are 2 CPUs$/,
    ({ snapshot }) => {
      snapshot.blocks = put(snapshot.blocks, 0, { hash: 2 });
    },
  ],
  [
    "a hole between areas",
    /^nothing says what lies from 0x\w+ to 0x\w+$/,
    ({ snapshot }) => {
      snapshot.busy = snapshot.busy.slice(1);
    },
  ],
  [
    "a hole at the end",
    /^nothing says what lies from 0x\w+ to 0xffffffffffff$/,
    ({ snapshot }) => {
      const last = snapshot.free.findIndex(({ end }) => end === 2 ** 48 - 1);
      snapshot.free = put(snapshot.free, last, { end: 2 ** 48 - 2 });
    },
  ],
  [
    "areas that overlap",
    /^0x\w+-0x\w+ begins below 0x\w+, where what is before it ends$/,
    ({ snapshot }) => {
      snapshot.busy = put(snapshot.busy, 1, { start: snapshot.busy[1].start - PAGE });
    },
  ],
  [
    "an area without bytes",
    /^0x(\w+)-0x\1 has no bytes$/,
    ({ snapshot }) => {
      const [{ start, node }] = snapshot.busy;
      snapshot.lazy = [{ start, end: start, vaFlags: 0, node }, ...snapshot.lazy];
    },
  ],
  [
    "a gap too many",
    /^the gap at 0x\w+ is one more than the free tree has places$/,
    ({ snapshot }) => {
      snapshot.free = snapshot.free.map((gap, i) => ({ ...gap, hasLeft: false, hasRight: i === 0 && gap.hasRight }));
      snapshot.free = put(snapshot.free, 0, { hasRight: false });
    },
  ],
  [
    "a gap at another depth",
    /^the gap at 0x\w+ is at depth 7, its place in the free tree at depth 0$/,
    ({ snapshot }) => {
      snapshot.free = put(snapshot.free, 0, { depth: 7 });
    },
  ],
  [
    "gaps out of order",
    /^the gap at 0x\w+ is out of order in the free tree: expected one in 0x\w+-0x\w+$/,
    ({ snapshot }) => {
      const [root] = snapshot.free;
      const left = snapshot.free[1];
      snapshot.free = put(put(snapshot.free, 0, { start: left.start, end: left.end }), 1, {
        start: root.start,
        end: root.end,
      });
    },
  ],
  [
    "a red gap below a red one",
    /^the gap at 0x\w+ is red below a red one$/,
    ({ snapshot }) => {
      snapshot.free = snapshot.free.map((gap) => ({ ...gap, black: false }));
    },
  ],
  [
    "a tree with a place left over",
    /^the free tree's records end before the tree is complete$/,
    ({ snapshot }) => {
      const at = snapshot.free.length - 1;
      snapshot.free = put(snapshot.free, at, { hasRight: true });
    },
  ],
  [
    "a pooled area of another size than its pool",
    /^the area at 0x\w+ has (\d+) pages, its pool \d+$/,
    ({ snapshot }) => {
      snapshot.pool = put(snapshot.pool, 0, { index: snapshot.pool[0].index + 1 });
    },
  ],
  [
    "a pooled area that names another node",
    /^the area at 0x\w+ is in a pool of node \d, but its va_flags are 7$/,
    ({ snapshot }) => {
      snapshot.pool = put(snapshot.pool, 0, { vaFlags: 7 });
    },
  ],
  [
    "a pool of another length",
    /^the area at 0x\w+: its pool has \d+ areas, not 77$/,
    ({ snapshot }) => {
      snapshot.pool = put(snapshot.pool, 0, { length: 77 });
    },
  ],
  [
    "lazily freed pages that do not add up",
    /^the lazily freed areas have \d+ pages, but lazy_nr is \d+$/,
    ({ snapshot }) => {
      snapshot.lazyNr++;
    },
  ],
  [
    "a block twice",
    /^the vmap block at 0x\w+ is there twice$/,
    ({ snapshot }) => {
      snapshot.blocks = [...snapshot.blocks, snapshot.blocks[0]];
    },
  ],
  [
    "a block with more pages than it has",
    /^the vmap block at 0x\w+ has 1024 free and \d+ dirty pages, more than 1024$/,
    ({ snapshot }) => {
      const at = snapshot.blocks.findIndex(({ dirty }) => dirty > 0);
      snapshot.blocks = put(snapshot.blocks, at, { free: 1024 });
    },
  ],
  [
    "a dirty range without pages",
    /^the vmap block at 0x\w+ has dirty pages from 5 to 5, with \d+ free ones$/,
    ({ snapshot }) => {
      snapshot.blocks = put(snapshot.blocks, 0, { dirty: 1, free: 100, dirtyMin: 5, dirtyMax: 5 });
    },
  ],
  [
    "a dirty range past the block",
    /has dirty pages from 5 to 1025, with/,
    ({ snapshot }) => {
      snapshot.blocks = put(snapshot.blocks, 0, { dirty: 1, free: 0, dirtyMin: 5, dirtyMax: 1025 });
    },
  ],
  [
    "a dirty range over what was never used",
    /has dirty pages from 0 to 25, with 1000 free ones/,
    ({ snapshot }) => {
      snapshot.blocks = put(snapshot.blocks, 0, { dirty: 1, free: 1000, dirtyMin: 0, dirtyMax: 25 });
    },
  ],
  [
    "a dirty range, and nothing dirty",
    /^the vmap block at 0x\w+ has no dirty pages, but a dirty range$/,
    ({ snapshot }) => {
      snapshot.blocks = put(snapshot.blocks, 0, { dirty: 0, free: 0, dirtyMin: 0, dirtyMax: 4 });
    },
  ],
  [
    "a block filed under the other CPU",
    /^the vmap block at 0x\w+ has hash (\d): expected \d$/,
    ({ snapshot }) => {
      snapshot.blocks = put(snapshot.blocks, 0, { hash: 1 - snapshot.blocks[0].hash });
    },
  ],
  [
    "a queue with a block that is not there",
    /^no vmap block at 0x1000$/,
    ({ snapshot }) => {
      snapshot.freeBlocks = put(snapshot.freeBlocks, 0, { start: 0x1000 });
    },
  ],
  [
    "a block twice in its queue",
    /^the vmap block at 0x\w+ is twice in its CPU's list$/,
    ({ snapshot }) => {
      snapshot.freeBlocks = [...snapshot.freeBlocks, snapshot.freeBlocks[0]];
    },
  ],
  [
    "a queue that says other dirty bounds",
    /^the vmap block at 0x\w+ has dirty pages from 3 to \d+, elsewhere others$/,
    ({ snapshot }) => {
      snapshot.freeBlocks = put(snapshot.freeBlocks, 0, { dirtyMin: 3 });
    },
  ],
  [
    "a queue that says another upper bound",
    /has dirty pages from \d+ to 999, elsewhere others$/,
    ({ snapshot }) => {
      snapshot.freeBlocks = put(snapshot.freeBlocks, 0, { dirtyMax: 999 });
    },
  ],
  ...(["free", "dirty", "cpu"] as const).map(
    (field) =>
      [
        `a queue that says another ${field}`,
        /^the vmap block at 0x\w+ has CPU \d, \d+ free and \d+ dirty pages, elsewhere CPU \d, \d+ and \d+$/,
        ({ snapshot }: Draft) => {
          const [entry] = snapshot.freeBlocks;
          snapshot.freeBlocks = put(snapshot.freeBlocks, 0, { [field]: entry[field] + 1 });
        },
      ] as const,
  ),
  [
    "a block with room on no queue",
    /^the vmap block at 0x\w+ has free pages but is in no list$/,
    ({ snapshot }) => {
      snapshot.freeBlocks = snapshot.freeBlocks.slice(1);
    },
  ],
  [
    "vmallocinfo of an area that is not there",
    /^the area at 0x5000 is not among the busy ones$/,
    (draft) => {
      draft.details = put(draft.details, 0, { start: 0x5000 });
    },
  ],
  [
    "vmallocinfo of an area twice",
    /^the area at 0x\w+ is there twice$/,
    (draft) => {
      draft.details = [...draft.details, draft.details[0]];
    },
  ],
  [
    "an area with more pages than fit",
    /^the area at 0x\w+ has 9999 pages: expected at most \d+$/,
    (draft) => {
      draft.details = put(draft.details, 0, { pages: 9999 });
    },
  ],
  [
    "a run of the page tables missing",
    /^the run of \w+s at 0x\w+: expected one at 0x\w+, where the one before ends$/,
    (draft) => {
      draft.runs = draft.runs.slice(1);
    },
  ],
  [
    "a run of half an entry",
    /^the run of \w+s at 0x\w+ ends at 0x\w+: expected whole entries of \d+ bytes$/,
    (draft) => {
      draft.runs = put(draft.runs, 0, { end: draft.runs[0].end + 8 });
    },
  ],
  [
    "a run that ends where it begins",
    /ends at 0x\w+: expected whole entries/,
    (draft) => {
      draft.runs = put(draft.runs, 0, { end: draft.runs[0].start });
    },
  ],
  [
    "small pages that say large",
    /^the run of ptes at 0x\w+ maps pages that this level has not$/,
    (draft) => {
      const at = draft.runs.findIndex(({ level, present }) => present && level === "pte");
      draft.runs = put(draft.runs, at, { pse: true });
    },
  ],
  [
    "large pages that do not",
    /^the run of pmds at 0x\w+ maps pages that this level has not$/,
    (draft) => {
      const at = draft.runs.findIndex(({ level, present }) => present && level === "pmd");
      draft.runs = put(draft.runs, at, { pse: false });
    },
  ],
  [
    "pages in the topmost table",
    /^the run of pgds at 0x\w+ maps pages$/,
    (draft) => {
      const at = draft.runs.findIndex(({ level }) => level === "pgd");
      draft.runs = put(draft.runs, at, { present: true, pse: false });
    },
  ],
];

describe("a recorded state that contradicts itself", () => {
  const recorded = record(busyKernel(VERSION));

  it("is none as it was recorded", () => {
    expect(() => restored(VERSION, recorded)).not.toThrow();
  });

  it.each(CONTRADICTIONS)("is refused for %s", (_, message, change) => {
    const kernel = freshKernel(VERSION);
    const draft: Draft = { ...recorded, snapshot: { ...recorded.snapshot } };
    change(draft, kernel.vm.nodes.length);
    let thrown: unknown;
    try {
      restoreVmalloc(kernel.vm, draft.snapshot, draft.details, draft.runs);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(RestoreError);
    const { message: said, record: blamed } = thrown as RestoreError;
    expect(said).toMatch(message);
    // Whose line is shown: one of the records that were given.
    const { snapshot, details, runs } = draft;
    const all: object[] = [
      ...snapshot.free,
      ...snapshot.busy,
      ...snapshot.lazy,
      ...snapshot.pool,
      ...snapshot.blocks,
      ...snapshot.freeBlocks,
      ...details,
      ...runs,
    ];
    expect(blamed === null || all.includes(blamed)).toBe(true);
    expect(blamed === null).toBe(/0xffffffffffff$|lazy_nr/.test(said));
  });
});
