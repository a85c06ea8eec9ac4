import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ReplacementName, replacementPolicy } from "../../../arch/presets/replacement/index.ts";
import { afterUse } from "../../../arch/presets/replacement/policy.ts";
import { CpuArrays } from "../../../arch/tlb/cpu-arrays.ts";
import { Tlb } from "../../../arch/tlb/tlb.ts";
import { randomStream } from "../../../src/machine/random.ts";

/** A full set, seen only through what it evicts. */
class FullSet {
  private readonly tlb: Tlb;
  private next: number;
  private readonly tags: number[] = [];

  constructor(name: ReplacementName, ways: number) {
    const geometry = { name: "set", sets: 1, ways, indexHash: "linear" as const, replacement: name };
    this.tlb = new Tlb(geometry, new CpuArrays(1, geometry.sets * geometry.ways, 65_536));
    this.next = 0;
    for (let way = 0; way < ways; way++) this.miss();
  }

  /** Brings a new page in. */
  miss(): void {
    const tag = this.next++ * 4096;
    this.tlb.insert(tag, tag / 4096, 0, 0, 0, 0);
    this.tags.push(tag);
  }

  hit(tag: number): void {
    this.tlb.touch(this.tlb.find(tag, tag / 4096, 0));
  }

  /** The pages held, the one that stays longest under misses first. Found by evicting all of them from a copy. */
  order(replay: (set: FullSet) => void, name: ReplacementName, ways: number): number[] {
    const copy = new FullSet(name, ways);
    replay(copy);
    const held = this.held();
    const left: number[] = [];
    let before = new Set(held);
    while (left.length < ways) {
      copy.miss();
      const now = new Set(copy.held().filter((tag) => held.includes(tag)));
      for (const tag of before) if (!now.has(tag)) left.unshift(tag);
      before = now;
    }
    return left;
  }

  held(): number[] {
    return Array.from({ length: this.tlb.slots }, (_, slot) => this.tlb.addressOf(slot));
  }
}

/** The permutation that an event makes of the positions: element j is the old position of what is at position j after. */
function permutation(name: ReplacementName, ways: number, event: (set: FullSet, order: number[]) => void): number[] {
  const warm = (set: FullSet): void => {
    // Any state that misses alone lead to will do: the order of eviction is the same in all of them.
    for (let i = 0; i < 3 * ways; i++) set.miss();
  };
  const set = new FullSet(name, ways);
  warm(set);
  const before = set.order(warm, name, ways);
  const both = (each: FullSet): void => {
    warm(each);
    event(each, before);
  };
  const after = new FullSet(name, ways);
  both(after);
  const order = after.order(both, name, ways);
  return order.map((tag) => (before.includes(tag) ? before.indexOf(tag) : ways - 1));
}

const digits = (text: string): number[] => [...text].map(Number);

