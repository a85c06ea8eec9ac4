import { describe, expect, it } from "vitest";
import { PMD_SIZE } from "../../../../arch/isa/linear-address.ts";
import {
  allocVmapArea,
  execmemAlloc,
  execmemFree,
  VMALLOC_END,
  VMALLOC_START,
  vmallocinfo,
  vmapNodeShrinkCount,
  wait,
} from "../../../../mm/index.ts";
import { GFP_KERNEL } from "../../../../mm/lib/gfp.ts";
import { bootKernel } from "../../../../src/machine/kernel.ts";
import { AREA_KINDS } from "../../../../src/view/model/area-kinds.ts";
import { pathToGap } from "../../../../src/view/model/free-search.ts";
import { formatLink, parseLink } from "../../../../src/view/model/link.ts";
import { DEFAULT_SCENARIO } from "../../../../src/view/model/scenario.ts";
import { Session } from "../../../../src/view/model/session.ts";
import { spaceSelection } from "../../../../src/view/model/space-selection.ts";
import { spaceView } from "../../../../src/view/model/space-view.ts";
import { Tracks } from "../../../../src/view/model/tracks.ts";

describe("the map of the vmalloc range", () => {
  const session = new Session({ ...DEFAULT_SCENARIO, operations: 900, settings: { "lazy-max": "64" } });
  session.runTo("end");
  const { kernel } = session;
  const { map, areas, areaCount } = spaceView(kernel);

  it("has each area of /proc/vmallocinfo and each pooled one, by address, none over another", () => {
    const pooled = vmapNodeShrinkCount(kernel.vm);
    expect(pooled).toBeGreaterThan(0);
    expect(areaCount).toBe(vmallocinfo(kernel.vm).length);
    expect(map.starts).toHaveLength(areaCount + pooled);
    for (let i = 1; i < map.starts.length; i++) expect(map.starts[i]).toBeGreaterThanOrEqual(map.ends[i - 1]);
    for (const { start, end, kind } of areas) {
      const at = map.starts.indexOf(start);
      expect([map.ends[at], AREA_KINDS[map.kinds[at]]]).toEqual([end, kind]);
    }
  });

  it("has areas that are only reserved, as those of ftrace text are", () => {
    const other = bootKernel({ cpus: 1, memoryBytes: 2 ** 28 });
    const range = { start: VMALLOC_START, end: VMALLOC_END };
    const request = { align: 1, range, gfp: GFP_KERNEL };
    function* reserve() {
      return yield* wait(allocVmapArea(other.vm, 3 * PMD_SIZE, request, 0, 0));
    }
    expect(other.run(reserve())).toBeGreaterThan(0);
    expect(vmallocinfo(other.vm)).toEqual([]);
    expect(spaceView(other)).toMatchObject({
      areaCount: 1,
      areas: [{ start: VMALLOC_START, end: VMALLOC_START + 3 * PMD_SIZE, kind: "other", caller: "" }],
    });
  });

  it("is, with the gaps of the free tree, the whole range", () => {
    let at = VMALLOC_START;
    for (let i = 0; at < VMALLOC_END; ) {
      const gap = pathToGap(kernel.vm, at).at(-1);
      if (gap !== undefined) {
        // The free tree begins at 1, below the range (`vmap_init_free_space`): so does the gap at its begin, if there is one.
        expect(gap.start).toBe(at === VMALLOC_START ? 1 : at);
        at = gap.end;
        continue;
      }
      // Parts of a lazily freed or busy area that were merged or have a guard page end with the next of them.
      expect(map.starts[i], at.toString(16)).toBe(at);
      at = map.ends[i++];
    }
    expect(at).toBeGreaterThanOrEqual(VMALLOC_END);
  });

  it("describes the areas of a window, and a link holds the window", () => {
    const [, second, third] = areas;
    const window = { start: second.start, end: third.start + 1 };
    expect(spaceView(kernel, window).areas).toEqual([second, third]);
    const place = { scenario: DEFAULT_SCENARIO, position: 3, focus: { cpu: null, address: null, window } };
    expect(parseLink(formatLink(place))).toEqual(place);
  });
});

