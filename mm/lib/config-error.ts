/** A setting of the kernel that is not possible: a mistake of the person who boots it. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  /** What was set, in words. */
  readonly setting: string;
  readonly value: unknown;
  /** What would have been possible, in words. */
  readonly expected: string;
  constructor(setting: string, value: unknown, expected: string) {
    super(`${setting} ${String(value)}: expected ${expected}`);
    this.setting = setting;
    this.value = value;
    this.expected = expected;
  }
}
