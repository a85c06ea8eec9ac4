/** The state of a whole machine as plain data, for saved states: what is in memory, in the CPUs, and how late it is. */
import { type CpusState, captureCpus, restoreCpus, withOwnCaches } from "./cpu/cpu-state.ts";
import { checkState } from "./isa/state-error.ts";
import type { Machine } from "./machine.ts";
import {
  capturePhysicalMemory,
  type PhysicalMemoryState,
  restorePhysicalMemory,
} from "./memory/physical-memory-state.ts";
import type { Thread } from "./time/event-loop.ts";
import { captureEventLoop, type EventLoopState, restoreEventLoop } from "./time/event-loop-state.ts";
import type { InterruptHandler } from "./time/pending-interrupts.ts";
import { type AttributionState, captureAttributions, restoreAttributions } from "./tlb/attribution-state.ts";

/** A machine. Typed arrays and plain objects only. */
export interface MachineState {
  readonly memory: PhysicalMemoryState;
  /** What the machine's memory holds that is not the guest's: tables of the second stage. Absent where `memory` is the machine's. */
  readonly hostMemory?: PhysicalMemoryState | undefined;
  readonly loop: EventLoopState;
  readonly cpus: CpusState;
  /** Refills that flushes make necessary; null while nobody attributes them. */
  readonly attribution: AttributionState | null;
}

/**
 * Copies the state of a machine; nothing of it changes with the machine.
 * @param workOf what a work item's thread, which has not begun, is called in the state; null for any other thread
 * @param isKept whether an interrupt that has yet to be taken is part of another state, which sends it anew
 * @throws StateError when a thread is in the middle of its code, or any other interrupt has yet to be taken
 */
export function captureMachine(
  machine: Machine,
  workOf: (thread: Thread) => string | null,
  isKept: (handler: InterruptHandler) => boolean = () => false,
): MachineState {
  const { memory, hostMemory, loop, cpus } = machine;
  const areVcpus = hostMemory !== null;
  const owners = withOwnCaches(cpus);
  const attributions = owners.flatMap(({ mmu }) => mmu.attribution ?? []);
  checkState("attribution", attributions.length % owners.length === 0, "is kept on some CPUs only");
  const numbers = areVcpus ? owners.map(({ virtualization }) => virtualization.numbers) : null;
  return {
    loop: captureEventLoop(loop, workOf, isKept),
    memory: capturePhysicalMemory(memory),
    ...(hostMemory === null ? {} : { hostMemory: capturePhysicalMemory(hostMemory) }),
    cpus: captureCpus(cpus, areVcpus),
    attribution: attributions.length === 0 ? null : captureAttributions(attributions, numbers),
  };
}

/**
 * Brings a machine of the same configuration, on which nothing is under way, into a captured state.
 * @param queue queues the work of that name on a CPU and returns its thread
 * @throws StateError when the state is that of another machine; the machine is not usable then
 */
export function restoreMachine(
  machine: Machine,
  state: MachineState,
  queue: (work: string, cpu: number) => Thread,
): void {
  const { memory, hostMemory, loop, cpus } = machine;
  const isFitting = (hostMemory === null) === (state.hostMemory === undefined);
  checkState("machine", isFitting, hostMemory === null ? "is none of a guest" : "is one of a guest");
  restorePhysicalMemory(memory, state.memory);
  if (hostMemory !== null && state.hostMemory !== undefined) restorePhysicalMemory(hostMemory, state.hostMemory);
  restoreCpus(cpus, state.cpus);
  if (state.attribution !== null) {
    for (const cpu of cpus) cpu.attributeFlushes();
    const owners = withOwnCaches(cpus);
    restoreAttributions(
      owners.map((cpu) => cpu.attributeFlushes()),
      state.attribution,
      hostMemory === null ? null : owners.map(({ virtualization }) => virtualization.numbers),
    );
  }
  restoreEventLoop(loop, state.loop, queue);
}
