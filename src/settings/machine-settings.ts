/** Settings of a machine and its kernel by name: what each means, how its value is written, and what kernel it makes. */

import { formatTopology, parseTopology, type TopologyConfig } from "../../arch/index.ts";
import {
  ALL_FLUSH_POLICIES,
  DEFAULT_KERNEL_COSTS,
  DEFAULT_KERNEL_VERSION,
  DESTINATION_MODES,
  type DestinationMode,
  describeMitigations,
  type FlushPolicy,
  KERNEL_VERSIONS,
  type KernelCosts,
  type KernelVersion,
  kernelVersionByName,
  MEMCG_LEVELS_MAX,
  MITIGATION_MODES,
  type MitigationMode,
  SPINLOCK_KINDS,
  type SpinlockKind,
  type VmallocConfig,
} from "../../mm/index.ts";
import { unknownName, ValueError } from "../input/errors.ts";
import { OwnCode } from "../input/own-code.ts";
import { oneOf, pageCount, wholeNumber } from "../input/values.ts";
import type { KernelConfig } from "../machine/kernel.ts";
import type { FigureChoice } from "./figure-choice.ts";
import { formatPagesEach, GUEST_SETTINGS, type GuestSettings, guestSettings } from "./guest-settings.ts";
import { COMMAND_CPUS_MAX } from "./machine-limits.ts";
import type { Setting } from "./setting.ts";
import { SETTING_NAMES, type SettingName } from "./setting-names.ts";

/** What was given, by the option's name in camel case; what is absent is the kernel's own. */
export interface MachineSettings extends GuestSettings {
  readonly kernel?: string;
  readonly topology?: TopologyConfig;
  readonly policy?: FlushPolicy;
  readonly isolated?: readonly number[];
  readonly pti?: boolean;
  readonly mitigations?: MitigationMode;
  readonly memcgLevels?: number;
  readonly idleStates?: string;
  readonly flushCeiling?: number;
  readonly lazyMax?: number;
  readonly vmapNodes?: number;
  readonly nrCpus?: number;
  readonly ipiMode?: DestinationMode;
  readonly flushFreedTables?: boolean;
  readonly proveLocking?: boolean;
  readonly spinlocks?: SpinlockKind;
  /** What `--preset` and `--set` ask for; absent: mmulab's own figures of whatever preset the kernel is booted with. */
  readonly figures?: FigureChoice;
}

const PAGES_MAX = 2 ** 36;

/** Flush policies in files of one's own, once they are loaded (own-policy.ts). */
export const OWN_POLICIES = new OwnCode<FlushPolicy>();

/** All settings by name. */
export const SETTINGS: Readonly<Record<SettingName, Setting>> = {
  kernel: {
    value: "<version>",
    summary: `version of Linux (${KERNEL_VERSIONS.map(describeVersion).join(", ")}; default ${DEFAULT_KERNEL_VERSION.name})`,
    words: KERNEL_VERSIONS.map(({ name }) => name),
    parse: parseKernel,
  },
  topology: {
    value: "<SxCxT>",
    summary:
      "sockets x cores x threads, such as 2x64x2, or with clusters that share a last-level cache 2x8x8x2: room for so many CPUs (default: sockets of 64 cores, one thread each)",
    parse: parseTopologyOption,
  },
  policy: {
    value: "<name>",
    summary: `how flushes reach other CPUs (${policyNames().join(", ")}, or a FILE.ts of one's own; default ipi)`,
    words: policyNames(),
    takesFiles: true,
    parse: policyNamed,
  },
  isolated: {
    value: "<cpus>",
    summary: "CPUs such as 2-7,12 that the policy deferred leaves alone while they are in user mode",
    parse: parseCpuList,
  },
  pti: { value: "", summary: "page-table isolation: user mode has page tables of its own", parse: () => true },
  mitigations: {
    value: "<mode>",
    summary:
      "what Linux does on the part against attacks by speculation: off (default), on (mitigations=auto), strict (a barrier at every change of process too)",
    words: MITIGATION_MODES,
    parse: parseMitigations,
  },
  "memcg-levels": {
    value: "<levels>",
    summary:
      "levels of the memory cgroup, the root included, that user pages and __GFP_ACCOUNT memory are charged to (default 0: none)",
    parse: wholeNumber(0, MEMCG_LEVELS_MAX),
  },
  "idle-states": {
    value: "<deepest>",
    summary:
      "states of idle CPUs, from which interrupts wake them: poll, C1 and further ones of the preset (C1E, C6), all (default: C1, awake in kernel.ipi.idleWakeCycles)",
    parse: (text) => text,
  },
  "flush-ceiling": {
    value: "<pages>",
    summary: "tlb_single_page_flush_ceiling: ranges of more pages flush whole TLBs (default 33)",
    parse: pageCount(0, PAGES_MAX),
  },
  "lazy-max": {
    value: "<pages>",
    summary: "lazy_max_pages: lazily freed pages above which is purged (default fls(CPUs) * 8192)",
    parse: pageCount(0, PAGES_MAX),
  },
  "vmap-nodes": {
    value: "<number>",
    summary: "vmap nodes, 1 to 128 (default: one a CPU)",
    parse: wholeNumber(1, 128),
  },
  "nr-cpus": {
    value: "<number>",
    summary: "NR_CPUS that the kernel was built for: sets the size of vmap blocks (default: CPUs, at least 8)",
    parse: wholeNumber(1, 8192),
  },
  "ipi-mode": {
    value: "<mode>",
    summary: `how interrupts are addressed (${DESTINATION_MODES.join(", ")}; default cluster)`,
    words: DESTINATION_MODES,
    parse: parseIpiMode,
  },
  "flush-freed-tables": {
    value: "",
    summary:
      "flush the paging-structure caches of every PCID before a kernel page table is freed (6.12 flushes one page)",
    parse: () => true,
  },
  "prove-locking": {
    value: "",
    summary: "check that structures are used with their locks held and that locks are taken in one order",
    parse: () => true,
  },
  spinlocks: {
    value: "<kind>",
    summary:
      "how spinlocks are taken: queued (default, in the order in which CPUs come), test-and-set (in a guest without KVM_FEATURE_PV_UNHALT: whoever sees one free first)",
    words: SPINLOCK_KINDS,
    parse: (text) => oneOf(SPINLOCK_KINDS, text),
  },
  ...GUEST_SETTINGS,
};

