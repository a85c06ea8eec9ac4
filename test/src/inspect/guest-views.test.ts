/** Views of a kernel that is a guest: what they show of both dimensions is what the tables and the caches hold. */
import { describe, expect, test } from "vitest";
import { cachedGuestTranslations, EPT_DIRTY } from "../../../arch/index.ts";
import { VIEWS } from "../../../src/inspect/views.ts";
import { bootKernel, type Kernel, type KernelConfig } from "../../../src/machine/kernel.ts";
import { runOnKernel } from "../../../src/runs/run.ts";
import { findWorkload } from "../../../src/workloads/index.ts";
import { mmulab } from "../run-cli.ts";

const PAGE = 4096;

function guestAfter(workload: string, config: Partial<KernelConfig>, operations = 300): Kernel {
  const kernel = bootKernel({ cpus: 2, ...config, guest: config.guest ?? {} });
  runOnKernel(kernel, findWorkload(workload), { operations, seed: 3 });
  return kernel;
}

function shown(kernel: Kernel, name: string, options: { readonly cpu?: number; readonly address?: string } = {}) {
  const view = VIEWS.find((each) => each.name === name);
  if (view === undefined) throw new Error(`there is no view ${name}`);
  const all = { range: "vmalloc", ...options } as const;
  // What is not data, such as a bigint, would not come through.
  return { lines: view.lines(kernel, all), data: JSON.parse(JSON.stringify(view.data(kernel, all))) };
}

type Entry = Record<string, unknown> & {
  readonly address: string;
  readonly sizeBytes: number;
  readonly stale: unknown;
};

function entriesIn(data: { cpus: { structures: { entries: Entry[] }[] }[] }): Entry[] {
  return data.cpus.flatMap(({ structures }) => structures.flatMap(({ entries }) => entries));
}

describe.each(["sapphire-rapids", "zen4"])("%s", (preset) => {
  const id = preset === "zen4" ? "asid" : "vpid";

  test("tlb: every combined entry with its tag, and the page sizes of both stages, of which it has the smaller", () => {
    for (const [guestPages, hostPages] of [
      ["2M", "4K"],
      ["4K", "2M"],
      ["2M", "2M"],
    ] as const) {
      const kernel = guestAfter("mixed", { preset, guest: { guestPages, hostPages } });
      const [cpu] = kernel.machine.cpus;
      cpu.touch(0xffff_8880_0000_0000 - 0xffff_0000_0000_0000 + 0x1_0400_0000);
      const { data, lines } = shown(kernel, "tlb", { cpu: 0 });
      const entries = entriesIn(data);
      const cached = cachedGuestTranslations(cpu);
      expect(entries).toHaveLength(cached.length);
      expect(entries.map(({ frame, sizeBytes, guestSizeBytes }) => [frame, sizeBytes, guestSizeBytes])).toEqual(
        cached.map(({ frame, sizeBytes, guestSizeBytes }) => [frame, sizeBytes, guestSizeBytes]),
      );
      const sizes = new Set<string>();
      for (const { sizeBytes, guestSizeBytes, hostSizeBytes, ...entry } of entries) {
        expect(entry[id]).toBe(1);
        expect(hostSizeBytes).toBe(hostPages === "4K" ? PAGE : 512 * PAGE);
        expect(sizeBytes).toBe(Math.min(Number(guestSizeBytes), Number(hostSizeBytes)));
        sizes.add(`${guestSizeBytes === PAGE ? "4K" : "2M"}/${hostPages}`);
      }
      expect(sizes.has(`${guestPages}/${hostPages}`)).toBe(true);
      for (const size of sizes) expect(lines.some((line) => line.includes(`  ${size} `))).toBe(true);
      expect(lines[0]).toBe(`CPU 0 of the host, vCPU 0 (${id.toUpperCase()} 1)`);
      expect(lines.filter((line) => / combined entr/.test(line)).length).toBeGreaterThan(0);
    }
  });

  test("psc: combined entries lead to the machine's frame of a guest's table, others to tables of the second stage", () => {
    const kernel = guestAfter("mixed", { preset });
    const { data, lines } = shown(kernel, "psc", { cpu: 1 });
    const entries = entriesIn(data).filter(({ entry }) => entry !== undefined);
    expect(entries.length).toBeGreaterThan(0);
    for (const { address, entry, frame, stale } of entries) {
      if (stale !== null) continue;
      const { levels } = kernel.machine.cpus[1].probe(BigInt(address));
      const below = levels[levels.findIndex(({ name }) => name === entry) + 1];
      expect(below?.secondStage?.frame).toBe(frame);
    }
    const ofHost = data.cpus[0].guestPhysical.flatMap((each: { entries: Entry[] }) => each.entries);
    expect(ofHost.map(({ entry }: Entry) => entry)).toEqual(expect.arrayContaining(["PDE", "PDPTE", "PML4E"]));
    expect(ofHost.every(({ stale }: Entry) => stale === null)).toBe(true);
    expect(lines.some((line) => line.startsWith("CPU 1, guest-physical pde:"))).toBe(true);
  });

  test("walk: below each entry of the guest the second stage's walk for its table, last the one for the page", () => {
    const kernel = guestAfter("mixed", { preset });
    const address = kernel.vmalloc(3 * PAGE);
    // The host maps a page when it is first used; whether this one has been is chance.
    kernel.machine.cpus[0].store(address, 4, 1);
    const written = `0x${(0xffff_0000_0000_0000n + BigInt(address)).toString(16)}`;
    const { data, lines } = shown(kernel, "walk", { address: written });
    expect(data.outcome).toBe("mapped");
    expect(data.levels.map((level: { secondStage: { levels: unknown[] } }) => level.secondStage.levels.length)).toEqual(
      [4, 4, 4, 4],
    );
    expect(data.entriesWithNothingCached).toEqual({ guest: 4, secondStage: 20 });
    expect(data.secondStage.levels.at(-1)).toMatchObject({ leaf: true, accessed: true, dirty: true });
    expect(data.physicalAddress).toBe(data.secondStage.physicalAddress);
    expect(lines).toHaveLength(1 + 4 * (1 + 5) + 5 + 1);
    expect(lines.filter((line) => line.includes(" RWX A"))).toHaveLength(20);
  });

  test.each(["4K", "2M", "1G"] as const)(
    "second-stage: all that the hypervisor mapped, in pages of %s",
    (hostPages) => {
      const kernel = guestAfter("user_processes", { preset, guest: { hostPages } });
      const { hypervisor } = kernel.host ?? {};
      const { data, lines } = shown(kernel, "second-stage");
      const runs: {
        start: string;
        end: string;
        sizeBytes: number;
        pageSize: string;
        device: boolean;
        dirty: boolean;
      }[] = data.runs;
      const bytes = runs.filter(({ device }) => !device).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      expect(bytes).toBe(hypervisor?.sizeBytes);
      expect(Object.values(data.tables as Record<string, number>).reduce((sum, count) => sum + count, 0)).toBe(
        hypervisor?.tablePages,
      );
      expect(new Set(runs.map(({ pageSize }) => pageSize))).toEqual(new Set([hostPages]));
      for (let i = 1; i < runs.length; i++)
        expect(Number(runs[i].start)).toBeGreaterThanOrEqual(Number(runs[i - 1].end));
      expect(lines).toHaveLength(2 + runs.length);
      expect(lines[1]).toContain(`pages of ${hostPages}`);
    },
  );
});

