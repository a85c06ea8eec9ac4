/**
 * What Intel's and AMD's manuals say differently about paging, as data: a preset names its vendor, and nothing else asks for
 * names. "SDM" is the Intel manual, "APM" the AMD64 Architecture Programmer's Manual. Both agree on the rest: access rights,
 * error codes, protection keys, shadow stacks, PCIDs, reserved bits of leaves.
 */
import { PTE_GLOBAL } from "./pte.ts";

/** Vendors by name. */
export const VENDORS = ["intel", "amd"] as const;
/** A vendor by its name. */
export type Vendor = (typeof VENDORS)[number];

/**
 * Which cached entries that refer to page tables an invalidation of one page removes: none, those that lead to the page, all of
 * the PCID concerned, or all.
 */
export type TableEntries = "none" | "of the page" | "of the PCID" | "all";

const CR4_PSE = 2 ** 4;
const CR4_PAE = 2 ** 5;
const CR4_PGE = 2 ** 7;
const CR4_SMEP = 2 ** 20;
const CR4_PKE = 2 ** 22;

/** The differences. */
export interface VendorRules {
  /** Reserved bits of the low word of a PML4E or PML5E, beside PS (APM vol. 2, figures 5-19 and 5-20; ignored by the SDM, table 4-15). */
  readonly reservedTopLow: number;
  /** What INVLPG, and INVLPGB of a page, remove while EFER.TCE = 0 (SDM vol. 3A, 4.10.4.1; APM vol. 2, 5.5.3). With EFER.TCE = 1: "of the page". */
  readonly invlpgTableEntries: TableEntries;
  /** What INVPCID of one page removes while EFER.TCE = 0 (SDM vol. 3A, 4.10.4.1; APM vol. 2, 3.1.7). */
  readonly invpcidTableEntries: TableEntries;
  /**
   * Whether a walk that ends in a page fault is repeated from CR3, without cached entries, before the fault is raised (APM vol.
   * 2, 5.5.3 "Use of Cached Entries When Reporting a Page Fault Exception"). A stale entry then never causes a fault.
   */
  readonly confirmsPageFaults: boolean;
  /** Bits of CR4 whose change removes all translations, global ones too. */
  readonly cr4ChangeFlushesAll: number;
  /** Bits of CR4 that do so when they are set. CR4.PCIDE does so when it is cleared, with both vendors. */
  readonly cr4SetFlushesAll: number;
  /** Bits of CR4 that remove the translations of the current PCID when they are set. */
  readonly cr4SetFlushesPcid: number;
  /** Bits of EFER that read as zero whatever is written; other bits that are not there are #GP (APM vol. 2, figure 3-9). */
  readonly eferReadAsZero: number;
  /** Whether a write of EFER with another LMA than the present one is #GP (APM vol. 2, 3.1.7) and not ignored (SDM vol. 3A, 2.2.1). */
  readonly eferLmaMustMatch: boolean;
  /** Pairs of variable-range MTRRs, MTRRcap.VCNT (SDM vol. 3A, 11.11.1: 10 on current parts; APM vol. 2, 7.7.2: 8). */
  readonly variableMtrrs: number;
}

/** The rules of each vendor. CR4: SDM vol. 3A, 4.10.4.1; APM vol. 2, 3.1.3 and 5.5.3 "Implicit Invalidations". */
export const VENDOR_RULES: Readonly<Record<Vendor, VendorRules>> = {
  intel: {
    reservedTopLow: 0,
    invlpgTableEntries: "of the PCID",
    invpcidTableEntries: "of the page",
    confirmsPageFaults: false,
    cr4ChangeFlushesAll: CR4_PGE,
    cr4SetFlushesAll: 0,
    cr4SetFlushesPcid: CR4_SMEP,
    eferReadAsZero: 0,
    eferLmaMustMatch: false,
    variableMtrrs: 10,
  },
  amd: {
    reservedTopLow: PTE_GLOBAL,
    invlpgTableEntries: "all",
    invpcidTableEntries: "all",
    confirmsPageFaults: true,
    cr4ChangeFlushesAll: CR4_PGE + CR4_PSE + CR4_PAE,
    cr4SetFlushesAll: CR4_PKE,
    cr4SetFlushesPcid: 0,
    eferReadAsZero: 0xfe,
    eferLmaMustMatch: true,
    variableMtrrs: 8,
  },
};
