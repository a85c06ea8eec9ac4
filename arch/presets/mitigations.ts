/**
 * What Linux does on a part against attacks by speculation, on the ways into the kernel and out of it, and between processes: what
 * `mitigations=auto` selects there with current microcode (`arch/x86/kernel/cpu/bugs.c`, stable kernels of 2025). Which part is
 * concerned stands in `cpu_vuln_blacklist` and `cpu_vuln_whitelist` of `arch/x86/kernel/cpu/common.c`.
 *
 * Not in it: retpolines, which compiled code pays wherever it calls through a pointer, and what hardware does on its own (enhanced and
 * automatic IBRS, `BHI_DIS_S`).
 */
import { allTakenOver, assumed, cycles, documented, type Figure, measured, type Origin } from "./figure.ts";

/** How indirect branches of the kernel are kept from what user mode has trained (`spectre_v2=auto`). */
export const SPECTRE_V2_MODES = ["retpolines", "IBRS", "enhanced IBRS", "automatic IBRS"] as const;
/** What makes returns safe when the kernel is entered (`UNTRAIN_RET`). */
export const RETURN_MODES = ["none", "untrained return thunk", "safe RET"] as const;
/** What keeps branch histories apart (`spectre_bhi=auto`). */
export const BRANCH_HISTORY_MODES = ["none", "software sequence", "BHI_DIS_S"] as const;

/** What `mitigations=auto` selects. */
export interface SelectedMitigations {
  /** Meltdown: user mode has page tables of its own (`--pti`). */
  readonly pageTableIsolation: boolean;
  /** Spectre v2: with IBRS the kernel writes `IA32_SPEC_CTRL` at each entry and each exit. */
  readonly spectreV2: (typeof SPECTRE_V2_MODES)[number];
  /** Retbleed and speculative return stack overflow. */
  readonly returns: (typeof RETURN_MODES)[number];
  /** Branch history injection: the software sequence runs at each system call. */
  readonly branchHistory: (typeof BRANCH_HISTORY_MODES)[number];
  /** MDS, MMIO stale data, transient scheduler attacks: VERW before each return to user mode. */
  readonly clearCpuBuffers: boolean;
}

/** What each operation costs. */
export interface MitigationCosts {
  /** A write of `IA32_SPEC_CTRL`. */
  readonly specCtrl: Figure<"cycles">;
  /** `UNTRAIN_RET`. */
  readonly untrainRet: Figure<"cycles">;
  /** What a return takes more through a return thunk, which makes it a mispredicted one. Absent: there is no thunk. */
  readonly returnThunk?: Figure<"cycles">;
  /** `CLEAR_BRANCH_HISTORY`. */
  readonly clearBranchHistory: Figure<"cycles">;
  /** VERW with the microcode that clears buffers. */
  readonly verw: Figure<"cycles">;
  /** Filling the return stack buffer at a context switch (`FILL_RETURN_BUFFER`). */
  readonly fillReturnBuffer: Figure<"cycles">;
  /** The indirect branch prediction barrier between processes. */
  readonly ibpb: Figure<"cycles">;
}

/** A part's mitigations. */
export interface MitigationsPreset {
  readonly selected: SelectedMitigations;
  readonly origins: Readonly<Record<keyof SelectedMitigations, Origin>>;
  readonly costs: MitigationCosts;
}

const LISTS = documented("Linux arch/x86/kernel/cpu/common.c: cpu_vuln_blacklist, cpu_vuln_whitelist; bugs.c");
const PAPER = "Behrens, Belay, Kaashoek, EuroSys 2022";

function remembered(value: number, part: string): Figure<"cycles"> {
  return cycles(value, assumed(`${PAPER}, on ${part}; remembered`));
}

const everything = (origin: Origin): MitigationsPreset["origins"] => ({
  pageTableIsolation: origin,
  spectreV2: origin,
  returns: origin,
  branchHistory: origin,
  clearCpuBuffers: origin,
});

const INTEL_COSTS: MitigationCosts = {
  specCtrl: cycles(
    850,
    assumed(
      "DragonFly BSD, commit 8ed0657196: 848 ns a system call with IBRS set at entry and reset at exit, 360 ns without, on a Skylake; halved, at 3.5 GHz",
    ),
  ),
  untrainRet: cycles(0, assumed("Intel parts have none")),
  clearBranchHistory: cycles(100, assumed("26 taken branches of two nested loops, 25 returns, LFENCE")),
  verw: remembered(518, "Skylake"),
  fillReturnBuffer: remembered(130, "Skylake"),
  ibpb: remembered(4500, "Skylake"),
};

/** Haswell and Ivy Bridge (server): Meltdown, MDS; Retbleed does not concern them. */
export const HASWELL_MITIGATIONS: MitigationsPreset = {
  selected: {
    pageTableIsolation: true,
    spectreV2: "retpolines",
    returns: "none",
    branchHistory: "none",
    clearCpuBuffers: true,
  },
  origins: {
    ...everything(LISTS),
    branchHistory: documented("Linux common.c: X86_BUG_BHI concerns parts with enhanced IBRS"),
  },
  costs: { ...allTakenOver(INTEL_COSTS, "Skylake"), specCtrl: cycles(0, assumed("not written at entries and exits")) },
};

