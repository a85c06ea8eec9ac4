/**
 * Calls as ftrace prints the kprobes and kretprobes on them, and idle CPUs as its `power:cpu_idle`: beside the events of
 * `ftrace-text.ts` what a replay of the trace needs to make the same calls.
 */
import { formatLinearAddress } from "../../arch/isa/linear-address.ts";
import type { EventLoop } from "../../arch/time/event-loop.ts";
import { TLB_FLUSH_REASONS, type TlbFlushObserver } from "../flush/tlb-flush-reasons.ts";
import type { CallArgument, CallName, CallProbes } from "../kernel/call-probes.ts";
import { CALL_DEFINITIONS, type CallArgumentKind } from "./call-definitions.ts";
import { type FtraceOptions, ftraceLine, IDLE_COMM } from "./ftrace-text.ts";

/** The events of accesses that the first-level TLBs do not translate, by kind of access: loads, stores, fetches. */
const MISSES = ["dtlb_load_misses", "dtlb_store_misses", "itlb_misses"] as const;
/** Those that need a page walk, and those that the second level translates. */
export const WALK_EVENTS: readonly string[] = MISSES.map((misses) => `${misses}.walk_completed`);
export const SECOND_LEVEL_HIT_EVENTS: readonly string[] = MISSES.map((misses) => `${misses}.stlb_hit`);
/** Where the kernel does not say which function it was. */
const UNKNOWN = "0x0";
/** The idle state that is shown: which one does not matter here. */
const IDLE_STATE = 1;
/** `PWR_EVENT_EXIT`: the CPU runs again. */
const IDLE_EXIT = 4294967295;

/** Sees calls and hands each event's line to `write`. */
export function ftraceCalls(loop: EventLoop, options: FtraceOptions, write: (line: string) => void): CallProbes {
  const emit = (event: string, payload: string): void => {
    const comm = loop.currentThread?.name ?? "swapper";
    write(ftraceLine(options, comm, loop.currentCpu, loop.nowCycles(), { event, text: payload }));
  };
  return {
    enter: (call, args) => emit(`${call}_enter`, `(${symbolOf(call)}+0x0/0x0)${formatArguments(call, args)}`),
    exit: (call, result, caller) => {
      const returned = CALL_DEFINITIONS[call].hasResult ? ` addr=${formatPointer(result)}` : "";
      emit(`${call}_exit`, `(${caller ?? UNKNOWN} <- ${symbolOf(call)})${returned}`);
    },
  };
}

/** Hands the lines of each time in which a CPU had nothing to run to `write`, once it is over. */
export function watchIdle(loop: EventLoop, options: FtraceOptions, write: (line: string) => void): void {
  loop.accounts.idleObserver = (cpu, fromCycles, untilCycles) => {
    const emit = (cycles: number, state: number): void => {
      write(ftraceLine(options, IDLE_COMM, cpu, cycles, { event: "cpu_idle", text: `state=${state} cpu_id=${cpu}` }));
    };
    emit(fromCycles, IDLE_STATE);
    emit(untilCycles, IDLE_EXIT);
  };
}

/**
 * Hands a line to `write` for each page walk and each hit of the second-level TLB (`perf record -e dtlb_load_misses.walk_completed:p -d`
 * and so on, samples of every one, as `perf script -F comm,tid,cpu,time,event,addr` names them): where memory is used, as far as the first
 * level does not hide it, so that a replay's second level has the same entries in the same order.
 */
export function watchMisses(
  loop: EventLoop,
  cpus: readonly { attributeFlushes(): { observe(onWalk: MissObserver, onSecondLevelHit: MissObserver): void } }[],
  options: FtraceOptions,
  write: (line: string) => void,
): void {
  const observer =
    (events: readonly string[]): MissObserver =>
    (kind, la) => {
      const comm = loop.currentThread?.name ?? "swapper";
      const text = formatLinearAddress(la).slice("0x".length);
      write(ftraceLine(options, comm, loop.currentCpu, loop.nowCycles(), { event: events[kind], text }));
    };
  for (const cpu of cpus) {
    cpu.attributeFlushes().observe(observer(WALK_EVENTS), observer(SECOND_LEVEL_HIT_EVENTS));
  }
}

type MissObserver = (kind: number, la: number) => void;

/** Hands a line to `write` each time that a CPU goes to user mode or comes back (`context_tracking:user_enter`, `user_exit`). */
export function watchUserMode(
  loop: EventLoop,
  userMode: { observer: ((isInUser: boolean) => void) | null },
  options: FtraceOptions,
  write: (line: string) => void,
): void {
  userMode.observer = (isInUser) => {
    const comm = loop.currentThread?.name ?? "swapper";
    const event = isInUser ? "user_enter" : "user_exit";
    write(ftraceLine(options, comm, loop.currentCpu, loop.nowCycles(), { event, text: "" }).trimEnd());
  };
}

/** Hands `tlb:tlb_flush` of user address spaces to `write`. */
export function watchTlbFlushes(
  loop: EventLoop,
  flushing: { tlbFlushObserver: TlbFlushObserver | null },
  options: FtraceOptions,
  write: (line: string) => void,
): void {
  flushing.tlbFlushObserver = {
    tlbFlush: (cpu, reason, pages) => {
      const comm = loop.currentThread?.name ?? "swapper";
      const text = `pages:${pages} reason:${TLB_FLUSH_REASONS[reason]} (${reason})`;
      write(ftraceLine(options, comm, cpu, loop.clockCycles[cpu], { event: "tlb_flush", text }));
    },
  };
}

function symbolOf(call: CallName): string {
  return CALL_DEFINITIONS[call].functions[0].symbol;
}

function formatArguments(call: CallName, args: readonly CallArgument[]): string {
  return CALL_DEFINITIONS[call].args.map(({ name, kind }, i) => ` ${name}=${formatArgument(kind, args[i])}`).join("");
}

function formatArgument(kind: CallArgumentKind, value: CallArgument): string {
  if (typeof value === "string") return value;
  if (kind === "address") return formatLinearAddress(value);
  return kind === "hex" ? `0x${value.toString(16)}` : String(value);
}

/** A pointer that may be NULL. */
function formatPointer(value: number): string {
  return value === 0 ? "0x0" : formatLinearAddress(value);
}
