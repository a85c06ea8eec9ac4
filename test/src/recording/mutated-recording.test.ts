/**
 * Every line kind and every field of a recording is changed in turn, by seeded choices: a replay must notice each change, by a
 * refusal that names the line or by a difference. What nothing else in a recording depends on is listed with the reason.
 */
import { describe, expect, it } from "vitest";
import { MmulabError } from "../../../arch/index.ts";
import { type Random, randomStream } from "../../../src/machine/random.ts";
import { replayRecording } from "../../../src/recording/replay.ts";
import { temporaryFolder } from "../fixtures.ts";
import { recordOwnKernel } from "./own-recording.ts";

type Line = Record<string, unknown>;

/** Changes a replay cannot notice, by `KIND FIELD`. */
const FREE: readonly (readonly [RegExp, string])[] = [
  [/^header (name|scenario|seed|kernel|cmdline)$/, "words about the recording"],
  [/^header (nr_cpu_ids|num_possible_cpus|NR_CPUS)$/, "within the bounds that the other constants leave"],
  [/^header (nr_vmap_nodes|vmap_zone_size)$/, "decides where areas of later calls go, where there are such calls"],
  [/^header (lazy_max_pages|tlb_single_page_flush_ceiling)$/, "a limit that later calls may not come near"],
  [/^header (ioremap_max_page_shift|vmap_allow_huge)$/, "concerns large mappings, which later calls may not make"],
  [/^header pinned_cpu$/, "concerns the caches of a CPU, which later calls may not use"],
  [/^(ev map_pages pfn0|ev pt_(alloc|free) (table|entry))$/, "frames that the rest of the recorded kernel left over"],
  [/^call (vmap|vm_map_ram) page_off$/, "which of the driver's pages are mapped shows in frame numbers only"],
  [/^(init|final)_vmstat$/, "counters of the whole kernel"],
  [/^(init|final)_meminfo (PageTables|SecPageTables|Percpu)$/, "memory of the whole kernel"],
  [/^(init|final)_vmallocinfo caller$/, "an address in the recorded kernel's code, which no other line repeats"],
  [
    /^(call \w+ size|init busy requested_size), of the same pages$/,
    "bytes within the last page of an area that is freed before the end",
  ],
  [/^call get_vm_area(_range)? vm_flags$/, "flags of an area that is freed before the end"],
  [/^init vb dirty_(min|max)$/, "what the next vm_unmap_aliases flushes, where there is one"],
  [/^double (migrate|wait_done)$/, "the thread is on that CPU already"],
];

const PAGE = 4096;
const CHANGES_PER_RECORDING = Number(process.env.MMULAB_CHANGES ?? 150);

/** Something to change: where, and what it is called. */
interface Change {
  readonly name: string;
  apply(lines: string[]): void;
}

describe("a changed recording", () => {
  const folder = temporaryFolder();
  const seed = Number(process.env.MMULAB_SEED ?? 1);
  const sources: [string, string[]][] = [
    [
      "own, 1 CPU",
      recordOwnKernel({
        seed: 2,
        cpus: 1,
        callsBefore: 300,
        calls: 40,
        migrates: false,
        vmalloc: { lazyMaxPages: 500 },
      }),
    ],
    [
      "own, 4 CPUs",
      recordOwnKernel({
        seed: 3,
        cpus: 4,
        callsBefore: 200,
        calls: 40,
        migrates: true,
        vmalloc: { lazyMaxPages: 2500 },
      }),
    ],
  ];

  it.each(sources)("is noticed: %s", async (name, lines) => {
    const outcome = async (changed: readonly string[]): Promise<string> => {
      const file = folder.write(`${name.replace(/\W/g, "")}.mutant.jsonl`, `${changed.join("\n")}\n`);
      try {
        const result = await replayRecording(file);
        const all = result.addressMismatches + result.eventMismatches + result.finalStateMismatches;
        return all === 0 ? "unnoticed" : "different";
      } catch (error) {
        if (!(error instanceof MmulabError)) return `threw ${String(error)}`;
        return /mutant\.jsonl:\d+: /.test(error.message) ? "refused" : `no line: ${error.message}`;
      }
    };
    const whole = await outcome(lines);
    const random = randomStream(seed);
    const counts: Record<string, number> = {};
    const wrong: string[] = [];
    for (let i = 0; i < CHANGES_PER_RECORDING; i++) {
      const change = someChange(lines, random);
      const mutant = [...lines];
      change.apply(mutant);
      if (mutant.join("\n") === lines.join("\n")) continue;
      const what = await outcome(mutant);
      counts[what] = (counts[what] ?? 0) + 1;
      const isNoticed = what === "refused" || (what === "different" && whole === "unnoticed");
      if (!isNoticed && !FREE.some(([pattern]) => pattern.test(change.name))) wrong.push(`${what}: ${change.name}`);
    }
    expect(wrong, `seed ${seed}, ${name}: ${JSON.stringify(counts)}`).toEqual([]);
    expect(whole).toBe("unnoticed");
    expect(counts.refused).toBeGreaterThan(CHANGES_PER_RECORDING / 3);
  });
});

