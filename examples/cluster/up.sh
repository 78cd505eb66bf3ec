#!/usr/bin/env bash
# Two Caddys with one set of accounts in PostgreSQL, and a load balancer in front, on this
# machine and without containers. From the folder of the project:
#
#	go build -o caddy ./cmd/caddy
#	examples/cluster/up.sh
#
# Then open http://localhost:8000/members/. The mails are in cluster/mails. Whatever ends comes
# back by itself, as a service manager would have it, so that you can try what happens:
# kill -9 $(cat cluster/node1.pid). Ctrl-C ends all of it; the accounts stay in cluster/.
#
#	CADDY=./caddy   the binary
#	DIR=./cluster   accounts, logs, mails and process ids
#	PORT=8000       of the balancer; the nodes have the ports after it
#	NODES=2         how many
#	POOLER=         pgbouncer: the nodes reach PostgreSQL through it, in transaction mode
#	CADDYFILE=      of the nodes, in place of the one beside this script; MAILER, SITE … as it says
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
caddy=$(realpath "${CADDY:-./caddy}")
dir=${DIR:-./cluster} port=${PORT:-8000} nodes=${NODES:-2}
export SITE=${SITE:-http://localhost:$port} FILES=${FILES:-$here/../site}

fail() { echo "$0: $*" >&2; exit 1; }
[ -x "$caddy" ] || fail "there is no $caddy; build it first: go build -o caddy ./cmd/caddy"
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
bin=${bin:-$(dirname "$(command -v initdb || true)")}
[ -x "$bin/initdb" ] || fail "PostgreSQL is missing (Debian: apt-get install postgresql)"
mkdir -p "$dir/mails"
dir=$(realpath "$dir")
socket=$(mktemp -d /tmp/cluster.XXXXXX) # the path of a socket has to be short
as=()
if [ "$(id -u)" = 0 ]; then # PostgreSQL refuses root
	as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
	mkdir -p "$dir/postgres"
	chown postgres "$socket" "$dir/postgres"
	"${as[@]}" test -w "$dir/postgres" || fail "the user postgres can't reach $dir: choose a folder that everybody may enter, DIR=/var/tmp/cluster"
fi

keepers=()
# keep NAME COMMAND… runs a command again whenever it has ended.
keep() {
	local name=$1
	shift
	(
		trap 'kill -TERM $child 2>/dev/null; wait $child; exit 0' TERM
		trap '' INT # Ctrl-C reaches the whole group; only the script ends things
		while :; do
			"$@" >>"$dir/$name.log" 2>&1 &
			child=$!
			echo "$child" >"$dir/$name.pid"
			wait "$child" || true
			sleep 0.3
		done
	) &
	keepers+=($!)
}
down() {
	trap '' INT TERM
	for ((i = ${#keepers[@]} - 1; i >= 0; i--)); do # the database last
		kill -TERM "${keepers[i]}" 2>/dev/null || true
		wait "${keepers[i]}" 2>/dev/null || true
	done
	rm -rf "$socket" "$dir"/*.pid
}
trap 'exit 0' INT TERM
trap down EXIT

[ -f "$dir/postgres/PG_VERSION" ] ||
	(cd / && "${as[@]}" "$bin/initdb" -D "$dir/postgres" -A trust -U cluster -E UTF8 --no-locale >"$dir/postgres.log")
rm -f "$dir/postgres/postmaster.pid"
# Only through a socket that nobody else can reach. -c synchronous_commit stays on: what is acknowledged is kept.
keep postgres "${as[@]}" env -C / "$bin/postgres" -D "$dir/postgres" -k "$socket" -c listen_addresses=
DATABASE_URL="postgres://cluster@/postgres?host=$socket"
if [ -n "${POOLER:-}" ]; then
	pooler=$(command -v pgbouncer || echo /usr/sbin/pgbouncer)
	[ -x "$pooler" ] || fail "PgBouncer is missing (Debian: apt-get install pgbouncer)"
	cat >"$socket/pgbouncer.ini" <<-INI
		[databases]
		postgres = host=$socket user=cluster
		[pgbouncer]
		listen_addr =
		listen_port = 6432
		unix_socket_dir = $socket
		auth_type = any
		pool_mode = transaction
		max_client_conn = 500
		default_pool_size = 40
		server_login_retry = 1
	INI
	[ "$(id -u)" != 0 ] || chown postgres "$socket/pgbouncer.ini"
	keep pooler "${as[@]}" env -C / "$pooler" "$socket/pgbouncer.ini"
	DATABASE_URL="$DATABASE_URL&port=6432&default_query_exec_mode=exec"
fi
export DATABASE_URL
for ((i = 0; ; i++)); do
	"$bin/pg_isready" -q -h "$socket" && break
	[ "$i" -lt 600 ] || fail "PostgreSQL does not start: $(tail -3 "$dir/postgres.log")"
	sleep 0.1
done

backends=
for ((n = 1; n <= nodes; n++)); do
	backends+=" localhost:$((port + n))"
	keep "node$n" env NODE="node$n" LISTEN="localhost:$((port + n))" ADMIN="unix/$socket/node$n.sock" \
		MAILER="${MAILER:-file $dir/mails}" XDG_DATA_HOME="$dir/node$n" XDG_CONFIG_HOME="$dir/node$n" \
		"$caddy" run --adapter caddyfile --config "${CADDYFILE:-$here/Caddyfile}"
done
keep balancer env LISTEN="localhost:$port" NODES="${backends# }" ADMIN="unix/$socket/balancer.sock" \
	XDG_DATA_HOME="$dir/balancer" XDG_CONFIG_HOME="$dir/balancer" \
	"$caddy" run --adapter caddyfile --config "$here/balancer.Caddyfile"
for ((n = 0; n <= nodes; n++)); do
	for ((i = 0; ; i++)); do
		(exec 3<>"/dev/tcp/localhost/$((port + n))") 2>/dev/null && break
		[ "$i" -lt 600 ] || fail "nobody listens on port $((port + n)): see $dir/*.log"
		sleep 0.1
	done
done
echo "$nodes nodes answer at http://localhost:$port; mails and logs are in $dir"
wait
