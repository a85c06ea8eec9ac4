/** One set of a TLB by its replacement policy alone: what a cycle of visits would miss. */
import { type ReplacementName, replacementPolicy } from "../../arch/presets/replacement/index.ts";
import { afterUse, type Replacement } from "../../arch/presets/replacement/policy.ts";

/** A set that holds page numbers. */
export class SetModel {
  private readonly policy: Replacement;
  private readonly pages: Int32Array;
  private used = 0;
  private state = 0;
  /** Ways in order of use, the latest first, for policies that keep a list. */
  private readonly order: number[] = [];

  /** @throws RangeError when the policy does not exist for that many ways */
  constructor(name: ReplacementName, ways: number) {
    this.policy = replacementPolicy(name, ways);
    this.pages = new Int32Array(ways).fill(-1);
  }

  /** Visits a page, which is put in when it is not there; whether it was. */
  visit(page: number): boolean {
    const { pages, policy } = this;
    const held = pages.indexOf(page);
    const way = held >= 0 ? held : this.victim();
    pages[way] = page;
    if (policy.victims === null) {
      const at = this.order.indexOf(way);
      if (at >= 0) this.order.splice(at, 1);
      this.order.unshift(way);
    } else {
      this.state = afterUse(this.state, (held >= 0 ? policy.hitUse : policy.fillUse)[way]);
    }
    return held >= 0;
  }

  private victim(): number {
    const { policy, pages } = this;
    if (this.used < (policy.filledWays ?? pages.length)) return this.used++;
    return policy.victims === null ? this.order[this.order.length - 1] : policy.victims[this.state];
  }
}