/** Skylake (server): Meltdown, MDS, Retbleed. */
export const SKYLAKE_MITIGATIONS: MitigationsPreset = {
  selected: {
    pageTableIsolation: true,
    spectreV2: "IBRS",
    returns: "none",
    branchHistory: "none",
    clearCpuBuffers: true,
  },
  origins: {
    ...everything(LISTS),
    spectreV2: documented("Linux bugs.c: retbleed=auto selects IBRS on Intel parts that have no enhanced one"),
    branchHistory: documented("Linux common.c: X86_BUG_BHI concerns parts with enhanced IBRS"),
  },
  costs: INTEL_COSTS,
};

/** Ice Lake (server): stale data of MMIO, branch history injection. */
export const ICELAKE_MITIGATIONS: MitigationsPreset = {
  selected: {
    pageTableIsolation: false,
    spectreV2: "enhanced IBRS",
    returns: "none",
    branchHistory: "software sequence",
    clearCpuBuffers: true,
  },
  origins: {
    ...everything(LISTS),
    branchHistory: assumed("no BHI_DIS_S in IA32_SPEC_CTRL before Alder Lake; remembered"),
  },
  costs: {
    ...INTEL_COSTS,
    verw: cycles(458, assumed(`as Cascade Lake: ${PAPER}; remembered`)),
    fillReturnBuffer: remembered(69, "Ice Lake (server)"),
    ibpb: remembered(840, "Ice Lake (server)"),
  },
};

/** Sapphire Rapids and later: hardware keeps branch histories apart, and no buffer needs clearing. */
export const SAPPHIRE_RAPIDS_MITIGATIONS: MitigationsPreset = {
  selected: { ...ICELAKE_MITIGATIONS.selected, branchHistory: "BHI_DIS_S", clearCpuBuffers: false },
  origins: { ...everything(LISTS), branchHistory: assumed("BHI_DIS_S since Alder Lake; remembered") },
  costs: {
    ...ICELAKE_MITIGATIONS.costs,
    fillReturnBuffer: cycles(69, assumed("as Ice Lake (server)")),
    ibpb: cycles(840, assumed("as Ice Lake (server)")),
  },
};

const FAMILY_17H = documented("Linux common.c: VULNBL_AMD(0x17, RETBLEED | SMT_RSB | SRSO)");
const FAMILY_19H = documented("Linux common.c: VULNBL_AMD(0x19, SRSO | TSA)");

/** Zen 2: Retbleed. */
export const ZEN2_MITIGATIONS: MitigationsPreset = {
  selected: {
    pageTableIsolation: false,
    spectreV2: "retpolines",
    returns: "safe RET",
    branchHistory: "none",
    clearCpuBuffers: false,
  },
  origins: { ...everything(LISTS), returns: FAMILY_17H },
  costs: {
    specCtrl: cycles(0, assumed("not written on the way into the kernel or out of it")),
    untrainRet: cycles(40, assumed("a call, a jump into the middle of an instruction, LFENCE")),
    returnThunk: cycles(21, assumed("as Zen 4")),
    clearBranchHistory: cycles(0, assumed("AMD parts have none")),
    verw: cycles(500, assumed("as on Intel parts: nothing is known")),
    fillReturnBuffer: remembered(68, "Zen 2"),
    ibpb: remembered(1100, "Zen 2"),
  },
};

/** Zen 3: speculative return stack overflow, transient scheduler attacks. */
export const ZEN3_MITIGATIONS: MitigationsPreset = {
  selected: { ...ZEN2_MITIGATIONS.selected, clearCpuBuffers: true },
  origins: { ...everything(LISTS), returns: FAMILY_19H, clearCpuBuffers: FAMILY_19H },
  costs: { ...ZEN2_MITIGATIONS.costs, fillReturnBuffer: remembered(94, "Zen 3"), ibpb: remembered(800, "Zen 3") },
};

/** Zen 4: as Zen 3, with automatic IBRS. */
export const ZEN4_MITIGATIONS: MitigationsPreset = {
  selected: { ...ZEN3_MITIGATIONS.selected, spectreV2: "automatic IBRS" },
  origins: { ...ZEN3_MITIGATIONS.origins, spectreV2: documented("CPUID leaf 80000021h, EAX bit 8; Linux bugs.c") },
  costs: {
    ...ZEN3_MITIGATIONS.costs,
    returnThunk: cycles(
      21,
      measured(
        "an EPYC of model 17 (Genoa) in a virtual machine: 26 cycles for a call of a function that returns as srso_alias_safe_ret does, 5 for one that returns plainly (test/silicon/zen4/primitives.txt)",
      ),
    ),
    fillReturnBuffer: cycles(94, assumed("as Zen 3")),
    ibpb: cycles(800, assumed("as Zen 3")),
  },
};

const { returnThunk: _, ...WITHOUT_THUNK } = ZEN4_MITIGATIONS.costs;

/** Zen 5: user and kernel are kept apart by hardware. */
export const ZEN5_MITIGATIONS: MitigationsPreset = {
  ...ZEN4_MITIGATIONS,
  selected: { ...ZEN4_MITIGATIONS.selected, returns: "none", clearCpuBuffers: false },
  origins: {
    ...ZEN4_MITIGATIONS.origins,
    returns: documented("Linux bugs.c: SRSO_USER_KERNEL_NO, barriers at VM exits only"),
    clearCpuBuffers: documented("Linux common.c: transient scheduler attacks concern family 19h"),
  },
  costs: WITHOUT_THUNK,
};