test("what was not written yet has no dirty flag in the second stage's run, and another line for it", () => {
  const kernel = guestAfter("mixed", { preset: "sapphire-rapids" });
  const before = shown(kernel, "second-stage").data.runs.length;
  const { machine } = kernel;
  const [first] = shown(kernel, "second-stage").data.runs;
  const { levels } = machine.cpus[0].probe(kernel.vmalloc(PAGE));
  const leaf = levels.at(-1)?.secondStage?.levels.at(-1);
  const memory = machine.hostMemory ?? machine.memory;
  const [frame, word] = [Math.floor((leaf?.entryAddress ?? 0) / PAGE), ((leaf?.entryAddress ?? 0) % PAGE) / 4];
  memory.writeWord(frame, word, memory.readWord(frame, word) & ~EPT_DIRTY);
  const { runs } = shown(kernel, "second-stage").data;
  expect(first.dirty).toBe(true);
  expect(runs.length).toBeGreaterThan(before);
  expect(runs.filter(({ dirty }: { dirty: boolean }) => !dirty)).toHaveLength(1);
});

test("stale: entries of a page that the host took away without telling", () => {
  const kernel = guestAfter("mixed", { preset: "icelake", cpus: 1 });
  const { machine, host } = kernel;
  const address = kernel.vmalloc(PAGE);
  machine.cpus[0].touch(address);
  const { guestPhysical = 0, physical } = machine.cpus[0].probe(address);
  const staleOf = (name: string): unknown[] =>
    entriesIn(shown(kernel, name).data).flatMap(({ stale }) => (stale === null ? [] : [stale]));
  const before = staleOf("tlb").length;
  const holders = entriesIn(shown(kernel, "tlb").data).filter(({ frame }) => frame === Number(physical) / PAGE);
  const frames = host?.hypervisor.unmap(guestPhysical / PAGE) ?? [];
  host?.hypervisor.free(frames);
  const after = staleOf("tlb");
  // Both levels of the TLB may have it.
  expect(holders.length).toBeGreaterThan(0);
  expect(after.length).toBe(before + holders.length);
  expect(after).toContain(`the guest does not have frame 0x${frames[0].toString(16)} of the host`);
  const pages = shown(kernel, "tlb").data.cpus[0].guestPhysical[0].entries;
  expect(pages.map(({ stale }: Entry) => stale).filter(Boolean)).toEqual(["the second stage maps nothing there"]);
});

test("vCPUs on one physical CPU are shown once, each entry with its own VPID and what it owes", () => {
  const kernel = guestAfter("user_processes", { cpus: 4, guest: { physicalCpus: 2 } }, 400);
  const { data, lines } = shown(kernel, "tlb");
  expect(data.cpus.map(({ vcpus }: { vcpus: object[] }) => vcpus)).toEqual([
    [
      { vcpu: 0, vpid: 1 },
      { vcpu: 2, vpid: 3 },
    ],
    [
      { vcpu: 1, vpid: 2 },
      { vcpu: 3, vpid: 4 },
    ],
  ]);
  expect(lines[0]).toBe("CPU 0 of the host, vCPUs 0 (VPID 1), 2 (VPID 3)");
  expect(new Set(entriesIn(data).map(({ vpid }) => vpid))).toEqual(new Set([1, 2, 3, 4]));
  // Whatever is stale waits for a flush: nothing else is lawful.
  for (const { stale, owedBy } of entriesIn(data)) if (stale !== null) expect(owedBy).not.toBe("");
});

test("second-stage without a guest is answered with one line and exit code 2", () => {
  const result = mmulab("inspect", "second-stage", "--run", "none");
  expect(result).toMatchObject({ status: 2, stdout: "" });
  expect(result.stderr).toBe("mmulab: second-stage: the kernel is no guest (--guest)\n");
});
