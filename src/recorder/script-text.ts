/** The parts of the recording script that no definition of a call changes. Backslashes stand for themselves, and `@{` for the shell's `${`. */

/** Up to the list of probes. `@FORMAT@` is the number of the file's format. */
export const BEFORE_PROBES = String.raw`#!/bin/sh
# Records what vmalloc does on this machine, for "mmulab replay --ftrace FILE".
# Made by "mmulab record-script". It needs root, a kernel from 5.10 on with kprobes, and tracefs; nothing else.
# It traces in an instance of its own, so that other tracing goes on, and takes everything back when it ends or is stopped.
set -u
LC_ALL=C
export LC_ALL

SECONDS_TO_RECORD=10
OUTPUT=mmulab-record.txt
BUFFER_KB=8192
USERS=0
FAULTS=0
SWITCHES=0
YES=0
# Where the kernel's files are: to be set for a try without one.
PROC=@{PROC:-/proc}
SYS=@{SYS:-/sys}
TRACEFS=@{TRACEFS:-}
INSTANCE=
PROBES=
PART=
READER=
SLEEPER=
RESTRICT=

usage() {
	cat <<'END'
usage: sh record.sh [--seconds N] [--output FILE] [--buffer KB] [--users] [--faults] [--switches] [--yes]
  --seconds N    how long to record (default 10)
  --output FILE  where to (default mmulab-record.txt)
  --buffer KB    size of each CPU's buffer (default 8192)
  --users        record changes and flushes of user address spaces too: many events
  --faults       record page faults too (exceptions:page_fault_user, page_fault_kernel)
  --switches     record which task runs where too (sched:sched_switch): user flushes
                 find their CPUs by it where switch_mm_irqs_off cannot be probed
  --yes          do not ask before anything is changed
Try it in a virtual machine first: mmulab record-script --help says how.
END
}

fail() {
	echo "record.sh: $1" >&2
	exit 1
}

number() {
	case "$2" in
	'' | *[!0-9]* | 0*) fail "$1: $2 is no number from 1 on" ;;
	esac
}

while [ $# -gt 0 ]; do
	case "$1" in
	--seconds | --output | --buffer)
		[ $# -ge 2 ] || fail "$1: a value is missing"
		case "$1" in
		--seconds) number "$1" "$2" && SECONDS_TO_RECORD=$2 ;;
		--output) OUTPUT=$2 ;;
		--buffer) number "$1" "$2" && BUFFER_KB=$2 ;;
		esac
		shift
		;;
	--users) USERS=1 ;;
	--faults) FAULTS=1 ;;
	--switches) SWITCHES=1 ;;
	--yes) YES=1 ;;
	-h | --help)
		usage
		exit 0
		;;
	*)
		usage >&2
		fail "unknown option $1"
		;;
	esac
	shift
done

# Takes back all that was changed. Runs whatever ends the script.
cleanup() {
	trap '' INT TERM HUP
	if [ -n "$READER" ]; then kill "$READER" 2>/dev/null; fi
	if [ -n "$SLEEPER" ]; then kill "$SLEEPER" 2>/dev/null; fi
	if [ -n "$INSTANCE" ] && [ -d "$INSTANCE" ]; then
		echo 0 >"$INSTANCE/tracing_on"
		for group in mmulab vmalloc power exceptions sched; do
			if [ -e "$INSTANCE/events/$group/enable" ]; then echo 0 >"$INSTANCE/events/$group/enable"; fi
		done
	fi
	if [ -n "$PROBES" ]; then
		# Read and write end of a trace keep it from being removed for a moment.
		for name in $PROBES; do
			echo "-:mmulab/$name" >>"$TRACEFS/kprobe_events" || echo "record.sh: probe $name could not be removed" >&2
		done
	fi
	if [ -n "$INSTANCE" ] && [ -d "$INSTANCE" ]; then
		rmdir "$INSTANCE" 2>/dev/null || { sleep 1 && rmdir "$INSTANCE" 2>/dev/null; } ||
			echo "record.sh: $INSTANCE could not be removed" >&2
	fi
	if [ -n "$RESTRICT" ]; then echo "$RESTRICT" >"$PROC/sys/kernel/kptr_restrict"; fi
	if [ -n "$PART" ]; then rm -f "$PART"; fi
}

[ "$(id -u)" = 0 ] || fail "must be run as root"
if [ -z "$TRACEFS" ]; then
	for place in "$SYS/kernel/tracing" "$SYS/kernel/debug/tracing"; do
		if [ -e "$place/tracing_on" ]; then
			TRACEFS=$place
			break
		fi
	done
fi
[ -n "$TRACEFS" ] || fail "no tracefs is mounted: mount -t tracefs tracefs $SYS/kernel/tracing"
[ -e "$TRACEFS/kprobe_events" ] || fail "$TRACEFS has no kprobe_events: the kernel is built without CONFIG_KPROBE_EVENTS"
[ ! -e "$OUTPUT" ] || fail "$OUTPUT is there already"

RELEASE=$(cat "$PROC/sys/kernel/osrelease") || fail "cannot read the kernel's release"
MACHINE=$(uname -m)
MAJOR=@{RELEASE%%.*}
MINOR=@{RELEASE#*.}
MINOR=@{MINOR%%[!0-9]*}
if [ "$MAJOR" -lt 5 ] || { [ "$MAJOR" -eq 5 ] && [ "$MINOR" -lt 10 ]; }; then
	fail "Linux $RELEASE: expected 5.10 or newer"
fi

# Where the calling convention has a function's arguments: registers, then places on the stack.
case "$MACHINE" in
x86_64) REGISTERS="di si dx cx r8 r9" STACK_FIRST=1 ;;
aarch64) REGISTERS="x0 x1 x2 x3 x4 x5 x6 x7" STACK_FIRST=0 ;;
riscv64) REGISTERS="a0 a1 a2 a3 a4 a5 a6 a7" STACK_FIRST=0 ;;
*) fail "the calling convention of $MACHINE is not known here" ;;
esac

# The place of argument number $1, as kprobe_events writes it; 1>8 is what lies 8 bytes behind where argument 1 points to.
argument() {
	index=@{1%%>*}
	offsets=@{1#"$index"}
	position=1
	place=
	for register in $REGISTERS; do
		if [ "$position" = "$index" ]; then place=%$register; fi
		position=$((position + 1))
	done
	if [ -z "$place" ]; then place="\$stack$((index - position + STACK_FIRST))"; fi
	while [ -n "$offsets" ]; do
		offsets=@{offsets#>}
		offset=@{offsets%%>*}
		offsets=@{offsets#"$offset"}
		place="+$offset($place)"
	done
	echo "$place"
}

CPUS=0
for cpu in "$SYS"/devices/system/cpu/cpu[0-9]*; do
	if [ ! -e "$cpu/online" ] || [ "$(cat "$cpu/online")" = 1 ]; then CPUS=$((CPUS + 1)); fi
done
[ "$CPUS" -gt 0 ] || CPUS=1
# lazy_max_pages(): fls(online CPUs) times 32 MiB.
LOG=0
LEFT=$CPUS
while [ "$LEFT" -gt 0 ]; do
	LOG=$((LOG + 1))
	LEFT=$((LEFT / 2))
done
LAZY_MAX_PAGES=$((LOG * 8192))

if [ "$YES" != 1 ]; then
	echo "Linux $RELEASE, $CPUS CPUs. For $SECONDS_TO_RECORD s this sets up kprobes and an instance in $TRACEFS"
	echo "(a buffer of $BUFFER_KB kB for each CPU) and lets root see addresses in $PROC (kptr_restrict=1),"
	echo "then takes all that back, and writes $OUTPUT, which has addresses of this kernel."
	printf 'Go on? [y/N] '
	read -r answer || answer=
	case "$answer" in
	y | Y | yes) ;;
	*) fail "nothing was changed" ;;
	esac
fi

trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

PART=$OUTPUT.part
: >"$PART" || fail "$PART cannot be written"
note() {
	echo "# $1" >>"$PART"
}

INSTANCE=$TRACEFS/instances/mmulab
mkdir "$INSTANCE" || {
	INSTANCE=
	fail "$TRACEFS/instances/mmulab cannot be made: is another recording under way?"
}
echo 0 >"$INSTANCE/tracing_on"
echo "$BUFFER_KB" >"$INSTANCE/buffer_size_kb" || fail "no memory for buffers of $BUFFER_KB kB: try --buffer"
# Of one clock for all CPUs; and what comes when a buffer is full is lost, not what the recording begins with.
echo mono >"$INSTANCE/trace_clock"
echo 0 >"$INSTANCE/options/overwrite"

# With 0 or 2 the addresses in vmallocinfo are hashed or missing.
RESTRICT=$(cat "$PROC/sys/kernel/kptr_restrict") && echo 1 >"$PROC/sys/kernel/kptr_restrict"

note "mmulab-record: @FORMAT@"
note "release: $RELEASE"
note "machine: $MACHINE"
note "cpus: $CPUS"
note "lazy_max_pages: $LAZY_MAX_PAGES"
note "memory_kb: $(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' "$PROC/meminfo")"
ceiling=$SYS/kernel/debug/x86/tlb_single_page_flush_ceiling
if [ -r "$ceiling" ]; then note "flush_ceiling: $(cat "$ceiling")"; fi
for cpu in "$SYS"/devices/system/cpu/cpu[0-9]*; do
	topology=$cpu/topology
	if [ ! -r "$topology/core_id" ]; then continue; fi
	node=0
	for place in "$cpu"/node[0-9]*; do
		if [ -e "$place" ]; then node=@{place##*/node}; fi
	done
	note "topology: cpu @{cpu##*/cpu} package $(cat "$topology/physical_package_id") core $(cat "$topology/core_id") node $node"
done

has_symbol() {
	grep -q "^[0-9a-f]* [tT] $1\$" "$PROC/kallsyms"
}

add() {
	if echo "$2" >>"$TRACEFS/kprobe_events"; then
		PROBES="$1 $PROBES"
	else
		note "not probed: $1"
		return 1
	fi
} 2>/dev/null

# probe CALL FUNCTION RESULT ARGUMENTS: two events, when the call begins and when it ends.
DONE=
probe() {
	call=$1
	symbol=$2
	result=$3
	shift 3
	case " $DONE " in
	*" $call "*) return ;;
	esac
	if ! has_symbol "$symbol"; then return; fi
	fetch=
	plain=
	for argument in "$@"; do
		name=@{argument%%:*}
		rest=@{argument#*:}
		place=$(argument "@{rest%%:*}")
		type=@{rest#*:}
		fetch="$fetch $name=$place:$type"
		if [ "$type" = symbol ]; then type=x64; fi
		plain="$plain $name=$place:$type"
	done
	# The type "symbol" came later than 5.10.
	add "@{call}_enter" "p:mmulab/@{call}_enter $symbol$fetch" ||
		add "@{call}_enter" "p:mmulab/@{call}_enter $symbol$plain" || return
	returned=
	if [ "$result" != - ]; then returned=" $result=\$retval:x64"; fi
	add "@{call}_exit" "r:mmulab/@{call}_exit $symbol$returned"
	DONE="$DONE $call"
}

probes() {`;

