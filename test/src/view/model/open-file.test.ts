import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { vmallocinfo } from "../../../../mm/index.ts";
import { bootKernel } from "../../../../src/machine/kernel.ts";
import { saveKernel } from "../../../../src/state/machine-state.ts";
import { openFile } from "../../../../src/view/model/open-file.ts";
import { Answerer, type Picture } from "../../../../src/view/model/picture.ts";
import { Session } from "../../../../src/view/model/session.ts";
import { ROOT } from "../../../source-files.ts";

const RECORDING = readFileSync(join(ROOT, "test/recordings/lazy_smp1_s1.jsonl.gz"));
const LACKEY = readFileSync(join(ROOT, "test/traces/true.lackey.gz"));
const FTRACE = `# tracer: nop
  modprobe-12 [000] d..1.  100.000001: alloc_vmap_area: va_start: 18446683600570023936 size=8192 align=1 vstart=0xffffc90000000000 vend=0xffffe8ffffffffff failed=0
  modprobe-12 [001] d..1.  100.000102: alloc_vmap_area: va_start: 18446683600570032128 size=4096 align=1 vstart=0xffffc90000000000 vend=0xffffe8ffffffffff failed=0
  modprobe-12 [000] d..1.  100.000203: free_vmap_area_noflush: va_start=0xffffc90000000000 nr_lazy=2 nr_lazy_max=32768
`;
const NO_FOCUS = { cpu: null, address: null };

async function session(name: string, bytes: Uint8Array): Promise<Session> {
  return new Session({ kind: "file", name }, await openFile(name, bytes));
}

