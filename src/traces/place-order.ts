/** The order in which a traced kernel took room for its areas: where areas are split and merged decides the shape of the free tree. */
import type { TracedPlace } from "./traced-calls.ts";

/** What is still to be taken, by number. */
export class PlaceOrder {
  private readonly expected = new Set<number>();
  /** No number below is expected. */
  private lowest = 0;
  private highest = 0;

  /** These will be taken. */
  expect(places: readonly TracedPlace[]): void {
    for (const { order } of places) {
      this.lowest = this.expected.size === 0 ? order : Math.min(this.lowest, order);
      this.highest = Math.max(this.highest, order);
      this.expected.add(order);
    }
  }

  /** One has been taken, or never will be. */
  done(order: number): void {
    this.expected.delete(order);
    while (this.lowest < this.highest && !this.expected.has(this.lowest)) this.lowest++;
  }

  /** Whether all that the traced kernel took before has been taken here. */
  isNext(order: number): boolean {
    return this.expected.size === 0 || order <= this.lowest;
  }
}
