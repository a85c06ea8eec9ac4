/** What `mmulab help TOPIC` explains: what concerns all commands. */

/** A topic. */
export interface Topic {
  readonly name: string;
  /** One line for the list of topics. */
  readonly summary: string;
  /** Its text, of lines of at most 80 characters. */
  readonly text: string;
}

/** All topics, in the order in which they are listed. */
export const TOPICS: readonly Topic[] = [
  {
    name: "addresses",
    summary: "how addresses and sizes are written",
    text: `Addresses are written in hexadecimal with 0x, all 64 bits, or in decimal, as
some tracepoints print them: 0xffffc90000000000 and 18446683600570023936 are the
same. They must be canonical: bits 63 to 47 are equal (63 to 56 with five
levels).

Sizes are bytes, or have a unit of powers of 1024: 4096, 4K, 4KiB, 2M, 1GiB.
Without KASLR the vmalloc range begins at 0xffffc90000000000, modules at
0xffffffffa0000000. JSON has addresses as hexadecimal words, since it has no
integers of 64 bits.

  mmulab inspect walk --address 0xffffc90000000000
  mmulab inspect /proc/vmallocinfo --fit 2M --align 2M`,
  },
  {
    name: "policies",
    summary: "flush policies: how a flush reaches other CPUs",
    text: `--policy NAME chooses how flushes reach other CPUs; mmulab run --help lists the
names. ipi is Linux's default, invlpgb AMD's broadcast, rar Intel's remote
actions, deferred leaves isolated CPUs in user mode alone, eager flushes at
every vunmap. A file of one's own is a policy too (docs/own-code.md):

  mmulab new policy my-policy
  mmulab run mixed --policy ./my-policy.ts --accounts`,
  },
  {
    name: "presets",
    summary: "microarchitectures, and figures that are changed",
    text: `--preset NAME chooses the processor: its TLBs, caches and costs. Each figure is
measured, documented or assumed, and says from where (docs/presets.md).
--set NAME=VALUE changes one; --preset FILE.json takes one's own.

  mmulab presets
  mmulab presets zen4
  mmulab run --preset zen4 --set tlbs.0.ways=8`,
  },
  {
    name: "traces",
    summary: "what replay reads, and how it is recorded",
    text: `Recordings of a real kernel (mmulab replay FILE.jsonl.gz) are compared call by
call. Kernel traces (--ftrace) are text of trace_pipe, trace-cmd report or perf
script; the script of mmulab record-script records the calls too. Memory
references (--references) are those of DynamoRIO, ChampSim or valgrind.

All may be packed by gzip, xz or zstd; - is standard input. trace.dat and
perf.data are binary: trace-cmd report and perf script turn them into text.
More: docs/replay.md.`,
  },
  {
    name: "exit-codes",
    summary: "what the exit code says",
    text: `0  all is well
1  the command ran, and what it ran failed: a load that gave another value, a
   recording that differs, a point of a sweep without a result, a schedule that
   goes wrong; or the program itself failed (a bug; MMULAB_STACK=1 shows where)
2  the command could not be carried out as given: one line on standard error
   names the option or file, its line, the value, and what was expected`,
  },
  {
    name: "files",
    summary: "what is written, and what says how it was made",
    text: `Every file, everything that --json or --csv prints and every report that is kept
in a file says what made it: version, command line, all options. mmulab rerun
FILE runs that command again and compares. A file is written whole or not at
all. Nothing is written that no option names; mmulab new writes a template,
never over a file that exists.

The format follows from the name: --events FILE.txt (ftrace text), .csv, .jsonl,
.parquet. Timelines are Chrome trace-event JSON for ui.perfetto.dev.`,
  },
  {
    name: "terminal",
    summary: "progress, colours, completion",
    text: `Long work shows its progress on standard error where that is a terminal;
--quiet leaves it out. Nothing is coloured: NO_COLOR and FORCE_COLOR change
nothing.

Completion of commands, options and their values:
  bash  eval "$(mmulab completion bash)"                 in ~/.bashrc
  zsh   eval "$(mmulab completion zsh)"                  in ~/.zshrc
  fish  mmulab completion fish > ~/.config/fish/completions/mmulab.fish

man mmulab shows all commands with their options.`,
  },
];
