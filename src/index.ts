/** mmulab as a library: the booted kernel, recordings and their replay, workloads and their reports. */

export {
  ERROR_CODES,
  type ErrorCode,
  type ErrorDetails,
  MmulabError,
  TextFormatError,
} from "../arch/isa/errors.ts";
export { ConfigError } from "../mm/lib/config-error.ts";
export { NotEnoughMemory } from "../mm/lib/not-enough-memory.ts";
export { RestoreError } from "../mm/snapshot/check-snapshot.ts";
export { isKernelLogLine, parseAddressMarker, parsePageTableRun } from "../mm/views/page-table-run.ts";
export { formatVmallocinfoLine, parseVmallocinfoLine, type VmallocinfoLine } from "../mm/views/vmallocinfo-line.ts";
export { EventCounter } from "./events/event-counter.ts";
export { EventRecorder } from "./events/event-recorder.ts";
export { EVENT_NAMES, type RecordedEvent, sameEvent } from "./events/recorded-event.ts";
export { teeEvents } from "./events/tee-events.ts";
export type {
  Column,
  Experiment,
  ExperimentContext,
  ExperimentOutcome,
  Plot,
  ResultTable,
  Series,
} from "./experiments/base/experiment.ts";
export { expect, load32, store32, tryLoad32, tryStore32, turn } from "./explore/base/accesses.ts";
export type { ExploreTest, ThreadOf } from "./explore/base/explore-test.ts";
export { Explorer, type ExplorerOptions, type ScheduleResult } from "./explore/base/explorer.ts";
export { FAILURE_KINDS, type Failure, type FailureKind } from "./explore/base/failure.ts";
export { minimise, replaySchedule } from "./explore/base/minimise.ts";
export type { ExplorePlan, ShareResult } from "./explore/base/plan.ts";
export { type Deviations, formatSchedule, parseSchedule } from "./explore/base/schedule-text.ts";
export { formatStory, type StoryLine, tellStory } from "./explore/base/story.ts";
export { DepthFirst, Pct, RandomWalk, Replayed, type Strategy } from "./explore/base/strategies.ts";
export { type ExploreBudget, explore } from "./explore/explore.ts";
export { EXPLORE_TESTS } from "./explore/tests/index.ts";
export type { GuestConfig } from "./guests/guest-config.ts";
export {
  InputFileError,
  OutputFileError,
  UnknownNameError,
  ValueError,
  WorkloadError,
} from "./input/errors.ts";
export {
  defaultParameters,
  type ParameterSpec,
  type ParameterValue,
  type ParameterValues,
  parseParameters,
} from "./input/parameters.ts";
export { bootKernel, DEFAULT_KERNEL_CONFIG, Kernel, type KernelConfig } from "./machine/kernel.ts";
export { type Random, randomStream } from "./machine/random.ts";
export { openEventFile } from "./output/event-file.ts";
export type { EventFile } from "./output/event-rows.ts";
export { compareFinalState, type StateDifference } from "./recording/final-state.ts";
export type { RecordedCall, RecordingHeader } from "./recording/line-schemas.ts";
export type { RecordedState } from "./recording/recorded-state.ts";
export type {
  CallItem,
  EndItem,
  MigrateItem,
  RecordingItem,
  StartItem,
  WaitItem,
} from "./recording/recording-parser.ts";
export { readRecording } from "./recording/recording-reader.ts";
export { type ReplayOptions, type ReplayResult, replayRecording } from "./recording/replay.ts";
export type { ReplayDifference } from "./recording/replay-difference.ts";
export { bootRecordedKernel, captureState } from "./recording/replay-kernel.ts";
export {
  compareReferences,
  type ReferenceOptions as LackeyOptions,
  type ReferenceOptions,
  type ReferenceReport as LackeyReport,
  type ReferenceReport,
  replayReferences as replayLackey,
  replayReferences,
} from "./references/reference-replay.ts";
export type { TlbCounts } from "./report/tlb-counts.ts";
export { runOnKernel, runWorkload } from "./runs/run.ts";
export type { RunReport } from "./runs/run-report.ts";
export { renderRunReport } from "./runs/run-report-text.ts";
export { parseFtraceLine } from "./traces/ftrace-lines.ts";
export { replayFtrace } from "./traces/ftrace-replay.ts";
export type {
  CallCost,
  FtraceOptions,
  FtraceReport,
  TaskCost,
  TracedFlushes,
} from "./traces/ftrace-report.ts";
export type { WorkloadGenerator } from "./workloads/base/checked-workload.ts";
export { type WorkloadCode, WorkloadThread } from "./workloads/base/context.ts";
export type { OperationCount, Workload, WorkloadOptions, WorkloadResult } from "./workloads/base/workload.ts";
export { findWorkload, loadWorkload, WORKLOADS } from "./workloads/index.ts";
