/** Serves the page's files on this computer, to nobody else. */
import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { fileURLToPath } from "node:url";
import { InputFileError, OutputFileError } from "../input/errors.ts";

/** The files of the page, and what each is. There are no others. */
const FILES: Readonly<Record<string, string>> = {
  "index.html": "text/html; charset=utf-8",
  "main.js": "text/javascript; charset=utf-8",
  "worker.js": "text/javascript; charset=utf-8",
  "style.css": "text/css; charset=utf-8",
};

/** Nothing is loaded from elsewhere, and nothing is sent there. */
const POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:";

/** A server that runs. */
export interface Serving {
  readonly port: number;
  close(): void;
}

/**
 * Serves the page on 127.0.0.1.
 * @param port 0 for one that is free
 * @param folder where the built page lies
 * @throws InputFileError when the page was not built, OutputFileError when the port is taken
 */
export async function servePage(port: number, folder: URL = new URL("../../web/", import.meta.url)): Promise<Serving> {
  const files = new Map(Object.keys(FILES).map((name) => [name, readPageFile(folder, name)]));
  const server = createServer((request, response) => {
    const path = (request.url ?? "/").replace(/[?#].*/, "").slice(1);
    const name = path === "" ? "index.html" : path;
    const body = files.get(name);
    if (body === undefined || (request.method !== "GET" && request.method !== "HEAD")) {
      response.writeHead(body === undefined ? 404 : 405).end();
      return;
    }
    response.writeHead(200, { "content-type": FILES[name], "content-security-policy": POLICY });
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
