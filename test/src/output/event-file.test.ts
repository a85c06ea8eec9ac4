import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
import { describe, expect, it } from "vitest";
import { EventRecorder } from "../../../src/events/event-recorder.ts";
import { teeEvents } from "../../../src/events/tee-events.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { openEventFile } from "../../../src/output/event-file.ts";
import { EVENT_COLUMNS } from "../../../src/output/event-rows.ts";
import { runOnKernel } from "../../../src/runs/run.ts";
import { mixed } from "../../../src/workloads/mixed.ts";
import { temporaryFolder } from "../fixtures.ts";

const folder = temporaryFolder();

/** Events of a small run in a file, and the same events as a recorder saw them. */
async function record(file: string) {
  const kernel = bootKernel({ cpus: 2, vmalloc: { lazyMaxPages: 200 } });
  const recorder = new EventRecorder(kernel.machine.loop, () => kernel.machine.loop.currentThread);
  const output = await openEventFile(file, kernel);
  kernel.vm.events = teeEvents([recorder.observer, output.observer]);
  const report = runOnKernel(kernel, mixed, { operations: 800, seed: 4 });
  output.finish();
  return { events: recorder.take(), report };
}

describe("a file of events", () => {
  it("in JSON lines has every event with its time, CPU and task", async () => {
    const file = join(folder.path, "events.jsonl");
    const { events } = await record(file);
    const rows = readFileSync(file, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(rows).toHaveLength(events.length);
    rows.forEach((row, i) => {
      const { ev, on_cpu = 0, cpu: _blockCpu, ...fields } = events[i];
      expect(row).toMatchObject({ event: ev, cpu: on_cpu, ...fields });
      expect(row.cycles).toBeGreaterThan(0);
    });
    expect(new Set(rows.map(({ task }) => task.split("/")[0]))).toEqual(new Set(["mixed", "kworker"]));
  });

  it("in CSV has a heading and the same values", async () => {
    const [json, csv] = [join(folder.path, "a.jsonl"), join(folder.path, "a.csv")];
    await record(json);
    await record(csv);
    const rows = readFileSync(json, "utf8").trimEnd().split("\n");
    const [heading, ...lines] = readFileSync(csv, "utf8").trimEnd().split("\n");
    expect(heading.split(",")).toEqual(EVENT_COLUMNS.map(({ name }) => name));
    expect(lines).toHaveLength(rows.length);
    lines.forEach((line, i) => {
      const row = JSON.parse(rows[i]);
      expect(line.split(",")).toEqual(EVENT_COLUMNS.map(({ name }) => String(row[name] ?? "")));
    });
  });

  it("in Parquet has the same values, 64-bit numbers among them, for any reader", async () => {
    const [json, parquet] = [join(folder.path, "b.jsonl"), join(folder.path, "b.parquet")];
    await record(json);
    await record(parquet);
    const rows = readFileSync(json, "utf8").trimEnd().split("\n");
    const read = await parquetReadObjects({ file: await asyncBufferFromFile(parquet) });
    expect(read).toHaveLength(rows.length);
    read.forEach((got, i) => {
      const row = JSON.parse(rows[i]);
      for (const { name, kind } of EVENT_COLUMNS) {
        const expected = row[name] === undefined ? null : kind === "text" ? row[name] : BigInt(row[name]);
        expect(got[name], `${name} of row ${i}`).toEqual(expected);
      }
    });
  });

  it("in ftrace text has the tracepoints of a real kernel", async () => {
    const file = join(folder.path, "events.txt");
    const { report } = await record(file);
    const text = readFileSync(file, "utf8");
    expect(text.match(/: alloc_vmap_area: .*failed=0\n/g)).toHaveLength(report.vmalloc.areasAllocated);
    expect(text.match(/: free_vmap_area_noflush: /g)).toHaveLength(report.vmalloc.areasFreed);
    expect(text.match(/: purge_vmap_area_lazy: /g)).toHaveLength(report.vmalloc.purges);
  });

  it("is not there before it is whole, nor after it was given up", async () => {
    const kernel = bootKernel({ cpus: 1 });
    for (const name of ["half.txt", "half.parquet"]) {
      const file = join(folder.path, name);
      const output = await openEventFile(file, kernel);
      expect(existsSync(file)).toBe(false);
      output.abandon();
      expect(existsSync(file)).toBe(false);
      expect(readdirSync(folder.path).filter((each) => each.startsWith(name))).toEqual([]);
    }
  });

  it("is refused with one line where it cannot be written", async () => {
    const kernel = bootKernel({ cpus: 1 });
    await expect(openEventFile("events.xls", kernel)).rejects.toThrow(
      /should end in .txt \(ftrace text\), .csv, .jsonl or .parquet/,
    );
    await expect(openEventFile("events", kernel)).rejects.toThrow(/cannot tell from the name events/);
    for (const name of ["no/such/folder/a.csv", "no/such/folder/a.parquet"]) {
      await expect(openEventFile(name, kernel)).rejects.toThrow(`cannot write ${name}: its folder does not exist`);
    }
    const directory = join(folder.path, "directory.csv");
    mkdirSync(directory);
    await expect(openEventFile(join(folder.path, "directory.csv"), kernel)).rejects.toThrow(
      /cannot write .*: it is a directory/,
    );
  });
});