describe("what is at an address", () => {
  const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 28 });
  const facts = (address: number) => {
    const { what, start, end, facts: found } = spaceSelection(kernel, address);
    return { what, start, end, ...Object.fromEntries(found) };
  };

  it("is an area with its vm_struct, its entries and its node", () => {
    const address = kernel.vmalloc(3 * 4096 - 100, "story+0x10/0x40");
    expect(facts(address + 4096)).toEqual({
      what: "area",
      start: address,
      end: address + 4 * 4096,
      "vmap node": `${kernel.vm.addrToNode(address).id} of 2`,
      flags: "VM_ALLOC",
      "asked for": "12188 bytes",
      caller: "story+0x10/0x40",
      nr_pages: "3, mapped with pages of order 0",
      entries: "3 of 4 KiB; pages without: 1",
    });
    kernel.vfree(address);
    expect(facts(address)).toMatchObject({ what: "lazily freed area", start: address, end: address + 4 * 4096 });
    kernel.vmUnmapAliases();
    expect(facts(address)).toMatchObject({ what: "pooled area", start: address });
  });

  it("is an area that large pages map", () => {
    const address = kernel.vmallocHuge(2 * PMD_SIZE);
    expect(facts(address)).toMatchObject({
      nr_pages: "1024, mapped with pages of order 9",
      entries: "2 of 2048 KiB; pages without: 1",
    });
  });

  it("is a region of the cache of executable memory, in the modules' range, and its pieces", () => {
    const newer = bootKernel({ cpus: 1, memoryBytes: 2 ** 27, kernel: "7.3" });
    const texts = [3, 2].map((pages) => newer.run(() => execmemAlloc(newer.vm, "module text", pages * 4096)));
    newer.run(execmemFree(newer.vm, texts[0]));
    const { what, start, facts: said } = spaceSelection(newer, texts[1]);
    expect([what, start]).toEqual(["area", texts[0]]);
    expect(Object.fromEntries(said)).toMatchObject({
      "executable memory": "pieces in use: 1, 2 of 512 pages; free pieces: 2",
      entries: "1 of 2048 KiB; pages without: 1",
    });
    // Its row is among those of the vmalloc range.
    expect(spaceView(newer).areas.map((area) => area.start)).toEqual([texts[0]]);
  });

  it("is a gap, with the way to it from the root of the free tree", () => {
    const { what, end, path } = spaceSelection(kernel, VMALLOC_END - 4096);
    // The kernel's free space goes on above the range that vmalloc asks for.
    expect(end).toBeGreaterThanOrEqual(VMALLOC_END);
    expect([what, path.at(-1)?.end, path.at(-1)?.went]).toEqual(["gap", end, "taken"]);
    expect(spaceSelection(kernel, 0x1000).what).toBe("outside");
  });
});

describe("the way of the last search through the free tree", () => {
  it("ends at the gap that the address came from, and passes what has no room", () => {
    const kernel = bootKernel({ cpus: 1, memoryBytes: 2 ** 28 });
    const tracks = new Tracks(kernel);
    const live: number[] = [];
    let passed = 0;
    for (let i = 0; i < 300; i++) {
      const pages = 1 + ((i * 7) % 300);
      const align = i % 5 === 0 ? 2 ** (12 + (i % 9)) : 1;
      tracks.lastSearch = null;
      const address = kernel.vmallocAlign(pages * 4096, align);
      live.push(address);
      if (i % 3 === 0) kernel.vfree(live.splice((i * 5) % live.length, 1)[0]);
      if (i % 40 === 0) kernel.vmUnmapAliases();
      // From a pool, without a search.
      const search = tracks.lastSearch as Tracks["lastSearch"];
      if (search === null) continue;
      const last = search.nodes.at(-1);
      expect(last?.went, `request ${i}`).toBe("taken");
      expect(last !== undefined && last.start <= address && address < last.end, `request ${i}`).toBe(true);
      for (const { subtreeMaxSize, end, start } of search.nodes)
        expect(subtreeMaxSize).toBeGreaterThanOrEqual(end - start);
      passed += search.nodes.filter(({ went }) => went === "right").length;
    }
    expect(passed).toBeGreaterThan(10);
  });
});
