/**
 * The `fs_buffer_cache` workload: a file system whose buffers of several pages are mapped with `vm_map_ram` while they are
 * cached (as XFS does, `_xfs_buf_map_pages`), and given back in no particular order by whichever CPU reclaims them.
 */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { integerParameter } from "../input/parameters.ts";
import { threadWorkload } from "./base/thread-workload.ts";

/** Pages of a buffer, as often as they stand here: mostly directory blocks and inode clusters, now and then a long one. */
const BUFFER_PAGES = [2, 2, 2, 4, 4, 4, 4, 8, 8, 16, 32, 80] as const;
/** Words that are read of each page. */
const WORDS_READ = 4;

interface Buffer {
  readonly address: number;
  readonly frames: Uint32Array;
  readonly tag: number;
}

interface Shared {
  readonly live: number;
  readonly aliasesEvery: number;
  readonly cache: Buffer[];
  nextTag: number;
}

/** Short-lived mappings of page-cache pages. */
export const fsBufferCache = threadWorkload<Shared>({
  name: "fs_buffer_cache",
  summary: "a file system's buffers of 2 to 80 pages mapped with vm_map_ram, reclaimed by any CPU",
  parameters: [
    {
      name: "live",
      kind: "integer",
      default: 500,
      low: 1,
      high: 1_000_000,
      summary: "buffers that are cached at a time",
    },
    {
      name: "aliases_every",
      kind: "integer",
      default: 1000,
      low: 0,
      high: 1e9,
      summary: "operations of a CPU between two vm_unmap_aliases (0: never)",
    },
  ],
  setUp: (_, parameters) => ({
    live: integerParameter(parameters, "live"),
    aliasesEvery: integerParameter(parameters, "aliases_every"),
    cache: [],
    nextTag: 1,
  }),
  *thread(thread, shared) {
    const { random, independent } = thread;
    for (let i = 1; i <= thread.operations; i++) {
      const frames = thread.allocFrames(BUFFER_PAGES[random.between(0, BUFFER_PAGES.length - 1)]);
      if (frames === null) continue;
      const address = yield* thread.vmMapRam(frames);
      if (address === 0) {
        thread.freeFrames(frames);
        continue;
      }
      const tag = shared.nextTag;
      shared.nextTag = (tag + frames.length) | 0;
      // A buffer is read in and checksummed from end to end: no access says where the next goes.
      for (let page = 0; page < frames.length; page++) independent.store(address + page * PAGE_SIZE, tag + page);
      shared.cache.push({ address, frames, tag });
      if (shared.cache.length > shared.live) {
        const [evicted] = shared.cache.splice(random.between(0, shared.cache.length - 1), 1);
        for (let page = 0; page < evicted.frames.length; page++) {
          independent.expect(evicted.address + page * PAGE_SIZE, evicted.tag + page);
          for (let word = 1; word < WORDS_READ; word++)
            independent.load(evicted.address + page * PAGE_SIZE + 64 * word);
        }
        yield* thread.vmUnmapRam(evicted.address, evicted.frames.length);
        thread.freeFrames(evicted.frames);
      }
      if (shared.aliasesEvery > 0 && i % shared.aliasesEvery === 0) yield* thread.vmUnmapAliases();
    }
  },
});
