/**
 * Raises the limits up to which V8 inlines one function into another: the path of an access, or of a vmalloc, is many small functions,
 * which its defaults leave apart (460 bytecodes a function, 920 in all; from 4,600 on not even the smallest are inlined, so that
 * limits of 3,000 and 6,000 made the largest paths slower again). Measured on Node 20 in loops, time with these limits to time
 * without: second-level TLB hit 0.58, page walk 0.65; vmalloc and vfree of a page 0.4 to 0.6, as V8 inlines all of it or not; INVLPG and a load 0.6.
 *
 * The command does not raise them: in runs of seconds, compiling larger functions costs more than they gain (test_vmalloc of
 * 100,000 loops 1.3 times as long, a lackey trace of a million references 1.4 times). A program that works a machine for
 * minutes may give these options to `node`.
 */
import { setFlagsFromString } from "node:v8";

/** Raises the limits for functions that are compiled from now on. */
export function raiseInliningLimits(): void {
  setFlagsFromString("--max-inlined-bytecode-size=5000");
  setFlagsFromString("--max-inlined-bytecode-size-cumulative=20000");
  setFlagsFromString("--max-inlined-bytecode-size-absolute=30000");
}
