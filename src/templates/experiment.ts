/** The template of an experiment of one's own. */

/** Its text. @param name what it is to be called: the file's name without its ending */
export function experimentTemplate(name: string): string {
  return `/**
 * An experiment: parameters in, tables and findings out. The same parameters and seed give the same output, byte for byte.
 *
 *     mmulab experiment ./${name}.ts --cpus 1,4,16
 *     mmulab experiment ./${name}.ts --json
 */
import type { Experiment, ExperimentContext, ExperimentOutcome } from "mmulab";

const experiment: Experiment = {
  name: "${name}",
  summary: "what a purge costs, by CPUs",
  description: "Allocates --areas areas of one page on CPU 0, frees them, and purges them. Cycles are those of CPU 0.",
  // Options of the command, and columns of a sweep's grid.
  parameters: [
    { name: "cpus", kind: "integers", low: 1, high: 1024, default: [1, 4, 16], summary: "numbers of CPUs" },
    { name: "areas", kind: "integer", low: 1, high: 100_000, default: 64, summary: "areas that are purged" },
  ],
  // Settings of the machine that can be given as well: --policy, --topology, ...
  settings: ["kernel", "topology", "policy", "flush-ceiling"],
  example: "mmulab experiment ./${name}.ts --cpus 1,16",
  // The column that --sensitivity follows.
  headline: "purgeCycles",
  run,
};
export default experiment;

function run({ parameters, boot, onProgress }: ExperimentContext): ExperimentOutcome {
  const counts = parameters.list("cpus");
  const rows = counts.map((cpus, i) => {
    onProgress(i, counts.length, \`\${cpus} CPUs\`);
    return [cpus, measure(boot(cpus, \`\${cpus} CPUs\`), parameters.number("areas"))] as const;
  });
  const cycles = rows.map((row) => row[1]);
  return {
    tables: [
      {
        name: "purges",
        title: "One purge",
        columns: [
          { key: "cpus", heading: "CPUs" },
          { key: "purgeCycles", heading: "cycles" },
        ],
        rows,
      },
    ],
    plots: [
      { title: "One purge", xName: "CPUs", yName: "cycles", xLog: true, yLog: true, series: [{ name: "purge", points: rows }] },
    ],
    // Computed from the rows, so that they stay true.
    findings: [\`The costliest purge takes \${(Math.max(...cycles) / Math.min(...cycles)).toFixed(1)} times as long as the cheapest.\`],
  };
}

/** Cycles of one purge of so many areas. */
function measure(kernel: ReturnType<ExperimentContext["boot"]>, areas: number): number {
  const addresses = Array.from({ length: areas }, () => kernel.vmalloc(4096));
  for (const address of addresses) kernel.vfree(address);
  const { loop } = kernel.machine;
  const began = loop.nowCycles();
  kernel.vmUnmapAliases();
  return loop.nowCycles() - began;
}
`;
}
