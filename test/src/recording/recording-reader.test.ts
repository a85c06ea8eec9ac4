import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { InputFileError } from "../../../src/input/errors.ts";
import type { RecordingItem } from "../../../src/recording/recording-parser.ts";
import { readRecording } from "../../../src/recording/recording-reader.ts";
import { fixture, fixtureLines, temporaryFolder } from "../fixtures.ts";

const folder = temporaryFolder();
/** A whole recording, short enough to be cut and changed at will. */
const lines = shortened(fixtureLines("huge_smp2_s1"), 40);

/** The recording's head, its first `steps` lines of calls and events up to a whole step, and its end. */
function shortened(all: string[], steps: number): string[] {
  const calls = all.indexOf('{"init":"end"}') + 1;
  let cut = calls + steps;
  while (!all[cut].startsWith('{"call"')) cut++;
  return [...all.slice(0, cut), ...all.slice(all.indexOf('{"end_of_calls":1}'))];
}

async function readAll(file: string): Promise<RecordingItem[]> {
  const items: RecordingItem[] = [];
  for await (const item of readRecording(file)) items.push(item);
  return items;
}

async function errorOf(file: string): Promise<InputFileError> {
  try {
    await readAll(file);
  } catch (error) {
    if (error instanceof InputFileError) return error;
    throw error;
  }
  throw new Error(`${file} was read without an error`);
}

/** The error that a plain-text recording of these lines gives. */
function errorOfLines(changed: readonly string[]): Promise<InputFileError> {
  return errorOf(folder.write("changed.jsonl", changed.join("\n")));
}

function withLine(index: number, text: string): string[] {
  return lines.with(index, text);
}

describe("reading a recording", () => {
  it("gives the start, every call with its events, and the end", async () => {
    const items = await readAll(fixture("mixed_smp4_s1"));
    const text = fixtureLines("mixed_smp4_s1");
    const count = (prefix: string) => text.filter((line) => line.startsWith(prefix)).length;
    expect(items[0].kind).toBe("start");
    expect(items.at(-1)?.kind).toBe("end");
    expect(items.filter((item) => item.kind === "call")).toHaveLength(count('{"call"'));
    expect(items.filter((item) => item.kind === "wait")).toHaveLength(count('{"wait"'));
    const events = items.flatMap((item) => (item.kind === "call" || item.kind === "wait" ? item.events : []));
    expect(events).toHaveLength(count('{"ev"'));
    expect(events.map((event) => JSON.stringify(event))).toEqual(text.filter((line) => line.startsWith('{"ev"')));
  });

  it("turns addresses into 48-bit linear addresses and takes the hole out of gap sizes", async () => {
    const [start] = await readAll(fixture("fix_smp1_s1"));
    if (start.kind !== "start") throw new Error("no start");
    const { free } = start.state.snapshot;
    expect(start.header.vmalloc_start).toBe(0xc900_0000_0000);
    const low = free.find((gap) => gap.start === 1);
    expect(low).toMatchObject({ end: 0xc900_0000_0000, subtreeMaxSize: 0xc900_0000_0000 - 1 });
    expect(free[0].subtreeMaxSize).toBe(0xc900_0000_0000 - 1);
    expect(Math.max(...free.map((gap) => gap.end))).toBe(2 ** 48 - 1);
    expect(start.state.snapshot.lazyNr).toBe(7);
  });

  it("knows the line of each call", async () => {
    const items = await readAll(fixture("range_smp4_s1"));
    const text = fixtureLines("range_smp4_s1");
    for (const item of items) {
      if (item.kind === "call") expect(JSON.parse(text[item.line - 1]).n).toBe(item.call.n);
    }
  });

  it("leaves kernel log messages out of the page-table dump", async () => {
    const end = (await readAll(fixture("fix_smp1_s1"))).at(-1);
    if (end?.kind !== "end") throw new Error("no end");
    expect(end.state.pageTables[0]).toBe("---[ vmalloc() Area ]---");
    expect(end.state.pageTables.at(-1)).toMatch(/^0x.* pgd$/);
  });

  it("reads plain text as well as gzip, with or without a newline at the end", async () => {
    const plain = await readAll(folder.write("plain.jsonl", lines.join("\n")));
    const zipped = await readAll(folder.write("zipped", gzipSync(`${lines.join("\n")}\n`)));
    expect(plain).toEqual(zipped);
    expect(plain.length).toBeGreaterThan(3);
  });
});

