/** Page faults and switches of tasks in a trace: counted, made again, and what they tell of who needs a user flush. */
import { describe, expect, it } from "vitest";
import { parseFtraceLine } from "../../../src/traces/ftrace-lines.ts";
import { replayFtrace } from "../../../src/traces/ftrace-replay.ts";
import type { FtraceReport } from "../../../src/traces/ftrace-report.ts";
import { renderFtraceReport } from "../../../src/traces/ftrace-report-text.ts";
import { temporaryFolder } from "../fixtures.ts";

const folder = temporaryFolder();
const MM = "0xffff888100200000";

const at = (task: string, cpu: number, seconds: string, text: string): string =>
  `     ${task} [00${cpu}] d..2. ${seconds}: ${text}`;
const switchTo = (cpu: number, seconds: string, comm: string, pid: number): string =>
  at(
    "swapper-0",
    cpu,
    seconds,
    `sched_switch: prev_comm=swapper/${cpu} prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=${comm} next_pid=${pid} next_prio=120`,
  );
const fault = (task: string, cpu: number, seconds: string, address: string): string =>
  at(task, cpu, seconds, `page_fault_user: address=${address} ip=0x401000 error_code=0x6`);
/** A flush of one page of the process's memory. */
const flush = (task: string, cpu: number, from: string, to: string): string[] => [
  at(
    task,
    cpu,
    from,
    `flush_tlb_mm_range_enter: (flush_tlb_mm_range+0x0/0x1) mm=${MM} start=0x7f0000000000 end=0x7f0000001000 freed=0`,
  ),
  at(task, cpu, to, "flush_tlb_mm_range_exit: (unmap+0x0/0x1 <- flush_tlb_mm_range)"),
];

function replay(lines: readonly string[]): Promise<FtraceReport> {
  const file = folder.write("trace.txt", `${lines.join("\n")}\n`);
  return replayFtrace(file, { preset: "skylake", memoryBytes: 2 ** 30, accounts: true });
}

/** User flushes, and the CPUs that they interrupted. */
function userFlushes({ flushCosts }: FtraceReport): number[] {
  const rows = flushCosts?.byCause.filter(({ cause }) => cause === "user") ?? [];
  return rows.flatMap(({ flushes, interrupted }) => [flushes, interrupted]);
}

describe("lines of sched:sched_switch and exceptions:page_fault_user", () => {
  it("are read as the kernel prints them", () => {
    expect(parseFtraceLine(switchTo(1, "1.000000", "my task [x]", 41))).toMatchObject({
      event: "switch",
      cpu: 1,
      nextPid: 41,
    });
    expect(parseFtraceLine(fault("a-7", 0, "1.000000", "0x7f0000000123"))).toMatchObject({
      event: "fault",
      isUser: true,
      address: 0x7f0000000123n,
    });
    const kernel = "page_fault_kernel: address=0xffffc90000000000f ip=copy_user error_code=0x0";
    expect(parseFtraceLine(at("a-7", 0, "1.0", kernel))).toMatchObject({ event: "skip" });
    expect(
      parseFtraceLine(at("a-7", 0, "1.0", "page_fault_kernel: address=0x10 ip=copy error_code=0x0")),
    ).toMatchObject({
      event: "fault",
      isUser: false,
    });
    expect(parseFtraceLine(at("a-7", 0, "1.0", "sched_switch: prev_comm=a"))).toMatchObject({ event: "skip" });
  });
});

describe("a trace with switches of tasks and no loads of address spaces", () => {
  const threads = [
    switchTo(0, "1.000000", "worker", 11),
    switchTo(1, "1.000010", "worker", 12),
    switchTo(2, "1.000020", "kworker/2:1", 90),
    // Each flushes once, so that both are known as threads of one process.
    ...flush("worker-11", 0, "1.000100", "1.000110"),
    ...flush("worker-12", 1, "1.000200", "1.000210"),
  ];

  it("interrupts the CPUs on which threads of the process run, and no others", async () => {
    expect(userFlushes(await replay(threads))).toEqual([2, 2]);
    // CPU 1 goes on with a process that never shares: it has the address space no longer.
    const other = [
      ...threads.slice(0, 3),
      switchTo(1, "1.000050", "other", 33),
      fault("other-33", 1, "1.000060", "0x500000"),
    ];
    const alone = await replay([...other, ...flush("worker-11", 0, "1.000100", "1.000110")]);
    expect(userFlushes(alone)).toEqual([1, 0]);
  });

  it("keeps to what it shows of address spaces where it shows that", async () => {
    const loads = [
      at("worker-11", 0, "1.000030", `switch_mm_enter: (switch_mm_irqs_off+0x0/0x1) next=${MM}`),
      at("worker-11", 0, "1.000031", "switch_mm_exit: (x <- switch_mm_irqs_off)"),
    ];
    const report = await replay([...threads.slice(0, 3), ...loads, ...flush("worker-11", 0, "1.000100", "1.000110")]);
    expect(report.calls).toMatchObject({ switch_mm: { made: 1 }, flush_tlb_mm_range: { made: 1 } });
    expect(userFlushes(report)).toEqual([1, 0]);
  });
});

describe("page faults of a trace", () => {
  it("are made in the process that runs there, and laid beside the traced ones", async () => {
    const report = await replay([
      switchTo(0, "1.000000", "worker", 11),
      fault("worker-11", 0, "1.000010", "0x7f0000000123"),
      fault("worker-11", 0, "1.000020", "0x7f0000001000"),
      at("worker-11", 0, "1.000030", "page_fault_kernel: address=0x7f0000002000 ip=copy error_code=0x2"),
      ...flush("worker-11", 0, "1.000100", "1.000110"),
      // No process is known to run on CPU 1: where the page belongs is not known.
      fault("lost-77", 1, "1.000120", "0x600000"),
    ]);
    expect(report.pageFaults).toEqual({ traced: { user: 3, kernel: 1 }, emulated: 2 });
    expect(renderFtraceReport(report)).toMatch(/page faults of user mode +2 +3\n +page faults of the kernel +1\n/);
    expect((await replay(flush("worker-11", 0, "1.0", "1.1"))).pageFaults).toBeUndefined();
  });
});
