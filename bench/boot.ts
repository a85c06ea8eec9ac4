/**
 * How long a 1 TiB guest takes to boot, and what the process then holds: `npm run bench:boot`. Memory is sparse, so neither
 * depends on the guest's size but for the directory of chunks (2 MB a TiB). Measured on Node 20: 25 ms, 58 MiB.
 */
import prettyBytes from "pretty-bytes";
import { bootKernel } from "../src/machine/kernel.ts";

const MEMORY_BYTES = 2 ** 40;

const started = performance.now();
const kernel = bootKernel({ cpus: 4, memoryBytes: MEMORY_BYTES });
const bootMs = performance.now() - started;
kernel.machine.cpus[0].store(kernel.vmalloc(4096), 4, 1);
const { rss } = process.memoryUsage();
process.stdout.write(
  `booted ${prettyBytes(MEMORY_BYTES, { binary: true })} in ${bootMs.toFixed(1)} ms; the process holds ${prettyBytes(rss, { binary: true })}\n`,
);
