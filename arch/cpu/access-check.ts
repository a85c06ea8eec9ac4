/** What a program that uses the library may ask of a CPU; a mistake of the emulated machine is a fault instead. */
import { MachineUsageError } from "../isa/faults.ts";
import { LINEAR_SPACE_BYTES } from "../isa/linear-address.ts";

/** @throws MachineUsageError when `la` is no 48-bit linear address or the size is not 1 to 8 bytes */
export function checkReference(la: number, sizeBytes: number): void {
  if (!Number.isInteger(la) || la < 0 || la >= LINEAR_SPACE_BYTES) {
    throw new MachineUsageError("linear address", la, "a whole number from 0 to 2^48 - 1 (64-bit forms as bigint)");
  }
  if (!Number.isInteger(sizeBytes) || sizeBytes < 1 || sizeBytes > 8) {
    throw new MachineUsageError("access size", sizeBytes, "1 to 8 bytes");
  }
}
