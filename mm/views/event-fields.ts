/** An event's fields as text and numbers: what stands in recordings and in tables of events. */
import { formatLinearAddress } from "../../arch/isa/linear-address.ts";
import type { EventField, FieldKind, HookArgument } from "./event-definitions.ts";

/** A field's value as it is written: a hexadecimal string, or a number. */
export type FieldValue = string | number;

/** Writes the arguments of a hook into `event`, field by field, in their order. */
export function addFields(
  event: Record<string, FieldValue>,
  fields: readonly EventField[],
  values: readonly HookArgument[],
): void {
  let at = 0;
  for (const [name, kind] of fields) {
    const value = values[at++];
    event[name] = kind === "pte" ? formatEntry(Number(value), Number(values[at++])) : formatField(kind, value);
  }
}

/** Whether fields of this kind are hexadecimal strings. The others are numbers. */
export function isHex(kind: FieldKind): boolean {
  return kind !== "number" && kind !== "flag";
}

function formatField(kind: FieldKind, value: HookArgument): FieldValue {
  if (kind === "address") return formatLinearAddress(Number(value));
  return isHex(kind) ? formatHex(Number(value)) : Number(value);
}

function formatHex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** A page-table entry of two 32-bit words as one 64-bit hexadecimal number. */
function formatEntry(low: number, high: number): string {
  if (high === 0) return formatHex(low >>> 0);
  return `${formatHex(high >>> 0)}${(low >>> 0).toString(16).padStart(8, "0")}`;
}