describe("replacement policies have the permutation vectors measured on Skylake (TLB;DR, tables 3 and 4)", () => {
  test.each([
    [0, "0123"],
    [1, "1032"],
    [2, "2103"],
    [3, "3012"],
  ])("tree-PLRU of 4, hit at position %i", (position, vector) => {
    expect(permutation("tree-plru", 4, (set, order) => set.hit(order[position]))).toEqual(digits(vector));
  });

  test.each([
    [0, "01234567"],
    [1, "10325476"],
    [7, "70123456"],
  ])("tree-PLRU of 8, hit at position %i", (position, vector) => {
    expect(permutation("tree-plru", 8, (set, order) => set.hit(order[position]))).toEqual(digits(vector));
  });

  test("tree-PLRU of 4 and 8, miss", () => {
    expect(permutation("tree-plru", 4, (set) => set.miss())).toEqual(digits("3012"));
    expect(permutation("tree-plru", 8, (set) => set.miss())).toEqual(digits("70123456"));
  });

  test.each([
    [0, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]],
    [1, [1, 2, 0, 4, 5, 3, 7, 8, 6, 10, 11, 9]],
    [2, [2, 0, 1, 5, 3, 4, 8, 6, 7, 11, 9, 10]],
    [3, [3, 1, 2, 0, 4, 5, 9, 7, 8, 6, 10, 11]],
    [5, [5, 0, 1, 2, 3, 4, 11, 6, 7, 8, 9, 10]],
    [11, [11, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]],
  ])("(MRU+1)%%3 over PLRU4, hit at position %i", (position, vector) => {
    expect(permutation("mru3-plru4", 12, (set, order) => set.hit(order[position]))).toEqual(vector);
  });

  test("(MRU+1)%3 over PLRU4, miss", () => {
    expect(permutation("mru3-plru4", 12, (set) => set.miss())).toEqual([11, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });
});

describe("LRU and round robin", () => {
  test.each([2, 3, 4, 5, 6, 8, 64])(
    "LRU of %i ways moves what is hit to the front and keeps the rest in order",
    (ways) => {
      for (const position of [0, 1, Math.floor(ways / 2), ways - 1]) {
        const rest = Array.from({ length: ways }, (_, i) => i).filter((i) => i !== position);
        expect(permutation("lru", ways, (set, order) => set.hit(order[position]))).toEqual([position, ...rest]);
      }
    },
  );

  test("round robin evicts in order of filling, whatever is hit", () => {
    const identity = [0, 1, 2, 3, 4, 5];
    expect(permutation("round-robin", 6, (set, order) => set.hit(order[5]))).toEqual(identity);
    expect(permutation("round-robin", 6, (set) => set.miss())).toEqual([5, 0, 1, 2, 3, 4]);
  });

  test("tree-PLRU with a shared node: uses of the last quad's first pair move another quad's node, and nothing leads to its second pair", () => {
    // Each node by name, pointing to one of the two below it.
    const toward = { root: 0, half: [0, 0], quad: [0, 0, 0, 0], pair: new Array<number>(8).fill(0) };
    const victim = (): number => {
      const quad = 2 * toward.root + toward.half[toward.root];
      const pair = 2 * quad + toward.quad[quad];
      return 2 * pair + toward.pair[pair];
    };
    const use = (way: number): void => {
      const [pair, quad, half] = [way >> 1, way >> 2, way >> 3];
      toward.root = 1 - half;
      toward.half[half] = 1 - (quad & 1);
      toward.pair[pair] = 1 - (way & 1);
      if (quad < 3) toward.quad[quad] = 1 - (pair & 1);
      else if (pair === 6) toward.quad[1] = 0;
    };
    const { hitUse, fillUse, victims } = replacementPolicy("shared-node-plru", 16);
    const table = victims as Uint8Array;
    fc.assert(
      fc.property(fc.array(fc.option(fc.nat(15)), { minLength: 50, maxLength: 200 }), (ways) => {
        Object.assign(toward, { root: 0, half: [0, 0], quad: [0, 0, 0, 0], pair: new Array<number>(8).fill(0) });
        let state = 0;
        for (const way of ways) {
          expect(table[state]).toBe(victim());
          const used = way ?? table[state];
          state = afterUse(state, (way === null ? fillUse : hitUse)[used]);
          use(used);
        }
      }),
    );
  });

  test("of 16 ways of a tree with a shared node one is filled once, and one never", () => {
    const geometry = { name: "set", sets: 1, ways: 16, indexHash: "linear", replacement: "shared-node-plru" } as const;
    const tlb = new Tlb(geometry, new CpuArrays(1, 16, 65_536), [], 2);
    const random = randomStream(1);
    const fills = new Array<number>(16).fill(0);
    for (let i = 0; i < 5000; i++) {
      const page = random.between(0, 29);
      const slot = tlb.find(page * 4096, page, 0);
      if (slot >= 0) tlb.touch(slot);
      else fills[tlb.insert(page * 4096, page, 0, 0, page, 0)]++;
    }
    expect(fills.slice(14)).toEqual([1, 0]);
    expect(Math.min(...fills.slice(0, 14))).toBeGreaterThan(10);
  });

  test("a policy refuses a number of ways that it does not exist for", () => {
    expect(() => replacementPolicy("tree-plru", 12)).toThrow("tree-plru over 12 ways");
    expect(() => replacementPolicy("mru3-plru4", 8)).toThrow("mru3-plru4 over 8 ways");
  });
});

describe("tree-PLRU of a first-level TLB of four ways, kept as the places used last", () => {
  const make = (level?: 1): Tlb => {
    const geometry = { name: "set", sets: 4, ways: 4, indexHash: "xor", replacement: "tree-plru" } as const;
    return new Tlb(geometry, new CpuArrays(1, 16, 65_536), [], level);
  };

  test("evicts, slot by slot, what the table of states evicts, after any misses, hits and invalidations", () => {
    const step = fc.record({ page: fc.nat(40), drops: fc.boolean(), clears: fc.nat(50).map((n) => n === 0) });
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 300 }), (steps) => {
        const tlbs = [make(1), make()];
        expect(tlbs.map(({ replacement }) => replacement.isTree)).toEqual([true, false]);
        for (const { page, drops, clears } of steps) {
          const slots = tlbs.map((tlb) => {
            if (clears) tlb.clear();
            const slot = tlb.find(page * 4096, page, 0);
            if (slot < 0) return tlb.insert(page * 4096, page, 0, 0, page, 0);
            if (drops) tlb.drop(slot);
            else tlb.touch(slot);
            return slot;
          });
          expect(slots[0]).toBe(slots[1]);
        }
      }),
    );
  });
});

