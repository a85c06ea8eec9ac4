/** Files that the page takes and gives: each kind dropped on it, shown, and refused at its line; each export, whole and right. */
import { mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatLinearAddress16 } from "../../arch/index.ts";
import { NO_FOCUS, OpenPage } from "../../bench/browser/open-page.ts";
import { vmallocinfo } from "../../mm/index.ts";
import { loadKernel } from "../../src/state/machine-state.ts";
import { exportFile } from "../../src/view/model/export-files.ts";
import { type Picture, pictureOf } from "../../src/view/model/picture.ts";
import { DEFAULT_SCENARIO, type Scenario } from "../../src/view/model/scenario.ts";
import { Session } from "../../src/view/model/session.ts";
import { ROOT } from "../source-files.ts";

const STORY: Scenario = { kind: "story", name: "stale-entry" };
const MIXED: Scenario = { ...DEFAULT_SCENARIO, operations: 300, settings: { "lazy-max": "64" } };
const RECORDING = gunzipSync(readFileSync(join(ROOT, "test/recordings/lazy_smp1_s1.jsonl.gz"))).toString();
const FTRACE = `# tracer: nop
  modprobe-12 [000] d..1.  100.000001: alloc_vmap_area: va_start: 18446683600570023936 size=8192 align=1 vstart=0xffffc90000000000 vend=0xffffe8ffffffffff failed=0
  modprobe-12 [001] d..1.  100.000102: alloc_vmap_area: va_start: 18446683600570032128 size=4096 align=1 vstart=0xffffc90000000000 vend=0xffffe8ffffffffff failed=0
`;
const LACKEY = "==1== Lackey\nI  0401e0f0,3\n S 1ffeffe7e0,8\n";
const SOURCE = "export default function* (thread) {\n  yield* thread.vmalloc(8192);\n}\n";

let at: OpenPage;
const downloads = mkdtempSync(join(tmpdir(), "mmulab-downloads-"));

beforeAll(async () => {
  at = await OpenPage.start();
  const client = await at.browser.target().createCDPSession();
  await client.send("Browser.setDownloadBehavior", { behavior: "allow", downloadPath: downloads });
});

afterAll(async () => {
  await at?.close();
  rmSync(downloads, { recursive: true });
});

