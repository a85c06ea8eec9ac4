import { describe, expect, it } from "vitest";
import { formatLink, parseLink } from "../../../src/view/model/link.ts";
import { Answerer, type Picture } from "../../../src/view/model/picture.ts";
import { DEFAULT_SCENARIO, SOURCE_NAME, type SourceScenario } from "../../../src/view/model/scenario.ts";
import { completions, sourceWorkload } from "../../../src/view/page/own-source.ts";

const NO_FOCUS = { cpu: null, address: null };
const GOOD = `import type { WorkloadThread } from "mmulab";
import { PAGE_SIZE } from "mmulab/arch";

export default function* (thread: WorkloadThread) {
  for (let i: number = 0; i < thread.operations; i++) {
    const address = yield* thread.vmalloc(PAGE_SIZE * 3);
    thread.store(address, i);
    yield* thread.vfree(address);
  }
}
`;

function scenarioOf(source: string): SourceScenario {
  const { parameters: _, ...machine } = DEFAULT_SCENARIO;
  return { ...machine, kind: "source", name: SOURCE_NAME, source, operations: 40, cpus: 2 };
}

async function answer(source: string, position = 0) {
  const answerer = new Answerer(async (file, text) => sourceWorkload(file, text));
  const opened = await answerer.answer({ kind: "open", scenario: scenarioOf(source), position }, NO_FOCUS);
  return "error" in opened ? opened : answerer.answer({ kind: "run", breakpoint: "end" }, NO_FOCUS);
}

describe("a workload that is written in the page", () => {
  it("runs on every CPU, step by step, and the same each time", async () => {
    const ran = (await answer(GOOD)) as { picture: Picture };
    const allocated = ran.picture.events.filter(({ name }) => name === "alloc");
    expect(allocated).toHaveLength(40);
    expect(new Set(allocated.map(({ cpu }) => cpu))).toEqual(new Set([0, 1]));
    expect(await answer(GOOD, 17)).toEqual(ran);
  });

  it("is in a link, with its machine", () => {
    const scenario = scenarioOf(`${GOOD}// & # % + ü\n`);
    const link = formatLink({ scenario, position: 3, focus: NO_FOCUS });
    expect(parseLink(`#${link}`)).toEqual({ scenario, position: 3, focus: NO_FOCUS });
  });

  it.each([
    [
      "export default function* (thread) {\n  thread.vmalloc(;\n}",
      /^workload.ts: is not valid TypeScript: .* \(line 2\)$/,
    ],
    [
      "const a = 1;\n\nnonsense();\n",
      /^workload.ts: cannot be loaded: ReferenceError: nonsense is not defined \(line 3\)$/,
    ],
    ["export const a: number = 1;", /^workload.ts: is no workload: it has no default export \(it exports a\)/],
    ["export default function (thread) {}", /an ordinary function, without the \*/],
    ['import { x } from "lodash";\nx();\nexport default function* () {}', /there is no module 'lodash' here/],
    [
      'import type { WorkloadThread } from "mmulab";\n\nexport default function* (thread: WorkloadThread) {\n  thread.store(0x1000, 1);\n}',
      /^workload.ts: failed on CPU 0: #PF\(W\) at 0x1000.* \(line 4\)$/,
    ],
    ["export default function* (thread) {\n  yield 17;\n}", /yielded 17; calls that may wait are made with yield\*/],
  ])("has its mistakes told with their line: %j", async (source, message) => {
    const told = (await answer(source)) as { error: string };
    expect(told.error).toMatch(message);
    expect(told.error).not.toContain("\n");
  });

  it("has the names of the program to complete", () => {
    const { thread, kernel, imports } = completions();
    expect(thread).toEqual(expect.arrayContaining(["vmalloc", "vfree", "store", "operations"]));
    expect(kernel).toEqual(expect.arrayContaining(["vmMapRam", "machine"]));
    expect(imports).toEqual(expect.arrayContaining(["bootKernel", "PAGE_SIZE", "vmalloc"]));
  });
});