describe("a file that is opened", () => {
  it("is a recording, whose calls give the recorded addresses, and can be gone back in", async () => {
    const opened = await session("lazy.jsonl.gz", RECORDING);
    opened.goTo(40);
    const there = vmallocinfo(opened.kernel.vm);
    for (let i = 0; i < 30; i++) {
      opened.forward("step");
      expect(opened.told?.found ?? "").not.toContain("recorded:");
    }
    opened.goTo(40);
    expect(vmallocinfo(opened.kernel.vm)).toEqual(there);
    expect(opened.told?.title).toMatch(/^call \d+: /);
  });

  it("is a recording to its end, where the state is the recorded one", async () => {
    const lines = gunzipSync(RECORDING).toString();
    const opened = await session("lazy.jsonl", Buffer.from(lines));
    opened.goTo(opened.length ?? 0);
    expect([opened.isOver, opened.told?.found]).toEqual([true, "the final state is as recorded"]);
  });

  it("is ftrace text, whose areas lie where the traced kernel had them", async () => {
    for (const bytes of [Buffer.from(FTRACE), gzipSync(FTRACE)]) {
      const opened = await session("trace.txt", bytes);
      opened.goTo(3);
      expect(opened.told?.title).toBe("line 4: free");
      expect(opened.kernel.vm.lazyNr).toBe(2);
      opened.forward("step");
      expect(opened.told?.found).toBe("2 areas allocated, 2 of them at the traced address; 1 freed");
      expect(opened.isOver).toBe(true);
    }
  });

  it("is a trace of lackey, a reference a step, whose pages are there when they are needed", async () => {
    const opened = await session("true.lackey.gz", LACKEY);
    const lines = gunzipSync(LACKEY).toString().split("\n");
    const [first] = lines.filter((line) => /^I /.test(line));
    opened.goTo(1);
    expect(opened.told?.title).toBe("fetch");
    expect(opened.told?.look.address).toBe(Number.parseInt(first.split(/[ ,]+/)[1], 16));
    opened.goTo(1000);
    const address = opened.told?.look.address ?? 0;
    expect(opened.kernel.machine.cpus[0].probe(address).outcome).toBe("mapped");
    expect(opened.length).toBeGreaterThan(lines.filter((line) => /^I |^ [LSM] /.test(line)).length);
  });

  it("says before the first step which lines of a trace are not used, and why", async () => {
    const begin = async (text: string): Promise<string | undefined> =>
      (await session("trace", Buffer.from(text))).told?.found;
    expect(await begin(FTRACE)).toBe("");
    expect(await begin(FTRACE.replace("size=4096", "size=4k"))).toMatch(
      /^Not used: 1 line, at line 3: is a alloc_vmap_area event whose fields are not those of Linux/,
    );
    expect(await begin("I  0401e0f0,3\n S 1ffeffe7e0,8\n")).toBe("");
    expect(await begin("I  0401e0f0,3\n L zzz,8\n S 1ffeffe7e0,8\n L 1ffeffe7e0,x\n")).toBe(
      "Not used: 2 lines are no references and no message of valgrind, the first at line 2.",
    );
  });

  it("is a saved state, as it was", async () => {
    const folder = mkdtempSync(join(tmpdir(), "mmulab-open-"));
    const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 28 });
    const address = kernel.vmalloc(12_288, "saved+0x1/0x2");
    kernel.machine.cpus[1].store(address, 4, 77);
    saveKernel(kernel, join(folder, "a.state"), "a test");
    const bytes = readFileSync(join(folder, "a.state"));
    rmSync(folder, { recursive: true });
    const opened = await session("a.state", bytes);
    expect(opened.isOver).toBe(true);
    expect(opened.told?.text).toBe("A saved state: a test.");
    expect(vmallocinfo(opened.kernel.vm)).toEqual(vmallocinfo(kernel.vm));
    expect(opened.kernel.machine.cpus[1].load(address, 4)).toBe(77);
    const damaged = Uint8Array.from(bytes);
    damaged[damaged.length - 40] ^= 1;
    await expect(openFile("a.state", damaged)).rejects.toThrow(/^a.state: is damaged: its checksum does not fit$/);
    for (const length of [500, bytes.length - 100]) {
      await expect(openFile("a.state", bytes.subarray(0, length))).rejects.toThrow(/cut short/);
    }
  });

  it.each([
    ["a.txt", "hello\n", /^a.txt: is none of these: a recording, a saved state/],
    ["a.txt", "", /is empty/],
    ["a.jsonl", '{"header":2}\n', /^a.jsonl:1: header version 2/],
    ["a.jsonl", gunzipSync(RECORDING).subarray(0, 9000), /^a.jsonl:\d+: /],
    ["a.gz", RECORDING.subarray(0, 500), /^a.gz: is damaged/],
    ["a.gz", Buffer.from([0x1f, 0x8b, 1, 2, 3]), /^a.gz: is damaged/],
    ["a.jsonl", Buffer.from([0x7b, 0xff, 0xff]), /is not UTF-8/],
  ])("is refused in one line: %s", async (name, content, message) => {
    const error: Error = await openFile(name, Buffer.from(content)).then(
      () => new Error("it was opened"),
      (reason) => reason as Error,
    );
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain("\n");
  });
});

describe("the answers about a file", () => {
  it("come in the order of the questions, and say when a file is not there", async () => {
    const answerer = new Answerer();
    const scenario = { kind: "file", name: "trace.txt" } as const;
    const missing = await answerer.answer({ kind: "open", scenario, position: 0 }, NO_FOCUS);
    expect(missing).toEqual({ error: "trace.txt: is not here: drop it on the page to open it" });
    const answers = await Promise.all([
      answerer.answer({ kind: "open", scenario, position: 1, bytes: Buffer.from(FTRACE) }, NO_FOCUS),
      answerer.answer({ kind: "forward", stride: "step" }, NO_FOCUS),
      answerer.answer({ kind: "open", scenario, position: 3 }, NO_FOCUS),
      answerer.answer({ kind: "open", scenario: { kind: "story", name: "stale-entry" }, position: 1 }, NO_FOCUS),
    ]);
    const pictures = answers.map((answer) => (answer as { picture: Picture }).picture);
    expect(pictures.map(({ position }) => position)).toEqual([1, 2, 3, 1]);
    expect(pictures[2].space.lazyPages).toBe(2);
  });
});
