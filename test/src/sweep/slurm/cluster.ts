/** A real Slurm of a controller and a few nodes, all on this machine, without systemd and with a munge of its own. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";

const DAEMONS = ["munged", "slurmctld", "slurmd"];
/** Daemons are in `/usr/sbin`, which is not in everybody's path. */
const PATH = `${process.env.PATH}:/usr/sbin:/sbin`;
const UP_MAX_MS = 30_000;

/** Whether this machine has what a cluster needs: Debian's `slurm-wlm` and `munge`, and the rights of root. */
export const HAS_SLURM =
  process.getuid?.() === 0 && DAEMONS.every((name) => spawnSync("which", [name], { env: { PATH } }).status === 0);

/** A cluster that is up. */
export class Cluster {
  readonly nodes: readonly string[];
  /** What programs need in their environment to find the cluster. */
  readonly environment: NodeJS.ProcessEnv;
  private readonly folder: string;

  private constructor(folder: string, nodes: readonly string[]) {
    this.folder = folder;
    this.nodes = nodes;
    this.environment = { ...process.env, PATH, SLURM_CONF: join(folder, "slurm.conf") };
  }

  /** Starts a cluster of `count` nodes of two CPUs. */
  static async start(count: number): Promise<Cluster> {
    const folder = mkdtempSync(join(tmpdir(), "mmulab-slurm-"));
    const cluster = new Cluster(
      folder,
      Array.from({ length: count }, (_, i) => `node${i + 1}`),
    );
    const ports = await freePorts(count + 1);
    writeFileSync(join(folder, "munge.key"), Buffer.from(crypto.getRandomValues(new Uint8Array(128))), { mode: 0o400 });
    const munge = ["socket", "key-file", "pid-file", "log-file", "seed-file"].map(
      (name) => `--${name}=${folder}/munge.${name.split("-")[0]}`,
    );
    cluster.run("munged", ...munge, "--force");
    writeFileSync(join(folder, "slurm.conf"), configuration(folder, cluster.nodes, ports));
    mkdirSync(join(folder, "state"));
    cluster.run("slurmctld", "-f", join(folder, "slurm.conf"));
    for (const node of cluster.nodes) {
      mkdirSync(join(folder, `spool.${node}`));
      cluster.run("slurmd", "-f", join(folder, "slurm.conf"), "-N", node);
    }
    const start = performance.now();
    while (
      cluster
        .run("sinfo", "--noheader", "--Node", "--format=%T")
        .split("\n")
        .filter((state) => state === "idle").length < count
    ) {
      if (performance.now() - start > UP_MAX_MS) throw new Error(`the nodes do not come up: see ${folder}`);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    return cluster;
  }

  /** Runs one of Slurm's commands and returns what it prints. */
  run(command: string, ...args: string[]): string {
    return execFileSync(command, args, { env: this.environment, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  }

  /** Ends all that runs on a node at once, as a power cut does, and tells the controller what it would find out in time. */
  lose(node: string): void {
    process.kill(this.pidOf(`slurmd.${node}.pid`), "SIGKILL");
    for (const pid of processesOn(node)) tryKill(pid);
    this.run("scontrol", "update", `NodeName=${node}`, "State=DOWN", "Reason=lost");
  }

  stop(): void {
    spawnSync("scancel", ["--user=root"], { env: this.environment });
    for (const name of readdirSync(this.folder)) {
      // `munge.pid`, `slurmctld.pid`, `slurmd.node1.pid`
      if (name.endsWith(".pid")) tryKill(this.pidOf(name));
    }
    for (const node of this.nodes) for (const pid of processesOn(node)) tryKill(pid);
    rmSync(this.folder, { recursive: true, force: true });
  }

  private pidOf(name: string): number {
    return Number(readFileSync(join(this.folder, name), "utf8"));
  }
}

/** Processes of jobs that run on a node, and the daemons that watch them. */
function processesOn(node: string): number[] {
  const found = new Set<number>();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, "latin1").includes(`SLURMD_NODENAME=${node}\0`)) continue;
      found.add(Number(pid));
      const parent = /^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1] ?? "1";
      if (readFileSync(`/proc/${parent}/cmdline`, "latin1").startsWith("slurmstepd")) found.add(Number(parent));
    } catch {
      // It has ended meanwhile.
    }
  }
  return [...found];
}

function tryKill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const server = createServer();
          server.listen(0, "127.0.0.1", () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

function configuration(folder: string, nodes: readonly string[], [controller, ...ports]: readonly number[]): string {
  const host = hostname().split(".")[0];
  return [
    "ClusterName=mmulab",
    `SlurmctldHost=${host}(127.0.0.1)`,
    `SlurmctldPort=${controller}`,
    "SlurmUser=root",
    "SlurmdUser=root",
    "AuthType=auth/munge",
    `AuthInfo=socket=${folder}/munge.socket`,
    "CredType=cred/munge",
    `StateSaveLocation=${folder}/state`,
    `SlurmdSpoolDir=${folder}/spool.%n`,
    `SlurmdPidFile=${folder}/slurmd.%n.pid`,
    `SlurmctldPidFile=${folder}/slurmctld.pid`,
    `SlurmctldLogFile=${folder}/slurmctld.log`,
    `SlurmdLogFile=${folder}/slurmd.%n.log`,
    "ProctrackType=proctrack/linuxproc",
    "TaskPlugin=task/none",
    "MpiDefault=none",
    "SelectType=select/cons_tres",
    "SelectTypeParameters=CR_CPU",
    "ReturnToService=2",
    ...nodes.map(
      (node, i) => `NodeName=${node} NodeHostname=${host} NodeAddr=127.0.0.1 Port=${ports[i]} CPUs=2 State=UNKNOWN`,
    ),
    "PartitionName=main Nodes=ALL Default=YES State=UP",
    "",
  ].join("\n");
}
