/**
 * Short numbers for the guests of a CPU, by which its TLBs tell their entries apart. Intel tags combined entries with the VPID and the
 * EPTP's root (Intel SDM vol. 3C, 29.4.1), AMD with the ASID alone (AMD APM vol. 2, 15.16). A number stands for such a tag; 0 is the host.
 */

/** Numbers at the most: they have 16 bits in `CpuArrays.further`. */
const NUMBERS_MAX = 0xffff;
/** In place of the root where entries are tagged without one: no second stage, or AMD. */
export const NO_ROOT = -1;

/** The numbers of one CPU. */
export class GuestNumbers {
  /** By number - 1: VPID or ASID, and the frame of the EPTP's root. */
  private readonly ids: number[] = [];
  private readonly roots: number[] = [];

  /** The number of a tag; 0 when it has none. */
  find(id: number, root: number): number {
    for (let at = 0; at < this.ids.length; at++) if (this.ids[at] === id && this.roots[at] === root) return at + 1;
    return 0;
  }

  /** Gives a tag, which has none, its number. There must be room. */
  add(id: number, root: number): number {
    this.roots.push(root);
    return this.ids.push(id);
  }

  /** Whether no more can be given before {@link clear}. */
  get isFull(): boolean {
    return this.ids.length >= NUMBERS_MAX;
  }

  /** How many there are: they are 1 to this. */
  get count(): number {
    return this.ids.length;
  }

  /** Those of a VPID or ASID, under any root. */
  ofId(id: number): number[] {
    return this.where((at) => this.ids[at] === id);
  }

  /** Those of the VPIDs other than 0. */
  ofOtherIds(): number[] {
    return this.where((at) => this.ids[at] !== 0);
  }

  /** Those of a root, under any VPID. */
  ofRoot(root: number): number[] {
    return this.where((at) => this.roots[at] === root);
  }

  /** Those that have a root. */
  ofRoots(): number[] {
    return this.where((at) => this.roots[at] !== NO_ROOT);
  }

  /** All. */
  all(): number[] {
    return this.where(() => true);
  }

  /** The VPID or ASID of a number. */
  idOf(number: number): number {
    return this.ids[number - 1];
  }

  /** The frame of the root of a number, or `NO_ROOT`. */
  rootOf(number: number): number {
    return this.roots[number - 1];
  }

  /** Forgets all. No entry may be left that has one. */
  clear(): void {
    this.ids.length = 0;
    this.roots.length = 0;
  }

  private where(isMeant: (at: number) => boolean): number[] {
    const found: number[] = [];
    for (let at = 0; at < this.ids.length; at++) if (isMeant(at)) found.push(at + 1);
    return found;
  }
}
