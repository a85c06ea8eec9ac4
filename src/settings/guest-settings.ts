/** Settings of a guest and of the host below it: what each means, how its value is written, and what they make. */
import type { BalloonConfig } from "../guests/balloon.ts";
import type { GuestConfig } from "../guests/guest-config.ts";
import type { NumaBalancing } from "../guests/host-unmap.ts";
import { GUEST_PAGE_SIZES, type GuestPageSize } from "../guests/hypervisor.ts";
import type { HypervisorCosts } from "../guests/hypervisor-costs.ts";
import { ValueError } from "../input/errors.ts";
import { sizeBytes, wholeNumber } from "../input/values.ts";
import { COMMAND_CPUS_MAX } from "./machine-limits.ts";
import type { Setting } from "./setting.ts";
import { GUEST_SETTING_NAMES, type GuestSettingName } from "./setting-names.ts";

/** What was given of a guest, by the option's name in camel case. Without `guest` the others mean nothing. */
export interface GuestSettings {
  /** Whether the kernel runs as a guest. */
  readonly guest?: boolean;
  readonly guestPages?: GuestPageSize;
  readonly hostPages?: GuestPageSize;
  /** In place of the number of CPUs. */
  readonly vcpus?: number;
  readonly pcpus?: number;
  readonly overcommit?: number;
  readonly numaBalancing?: NumaBalancing;
  readonly balloon?: BalloonConfig;
}

/** Those that an experiment takes which chooses its number of CPUs itself. */
export const GUEST_EXPERIMENT_SETTINGS = GUEST_SETTING_NAMES.filter((name) => name !== "vcpus");

/** All of them by name. */
export const GUEST_SETTINGS: Readonly<Record<GuestSettingName, Setting>> = {
  guest: {
    value: "",
    summary:
      "the kernel runs as a guest: page walks of two dimensions, memory that a hypervisor maps when it is touched",
    parse: () => true,
  },
  "guest-pages": {
    value: "<size>",
    summary: "largest pages that a guest's kernel maps itself with: 4K, 2M or 1G (default 1G)",
    words: GUEST_PAGE_SIZES,
    parse: parseGuestPages,
  },
  "host-pages": {
    value: "<size>",
    summary: "pages that the hypervisor maps guest memory with: 4K, 2M or 1G (default 4K)",
    words: GUEST_PAGE_SIZES,
    parse: parseGuestPages,
  },
  vcpus: {
    value: "<number>",
    summary: "CPUs of a guest, in place of --cpus",
    parse: wholeNumber(1, COMMAND_CPUS_MAX),
    excludes: ["cpus"],
  },
  pcpus: {
    value: "<number>",
    summary: "physical CPUs below a guest, among which its vCPUs are shared out in turn (default: one a vCPU)",
    parse: wholeNumber(1, COMMAND_CPUS_MAX),
  },
  overcommit: {
    value: "<ratio>",
    summary: "vCPUs a physical CPU, such as 2 or 1.5, in place of --pcpus",
    parse: parseOvercommit,
    excludes: ["pcpus"],
  },
  "numa-balancing": {
    value: "<pages/us>",
    summary:
      "NUMA balancing of the host: takes so many of its pages from the guest, each time after so many microseconds",
    parse: (text) => pagesEach(text, "256/1000") satisfies NumaBalancing,
  },
  balloon: {
    value: "<pages/us>",
    summary:
      "a balloon of the guest: it gives so many pages of 4 KiB to the host, or takes them back, in turn after so many microseconds each",
    parse: (text) => pagesEach(text, "4096/1000") satisfies BalloonConfig,
  },
};

/**
 * What a guest is booted with.
 * @param cpus its vCPUs where they are not given; absent: their number is not known yet, and each has a physical CPU
 * @throws ValueError for more physical CPUs than vCPUs, and where their number is given in two ways
 */
export function guestSettings(
  settings: GuestSettings & { readonly figures?: { readonly hypervisorCosts?: HypervisorCosts } },
  cpus?: number,
): GuestConfig {
  const { guestPages, hostPages, pcpus, overcommit, numaBalancing, balloon, vcpus = cpus } = settings;
  const costs = settings.figures?.hypervisorCosts;
  if (pcpus !== undefined && overcommit !== undefined) {
    throw new ValueError("pcpus and overcommit", `${pcpus} and ${overcommit}`, "one of them");
  }
  if (pcpus !== undefined && vcpus !== undefined && pcpus > vcpus) {
    throw new ValueError("--pcpus", pcpus, `at most ${vcpus}, the vCPUs of the guest`);
  }
  const shared = overcommit === undefined || vcpus === undefined ? vcpus : Math.ceil(vcpus / overcommit);
  return {
    guestPages,
    hostPages,
    numaBalancing,
    balloon,
    physicalCpus: pcpus ?? shared,
    ...(costs === undefined ? {} : { costs }),
  };
}

/** Reads a size of pages. @throws ValueError for another than 4K, 2M and 1G */
export function parseGuestPages(text: string): GuestPageSize {
  const found = GUEST_PAGE_SIZES.find((size) => sizeBytes(size) === sizeBytes(text));
  if (found !== undefined) return found;
  throw new ValueError("", text, `one of ${GUEST_PAGE_SIZES.join(", ")}`);
}

function parseOvercommit(text: string): number {
  const ratio = /^\d{1,4}(\.\d{1,6})?$/.test(text) ? Number(text) : 0;
  if (ratio >= 1 && ratio <= COMMAND_CPUS_MAX) return ratio;
  throw new ValueError("", text, `vCPUs a physical CPU, from 1 to ${COMMAND_CPUS_MAX}`);
}

/** `256/1000`: so many pages, each time after so many microseconds. @throws ValueError for another text */
function pagesEach(text: string, example: string): { readonly pages: number; readonly periodUsec: number } {
  const [, pages, periodUsec] = /^(\d{1,9})\/(\d{1,9})$/.exec(text) ?? [];
  if (Number(pages) > 0 && Number(periodUsec) > 0) return { pages: Number(pages), periodUsec: Number(periodUsec) };
  throw new ValueError("", text, `pages/microseconds, such as ${example}`);
}

/** What {@link pagesEach} reads, as text. */
export function formatPagesEach({ pages, periodUsec }: NumaBalancing | BalloonConfig): string {
  return `${pages}/${periodUsec}`;
}
