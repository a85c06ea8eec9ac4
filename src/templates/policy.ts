/** The template of a flush policy of one's own. */

/** Its text. @param name what it is to be called: the file's name without its ending */
export function policyTemplate(name: string): string {
  return `/**
 * A flush policy: how a flush reaches the other CPUs.
 *
 *     mmulab run mixed --policy ./${name}.ts --accounts
 *     mmulab replay --ftrace trace.txt --policy ./${name}.ts
 *
 * The contract: when flush returns, no CPU will ever again use a translation of the range that it cached before flush was called.
 * A policy that breaks it shows: run checks every load, and ends with exit code 1 when one was wrong.
 */
import type { KernelCode } from "mmulab/arch";
import type { FlushContext, FlushPolicy, FlushRequest, UserFlushRequest } from "mmulab/mm";

const policy: FlushPolicy = {
  name: "${name}",
  summary: "interrupts to all CPUs; ranges of more than 8 pages take whole TLBs away",
  // true: every vunmap flushes at once, and its range is free right after, without a purge.
  eager: false,
  // Throws where the machine lacks what the policy needs: machine.features says what it has.
  check(machine) {
    void machine;
  },
  flush: flushKernelRange,
  // User address spaces may have a way of their own; without flushUser they are flushed as Linux does it.
  flushUser: flushUserRange,
};
export default policy;

const PAGES_MAX = 8;

/**
 * Flushes kernel addresses. request.invalidate flushes the range on the CPU that runs it, request.invalidateAll its whole TLB;
 * context.smp brings code to CPUs by interrupts, as on_each_cpu does, and books its costs in request.record.
 */
function* flushKernelRange({ smp }: FlushContext, request: FlushRequest): KernelCode<void> {
  const pages = (request.end - request.start) / 4096;
  const onCpu = request.full || pages > PAGES_MAX ? request.invalidateAll : request.invalidate;
  yield* smp.onEachCpu(onCpu, request.record);
}

/** Flushes a user address space: as Linux does it. */
function* flushUserRange(_: FlushContext, request: UserFlushRequest): KernelCode<void> {
  yield* request.nativeFlushTlbMulti();
}
`;
}
