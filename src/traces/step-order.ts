/**
 * The order in which a traced kernel took room for areas, freed them lazily and purged: where areas are split and merged decides the
 * shape of the free tree, and what has been freed before a purge decides what that one flushes.
 */

/** What is still to be done, by number. */
export class StepOrder {
  private readonly expected = new Set<number>();
  /** No number below is expected. */
  private lowest = 0;
  private highest = 0;

  /** This will be done. */
  expect(order: number): void {
    this.lowest = this.expected.size === 0 ? order : Math.min(this.lowest, order);
    this.highest = Math.max(this.highest, order);
    this.expected.add(order);
  }

  /** One has been done, or never will be. */
  done(order: number): void {
    this.expected.delete(order);
    while (this.lowest < this.highest && !this.expected.has(this.lowest)) this.lowest++;
  }

  /** Whether all of these that the traced kernel did before has been done here. */
  isNext(order: number): boolean {
    return this.expected.size === 0 || order <= this.lowest;
  }
}
