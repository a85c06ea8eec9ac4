/** The scene that the page is measured with: 64 CPUs and 100,000 areas of several kinds, and flushes that interrupt all CPUs. */
import { DEFAULT_SCENARIO, SOURCE_NAME, type SourceScenario } from "../../src/view/model/scenario.ts";

/** CPUs of the scene. */
export const CPUS = 64;
/** Areas that are in use at its end. */
export const AREAS = 100_000;

const SOURCE = `export default function* (thread) {
  const frames = thread.allocFrames(4);
  for (let i = 0; i < thread.operations; i++) {
    if (i % 5 === 0) yield* thread.vmap(frames);
    else if (i % 5 === 1) yield* thread.ioremap(0xf0000000 + 4096 * i, 4096);
    else yield* thread.vmalloc(4096 * (1 + (i % 4)));
    if (i % 50 === 49) yield* thread.vfree(yield* thread.vmalloc(65536));
  }
  yield* thread.vmUnmapAliases();
}
`;

const { parameters: _, ...machine } = DEFAULT_SCENARIO;

/** It, as code that is written in the page. */
export const SCENE: SourceScenario = {
  ...machine,
  kind: "source",
  name: SOURCE_NAME,
  source: SOURCE,
  operations: AREAS,
  cpus: CPUS,
  memoryMib: 4096,
};
