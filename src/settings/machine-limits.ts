/** How large the commands' machines can be: what arch/isa/limits.ts allows, as far as it can be booted and run in sensible time. */
import { MEMORY_BYTES_MAX } from "../../arch/isa/limits.ts";
import { memorySize, wholeNumber } from "../input/values.ts";

/** CPUs, at the most. */
export const COMMAND_CPUS_MAX = 1024;
/** Bytes of memory, at the least: enough for a kernel to boot. */
const COMMAND_MEMORY_BYTES_MIN = 2 ** 26;

/** Reads a number of CPUs. @throws ValueError for what is not from 1 to {@link COMMAND_CPUS_MAX} */
export const parseCpus = wholeNumber(1, COMMAND_CPUS_MAX);

/** Reads a size of memory such as `4GiB`, in bytes. @throws ValueError for what is no size of a machine's memory */
export const parseMemorySize = memorySize(COMMAND_MEMORY_BYTES_MIN, MEMORY_BYTES_MAX);
