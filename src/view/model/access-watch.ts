/**
 * Looks at every access of a machine's CPUs while it watches: faults, uses of translations that the page tables do not have any more,
 * and accesses to one page. It stands before the CPUs' own methods, so that nobody pays for it while nobody watches.
 */
import { type CachedTranslation, cachedTranslations } from "../../../arch/cpu/cached-translations.ts";
import type { Cpu } from "../../../arch/cpu/cpu.ts";
import { type Access, formatLinearAddress, PAGE_SIZE, PageFault } from "../../../arch/index.ts";
import { TranslationTruth } from "../../inspect/translation-truth.ts";
import type { Kernel } from "../../machine/kernel.ts";

/** What is looked for. */
export const WATCHED = ["fault", "stale use", "touch"] as const;
export type Watched = (typeof WATCHED)[number];

/** The methods of a CPU that access memory by linear address, with the place of the address among their arguments. */
const ACCESSES = {
  load: 0,
  store: 0,
  fetch: 0,
  touch: 0,
  touchAs: 1,
  load64: 0,
  store64: 0,
  loadAs: 1,
  storeAs: 1,
} as const;
type AccessName = keyof typeof ACCESSES;
type Accesses = Record<AccessName, (...values: (number | bigint | Access)[]) => unknown>;

/**
 * Watches until `end` is called.
 * @param la for `touch`: any address of the page
 */
export class AccessWatch {
  /** The first that was found, in one line: `CPU 1 loads from 0x...: #PF(0) ...`; null as long as there was none. */
  found: string | null = null;
  private readonly cpus: readonly Cpu[];
  private readonly truth: TranslationTruth;
  private readonly watched: Watched;
  private readonly page: number;
  /** What gives each method of the CPUs back. */
  private readonly stoodBefore: (() => void)[] = [];

  constructor(kernel: Kernel, watched: Watched, la = 0) {
    this.cpus = kernel.machine.cpus;
    this.truth = new TranslationTruth(kernel, false);
    this.watched = watched;
    this.page = Math.floor(la / PAGE_SIZE);
    for (const cpu of this.cpus) this.standBefore(cpu);
  }

  /** Looks no more; the CPUs are as they were. */
  end(): void {
    for (const giveBack of this.stoodBefore) giveBack();
  }

  private standBefore(cpu: Cpu): void {
    const methods = cpu as unknown as Accesses;
    for (const name of Object.keys(ACCESSES) as AccessName[]) {
      const own = methods[name];
      // Others may stand before it already.
      const isOwn = Object.hasOwn(cpu, name);
      this.stoodBefore.push(() => {
        if (isOwn) methods[name] = own;
        else Reflect.deleteProperty(cpu, name);
      });
      methods[name] = (...values) => {
        this.before(cpu, name, values);
        try {
          return own.apply(cpu, values);
        } catch (error) {
          if (error instanceof PageFault) this.note("fault", () => `CPU ${cpu.id}: ${error.message}`);
          throw error;
        }
      };
    }
  }

  private before(cpu: Cpu, name: AccessName, values: readonly (number | bigint)[]): void {
    if (this.watched === "fault" || this.found !== null) return;
    const given = values[ACCESSES[name]];
    const la = typeof given === "bigint" ? Number(BigInt.asUintN(48, given)) : given;
    const verb = name.startsWith("store") ? "stores to" : name === "fetch" ? "fetches from" : "loads from";
    const what = `CPU ${cpu.id} ${verb} ${formatLinearAddress(la)}`;
    if (Math.floor(la / PAGE_SIZE) === this.page) this.note("touch", () => what);
    if (this.watched !== "stale use") return;
    const stale = this.staleTranslation(cpu, la);
    if (stale === null) return;
    this.note("stale use", () => `${what} through a stale entry of its ${stale.tlb}: ${stale.why}`);
  }

  /** The translation of `la` that the CPU has and should not have. */
  private staleTranslation(cpu: Cpu, la: number): { readonly tlb: string; readonly why: string } | null {
    const { pcid } = cpu.mmu.mode;
    for (const entry of cachedTranslations(cpu)) {
      if (!covers(entry, la) || (entry.pcid !== null && entry.pcid !== pcid)) continue;
      const why = this.truth.ofTranslation(cpu, entry);
      if (why !== null) return { tlb: entry.tlb, why };
    }
    return null;
  }

  private note(what: Watched, line: () => string): void {
    if (what === this.watched) this.found ??= line();
  }
}

function covers({ la, sizeBytes }: CachedTranslation, address: number): boolean {
  return la <= address && address < la + sizeBytes;
}