function someChange(lines: readonly string[], random: Random): Change {
  // Each kind of line as likely as the other.
  const kinds = new Map<string, number[]>();
  lines.forEach((text, at) => {
    const kind = kindOf(JSON.parse(text));
    kinds.set(kind, [...(kinds.get(kind) ?? []), at]);
  });
  const [kind, places] = [...kinds][random.between(0, kinds.size - 1)];
  const at = places[random.between(0, places.length - 1)];
  const roll = random.between(0, 9);
  if (roll === 0) return { name: `delete ${kind}`, apply: (all) => all.splice(at, 1) };
  if (roll === 1) return { name: `double ${kind}`, apply: (all) => all.splice(at, 0, all[at]) };
  const line = JSON.parse(lines[at]) as Line;
  const names = Object.keys(line);
  const name = names[random.between(0, names.length - 1)];
  const { label, value } = changedValue(kind, name, line[name], random);
  const changed = JSON.stringify({ ...line, [name]: value });
  return { name: label, apply: (all) => all.splice(at, 1, changed) };
}

function kindOf(line: Line): string {
  if ("header" in line) return "header";
  for (const key of ["call", "ev", "init", "final"]) if (key in line) return `${key} ${String(line[key])}`;
  return Object.keys(line)[0] ?? "";
}

function changedValue(kind: string, name: string, value: unknown, random: Random): { label: string; value: unknown } {
  if (Array.isArray(value)) {
    const at = random.between(0, value.length - 1);
    const { label, value: text } = changedText(name, String(value[at]), random);
    return { label, value: value.map((each, i) => (i === at ? text : each)) };
  }
  const isText = kind === name && typeof value === "string";
  if (isText) return changedText(name, String(value), random);
  const changed = changedScalar(value, random);
  const isSize = /^(size|requested_size)$/.test(name) && typeof value === "number" && typeof changed === "number";
  const isOfSamePages = isSize && Math.ceil(value / PAGE) === Math.ceil(changed / PAGE);
  return { label: `${kind} ${name}${isOfSamePages ? ", of the same pages" : ""}`, value: changed };
}

/** A line of a file in /proc with one of its words changed. */
function changedText(name: string, text: string, random: Random): { label: string; value: unknown } {
  const words = text.split(/( +|-)/);
  const at = 2 * random.between(0, Math.floor((words.length - 1) / 2));
  const isCaller = /\+0x|^\[/.test(words[at]);
  const label = name.endsWith("meminfo") ? `${name} ${text.split(":")[0]}` : name + (isCaller ? " caller" : "");
  words[at] = String(changedScalar(words[at], random));
  return { label, value: words.join("") };
}

function changedScalar(value: unknown, random: Random): unknown {
  if (typeof value === "number") return [value + 1, value - 1, value ^ 1, value * 2 + 1, 0][random.between(0, 4)];
  const text = String(value);
  if (/^0x[0-9a-f]+$/.test(text)) {
    const digit = 2 + random.between(0, text.length - 3);
    const other = (Number.parseInt(text[digit], 16) ^ (1 << random.between(0, 3))).toString(16);
    return text.slice(0, digit) + other + text.slice(digit + 1);
  }
  if (/^\d+$/.test(text)) return String(Number(text) + random.between(1, 9));
  const at = random.between(0, Math.max(0, text.length - 1));
  return `${text.slice(0, at)}${String.fromCharCode(random.between(97, 122))}${text.slice(at + 1)}`;
}
