/** Page faults and switches of tasks in a trace: counted, made again, and what they tell of who needs a user flush. */
import { describe, expect, it } from "vitest";
import { PAGE_SIZE, PTE_RW } from "../../../arch/index.ts";
import { PF_FETCH, PF_PRESENT, PF_USER, PF_WRITE } from "../../../arch/isa/faults.ts";
import { isZeroPfn } from "../../../mm/frames/zero-page.ts";
import { UserSpaces } from "../../../mm/index.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { CallMaker } from "../../../src/traces/call-maker.ts";
import { parseFtraceLine } from "../../../src/traces/ftrace-lines.ts";
import { replayFtrace } from "../../../src/traces/ftrace-replay.ts";
import type { FtraceReport } from "../../../src/traces/ftrace-report.ts";
import { renderFtraceReport } from "../../../src/traces/ftrace-report-text.ts";
import { FtraceSurvey } from "../../../src/traces/ftrace-survey.ts";
import type { TracedCall } from "../../../src/traces/traced-calls.ts";
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
const fault = (task: string, cpu: number, seconds: string, address: string, errorCode = "0x6"): string =>
  at(task, cpu, seconds, `page_fault_user: address=${address} ip=0x401000 error_code=${errorCode}`);
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
      errorCode: PF_WRITE | PF_USER,
    });
    expect(parseFtraceLine(fault("a-7", 0, "1.0", "0x7f0000000123", "0x15"))).toMatchObject({
      errorCode: PF_PRESENT | PF_USER | PF_FETCH,
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

describe("calls and faults of user memory", () => {
  /** A kernel in which calls of a trace are made, in one process. */
  function makerOf() {
    const kernel = bootKernel({ cpus: 1, memoryBytes: 2 ** 28 });
    const maker = new CallMaker(kernel, true, new FtraceSurvey());
    const make = (kind: TracedCall["kind"], args: Readonly<Record<string, bigint>>, address = 0n): void => {
      const common = {
        task: "a-7",
        cpu: 0,
        seconds: 0,
        tookSeconds: 0,
        line: 1,
        caller: "",
        allocation: null,
        steps: [],
      };
      kernel.run(maker.make({ ...common, kind, address, args: new Map(Object.entries(args)) }));
    };
    make("switch_mm", { next: 1n });
    const mm = UserSpaces.of(kernel.mm).loaded[0];
    const at = (la: number): { readonly isThere: boolean; readonly isWritable: boolean; readonly isZero: boolean } => {
      const { cursor } = mm.tables;
      const isThere = cursor.seek(la) === 1 && cursor.isLeaf;
      return {
        isThere,
        isWritable: isThere && (cursor.low & PTE_RW) !== 0,
        isZero: isThere && isZeroPfn(cursor.frame),
      };
    };
    return { kernel, maker, make, mm, at };
  }

  it("make a mapping that is not populated, which its faults fill", () => {
    const { kernel, maker, make, mm, at } = makerOf();
    make("mmap", { size: 5n * 4096n - 1n, flags: 0x22n }, 0x7f00_0000n);
    expect(mm.vmas.within(0, 2 ** 40)).toHaveLength(1);
    expect(mm.vmas.find(0x7f00_0000 + 4 * PAGE_SIZE)).not.toBe(0);
    expect(at(0x7f00_0000).isThere).toBe(false);
    kernel.run(maker.fault(0x7f00_0123, PF_USER | PF_WRITE));
    expect(at(0x7f00_0000)).toEqual({ isThere: true, isWritable: true, isZero: false });
    // Memory beside it is the same mapping, a file's is not.
    make("mmap", { size: 4096n, flags: 0x22n }, 0x7f00_5000n);
    expect(mm.vmas.find(0x7f00_5000)).toBe(mm.vmas.find(0x7f00_0000));
    make("mmap", { size: 4096n, flags: 0x2n }, 0x7f00_6000n);
    expect(mm.vmas.find(0x7f00_6000)).not.toBe(mm.vmas.find(0x7f00_0000));
    make("mmap", { size: 4096n, flags: 0x8002n }, 0x7eff_f000n);
    expect(at(0x7eff_f000).isThere).toBe(true);
    expect(mm.vmas.find(0x7eff_f000)).not.toBe(mm.vmas.find(0x7f00_0000));
  });

  it("map the zero page where memory is read or fetched from, and a page of its own once it is written", () => {
    const { kernel, maker, at } = makerOf();
    kernel.run(maker.fault(0x50_0000, PF_USER));
    kernel.run(maker.fault(0x60_0000, PF_USER | PF_FETCH));
    for (const la of [0x50_0000, 0x60_0000]) expect(at(la)).toEqual({ isThere: true, isWritable: false, isZero: true });
    kernel.run(maker.fault(0x50_0000, PF_USER | PF_WRITE | PF_PRESENT));
    expect(at(0x50_0000)).toEqual({ isThere: true, isWritable: true, isZero: false });
    expect(maker.faults).toBe(3);
  });
});
