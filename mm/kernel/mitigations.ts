/**
 * What mitigations against attacks by speculation cost on the ways into the kernel and out of it, and between processes: what Linux
 * selects on a part (`arch/presets/mitigations.ts`), as cycles at the places where the kernel does it (`arch/x86/entry/entry_64.S`,
 * `arch/x86/entry/calling.h`, `switch_mm_irqs_off`). Page-table isolation is emulated and not among these costs.
 */
import type { MitigationCosts } from "../../arch/presets/mitigations.ts";
import type { Preset } from "../../arch/presets/preset.ts";
import { ConfigError } from "../lib/config-error.ts";

/**
 * `off` is `mitigations=off`; `on` is `mitigations=auto`, where the barrier between processes is for those that ask for it; with `strict`
 * every change of process has it (`spectre_v2_user=on`).
 */
export const MITIGATION_MODES = ["off", "on", "strict"] as const;
/** What Linux does against attacks by speculation, by name. */
export type MitigationMode = (typeof MITIGATION_MODES)[number];

/** Cycles by place. */
export interface MitigationCycles {
  /** User mode enters the kernel: `UNTRAIN_RET`, `IBRS_ENTER`, `CLEAR_BRANCH_HISTORY`. */
  readonly entry: number;
  /** It goes back: `IBRS_EXIT`, `CLEAR_CPU_BUFFERS`. */
  readonly exit: number;
  /** A context switch: `FILL_RETURN_BUFFER`. */
  readonly contextSwitch: number;
  /** Another process than the last one gets the CPU (`cond_mitigation`): IBPB. */
  readonly processSwitch: number;
}

/** A cost that is paid at some of them. */
type MitigationCost = Exclude<keyof MitigationCosts, "returnThunk">;

/** Without any. */
export const NO_MITIGATIONS: MitigationCycles = { entry: 0, exit: 0, contextSwitch: 0, processSwitch: 0 };

/** What `mode` costs on a part. @throws ConfigError for a part of which nothing is known */
export function mitigationCycles(preset: Preset, mode: MitigationMode): MitigationCycles {
  if (mode === "off") return NO_MITIGATIONS;
  const { costs } = knownMitigations(preset, mode);
  const { entry, exit, contextSwitch, processSwitch } = mitigationCosts(preset, mode);
  const sum = (names: readonly MitigationCost[]): number => names.reduce((all, name) => all + costs[name].value, 0);
  return { entry: sum(entry), exit: sum(exit), contextSwitch: sum(contextSwitch), processSwitch: sum(processSwitch) };
}

/** Which of the preset's costs `mode` pays at each place, on a part of which they are known; none when it is `off`. */
export function mitigationCosts(
  preset: Preset,
  mode: MitigationMode,
): Readonly<Record<keyof MitigationCycles, readonly MitigationCost[]>> {
  if (mode === "off") return { entry: [], exit: [], contextSwitch: [], processSwitch: [] };
  const { selected } = knownMitigations(preset, mode);
  const ibrs: MitigationCost[] = selected.spectreV2 === "IBRS" ? ["specCtrl"] : [];
  const untrain: MitigationCost[] = selected.returns === "none" ? [] : ["untrainRet"];
  const history: MitigationCost[] = selected.branchHistory === "software sequence" ? ["clearBranchHistory"] : [];
  return {
    entry: [...ibrs, ...untrain, ...history],
    exit: selected.clearCpuBuffers ? [...ibrs, "verw"] : ibrs,
    contextSwitch: ["fillReturnBuffer"],
    processSwitch: mode === "strict" ? ["ibpb"] : [],
  };
}

/** What a return of kernel code takes more under `mode` on a part, in cycles. @throws ConfigError for a part of which nothing is known */
export function returnThunkCycles(preset: Preset, mode: MitigationMode): number {
  if (mode === "off") return 0;
  const { selected, costs } = knownMitigations(preset, mode);
  return selected.returns === "none" ? 0 : (costs.returnThunk?.value ?? 0);
}

/** Whether `mode` isolates page tables on a part. @throws ConfigError for a part of which nothing is known */
export function isolatesPageTables(preset: Preset, mode: MitigationMode): boolean {
  return mode !== "off" && knownMitigations(preset, mode).selected.pageTableIsolation;
}

/** `PTI, IBRS, VERW`: what `mode` does on a part, for reports; `off` when that is nothing. */
export function describeMitigations(preset: Preset, mode: MitigationMode): string {
  if (mode === "off" || preset.mitigations === undefined) return mode;
  const { pageTableIsolation, spectreV2, returns, branchHistory, clearCpuBuffers } = preset.mitigations.selected;
  const parts = [
    pageTableIsolation ? "PTI" : null,
    spectreV2,
    returns === "none" ? null : returns,
    branchHistory === "none" ? null : `BHI ${branchHistory}`,
    clearCpuBuffers ? "VERW" : null,
    mode === "strict" ? "IBPB always" : null,
  ].filter((part) => part !== null);
  return `${mode} (${parts.join(", ")})`;
}

function knownMitigations({ mitigations, name }: Preset, mode: MitigationMode) {
  if (mitigations !== undefined) return mitigations;
  throw new ConfigError("mitigations", mode, `off: the preset ${name} says nothing of its part's mitigations`);
}
