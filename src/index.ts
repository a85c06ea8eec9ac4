/** mmulab as a library: the booted kernel, recordings and their replay, workloads and their reports. */
export { bootKernel, DEFAULT_KERNEL_CONFIG, Kernel, type KernelConfig } from "./kernel.ts";
export { type EventFile, openEventFile } from "./output/event-file.ts";
export { type Random, randomStream } from "./random.ts";
export { EventRecorder } from "./recording/event-recorder.ts";
export { compareFinalState, type StateDifference } from "./recording/final-state.ts";
export type { RecordedCall, RecordingHeader } from "./recording/line-schemas.ts";
export { isKernelLogLine, parseAddressMarker, parsePageTableRun } from "./recording/page-table-text.ts";
export { EVENT_NAMES, type RecordedEvent, sameEvent } from "./recording/recorded-event.ts";
export type { RecordedState } from "./recording/recorded-state.ts";
export { RecordingError } from "./recording/recording-error.ts";
export {
  type CallItem,
  type EndItem,
  type MigrateItem,
  type RecordingItem,
  readRecording,
  type StartItem,
  type WaitItem,
} from "./recording/recording-reader.ts";
export { type ReplayOptions, type ReplayResult, replayRecording } from "./recording/replay.ts";
export type { ReplayDifference } from "./recording/replay-difference.ts";
export { bootRecordedKernel, captureState } from "./recording/replay-kernel.ts";
export { formatVmallocinfoLine, parseVmallocinfoLine, type VmallocinfoLine } from "./recording/vmallocinfo-text.ts";
export { EventCounter } from "./report/event-counter.ts";
export type { RunReport } from "./report/run-report.ts";
export { renderRunReport } from "./report/run-report-text.ts";
export { teeEvents } from "./report/tee-events.ts";
export type { TlbCounts } from "./report/tlb-counts.ts";
export { parseFtraceLine } from "./traces/ftrace-lines.ts";
export { type FtraceOptions, type FtraceReport, replayFtrace } from "./traces/ftrace-replay.ts";
export { type LackeyOptions, type LackeyReport, replayLackey } from "./traces/lackey-replay.ts";
export { type WorkloadCode, WorkloadThread } from "./workloads/context.ts";
export { findWorkload, loadWorkload, WORKLOADS } from "./workloads/index.ts";
export type { WorkloadGenerator } from "./workloads/own-workload.ts";
export {
  defaultParameters,
  type ParameterSpec,
  type ParameterValue,
  type ParameterValues,
  parseParameters,
} from "./workloads/parameters.ts";
export { runOnKernel, runWorkload } from "./workloads/run.ts";
export type { OperationCount, Workload, WorkloadOptions, WorkloadResult } from "./workloads/workload.ts";
