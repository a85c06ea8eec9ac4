import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { openCommand, type Surroundings, startOpening } from "../../../src/view/open-browser.ts";

const URL = "http://127.0.0.1:8080/#run=mixed&ops=400";
const DESKTOP: Surroundings = { platform: "linux", env: { DISPLAY: ":0" }, isTerminal: true };

describe("opening the browser", () => {
  it("is each desktop's own command", () => {
    expect(openCommand(URL, DESKTOP)).toEqual({ file: "xdg-open", args: [URL] });
    expect(openCommand(URL, { ...DESKTOP, env: { WAYLAND_DISPLAY: "wayland-0" } })?.file).toBe("xdg-open");
    expect(openCommand(URL, { ...DESKTOP, platform: "darwin", env: {} })).toEqual({ file: "open", args: [URL] });
    expect(openCommand(URL, { ...DESKTOP, platform: "win32", env: {} })?.args.at(-1)).toBe(URL.replace("&", "^&"));
  });

  it.each([
    [{ isTerminal: false }],
    [{ env: { DISPLAY: ":0", CI: "true" } }],
    [{ env: { DISPLAY: ":0", SSH_CONNECTION: "10.0.0.1 1 10.0.0.2 22" } }],
    [{ platform: "darwin" as const, env: { CI: "1" } }],
    [{ env: {} }],
    [{ env: { DISPLAY: "" } }],
  ])("does not happen where nobody would see it: %j", (change) => {
    expect(openCommand(URL, { ...DESKTOP, ...change })).toBeNull();
  });

  it("runs the command with the address, and does not mind when there is none", async () => {
    const folder = mkdtempSync(join(tmpdir(), "mmulab-open-"));
    const [script, got] = [join(folder, "browser"), join(folder, "got")];
    writeFileSync(script, `#!/bin/sh\nprintf %s "$1" > ${got}.part && mv ${got}.part ${got}\n`, { mode: 0o755 });
    startOpening({ file: join(folder, "none"), args: [URL] });
    startOpening({ file: script, args: [URL] });
    await vi.waitFor(() => expect(readFileSync(got, "utf8")).toBe(URL), { timeout: 10_000 });
    rmSync(folder, { recursive: true });
  });
});