describe("a file that is no readable recording", () => {
  it("does not exist, is a folder, or is empty", async () => {
    expect(await errorOf(`${folder.path}/none.gz`)).toMatchObject({ line: 0, reason: "no such file" });
    expect((await errorOf(folder.path)).reason).toMatch(/directory/);
    expect(await errorOf(folder.write("empty.jsonl.gz", ""))).toMatchObject({ line: 0, reason: "is empty" });
    expect((await errorOf(folder.write("nothing.gz", gzipSync("")))).reason).toBe("is empty");
  });

  it("is gzip cut short", async () => {
    const whole = gzipSync(lines.join("\n"));
    const error = await errorOf(folder.write("cut.gz", whole.subarray(0, whole.length - 100)));
    expect(error.reason).toMatch(/truncated/);
    expect(error.message).toContain("cut.gz:");
  });

  it("is damaged gzip", async () => {
    const bytes = Buffer.from(gzipSync(lines.join("\n")));
    bytes[200] ^= 0xff;
    bytes[201] ^= 0xff;
    const error = await errorOf(folder.write("damaged.gz", bytes));
    expect(error.reason).toMatch(/damaged|not JSON/);
  });

  it("is named .gz without being gzip", async () => {
    expect((await errorOf(folder.write("text.gz", lines.join("\n")))).reason).toMatch(/not hold gzip/);
  });

  it("is not UTF-8", async () => {
    const bytes = Buffer.concat([Buffer.from(`${lines[0]}\n`), Buffer.from([0xff, 0xfe, 0x0a])]);
    expect((await errorOf(folder.write("binary.jsonl", bytes))).reason).toMatch(/UTF-8/);
  });

  it("has bad JSON at a line, or something else than an object there", async () => {
    const calls = lines.indexOf('{"init":"end"}') + 1;
    expect(await errorOfLines(withLine(calls, "{oops"))).toMatchObject({
      line: calls + 1,
      reason: /^not JSON/ as never,
    });
    expect(await errorOfLines(withLine(calls, "[1]"))).toMatchObject({ line: calls + 1 });
    expect((await errorOfLines(["hello"])).reason).toMatch(/not a recording/);
  });
});

describe("a recording that is not as it should be", () => {
  const calls = lines.indexOf('{"init":"end"}') + 1;
  const firstEvent = lines.findIndex((line) => line.startsWith('{"ev"'));

  it.each([
    ["no header", () => lines.slice(1), 1, /no "header"/],
    ["another version", () => withLine(0, lines[0].replace('"header":1', '"header":2')), 1, /version 2/],
    [
      "a header without a constant",
      () => withLine(0, lines[0].replace('"nr_vmap_nodes":2,', "")),
      1,
      /"nr_vmap_nodes" is missing/,
    ],
    ["no end of the initial state", () => lines.toSpliced(calls - 1, 1), calls, /before \{"init":"end"\}/],
    [
      "no initial page tables",
      () => lines.filter((line) => !line.startsWith('{"init_ptdump"')),
      null,
      /without "init_ptdump"/,
    ],
    [
      "an unknown call",
      () => withLine(calls, '{"call":"kmalloc","n":0,"size":1}'),
      calls + 1,
      /unknown call "kmalloc"/,
    ],
    [
      "a call that is a property of every object",
      () => withLine(calls, '{"call":"toString","n":0}'),
      calls + 1,
      /unknown call/,
    ],
    [
      "a missing argument",
      () => withLine(calls, lines[calls].replace(/"size":\d+,/, "")),
      calls + 1,
      /call "vmalloc_huge": "size" is missing/,
    ],
    ["an argument too many", () => withLine(calls, lines[calls].replace('"n":', '"node":1,"n":')), calls + 1, /node/],
    [
      "a negative size",
      () => withLine(calls, lines[calls].replace(/"size":\d+/, '"size":-1')),
      calls + 1,
      /"size" is -1/,
    ],
    [
      "an address that is not canonical",
      () => withLine(calls, lines[calls].replace("0xffffc9", "0x1fffc9")),
      calls + 1,
      /canonical/,
    ],
    ["an unknown event", () => withLine(firstEvent, '{"ev":"allocate"}'), firstEvent + 1, /unknown event "allocate"/],
    [
      "an event without a field",
      () => withLine(firstEvent, lines[firstEvent].replace(/"align":\d+,/, "")),
      firstEvent + 1,
      /"align" is missing/,
    ],
    [
      "an event with a field of another type",
      () => withLine(firstEvent, lines[firstEvent].replace(/"align":(\d+)/, '"align":"$1"')),
      firstEvent + 1,
      /"align" is "\d+", expected a number/,
    ],
    [
      "an event before the first call",
      () => lines.toSpliced(calls, 0, '{"ev":"flush_all"}'),
      calls + 1,
      /outside any call/,
    ],
    [
      "a call inside a wait",
      () => lines.toSpliced(calls, 0, '{"wait":"drain"}'),
      calls + 2,
      /between "wait" and "wait_done"/,
    ],
    ["a wait for something else", () => lines.toSpliced(calls, 0, '{"wait":"godot"}'), calls + 1, /godot/],
    ["an end without a wait", () => lines.toSpliced(calls, 0, '{"wait_done":"drain"}'), calls + 1, /without "wait"/],
    ["a CPU that is not there", () => lines.toSpliced(calls, 0, '{"migrate":2}'), calls + 1, /CPU 2/],
    [
      "an unknown kind of line",
      () => lines.toSpliced(calls, 0, '{"comment":"x"}'),
      calls + 1,
      /unknown kind of line "comment"/,
    ],
    [
      "no end of the calls",
      () => lines.slice(0, lines.indexOf('{"end_of_calls":1}')),
      null,
      /ends before \{"end_of_calls":1\}/,
    ],
    [
      "no final page tables",
      () => lines.filter((line) => !line.startsWith('{"final_ptdump"')),
      null,
      /without "final_ptdump"/,
    ],
    [
      "a bad line of vmallocinfo",
      () => lines.map((line) => (line.startsWith('{"final_vmallocinfo"') ? '{"final_vmallocinfo":["x"]}' : line)),
      null,
      /not a line of \/proc\/vmallocinfo: "x"/,
    ],
  ] as const)("is refused with %s", async (_, change, line, reason) => {
    const error = await errorOfLines(change());
    expect(error.reason).toMatch(reason);
    if (line !== null) expect(error.line).toBe(line);
    expect(error.message).toBe(`${error.file}:${error.line}: ${error.reason}`);
  });
});
