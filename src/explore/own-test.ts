/** A test of one's own: a file that exports it by default. */
import { PageFault } from "../../arch/index.ts";
import { importOwnModule } from "../files/own-module.ts";
import { WorkloadError } from "../input/errors.ts";
import type { ExploreTest } from "./base/explore-test.ts";

const EXAMPLE = "export default { name, summary, setup(kernel) {...}, threads: [function* (kernel, situation) {...}] }";

/** The test in a file. @throws WorkloadError when there is none */
export async function loadTestFile(file: string): Promise<ExploreTest> {
  const module = await importOwnModule(file, "test", (reason) => new WorkloadError(file, reason));
  const test = module.default as Partial<ExploreTest> | undefined;
  const fail = (reason: string): WorkloadError => new WorkloadError(file, `${reason}; expected ${EXAMPLE}`);
  if (typeof test !== "object" || test === null) throw fail("it has no default export that is a test");
  if (typeof test.setup !== "function") throw fail("setup is no function");
  const { threads } = test;
  if (!Array.isArray(threads) || threads.length === 0) throw fail("threads is no list of generator functions");
  if (threads.some((thread) => Object.prototype.toString.call(thread) !== "[object GeneratorFunction]")) {
    throw fail("a thread is no generator function");
  }
  PageFault.capturesStack = true;
  const own = test as ExploreTest;
  const setupOfFile: ExploreTest["setup"] = (kernel) => {
    try {
      return own.setup(kernel);
    } catch (error) {
      throw new WorkloadError(file, `setup fails: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  return { ...own, name: own.name ?? file, summary: own.summary ?? file, setup: setupOfFile };
}