/** After it. */
export const AFTER_PROBES = String.raw`}
probes
[ -n "$PROBES" ] || fail "none of the functions could be probed"

# Before 6.3 vmalloc has no tracepoints: its areas are seen by probes on what it calls.
if [ ! -d "$TRACEFS/events/vmalloc" ]; then
	first=$(argument 1)
	if has_symbol alloc_vmap_area; then
		add area_alloc "r:mmulab/area_alloc alloc_vmap_area start=+0(\$retval):x64 end=+8(\$retval):x64"
	fi
	if has_symbol free_vmap_area_noflush; then
		add area_free "p:mmulab/area_free free_vmap_area_noflush start=+0($first):x64 end=+8($first):x64"
	fi
fi

turn_on() {
	echo 1 >"$INSTANCE/events/$1/enable"
} 2>/dev/null

section() {
	sed "s/^/# $1: /" "$PROC/vmallocinfo" >>"$PART"
}

turn_on mmulab || fail "the probes cannot be enabled"
turn_on vmalloc || note "not traced: vmalloc"
turn_on power/cpu_idle || note "not traced: power/cpu_idle"
if [ "$FAULTS" = 1 ]; then
	for event in exceptions/page_fault_user exceptions/page_fault_kernel; do
		turn_on "$event" || note "not traced: $event"
	done
fi
if [ "$SWITCHES" = 1 ]; then turn_on sched/sched_switch || note "not traced: sched/sched_switch"; fi
section vmallocinfo-before
note "trace:"
cat "$INSTANCE/trace_pipe" >>"$PART" 2>/dev/null &
READER=$!
echo 1 >"$INSTANCE/tracing_on"
sleep "$SECONDS_TO_RECORD" &
SLEEPER=$!
wait "$SLEEPER" || exit
SLEEPER=
echo 0 >"$INSTANCE/tracing_on"
section_after=$(cat "$PROC/vmallocinfo")
# What is still in the buffers is read out.
sleep 1
kill "$READER" 2>/dev/null
wait "$READER" 2>/dev/null
READER=
cat "$INSTANCE/trace" >>"$PART"
echo "$section_after" | sed "s/^/# vmallocinfo-after: /" >>"$PART"
for stats in "$INSTANCE"/per_cpu/cpu*/stats; do
	if [ ! -r "$stats" ]; then continue; fi
	cpu=@{stats%/stats}
	lost=$(sed -n 's/^dropped events: //p' "$stats")
	if [ "@{lost:-0}" != 0 ]; then note "lost: @{cpu##*/cpu} $lost"; fi
done
if [ -r "$TRACEFS/kprobe_profile" ]; then
	while read -r name _ misses; do
		case " $PROBES " in
		*" $name "*) if [ "$misses" != 0 ]; then note "missed: $name $misses"; fi ;;
		esac
	done <"$TRACEFS/kprobe_profile"
fi
note "seconds: $SECONDS_TO_RECORD"
mv "$PART" "$OUTPUT" || fail "$OUTPUT cannot be written"
PART=
echo "record.sh: $OUTPUT written"
`;
