/** The page of `dist/web`, served and open in a headless Chromium. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import chromium from "@sparticuz/chromium";
import puppeteer, { type Browser, type Page } from "puppeteer-core";
import { packageFile } from "../../src/files/program-files.ts";
import { formatLink } from "../../src/view/model/link.ts";
import type { Scenario } from "../../src/view/model/scenario.ts";
import { type Serving, servePage } from "../../src/view/serve.ts";

/** Where the page's files are. */
export const WEB = fileURLToPath(packageFile("dist/web/"));
/** Nothing in particular is looked at. */
export const NO_FOCUS = { cpu: null, address: null };

/** A page in a browser of its own. */
export class OpenPage {
  readonly page: Page;
  readonly browser: Browser;
  readonly serving: Serving;
  /** What the console and failed requests said. */
  readonly complaints: string[] = [];

  private constructor(serving: Serving, browser: Browser, page: Page) {
    this.serving = serving;
    this.browser = browser;
    this.page = page;
    page.on("console", (message) => this.complaints.push(message.text()));
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("requestfailed", (request) => this.complaints.push(`${request.url()} failed`));
  }

  /** Starts a server and a browser. @param beside files that the page needs beside its own */
  static async start(beside: Parameters<typeof servePage>[1] = {}): Promise<OpenPage> {
    const serving = await servePage(0, beside, packageFile("dist/web/"));
    const browser = await puppeteer.launch({
      executablePath: await chromium.executablePath(),
      args: chromium.args,
      headless: "shell",
    });
    const page = await browser.newPage();
    await page.setBypassCSP(true);
    return new OpenPage(serving, browser, page);
  }

  async close(): Promise<void> {
    await this.browser.close();
    this.serving.close();
  }

  /** Bytes of the host's memory that the browser has: all its processes are one. NaN where /proc does not say. */
  memoryBytes(): number {
    try {
      const status = readFileSync(`/proc/${this.browser.process()?.pid}/status`, "utf8");
      return 1024 * Number(/VmRSS:\s*(\d+) kB/.exec(status)?.[1]);
    } catch {
      return Number.NaN;
    }
  }

  /** Opens a place and waits until it is shown. */
  async openAt(scenario: Scenario, position: number): Promise<void> {
    const link = formatLink({ scenario, position, focus: NO_FOCUS });
    await this.page.goto("about:blank");
    await this.page.goto(`http://127.0.0.1:${this.serving.port}/#${link}`);
    await this.shows(position);
  }

  /** Waits until the page shows a step. */
  async shows(position: number): Promise<void> {
    await this.page.waitForFunction(
      (text) => document.querySelector("output")?.textContent?.replace(/ of.*|, the end/, "") === text,
      { timeout: 20_000 },
      `step ${position.toLocaleString("en-US")}`,
    );
  }

  /** The text of an element. */
  text(selector: string): Promise<string> {
    return this.page.$eval(selector, (element) => element.textContent ?? "");
  }

  /** The texts of elements. */
  cells(selector: string): Promise<string[]> {
    return this.page.$$eval(selector, (elements) => elements.map((element) => element.textContent ?? ""));
  }

  /** The texts of elements in the rows of a list, which has those that are not seen yet when one scrolls to its end. */
  async rows(list: string, selector: string): Promise<string[]> {
    await this.page.evaluate(async (selector_) => {
      for (;;) {
        const last = [...document.querySelectorAll(`${selector_} tbody tr`)].at(-1);
        if (last?.textContent !== "…") break;
        last.scrollIntoView({ block: "end" });
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      scrollTo(0, 0);
    }, list);
    return this.cells(`${list} tbody ${selector}`);
  }

  /** Drops a file on the page. */
  async drop(name: string, content: Uint8Array | string): Promise<void> {
    await this.page.evaluate(
      (name_, base64) => {
        const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([bytes], name_));
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
      },
      name,
      Buffer.from(content).toString("base64"),
    );
  }
}