describe("ages of the entries of a set", () => {
  const POLICIES = [
    ["lru", 4],
    ["lru", 12],
    ["tree-plru", 4],
    ["tree-plru", 8],
    ["mru3-plru2", 6],
    ["mru3-plru4", 12],
    ["mru4-plru4", 16],
    ["shared-node-plru", 16],
    ["quad-pair-plru", 12],
    ["round-robin", 4],
  ] as const;

  test.each(POLICIES)("%s of %i ways: new pages evict the oldest first, one after the other", (replacement, ways) => {
    const geometry = { name: "set", sets: 2, ways, indexHash: "linear" as const, replacement };
    fc.assert(
      fc.property(
        fc.constantFrom(1 as const, 2 as const),
        fc.array(fc.nat(3 * ways), { minLength: 1, maxLength: 8 * ways }),
        (level, uses) => {
          const tlb = new Tlb(geometry, new CpuArrays(1, 2 * ways, 65_536), [], level);
          for (const use of uses) {
            const number = 2 * use + 1;
            const slot = tlb.find(number * 4096, number, 0);
            if (slot >= 0) tlb.touch(slot);
            else tlb.insert(number * 4096, number, 0, 0, 0, 0);
          }
          const isUsed = (way: number): boolean => tlb.isUsed(ways + way);
          const ages = tlb.replacement.ages(1, isUsed);
          const evictions = new Map<number, number>();
          const held = Array.from({ length: ways }, (_, way) => (isUsed(way) ? tlb.addressOf(ways + way) : -1));
          for (let fill = 0; fill < 4 * ways; fill++) {
            const number = 2 * (1000 + fill) + 1;
            const way = tlb.insert(number * 4096, number, 0, 0, 0, 0) - ways;
            if (held[way] >= 0 && !evictions.has(way)) evictions.set(way, evictions.size);
          }
          // A tree with a shared node keeps what is on the side that nothing points to; the others evict all.
          const evicted = replacement === "shared-node-plru" ? evictions.size : held.filter((tag) => tag >= 0).length;
          expect(evictions.size).toBe(evicted);
          const expected = held.map((_, way) => evicted - 1 - (evictions.get(way) ?? evicted));
          expect(ages).toEqual(expected);
        },
      ),
      { numRuns: 50 },
    );
  });
});
