/** What a saved state says, and the kernel that it is of; how its bytes were had is the caller's. */
import { z } from "zod";
import { parsePreset } from "../../arch/index.ts";
import { MmulabError } from "../../arch/isa/errors.ts";
import { flushPolicyByName } from "../../mm/index.ts";
import type { GuestConfig } from "../guests/guest-config.ts";
import { hypervisorCostsOf } from "../guests/hypervisor-costs.ts";
import { InputFileError } from "../input/errors.ts";
import { bootKernel, type Kernel } from "../machine/kernel.ts";
import { CONFIG_SCHEMA } from "./config-schema.ts";
import { restoreKernel } from "./kernel-state.ts";
import { withOrigins, withZeroingInPreset } from "./older-preset.ts";
import { STATE_SCHEMA } from "./schema.ts";

/** Version of the format that is written. */
export const STATE_VERSION = 16;
/** Versions that are read; a file of any other is refused. */
export const READABLE_VERSIONS: readonly number[] = [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, STATE_VERSION];
/** What a file says that it is. */
export const STATE_FORMAT = "mmulab state";
/** How every file begins, of whatever version. */
export const STATE_BEGINNING = `{"format":"${STATE_FORMAT}","version":`;
/** SHA-256 of all that comes before it, at the end of the file. */
export const STATE_CHECKSUM_BYTES = 32;
/** The largest state without its packing, so that a small file cannot stand for any number of bytes. */
export const STATE_BYTES_MAX = 2 ** 29;

const HEADER = z.strictObject({
  format: z.literal(STATE_FORMAT),
  version: z.literal([4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, STATE_VERSION]),
  madeBy: z.string(),
  /** The command that wrote it, if it was one. */
  command: z
    .object({ version: z.string(), command: z.array(z.string()), options: z.record(z.string(), z.unknown()) })
    .optional(),
  config: CONFIG_SCHEMA,
  /** Bytes of the gzip'ed state. */
  bodyBytes: z.number().int().nonnegative(),
});
/** The first line of a file. */
export type StateHeader = z.infer<typeof HEADER>;

/** A kernel out of a file, and the words that were saved with it. */
export interface LoadedKernel {
  readonly kernel: Kernel;
  readonly madeBy: string;
}

/** The header in a file's first line. @throws InputFileError for what this version does not write */
export function readStateHeader(file: string, line: string): StateHeader {
  const header = HEADER.safeParse(withZeroingInPreset(parsedHeader(file, line)));
  if (!header.success) throw unfitting(file, header.error);
  return header.data;
}

/**
 * Boots a kernel with the saved configuration and brings it into the saved state.
 * @param state as `decodeData` gives it
 * @throws InputFileError for a state that does not fit this program
 */
export function kernelOfState(file: string, { version, madeBy, config }: StateHeader, state: unknown): LoadedKernel {
  const parsed = STATE_SCHEMA.safeParse(version === 4 ? fromVersion4(state) : state);
  if (!parsed.success) throw unfitting(file, parsed.error);
  try {
    const { preset, flushPolicy, guest, ...rest } = config;
    const kernel = bootKernel({
      ...rest,
      preset: parsePreset(withOrigins(preset)),
      flushPolicy: flushPolicyByName(flushPolicy),
      ...(guest === undefined ? {} : { guest: guestOf(guest) }),
    });
    restoreKernel(kernel, parsed.data);
    return { kernel, madeBy };
  } catch (error) {
    if (!(error instanceof MmulabError)) throw error;
    throw new InputFileError(file, 0, `cannot be loaded: ${error.message}`);
  }
}

/** A guest's configuration as kernels are booted with. @throws ConfigError for a cost that is not possible */
function guestOf({ costs, ...rest }: NonNullable<z.infer<typeof CONFIG_SCHEMA>["guest"]>): GuestConfig {
  return costs === undefined ? rest : { ...rest, costs: hypervisorCostsOf(costs) };
}

/** A state of version 4 as one of later versions, which have the host of guests: there were none. Later versions only added what may be absent. */
function fromVersion4(state: unknown): unknown {
  return typeof state === "object" && state !== null && !("host" in state) ? { ...state, host: null } : state;
}

function parsedHeader(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InputFileError(file, 1, `is not valid JSON: ${(error as SyntaxError).message}`);
  }
}

/** What was written with a right checksum, but not by this version of the program. */
function unfitting(file: string, error: z.ZodError): InputFileError {
  const [issue] = error.issues;
  const where = issue.path.length === 0 ? "" : ` at ${issue.path.join(".")}`;
  return new InputFileError(file, 0, `does not fit version ${STATE_VERSION} of the format${where}: ${issue.message}`);
}
