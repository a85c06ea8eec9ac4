/**
 * The booted kernel and workloads for programs that are not Node, such as a web page: nothing here, nor below it, imports a
 * module of Node. `import { bootKernel } from "mmulab/kernel"`.
 */

export { ERROR_CODES, type ErrorCode, type ErrorDetails, MmulabError } from "../arch/isa/errors.ts";
export { GeneralProtectionFault, InvalidOpcode, PageFault } from "../arch/isa/faults.ts";
export { ConfigError } from "../mm/lib/config-error.ts";
export { NotEnoughMemory } from "../mm/lib/not-enough-memory.ts";
export { EventCounter } from "./events/event-counter.ts";
export { EventRecorder } from "./events/event-recorder.ts";
export { EVENT_NAMES, type RecordedEvent } from "./events/recorded-event.ts";
export { teeEvents } from "./events/tee-events.ts";
export type { GuestConfig } from "./guests/guest-config.ts";
export { bootKernel, DEFAULT_KERNEL_CONFIG, Kernel, type KernelConfig } from "./machine/kernel.ts";
export { type Random, randomStream } from "./machine/random.ts";
export { runOnKernel, runWorkload } from "./runs/run.ts";
export type { RunReport } from "./runs/run-report.ts";
export { findWorkload, WORKLOADS } from "./workloads/all-workloads.ts";
export { type WorkloadCode, WorkloadThread } from "./workloads/base/context.ts";
export { threadWorkload } from "./workloads/base/thread-workload.ts";
export type { Workload, WorkloadOptions, WorkloadResult } from "./workloads/base/workload.ts";
