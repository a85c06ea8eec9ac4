/** Events that say who runs where and who faults: `sched:sched_switch`, `exceptions:page_fault_user` and `page_fault_kernel`. */

/** A task begins to run on the CPU, or an access of it faults. */
export type TaskEvent =
  | {
      readonly event: "switch";
      /** The number of the task that runs from now on; 0 for none (idle). */
      readonly nextPid: number;
    }
  | {
      readonly event: "fault";
      /** Whether user mode faulted, or the kernel. */
      readonly isUser: boolean;
      readonly address: bigint;
      /** What the CPU pushed: bits of `PF_WRITE` and its neighbours. */
      readonly errorCode: number;
    };

const SWITCH = /^prev_comm=.{0,63}? prev_pid=\d{1,10} prev_prio=.{1,40}? ==> next_comm=.{0,63}? next_pid=(\d{1,10})\b/;
const FAULT = /^address=(?:0x)?([0-9a-f]{1,16})\b.{0,400}? error_code=(?:0x)?([0-9a-f]{1,8})\b/;

/** Reads the payload of the event `name`; null for an event of another name, or a payload of another form. */
export function taskEvent(name: string, payload: string): TaskEvent | null {
  if (name === "sched_switch") {
    const [, pid] = SWITCH.exec(payload) ?? [];
    return pid === undefined ? null : { event: "switch", nextPid: Number(pid) };
  }
  if (name !== "page_fault_user" && name !== "page_fault_kernel") return null;
  const [, address, errorCode] = FAULT.exec(payload) ?? [];
  if (address === undefined) return null;
  const isUser = name === "page_fault_user";
  return { event: "fault", isUser, address: BigInt(`0x${address}`), errorCode: Number.parseInt(errorCode, 16) };
}

/** The number of the task in `comm-pid`; -1 where there is none. */
export function pidOf(task: string): number {
  const [, pid] = /[-\s]\s*(\d+)(?:\/\d+)?$/.exec(task) ?? [];
  return pid === undefined ? -1 : Number(pid);
}
