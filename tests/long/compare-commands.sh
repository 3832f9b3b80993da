#!/usr/bin/env bash
# Compares the pace of two editions: commands per second of a group of three nodes each, by `ledgerctl bench`.
# Exits with 1 where the new edition's median is below 0.95 of the old one's.
set -euo pipefail

usage() {
  cat <<'END'
usage: compare-commands.sh OLD NEW [ROUNDS [CLIENTS]]

  OLD, NEW   folders with release binaries (raft-node, ledgerctl) of two editions
  ROUNDS     measurements of each [default: 5]
  CLIENTS    simulated clients, 1 to 512 [default: 256]

Each measurement has a group of its own, on loopback, on free ports, with its data in a new folder of $TMPDIR; nothing of the
other edition runs meanwhile. BENCH_SECONDS [default: 10] is how long each is measured. Nothing else should run.
END
}
die() { echo "compare-commands.sh: $*" >&2; exit 2; }

(($# >= 2 && $# <= 4)) || { usage >&2; exit 2; }
old=$1 new=$2 rounds=${3:-5} clients=${4:-256} seconds=${BENCH_SECONDS:-10}
for n in "$rounds" "$clients" "$seconds"; do
  [[ $n =~ ^[1-9][0-9]{0,3}$ ]] || die "$n: ROUNDS, CLIENTS and BENCH_SECONDS are numbers from 1"
done
for bin in "$old" "$new"; do
  for program in raft-node ledgerctl; do [[ -x $bin/$program ]] || die "$bin/$program is not there"; done
done

dir=$(mktemp -d)
pids=()
# Ends the nodes that this script started, by their ids.
end_nodes() {
  local pid
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do
    for _ in {1..100}; do
      kill -0 "$pid" 2>/dev/null || break
      read -rt 0.1 <> <(:) || true
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  pids=()
}
trap 'end_nodes; rm -rf "$dir"' EXIT

# Sets `ports` to six on which nobody listens, below those that the system gives to outgoing connections.
free_ports() {
  local port
  ports=()
  while ((${#ports[@]} < 6)); do
    port=$((10000 + RANDOM % 22000))
    [[ " ${ports[*]} " == *" $port "* ]] && continue
    (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || ports+=("$port")
  done
}

# Measures one edition on a new group: sets `pace` to its commands per second.
measure() { # FOLDER NAME
  local bin=$1 data=$dir/$2 n members="" endpoints="" said end
  free_ports
  mkdir "$data"
  for n in 0 1 2; do
    members+="${members:+,}$((n + 1))=127.0.0.1:${ports[n]}/127.0.0.1:${ports[n + 3]}"
    endpoints+="${endpoints:+,}http://127.0.0.1:${ports[n + 3]}"
  done
  for n in 0 1 2; do
    "$bin/raft-node" --node-id $((n + 1)) --data-dir "$data/$n" --initial-members "$members" \
      --listen-peer "127.0.0.1:${ports[n]}" --listen-api "127.0.0.1:${ports[n + 3]}" >"$data/$n.log" 2>&1 </dev/null &
    pids+=($!)
  done
  end=$((SECONDS + 30))
  until "$bin/ledgerctl" --endpoints "$endpoints" --timeout-ms 1000 positions >/dev/null 2>&1; do
    ((SECONDS < end)) || die "no leader within 30 s: $(tail -n 3 "$data"/*.log)"
    read -rt 0.2 <> <(:) || true
  done
  # The bench defines its own symbols, each edition in its own way.
  said=$("$bin/ledgerctl" --endpoints "$endpoints" --json bench --clients "$clients" --seconds "$seconds") || die "the bench of $bin failed"
  pace=$(grep -o '"commands_per_s":[0-9.]*' <<<"$said" | cut -d: -f2)
  refused=$(grep -o '"refused":[0-9]*' <<<"$said" | cut -d: -f2)
  [[ -n $pace ]] || die "the bench of $bin told no commands per second: $said"
  end_nodes
  rm -rf "$data"
}
median() { printf '%s\n' "$@" | sort -g | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

old_paces=() new_paces=()
for ((round = 1; round <= rounds; round++)); do
  # Each goes first as often as the other, so that what drifts meets both.
  if ((round % 2)); then order=(old new); else order=(new old); fi
  for edition in "${order[@]}"; do
    measure "${!edition}" "$edition"
    declare -n paces=${edition}_paces
    paces+=("$pace")
    printf 'round %d, %s: %.0f commands/s, %d refused\n' "$round" "$edition" "$pace" "$refused"
  done
done
was=$(median "${old_paces[@]}") is=$(median "${new_paces[@]}")
awk -v was="$was" -v is="$is" -v clients="$clients" 'BEGIN {
  ratio = is / was
  printf "medians at %d clients: old %.0f, new %.0f commands/s; new/old %.3f\n", clients, was, is, ratio
  exit ratio < 0.95
}'
