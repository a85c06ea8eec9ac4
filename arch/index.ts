/** The machine's public interface. Start with machine.ts. */

export {
  type CachedGuestTranslation,
  type CachedTable,
  type CachedTranslation,
  cachedGuestTranslations,
  cachedTables,
  cachedTranslations,
} from "./cpu/cached-translations.ts";
export type { RegisterValues } from "./cpu/control-registers.ts";
export { Cpu } from "./cpu/cpu.ts";
export {
  INVLPGB_2M,
  INVLPGB_ASID,
  INVLPGB_FINAL_ONLY,
  INVLPGB_GLOBAL,
  INVLPGB_NESTED,
  INVLPGB_PAGES_MAX,
  INVLPGB_PCID,
  INVLPGB_VA,
  type InvlpgbRegisters,
  type InvlpgbRequest,
} from "./cpu/invlpgb-operands.ts";
export {
  RAR_INVPCID,
  RAR_INVPG,
  RAR_INVPG_NO_CR3,
  RAR_PAGES_MAX,
  RAR_SUBTYPES,
  type RarPayload,
  writeRarPayload,
} from "./cpu/rar-payload.ts";
export {
  MSR_RAR_ACT_VEC,
  MSR_RAR_CTRL,
  MSR_RAR_INFO,
  MSR_RAR_PAYLOAD_BASE,
  RAR_CTRL_ENABLE,
  RAR_CTRL_IGNORE_IF,
  RAR_FAILURE,
  RAR_PAYLOAD_BYTES,
  RAR_PAYLOADS,
  RAR_PENDING,
  RAR_SUCCESS,
  type RarRegisters,
  RemoteActions,
} from "./cpu/remote-actions.ts";
export { type EntryCounts, StructureCounting, type StructureReport } from "./cpu/structure-counting.ts";
export {
  type SecondStagePointer,
  TLB_CONTROL_ALL,
  TLB_CONTROL_GUEST,
  TLB_CONTROL_GUEST_NON_GLOBAL,
  TLB_CONTROL_NOTHING,
  Vcpu,
  type VcpuConfig,
} from "./cpu/vcpu.ts";
export {
  ACCESS_FETCH,
  ACCESS_IMPLICIT_LOAD,
  ACCESS_IMPLICIT_STORE,
  ACCESS_LOAD,
  ACCESS_SHADOW_STACK_LOAD,
  ACCESS_SHADOW_STACK_STORE,
  ACCESS_STORE,
  ACCESS_USER_SHADOW_STACK_STORE,
  type Access,
} from "./isa/access.ts";
export {
  decodeEptp,
  EPT_ACCESSED,
  EPT_DIRTY,
  EPT_EXECUTE,
  EPT_EXECUTE_USER,
  EPT_IGNORE_PAT,
  EPT_MEMORY_TYPE_SHIFT,
  EPT_PAGE_SIZE,
  EPT_READ,
  EPT_SUPPRESS_VE_HIGH,
  EPT_VIOLATION_EXECUTABLE,
  EPT_VIOLATION_FETCH,
  EPT_VIOLATION_LINEAR_NO_EXECUTE,
  EPT_VIOLATION_LINEAR_VALID,
  EPT_VIOLATION_LINEAR_WRITABLE,
  EPT_VIOLATION_READ,
  EPT_VIOLATION_READABLE,
  EPT_VIOLATION_SHADOW_STACK,
  EPT_VIOLATION_TRANSLATED,
  EPT_VIOLATION_USER_EXECUTABLE,
  EPT_VIOLATION_USER_LINEAR,
  EPT_VIOLATION_WRITABLE,
  EPT_VIOLATION_WRITE,
  EPT_WRITE,
  type EptAbilities,
  type EptPointer,
  encodeEptp,
  formatQualification,
} from "./isa/ept.ts";
export {
  ERROR_CODES,
  type ErrorCode,
  type ErrorDetails,
  MachineUsageError,
  MmulabError,
  TextFormatError,
} from "./isa/errors.ts";
export {
  formatErrorCode,
  GeneralProtectionFault,
  InvalidOpcode,
  PageFault,
  PF_FETCH,
  PF_PRESENT,
  PF_PROTECTION_KEY,
  PF_RESERVED,
  PF_SHADOW_STACK,
  PF_USER,
  PF_WRITE,
} from "./isa/faults.ts";
export {
  formatLinearAddress,
  formatLinearAddress16,
  LINEAR_SPACE_BYTES,
  linearAddressFromBigInt,
  linearAddressToBigInt,
  NonCanonicalAddress,
  PAGE_SHIFT,
  PAGE_SIZE,
  PMD_SIZE,
  PUD_SIZE,
  parseAddress64,
  parseLinearAddress,
} from "./isa/linear-address.ts";
export {
  ENTRIES_PER_TABLE,
  entryFrame,
  entryHigh,
  entryLow,
  PTE_ACCESSED,
  PTE_ADDRESS_HIGH,
  PTE_DIRTY,
  PTE_GLOBAL,
  PTE_PAGE_SIZE,
  PTE_PAT,
  PTE_PAT_LARGE,
  PTE_PCD,
  PTE_PKEY_SHIFT_HIGH,
  PTE_PRESENT,
  PTE_PWT,
  PTE_RW,
  PTE_USER,
  PTE_XD_HIGH,
} from "./isa/pte.ts";
export {
  CR0_AM,
  CR0_CD,
  CR0_ET,
  CR0_MP,
  CR0_NE,
  CR0_NW,
  CR0_PE,
  CR0_PG,
  CR0_WP,
  CR3_LAM_U48,
  CR3_LAM_U57,
  CR4_CET,
  CR4_LA57,
  CR4_LAM_SUP,
  CR4_LASS,
  CR4_PAE,
  CR4_PCIDE,
  CR4_PGE,
  CR4_PKE,
  CR4_PKS,
  CR4_SMAP,
  CR4_SMEP,
  EFER_LMA,
  EFER_LME,
  EFER_NXE,
  EFER_SCE,
  EFER_TCE,
  EFER_UAIE,
  MSR_EFER,
  MSR_PAT,
  MSR_PKRS,
} from "./isa/register-bits.ts";
export { StateError } from "./isa/state-error.ts";
export { VENDORS, type Vendor } from "./isa/vendor.ts";
export {
  EptMisconfiguration,
  EptViolation,
  EXIT_EPT_MISCONFIGURATION,
  EXIT_EPT_VIOLATION,
  EXIT_NESTED_PAGE_FAULT,
  NestedPageFault,
  NPF_FINAL,
  NPF_GUEST_TABLES,
  VmExit,
  VmFail,
} from "./isa/vm-exits.ts";
export { Machine, type MachineConfig } from "./machine.ts";
export { captureMachine, type MachineState, restoreMachine } from "./machine-state.ts";
export {
  CHUNK_FRAME_MASK,
  CHUNK_FRAMES,
  CHUNK_FRAMES_SHIFT,
  FRAME_WORDS,
  FRAME_WORDS_SHIFT,
  HIGH_MEMORY_START,
  LOW_MEMORY_BYTES,
  NoPhysicalMemory,
  PhysicalMemory,
} from "./memory/physical-memory.ts";
export { assumed, BASES, type Basis, documented, type Figure, measured, type Origin } from "./presets/figure.ts";
export { PRESETS, presetByName } from "./presets/index.ts";
export {
  allFiguresOf,
  countByBasis,
  type FiguresUsed,
  type FigureValue,
  figuresOf,
  type NamedFigure,
  withFigure,
} from "./presets/named-figures.ts";
export type { CostProfile, CpuFeatures, DataCachePreset, Preset, TlbPreset } from "./presets/preset.ts";
export { checkPreset, parsePreset } from "./presets/preset-schema.ts";
export type { VirtualizationFeatures, VirtualizationPreset } from "./presets/virtualization.ts";
export {
  ACTION_GO_ON,
  ACTION_INTERRUPT,
  ACTION_PREFETCH,
  type Action,
  actionOf,
  ChosenSteps,
  cpuOf,
  kindOf,
  type Scheduler,
} from "./time/chosen-steps.ts";
export {
  ACTIVITY_FLUSH,
  ACTIVITY_IDLE,
  ACTIVITY_INTERRUPT,
  ACTIVITY_IPI_SEND,
  ACTIVITY_IPI_WAIT,
  ACTIVITY_LINE_WAIT,
  ACTIVITY_LOCK_WAIT,
  ACTIVITY_OTHER,
  ACTIVITY_SWITCH,
  ACTIVITY_WALK,
  type ActivityObserver,
  CycleAccounts,
  SHARED_CORE,
} from "./time/cycle-accounts.ts";
export {
  compute,
  Deadlock,
  EventLoop,
  INTERRUPTED_IDLE,
  INTERRUPTED_RUNNING,
  INTERRUPTED_WAITING,
  type InterruptHandler,
  type KernelCode,
  PAUSE_COMPUTE,
  PAUSE_RESCHED,
  PAUSE_SLEEP,
  PAUSE_SPIN,
  PAUSE_TURN,
  type Pause,
  Thread,
} from "./time/event-loop.ts";
export { type CounterSnapshot, counterDifference, sumCounters } from "./time/perf-counters.ts";
export { SharedLines } from "./time/shared-lines.ts";
export {
  type ByDistance,
  DISTANCE_CLUSTER,
  DISTANCE_CORE,
  DISTANCE_FAR,
  DISTANCE_REMOTE,
  DISTANCE_SELF,
  DISTANCE_SOCKET,
  type Distance,
  defaultTopology,
  formatTopology,
  parseTopology,
  Topology,
  type TopologyConfig,
} from "./time/topology.ts";
export type { VcpuScheduler } from "./time/vcpu-scheduler.ts";
export { FlushAttribution, type RefillCost } from "./tlb/flush-attribution.ts";
export { formatProbe, type ProbeLevel, type ProbeResult } from "./walk/probe.ts";
export type { SecondStageLevel, SecondStageProbe } from "./walk/second-stage-probe.ts";
