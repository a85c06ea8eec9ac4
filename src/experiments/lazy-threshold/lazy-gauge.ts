/** How many pages lay lazily freed: mean and most over samples. */
export class LazyGauge {
  most = 0;
  private sum = 0;
  private samples = 0;

  /** Takes one sample. */
  sample(pages: number): void {
    this.sum += pages;
    this.samples++;
    this.most = Math.max(this.most, pages);
  }

  /** The mean of the samples; 0 without any. */
  get mean(): number {
    return this.samples === 0 ? 0 : this.sum / this.samples;
  }
}