/** Chooses an export. @returns the file that was saved, which has `name` */
async function exported(choice: string, name: string): Promise<Buffer> {
  await at.page.select("label:has(option[value=timeline]) select", choice);
  for (let tries = 0; !(await readdir(downloads)).includes(name); tries++) {
    expect(tries, `${name} is saved; there are ${await readdir(downloads)}`).toBeLessThan(200);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const file = join(downloads, name);
  renameSync(file, join(downloads, "taken"));
  return readFileSync(join(downloads, "taken"));
}

async function alert(): Promise<string> {
  await at.page.waitForSelector('[role="alert"]');
  return at.text('[role="alert"]');
}

/** The state of a story, as the page saves it. */
async function stateBytes(): Promise<Uint8Array> {
  const session = new Session(STORY);
  session.goTo(2);
  return exportFile("state", session);
}

describe("a file that is dropped", () => {
  it("is a recording, shown call by call; a damaged one is refused at its line", async () => {
    await at.openAt(STORY, 0);
    await at.drop("lazy.jsonl", RECORDING);
    await at.page.waitForFunction(() => location.hash.startsWith("#file=lazy.jsonl"));
    await at.page.keyboard.press("ArrowRight");
    await at.shows(1);
    expect(await at.text(".story h2")).toMatch(/^1\. call \d+: /);
    const lines = RECORDING.split("\n");
    lines[4] = lines[4].slice(0, 20);
    await at.drop("bad.jsonl", lines.join("\n"));
    expect(await alert()).toMatch(/^bad\.jsonl:5(?::\d+)?: /);
  });

  it("is ftrace text, whose areas lie where they lay; says which line is not used, and refuses one without events", async () => {
    await at.openAt(STORY, 0);
    await at.drop("trace.txt", FTRACE);
    await at.page.waitForFunction(() => location.hash.startsWith("#file=trace.txt"));
    await at.page.keyboard.press("End");
    await at.shows(3);
    expect(await at.text(".found")).toBe("2 areas allocated, 2 of them at the traced address; 0 freed");
    await at.drop("odd.txt", FTRACE.replace("size=4096", "size=4k"));
    await at.page.waitForFunction(() => location.hash.startsWith("#file=odd.txt"));
    expect(await at.text(".found")).toMatch(/^Not used: 1 line, at line 3: /);
    await at.drop("none.txt", FTRACE.replaceAll("size=", "bytes="));
    expect(await alert()).toMatch(/^none\.txt/);
  });

  it("is a trace of lackey, reference by reference; says which line is none", async () => {
    await at.openAt(STORY, 0);
    await at.drop("a.lackey", LACKEY);
    await at.page.waitForFunction(() => location.hash.startsWith("#file=a.lackey"));
    await at.page.keyboard.press("ArrowRight");
    await at.page.keyboard.press("ArrowRight");
    await at.shows(2);
    expect(await at.text(".story h2")).toBe("2. store");
    expect(await at.text(".found")).toBe("0x1ffeffe7e0");
    await at.drop("odd.lackey", `${LACKEY} L zzz,8\n`);
    await at.page.waitForFunction(() => location.hash.startsWith("#file=odd.lackey"));
    expect(await at.text(".found")).toBe("Not used: 1 line is no reference and no message of valgrind, at line 4.");
  });

  it("is a saved state, as it was; one that was changed is refused", async () => {
    const bytes = await stateBytes();
    const session = new Session(STORY);
    session.goTo(2);
    await at.openAt(STORY, 0);
    await at.drop("a.state", bytes);
    await at.page.waitForFunction(() => location.hash.startsWith("#file=a.state"));
    expect(await at.cells("#areas tbody .address")).toEqual(
      pictureOf(session, NO_FOCUS).space.areas.map(({ start }) => formatLinearAddress16(start)),
    );
    const damaged = Uint8Array.from(bytes);
    damaged[damaged.length - 40] ^= 1;
    await at.drop("bad.state", damaged);
    expect(await alert()).toBe("bad.state: is damaged: its checksum does not fit");
  });

  it("is a workload in TypeScript, which runs; a mistake has its line", async () => {
    await at.openAt(STORY, 0);
    await at.drop("own.ts", SOURCE);
    await at.page.waitForFunction(() => location.hash.startsWith("#source="));
    await at.page.keyboard.press("e");
    await at.page.waitForFunction(() => document.querySelectorAll("#time tbody strong").length > 0);
    expect(await at.cells("#time tbody strong")).toContain("alloc");
    await at.drop("bad.ts", `${SOURCE}const a = nonsense;\n`);
    expect(await alert()).toBe("workload.ts: cannot be loaded: ReferenceError: nonsense is not defined (line 4)");
  });

  it("is none of these, and is refused in one line", async () => {
    await at.drop("letter.txt", "Dear Sir,\n");
    await at.page.waitForFunction(() => document.querySelector('[role="alert"]')?.textContent?.startsWith("letter"));
    expect(await alert()).toMatch(/^letter\.txt: is none of these: a recording/);
  });
});

describe("the page exports", () => {
  const session = new Session(MIXED);
  session.goTo(150);
  beforeAll(() => at.openAt(MIXED, 150));

  it("the timeline as the model has it", async () => {
    const bytes = await exported("timeline", "mmulab-mixed-150.timeline.json");
    const model: unknown = JSON.parse(new TextDecoder().decode(await exportFile("timeline", session)));
    expect(JSON.parse(bytes.toString())).toEqual(model);
  });

  it("all that is shown", async () => {
    const shown = JSON.parse((await exported("json", "mmulab-mixed-150.json")).toString()) as Picture;
    expect(shown).toEqual(JSON.parse(JSON.stringify(pictureOf(session, NO_FOCUS))));
  });

  it.each(["space", "tables", "tlbs", "time", "costs"])("a picture of %s, with all that it says", async (view) => {
    const { page } = at;
    const size = await page.$eval(`#${view}`, (element) => {
      const { width, height } = element.getBoundingClientRect();
      return { width, height };
    });
    const png = await exported(`png ${view}`, `mmulab-mixed-150.${view}.png`);
    expect(png.subarray(1, 4).toString()).toBe("PNG");
    expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([Math.round(size.width), Math.round(size.height)]);
    const svg = (await exported(`svg ${view}`, `mmulab-mixed-150.${view}.svg`)).toString();
    // It loads nothing from elsewhere.
    expect(svg).not.toMatch(/(?:src|href)="(?!data:|#)/);
    const found = await page.evaluate(
      async (id, markup, base64) => {
        const words = (element: Element | null): string =>
          [...(element?.querySelectorAll("h2, th, td, dd") ?? [])].map((each) => each.textContent).join("|");
        const { documentElement } = new DOMParser().parseFromString(markup, "image/svg+xml");
        const image = new Image();
        image.src = `data:image/png;base64,${base64}`;
        await image.decode();
        const canvas = new OffscreenCanvas(image.width, image.height);
        const context = canvas.getContext("2d");
        context?.drawImage(image, 0, 0);
        const bytes = context?.getImageData(0, 0, image.width, image.height).data ?? [];
        const colours = new Set<number>();
        for (let i = 0; i < bytes.length; i += 4) colours.add((bytes[i] << 16) | (bytes[i + 1] << 8) | bytes[i + 2]);
        const shown = document.getElementById(id);
        return {
          root: documentElement.localName,
          words: [words(documentElement), words(shown)],
          pictures: [documentElement.querySelectorAll("img").length, shown?.querySelectorAll("canvas").length],
          colours: colours.size,
        };
      },
      view,
      svg,
      png.toString("base64"),
    );
    expect(found.root).toBe("svg");
    expect(found.words[0]).toBe(found.words[1]);
    expect(found.pictures[0]).toBe(found.pictures[1]);
    expect(found.colours).toBeGreaterThan(20);
  });

  it("the state, which mmulab loads; where code is under way it says why not", async () => {
    await at.page.select("label:has(option[value=timeline]) select", "state");
    expect(await alert()).toMatch(/^the state cannot be saved: thread mixed\/\d: is in the middle of its code$/);
    await at.openAt(STORY, 2);
    await exported("state", "mmulab-stale-entry-2.state");
    const { kernel } = loadKernel(join(downloads, "taken"));
    const story = new Session(STORY);
    story.goTo(2);
    expect(vmallocinfo(kernel.vm)).toEqual(vmallocinfo(story.kernel.vm));
    expect(kernel.verify()).toEqual([]);
  });

  it("without a complaint", () => {
    expect(at.complaints).toEqual([]);
  });
});