/** Names of all flush policies. */
function policyNames(): string[] {
  return ALL_FLUSH_POLICIES.map((policy) => policy.name);
}

/** Whether a setting is on or off, and has no other value. */
function isSwitch(name: SettingName): boolean {
  return SETTINGS[name].value === "";
}

/** The key of an option's value, as of a setting in {@link MachineSettings}: `flushCeiling`. */
export function settingKey(name: string): string {
  return name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

/**
 * Reads settings from words, as in a sweep's grid (`pti`: true or false).
 * @throws ValueError, UnknownNameError for a value that is not possible
 */
export function readSettings(given: Readonly<Partial<Record<SettingName, string>>>): MachineSettings {
  return Object.fromEntries(
    SETTING_NAMES.filter((name) => given[name] !== undefined).map((name) => {
      const text = given[name] ?? "";
      return [settingKey(name), isSwitch(name) ? parseSwitch(text) : SETTINGS[name].parse(text)];
    }),
  );
}

/**
 * What a kernel of `cpus` CPUs is booted with. Absent settings are left out.
 * @throws ValueError for settings that do not fit the number of CPUs
 */
export function kernelSettings(settings: MachineSettings, machineCpus: number): Partial<KernelConfig> {
  const cpus = settings.vcpus ?? machineCpus;
  const { kernel, topology, policy, isolated, pti, flushCeiling, flushFreedTables, proveLocking } = settings;
  if (topology !== undefined && cpus > cpusOf(topology)) {
    const given = formatTopology(topology);
    const line = `--topology ${given}: has room for ${cpusOf(topology)} of ${cpus} CPUs`;
    throw new ValueError("topology", given, `room for ${cpus} CPUs`, line);
  }
  const absent = isolated?.find((cpu) => cpu >= cpus);
  if (absent !== undefined) {
    const line = `--isolated: there is no CPU ${absent}, expected 0 to ${cpus - 1}`;
    throw new ValueError("isolated", absent, `CPUs from 0 to ${cpus - 1}`, line);
  }
  if (settings.vmapNodes !== undefined && settings.vmapNodes > 1 && kernel !== undefined) {
    const { hasVmapNodes } = kernelVersionByName(kernel);
    if (!hasVmapNodes) throw new ValueError("--vmap-nodes", settings.vmapNodes, `1: Linux ${kernel} has no vmap nodes`);
  }
  if (settings.nrCpus !== undefined && settings.nrCpus < cpus) {
    throw new ValueError("--nr-cpus", settings.nrCpus, `at least ${cpus}, the CPUs of the machine`);
  }
  const { figures, mitigations, idleStates, memcgLevels, spinlocks } = settings;
  return {
    cpus,
    vmalloc: vmallocSettings(settings),
    ...(kernel === undefined ? {} : { kernel }),
    ...(topology === undefined ? {} : { topology }),
    ...(policy === undefined ? {} : { flushPolicy: policy }),
    ...(isolated === undefined ? {} : { isolatedCpus: isolated }),
    ...(pti === undefined ? {} : { pageTableIsolation: pti }),
    ...(mitigations === undefined ? {} : { mitigations }),
    ...(memcgLevels === undefined || memcgLevels === 0 ? {} : { memcgLevels }),
    ...(spinlocks === undefined ? {} : { spinlocks }),
    ...(idleStates === undefined ? {} : { idleStates }),
    ...(flushCeiling === undefined ? {} : { flushCeilingPages: flushCeiling }),
    ...(flushFreedTables === undefined ? {} : { flushFreedTables }),
    ...(proveLocking === undefined ? {} : { proveLocking }),
    ...(figures === undefined ? {} : { preset: figures.preset }),
    ...(settings.guest === true ? { guest: guestSettings(settings, cpus) } : {}),
    costs: kernelCosts(settings),
  };
}

/** What kernel code costs on machines with these settings, whatever the number of CPUs. */
export function kernelCosts({ figures, ipiMode }: MachineSettings): KernelCosts {
  const costs = figures?.costs ?? DEFAULT_KERNEL_COSTS;
  return ipiMode === undefined ? costs : { ...costs, ipi: { ...costs.ipi, destinationMode: ipiMode } };
}

/** The CPUs that a topology has room for. */
export function cpusOf({ sockets, coresPerSocket, threadsPerCore }: TopologyConfig): number {
  return sockets * coresPerSocket * threadsPerCore;
}

/** Settings that were given, as words by name, for reports. */
export function describeSettings(settings: MachineSettings): Record<string, string | number> {
  const { topology, policy, isolated, numaBalancing, balloon, mitigations, figures } = settings;
  const { presetFile, set } = settings.figures ?? {};
  const words: Record<string, unknown> = {
    ...settings,
    topology: topology === undefined ? undefined : formatTopology(topology),
    policy: policy?.name,
    isolated: isolated?.join("+"),
    mitigations: mitigations && figures ? describeMitigations(figures.preset, mitigations) : mitigations,
    numaBalancing: numaBalancing && formatPagesEach(numaBalancing),
    balloon: balloon && formatPagesEach(balloon),
  };
  const given = set === undefined ? [] : Object.entries(set).map(([name, value]) => `${name}=${value}`);
  return Object.fromEntries(
    [
      ...SETTING_NAMES.map((name) => [name, shown(words[settingKey(name)])]),
      ["preset-file", presetFile],
      ["set", given.length === 0 ? undefined : given.join(" ")],
    ].filter(([, value]) => value !== undefined),
  );
}

/** Settings as words that {@link readSettings} reads. A policy of one's own is its name, which only this program knows. */
export function settingTexts(settings: MachineSettings): Partial<Record<SettingName, string>> {
  const { topology, policy, isolated, numaBalancing, balloon } = settings;
  const values: Readonly<Record<string, unknown>> = {
    ...settings,
    topology: topology && formatTopology(topology),
    policy: policy?.name,
    isolated: isolated?.join(","),
    numaBalancing: numaBalancing && formatPagesEach(numaBalancing),
    balloon: balloon && formatPagesEach(balloon),
  };
  const given = SETTING_NAMES.filter((name) => values[settingKey(name)] !== undefined);
  return Object.fromEntries(given.map((name) => [name, String(values[settingKey(name)])]));
}

/** A value as reports show it: a switch is on or off. */
function shown(value: unknown): unknown {
  return typeof value === "boolean" ? (value ? "on" : "off") : value;
}

function vmallocSettings({ lazyMax, vmapNodes, nrCpus }: MachineSettings): Partial<VmallocConfig> {
  return {
    ...(lazyMax === undefined ? {} : { lazyMaxPages: lazyMax }),
    ...(vmapNodes === undefined ? {} : { vmapNodes }),
    ...(nrCpus === undefined ? {} : { nrCpus }),
  };
}

/** `6.12`, or `6.6 (no recordings)`. */
function describeVersion({ name, isRecorded }: KernelVersion): string {
  return isRecorded ? name : `${name} (no recordings)`;
}

function parseKernel(text: string): string {
  return oneOf(
    KERNEL_VERSIONS.map(({ name }) => name),
    text,
  );
}

function parseTopologyOption(text: string): TopologyConfig {
  const topology = parseTopology(text);
  if (topology !== null && cpusOf(topology) > 0) return topology;
  throw new ValueError(
    "",
    text,
    `sockets x cores of a socket x threads of a core, such as 2x64x1, or 2x8x8x1 with clusters, of at most ${COMMAND_CPUS_MAX} CPUs`,
  );
}

/**
 * The flush policy of that name, or in the file of that name, which was loaded.
 * @throws UnknownNameError when there is none
 */
export function policyNamed(text: string): FlushPolicy {
  const found = ALL_FLUSH_POLICIES.find(({ name }) => name === text) ?? OWN_POLICIES.find(text);
  if (found !== undefined) return found;
  throw unknownName("flush policy", text, policyNames());
}

function parseIpiMode(text: string): DestinationMode {
  return oneOf(DESTINATION_MODES, text);
}

function parseMitigations(text: string): MitigationMode {
  return oneOf(MITIGATION_MODES, text);
}

function parseSwitch(text: string): boolean {
  if (text === "true" || text === "false") return text === "true";
  throw new ValueError("", text, "true or false");
}

/** `2-7,12` as the kernel's command line writes lists of CPUs. */
function parseCpuList(text: string): number[] {
  const cpus = new Set<number>();
  for (const part of text.split(",")) {
    const match = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(part);
    const [first, last] = match === null ? [1, 0] : [Number(match[1]), Number(match[2] ?? match[1])];
    if (first > last) throw new ValueError("", text, "CPUs such as 2-7,12");
    for (let cpu = first; cpu <= last; cpu++) cpus.add(cpu);
  }
  return [...cpus].sort((a, b) => a - b);
}
