/** Serves the page's files on this computer, to nobody else. */
import { readdirSync, readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { packageFile } from "../files/program-files.ts";
import { InputFileError, OutputFileError } from "../input/errors.ts";

/** The kinds of files that a page is made of; no others are served. */
const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
};
/** The files without which there is no page. */
const NEEDED = ["index.html", "main.js", "worker.js", "style.css"];
/** Where the page finds the file that it is to open, and the one that its preset is in. */
export type BesidePage = "opened" | "preset";

/** Nothing is loaded from elsewhere, and nothing is sent there. */
const POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:";
/** The worker runs code that is written in the page. */
const WORKER_POLICY = `${POLICY}; script-src 'self' 'unsafe-eval'`;

/** A server that runs. */
export interface Serving {
  readonly port: number;
  close(): void;
}

/**
 * Serves the page on 127.0.0.1.
 * @param port 0 for one that is free
 * @param beside files that the page needs
 * @param folder where the built page lies
 * @throws InputFileError when the page was not built, OutputFileError when the port is taken
 */
export async function servePage(
  port: number,
  beside: Readonly<Partial<Record<BesidePage, Uint8Array>>> = {},
  folder: URL = packageFile("dist/web/"),
): Promise<Serving> {
  const files = new Map<string, Uint8Array>([
    ...pageFiles(folder).map((name) => [name, readPageFile(folder, name)] as const),
    ...Object.entries(beside),
  ]);
  const server = createServer((request, response) => {
    const path = (request.url ?? "/").replace(/[?#].*/, "").slice(1);
    const name = path === "" ? "index.html" : path;
    const body = files.get(name);
    if (body === undefined || (request.method !== "GET" && request.method !== "HEAD")) {
      response.writeHead(body === undefined ? 404 : 405).end();
      return;
    }
    const type = TYPES[extname(name)] ?? "application/octet-stream";
    const policy = name === "worker.js" ? WORKER_POLICY : POLICY;
    response.writeHead(200, { "content-type": type, "content-security-policy": policy });
    response.end(request.method === "HEAD" ? undefined : body);
  });
  await listen(server, port);
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return {
    port: address.port,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

function pageFiles(folder: URL): string[] {
  let names: string[] = [];
  try {
    names = readdirSync(folder);
  } catch {
    // The first that is needed is then missed below.
  }
  return [...new Set([...NEEDED, ...names.filter((name) => Object.hasOwn(TYPES, extname(name)))])];
}

function readPageFile(folder: URL, name: string): Buffer {
  const file = fileURLToPath(new URL(name, folder));
  try {
    return readFileSync(file);
  } catch {
    throw new InputFileError(file, 0, "is not there; npm run build makes the page");
  }
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", ({ message }) =>
      reject(new OutputFileError(`port ${port}`, message, `cannot serve on port ${port}: ${message}`)),
    );
    server.listen(port, "127.0.0.1", resolve);
  });
}
