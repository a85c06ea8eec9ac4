/** Remote actions (RAR): what a signalled CPU does with what the tables ask for. */
import { describe, expect, test } from "vitest";
import {
  type Cpu,
  CR4_PCIDE,
  GeneralProtectionFault,
  linearAddressToBigInt,
  MSR_RAR_ACT_VEC,
  MSR_RAR_CTRL,
  MSR_RAR_INFO,
  MSR_RAR_PAYLOAD_BASE,
  RAR_CTRL_ENABLE,
  RAR_CTRL_IGNORE_IF,
  RAR_FAILURE,
  RAR_INVPCID,
  RAR_INVPG,
  RAR_INVPG_NO_CR3,
  RAR_PAYLOAD_BYTES,
  RAR_PENDING,
  RAR_SUBTYPES,
  RAR_SUCCESS,
  type RarPayload,
  writeRarPayload,
} from "../../../arch/index.ts";
import { ALL, BASE, GLOBAL, Guest } from "../guest.ts";

const OLD = 2 ** 30;
const NEW = 2 ** 30 + 2 ** 21;
/** Pages that are not global, and one that is. */
const PAGE = BASE;
const SHARED = BASE + 2 ** 31;
/** Physical addresses of the payload table and of the target's action vector. */
const PAYLOADS = 2 ** 30 + 2 ** 22;
const ACTIONS = PAYLOADS + 4096;

const RANGE: RarPayload = {
  type: RAR_INVPCID,
  subtype: RAR_SUBTYPES.addresses,
  cr3: 1n,
  la: linearAddressToBigInt(PAGE),
  pages: 2,
  pageBytes: 4096,
};

/** Two CPUs with PCIDs, the second of which takes remote actions and has pages cached under PCIDs 1 and 2. */
function scene(): { guest: Guest; target: Cpu; ask: (payload: RarPayload, number?: number) => number } {
  const guest = new Guest({ preset: "sapphire-rapids", cpus: 2 });
  const [, target] = guest.machine.cpus;
  const { memory } = guest.machine;
  target.wrmsr(MSR_RAR_ACT_VEC, ACTIONS);
  target.wrmsr(MSR_RAR_PAYLOAD_BASE, PAYLOADS);
  target.wrmsr(MSR_RAR_CTRL, RAR_CTRL_ENABLE + RAR_CTRL_IGNORE_IF);
  target.writeCr4(target.cr4 + CR4_PCIDE);
  guest.mark(OLD, 1);
  guest.mark(NEW, 2);
  for (let page = 0; page < 3; page++) guest.map(PAGE + page * 4096, OLD);
  guest.map(SHARED, OLD, ALL | GLOBAL);
  for (const pcid of [1, 2]) {
    target.writeCr3(guest.root * 4096 + pcid, true);
    for (let page = 0; page < 3; page++) target.load(PAGE + page * 4096, 4);
    target.load(SHARED, 4);
  }
  for (let page = 0; page < 3; page++) guest.map(PAGE + page * 4096, NEW);
  guest.map(SHARED, NEW, ALL | GLOBAL);
  const ask = (payload: RarPayload, number = 5): number => {
    writeRarPayload(memory, PAYLOADS + number * RAR_PAYLOAD_BYTES, payload);
    memory.writeByte(ACTIONS / 4096, number, RAR_PENDING);
    target.remoteActions.take();
    return memory.readByte(ACTIONS / 4096, number);
  };
  return { guest, target, ask };
}

/** Which of what the target had cached it has lost: pages 0 to 2 under each PCID, and the global page. */
function lost(guest: Guest, target: Cpu): { first: number[]; second: number[]; global: boolean } {
  const [first, second] = [1, 2].map((pcid) => {
    target.writeCr3(guest.root * 4096 + pcid, true);
    return [0, 1, 2].filter((page) => target.load(PAGE + page * 4096, 4) === 2);
  });
  return { first, second, global: target.load(SHARED, 4) === 2 };
}

