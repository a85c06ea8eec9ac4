/** Protection keys for user and supervisor pages, shadow stacks (Intel SDM vol. 3A, 4.6.1, 4.6.2, 4.7; vol. 1, ch. 17). */
import { describe, expect, test } from "vitest";
import {
  ACCESS_SHADOW_STACK_LOAD,
  ACCESS_SHADOW_STACK_STORE,
  ACCESS_USER_SHADOW_STACK_STORE,
  CR0_WP,
  CR4_CET,
  CR4_PKE,
  CR4_PKS,
  InvalidOpcode,
  MSR_PKRS,
  PageFault,
  PF_FETCH,
  PF_PRESENT,
  PF_PROTECTION_KEY,
  PF_SHADOW_STACK,
  PF_USER,
  PF_WRITE,
  PTE_DIRTY,
  PTE_PRESENT,
  PTE_RW,
  PTE_USER,
} from "../../../arch/index.ts";
import { ALL, BASE, Guest, thrown } from "../guest.ts";

const TARGET = 2 ** 30;
const KEY = 59n;
const errorCode = (call: () => unknown): number => thrown(PageFault, call).errorCode;

describe("protection keys", () => {
  test("AD of every user key forbids data accesses to its pages, and nothing else", () => {
    const guest = new Guest({ preset: "sapphire-rapids" });
    const { cpu } = guest;
    cpu.writeCr4(cpu.cr4 + CR4_PKE);
    for (let key = 0; key < 16; key++) {
      guest.write(BASE + key * 4096, 1, BigInt(TARGET + ALL) | (BigInt(key) << KEY));
    }
    for (let denied = 0; denied < 16; denied++) {
      cpu.writePkru((1 << (denied * 2)) >>> 0);
      for (let key = 0; key < 16; key++) {
        const la = BASE + key * 4096;
        if (key === denied) expect(errorCode(() => cpu.load(la, 4))).toBe(PF_PRESENT | PF_PROTECTION_KEY);
        else expect(cpu.load(la, 4)).toBe(0);
        expect(cpu.fetch(la, 4)).toBe(0);
      }
    }
  });

  test("WD forbids user writes always, supervisor writes with CR0.WP = 1; a change needs no invalidation", () => {
    const guest = new Guest({ preset: "sapphire-rapids" });
    const { cpu } = guest;
    guest.write(BASE, 1, BigInt(TARGET + ALL) | (3n << KEY));
    cpu.store(BASE, 4, 1);
    cpu.writeCr4(cpu.cr4 + CR4_PKE);
    cpu.writePkru(2 << 6);
    expect(cpu.load(BASE, 4)).toBe(1);
    expect(errorCode(() => cpu.store(BASE, 4, 2))).toBe(PF_PRESENT | PF_WRITE | PF_PROTECTION_KEY);
    cpu.writeCr0(cpu.cr0 - CR0_WP);
    cpu.store(BASE, 4, 2);
    cpu.setCpl(3);
    expect(errorCode(() => cpu.store(BASE, 4, 3))).toBe(PF_PRESENT | PF_WRITE | PF_USER | PF_PROTECTION_KEY);
    cpu.writePkru(0);
    cpu.store(BASE, 4, 3);
  });

  test("PKRU speaks of user pages, IA32_PKRS of supervisor pages", () => {
    const guest = new Guest({ preset: "sapphire-rapids" });
    const { cpu } = guest;
    const supervisorPage = BASE + 4096;
    guest.write(BASE, 1, BigInt(TARGET + ALL) | (1n << KEY));
    guest.write(supervisorPage, 1, BigInt(TARGET + (ALL & ~PTE_USER)) | (1n << KEY));
    cpu.writeCr4(cpu.cr4 + CR4_PKE + CR4_PKS);
    cpu.writePkru(1 << 2);
    expect(cpu.load(supervisorPage, 4)).toBe(0);
    expect(errorCode(() => cpu.load(BASE, 4))).toBe(PF_PRESENT | PF_PROTECTION_KEY);
    cpu.writePkru(0);
    cpu.wrmsr(MSR_PKRS, 2 << 2);
    expect(cpu.load(BASE, 4)).toBe(0);
    expect(cpu.load(supervisorPage, 4)).toBe(0);
    expect(errorCode(() => cpu.store(supervisorPage, 4, 0))).toBe(PF_PRESENT | PF_WRITE | PF_PROTECTION_KEY);
    cpu.wrmsr(MSR_PKRS, 1n << 2n);
    expect(errorCode(() => cpu.load(supervisorPage, 4))).toBe(PF_PRESENT | PF_PROTECTION_KEY);
  });

  test("the key of an entry that is no leaf is ignored; PK joins other causes of the same fault", () => {
    const guest = new Guest();
    const { cpu } = guest;
    guest.write(BASE, 1, BigInt(TARGET + (ALL & ~PTE_RW)) | (1n << KEY));
    guest.write(BASE, 2, guest.read(BASE, 2) | (2n << KEY));
    cpu.writeCr4(cpu.cr4 + CR4_PKE);
    cpu.writePkru(3 << 4);
    expect(cpu.load(BASE, 4)).toBe(0);
    cpu.writePkru(2 << 2);
    cpu.setCpl(3);
    expect(errorCode(() => cpu.store(BASE, 4, 0))).toBe(PF_PRESENT | PF_WRITE | PF_USER | PF_PROTECTION_KEY);
  });

  test("WRPKRU is undefined while CR4.PKE = 0", () => {
    expect(() => new Guest().cpu.writePkru(0)).toThrow(InvalidOpcode);
  });
});

