/** How many single invalidations a flush of a full TLB is worth, when the walks that refill it are counted. */

import { assumed, PAGE_SIZE, type Preset, type TlbPreset } from "../../../arch/index.ts";
import { allFrom } from "../../../arch/presets/figure.ts";
import { STRUCTURE_SHAPE_FIELDS, TLB_SHAPE_FIELDS } from "../../../arch/presets/preset.ts";
import { flushTlbKernelRange } from "../../../mm/index.ts";
import type { ExperimentContext } from "../base/experiment.ts";
import { ResidentCpus } from "../base/resident-cpus.ts";
import { DataTable, type Row } from "../base/table.ts";

const SINGLE_PAGES = 32;
const ROUNDS = 4;
/** The TLB of the argument behind Linux's ceiling. */
const SMALL_TLB_ENTRIES = 512;

const COLUMNS = {
  tlb: { heading: "TLB", text: true },
  liveEntries: { heading: "live entries" },
  flushCycles: { heading: "flush" },
  refillCycles: { heading: "refills" },
  refills: { heading: "walks" },
  invlpgCycles: { heading: "one INVLPG" },
  worthInvlpg: { heading: "worth INVLPGs" },
} as const;

/** Hot walks on Skylake are remembered to take 25 to 35 cycles: the preset's are the shortest of these. */
const LONGER_WALKS_CYCLES = [0, 5, 10];

/**
 * For one data TLB of 512 entries in place of the preset's: with the preset's walks, and with walks of 5 and 10 cycles more,
 * as far as remembered figures span. And for the preset's own TLBs.
 */
export function breakEven({ preset, bootAlone }: ExperimentContext): {
  table: DataTable<typeof COLUMNS>;
  findings: string[];
} {
  const own = preset.tlbs
    .filter(({ kinds, pageSizes }) => kinds.includes("load") && pageSizes.includes("4K"))
    .reduce((most, { sets, ways }) => Math.max(most, sets * ways), 0);
  const tlbs = withSmallTlb(preset.tlbs);
  const small = { ...preset, tlbs, pagingStructureCaches: ownStructureCaches(preset, tlbs) };
  const { walk } = small.costs;
  const rows = [
    ...LONGER_WALKS_CYCLES.map((longer) => {
      const slower = { ...small, costs: { ...small.costs, walk: { ...walk, value: walk.value + longer } } };
      return measure(
        bootAlone,
        slower,
        `${SMALL_TLB_ENTRIES} entries${longer === 0 ? "" : `, walks ${longer} cycles longer`}`,
        SMALL_TLB_ENTRIES,
      );
    }),
    measure(bootAlone, preset, preset.name, own),
  ];
  const findings = rows.map(
    ({ tlb, liveEntries, worthInvlpg }) =>
      `A flush of ${liveEntries} live entries (${tlb}), refills included, costs as much as ${worthInvlpg} single invalidations.`,
  );
  const title = "A flush of a full TLB and its refills in cycles, and in single invalidations";
  return { table: new DataTable("break-even", title, COLUMNS, rows), findings };
}

/** One data TLB for 4 KiB pages, 4-way, in place of all that hold them. */
function withSmallTlb(tlbs: readonly TlbPreset[]): TlbPreset[] {
  const rest = tlbs.filter(
    ({ kinds, pageSizes }) => !(kinds.includes("load") || kinds.includes("store")) || !pageSizes.includes("4K"),
  );
  return [
    ...rest,
    {
      name: `dTLB ${SMALL_TLB_ENTRIES}`,
      level: 1,
      kinds: ["load", "store"],
      pageSizes: ["4K"],
      sets: SMALL_TLB_ENTRIES / 4,
      ways: 4,
      indexHash: "linear",
      replacement: "tree-plru",
      origins: allFrom(TLB_SHAPE_FIELDS, assumed("this experiment varies the entries")),
    },
  ];
}

/** The paging-structure caches; one whose entries were in a TLB that is no more has caches of that TLB's size to itself. */
function ownStructureCaches(preset: Preset, tlbs: readonly TlbPreset[]): Preset["pagingStructureCaches"] {
  return Object.fromEntries(
    Object.entries(preset.pagingStructureCaches).map(([name, cache]) => {
      const host = "sharedWith" in cache ? preset.tlbs.find((tlb) => tlb.name === cache.sharedWith) : undefined;
      if (host === undefined || tlbs.includes(host)) return [name, cache];
      const { sets, ways, replacement } = host;
      const origins = allFrom(
        STRUCTURE_SHAPE_FIELDS,
        assumed("this experiment: as large as the TLB that it was part of"),
      );
      return [name, { sets, ways, replacement, origins }];
    }),
  );
}

function measure(
  boot: ExperimentContext["bootAlone"],
  preset: Preset,
  name: string,
  entries: number,
): Row<typeof COLUMNS> {
  const kernel = boot({ cpus: 1, memoryBytes: 2 ** 30, preset });
  const accounts = kernel.vm.flushing.keepAccounts();
  const resident = new ResidentCpus(kernel, entries);
  const area = kernel.vmalloc((SINGLE_PAGES + 600) * PAGE_SIZE, "flushed+0x0/0x0");
  const flush = (pages: number): void => {
    resident.touchAll();
    resident.touchAll();
    resident.runAmongBusy(flushTlbKernelRange(kernel.mm.flushing, area, area + pages * PAGE_SIZE), false);
  };
  for (let round = 0; round < ROUNDS; round++) flush(600);
  for (let round = 0; round < ROUNDS; round++) flush(SINGLE_PAGES);
  const whole = accounts.total(({ full }) => full);
  const single = accounts.total(({ full }) => !full);
  const flushCycles = whole.workCycles / ROUNDS;
  const refillCycles = whole.refillCycles / ROUNDS;
  const invlpgCycles = (single.workCycles + single.refillCycles) / ROUNDS / SINGLE_PAGES;
  return {
    tlb: name,
    liveEntries: entries,
    flushCycles: Math.round(flushCycles),
    refillCycles: Math.round(refillCycles),
    refills: Math.round(whole.refills / ROUNDS),
    invlpgCycles: Math.round(invlpgCycles * 10) / 10,
    worthInvlpg: Math.round(((flushCycles + refillCycles) / invlpgCycles) * 10) / 10,
  };
}
