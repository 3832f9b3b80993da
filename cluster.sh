#!/usr/bin/env bash
# A local cluster: three nodes, an exchange, three makers. `./cluster.sh help` tells the commands.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

usage() {
  cat <<'EOF'
usage: ./cluster.sh [--base-port P] [--run-dir DIR] COMMAND

  up [--accounts FILE]
                   build, then start three nodes, the exchange and three makers; with FILE, the exchange takes signed
                   requests of the accounts in it, and no others (docs/api.md has its form)
  down             stop everything that was started, and leave the data
  status           the group, the makers and the exchange
  logs [NAME]      follow the logs (node-1 .. node-3, exchange, maker-a .. maker-c)
  kill-leader      kill -9 the node that leads
  kill N           kill -9 node N (or a process by its name)
  restart N        start node N (or a process by its name) again on its data
  pause N          SIGSTOP node N (or a process by its name)
  resume N         SIGCONT
  partition N      cut node N off from its peers, both ways
  heal             end all partitions
  ctl ARGS...      ledgerctl against this cluster
  demo [--capture FILE] [--seconds S]
                   the main job: trade through a leader's death, then judge what is left
  chaos [--minutes M] [--seed S]
                   break a cluster of its own for minutes, then judge and report (chaos --help tells more)

Nodes take peers on P+1 to P+3 and clients on P+101 to P+103; the exchange is on P+200 [default P: 7000].
All files go to DIR [default: run/P].
EOF
}

die() { echo "cluster.sh: $*" >&2; exit 1; }
number() { [[ $1 =~ ^[0-9]{1,6}$ ]]; }

base=7000; run=""; keep=(); accounts=()
while [[ ${1:-} == --* ]]; do
  case $1 in
    --base-port | --run-dir) [[ -n ${2:-} ]] || die "$1 needs a value; ./cluster.sh help tells more" ;;&
    --base-port) base=$2; shift 2 ;;
    --run-dir) run=$2; shift 2 ;;
    --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