describe("shadow stacks", () => {
  const STACK = PTE_PRESENT | PTE_DIRTY;

  function guestWithCet(): Guest {
    const guest = new Guest({ preset: "sapphire-rapids" });
    guest.cpu.writeCr4(guest.cpu.cr4 + CR4_CET);
    return guest;
  }

  test("a page is a shadow-stack page when its leaf has R/W = 0 and D = 1 and all entries above R/W = 1", () => {
    const guest = guestWithCet();
    const { cpu } = guest;
    guest.map(BASE, TARGET, STACK);
    cpu.storeAs(ACCESS_SHADOW_STACK_STORE, BASE, 4, 9);
    expect(cpu.loadAs(ACCESS_SHADOW_STACK_LOAD, BASE, 4)).toBe(9);
    expect(cpu.load(BASE, 4)).toBe(9);
    expect(cpu.probe(BASE).shadowStack).toBe(true);
    expect(errorCode(() => cpu.store(BASE, 4, 1))).toBe(PF_PRESENT | PF_WRITE);
    const refused = PF_PRESENT | PF_SHADOW_STACK;
    for (const bits of [PTE_PRESENT, PTE_PRESENT | PTE_RW | PTE_DIRTY]) {
      guest.map(BASE, TARGET, bits);
      cpu.invlpg(BASE);
      expect(errorCode(() => cpu.loadAs(ACCESS_SHADOW_STACK_LOAD, BASE, 4))).toBe(refused);
      expect(errorCode(() => cpu.storeAs(ACCESS_SHADOW_STACK_STORE, BASE, 4, 0))).toBe(refused | PF_WRITE);
      expect(guest.flags(BASE, 1).accessed).toBe(false);
    }
    guest.map(BASE, TARGET, STACK);
    for (const level of [2, 3, 4]) {
      const was = guest.read(BASE, level);
      guest.write(BASE, level, was & ~BigInt(PTE_RW));
      cpu.invlpg(BASE);
      expect(errorCode(() => cpu.loadAs(ACCESS_SHADOW_STACK_LOAD, BASE, 4))).toBe(refused);
      guest.write(BASE, level, was);
    }
  });

  test("user accesses need user pages, supervisor accesses supervisor pages; WRUSS is a user access at CPL 0", () => {
    const guest = guestWithCet();
    const { cpu } = guest;
    const userPage = BASE + 4096;
    guest.map(BASE, TARGET, STACK);
    guest.map(userPage, TARGET, STACK | PTE_USER);
    const refused = PF_PRESENT | PF_SHADOW_STACK;
    expect(errorCode(() => cpu.loadAs(ACCESS_SHADOW_STACK_LOAD, userPage, 4))).toBe(refused);
    cpu.storeAs(ACCESS_USER_SHADOW_STACK_STORE, userPage, 4, 1);
    expect(errorCode(() => cpu.storeAs(ACCESS_USER_SHADOW_STACK_STORE, BASE, 4, 1))).toBe(refused | PF_WRITE | PF_USER);
    cpu.setCpl(3);
    expect(cpu.loadAs(ACCESS_SHADOW_STACK_LOAD, userPage, 4)).toBe(1);
    expect(errorCode(() => cpu.loadAs(ACCESS_SHADOW_STACK_LOAD, BASE, 4))).toBe(refused | PF_USER);
  });

  test("a page that is not present: SS without P", () => {
    const { cpu } = guestWithCet();
    expect(errorCode(() => cpu.storeAs(ACCESS_SHADOW_STACK_STORE, BASE, 4, 0))).toBe(PF_SHADOW_STACK | PF_WRITE);
  });

  test("protection keys bind shadow-stack accesses; fetches are no data accesses", () => {
    const guest = guestWithCet();
    const { cpu } = guest;
    guest.write(BASE, 1, BigInt(TARGET + STACK) | (1n << KEY));
    cpu.writeCr4(cpu.cr4 + CR4_PKS);
    cpu.wrmsr(MSR_PKRS, 2 << 2);
    expect(cpu.loadAs(ACCESS_SHADOW_STACK_LOAD, BASE, 4)).toBe(0);
    expect(errorCode(() => cpu.storeAs(ACCESS_SHADOW_STACK_STORE, BASE, 4, 0))).toBe(
      PF_PRESENT | PF_WRITE | PF_SHADOW_STACK | PF_PROTECTION_KEY,
    );
    guest.write(BASE, 1, BigInt(TARGET + STACK) | (1n << 63n));
    cpu.invlpg(BASE);
    expect(errorCode(() => cpu.fetch(BASE, 4))).toBe(PF_PRESENT | PF_FETCH);
  });

  test("undefined while CR4.CET = 0", () => {
    const { cpu } = new Guest();
    expect(() => cpu.loadAs(ACCESS_SHADOW_STACK_LOAD, BASE, 4)).toThrow(InvalidOpcode);
    expect(() => cpu.touchAs(ACCESS_SHADOW_STACK_STORE, BASE)).toThrow(InvalidOpcode);
  });
});
