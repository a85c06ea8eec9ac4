/**
 * What the benchmark asks of V8, so that a task is measured with the same code in every process.
 */
import { setFlagsFromString } from "node:v8";

/**
 * Raises the limits up to which V8 inlines one function into another: the path of an access, or of a vmalloc, is many small functions,
 * which its defaults leave apart (460 bytecodes a function, 920 in all; from 4,600 on not even the smallest are inlined, so that
 * limits of 3,000 and 6,000 made the largest paths slower again). Measured on Node 20 in loops, time with these limits to time
 * without: second-level TLB hit 0.58, page walk 0.65; vmalloc and vfree of a page 0.4 to 0.6, as V8 inlines all of it or not; INVLPG and a load 0.6.
 *
 * The command does not raise them: in runs of seconds, compiling larger functions costs more than they gain (test_vmalloc of
 * 100,000 loops 1.3 times as long, a lackey trace of a million references 1.4 times). A program that works a machine for
 * minutes may give these options to `node`.
 *
 * Functions that are compiled from now on have these limits.
 */
export function raiseInliningLimits(): void {
  setFlagsFromString("--max-inlined-bytecode-size=5000");
  setFlagsFromString("--max-inlined-bytecode-size-cumulative=20000");
  setFlagsFromString("--max-inlined-bytecode-size-absolute=30000");
}

/**
 * Has V8 compile functions for their next call only, and never the inside of a loop that runs (on-stack replacement). Which of the two comes
 * first is chance, as V8 compiles on another thread; once there is code for the inside of a loop, each call enters it, the function itself is never
 * compiled, and the CPU it works with is no constant. Measured on Node 20, least of each of eight processes: second-level hits of 1 GiB pages 17.8 to
 * 18.7 ns without, 42 ns in seven of eight with it; walks for 4 KiB pages 27.2 to 28.4, and 50 ns in two of eight. Commands are not
 * quicker without: replays of references and `run mixed` take 0.99 to 1.07 times as long.
 */
export function compileNoLoops(): void {
  setFlagsFromString("--no-use-osr");
}