describe("remote actions", () => {
  test.each<[string, Partial<RarPayload>, ReturnType<typeof lost>]>([
    ["INVPCID of a range: its pages, of one PCID", {}, { first: [0, 1], second: [], global: false }],
    ["INVPCID of a PCID", { subtype: RAR_SUBTYPES.onePcid, cr3: 2n }, { first: [], second: [0, 1, 2], global: false }],
    [
      "INVPCID of everything but global pages",
      { subtype: RAR_SUBTYPES.allNonGlobal },
      { first: [0, 1, 2], second: [0, 1, 2], global: false },
    ],
    ["INVPCID of everything", { subtype: RAR_SUBTYPES.all }, { first: [0, 1, 2], second: [0, 1, 2], global: true }],
    [
      "INVLPG of a global page, whatever CR3 is",
      { type: RAR_INVPG_NO_CR3, la: linearAddressToBigInt(SHARED), pages: 1, cr3: 0n },
      { first: [], second: [], global: true },
    ],
    [
      "INVLPG under another CR3: nothing",
      { type: RAR_INVPG, la: linearAddressToBigInt(SHARED), pages: 1, cr3: 0n },
      { first: [], second: [], global: false },
    ],
  ])("%s", (_, change, expected) => {
    const { guest, target, ask } = scene();
    expect(ask({ ...RANGE, ...change })).toBe(RAR_SUCCESS);
    expect(lost(guest, target)).toEqual(expected);
  });

  test("INVLPG under the CR3 that is loaded", () => {
    const { guest, target, ask } = scene();
    expect(ask({ ...RANGE, type: RAR_INVPG, cr3: BigInt(target.cr3) })).toBe(RAR_SUCCESS);
    expect(lost(guest, target)).toEqual({ first: [], second: [0, 1], global: false });
  });

  test("one signal does all that is pending, and costs what INVPCID of each page costs beside taking it", () => {
    const { guest, target, ask } = scene();
    const { memory, loop } = guest.machine;
    const { remoteAction, invpcidAddress } = guest.machine.preset.costs;
    writeRarPayload(memory, PAYLOADS + 9 * RAR_PAYLOAD_BYTES, { ...RANGE, cr3: 2n, pages: 3 });
    memory.writeByte(ACTIONS / 4096, 9, RAR_PENDING);
    const before = loop.clockCycles[1];
    ask(RANGE);
    expect(loop.clockCycles[1] - before).toBe(remoteAction.value + 5 * invpcidAddress.value);
    expect(memory.readByte(ACTIONS / 4096, 9)).toBe(RAR_SUCCESS);
    expect(lost(guest, target)).toMatchObject({ first: [0, 1], second: [0, 1, 2] });
  });

  test("what is not possible is marked as failed, and removes nothing: other types, reserved bits, addresses", () => {
    const { guest, target, ask } = scene();
    expect(ask({ ...RANGE, type: 3 })).toBe(RAR_FAILURE);
    expect(ask({ ...RANGE, subtype: 4 })).toBe(RAR_FAILURE);
    expect(ask({ ...RANGE, type: RAR_INVPG_NO_CR3, subtype: RAR_SUBTYPES.onePcid })).toBe(RAR_FAILURE);
    expect(ask({ ...RANGE, la: 1n << 47n })).toBe(RAR_FAILURE);
    const { memory } = guest.machine;
    writeRarPayload(memory, PAYLOADS, RANGE);
    memory.writeWord(PAYLOADS / 4096, 2, 1);
    memory.writeByte(ACTIONS / 4096, 0, RAR_PENDING);
    target.remoteActions.take();
    expect(memory.readByte(ACTIONS / 4096, 0)).toBe(RAR_FAILURE);
    expect(lost(guest, target)).toEqual({ first: [], second: [], global: false });
    expect(() => ask({ ...RANGE, pages: 64 })).toThrow("RAR pages: 64: expected 0 to 63");
    expect(() => ask({ ...RANGE, pageBytes: 8192 })).toThrow("RAR page size: 8192");
  });

  test("a CPU whose remote actions are off does nothing, and its registers are checked", () => {
    const { guest, target, ask } = scene();
    target.wrmsr(MSR_RAR_CTRL, 0);
    expect(ask(RANGE)).toBe(RAR_PENDING);
    expect(lost(guest, target)).toEqual({ first: [], second: [], global: false });
    expect(target.rdmsr(MSR_RAR_INFO)).toBe(63n << 32n);
    expect(target.rdmsr(MSR_RAR_ACT_VEC)).toBe(BigInt(ACTIONS));
    for (const [msr, value] of [
      [MSR_RAR_CTRL, RAR_CTRL_ENABLE + 1],
      [MSR_RAR_ACT_VEC, ACTIONS + 8],
      [MSR_RAR_PAYLOAD_BASE, PAYLOADS + 64],
      [MSR_RAR_PAYLOAD_BASE, 2 ** 40],
      [MSR_RAR_INFO, 0],
    ] as const) {
      expect(() => target.wrmsr(msr, value), `MSR ${msr}`).toThrow(GeneralProtectionFault);
    }
    target.setCpl(3);
    expect(() => target.rdmsr(MSR_RAR_CTRL)).toThrow(GeneralProtectionFault);
    expect(() => new Guest({ preset: "skylake" }).cpu.rdmsr(MSR_RAR_CTRL)).toThrow(GeneralProtectionFault);
  });
});
