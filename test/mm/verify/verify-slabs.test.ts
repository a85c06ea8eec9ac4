/** The checker of slab caches: it has nothing to say of caches in use, and says what is wrong with broken ones. */
import { describe, expect, it } from "vitest";
import { DONE } from "../../../mm/index.ts";
import type { KmemCache } from "../../../mm/slab/kmem-cache.ts";
import { Findings } from "../../../mm/verify/verify-findings.ts";
import { verifySlabs } from "../../../mm/verify/verify-slabs.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";
import { randomStream } from "../../../src/machine/random.ts";

const SEED = Number(process.env.MMULAB_SEED ?? Math.floor(Math.random() * 2 ** 32));
const OBJECT_BYTES = 8192;

interface Used {
  readonly kernel: Kernel;
  readonly cache: KmemCache;
}

/** A cache that two CPUs of two have used: slabs in every place. */
function used(): Used {
  const kernel = bootKernel({ cpus: 2 });
  const cache = kernel.mm.slabs.kmallocSlab(OBJECT_BYTES) as KmemCache;
  const objects = Array.from({ length: 40 }, () => cache.kmemCacheAlloc());
  kernel.run(() => {
    for (let i = 0; i < 20; i += 4) cache.kmemCacheFree(objects[i]);
    return DONE;
  }, 1);
  return { kernel, cache };
}

function found({ kernel }: Used): string[] {
  const findings = new Findings();
  verifySlabs(kernel.mm.slabs, findings);
  return findings.result();
}

describe("slab caches in use", () => {
  it(`are consistent whoever takes and frees their objects, seed ${SEED}`, () => {
    const random = randomStream(SEED);
    const kernel = bootKernel({ cpus: 3, numaNodes: 2 });
    const caches = [64, 512, OBJECT_BYTES].map((bytes) => kernel.mm.slabs.kmallocSlab(bytes) as KmemCache);
    const held = caches.map((): number[] => []);
    for (let step = 0; step < 3000; step++) {
      const of = random.between(0, caches.length - 1);
      const isFree = held[of].length > 0 && random.between(0, 100) < (step % 1000) / 10;
      kernel.run(
        () => {
          if (isFree) caches[of].kmemCacheFree(held[of].splice(random.between(0, held[of].length - 1), 1)[0]);
          else held[of].push(caches[of].kmemCacheAlloc());
          return DONE;
        },
        random.between(0, 2),
      );
      if (step % 50 === 0) expect(found({ kernel, cache: caches[of] })).toEqual([]);
    }
    expect(new Set(held[0]).size, "no object is held twice").toBe(held[0].length);
  });
});

describe("a broken slab cache", () => {
  it.each<[string, (cache: KmemCache) => void, string]>([
    [
      "counts another number of partial slabs of a node",
      (cache) => cache.nrPartial[0]++,
      "node 0 counts 4 partial slabs, but has 3",
    ],
    ["counts another number of a CPU's", (cache) => cache.partialSlabs[1]++, "CPU 1 counts 3 partial slabs, but has 2"],
    [
      "has an object on two lists",
      (cache) => {
        cache.freelist[0] = cache.slabFreelist[cache.nodeHead[0]];
      },
      "CPU 0's list has object",
    ],
    [
      "has an object twice",
      (cache) => {
        const first = cache.slabFreelist[cache.nodeHead[0]];
        cache.objects[2 * first] = first;
      },
      "is free twice",
    ],
    [
      "counts an object in use that is not",
      (cache) => {
        cache.inuse[cache.nodeHead[0]]++;
      },
      "counts 4 objects in use, and has 1 free ones",
    ],
    [
      "has a slab on two lists",
      (cache) => {
        cache.unusedSlabs = cache.nodeHead[0];
      },
      "is among a node's partial ones and among those not in use",
    ],
    [
      "has a slab that is not where it says",
      (cache) => {
        cache.where[cache.nodeHead[0]] = 3;
      },
      "says it is among a CPU's partial ones, but is among a node's partial ones",
    ],
    [
      "has lost a slab",
      (cache) => {
        cache.partial[1] = 0;
        cache.partialSlabs[1] = 0;
      },
      "says it is among a CPU's partial ones, but is on no list",
    ],
    [
      "has a link back that is wrong",
      (cache) => {
        cache.previous[cache.nodeTail[0]] = 0;
      },
      "link back is wrong",
    ],
  ])("%s, and is found", (_what, breakIt, text) => {
    const state = used();
    expect(found(state)).toEqual([]);
    breakIt(state.cache);
    expect(found(state).join("\n")).toContain(text);
  });
});
