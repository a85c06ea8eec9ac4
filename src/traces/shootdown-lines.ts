/**
 * Events of shootdowns: `tlb:tlb_flush`, `ipi:ipi_send_cpu` and `ipi:ipi_send_cpumask`, `irq_vectors:call_function_entry` and `_exit`,
 * and `call_function_single_entry` and `_exit`, with which a call of a function arrives that has only one target.
 */
import { TLB_FLUSH_REASONS } from "../../mm/index.ts";

/** What a kernel's shootdowns look like: a TLB flushed, interrupts sent, and the handler that runs what was asked for. */
export type ShootdownEvent =
  | {
      readonly event: "tlb";
      /** A number of `enum tlb_flush_reason`. */
      readonly reason: number;
      /** -1 for the whole TLB. */
      readonly pages: number;
    }
  | { readonly event: "ipi"; readonly targets: number }
  | { readonly event: "handler"; readonly isEnd: boolean };

const FLUSH = /^pages:\s*(-?\d{1,15}) reason:\s*[a-z ]+\((\d)\)$/;
const TO_ONE = /^cpu=\d+ callsite=\S+ callback=(\S*)/;
const TO_MANY = /^cpumask=([\da-f,-]{1,4096}) callsite=\S+ callback=(\S*)/;
/** A mask as the kernel prints it (`%*pb`): groups of 32 bits. */
const MASK = /^[\da-f]{8}(?:,[\da-f]{8})*$/;
/**
 * How the callback of calls of functions on other CPUs is named: shootdowns are such calls. It is the interrupt's handler, or the
 * function that is called, as traces of 6.4 have it.
 */
const CALLBACKS = [
  "generic_smp_call_function_single_interrupt",
  "flush_tlb_func",
  "do_flush_tlb_all",
  "do_kernel_range_flush",
];
const HANDLER = /^call_function_(?:single_)?(entry|exit)$/;
const CPUS_MAX = 8192;

/** Reads the payload of the event `name`; null for an event of another name, of another purpose, or a payload of another form. */
export function shootdownEvent(name: string, payload: string): ShootdownEvent | null {
  if (name === "tlb_flush") {
    const [, pages, reason] = FLUSH.exec(payload) ?? [];
    if (pages === undefined || Number(reason) >= TLB_FLUSH_REASONS.length) return null;
    return { event: "tlb", reason: Number(reason), pages: Number(pages) };
  }
  if (name === "ipi_send_cpu") return ipi(1, TO_ONE.exec(payload)?.[1]);
  if (name === "ipi_send_cpumask") {
    const [, list = "", callback] = TO_MANY.exec(payload) ?? [];
    return ipi(MASK.test(list) ? bitsIn(list) : cpusIn(list), callback);
  }
  const [, edge] = HANDLER.exec(name) ?? [];
  return edge === undefined ? null : { event: "handler", isEnd: edge === "exit" };
}

/** Interrupts for other purposes (to reschedule) are left out; where no callback is named they cannot be told apart. */
function ipi(targets: number, callback: string | undefined): ShootdownEvent | null {
  if (callback === undefined) return null;
  if (callback !== "" && !CALLBACKS.includes(callback.replace(/\+.*$/, ""))) return null;
  return { event: "ipi", targets };
}

/** How many CPUs a mask such as `00000000,0000000e` names. */
function bitsIn(mask: string): number {
  let count = 0;
  for (const group of mask.split(",")) {
    for (let bits = Number.parseInt(group, 16); bits !== 0; bits = (bits & (bits - 1)) >>> 0) count++;
  }
  return count;
}

/** How many CPUs a list such as `0-3,8` names. */
function cpusIn(list: string): number {
  let count = 0;
  for (const part of list.split(",")) {
    const [first, last = first] = part.split("-").map(Number);
    count += Math.max(0, Math.min(CPUS_MAX, last - first + 1));
  }
  return count;
}
