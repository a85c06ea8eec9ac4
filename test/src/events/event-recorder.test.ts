import { describe, expect, it } from "vitest";
import { EventLoop, type KernelCode, PAUSE_TURN } from "../../../arch/time/event-loop.ts";
import { EventRecorder } from "../../../src/events/event-recorder.ts";
import { EVENT_NAMES, eventProblem, type RecordedEvent, sameEvent } from "../../../src/events/recorded-event.ts";
import { fixtureLines } from "../fixtures.ts";

const LA = 0xc900_0000_0000;

/** One event of each kind. */
function recordAll(recorder: EventRecorder): RecordedEvent[] {
  const { observer } = recorder;
  observer.alloc(LA, 8192, 4096, LA, 0xe8ff_ffff_ffff, 257, false);
  observer.free(LA, LA + 8192, 2, 8192, 0, 1);
  observer.purgeBegin(2 ** 48 - 1, 0, true, 3);
  observer.purge(LA, LA + 8192, 4, false, 1, 0);
  observer.purgeNode(1, true);
  observer.merge(LA, LA + 8192);
  observer.flushRange(LA, LA + 8192, true);
  observer.flushAll();
  observer.poolAdd(1, LA, LA + 8192, 1);
  observer.poolDel(1, LA, LA + 8192, 0);
  observer.poolRot(1, LA, LA + 8192, 16384);
  observer.decay(1, 2, 3, false, 0);
  observer.decayVa(1, LA, LA + 8192);
  observer.newBlock(LA, LA + 2 ** 22, 1, 5);
  observer.freeBlock(LA, LA + 2 ** 22, 1);
  observer.purgeFrag(LA, 2, 1022, false, 0);
  observer.vbAlloc(LA, 5, LA, 960, 0, 0);
  observer.vbFree(LA, 5, LA, 960, 32, 0);
  observer.drainSched(8197, 8192, true);
  observer.drain(8197);
  observer.aliases(2 ** 48 - 1, 0, false);
  observer.mapPages(LA, LA + 4096, 12, 0x163, 0x8000_0000 | 0, 0x10_b500);
  observer.mapRange(LA, LA + 4096, 0xd014_5000, 0x173, 0x8000_0000 | 0, 63);
  observer.vunmap(LA, LA + 8192);
  observer.ptAlloc(1, 0x1_0b50_1000, 0x1_0007_c008);
  observer.ptFree(1, 0x1_0b50_1000, 0x1_0007_c008, LA);
  return recorder.take();
}

describe("the event recorder", () => {
  it("writes every event with the keys, order and formats of a real recording's line", () => {
    const examples = new Map<string, string[]>();
    for (const name of ["mixed_smp4_s1", "frag_smp2_s1", "lazy_smp1_s1"]) {
      for (const line of fixtureLines(name)) {
        if (!line.startsWith('{"ev"') || line.includes('"ctx"') || line.includes('"on_cpu"')) continue;
        const event = JSON.parse(line) as RecordedEvent;
        const shape = Object.entries(event).map(
          ([key, value]) => `${key}:${typeof value === "string" && key !== "ev" ? "0x" : typeof value}`,
        );
        examples.set(event.ev, shape);
      }
    }
    expect(examples.size).toBeGreaterThanOrEqual(24);
    const loop = new EventLoop(1);
    for (const event of recordAll(new EventRecorder(loop, () => null))) {
      expect(eventProblem({ ...event })).toBeNull();
      const shape = Object.entries(event).map(
        ([key, value]) => `${key}:${typeof value === "string" && key !== "ev" ? "0x" : typeof value}`,
      );
      const example = examples.get(event.ev);
      if (example !== undefined) expect(shape).toEqual(example);
    }
  });

  it("knows every event there is", () => {
    const recorder = new EventRecorder(new EventLoop(1), () => null);
    expect(
      recordAll(recorder)
        .map((event) => event.ev)
        .sort(),
    ).toEqual([...EVENT_NAMES].sort());
  });

  it("shows addresses, empty ranges and entries as the kernel does", () => {
    const recorder = new EventRecorder(new EventLoop(1), () => null);
    recorder.observer.purgeBegin(2 ** 48 - 1, 0, false, 7);
    recorder.observer.mapPages(LA, LA + 4096, 12, 0x8000_0163 | 0, 0x8000_0001 | 0, 1);
    recorder.observer.mapPages(LA, LA + 4096, 12, 0x163, 0, 1);
    expect(recorder.take()).toMatchObject([
      { start: "0xffffffffffffffff", end: "0x0" },
      { start: "0xffffc90000000000", prot: "0x8000000180000163" },
      { prot: "0x163" },
    ]);
  });

  it("hands events over once", () => {
    const recorder = new EventRecorder(new EventLoop(1), () => null);
    recorder.observer.flushAll();
    expect(recorder.take()).toHaveLength(1);
    expect(recorder.take()).toHaveLength(0);
  });

  it("marks the CPU where it is not 0 and the threads that are not the caller's", () => {
    const loop = new EventLoop(2);
    const recorder = new EventRecorder(loop, () => caller);
    function* flush(): KernelCode<void> {
      yield PAUSE_TURN;
      recorder.observer.flushAll();
    }
    const caller = loop.spawn("caller", 1, flush());
    loop.spawn("worker", 0, flush());
    loop.run();
    expect(recorder.take()).toEqual([
      { ev: "flush_all", ctx: "other" },
      { ev: "flush_all", on_cpu: 1 },
    ]);
  });
});

describe("comparing events", () => {
  const event: RecordedEvent = { ev: "pt_alloc", level: 1, table: "0x1", entry: "0x2" };

  it("passes over frame numbers and nothing else", () => {
    expect(sameEvent(event, { ...event, table: "0x9", entry: "0x8" })).toBe(true);
    expect(sameEvent(event, { ...event, level: 2 })).toBe(false);
    expect(sameEvent(event, { ...event, ctx: "other" })).toBe(false);
    expect(sameEvent({ ...event, ctx: "other" }, event)).toBe(false);
    const { table: _, ...short } = event;
    expect(sameEvent(event, short as RecordedEvent)).toBe(false);
  });
});
