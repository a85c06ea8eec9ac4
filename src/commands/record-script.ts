/** `mmulab record-script`: a shell script that records vmalloc on a machine with a stock kernel. */
import type { Command } from "commander";
import { EXIT_OK } from "../command-line/errors.ts";
import { optionParser } from "../command-line/option-values.ts";
import { printOutput } from "../command-line/standard-streams.ts";
import { wholeNumber } from "../input/values.ts";
import { recordScript } from "../recorder/record-script.ts";

interface RecordScriptOptions {
  readonly json?: boolean;
}

const HELP = `
The script runs as root on any machine with tracefs and Linux 5.10 or newer: x86-64, arm64 or RISC-V; no compiler, no bpftrace. It
sets up kprobes on the calls of vmalloc, on flushes and purges, and vmalloc's own tracepoints (since 6.3), records for some seconds, and
writes one text file, which "mmulab replay --ftrace FILE" takes. It asks before it changes anything, and takes everything back, also
when it is stopped by Ctrl-C.

Try it in a virtual machine first, here with a stock kernel of Debian and a statically linked busybox (apt-get install
qemu-system-x86 busybox-static cpio; apt-get download linux-image-amd64's kernel; dpkg-deb -x linux-image-*.deb kernel):
  $ mkdir -p root/bin root/proc root/sys root/dev && cp /bin/busybox root/bin && mmulab record-script > root/record.sh
  $ printf '%s\\n' '#!/bin/busybox sh' '/bin/busybox --install /bin' 'mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev' \\
      'mount -t tracefs t /sys/kernel/tracing; sh /record.sh --yes --seconds 5 --buffer 1024 && cat /mmulab-record.txt' \\
      'poweroff -f' > root/init && chmod +x root/init
  $ (cd root && find . | cpio -o -H newc) > root.cpio
  $ qemu-system-x86_64 -m 1G -smp 2 -cpu max -nographic -no-reboot -kernel kernel/boot/vmlinuz-* -initrd root.cpio \\
      -append "console=ttyS0 quiet panic=-1" > console.txt

Exit code: 0.

Examples:
  $ mmulab record-script > record.sh
  $ scp record.sh root@server: && ssh root@server sh record.sh --yes --seconds 30 --output trace.txt
  $ mmulab replay --ftrace trace.txt --accounts`;

/** Adds the command; `exit` takes its exit code. */
export function addRecordScriptCommand(program: Command, exit: (code: number) => void): void {
  program
    .command("record-script")
    .description(
      "Print a shell script that records vmalloc's calls, events and flushes on a machine with a stock kernel.",
    )
    .option(
      "--seed <number>",
      "taken as everywhere; the script makes no random choices",
      optionParser(wholeNumber(0, 2 ** 32 - 1)),
      1,
    )
    .option("--json", "print a JSON object with the script as its only text")
    .option("--quiet", "print nothing but the script")
    .addHelpText("after", HELP)
    .action(({ json }: RecordScriptOptions) => {
      const script = recordScript();
      printOutput(json ? `${JSON.stringify({ script })}\n` : script);
      exit(EXIT_OK);
    });
}