number "$base" && ((10#$base >= 1 && 10#$base <= 65335)) || die "--base-port $base: must be a number from 1 to 65335"
base=$((10#$base))
run=${run:-$root/run/$base}
bin=${QUORATE_BIN:-${CARGO_TARGET_DIR:-$root/target}/release}
exchange_url=http://127.0.0.1:$((base + 200))
api() { echo "http://127.0.0.1:$((base + 100 + $1))"; }
endpoints=$(api 1),$(api 2),$(api 3)
members=$(for n in 1 2 3; do printf '%s=127.0.0.1:%s/127.0.0.1:%s,' "$n" $((base + n)) $((base + 100 + n)); done)
symbols=(BTCUSDT ETHUSDT SOLUSDT BNBUSDT)
fees=(--maker-fee-ppm 10 --taker-fee-ppm 40)
prices=(BTCUSDT=61837.63 ETHUSDT=2683.5 SOLUSDT=162.4 BNBUSDT=514.2)
reference=(--reference "walk:7,$(IFS=,; echo "${prices[*]}")")
# What a cluster is made of; a demo judges it, and a chaos is run by a program of its own.
cluster=(raft-node ledgerctl exchange market-maker order-publisher)

build() { # PROGRAM...
  local program flags=()
  [[ -z ${QUORATE_BIN:-} ]] || return 0
  for program in "$@"; do flags+=(--bin "$program"); done
  (cd "$root" && cargo build --release --locked "${flags[@]}")
}

# A program that must be there.
program() {
  [[ -x $bin/$1 ]] || die "$bin/$1 is not there: ${QUORATE_BIN:+QUORATE_BIN may name the wrong directory; }./cluster.sh up builds it"
}

# Processes
name_of() { if number "$1"; then echo "node-$1"; else echo "$1"; fi; }
pid_of() { cat "$run/$1.pid" 2>/dev/null || true; }
# A process is ours while its id is that of the program whose command line stands beside the pid file.
alive() {
  local pid mark
  pid=$(pid_of "$1"); mark=$(cat "$run/$1.mark" 2>/dev/null || true)
  [[ -n $pid && -n $mark ]] && { tr '\0' '\n' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qxaF "$mark"
}
gone() { ! alive "$1"; }
running() {
  local file name
  for file in "$run"/*.pid; do
    name=$(basename "$file" .pid)
    if alive "$name"; then echo "$name"; fi
  done
}
# Whether the directory of the run is empty, not there, or one that a cluster ran in: a demo removes it.
ours() { [[ ! -e $run || -d $run && -z $(ls -A "$run") ]] || compgen -G "$run/*.mark" >/dev/null; }
nothing_runs() { [[ -z $(running) ]]; }
start() { # NAME PROGRAM ARGS...
  local name=$1; shift
  alive "$name" && die "$name runs already"
  program "$(basename "$1")"
  printf '%q ' "$@" >"$run/$name.cmd"
  echo "$1" >"$run/$name.mark"
  "$@" >>"$run/$name.log" 2>&1 </dev/null &
  echo $! >"$run/$name.pid"
  # Whoever waits for the exit code of a process keeps it as a job.
  [[ -n ${kept:-} ]] || disown
}
again() { # NAME
  local cmd
  [[ -r $run/$1.cmd ]] || die "$1 was never started in $run; ./cluster.sh up starts a cluster"
  eval "cmd=($(cat "$run/$1.cmd"))"
  start "$1" "${cmd[@]}"
}
signal() { # SIGNAL NAME
  local others
  others=$(running | paste -sd ' ' -)
  alive "$2" || die "$2 does not run in $run; these do: ${others:-none}"
  kill "-$1" "$(pid_of "$2")"
}

# Waits for a condition, looking ten times a second.
until_true() { # WHAT SECONDS COMMAND...
  local what=$1 limit=$2 end; shift 2
  end=$((SECONDS + limit))
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || die "not within $limit s: $what (see $run/*.log)"
    read -rt 0.1 <> <(:) || true
  done
}
# Lets time pass until a moment; what happens then does not depend on the moment.
pass_until() { while ((SECONDS < $1)); do read -rt 0.2 <> <(:) || true; done; }

# The group
ctl() {
  program ledgerctl
  "$bin/ledgerctl" --endpoints "$endpoints" "$@"
}
local_status() { ctl --json --consistency local status 2>/dev/null; }
leader() { local_status | grep -o '"leader":[0-9]*' | sort | uniq -c | sort -rn | grep -om1 '[0-9]*$'; }
# Whether a leader serves, and another than the one named.
leads() {
  local l
  l=$(leader) && [[ -n $l && $l != "${1:-}" ]] && ctl --timeout-ms 1000 positions
}
# Whether as many symbols as are awaited are quoted: all of them, unless one has no price yet.
awaited=${#symbols[@]}
quoted() { (($(ctl --json quotes | grep -o '"quote_id"' | wc -l) >= awaited)); }
# Whether so many fills are committed.
after() { (($(local_status | grep -o '"fills":[0-9]*' | sort -t: -k2 -rn | grep -om1 '[0-9]*$') >= $1)); }

start_maker() { # LETTER
  start "maker-$1" "$bin/market-maker" live --name "maker-$1" --ledger-endpoints "$endpoints" --exchange "$exchange_url" \
    --order-qty 60 --skew-percent 50 --belief-journal "$run/beliefs-$1.jsonl"
}
up() {
  local n
  build "${@:-${cluster[@]}}"
  mkdir -p "$run"
  for n in 1 2 3; do
    start "node-$n" "$bin/raft-node" --node-id "$n" --data-dir "$run/node-$n" --initial-members "${members%,}" \
      --listen-peer "127.0.0.1:$((base + n))" --listen-api "127.0.0.1:$((base + 100 + n))" \
      --fault-injection "${keep[@]}"
  done
  until_true "a leader" 30 leads
  for n in "${symbols[@]}"; do ctl define-symbol "$n" --base "${n%USDT}" --quote USDT --tick-size 0.01 --lot-size 0.001 "${fees[@]}" >/dev/null; done
  start exchange "$bin/exchange" --listen "127.0.0.1:$((base + 200))" --ledger-endpoints "$endpoints" "${reference[@]}" \
    "${accounts[@]}"
  for n in a b c; do start_maker $n; done
  until_true "quotes for all symbols" 60 quoted
}
down() {
  local name
  for name in $(running); do
    kill -TERM "$(pid_of "$name")" && kill -CONT "$(pid_of "$name")"
  done 2>/dev/null || true
  (until_true "a clean end" 15 nothing_runs) || for name in $(running); do kill -KILL "$(pid_of "$name")" || true; done
  rm -f "$run"/*.pid
}
status() {
  ctl status; ctl makers; ctl quotes
  if alive exchange; then echo "exchange: $exchange_url"; else echo "exchange: down"; fi
}
logs() { # [NAME]
  local files
  files=$(compgen -G "$run/${1:-*}.log") || die "no log of ${1:-anything} in $run"
  mapfile -t files <<<"$files"
  tail -n 20 -F "${files[@]}"
}

# What breaks it
kill_leader() {
  local l
  l=$(leader) || true
  [[ -n $l ]] || die "no leader is known; ./cluster.sh status tells what runs"
  echo "killing node $l"
  signal KILL "node-$l"
  until_true "its end" 10 gone "node-$l"
  echo "$l" >"$run/killed"
}
fault() { ctl faults set --node "$1" --drop-to "$2" --drop-from "$2" >/dev/null; }
others() {
  local n list=()
  for n in 1 2 3; do [[ $n == "$1" ]] || list+=("$n"); done
  (IFS=,; echo "${list[*]}")
}
partition() { # NODE
  local n
  [[ $1 =~ ^[123]$ ]] || die "partition $1: must be a node's number, 1 to 3"
  alive "node-$1" || die "node-$1 does not run in $run"
  for n in 1 2 3; do
    if gone "node-$n"; then continue; fi
    if [[ $n == "$1" ]]; then fault "$n" "$(others "$1")"; else fault "$n" "$1"; fi
  done
}
heal() {
  local n healed=""
  for n in 1 2 3; do
    if gone "node-$n"; then continue; fi
    ctl faults clear --node "$n" >/dev/null
    healed=yes
  done
  [[ -n $healed ]] || die "no node runs in $run"
}

# The flow of a demo: publishers, and what became of them.
publishers=()
declare -A ended_with=()
publisher() { # NAME ARGS...
  local name=$1; shift
  kept=yes start "$name" "$bin/order-publisher" "$@" \
    --exchange "$exchange_url" --journal "$run/journal-$name.jsonl" --json --in-flight 16
  publishers+=("$name")
}
some_ended() {
  local name
  for name in "${publishers[@]}"; do gone "$name" && return; done
  return 1
}
# Fails where a publisher has ended, and not well: one that sent nothing, or left an outcome unknown.
flow_is_well() {
  local name code
  for name in "${publishers[@]}"; do
    if alive "$name" || [[ -n ${ended_with[$name]:-} ]]; then continue; fi
    code=0; wait "$(cat "$run/$name.pid")" || code=$?
    ended_with[$name]=$code
    ((code == 0)) || die "publisher '$name' ended with exit code $code: $(tail -n 1 "$run/$name.log")"
  done
}
flowed() { after "$1" || some_ended; }
# What the nodes say of money while orders flow, one answer a line, for the judge: a node that does not answer is left out.
views=(positions pnl breakers balances)
see_money() {
  local n view answer enough=""
  trap 'enough=yes' TERM
  # As long as the demo that began it.
  while [[ -z $enough ]] && kill -0 $$ 2>/dev/null; do
    for n in 1 2 3; do
      for view in "${views[@]}"; do
        answer=$(curl -sf --noproxy '*' --max-time 1 "$(api "$n")/v1/$view?consistency=local") || continue
        printf '%s\n' "$answer" >>"$run/$view.seen"
      done
    done
    read -rt 1 <> <(:) || true
  done
}
seer=""
saw_money() {
  [[ -n $seer ]] || return 0
  kill -TERM "$seer" 2>/dev/null || true
  wait "$seer" 2>/dev/null || true
  seer=""
}
say() { printf '\n== %s\n' "$*"; }
demo() {
  local capture="" seconds=75 n l
  while (($#)); do
    case $1 in
      --capture | --seconds) [[ -n ${2:-} ]] || die "$1 needs a value; ./cluster.sh help tells more" ;;&
      --capture) capture=$2; shift 2 ;;
      --seconds) seconds=$2; shift 2 ;;
      *) usage >&2; exit 2 ;;
    esac
  done
  number "$seconds" || die "--seconds $seconds: must be a number"
  seconds=$((10#$seconds))
  ((seconds >= 60)) || die "demo needs 60 seconds at least, for all that it breaks"
  [[ -z $capture || -f $capture && -r $capture ]] || die "--capture $capture: no file that can be read"
  command -v curl >/dev/null || die "demo reads what the nodes say with curl, which is not installed"
  ours || die "--run-dir $run: a demo begins in an empty directory, and what is there is not of a cluster: name another"
  down 2>/dev/null || true; rm -rf "$run"; keep=(--event-retention 1000000) # The judge replays all that happened.
  [[ -z $capture ]] || reference=(--reference "external:${prices[0]}" --reference "walk:7,$(IFS=,; echo "${prices[*]:1}")")
  trap 'saw_money; down' EXIT
  say "starting three nodes, an exchange and three makers in $run"
  # The price of the recorded symbol comes with the capture: nobody quotes it before that.
  [[ -z $capture ]] || awaited=$((awaited - 1))
  up "${cluster[@]}" judge
  see_money &
  seer=$!
  say "orders flow for $seconds s"
  if [[ -n $capture ]]; then
    publisher recorded replay --capture "$capture" --symbol BTCUSDT --speed 2 --max-lots 20 --seconds "$seconds"
    publisher random random --symbols ETHUSDT,SOLUSDT,BNBUSDT --seed 11 --rate 40 --max-lots 15 --seconds "$seconds"
  else
    publisher random random --seed 11 --rate 60 --max-lots 15 --seconds "$seconds"
  fi
  awaited=${#symbols[@]}
  local began=$SECONDS part=$((seconds / 6))
  until_true "200 fills" 60 flowed 200
  flow_is_well
  until_true "200 fills" 60 after 200
  say "killing the leader with -9 while it quotes and trades"
  kill_leader; n=$(cat "$run/killed")
  until_true "another leader" 20 leads "$n"
  until_true "its quotes" 20 quoted
  again "node-$n"
  pass_until $((began + 2 * part))
  l=$(leader); say "isolating the next leader, node $l, with orders in flight"
  partition "$l"
  until_true "another leader" 20 leads "$l"
  pass_until $((began + 3 * part))
  say "healing"; heal
  pass_until $((began + 4 * part))
  say "killing a maker, and starting it again"
  signal KILL maker-b; until_true "its end" 10 gone maker-b; again maker-b
  pass_until $((began + 5 * part))
  say "killing the exchange with orders in flight, and starting it again"
  # It stands still for a moment first, so that orders are surely on their way when it dies.
  signal STOP exchange; pass_until $((SECONDS + 2)); signal KILL exchange; until_true "its end" 10 gone exchange; again exchange
  say "waiting for the end of the flow and of what is in doubt"
  for n in "${publishers[@]}"; do until_true "the end of the publisher" $((seconds + 60)) gone "$n"; done
  flow_is_well
  say "judging"; evidence
  "$bin/judge" "${judged[@]}" --positions "$run/positions.json" --audit "$run/audit.json" --demanding
}
chaos() {
  build "${cluster[@]}" chaos
  program chaos
  "$bin/chaos" --report "$run/chaos" "$@"
}
evidence() {
  local n; judged=()
  saw_money
  for n in "${views[@]}"; do judged+=("--$n-seen" "$run/$n.seen"); done
  for n in a b c; do signal TERM "maker-$n"; until_true "the end of maker $n" 20 gone "maker-$n"; done
  for n in 1 2 3; do
    "$bin/ledgerctl" --endpoints "$(api "$n")" --timeout-ms 30000 export >"$run/export-$n.jsonl"
    judged+=(--export "$run/export-$n.jsonl")
  done
  for n in "$run"/journal-*.jsonl; do judged+=(--journal "$n"); done
  ctl --json positions >"$run/positions.json"
  ctl --json --timeout-ms 30000 audit >"$run/audit.json" || true
}

command=${1:-help}; shift || true
# What a command is about, where it must be named.
needs() { [[ -n ${1:-} ]] || die "$command needs a $what; ./cluster.sh help tells more"; }
case $command in
  up)
    case ${1:-} in
      "") ;;
      --accounts)
        [[ -n ${2:-} ]] || die "--accounts needs a value; ./cluster.sh help tells more"
        [[ -f $2 && -r $2 ]] || die "--accounts $2: no file that can be read"
        accounts=(--accounts "$(realpath "$2")") ;;
      *) usage >&2; exit 2 ;;
    esac
    up; say "serving"; ctl status; echo "exchange $exchange_url, logs and data $run" ;;
  kill-leader) kill_leader ;;
  kill | pause | resume)
    what="node's number or a process's name" needs "$@"
    declare -A signals=([kill]=KILL [pause]=STOP [resume]=CONT)
    signal "${signals[$command]}" "$(name_of "$1")" ;;
  restart) what="node's number or a process's name" needs "$@"; again "$(name_of "$1")" ;;
  partition) what="node's number" needs "$@"; partition "$1" ;;
  down | status | logs | heal | ctl | demo | chaos) "$command" "$@" ;;
  help | -h) usage ;;
  *) usage >&2; exit 2 ;;
esac
