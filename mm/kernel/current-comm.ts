/** The name under which the kernel's messages know the thread that runs. */
import type { EventLoop } from "../../arch/time/event-loop.ts";

/** Characters of a thread's name that the kernel keeps (`TASK_COMM_LEN` less its end). */
const COMM_CHARACTERS = 15;

/** The name of the current thread (`current->comm`); where there is none, the idle thread's. */
export function currentComm(loop: EventLoop): string {
  return (loop.currentThread?.name ?? `swapper/${loop.currentCpu}`).slice(0, COMM_CHARACTERS);
}
