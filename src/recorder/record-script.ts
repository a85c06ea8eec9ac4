/**
 * The script that records vmalloc on a machine with a stock kernel, by tracefs alone: no compiler, no bpftrace. It is POSIX shell, for
 * dash and busybox too. What is probed, where, and under which names follows from `CALL_DEFINITIONS`.
 */
import { CALL_DEFINITIONS, type CallArgumentDefinition, type CallDefinition } from "../../mm/index.ts";
import { RECORD_FORMAT } from "../traces/record-notes.ts";
import { AFTER_PROBES, BEFORE_PROBES } from "./script-text.ts";

/** The whole script; ends with a newline. */
export function recordScript(): string {
  const probes = Object.entries(CALL_DEFINITIONS).flatMap(([name, definition]) => probeLines(name, definition));
  const before = BEFORE_PROBES.replace("@FORMAT@", String(RECORD_FORMAT));
  return `${before}\n${probes.join("\n")}\n${AFTER_PROBES}`.replaceAll("@{", "${");
}

/** The calls of the script's function `probe` for one call: one for each name that the kernel's function has had. */
function probeLines(name: string, { functions, args, isOfUsers }: CallDefinition): string[] {
  return functions.map(({ symbol, places }) => {
    const specs = args.flatMap((argument) => {
      const place = places?.[argument.name];
      return place === null ? [] : [argumentSpec(argument, place ?? argument.place)];
    });
    const hasResult = CALL_DEFINITIONS[name as keyof typeof CALL_DEFINITIONS].hasResult ? "addr" : "-";
    const call = ["probe", name, symbol, hasResult, ...specs].join(" ");
    return isOfUsers ? `\tif [ "$USERS" = 1 ]; then ${call}; fi` : `\t${call}`;
  });
}

/** `size:1:u64`: name, place and type; the script knows in which register or on which place of the stack an argument is. */
function argumentSpec({ name, kind, bits }: CallArgumentDefinition, place: string): string {
  if (kind === "symbol") return `${name}:${place}:symbol`;
  const sign = kind === "number" ? (bits === 32 ? "s" : "u") : "x";
  return `'${name}:${place}:${sign}${bits}'`.replaceAll("'", place.includes(">") ? "'" : "");
}
